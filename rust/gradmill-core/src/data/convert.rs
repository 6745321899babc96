//! Loops that move elements from arrays to the type that kernels compute in, and back.

use pulp::NullaryFnOnce;

use crate::number::element::Element;
use crate::number::float::Float;

/// `into[i] = from[i]`, widened or rounded.
pub struct Load<'k, E, T> {
    pub from: &'k [E],
    pub into: &'k mut [T],
}

impl<E: Element, T: Float> NullaryFnOnce for Load<'_, E, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (into, &from) in self.into.iter_mut().zip(self.from) {
            *into = T::load(from);
        }
    }
}

/// `into[i] = from[i]`, rounded or widened.
pub struct Store<'k, T, E> {
    pub from: &'k [T],
    pub into: &'k mut [E],
}

impl<T: Float, E: Element> NullaryFnOnce for Store<'_, T, E> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (into, &from) in self.into.iter_mut().zip(self.from) {
            *into = from.store();
        }
    }
}

/// `into[i] = from[i]`, rounded at random where `into` is of half precision; a word for each decides.
pub struct StoreAtRandom<'k, T, E> {
    pub from: &'k [T],
    pub into: &'k mut [E],
    pub words: &'k [u32],
}

impl<T: Float, E: Element> NullaryFnOnce for StoreAtRandom<'_, T, E> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { from, into, words } = self;
        for ((into, &from), &word) in into.iter_mut().zip(from).zip(words) {
            *into = from.store_at_random(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;

    use super::*;
    use crate::sys::simd::Tier;

    fn same(ours: f16, theirs: f16) -> bool {
        ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan()
    }

    proptest! {
        #[test]
        fn tiers_agree(bits in proptest::collection::vec(any::<u32>(), 0..200)) {
            let values: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
            let mut expected = vec![f16::default(); values.len()];
            Tier::Scalar.run(Store { from: &values, into: &mut expected });
            for tier in Tier::ALL {
                let mut halves = vec![f16::default(); values.len()];
                tier.run(Store { from: &values, into: &mut halves });
                let mut wide = vec![0.0f32; values.len()];
                tier.run(Load { from: &halves, into: &mut wide });
                for ((half, expected), wide) in halves.iter().zip(&expected).zip(wide) {
                    prop_assert!(same(*half, *expected));
                    prop_assert!(wide == half.to_f32() || wide.is_nan());
                }
            }
        }
    }
}
