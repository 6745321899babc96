//! AdamW that estimates its learning rate by D-adaptation.

use super::gather::{Estimates, Gather, Over, Settle};
use super::op::{Beside, FromScalars, Meta, Op, Reads, count, decay, epsilon, estimate, factor};
use crate::number::float::Float;
use crate::number::scalars::{adams_corrections, beside_root, larger, over};

pub const DADAPT_ADAMW: Meta = Meta {
    name: "dadapt_adamw",
    scalars: &[
        decay("b1"),
        decay("b2"),
        epsilon("eps"),
        factor("weight_decay"),
        factor("learning_rate"),
        estimate("estim_lr"),
        estimate("numerator_weighted"),
        count("count"),
    ],
    slots: &["exp_avg", "exp_avg_sq", "grad_sum"],
    params: true,
    gather: Some(Gather { over: Over::Tree, of: &[], settle: Settle::Estimates(estimates) }),
    ..Meta::PLAIN
};

/// `d' = max(d, r' / ((1 - b) Σ|s'|))` and `r' = b r + (1 - b) d γ Σ g s / (√v + eps)`, where `b` is the root of `b2`.
fn estimates(scalars: &[f64], [along, size]: Estimates) -> Estimates {
    let &[b1, b2, _, _, learning_rate, d, weighted, count] = scalars else {
        unreachable!("the program counts each op's scalars")
    };
    let step = d * learning_rate * adams_corrections(b1, b2, count);
    let (kept, rest) = (b2.sqrt(), 1.0 - b2.sqrt());
    let weighted = kept * weighted + rest * (step * along);
    // Gradients of zero so far tell nothing of a distance.
    [larger(d, over(weighted, rest * size)), weighted]
}

/// `m' = b1 m + (1 - b1) d γ g`, `v' = b2 v + (1 - b2) g²`, `s' = b s + (1 - b) d γ g`; emits
/// `-(weight_decay d γ p + m' / (√v' + eps))`. `γ` is the learning rate times both corrections of Adam's.
#[derive(Clone, Copy, Debug)]
pub struct DadaptAdamw<T> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    kept: T,
    rest: T,
    step: T,
    decay: T,
    eps: T,
}

impl<T: Float> FromScalars<10> for DadaptAdamw<T> {
    fn from_scalars(
        &[b1, b2, eps, weight_decay, learning_rate, d, _, count, _, _]: &[f64; 10],
    ) -> Self {
        let step = d * learning_rate * adams_corrections(b1, b2, count);
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            kept: T::from_f64(b2.sqrt()),
            rest: T::from_f64(1.0 - b2.sqrt()),
            step: T::from_f64(step),
            decay: T::from_f64(-(weight_decay * step)),
            eps: beside_root(eps),
        }
    }
}

impl<T: Float> DadaptAdamw<T> {
    #[inline(always)]
    fn sum(&self, update: T, sum: T) -> T {
        self.kept * sum + self.rest * (self.step * update)
    }
}

impl<T: Float> Op<T, 3> for DadaptAdamw<T> {
    const READS: Reads = Reads::PARAM;
    const ADDS: bool = true;

    #[inline(always)]
    fn addends(&self, update: T, _: T, [_, v, sum]: [T; 3]) -> Estimates {
        let along = update.to_f64() * (sum / (v.sqrt() + self.eps)).to_f64();
        [along, self.sum(update, sum).abs().to_f64()]
    }

    #[inline(always)]
    fn element(
        &self,
        update: T,
        Beside { param, .. }: Beside<T>,
        [m, v, sum]: [T; 3],
    ) -> (T, [T; 3]) {
        let m = self.b1 * m + self.rest1 * (self.step * update);
        let v = self.b2 * v + self.rest2 * (update * update);
        let step = self.decay * param - m / (v.sqrt() + self.eps);
        (step, [m, v, self.sum(update, sum)])
    }
}
