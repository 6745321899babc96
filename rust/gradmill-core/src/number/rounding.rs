//! How numbers are rounded to half precision.

use super::rng::Key;

/// How arrays of half precision round what they are to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// To one of the two neighbours, as [`super::element::Element::at_random`] takes it, with the words of the elements
    /// from `start` on.
    AtRandom {
        /// The key of the words.
        key: Key,
        /// Elements of the array before the first.
        start: u64,
    },
}
