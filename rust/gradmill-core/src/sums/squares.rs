//! What is known of squares of a whole tree, so that its leaves can be walked over part by part.

use super::reduce::Pairwise;

/// Scalings that bring squares back into the range of f64.
pub const SMALLER: f64 = f64::from_bits((1023 - 600) << 52);
const LARGER: f64 = f64::from_bits((1023 + 600) << 52);
/// Below this, squares have lost digits on the way.
const LEAST: f64 = 1e-270;
/// Squares below this change no bit of a sum that is infinite.
const LARGE: f64 = 1e200;

/// The root of a sum of squares, where `again` sums those of scaled values: squares can leave the range of f64.
pub fn root(sum: f64, again: impl FnOnce(f64) -> f64) -> f64 {
    let scale = if sum == f64::INFINITY {
        SMALLER
    } else if sum < LEAST {
        LARGER
    } else {
        return sum.sqrt();
    };
    again(scale).sqrt() / scale
}

/// Sums of squares: of the values, and of scaled ones as far as these can matter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known {
    /// Of the values.
    pub sum: f64,
    /// Of smaller ones, in case the sum is infinite.
    pub smaller: f64,
    /// Of larger ones, in case the sum is next to nothing.
    pub larger: f64,
}

impl Known {
    /// Those of leaves; `sums_at` sums the squares of their values multiplied by a number.
    pub(crate) fn of_leaves(mut sums_at: impl FnMut(f64) -> Vec<f64>) -> Vec<Self> {
        let sums = sums_at(1.0);
        let mut again = |matters: bool, scale| {
            if matters { sums_at(scale) } else { vec![0.0; sums.len()] }
        };
        let smaller = again(sums.iter().any(|&sum| sum > LARGE), SMALLER);
        let larger = again(sums.iter().all(|&sum| sum < LEAST), LARGER);
        let scaled = smaller.into_iter().zip(larger);
        let rows = sums.iter().zip(scaled);
        rows.map(|(&sum, (smaller, larger))| Self { sum, smaller, larger }).collect()
    }

    /// That of a tree, whose leaves have these.
    #[must_use]
    pub fn of_tree(leaves: &[Self]) -> Self {
        let total = |part: fn(&Self) -> f64| {
            let mut sum = Pairwise::default();
            for leaf in leaves {
                sum.add(part(leaf));
            }
            sum.total()
        };
        let (smaller, larger) = (total(|leaf| leaf.smaller), total(|leaf| leaf.larger));
        Self { sum: total(|leaf| leaf.sum), smaller, larger }
    }

    pub(crate) fn norm(&self) -> f64 {
        root(self.sum, |scale| if scale == SMALLER { self.smaller } else { self.larger })
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.sum.is_finite() || self.sum == f64::INFINITY && self.smaller.is_finite()
    }
}
