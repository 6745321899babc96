//! Distance over gradients, of each leaf on its own.

use super::gather::{Estimates, Gather, Over, Settle, Unit};
use super::op::{Beside, FromScalars, Meta, Op, Reads, epsilon, factor};
use crate::number::float::Float;
use crate::number::scalars::{larger, over};
use crate::sums::units::UnitAxes;

pub const DISTANCE: Meta = Meta {
    name: "scale_by_distance_over_gradients",
    scalars: &[epsilon("eps"), factor("global_scale")],
    slots: &["init_params"],
    unit_slots: &["max_dist", "grad_sum_of_squares"],
    params: true,
    gather: Some(Gather {
        over: Over::Units(UnitAxes::All),
        of: &[],
        settle: Settle::Number(rate),
    }),
    ..Meta::PLAIN
};

/// `global_scale max|p - p0| / √(Σ|u|² + eps)`.
fn rate(scalars: &[f64], Unit { sums: [distance, squares], state, .. }: Unit<'_>) -> f64 {
    let (&[eps, global_scale], [farthest, sum]) = (scalars, state) else {
        unreachable!("the program counts each op's scalars and slots")
    };
    *farthest = larger(*farthest, distance.sqrt());
    *sum += squares;
    global_scale * over(*farthest, (*sum + eps).sqrt())
}

/// `u number`, where the op sums the squares of distances from the first parameters and of updates.
#[derive(Clone, Copy, Debug)]
pub struct DistanceOverGradients;

impl FromScalars<2> for DistanceOverGradients {
    fn from_scalars(_: &[f64; 2]) -> Self {
        Self
    }
}

impl<T: Float> Op<T, 1> for DistanceOverGradients {
    const READS: Reads = Reads::NUMBER;
    const ADDS: bool = true;

    #[inline(always)]
    fn addends(&self, update: T, param: T, [first]: [T; 1]) -> Estimates {
        let (moved, update) = ((first - param).to_f64(), update.to_f64());
        [moved * moved, update * update]
    }

    #[inline(always)]
    fn element(&self, update: T, Beside { number, .. }: Beside<T>, state: [T; 1]) -> (T, [T; 1]) {
        (update * number, state)
    }
}
