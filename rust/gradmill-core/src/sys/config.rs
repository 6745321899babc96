//! How to run, and in which portions.

use super::simd::Tier;

/// Elements of a task. Fixed, so that no result depends on the thread count.
pub const CHUNK: usize = 1 << 17;

/// How to run, none of which changes a bit of the result.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most threads to use; 0 for as many as are in force.
    pub threads: usize,
    /// Instruction set.
    pub tier: Tier,
    /// Whether frequent chains run as one loop in registers.
    pub fuse: bool,
}
