//! The steps of a pass, and where they run.

use super::settled::Settled;
use crate::data::Origin;
use crate::ops::AnyOp;
use crate::sys::simd::Tier;

/// A step of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Placed<T> {
    pub step: AnyOp<T>,
    /// The position of its op in the program.
    pub op: usize,
    /// The position of its first slot among those of the pass that the leaf has.
    pub first_slot: usize,
}

/// What a stretch of a leaf needs beside its arrays.
#[derive(Clone, Copy, Debug)]
pub struct Site<'s> {
    pub tier: Tier,
    pub origin: Origin,
    pub settled: &'s Settled,
}
