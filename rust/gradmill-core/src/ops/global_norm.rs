//! Updates rescaled by their global norm.

use super::gather::{Addend, Gather, Of, Over, Settle};
use super::op::{Beside, FromScalars, Meta, Op, bound, epsilon};
use crate::number::float::Float;

pub const CLIP_BY_GLOBAL_NORM: Meta = Meta {
    name: "clip_by_global_norm",
    scalars: &[bound("max_norm")],
    gather: Some(Gather {
        over: Over::Tree,
        of: &[(Of::Update, Addend::Square)],
        settle: Settle::Scalar,
    }),
    ..Meta::PLAIN
};
pub const NORMALIZE_BY_UPDATE_NORM: Meta = Meta {
    name: "normalize_by_update_norm",
    scalars: &[bound("scale_factor"), epsilon("eps")],
    ..CLIP_BY_GLOBAL_NORM
};

/// `u * factor`, where the factor is a scalar of the pass, so that it costs one read of the update for
/// the norm and no write. One that `T` cannot hold is applied in two steps, lest a huge norm turn it to zero,
/// or a tiny one to infinity.
#[derive(Clone, Copy, Debug)]
struct Rescale<T> {
    factor: T,
    rest: T,
}

impl<T: Float> Rescale<T> {
    /// By `size / norm`; a norm of zero is one of zeros, which stay.
    fn by(size: f64, norm: f64) -> Self {
        /// What the largest factor is divided by: 2^100.
        const LARGE: f64 = f64::from_bits((1023 + 100) << 52);
        let factor = if norm == 0.0 { 0.0 } else { size / norm };
        let (least, whole) = (T::MIN_POSITIVE.to_f64(), T::from_f64(factor));
        if factor.abs() < least && factor != 0.0 {
            Self { factor: T::from_f64(factor / least), rest: T::MIN_POSITIVE }
        } else if !whole.is_finite() && size.is_finite() && norm.is_finite() {
            Self { factor: T::from_f64(size / (norm * LARGE)), rest: T::from_f64(LARGE) }
        } else {
            Self { factor: whole, rest: T::ONE }
        }
    }
}

macro_rules! rescaling {
    ($(#[$doc:meta])* $name:ident, $scalars:pat, $count:literal, $ratio:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<T>(Rescale<T>);

        impl<T: Float> FromScalars<$count> for $name<T> {
            fn from_scalars($scalars: &[f64; $count]) -> Self {
                let (size, norm) = $ratio;
                Self(Rescale::by(size, norm))
            }
        }

        impl<T: Float> Op<T, 0> for $name<T> {
            #[inline(always)]
            fn element(&self, update: T, _: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
                (update * self.0.factor * self.0.rest, state)
            }

            fn as_factor(&self) -> Option<T> {
                (self.0.rest == T::ONE).then_some(self.0.factor)
            }

            fn keeps_zero(&self) -> bool {
                self.0.factor.is_finite()
            }

            fn keeps_finite(&self) -> bool {
                self.0.factor.abs() <= T::ONE && self.0.rest <= T::ONE
            }
        }
    };
}

rescaling! {
    /// `u` where `norm < max_norm`, else `u * (max_norm / norm)`.
    ClipByGlobalNorm, &[max_norm, norm], 2,
    if norm < max_norm { (1.0, 1.0) } else { (max_norm, norm) }
}
rescaling! {
    /// `u * (scale_factor / (norm + eps))`.
    NormalizeByUpdateNorm, &[scale_factor, eps, norm], 3, (scale_factor, norm + eps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clipped(update: f32, max_norm: f64, norm: f64) -> f32 {
        ClipByGlobalNorm::from_scalars(&[max_norm, norm]).element(update, Beside::default(), []).0
    }

    #[test]
    fn keeps_updates_below_the_bound() {
        assert_eq!(clipped(0.3, 1.0, 0.999), 0.3);
        assert_eq!(clipped(0.5, 1.0, 2.0), 0.25);
    }

    #[test]
    fn a_tiny_factor_does_not_vanish() {
        let result = clipped(1e38, 1e-12, 1e38);
        assert!((result / 1e-12 - 1.0).abs() < 1e-6, "{result}");
    }

    #[test]
    fn zeros_stay() {
        assert_eq!(clipped(0.0, 0.0, 0.0), 0.0);
        assert_eq!(clipped(3.0, 0.0, 3.0), 0.0);
        let normalize = NormalizeByUpdateNorm::<f32>::from_scalars(&[1.0, 0.0, 0.0]);
        assert_eq!(normalize.element(0.0, Beside::default(), []).0, 0.0);
    }

    #[test]
    fn a_huge_factor_is_finite() {
        let normalize = NormalizeByUpdateNorm::<f32>::from_scalars(&[2.0, 0.0, 1e-42]);
        let result = normalize.element(1e-42, Beside::default(), []).0;
        assert!((result - 2.0).abs() < 1e-2, "{result}");
        let normalize = NormalizeByUpdateNorm::<f64>::from_scalars(&[2.0, 0.0, 1e-318]);
        let result = normalize.element(1e-318, Beside::default(), []).0;
        assert!((result - 2.0).abs() < 1e-3, "{result}");
    }

    #[test]
    fn non_finite_norms_propagate() {
        assert_eq!(clipped(1.0, 1.0, f64::INFINITY), 0.0);
        assert!(clipped(f32::INFINITY, 1.0, f64::INFINITY).is_nan());
        assert!(clipped(1.0, 1.0, f64::NAN).is_nan());
    }
}
