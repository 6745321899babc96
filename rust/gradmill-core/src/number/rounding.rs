//! How numbers are rounded to half precision.

use super::rng::Key;

/// How arrays of half precision round what they are to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// See [`super::element::Element::at_random`]; words are those of the elements from `start` on.
    AtRandom {
        /// What the words are drawn with.
        key: Key,
        /// Elements of the array before the first.
        start: u64,
    },
}
