//! Adam that estimates its learning rate.

use super::gather::{Estimates, Gather, Over, Settle};
use super::op::{
    Beside, FromScalars, Meta, Op, Reads, bound, count, decay, epsilon, estimate, factor, flag,
};
use crate::number::float::Float;
use crate::number::scalars::{adams_corrections, beside_root, larger, over};

pub const PRODIGY: Meta = Meta {
    name: "prodigy",
    scalars: &[
        decay("b1"),
        decay("b2"),
        decay("b3"),
        epsilon("eps"),
        bound("estim_lr0"),
        factor("estim_lr_coef"),
        factor("weight_decay"),
        flag("safeguard_warmup"),
        factor("learning_rate"),
        estimate("estim_lr"),
        estimate("numerator_weighted"),
        count("count"),
    ],
    slots: &["exp_avg", "exp_avg_sq", "grad_sum", "params0"],
    params: true,
    gather: Some(Gather { over: Over::Tree, of: &[], settle: Settle::Estimates(estimates) }),
    ..Meta::PLAIN
};

/// `d' = max(d, c r' / Σ|s'|)` and `r' = b3 r + d / d0 (d γ) Σ g (p0 - p)`.
fn estimates(scalars: &[f64], [towards, size]: Estimates) -> Estimates {
    let &[b1, b2, b3, _, d0, coef, _, _, learning_rate, d, weighted, count] = scalars else {
        unreachable!("the program counts each op's scalars")
    };
    let step = d * learning_rate * adams_corrections(b1, b2, count);
    let weighted = b3 * weighted + d / d0 * step * towards;
    // Gradients of zero so far tell nothing of a distance.
    [larger(d, over(coef * weighted, size)), weighted]
}

/// `s' = b3 s + d / d0 (d γ) g`, or without `γ`; `m' = b1 m + (1 - b1) d g`, `v' = b2 v + (1 - b2) (d g)²`; emits
/// `-d γ (weight_decay p + m' / (√v' + d' eps))`. `γ` is the learning rate times both corrections of Adam's.
#[derive(Clone, Copy, Debug)]
pub struct Prodigy<T> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    b3: T,
    d: T,
    /// What multiplies gradients in their sum.
    weight: T,
    step: T,
    decay: T,
    eps: T,
}

impl<T: Float> FromScalars<14> for Prodigy<T> {
    fn from_scalars(
        &[b1, b2, b3, eps, d0, _, weight_decay, safeguard, learning_rate, d, _, count, estimate, _]: &[f64; 14],
    ) -> Self {
        let step = d * learning_rate * adams_corrections(b1, b2, count);
        let weight = if safeguard == 0.0 { step } else { d } / d0 * d;
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            b3: T::from_f64(b3),
            d: T::from_f64(d),
            weight: T::from_f64(weight),
            step: T::from_f64(-step),
            decay: T::from_f64(-(weight_decay * step)),
            eps: beside_root(estimate * eps),
        }
    }
}

impl<T: Float> Prodigy<T> {
    #[inline(always)]
    fn sum(&self, update: T, sum: T) -> T {
        self.b3 * sum + self.weight * update
    }
}

impl<T: Float> Op<T, 4> for Prodigy<T> {
    const READS: Reads = Reads::PARAM;
    const ADDS: bool = true;

    #[inline(always)]
    fn addends(&self, update: T, param: T, [_, _, sum, first]: [T; 4]) -> Estimates {
        let towards = update.to_f64() * (first - param).to_f64();
        [towards, self.sum(update, sum).abs().to_f64()]
    }

    #[inline(always)]
    fn element(
        &self,
        update: T,
        Beside { param, .. }: Beside<T>,
        [m, v, sum, first]: [T; 4],
    ) -> (T, [T; 4]) {
        let scaled = self.d * update;
        let m = self.b1 * m + self.rest1 * scaled;
        let v = self.b2 * v + self.rest2 * (scaled * scaled);
        let step = self.decay * param + self.step * m / (v.sqrt() + self.eps);
        (step, [m, v, self.sum(update, sum), first])
    }
}
