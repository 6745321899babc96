use super::op::{Beside, FromScalars, Meta, Op, Reads, count, decay, flag};
use crate::number::float::Float;

pub const PARAMETER_AVERAGE: Meta = Meta {
    name: "parameter_average",
    scalars: &[decay("decay"), flag("polyak"), count("start"), count("count")],
    slots: &["average"],
    params: true,
    ..Meta::PLAIN
};

/// Hands on the update, and averages what it makes of the parameters: `a' = d a + (1 - d) (p + u)`.
#[derive(Clone, Copy, Debug)]
pub struct ParameterAverage<T> {
    decay: T,
    rest: T,
}

impl<T: Float> FromScalars<4> for ParameterAverage<T> {
    fn from_scalars(&[decay, polyak, start, count]: &[f64; 4]) -> Self {
        let taken = if count > start { count - start } else { 0.0 };
        let decay = match polyak {
            0.0 if count < start => 0.0,
            0.0 => decay,
            _ => taken / (taken + 1.0),
        };
        Self { decay: T::from_f64(decay), rest: T::from_f64(1.0 - decay) }
    }
}

impl<T: Float> Op<T, 1> for ParameterAverage<T> {
    const READS: Reads = Reads::PARAM;

    #[inline(always)]
    fn element(
        &self,
        update: T,
        Beside { param, .. }: Beside<T>,
        [average]: [T; 1],
    ) -> (T, [T; 1]) {
        (update, [self.decay * average + self.rest * (param + update)])
    }

    fn keeps_zero(&self) -> bool {
        true
    }

    fn keeps_finite(&self) -> bool {
        true
    }
}
