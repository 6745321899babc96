//! What runs on dense memory.

pub mod blocks;
pub mod fused;
pub mod kernel;
pub mod loops;
pub mod mixed;
pub mod others;
pub mod placed;
pub mod set;
pub mod stride;
