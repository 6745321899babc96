use super::op::{FromScalars, Meta, Op, Reduce};
use crate::number::float::Float;
use crate::number::scalars::correction_if;

pub const EMA: Meta = Meta {
    name: "ema",
    scalars: &["decay", "debias", "count"],
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
        let &[decay, debias, count] = scalars else {
            unreachable!("the program counts each op's scalars")
        };
        Self {
            decay: T::from_f64(decay),
            rest: T::from_f64(1.0 - decay),
            correction: T::from_f64(correction_if(debias, decay, count)),
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
