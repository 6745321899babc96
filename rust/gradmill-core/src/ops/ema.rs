use super::op::{Beside, FromScalars, Meta, Op, count, decay, flag};
use crate::number::float::Float;
use crate::number::scalars::correction_if;

pub const EMA: Meta = Meta {
    name: "ema",
    scalars: &[decay("decay"), flag("debias"), count("count")],
    slots: &["ema"],
    ..Meta::PLAIN
};

/// `e' = decay e + (1 - decay) u`; emits `e' / correction`.
#[derive(Clone, Copy, Debug)]
pub struct Ema<T> {
    decay: T,
    rest: T,
    correction: T,
}

impl<T: Float> FromScalars<3> for Ema<T> {
    fn from_scalars(&[decay, debias, count]: &[f64; 3]) -> Self {
        Self {
            decay: T::from_f64(decay),
            rest: T::from_f64(1.0 - decay),
            correction: T::from_f64(correction_if(debias, decay, count)),
        }
    }
}

impl<T: Float> Op<T, 1> for Ema<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [ema]: [T; 1]) -> (T, [T; 1]) {
        let ema = self.decay * ema + self.rest * update;
        (ema / self.correction, [ema])
    }
}
