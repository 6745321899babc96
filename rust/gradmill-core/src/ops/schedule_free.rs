use super::op::{Beside, FromScalars, Meta, Op, Reads, decay};
use crate::number::float::Float;

pub const SCHEDULE_FREE: Meta = Meta {
    name: "schedule_free",
    scalars: &[decay("b1"), decay("share")],
    slots: &["z"],
    params: true,
    ..Meta::PLAIN
};

/// `z' = z + u`; emits `b1 share (z' - x) + (1 - b1) u`, where `x = (p - (1 - b1) z) / b1`.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleFree<T> {
    b1: T,
    rest: T,
    share: T,
}

impl<T: Float> FromScalars<2> for ScheduleFree<T> {
    fn from_scalars(&[b1, share]: &[f64; 2]) -> Self {
        Self { b1: T::from_f64(b1), rest: T::from_f64(1.0 - b1), share: T::from_f64(b1 * share) }
    }
}

impl<T: Float> Op<T, 1> for ScheduleFree<T> {
    const READS: Reads = Reads::PARAM;

    #[inline(always)]
    fn element(&self, update: T, Beside { param, .. }: Beside<T>, [z]: [T; 1]) -> (T, [T; 1]) {
        let Self { b1, rest, share } = *self;
        let new = z + update;
        let average = (param - rest * z) / b1;
        (share * (new - average) + rest * (new - z), [new])
    }
}
