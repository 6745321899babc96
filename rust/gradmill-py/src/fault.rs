//! Errors on their way to Python: which leaf of which tree, and what is wrong with it.

use gradmill_core::Error;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

create_exception!(
    _core,
    CoreError,
    PyException,
    "Something is wrong with one leaf. Arguments: the place, the message, whether it is a matter of type, \
     and the place it conflicts with or None. A place is a tree, the index of a slot or None, and a leaf."
);

/// The tree that an array belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    Updates,
    Params,
    Master,
    Slot(usize),
    /// The count of the member of the chain that `leaf` is the position of.
    Count,
}

/// One array among those of a call.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub tree: Tree,
    pub leaf: usize,
}

impl Place {
    fn parts(self) -> (&'static str, Option<usize>, usize) {
        match self.tree {
            Tree::Updates => ("updates", None, self.leaf),
            Tree::Params => ("params", None, self.leaf),
            Tree::Master => ("master", None, self.leaf),
            Tree::Count => ("count", None, self.leaf),
            Tree::Slot(slot) => ("state", Some(slot), self.leaf),
        }
    }

    /// The array's content or layout is wrong.
    pub fn value_error(self, message: impl Into<String>) -> PyErr {
        CoreError::new_err((self.parts(), message.into(), false, None::<()>))
    }

    /// The array is of the wrong kind.
    pub fn type_error(self, message: impl Into<String>) -> PyErr {
        CoreError::new_err((self.parts(), message.into(), true, None::<()>))
    }

    /// The array overlaps another one, and the step would write to one of them.
    pub fn shares_with(self, other: Self) -> PyErr {
        CoreError::new_err((self.parts(), "shares memory with", false, Some(other.parts())))
    }
}

/// Errors that the arrays' own checks do not catch first.
pub fn core_error(error: &Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::OutOfMemory => PyMemoryError::new_err(message),
        Error::UnknownOp(_)
        | Error::TooManyOps { .. }
        | Error::Scalars { .. }
        | Error::NotANumber { .. } => PyValueError::new_err(message),
        _ => PyRuntimeError::new_err(format!("{message}; please report this as a bug of gradmill")),
    }
}

/// What is wrong with a count that was changed.
pub const COUNT: &str = "was made read-only, or something else than an int32 without axes";

/// What is wrong where it was changed during a step, whose parameters and slots are written.
pub const COUNT_DURING: &str = "was made read-only, or something else than an int32 without axes, by another thread \
     during a step, which is not counted; restore params, and the state with init_from";
