//! Sums over arrays, in f64: of squares, and of the units of leaves.

pub(crate) mod measure;
pub(crate) mod reduce;
pub(crate) mod squares;
pub mod units;
