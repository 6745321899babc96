//! What runs on dense memory.

pub(crate) mod addends;
pub(crate) mod blocks;
pub(crate) mod coded;
pub(crate) mod fused;
pub(crate) mod kernel;
pub(crate) mod loops;
pub(crate) mod mixed;
pub(crate) mod placed;
pub(crate) mod set;
pub(crate) mod settled;
pub(crate) mod stride;
