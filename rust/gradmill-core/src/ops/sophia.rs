use super::op::{Beside, FromScalars, Meta, Op, bound, count, decay, epsilon, factor};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, bias_correction};

pub const SOPHIA: Meta = Meta {
    name: "scale_by_sophia",
    scalars: &[decay("b1"), epsilon("eps"), factor("gamma"), bound("threshold"), count("count")],
    slots: &["mu", "nu"],
    ..Meta::PLAIN
};

/// `m' = b1 m + (1 - b1) u`; emits `m̂ / max(gamma h, eps)`, between `-threshold` and `threshold`. The average `h` of the
/// diagonal of the Hessian stays.
#[derive(Clone, Copy, Debug)]
pub struct ScaleBySophia<T> {
    b1: T,
    rest1: T,
    mu_factor: T,
    eps: T,
    gamma: T,
    threshold: T,
}

impl<T: Float> FromScalars<5> for ScaleBySophia<T> {
    fn from_scalars(&[b1, eps, gamma, threshold, count]: &[f64; 5]) -> Self {
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            mu_factor: T::from_f64(1.0 / bias_correction(b1, count + 1.0)),
            eps: beside_root(eps),
            gamma: T::from_f64(gamma),
            threshold: T::from_f64(threshold).flush(),
        }
    }
}

impl<T: Float> Op<T, 2> for ScaleBySophia<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu, hessian]: [T; 2]) -> (T, [T; 2]) {
        let mu = self.b1 * mu + self.rest1 * update;
        let size = self.gamma * hessian;
        let size = if size < self.eps { self.eps } else { size };
        let ratio = mu * self.mu_factor / size;
        let raised = if ratio < -self.threshold { -self.threshold } else { ratio };
        (if raised > self.threshold { self.threshold } else { raised }, [mu, hessian])
    }
}
