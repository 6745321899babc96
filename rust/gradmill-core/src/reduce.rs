//! Sums of squares whose shape depends on length alone, accumulated in f64.

use pulp::NullaryFnOnce;

use crate::dtype::Float;

/// Independent partial sums; element `i` of a stretch goes to lane `i % LANES`.
const LANES: usize = 32;

/// The running sum of squares of one chunk.
#[derive(Clone, Debug)]
pub struct Lanes([f64; LANES]);

impl Lanes {
    pub const ZERO: Self = Self([0.0; LANES]);

    pub fn total(&self) -> f64 {
        pairwise(&self.0)
    }
}

/// Adds the squares of `values * scale`. All stretches of a chunk but the last have a multiple of
/// [`LANES`] elements.
pub struct SumSquares<'k, T> {
    pub lanes: &'k mut Lanes,
    pub values: &'k [T],
    pub scale: f64,
}

impl<T: Float> NullaryFnOnce for SumSquares<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { lanes, values, scale } = self;
        let mut sums = lanes.0;
        let mut rows = values.chunks_exact(LANES);
        for row in &mut rows {
            for (sum, value) in sums.iter_mut().zip(row) {
                let value = value.to_f64() * scale;
                *sum += value * value;
            }
        }
        for (sum, value) in sums.iter_mut().zip(rows.remainder()) {
            let value = value.to_f64() * scale;
            *sum += value * value;
        }
        lanes.0 = sums;
    }
}

/// Adds neighbours, then neighbours of those: the split is at a power of two.
pub fn pairwise(values: &[f64]) -> f64 {
    match values {
        [] => 0.0,
        [value] => *value,
        _ => {
            let (head, tail) = values.split_at(values.len().next_power_of_two() / 2);
            pairwise(head) + pairwise(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::Tier;

    proptest! {
        #[test]
        fn stretches_and_tiers_do_not_change_the_bits(
            values in proptest::collection::vec(-1e3f32..1e3, 0..300),
            at in 0usize..9,
        ) {
            let mut whole = Lanes::ZERO;
            Tier::Scalar.run(SumSquares { lanes: &mut whole, values: &values, scale: 1.0 });
            let (head, tail) = values.split_at((at * LANES).min(values.len() / LANES * LANES));
            let exact: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            prop_assert!((whole.total() - exact).abs() <= 1e-12 * exact);
            for tier in Tier::ALL {
                let mut parts = Lanes::ZERO;
                tier.run(SumSquares { lanes: &mut parts, values: head, scale: 1.0 });
                tier.run(SumSquares { lanes: &mut parts, values: tail, scale: 1.0 });
                prop_assert_eq!(parts.total().to_bits(), whole.total().to_bits());
            }
        }
    }
}
