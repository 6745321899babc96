use super::op::{Beside, FromScalars, Meta, Op, Reads, epsilon};
use crate::number::float::Float;

pub const CAUTIOUS_DECAY: Meta = Meta {
    name: "cautious_weight_decay",
    scalars: &[epsilon("weight_decay")],
    params: true,
    ..Meta::PLAIN
};

/// `u + weight_decay * p`, or `u` where the signs of both are opposite.
#[derive(Clone, Copy, Debug)]
pub struct CautiousWeightDecay<T> {
    weight_decay: T,
}

impl<T: Float> FromScalars<1> for CautiousWeightDecay<T> {
    fn from_scalars(&[weight_decay]: &[f64; 1]) -> Self {
        Self { weight_decay: T::from_f64(weight_decay) }
    }
}

impl<T: Float> Op<T, 0> for CautiousWeightDecay<T> {
    const READS: Reads = Reads::PARAM;

    #[inline(always)]
    fn element(&self, update: T, Beside { param, .. }: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        let decayed = update + self.weight_decay * param;
        // A product of the two themselves might vanish.
        (if update.sign() * param.sign() < T::ZERO { update } else { decayed }, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opposite_signs_do_not_decay() {
        let decay = CautiousWeightDecay::<f32>::from_scalars(&[0.5]);
        let of = |update: f32, param: f32| {
            decay.element(update, Beside { param, ..Beside::default() }, []).0
        };
        assert_eq!(
            [of(1.0, 2.0), of(-1.0, -2.0), of(1.0, -2.0), of(-1.0, 2.0)],
            [2.0, -2.0, 1.0, -1.0]
        );
        assert_eq!([of(0.0, 2.0), of(0.0, -2.0), of(1.0, 0.0)], [1.0, -1.0, 1.0]);
        assert_eq!(of(1e-30, -1e-30), 1e-30);
        assert!(of(f32::NAN, -1.0).is_nan() && of(1.0, f32::NAN).is_nan());
    }
}
