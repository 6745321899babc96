use super::op::{Beside, FromScalars, Meta, Op, Reads, bound};
use crate::number::float::Float;

pub const COCOB: Meta = Meta {
    name: "scale_by_cocob",
    scalars: &[bound("alpha")],
    slots: &["init_particles", "cumulative_gradients", "scale", "subgradients", "reward"],
    params: true,
    ..Meta::PLAIN
};

/// With the largest size of an update so far, the sum of sizes, that of updates and what the bets have won, emits what leads
/// to the first parameter and a share of the wealth.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByCocob<T> {
    alpha: T,
}

impl<T: Float> FromScalars<1> for ScaleByCocob<T> {
    fn from_scalars(&[alpha]: &[f64; 1]) -> Self {
        Self { alpha: T::from_f64(alpha) }
    }
}

impl<T: Float> Op<T, 5> for ScaleByCocob<T> {
    const READS: Reads = Reads::PARAM;

    #[inline(always)]
    fn element(
        &self,
        update: T,
        Beside { param, .. }: Beside<T>,
        [first, sum, scale, sizes, reward]: [T; 5],
    ) -> (T, [T; 5]) {
        let size = update.abs();
        let (scale, sizes) = (larger(scale, size), sizes + size);
        let won = reward - update * (param - first);
        let reward = if won <= T::ZERO { T::ZERO } else { won };
        let sum = sum - update;
        // Two quotients, as the product of what divides would overflow early.
        let share = over(sum, larger(sizes + scale, self.alpha * scale));
        let moved = share * over(scale + reward, scale);
        (first - param + moved, [first, sum, scale, sizes, reward])
    }
}

/// The larger of two; a NaN of either stays one.
#[inline(always)]
fn larger<T: Float>(a: T, b: T) -> T {
    let larger = if a <= b { b } else { a };
    if b.is_nan() { b } else { larger }
}

/// A quotient, or zero where the divisor is zero.
#[inline(always)]
fn over<T: Float>(top: T, divisor: T) -> T {
    let (top, divisor) = if divisor == T::ZERO { (T::ZERO, T::ONE) } else { (top, divisor) };
    top / divisor
}
