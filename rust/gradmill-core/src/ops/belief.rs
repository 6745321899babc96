use super::adam::ADAM;
use super::op::{Beside, FromScalars, Meta, Op};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, correction_if, factors_of_root};

pub const BELIEF: Meta = Meta { name: "scale_by_belief", ..ADAM };
pub const BELIEF_NESTEROV: Meta = Meta { name: "scale_by_belief_nesterov", ..BELIEF };

/// `m' = b1 m + (1 - b1) u`, `s' = b2 s + (1 - b2) (u - m')² + eps_root`; emits `m̂ / (√ŝ + eps)`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByBelief<T, const NESTEROV: bool> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    eps: T,
    eps_root: T,
    mu_factor: T,
    update_factor: T,
    nu_factor: T,
}

impl<T: Float, const NESTEROV: bool> FromScalars<7> for ScaleByBelief<T, NESTEROV> {
    fn from_scalars(&[b1, b2, eps, eps_root, hat, corrects, count]: &[f64; 7]) -> Self {
        let correction1 = correction_if(corrects, b1, count);
        let mu_factor = if NESTEROV {
            b1 / correction_if(corrects, b1, count + 1.0)
        } else {
            1.0 / correction1
        };
        let (nu_factor, factor) = factors_of_root(hat, correction_if(corrects, b2, count));
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            eps: beside_root(eps),
            eps_root: T::from_f64(eps_root),
            mu_factor: T::from_f64(factor * mu_factor),
            update_factor: T::from_f64(factor * ((1.0 - b1) / correction1)),
            nu_factor: T::from_f64(nu_factor),
        }
    }
}

impl<T: Float, const NESTEROV: bool> Op<T, 2> for ScaleByBelief<T, NESTEROV> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu, nu]: [T; 2]) -> (T, [T; 2]) {
        let mu = self.b1 * mu + self.rest1 * update;
        let missed = update - mu;
        let nu = self.b2 * nu + self.rest2 * (missed * missed) + self.eps_root;
        let mut mu_hat = mu * self.mu_factor;
        if NESTEROV {
            mu_hat = mu_hat + update * self.update_factor;
        }
        (mu_hat / ((nu * self.nu_factor).sqrt() + self.eps), [mu, nu])
    }
}
