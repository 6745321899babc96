use super::op::{FromScalars, Meta, Op, Reduce};
use crate::number::float::Float;

pub const TRACE: Meta = Meta {
    name: "trace",
    scalars: &["decay"],
    slots: &["trace"],
    params: false,
    reduce: Reduce::None,
};
pub const TRACE_NESTEROV: Meta = Meta { name: "trace_nesterov", ..TRACE };

/// `t' = u + decay * t`; emits `t'`, or `u + decay * t'` with Nesterov's correction.
#[derive(Clone, Copy, Debug)]
pub struct Trace<T, const NESTEROV: bool> {
    decay: T,
}

impl<T: Float, const NESTEROV: bool> FromScalars for Trace<T, NESTEROV> {
    fn from_scalars(scalars: &[f64]) -> Self {
        Self { decay: T::from_f64(scalars[0]) }
    }
}

impl<T: Float, const NESTEROV: bool> Op<T, 1> for Trace<T, NESTEROV> {
    #[inline(always)]
    fn element(&self, update: T, _: T, [trace]: [T; 1]) -> (T, [T; 1]) {
        let trace = update + self.decay * trace;
        let new = if NESTEROV { update + self.decay * trace } else { trace };
        (new, [trace])
    }
}
