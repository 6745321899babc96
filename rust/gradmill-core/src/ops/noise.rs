use super::op::{FromScalars, Meta, Op, Reads, Reduce};
use crate::number::float::Float;

pub const NOISE: Meta = Meta {
    name: "add_noise",
    scalars: &["std", "key0", "key1"],
    slots: &[],
    params: false,
    reduce: Reduce::None,
};

/// `u + std * z`, with a standard normal number `z` for each element, drawn from the step's key.
#[derive(Clone, Copy, Debug)]
pub struct AddNoise<T> {
    std: T,
}

impl<T: Float> FromScalars for AddNoise<T> {
    fn from_scalars(scalars: &[f64]) -> Self {
        Self { std: T::from_f64(scalars[0]) }
    }
}

impl<T: Float> Op<T, 0> for AddNoise<T> {
    const READS: Reads = Reads::Normal;

    #[inline(always)]
    fn element(&self, update: T, normal: T, state: [T; 0]) -> (T, [T; 0]) {
        (update + self.std * normal, state)
    }
}
