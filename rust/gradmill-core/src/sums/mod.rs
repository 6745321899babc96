//! Sums over arrays, in f64: of squares, and of the units of leaves.

pub(crate) mod known;
pub(crate) mod measure;
pub(crate) mod reduce;
pub mod units;
