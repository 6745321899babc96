//! What a chain is, before it meets arrays.

pub(crate) mod member;
pub(crate) mod pass;
pub(crate) mod program;
pub(crate) mod validate;
