use super::op::{Beside, FromScalars, Meta, Op, Reads};
use crate::number::float::Float;

pub const KEEP_NONNEGATIVE: Meta =
    Meta { name: "keep_params_nonnegative", params: true, ..Meta::PLAIN };

/// `-p` where `p + u < 0`, else `u`.
#[derive(Clone, Copy, Debug)]
pub struct KeepParamsNonnegative;

impl FromScalars<0> for KeepParamsNonnegative {
    fn from_scalars(_: &[f64; 0]) -> Self {
        Self
    }
}

impl<T: Float> Op<T, 0> for KeepParamsNonnegative {
    const READS: Reads = Reads::PARAM;

    #[inline(always)]
    fn element(&self, update: T, Beside { param, .. }: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (if param + update < T::ZERO { -param.flush() } else { update }, state)
    }
}
