//! What an op is.

use crate::number::float::Float;
use crate::sums::units::UnitRule;

/// What an op needs, as plain data.
#[derive(Debug)]
pub struct Meta {
    /// The name a program refers to.
    pub name: &'static str,
    /// The per-step numbers it takes, in order.
    pub scalars: &'static [&'static str],
    /// The state arrays it owns, in order.
    pub slots: &'static [&'static str],
    /// Whether it reads the parameters.
    pub params: bool,
    /// What it has to know of the update that reaches it, as a whole; this ends a pass.
    pub reduce: Reduce,
}

/// Something that is known only when a walk over the update is done.
#[derive(Clone, Copy, Debug)]
pub enum Reduce {
    /// Nothing.
    None,
    /// The norm of all leaves together; the op finds it behind its scalars.
    Norm,
    /// A number for each unit of each leaf.
    Units(UnitRule),
    /// Whether each element of all leaves is finite, which decides on the ops that this one governs.
    Finite,
    /// Whether a leaf has a NaN, for the caller.
    Nans,
}

impl Reduce {
    /// Whether there is anything to be known.
    #[must_use]
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }
}

/// What `element` is handed beside the update and the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Nothing that it looks at.
    Nothing,
    /// The parameter.
    Params,
    /// The number of the element's unit.
    Number,
    /// A normally distributed number.
    Normal,
}

/// The arithmetic of an op on one element, with `N` state arrays.
pub trait Op<T: Float, const N: usize>: Copy + Send + Sync {
    /// What the second argument of `element` is.
    const READS: Reads = Reads::Nothing;

    /// The new update and the new state.
    fn element(&self, update: T, other: T, state: [T; N]) -> (T, [T; N]);

    /// Whether each update that leaves is zero, whatever comes.
    fn gives_zero(&self) -> bool {
        false
    }

    /// Whether an update of zero leaves as zero.
    fn keeps_zero(&self) -> bool {
        false
    }

    /// Whether a finite update leaves as a finite one.
    fn keeps_finite(&self) -> bool {
        false
    }
}

/// Constants of an op, rounded from f64 scalars.
pub trait FromScalars {
    /// Rounds each scalar once, after all arithmetic among scalars is done in f64.
    fn from_scalars(scalars: &[f64]) -> Self;
}

/// Receives an op as a type.
pub trait Visitor<T: Float> {
    /// What the visit gives.
    type Output;

    /// Called once, with the op and the number of its slots.
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> Self::Output;
}
