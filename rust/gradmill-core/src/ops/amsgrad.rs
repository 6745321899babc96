use super::op::{Beside, FromScalars, Meta, Op, count, decay, epsilon, flag};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, correction_if, factors_of_root};

pub const AMSGRAD: Meta = Meta {
    name: "scale_by_amsgrad",
    scalars: &[
        decay("b1"),
        decay("b2"),
        epsilon("eps"),
        epsilon("eps_root"),
        flag("hat"),
        flag("bias_correction_mu"),
        flag("bias_correction_nu"),
        count("count"),
    ],
    slots: &["mu", "nu", "nu_max"],
    ..Meta::PLAIN
};

/// `m' = b1 m + (1 - b1) u`, `v' = b2 v + (1 - b2) u²`, `w' = max(w, v̂)`; emits `m̂ / (√(w' + eps_root) + eps)`, where
/// each moment is corrected if that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByAmsgrad<T> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    eps: T,
    eps_root: T,
    mu_factor: T,
    nu_factor: T,
}

impl<T: Float> FromScalars<8> for ScaleByAmsgrad<T> {
    fn from_scalars(
        &[b1, b2, eps, eps_root, hat, corrects_mu, corrects_nu, count]: &[f64; 8],
    ) -> Self {
        let (nu_factor, factor) = factors_of_root(hat, correction_if(corrects_nu, b2, count));
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            eps: beside_root(eps),
            eps_root: T::from_f64(eps_root),
            mu_factor: T::from_f64(factor / correction_if(corrects_mu, b1, count)),
            nu_factor: T::from_f64(nu_factor),
        }
    }
}

impl<T: Float> Op<T, 3> for ScaleByAmsgrad<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu, nu, nu_max]: [T; 3]) -> (T, [T; 3]) {
        let mu = self.b1 * mu + self.rest1 * update;
        let nu = self.b2 * nu + self.rest2 * (update * update);
        let nu_hat = nu * self.nu_factor;
        // One instruction, which hands on a NaN of the average alone: no step leaves another. What is subnormal is not
        // greater than zero.
        let nu_max = if nu_max > nu_hat { nu_max } else { nu_hat };
        let root = (nu_max + self.eps_root).sqrt() + self.eps;
        (mu * self.mu_factor / root, [mu, nu, nu_max])
    }
}
