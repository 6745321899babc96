//! Sums of squares whose shape depends on length alone, accumulated in f64.

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use crate::number::float::Float;

/// Independent partial sums; element `i` of a chunk goes to lane `i % LANES`. Two vectors of the widest tier,
/// which stay in registers.
const LANES: usize = 16;

/// The running sum of squares of one chunk.
pub struct Lanes([f64; LANES]);

impl Lanes {
    pub fn new() -> Self {
        Self([0.0; LANES])
    }

    /// Folds the lanes in half until one is left.
    pub fn total(&self) -> f64 {
        let mut sums = self.0;
        let mut width = LANES;
        while width > 1 {
            width /= 2;
            let (low, high) = sums.split_at_mut(width);
            for (low, high) in low.iter_mut().zip(high) {
                *low += *high;
            }
        }
        sums[0]
    }

    #[inline(always)]
    fn add<T: Float>(&mut self, values: &[T], scaled: impl Fn(f64) -> f64) {
        let mut sums = self.0;
        let (rows, tail) = values.as_chunks::<LANES>();
        for row in rows {
            add_row(&mut sums, row, &scaled);
        }
        add_row(&mut sums, &padded(tail), &scaled);
        self.0 = sums;
    }
}

/// Adds the squares of a row to the lanes.
#[inline(always)]
fn add_row<T: Float>(sums: &mut [f64; LANES], row: &[T; LANES], scaled: &impl Fn(f64) -> f64) {
    for (sum, value) in sums.iter_mut().zip(row) {
        let value = scaled(value.to_f64());
        *sum += value * value;
    }
}

/// What is left over of an array that is cut into rows, with zeros behind, which change no sum: the loop over
/// rows takes it as well. Element by element, since a copy of so few would be a call.
#[inline(always)]
pub fn padded<T: Float, const N: usize>(tail: &[T]) -> [T; N] {
    std::array::from_fn(|at| tail.get(at).copied().unwrap_or(T::ZERO))
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
        if scale == 1.0 {
            lanes.add(values, f64::from);
        } else {
            lanes.add(values, |value| value * scale);
        }
    }
}

/// Adds neighbours, then neighbours of those, as values come in: a full binary tree for each power of two in
/// their number, largest first.
#[derive(Default)]
pub struct Pairwise {
    trees: SmallVec<[f64; 64]>,
    count: usize,
}

impl Pairwise {
    pub fn add(&mut self, value: f64) {
        let mut sum = value;
        for _ in 0..self.count.trailing_ones() {
            sum += self.trees.pop().unwrap_or_default();
        }
        self.trees.push(sum);
        self.count += 1;
    }

    pub fn total(&self) -> f64 {
        self.trees.iter().rev().copied().reduce(|sum, tree| tree + sum).unwrap_or(0.0)
    }
}

/// The sum of `values`: of neighbours, then of neighbours of those.
pub fn pairwise(values: &[f64]) -> f64 {
    let mut sum = Pairwise::default();
    for &value in values {
        sum.add(value);
    }
    sum.total()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::simd::Tier;

    fn halves(values: &[f64]) -> f64 {
        match values {
            [] => 0.0,
            [value] => *value,
            _ => {
                let (head, tail) = values.split_at(values.len().next_power_of_two() / 2);
                halves(head) + halves(tail)
            }
        }
    }

    proptest! {
        #[test]
        fn sums_are_split_at_powers_of_two(
            values in proptest::collection::vec(-1e3f64..1e3, 0..70),
        ) {
            prop_assert_eq!(pairwise(&values).to_bits(), halves(&values).to_bits());
        }

        #[test]
        fn stretches_and_tiers_do_not_change_the_bits(
            values in proptest::collection::vec(-1e3f32..1e3, 0..1500),
            at in 0usize..6,
        ) {
            let mut whole = Lanes::new();
            Tier::Scalar.run(SumSquares { lanes: &mut whole, values: &values, scale: 1.0 });
            let (head, tail) = values.split_at((at * LANES).min(values.len() / LANES * LANES));
            let whole = whole.total();
            let exact: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            prop_assert!((whole - exact).abs() <= 1e-12 * exact);
            for tier in Tier::ALL {
                let mut parts = Lanes::new();
                tier.run(SumSquares { lanes: &mut parts, values: head, scale: 1.0 });
                tier.run(SumSquares { lanes: &mut parts, values: tail, scale: 1.0 });
                prop_assert_eq!(parts.total().to_bits(), whole.to_bits());
            }
        }
    }
}
