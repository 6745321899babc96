use super::op::{Beside, FromScalars, Meta, Op, bound};
use crate::number::float::Float;

pub const CLIP: Meta = Meta { name: "clip", scalars: &[bound("max_delta")], ..Meta::PLAIN };

/// `min(max(u, -max_delta), max_delta)`, where NaN stays NaN.
#[derive(Clone, Copy, Debug)]
pub struct Clip<T> {
    max_delta: T,
}

impl<T: Float> FromScalars<1> for Clip<T> {
    fn from_scalars(&[max_delta]: &[f64; 1]) -> Self {
        Self { max_delta: T::from_f64(max_delta).flush() }
    }
}

impl<T: Float> Op<T, 0> for Clip<T> {
    // Comparisons, since the min and max instructions of x86 drop a NaN.
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        let (low, high) = (-self.max_delta, self.max_delta);
        let raised = if update < low { low } else { update };
        (if raised > high { high } else { raised }, state)
    }
}
