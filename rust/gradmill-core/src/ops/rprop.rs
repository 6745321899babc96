use super::op::{Beside, FromScalars, Meta, Op, bound};
use crate::number::float::Float;

pub const RPROP: Meta = Meta {
    name: "scale_by_rprop",
    scalars: &[
        bound("eta_minus"),
        bound("eta_plus"),
        bound("min_step_size"),
        bound("max_step_size"),
    ],
    slots: &["step_sizes", "prev_updates"],
    ..Meta::PLAIN
};

/// The step of last time unless signs have changed since, in which case it and the next one are zero. Sizes grow where
/// signs stay, shrink where they change, and are left alone where either is zero.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByRprop<T> {
    minus: T,
    plus: T,
    least: T,
    most: T,
    infinity: T,
}

impl<T: Float> FromScalars<4> for ScaleByRprop<T> {
    fn from_scalars(scalars: &[f64; 4]) -> Self {
        let [minus, plus, least, most] = scalars.map(|scalar| T::from_f64(scalar).flush());
        Self { minus, plus, least, most, infinity: T::from_f64(f64::INFINITY) }
    }
}

impl<T: Float> Op<T, 2> for ScaleByRprop<T> {
    // The bounds are chosen, not the result: a choice between an old value and a new one is a store behind a mask.
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [size, last]: [T; 2]) -> (T, [T; 2]) {
        let agreement = update * last;
        let (turns, rests) = (agreement < T::ZERO, agreement == T::ZERO);
        let factor = if agreement > T::ZERO { self.plus } else { self.minus };
        let (low, high) =
            if rests { (-self.infinity, self.infinity) } else { (self.least, self.most) };
        let scaled = size * if rests { T::ONE } else { factor };
        let raised = if scaled < low { low } else { scaled };
        let size = if raised > high { high } else { raised };
        let up = if update > T::ZERO { T::ONE } else { update };
        let sign = if update < T::ZERO { -T::ONE } else { up };
        let next = if turns { T::ZERO } else { size * sign };
        // No product takes a subnormal number of the state for zero on its way out.
        (if turns { T::ZERO } else { last.flush() }, [size, next])
    }
}
