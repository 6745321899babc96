//! Chains of gradient transformations, run in as few passes over memory as the chain allows.
//!
//! A [`Program`] is a chain's ops, validated once. [`run`] sends the [`Leaf`]s of a tree through it.
//! This crate knows nothing of Python; it works on slices, and is safe outside the strided views of [`leaf`] and the processor's mode, [`sys`].

pub mod alias;
mod blocks;
mod carrier;
mod convert;
mod dtype;
mod error;
mod exec;
mod fused;
mod kept;
mod kernel;
mod known;
pub mod leaf;
pub mod limit;
mod measure;
mod mixed;
pub mod ops;
mod others;
mod outcome;
pub mod par;
pub mod per_example;
#[cfg(feature = "planted")]
pub mod planted;
mod program;
mod reduce;
pub mod rng;
pub mod scalars;
pub mod simd;
mod staging;
mod stride;
pub mod sys;
pub mod units;
mod validate;
mod walk;
mod workspace;

pub use carrier::Carrier;
pub use convert::Element;
pub use dtype::{DType, Float};
pub use error::{Error, Role};
pub use exec::{Config, Step, count_not_finite, global_norm, run, run_rows, squares};
pub use known::Known;
pub use leaf::{Leaf, Row};
pub use outcome::{Flags, Outcome};
pub use program::{Entry, Pass, Program, Source};
pub use workspace::Workspace;
