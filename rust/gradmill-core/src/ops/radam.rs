use super::op::{Beside, FromScalars, Meta, Op, count, decay, epsilon, factor, flag};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, bias_correction, correction_if, factors_of_root};

pub const RADAM: Meta = Meta {
    name: "scale_by_radam",
    scalars: &[
        decay("b1"),
        decay("b2"),
        epsilon("eps"),
        epsilon("eps_root"),
        factor("threshold"),
        flag("hat"),
        flag("bias_correction"),
        count("count"),
    ],
    slots: &["mu", "nu"],
    ..Meta::PLAIN
};
pub const RADAM_NESTEROV: Meta = Meta { name: "scale_by_radam_nesterov", ..RADAM };

/// `m' = b1 m + (1 - b1) u`, `v' = b2 v + (1 - b2) u²`; emits `r m̂ / (√(v̂ + eps_root) + eps)`, or `m̂` where there is no
/// [`rectification`] `r`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByRadam<T, const NESTEROV: bool> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    eps: T,
    eps_root: T,
    mu_factor: T,
    update_factor: T,
    nu_factor: T,
    is_rectified: bool,
}

impl<T: Float, const NESTEROV: bool> FromScalars<8> for ScaleByRadam<T, NESTEROV> {
    fn from_scalars(&[b1, b2, eps, eps_root, threshold, hat, corrects, count]: &[f64; 8]) -> Self {
        let correction1 = correction_if(corrects, b1, count);
        let mu_factor = if NESTEROV {
            b1 / correction_if(corrects, b1, count + 1.0)
        } else {
            1.0 / correction1
        };
        let (nu_factor, factor) = factors_of_root(hat, correction_if(corrects, b2, count));
        let rectification = rectification(b2, threshold, count);
        let factor = rectification.map_or(1.0, |rectification| rectification * factor);
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
            is_rectified: rectification.is_some(),
        }
    }
}

impl<T: Float, const NESTEROV: bool> Op<T, 2> for ScaleByRadam<T, NESTEROV> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu, nu]: [T; 2]) -> (T, [T; 2]) {
        let mu = self.b1 * mu + self.rest1 * update;
        let nu = self.b2 * nu + self.rest2 * (update * update);
        let mut mu_hat = mu * self.mu_factor;
        if NESTEROV {
            mu_hat = mu_hat + update * self.update_factor;
        }
        let size = (nu * self.nu_factor + self.eps_root).sqrt() + self.eps;
        (mu_hat / if self.is_rectified { size } else { T::ONE }, [mu, nu])
    }
}

/// What makes up for the variance of `1 / √v̂` in the step behind `count` others, where `v̂` is made of as many squares as
/// `threshold` asks for. Up to four there is no variance.
fn rectification(b2: f64, threshold: f64, count: f64) -> Option<f64> {
    let (steps, share) = (count + 1.0, bias_correction(b2, count + 1.0));
    let most = 2.0 / (1.0 - b2) - 1.0;
    let length = most - 2.0 * steps * (1.0 - share) / share;
    let square = (length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length);
    (length >= threshold && length > 4.0).then(|| square.sqrt())
}

#[cfg(test)]
mod tests {
    use super::rectification;

    #[test]
    fn there_is_none_for_few_squares() {
        assert_eq!(rectification(0.999, 5.0, 4.0), None);
        assert_eq!(rectification(0.999, 0.0, 3.0), None);
        assert!(rectification(0.999, 5.0, 5.0).is_some());
        for b2 in [0.0, 0.5, 0.6] {
            assert_eq!(rectification(b2, -1.0, 1e9), None);
        }
    }

    #[test]
    fn it_is_one_in_the_end() {
        assert_eq!(rectification(0.999, 5.0, f64::from(i32::MAX)), Some(1.0));
        let sixth = rectification(0.999, 5.0, 5.0).unwrap();
        assert!((sixth - 0.025_821).abs() < 1e-6, "{sixth}");
    }
}
