//! Distance over gradients, of all leaves together.

use super::gather::{Estimates, Gather, Over, Settle};
use super::op::{Beside, FromScalars, Meta, Op, bound, epsilon, estimate, flag};
use super::scale::Scale;
use crate::number::float::Float;
use crate::number::scalars::{larger, over};

pub const DOG: Meta = Meta {
    name: "dog",
    scalars: &[
        epsilon("eps"),
        bound("first_rate"),
        flag("is_first"),
        estimate("max_dist"),
        estimate("sum_sq_norm_grads"),
    ],
    slots: &["init_params"],
    params: true,
    gather: Some(Gather { over: Over::Tree, of: &[], settle: Settle::Estimates(estimates) }),
    ..Meta::PLAIN
};

/// The largest distance so far and the sum of squares of all gradients, the ones at hand included.
fn estimates(scalars: &[f64], [distance, squares]: Estimates) -> Estimates {
    let &[.., farthest, sum] = scalars else {
        unreachable!("the program counts each op's scalars")
    };
    [larger(farthest, distance.sqrt()), sum + squares]
}

/// `u rate`, where the op sums the squares of distances from the first parameters and of updates.
#[derive(Clone, Copy, Debug)]
pub struct TimesRate<T>(Scale<T>);

impl<T: Float> TimesRate<T> {
    pub(super) fn of(rate: f64) -> Self {
        Self(Scale { step_size: T::from_f64(rate) })
    }
}

/// `u max|p - p0| / √(Σ|u|² + eps)`, or `u first_rate` in a step that is the first.
impl<T: Float> FromScalars<7> for TimesRate<T> {
    fn from_scalars(&[eps, first_rate, is_first, _, _, farthest, squares]: &[f64; 7]) -> Self {
        let rate = over(farthest, (squares + eps).sqrt());
        Self::of(if is_first == 0.0 { rate } else { first_rate })
    }
}

impl<T: Float> Op<T, 1> for TimesRate<T> {
    const ADDS: bool = true;

    #[inline(always)]
    fn addends(&self, update: T, param: T, [first]: [T; 1]) -> Estimates {
        let (moved, update) = ((first - param).to_f64(), update.to_f64());
        [moved * moved, update * update]
    }

    #[inline(always)]
    fn element(&self, update: T, beside: Beside<T>, state: [T; 1]) -> (T, [T; 1]) {
        (self.0.element(update, beside, []).0, state)
    }

    // State stays as it is.
    fn as_factor(&self) -> Option<T> {
        Some(self.0.step_size)
    }
}
