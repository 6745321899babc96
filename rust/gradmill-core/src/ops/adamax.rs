use super::op::{Beside, FromScalars, Meta, Op, count, decay, epsilon};
use crate::number::float::Float;
use crate::number::scalars::bias_correction;

pub const ADAMAX: Meta = Meta {
    name: "scale_by_adamax",
    scalars: &[decay("b1"), decay("b2"), epsilon("eps"), count("count")],
    slots: &["mu", "nu"],
    ..Meta::PLAIN
};

/// `m' = b1 m + (1 - b1) u`, `v' = max(b2 v, |u| + eps)`; emits `m̂ / v'`, and zero where `v'` is.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByAdamax<T> {
    b1: T,
    rest1: T,
    b2: T,
    eps: T,
    mu_factor: T,
}

impl<T: Float> FromScalars<4> for ScaleByAdamax<T> {
    fn from_scalars(&[b1, b2, eps, count]: &[f64; 4]) -> Self {
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            eps: T::from_f64(eps).flush(),
            mu_factor: T::from_f64(1.0 / bias_correction(b1, count + 1.0)),
        }
    }
}

impl<T: Float> Op<T, 2> for ScaleByAdamax<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu, nu]: [T; 2]) -> (T, [T; 2]) {
        let mu = self.b1 * mu + self.rest1 * update;
        let (faded, size) = (self.b2 * nu, update.abs() + self.eps);
        // A NaN of either stays one.
        let larger = if faded <= size { size } else { faded };
        let nu = if size.is_nan() { size } else { larger };
        let none = nu == T::ZERO;
        let (mu_hat, divisor) = if none { (T::ZERO, T::ONE) } else { (mu * self.mu_factor, nu) };
        (mu_hat / divisor, [mu, nu])
    }
}
