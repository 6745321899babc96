//! What an op is.

use super::gather::{Estimates, Gather, Settle};
use crate::number::float::Float;

/// What an op needs, as plain data.
#[derive(Debug)]
pub struct Meta {
    /// The name a program refers to.
    pub name: &'static str,
    /// The per-step numbers it takes, in order.
    pub scalars: &'static [Scalar],
    /// The state arrays it owns, in order.
    pub slots: &'static [&'static str],
    /// The state arrays it owns with a number for each unit, in order, behind those above.
    pub unit_slots: &'static [&'static str],
    /// Whether it reads the parameters.
    pub params: bool,
    /// What it has to know of more than an element.
    pub gather: Option<Gather>,
    /// The op that takes its place, with the same scalars, for leaves in which it finds no units.
    pub otherwise: Option<&'static str>,
}

impl Meta {
    /// An op without a name, which needs nothing.
    pub(super) const PLAIN: Self = Self {
        name: "",
        scalars: &[],
        slots: &[],
        unit_slots: &[],
        params: false,
        gather: None,
        otherwise: None,
    };

    /// How many numbers its constants are made from: its scalars, and what it finds behind them.
    pub(crate) const fn numbers(&self) -> usize {
        self.scalars.len() + self.found()
    }

    /// How many numbers it finds behind its scalars.
    pub(crate) const fn found(&self) -> usize {
        match self.gather {
            Some(Gather { settle: Settle::Scalar, .. }) => 1,
            Some(Gather { settle: Settle::Estimates(_), .. }) => {
                size_of::<Estimates>() / size_of::<f64>()
            }
            _ => 0,
        }
    }
}

/// A per-step number of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: ScalarKind,
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarKind {
    /// The weight of what was, from zero to one.
    Decay,
    /// A small number that keeps a divisor from zero, or zero.
    Epsilon,
    /// Any factor, of either sign.
    Factor,
    /// A bound of a size, not negative.
    Bound,
    /// One or, for no, zero.
    Flag,
    /// An integer that is not negative.
    Count,
    /// A word of a key.
    Word,
    /// What the op has estimated before, of which arrays may have made a NaN.
    Estimate,
}

macro_rules! kinds_of_scalars {
    ($($make:ident $kind:ident)*) => {
        $(/// One of this kind.
        pub(super) const fn $make(name: &'static str) -> Scalar {
            Scalar { name, kind: ScalarKind::$kind }
        })*
    };
}

kinds_of_scalars! {
    decay Decay
    epsilon Epsilon
    factor Factor
    bound Bound
    flag Flag
    count Count
    word Word
    estimate Estimate
}

/// What `element` looks at beside the update and the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// The parameter.
    pub param: bool,
    /// The number of the element's unit.
    pub number: bool,
    /// A normally distributed number.
    pub normal: bool,
}

impl Reads {
    /// Nothing.
    pub const NOTHING: Self = Self { param: false, number: false, normal: false };
    /// The parameter alone.
    pub const PARAM: Self = Self { param: true, ..Self::NOTHING };
    /// The number of the element's unit alone.
    pub const NUMBER: Self = Self { number: true, ..Self::NOTHING };
    /// A normally distributed number alone.
    pub const NORMAL: Self = Self { normal: true, ..Self::NOTHING };
}

/// What [`Reads`] names, zero or empty where an op does not look at it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<A> {
    /// The parameter.
    pub param: A,
    /// The number of the element's unit.
    pub number: A,
    /// A normally distributed number.
    pub normal: A,
}

/// The arithmetic of an op on one element, with `N` state arrays.
pub trait Op<T: Float, const N: usize>: Copy + Send + Sync {
    /// What `element` looks at beside the update and the state.
    const READS: Reads = Reads::NOTHING;

    /// Whether it has [`Op::addends`].
    const ADDS: bool = false;

    /// Which of its slots are means of squares, as bits; others are of either sign. State in codes is stored accordingly.
    const SQUARES: u32 = 0;

    /// The new update and the new state.
    fn element(&self, update: T, beside: Beside<T>, state: [T; N]) -> (T, [T; N]);

    /// What an element adds to sums over the tree or its leaf, of which the op knows what became when `element` runs. Here
    /// the op does not know yet.
    #[inline(always)]
    fn addends(&self, update: T, param: T, state: [T; N]) -> Estimates {
        let _ = (update, param, state);
        Estimates::default()
    }

    /// The factor by which it multiplies updates, where it does nothing else.
    fn as_factor(&self) -> Option<T> {
        None
    }

    /// The same for a leaf all of whose elements have this number of their unit.
    fn as_factor_with(&self, number: T) -> Option<T> {
        let _ = number;
        None
    }

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

    /// Shows `visitor` what stands for this op in a superinstruction: itself, or one that does the same with less, or
    /// nothing where constants are so rare that they are not worth loops of their own.
    #[inline(always)]
    fn in_registers<V: Visitor<T>>(&self, visitor: V) -> Option<V::Output> {
        Some(visitor.visit(self))
    }
}

/// How often chains are met with an op as the moment of a superinstruction: loops are code, so what is rare has fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frequency {
    /// In single precision and in place; all else runs block by block.
    Rare,
    /// In double precision as well, from old arrays to new ones, and without a scaling before it.
    Common,
    /// Over arrays of half precision as well.
    Frequent,
}

/// Constants of an op, rounded from f64 scalars.
pub trait FromScalars<const K: usize> {
    /// Rounds each scalar once, after all arithmetic among scalars is done in f64.
    fn from_scalars(scalars: &[f64; K]) -> Self;
}

/// Receives an op as a type.
pub trait Visitor<T: Float> {
    /// What the visit gives.
    type Output;

    /// Called once, with the op and the number of its slots.
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> Self::Output;
}

/// Receives what stands at the end of a superinstruction, an op with one slot, and its moment as types.
pub trait TailVisitor<T: Float> {
    /// What the visit gives.
    type Output;

    /// Called once, with the moment, the number of its slots, and one more; or, where there is no moment, with [`Nothing`].
    fn visit_tail<const N: usize, const K: usize, M: Op<T, N>, Q: Op<T, 1>>(
        self,
        moment: &M,
        tail: &Q,
    ) -> Self::Output;
}

/// Stands for the moment op in a chain that has none.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl<T: Float> Op<T, 0> for Nothing {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (update, state)
    }
}

/// Receives the moment of a superinstruction as a type.
pub trait MomentVisitor<T: Float> {
    /// What the visit gives.
    type Output;
    /// Those that are met less often are not shown.
    const LEAST: Frequency;

    /// Called once, with the moment, the number of its slots, and its [`Frequency`].
    fn visit_moment<const FREQUENCY: u8, const N: usize, O: Op<T, N>>(self, op: &O)
    -> Self::Output;
}
