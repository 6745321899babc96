//! Updates collected over several steps and handed on in the last of them.

use super::op::{FromScalars, Meta, Op, Reduce};
use crate::number::float::Float;

pub const EVERY: Meta = Meta {
    name: "apply_every",
    scalars: &["first", "emit"],
    slots: &["grad_acc"],
    params: false,
    reduce: Reduce::None,
};
pub const SUM: Meta = Meta {
    name: "multi_steps_sum",
    scalars: &["collected", "emit", "skip"],
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

impl FromScalars for ApplyEvery {
    fn from_scalars(scalars: &[f64]) -> Self {
        Self { first: scalars[0] != 0.0, emit: scalars[1] != 0.0 }
    }
}

impl<T: Float> Op<T, 1> for ApplyEvery {
    #[inline(always)]
    fn element(&self, update: T, _: T, [acc]: [T; 1]) -> (T, [T; 1]) {
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

impl<T: Float, const MEAN: bool> FromScalars for MultiSteps<T, MEAN> {
    fn from_scalars(scalars: &[f64]) -> Self {
        let &[collected, emit, skip] = scalars else {
            unreachable!("the program counts each op's scalars")
        };
        Self { count: T::from_f64(collected + 1.0), emit: emit != 0.0, skip: skip != 0.0 }
    }
}

impl<T, const MEAN: bool> MultiSteps<T, MEAN> {
    fn emits(&self) -> bool {
        self.emit && !self.skip
    }
}

impl<T: Float, const MEAN: bool> Op<T, 1> for MultiSteps<T, MEAN> {
    #[inline(always)]
    fn element(&self, update: T, _: T, [acc]: [T; 1]) -> (T, [T; 1]) {
        let new = if MEAN { acc + (update - acc) / self.count } else { acc + update };
        let taken = if self.skip { acc } else { new };
        if self.emits() { (taken, [T::ZERO]) } else { (T::ZERO, [taken]) }
    }

    fn gives_zero(&self) -> bool {
        !self.emits()
    }
}
