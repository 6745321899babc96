use super::op::{Beside, FromScalars, Meta, Op, count, decay, epsilon, factor};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, bias_correction};

pub const ACPROP: Meta = Meta {
    name: "scale_by_acprop",
    scalars: &[factor("b1"), decay("b2"), epsilon("eps"), epsilon("eps_root"), count("count")],
    slots: &["mu", "nu"],
    ..Meta::PLAIN
};

/// Emits `u / (√v̂ + eps)`, or `u / (1 + eps)` in the first step; then `v' = b2 v + (1 - b2) (u - m)² + eps_root` and
/// `m' = b1 m + (1 - b1) u`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByAcprop<T> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    eps: T,
    eps_root: T,
    nu_factor: T,
}

impl<T: Float> FromScalars<5> for ScaleByAcprop<T> {
    fn from_scalars(&[b1, b2, eps, eps_root, count]: &[f64; 5]) -> Self {
        let (nu_factor, eps) = if count == 0.0 {
            (0.0, T::from_f64(1.0 + eps))
        } else {
            (1.0 / bias_correction(b2, count), beside_root(eps))
        };
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            eps,
            eps_root: T::from_f64(eps_root),
            nu_factor: T::from_f64(nu_factor),
        }
    }
}

impl<T: Float> Op<T, 2> for ScaleByAcprop<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu, nu]: [T; 2]) -> (T, [T; 2]) {
        let size = (nu * self.nu_factor).sqrt() + self.eps;
        let missed = update - mu;
        let mu = self.b1 * mu + self.rest1 * update;
        let nu = self.b2 * nu + self.rest2 * (missed * missed) + self.eps_root;
        (update / size, [mu, nu])
    }
}
