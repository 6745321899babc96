use super::op::{Beside, FromScalars, Meta, Op, count, decay, epsilon, flag};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, correction_if};

pub const RMS: Meta = Meta {
    name: "scale_by_rms",
    scalars: &[
        decay("decay"),
        epsilon("eps"),
        epsilon("eps_root"),
        flag("bias_correction"),
        count("count"),
    ],
    slots: &["nu"],
    ..Meta::PLAIN
};
pub const STDDEV: Meta = Meta { name: "scale_by_stddev", slots: &["mu", "nu"], ..RMS };

/// `v' = decay v + (1 - decay) u²`; emits `u / (√(v' / correction + eps_root) + eps)`,
/// where the correction is one unless it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByRms<T> {
    decay: T,
    rest: T,
    eps: T,
    eps_root: T,
    factor: T,
}

impl<T: Float> FromScalars<5> for ScaleByRms<T> {
    fn from_scalars(&[decay, eps, eps_root, corrects, count]: &[f64; 5]) -> Self {
        Self {
            decay: T::from_f64(decay),
            rest: T::from_f64(1.0 - decay),
            eps: beside_root(eps),
            eps_root: T::from_f64(eps_root),
            factor: T::from_f64(1.0 / correction_if(corrects, decay, count)),
        }
    }
}

impl<T: Float> Op<T, 1> for ScaleByRms<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [nu]: [T; 1]) -> (T, [T; 1]) {
        let nu = self.decay * nu + self.rest * (update * update);
        (update / ((nu * self.factor + self.eps_root).sqrt() + self.eps), [nu])
    }
}

/// `u / (√(v̂ - m̂² + eps_root) + eps)`, with the variance in place of the mean of squares that [`ScaleByRms`] has, where `m' = decay m + (1 - decay) u`. Rounding
/// makes that of an update that hardly varies negative: it is zero then.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByStddev<T> {
    rms: ScaleByRms<T>,
    rest: T,
}

impl<T: Float> FromScalars<5> for ScaleByStddev<T> {
    fn from_scalars(scalars: &[f64; 5]) -> Self {
        Self { rms: ScaleByRms::from_scalars(scalars), rest: T::from_f64(1.0 - scalars[0]) }
    }
}

impl<T: Float> Op<T, 2> for ScaleByStddev<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu, nu]: [T; 2]) -> (T, [T; 2]) {
        let Self { rms, rest } = self;
        let mu = rms.decay * mu + *rest * update;
        let nu = rms.decay * nu + rms.rest * (update * update);
        let (mu_hat, nu_hat) = (mu * rms.factor, nu * rms.factor);
        let square = mu_hat * mu_hat;
        // Squares beyond the range are no difference; a NaN stays one.
        let none = if nu_hat.is_finite() { T::ZERO } else { nu_hat };
        let variance = if nu_hat <= square { none } else { nu_hat - square };
        (update / ((variance + rms.eps_root).sqrt() + rms.eps), [mu, nu])
    }
}
