use super::op::{Beside, FromScalars, Meta, Op, decay};
use crate::number::float::Float;

pub const LION: Meta = Meta {
    name: "scale_by_lion",
    scalars: &[decay("b1"), decay("b2")],
    slots: &["mu"],
    ..Meta::PLAIN
};
pub const LION_REFINED: Meta = Meta { name: "scale_by_lion_refined", ..LION };

/// `m' = b2 m + (1 - b2) u`; emits the sign of `c = b1 m + (1 - b1) u` or, where `REFINED`, `c` between -1 and 1.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByLion<T, const REFINED: bool> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
}

impl<T: Float, const REFINED: bool> FromScalars<2> for ScaleByLion<T, REFINED> {
    fn from_scalars(&[b1, b2]: &[f64; 2]) -> Self {
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
        }
    }
}

impl<T: Float, const REFINED: bool> Op<T, 1> for ScaleByLion<T, REFINED> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu]: [T; 1]) -> (T, [T; 1]) {
        let direction = self.b1 * mu + self.rest1 * update;
        let mu = self.b2 * mu + self.rest2 * update;
        if !REFINED {
            return (direction.sign(), [mu]);
        }
        let raised = if direction < -T::ONE { -T::ONE } else { direction };
        (if raised > T::ONE { T::ONE } else { raised }, [mu])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_zeros_and_nan_stay() {
        let lion = ScaleByLion::<f32, false>::from_scalars(&[0.5, 0.5]);
        let sign = |mean: f32| lion.element(2.0 * mean, Beside::default(), [mean * 0.0]).0;
        assert_eq!([3.0, -1e-30, 0.0].map(sign), [1.0, -1.0, 0.0]);
        assert!(sign(-0.0).is_sign_negative() && sign(0.0).is_sign_positive());
        assert!(sign(f32::NAN).is_nan());
    }
}
