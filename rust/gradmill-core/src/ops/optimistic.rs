use super::op::{Beside, FromScalars, Meta, Op, factor, flag};
use crate::number::float::Float;

pub const OPTIMISTIC: Meta = Meta {
    name: "scale_by_optimistic_gradient",
    scalars: &[factor("alpha"), factor("beta"), flag("is_initial_step")],
    slots: &["previous_gradient"],
    ..Meta::PLAIN
};

/// Keeps `u`; emits `(alpha + beta) u - beta w`, where `w` is the update before, and `u` in the first step.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByOptimisticGradient<T> {
    now: T,
    before: T,
    is_first: bool,
}

impl<T: Float> FromScalars<3> for ScaleByOptimisticGradient<T> {
    fn from_scalars(&[alpha, beta, is_first]: &[f64; 3]) -> Self {
        Self {
            now: T::from_f64(alpha + beta),
            before: T::from_f64(beta),
            is_first: is_first != 0.0,
        }
    }
}

impl<T: Float> Op<T, 1> for ScaleByOptimisticGradient<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [previous]: [T; 1]) -> (T, [T; 1]) {
        let previous = if self.is_first { update } else { previous };
        (self.now * update - self.before * previous, [update])
    }
}
