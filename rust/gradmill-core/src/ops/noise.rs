use super::op::{Beside, FromScalars, Meta, Op, Reads, epsilon, word};
use crate::number::float::Float;

pub const NOISE: Meta = Meta {
    name: "add_noise",
    scalars: &[epsilon("std"), word("key0"), word("key1")],
    ..Meta::PLAIN
};

/// `u + std * z`, with a standard normal number `z` for each element, drawn from the step's key.
#[derive(Clone, Copy, Debug)]
pub struct AddNoise<T> {
    std: T,
}

impl<T: Float> FromScalars<3> for AddNoise<T> {
    fn from_scalars(&[std, _, _]: &[f64; 3]) -> Self {
        Self { std: T::from_f64(std) }
    }
}

impl<T: Float> Op<T, 0> for AddNoise<T> {
    const READS: Reads = Reads::NORMAL;

    #[inline(always)]
    fn element(&self, update: T, Beside { normal, .. }: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (update + self.std * normal, state)
    }
}
