//! Sums of squares whose shape depends on length alone, accumulated in f64.

use pulp::NullaryFnOnce;

use crate::dtype::Float;

/// Independent partial sums; element `i` of a chunk goes to lane `i % LANES`. Enough of them that the loop
/// over lanes is what the compiler vectorises, on every tier.
const LANES: usize = 64;

/// The running sum of squares of one chunk.
pub struct Lanes {
    sums: [f64; LANES],
    used: usize,
}

impl Lanes {
    pub fn new() -> Self {
        Self { sums: [0.0; LANES], used: 0 }
    }

    /// Folds the lanes in half until one is left; unused ones are zero and change nothing.
    pub fn total(&mut self) -> f64 {
        let mut width = self.used.next_power_of_two();
        while width > 1 {
            width /= 2;
            let (low, high) = self.sums.split_at_mut(width);
            for (low, high) in low.iter_mut().zip(high) {
                *low += *high;
            }
        }
        self.sums[0]
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
        lanes.used = lanes.used.max(values.len().min(LANES));
        for row in values.chunks(LANES) {
            for (sum, value) in lanes.sums.iter_mut().zip(row) {
                let value = value.to_f64() * scale;
                *sum += value * value;
            }
        }
    }
}

/// Adds neighbours, then neighbours of those, as values come in: a full binary tree for each power of two in
/// their number, largest first.
pub struct Pairwise {
    trees: [f64; usize::BITS as usize],
    count: usize,
}

impl Pairwise {
    pub fn new() -> Self {
        Self { trees: [0.0; usize::BITS as usize], count: 0 }
    }

    pub fn add(&mut self, value: f64) {
        let full = self.count.trailing_ones() as usize;
        self.trees[full] = self.trees[..full].iter().fold(value, |sum, tree| tree + sum);
        self.count += 1;
    }

    pub fn total(&self) -> f64 {
        let present = (0..self.trees.len()).filter(|tree| self.count >> tree & 1 == 1);
        present.map(|tree| self.trees[tree]).reduce(|sum, tree| tree + sum).unwrap_or(0.0)
    }
}

/// The sum of `values`, as [`Pairwise`] forms it.
pub fn pairwise(values: &[f64]) -> f64 {
    let mut sum = Pairwise::new();
    values.iter().for_each(|&value| sum.add(value));
    sum.total()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::Tier;

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
