use super::op::{FromScalars, Meta, Op, Reads, Reduce};
use crate::number::float::Float;

pub const DECAYED_WEIGHTS: Meta = Meta {
    name: "add_decayed_weights",
    scalars: &["weight_decay"],
    slots: &[],
    params: true,
    reduce: Reduce::None,
};

/// `u + weight_decay * p`.
#[derive(Clone, Copy, Debug)]
pub struct AddDecayedWeights<T> {
    weight_decay: T,
}

impl<T: Float> FromScalars for AddDecayedWeights<T> {
    fn from_scalars(scalars: &[f64]) -> Self {
        Self { weight_decay: T::from_f64(scalars[0]) }
    }
}

impl<T: Float> Op<T, 0> for AddDecayedWeights<T> {
    const READS: Reads = Reads::Params;

    #[inline(always)]
    fn element(&self, update: T, param: T, state: [T; 0]) -> (T, [T; 0]) {
        (update + self.weight_decay * param, state)
    }
}
