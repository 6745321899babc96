use super::op::{Beside, FromScalars, Meta, Op, decay, epsilon};
use crate::number::float::Float;
use crate::number::scalars::beside_root;

pub const ADADELTA: Meta = Meta {
    name: "scale_by_adadelta",
    scalars: &[decay("rho"), epsilon("eps")],
    slots: &["e_g", "e_x"],
    ..Meta::PLAIN
};

/// `g' = rho g + (1 - rho) u²`; emits `d = √(x + eps) / √(g' + eps) · u`, and `x' = rho x + (1 - rho) d²`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByAdadelta<T> {
    rho: T,
    rest: T,
    eps: T,
    least: T,
}

impl<T: Float> FromScalars<2> for ScaleByAdadelta<T> {
    fn from_scalars(&[rho, eps]: &[f64; 2]) -> Self {
        Self {
            rho: T::from_f64(rho),
            rest: T::from_f64(1.0 - rho),
            eps: T::from_f64(eps),
            least: beside_root(0.0),
        }
    }
}

impl<T: Float> Op<T, 2> for ScaleByAdadelta<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [came, went]: [T; 2]) -> (T, [T; 2]) {
        let Self { rho, rest, eps, least } = *self;
        let came = rho * came + rest * (update * update);
        let delta = (went + eps).sqrt() / ((came + eps).sqrt() + least) * update;
        (delta, [came, rho * went + rest * (delta * delta)])
    }
}
