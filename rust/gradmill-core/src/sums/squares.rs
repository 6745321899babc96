//! Sums of squares in one read, though squares of f64 can leave the range of f64 at either end.

use std::ops::Add;

use smallvec::SmallVec;

use crate::number::dtype::DType;
use crate::number::float::Float;

/// Values from here on are summed once more after a scaling by [`SMALLER`]: squares of others change no bit of a
/// sum that is infinite.
const LARGE: f64 = exp2(450);
const SMALLER: f64 = exp2(-600);
/// Values up to here are summed once more after a scaling by [`LARGER`]: any other makes a sum that is no less than
/// [`LEAST`].
const TINY: f64 = exp2(-440);
const LARGER: f64 = exp2(600);
/// Below this, squares have lost digits on the way.
const LEAST: f64 = 1e-270;

const fn exp2(exponent: i64) -> f64 {
    f64::from_bits((1023 + exponent).cast_unsigned() << 52)
}

/// The sum of squares of some values, and those of scaled ones as far as they can matter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Squares {
    /// Of all values.
    pub sum: f64,
    /// Of the large ones, made smaller.
    pub smaller: f64,
    /// Of the tiny ones, made larger.
    pub larger: f64,
}

impl Squares {
    /// The sums over values of one type.
    pub(super) fn new(sum: f64, smaller: f64, larger: f64) -> Self {
        // Of f32 none is scaled, so that an infinite sum is one of infinite values.
        let is_infinite = sum == f64::INFINITY && smaller == 0.0;
        Self { sum, smaller: if is_infinite { sum } else { smaller }, larger }
    }

    /// Those of a tree, whose leaves have these.
    #[must_use]
    pub fn of_tree(leaves: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Pairwise::default();
        for leaf in leaves {
            all.add(leaf);
        }
        all.total()
    }

    /// The root of the sum of squares.
    #[must_use]
    pub fn norm(&self) -> f64 {
        let (norm, scale) = self.scaled_norm();
        norm / scale
    }

    /// The norm of scaled values, which is in the range of f64 even if that of the values is not, and the scale.
    pub(crate) fn scaled_norm(&self) -> (f64, f64) {
        if self.sum == f64::INFINITY {
            (self.smaller.sqrt(), SMALLER)
        } else if self.sum < LEAST {
            (self.larger.sqrt(), LARGER)
        } else {
            (self.sum.sqrt(), 1.0)
        }
    }

    /// An op's own sums, which go the way of those of squares.
    pub(crate) fn of_own([sum, other]: [f64; 2]) -> Self {
        Self { sum, smaller: other, larger: 0.0 }
    }

    /// The op's own sums.
    pub(crate) fn own(&self) -> [f64; 2] {
        [self.sum, self.smaller]
    }

    /// Whether all values are finite.
    #[must_use]
    pub fn are_finite(&self) -> bool {
        self.sum.is_finite() || self.sum == f64::INFINITY && self.smaller.is_finite()
    }
}

impl Add for Squares {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sum: self.sum + other.sum,
            smaller: self.smaller + other.smaller,
            larger: self.larger + other.larger,
        }
    }
}

/// Adds neighbours, then neighbours of those, as values come in: a full binary tree for each power of two in
/// their number, largest first.
#[derive(Default)]
pub struct Pairwise {
    trees: SmallVec<[Squares; 32]>,
    count: usize,
}

impl Pairwise {
    pub fn add(&mut self, value: Squares) {
        let mut sum = value;
        for _ in 0..self.count.trailing_ones() {
            sum = sum + self.trees.pop().unwrap_or_default();
        }
        self.trees.push(sum);
        self.count += 1;
    }

    pub fn total(&self) -> Squares {
        self.trees.iter().rev().copied().reduce(|sum, tree| tree + sum).unwrap_or_default()
    }
}

/// Partial sums of squares side by side, so that the compiler vectorises their loop.
#[derive(Clone, Copy)]
pub struct SquareLanes<const N: usize> {
    sums: [f64; N],
    smaller: [f64; N],
    larger: [f64; N],
}

impl<const N: usize> SquareLanes<N> {
    pub const ZERO: Self = Self { sums: [0.0; N], smaller: [0.0; N], larger: [0.0; N] };

    /// Adds the square of each value to its lane.
    #[inline(always)]
    pub fn add<T: Float>(&mut self, values: &[T; N]) {
        add_squares(values, &mut self.sums, &mut self.smaller, &mut self.larger);
    }

