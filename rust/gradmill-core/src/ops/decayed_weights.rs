use super::op::{Beside, FromScalars, Meta, Op, Reads, epsilon};
use crate::number::float::Float;

pub const DECAYED_WEIGHTS: Meta = Meta {
    name: "add_decayed_weights",
    scalars: &[epsilon("weight_decay")],
    params: true,
    ..Meta::PLAIN
};

/// `u + weight_decay * p`.
#[derive(Clone, Copy, Debug)]
pub struct AddDecayedWeights<T> {
    weight_decay: T,
}

impl<T: Float> FromScalars<1> for AddDecayedWeights<T> {
    fn from_scalars(&[weight_decay]: &[f64; 1]) -> Self {
        Self { weight_decay: T::from_f64(weight_decay) }
    }
}

impl<T: Float> Op<T, 0> for AddDecayedWeights<T> {
    const READS: Reads = Reads::PARAM;

    #[inline(always)]
    fn element(&self, update: T, Beside { param, .. }: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (update + self.weight_decay * param, state)
    }
}
