//! Updates set to zero: all of them, or those that are no numbers.

use super::gather::{Addend, Gather, Of, Over, Settle};
use super::op::{Beside, FromScalars, Meta, Op, flag};
use crate::number::float::Float;
use crate::sums::units::UnitAxes;

pub const ALL: Meta = Meta { name: "set_to_zero", ..Meta::PLAIN };
/// Runs where its gate is closed.
pub const UNLESS_FINITE: Meta = Meta {
    name: "apply_if_finite",
    scalars: &[flag("accept")],
    gather: Some(Gather {
        over: Over::Tree,
        of: &[(Of::Update, Addend::NotFinite)],
        settle: Settle::Gate,
    }),
    ..ALL
};
pub const NANS: Meta = Meta {
    name: "zero_nans",
    gather: Some(Gather {
        over: Over::Units(UnitAxes::All),
        of: &[(Of::Update, Addend::Nan)],
        settle: Settle::Flags,
    }),
    ..ALL
};

/// `0`, whatever the update is.
#[derive(Clone, Copy, Debug)]
pub struct SetToZero;

impl<const K: usize> FromScalars<K> for SetToZero {
    fn from_scalars(_: &[f64; K]) -> Self {
        Self
    }
}

impl<T: Float> Op<T, 0> for SetToZero {
    #[inline(always)]
    fn element(&self, _: T, _: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (T::ZERO, state)
    }

    fn gives_zero(&self) -> bool {
        true
    }
}

/// `0` where the update is NaN.
#[derive(Clone, Copy, Debug)]
pub struct ZeroNans;

impl FromScalars<0> for ZeroNans {
    fn from_scalars(_: &[f64; 0]) -> Self {
        Self
    }
}

impl<T: Float> Op<T, 0> for ZeroNans {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (if update.is_nan() { T::ZERO } else { update }, state)
    }

    fn keeps_zero(&self) -> bool {
        true
    }
}
