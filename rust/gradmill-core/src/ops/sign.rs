use super::op::{Beside, FromScalars, Meta, Op};
use crate::number::float::Float;

pub const SIGN: Meta = Meta { name: "scale_by_sign", ..Meta::PLAIN };

/// The sign of an update: -1, 0 or 1.
#[derive(Clone, Copy, Debug)]
pub struct ScaleBySign;

impl FromScalars<0> for ScaleBySign {
    fn from_scalars(_: &[f64; 0]) -> Self {
        Self
    }
}

impl<T: Float> Op<T, 0> for ScaleBySign {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (update.sign(), state)
    }

    fn keeps_zero(&self) -> bool {
        true
    }

    fn keeps_finite(&self) -> bool {
        true
    }
}
