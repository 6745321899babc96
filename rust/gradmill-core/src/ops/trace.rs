use super::op::{Beside, FromScalars, Meta, Op, decay};
use crate::number::float::Float;

pub const TRACE: Meta =
    Meta { name: "trace", scalars: &[decay("decay")], slots: &["trace"], ..Meta::PLAIN };
pub const TRACE_NESTEROV: Meta = Meta { name: "trace_nesterov", ..TRACE };

/// `t' = u + decay * t`; emits `t'`, or `u + decay * t'` with Nesterov's correction.
#[derive(Clone, Copy, Debug)]
pub struct Trace<T, const NESTEROV: bool> {
    decay: T,
}

impl<T: Float, const NESTEROV: bool> FromScalars<1> for Trace<T, NESTEROV> {
    fn from_scalars(&[decay]: &[f64; 1]) -> Self {
        Self { decay: T::from_f64(decay) }
    }
}

impl<T: Float, const NESTEROV: bool> Op<T, 1> for Trace<T, NESTEROV> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [trace]: [T; 1]) -> (T, [T; 1]) {
        let trace = update + self.decay * trace;
        let new = if NESTEROV { update + self.decay * trace } else { trace };
        (new, [trace])
    }
}
