use super::op::{FromScalars, Meta, Op, Reduce};
use crate::number::float::Float;

pub const EMA: Meta = Meta {
    name: "ema",
    scalars: &["decay", "correction"],
    slots: &["ema"],
    params: false,
    reduce: Reduce::None,
};

/// `e' = decay e + (1 - decay) u`; emits `e' / correction`.
#[derive(Clone, Copy, Debug)]
pub struct Ema<T> {
    decay: T,
    rest: T,
    correction: T,
}

impl<T: Float> FromScalars for Ema<T> {
    fn from_scalars(scalars: &[f64]) -> Self {
        Self {
            decay: T::from_f64(scalars[0]),
            rest: T::from_f64(1.0 - scalars[0]),
            correction: T::from_f64(scalars[1]),
        }
    }
}

impl<T: Float> Op<T, 1> for Ema<T> {
    #[inline(always)]
    fn element(&self, update: T, _: T, [ema]: [T; 1]) -> (T, [T; 1]) {
        let ema = self.decay * ema + self.rest * update;
        (ema / self.correction, [ema])
    }
}
