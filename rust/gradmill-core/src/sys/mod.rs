//! The machine: instruction sets, threads, the floating-point mode, and memory that stays with a thread.

pub mod config;
pub(crate) mod kept;
pub mod mode;
pub mod par;
#[cfg(feature = "planted")]
pub mod planted;
pub mod simd;