    /// Adds the squares of values, lane after lane and again from the first.
    #[inline(always)]
    pub fn add_all<T: Float>(&mut self, values: &[T]) {
        // Copies that stay in registers, each small enough to be made without a call.
        let Self { mut sums, mut smaller, mut larger } = *self;
        let (rows, tail) = values.as_chunks::<N>();
        for row in rows {
            add_squares(row, &mut sums, &mut smaller, &mut larger);
        }
        if !tail.is_empty() {
            add_squares(&padded::<T, N>(tail), &mut sums, &mut smaller, &mut larger);
        }
        self.sums = sums;
        if T::DTYPE == DType::F64 {
            (self.smaller, self.larger) = (smaller, larger);
        }
    }

    /// The sum of all lanes, in the order of [`folded`].
    pub fn total(self) -> Squares {
        self.total_by(folded)
    }

    /// The sum of all lanes, in an order of its own.
    pub fn total_by(self, sum: impl Fn([f64; N]) -> f64) -> Squares {
        let Self { sums, smaller, larger } = self;
        Squares::new(sum(sums), sum(smaller), sum(larger))
    }
}

/// Adds the square of each value to the sum at its place, and those of scaled values to the other two where
/// squares can leave the range of f64: those of f32 cannot.
#[inline(always)]
pub fn add_squares<T: Float>(
    values: &[T],
    sums: &mut [f64],
    smaller: &mut [f64],
    larger: &mut [f64],
) {
    for (sum, value) in sums.iter_mut().zip(values) {
        let value = value.to_f64();
        *sum += value * value;
    }
    if T::DTYPE != DType::F64 {
        return;
    }
    // Chosen before they are scaled: what vanishes in a product takes a processor hundreds of cycles.
    for (sum, value) in smaller.iter_mut().zip(values) {
        let value = value.to_f64();
        let value = if value.abs() < LARGE { 0.0 } else { value } * SMALLER;
        *sum += value * value;
    }
    for (sum, value) in larger.iter_mut().zip(values) {
        let value = value.to_f64();
        let value = if value.abs() > TINY { 0.0 } else { value } * LARGER;
        *sum += value * value;
    }
}

/// What is left over of an array that is cut into rows, with zeros behind, which change no sum: the loop over
/// rows takes it as well. Element by element, since a copy of so few would be a call.
#[inline(always)]
pub fn padded<T: Float, const N: usize>(tail: &[T]) -> [T; N] {
    std::array::from_fn(|at| tail.get(at).copied().unwrap_or(T::ZERO))
}

/// The sum of all lanes, folded in half until one is left.
pub fn folded<const N: usize>(mut lanes: [f64; N]) -> f64 {
    let mut width = N;
    while width > 1 {
        width /= 2;
        let (low, high) = lanes.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Squares {
        let mut lanes = SquareLanes::<1>::ZERO;
        for &value in values {
            lanes.add(&[value]);
        }
        lanes.total()
    }

    fn plain(sum: f64) -> Squares {
        Squares { sum, ..Squares::default() }
    }

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
            let squares: Vec<Squares> = values.iter().copied().map(plain).collect();
            prop_assert_eq!(Squares::of_tree(squares.iter().copied()).sum.to_bits(), halves(&values).to_bits());
        }

        #[test]
        fn norms_of_all_sizes(
            values in proptest::collection::vec(1.0f64..2.0, 1..9),
            exponents in proptest::collection::vec(-1060i32..1010, 8),
            near in any::<bool>(),
        ) {
            let size = |at: usize| if near { exponents[0] + exponents[at] % 30 } else { exponents[at] };
            let scaled = |value: f64, exponent: i32| {
                value * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
            };
            let values: Vec<f64> = values
                .iter()
                .enumerate()
                .map(|(at, &value)| scaled(value, size(at).clamp(-1060, 1010)))
                .collect();
            let most = values.iter().copied().fold(0.0, f64::max);
            let exact = most * values.iter().map(|x| (x / most) * (x / most)).sum::<f64>().sqrt();
            let norm = of(&values).norm();
            prop_assert!((norm - exact).abs() <= 1e-14 * exact + 5e-324, "{norm:e} {exact:e}");
        }
    }

    #[test]
    fn what_is_not_finite_is_seen() {
        let mut single = SquareLanes::<1>::ZERO;
        single.add(&[f32::INFINITY]);
        let all = [single.total(), of(&[1e200])];
        assert!(
            !Squares::of_tree(all).are_finite() && Squares::of_tree(all).norm() == f64::INFINITY
        );
        assert!(of(&[1e300, -1e308, 1e-300]).are_finite());
        assert!(!of(&[1e300, f64::NEG_INFINITY]).are_finite());
        assert!(of(&[1e200, f64::INFINITY]).norm() == f64::INFINITY);
        assert!(!of(&[f64::NAN, 1.0]).are_finite() && of(&[f64::NAN]).norm().is_nan());
        assert_eq!(of(&[0.0, -0.0]).norm(), 0.0);
    }
}
