use super::adam::ADAM;
use super::op::{Beside, FromScalars, Meta, Op};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, correction_if, factors_of_root};

pub const YOGI: Meta = Meta { name: "scale_by_yogi", ..ADAM };

/// `m' = b1 m + (1 - b1) u`, `v' = v - (1 - b2) sign(v - u²) u²`; emits `m̂ / (√(v̂ + eps_root) + eps)`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByYogi<T> {
    b1: T,
    rest1: T,
    rest2: T,
    eps: T,
    eps_root: T,
    mu_factor: T,
    nu_factor: T,
}

impl<T: Float> FromScalars<7> for ScaleByYogi<T> {
    fn from_scalars(&[b1, b2, eps, eps_root, hat, corrects, count]: &[f64; 7]) -> Self {
        let (nu_factor, factor) = factors_of_root(hat, correction_if(corrects, b2, count));
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            rest2: T::from_f64(1.0 - b2),
            eps: beside_root(eps),
            eps_root: T::from_f64(eps_root),
            mu_factor: T::from_f64(factor / correction_if(corrects, b1, count)),
            nu_factor: T::from_f64(nu_factor),
        }
    }
}

impl<T: Float> Op<T, 2> for ScaleByYogi<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu, nu]: [T; 2]) -> (T, [T; 2]) {
        let square = update * update;
        let mu = self.b1 * mu + self.rest1 * update;
        let nu = nu - self.rest2 * (nu - square).sign() * square;
        let size = (nu * self.nu_factor + self.eps_root).sqrt() + self.eps;
        (mu * self.mu_factor / size, [mu, nu])
    }
}
