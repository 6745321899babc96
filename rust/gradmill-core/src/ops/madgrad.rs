use super::op::{Beside, FromScalars, Meta, Op, Reads, bound, count, decay, epsilon};
use crate::number::float::Float;

pub const MADGRAD: Meta = Meta {
    name: "scale_by_madgrad",
    scalars: &[bound("learning_rate"), decay("momentum"), epsilon("eps"), count("count")],
    slots: &["grad_sum_sq", "s", "x0"],
    params: true,
    ..Meta::PLAIN
};

/// `v' = v + w u²`, `s' = s + w u`, where `w = (learning_rate + eps) √(count + 1)`; emits
/// `(1 - momentum) (x0 - p - s' / (∛v' + eps))`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByMadgrad<T> {
    weight: T,
    rest: T,
    eps: T,
    /// Where squares vanished, the root of the least normal number stands for theirs.
    least: T,
}

impl<T: Float> FromScalars<4> for ScaleByMadgrad<T> {
    fn from_scalars(&[learning_rate, momentum, eps, count]: &[f64; 4]) -> Self {
        let weight = (learning_rate + eps) * (count + 1.0).sqrt();
        Self {
            weight: T::from_f64(weight),
            rest: T::from_f64(1.0 - momentum),
            eps: T::from_f64(eps),
            least: T::MIN_POSITIVE.cube_root(),
        }
    }
}

impl<T: Float> Op<T, 3> for ScaleByMadgrad<T> {
    const READS: Reads = Reads::PARAM;

    #[inline(always)]
    fn element(
        &self,
        update: T,
        Beside { param, .. }: Beside<T>,
        [squares, sum, first]: [T; 3],
    ) -> (T, [T; 3]) {
        let squares = squares + self.weight * (update * update);
        let sum = sum + self.weight * update;
        let size = squares.cube_root() + self.eps;
        let size = if size < self.least { self.least } else { size };
        (self.rest * (first - param - sum / size), [squares, sum, first])
    }
}
