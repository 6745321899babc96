//! Updates collected over several steps and handed on in the last of them.

use super::op::{Beside, FromScalars, Meta, Op, count, flag};
use crate::number::float::Float;

pub const EVERY: Meta = Meta {
    name: "apply_every",
    scalars: &[flag("first"), flag("emit")],
    slots: &["grad_acc"],
    ..Meta::PLAIN
};
pub const SUM: Meta = Meta {
    name: "multi_steps_sum",
    scalars: &[count("collected"), flag("emit"), flag("skip")],
    slots: &["acc_grads"],
    ..EVERY
};
pub const MEAN: Meta = Meta { name: "multi_steps_mean", ..SUM };

/// `a' = u` in the first step and `a + u` in others; emits `a'` or zero.
///
/// By selection, not by products with zero, so that no NaN outlives its round.
#[derive(Clone, Copy, Debug)]
pub struct ApplyEvery {
    first: bool,
    emit: bool,
}

impl FromScalars<2> for ApplyEvery {
    fn from_scalars(&[first, emit]: &[f64; 2]) -> Self {
        Self { first: first != 0.0, emit: emit != 0.0 }
    }
}

impl<T: Float> Op<T, 1> for ApplyEvery {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [acc]: [T; 1]) -> (T, [T; 1]) {
        let acc = if self.first { update } else { acc + update };
        (if self.emit { acc } else { T::ZERO }, [acc])
    }

    fn gives_zero(&self) -> bool {
        !self.emit
    }
}

/// `a' = a + u`, or the running mean `a + (u - a) / (collected + 1)`. Emits `a'` and starts again from zero,
/// or emits zero; a skipped update changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct MultiSteps<T, const MEAN: bool> {
    count: T,
    emit: bool,
    skip: bool,
}

impl<T: Float, const MEAN: bool> FromScalars<3> for MultiSteps<T, MEAN> {
    fn from_scalars(&[collected, emit, skip]: &[f64; 3]) -> Self {
        Self { count: T::from_f64(collected + 1.0), emit: emit != 0.0, skip: skip != 0.0 }
    }
}

impl<T, const MEAN: bool> MultiSteps<T, MEAN> {
    #[inline(always)]
    fn emits(&self) -> bool {
        self.emit && !self.skip
    }
}

impl<T: Float, const MEAN: bool> Op<T, 1> for MultiSteps<T, MEAN> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [acc]: [T; 1]) -> (T, [T; 1]) {
        let new = if MEAN { acc + (update - acc) / self.count } else { acc + update };
        let taken = if self.skip { acc } else { new };
        if self.emits() { (taken, [T::ZERO]) } else { (T::ZERO, [taken]) }
    }

    fn gives_zero(&self) -> bool {
        !self.emits()
    }
}
