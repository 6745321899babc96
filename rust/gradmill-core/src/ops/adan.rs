use super::op::{Beside, FromScalars, Meta, Op, count, decay, epsilon, flag};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, correction_if, factors_of_root};

pub const ADAN: Meta = Meta {
    name: "scale_by_adan",
    scalars: &[
        decay("b1"),
        decay("b2"),
        decay("b3"),
        epsilon("eps"),
        epsilon("eps_root"),
        flag("hat"),
        flag("bias_correction"),
        count("count"),
    ],
    slots: &["m", "v", "n", "g"],
    ..Meta::PLAIN
};

/// With `d = u - g`, which is zero in the first step: `m' = b1 m + (1 - b1) u`, `v' = b2 v + (1 - b2) d`,
/// `n' = b3 n + (1 - b3) (u + (1 - b2) d)²`, `g' = u`; emits `(m̂ + (1 - b2) v̂) / (√(n̂ + eps_root) + eps)`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByAdan<T> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    b3: T,
    rest3: T,
    eps: T,
    eps_root: T,
    m_factor: T,
    v_factor: T,
    n_factor: T,
    is_first: bool,
}

impl<T: Float> FromScalars<8> for ScaleByAdan<T> {
    fn from_scalars(&[b1, b2, b3, eps, eps_root, hat, corrects, count]: &[f64; 8]) -> Self {
        let correction = |decay| correction_if(corrects, decay, count);
        let (n_factor, factor) = factors_of_root(hat, correction(b3));
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            b3: T::from_f64(b3),
            rest3: T::from_f64(1.0 - b3),
            eps: beside_root(eps),
            eps_root: T::from_f64(eps_root),
            m_factor: T::from_f64(factor / correction(b1)),
            v_factor: T::from_f64(factor * (1.0 - b2) / correction(b2)),
            n_factor: T::from_f64(n_factor),
            is_first: count == 0.0,
        }
    }
}

impl<T: Float> Op<T, 4> for ScaleByAdan<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [m, v, n, g]: [T; 4]) -> (T, [T; 4]) {
        let difference = if self.is_first { T::ZERO } else { update - g };
        let ahead = update + self.rest2 * difference;
        let m = self.b1 * m + self.rest1 * update;
        let v = self.b2 * v + self.rest2 * difference;
        let n = self.b3 * n + self.rest3 * (ahead * ahead);
        let size = (n * self.n_factor + self.eps_root).sqrt() + self.eps;
        // It is not subnormal: a superinstruction with a moment that is rare begins with a product, and blocks flush.
        ((m * self.m_factor + v * self.v_factor) / size, [m, v, n, update])
    }
}
