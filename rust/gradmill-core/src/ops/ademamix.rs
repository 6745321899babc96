use super::op::{Beside, FromScalars, Meta, Op, count, decay, epsilon, factor, flag};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, correction_if, factors_of_root};

pub const ADEMAMIX: Meta = Meta {
    name: "scale_by_ademamix",
    scalars: &[
        decay("b1"),
        decay("b2"),
        decay("b3"),
        factor("alpha"),
        epsilon("eps"),
        epsilon("eps_root"),
        flag("hat"),
        flag("bias_correction"),
        count("count"),
    ],
    slots: &["m1", "m2", "nu"],
    ..Meta::PLAIN
};

/// Averages of the update by `b1` and, for long, by `b3`, and of its square; emits
/// `(m̂₁ + alpha m₂) / (√(v̂ + eps_root) + eps)`, where a hat is a product with the reciprocal of `1 - b^t`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByAdemamix<T> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    b3: T,
    rest3: T,
    alpha: T,
    eps: T,
    eps_root: T,
    m1_factor: T,
    nu_factor: T,
}

impl<T: Float> FromScalars<9> for ScaleByAdemamix<T> {
    fn from_scalars(&[b1, b2, b3, alpha, eps, eps_root, hat, corrects, count]: &[f64; 9]) -> Self {
        let (nu_factor, factor) = factors_of_root(hat, correction_if(corrects, b2, count));
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            b3: T::from_f64(b3),
            rest3: T::from_f64(1.0 - b3),
            alpha: T::from_f64(factor * alpha),
            eps: beside_root(eps),
            eps_root: T::from_f64(eps_root),
            m1_factor: T::from_f64(factor / correction_if(corrects, b1, count)),
            nu_factor: T::from_f64(nu_factor),
        }
    }
}

impl<T: Float> Op<T, 3> for ScaleByAdemamix<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [m1, m2, nu]: [T; 3]) -> (T, [T; 3]) {
        let m1 = self.b1 * m1 + self.rest1 * update;
        let m2 = self.b3 * m2 + self.rest3 * update;
        let nu = self.b2 * nu + self.rest2 * (update * update);
        let mixed = m1 * self.m1_factor + self.alpha * m2;
        (mixed / ((nu * self.nu_factor + self.eps_root).sqrt() + self.eps), [m1, m2, nu])
    }
}
