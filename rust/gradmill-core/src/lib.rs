//! Chains of gradient transformations, run in as few passes over memory as the chain allows.
//!
//! A [`Program`] is a chain's ops, validated once. [`run()`] sends the [`Leaf`]s of a tree through it.
//! This crate knows nothing of Python; it works on slices, and is safe outside the strided views of [`data`] and the processor's mode, [`sys::mode`].

pub mod data;
mod error;
mod kernels;
pub mod number;
pub mod ops;
mod plan;
pub mod run;
pub mod sums;
pub mod sys;

pub use data::Leaf;
pub use error::{Error, Role};
pub use number::dtype::DType;
pub use number::element::Element;
pub use number::float::Float;
pub use plan::member::Entry;
pub use plan::pass::{Pass, PassInput};
pub use plan::program::Program;
pub use run::carrier::Carrier;
pub use run::exec::halves::gathered;
pub use run::exec::{Step, count_not_finite, global_norm, run, run_rows};
pub use run::outcome::{Flags, Outcome};
pub use run::row::Row;
pub use run::workspace::Workspace;
pub use sums::squares::Squares;
pub use sys::config::Config;
