//! What a chain is, before it meets arrays.

pub mod pass;
pub mod program;
pub(crate) mod validate;
