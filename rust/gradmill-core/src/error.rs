//! Errors as data: which array of which leaf, and why. The binding adds the leaf's path.

use std::fmt;

use crate::number::dtype::DType;

/// What an array is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The incoming gradient or update.
    Updates,
    /// The parameter.
    Params,
    /// The array that receives the update.
    Out,
    /// The array that receives a copy of the parameter.
    Copy,
    /// The state array with this index among the program's slots.
    Slot(usize),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Updates => f.write_str("updates"),
            Self::Params => f.write_str("params"),
            Self::Out => f.write_str("out"),
            Self::Copy => f.write_str("copy"),
            Self::Slot(slot) => write!(f, "state slot {slot}"),
        }
    }
}

/// Everything that can be wrong with a program or its arrays. Nothing was written when one is returned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No op bears this name.
    #[error("unknown op {0:?}")]
    UnknownOp(String),
    /// More ops than one program can hold.
    #[error("a chain fuses at most {max} ops, got {got}")]
    TooManyOps {
        /// The limit.
        max: usize,
        /// What was asked for.
        got: usize,
    },
    /// The scalars do not fit the program.
    #[error("expected {expected} scalars, got {got}")]
    Scalars {
        /// What the ops declare.
        expected: usize,
        /// What was passed.
        got: usize,
    },
    /// A scalar of this step is no number.
    #[error("{op}: {scalar} is nan")]
    NotANumber {
        /// The op.
        op: &'static str,
        /// The name of the scalar.
        scalar: &'static str,
    },
    /// A leaf lacks an array, or has one too many.
    #[error("leaf {leaf}: {role} {problem}")]
    Missing {
        /// Index of the leaf.
        leaf: usize,
        /// Which array.
        role: Role,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Arrays of one leaf differ in length.
    #[error("leaf {leaf}: {role} has {got} elements, updates has {expected}")]
    Length {
        /// Index of the leaf.
        leaf: usize,
        /// Which array.
        role: Role,
        /// Elements of the leaf's update.
        expected: usize,
        /// Elements of this array.
        got: usize,
    },
    /// The shape of a leaf has another number of elements, or an op can make no units of it.
    #[error("leaf {leaf}: {problem}")]
    Shape {
        /// Index of the leaf.
        leaf: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The buffer that carries updates from pass to pass could not be had.
    #[error("out of memory")]
    OutOfMemory,
    /// The receiving array has the wrong element type.
    #[error("leaf {leaf}: out is {got}, the chain computes in {expected}")]
    OutDtype {
        /// Index of the leaf.
        leaf: usize,
        /// The dtype the leaf is computed in.
        expected: DType,
        /// The dtype of the array.
        got: DType,
    },
}
