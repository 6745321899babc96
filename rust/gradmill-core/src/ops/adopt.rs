use super::op::{Beside, FromScalars, Meta, Op, bound, count, decay, epsilon};
use crate::number::float::Float;
use crate::number::scalars::beside_root;

pub const ADOPT: Meta = Meta {
    name: "scale_by_adopt",
    scalars: &[decay("b1"), decay("b2"), epsilon("eps"), bound("clip_value"), count("count")],
    slots: &["mu", "nu"],
    ..Meta::PLAIN
};
pub const ADOPT_NESTEROV: Meta = Meta { name: "scale_by_adopt_nesterov", ..ADOPT };

/// `d = clip(u / max(√v, eps), ± clip_value)`, `m' = b1 m + (1 - b1) d`, `v' = b2 v + (1 - b2) u²`; emits `m'`, or the
/// average of it and `d` with Nesterov's correction.
///
/// In the first step, where `v` is zero, `d` is the clipped update, of which nothing enters `m`, and `v'` is `u²`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByAdopt<T, const NESTEROV: bool> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    least: T,
    clip_value: T,
}

impl<T: Float, const NESTEROV: bool> FromScalars<5> for ScaleByAdopt<T, NESTEROV> {
    fn from_scalars(&[b1, b2, eps, clip_value, count]: &[f64; 5]) -> Self {
        let (b1, b2, least) =
            if count == 0.0 { (1.0, 0.0, T::ONE) } else { (b1, b2, beside_root(eps)) };
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            least,
            clip_value: T::from_f64(clip_value).flush(),
        }
    }
}

impl<T: Float, const NESTEROV: bool> Op<T, 2> for ScaleByAdopt<T, NESTEROV> {
    // Comparisons, since the min and max instructions of x86 drop a NaN.
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu, nu]: [T; 2]) -> (T, [T; 2]) {
        let root = nu.sqrt();
        let ratio = update / if root < self.least { self.least } else { root };
        let (low, high) = (-self.clip_value, self.clip_value);
        let raised = if ratio < low { low } else { ratio };
        let clipped = if raised > high { high } else { raised };
        let mu = self.b1 * mu + self.rest1 * clipped;
        let nu = self.b2 * nu + self.rest2 * (update * update);
        (if NESTEROV { self.b1 * mu + self.rest1 * clipped } else { mu }, [mu, nu])
    }
}
