use super::op::{Beside, FromScalars, Meta, Op, count, decay, epsilon, factor};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, bias_correction};

pub const SIMPLIFIED_ADEMAMIX: Meta = Meta {
    name: "scale_by_simplified_ademamix",
    scalars: &[
        factor("b1"),
        decay("b2"),
        factor("alpha"),
        epsilon("eps"),
        epsilon("eps_root"),
        count("count"),
    ],
    slots: &["m", "n"],
    ..Meta::PLAIN
};

/// `m' = b1 m + u`, `n' = b2 n + (1 - b2) u²`; emits `(m' + alpha u) / (√(n̂ + eps_root) + eps)`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleBySimplifiedAdemamix<T> {
    b1: T,
    b2: T,
    rest2: T,
    alpha: T,
    eps: T,
    eps_root: T,
    n_factor: T,
}

impl<T: Float> FromScalars<6> for ScaleBySimplifiedAdemamix<T> {
    fn from_scalars(&[b1, b2, alpha, eps, eps_root, count]: &[f64; 6]) -> Self {
        Self {
            b1: T::from_f64(b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            alpha: T::from_f64(alpha),
            eps: beside_root(eps),
            eps_root: T::from_f64(eps_root),
            n_factor: T::from_f64(1.0 / bias_correction(b2, count + 1.0)),
        }
    }
}

impl<T: Float> Op<T, 2> for ScaleBySimplifiedAdemamix<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [m, n]: [T; 2]) -> (T, [T; 2]) {
        let m = self.b1 * m + update;
        // An infinite update leaves a NaN, a square beyond the range an infinity.
        let n = self.b2 * n + self.rest2 * (update * update) + T::ZERO * update;
        let size = (n * self.n_factor + self.eps_root).sqrt() + self.eps;
        ((m + self.alpha * update) / size, [m, n])
    }
}
