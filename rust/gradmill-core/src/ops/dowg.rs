//! Distance over gradients that are weighted by it.

use super::dog::TimesRate;
use super::gather::{Estimates, Gather, Over, Settle};
use super::op::{FromScalars, Meta, epsilon, estimate};
use crate::number::float::Float;
use crate::number::scalars::{larger, over};

pub const DOWG: Meta = Meta {
    name: "dowg",
    scalars: &[epsilon("eps"), estimate("weighted_sq_norm_grads"), estimate("estim_sq_dist")],
    slots: &["init_params"],
    params: true,
    gather: Some(Gather { over: Over::Tree, of: &[], settle: Settle::Estimates(estimates) }),
    ..Meta::PLAIN
};

/// The weighted sum of squares of all gradients and the largest square of a distance, the ones at hand included.
fn estimates(scalars: &[f64], [distance, squares]: Estimates) -> Estimates {
    let &[_, weighted, farthest] = scalars else {
        unreachable!("the program counts each op's scalars")
    };
    let farthest = larger(farthest, distance);
    [weighted + farthest * squares, farthest]
}

/// `u r² / (√Σ r²|u|² + eps)`, where `r` is the largest distance so far.
impl<T: Float> FromScalars<5> for TimesRate<T> {
    fn from_scalars(&[eps, _, _, weighted, farthest]: &[f64; 5]) -> Self {
        Self::of(over(farthest, weighted.sqrt() + eps))
    }
}
