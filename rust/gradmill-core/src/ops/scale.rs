use super::op::{Beside, FromScalars, Meta, Op, factor};
use crate::number::float::Float;

pub const SCALE: Meta = Meta { name: "scale", scalars: &[factor("step_size")], ..Meta::PLAIN };

/// `u * step_size`.
#[derive(Clone, Copy, Debug)]
pub struct Scale<T> {
    pub(crate) step_size: T,
}

impl<T: Float> Scale<T> {
    /// One scaling that rounds as this one and then `other` do: where one of them is plus or minus one.
    pub(crate) fn followed_by(self, other: Self) -> Option<Self> {
        let is_exact = |scale: Self| scale.step_size.abs() == T::ONE;
        let step_size = self.step_size * other.step_size;
        (is_exact(self) || is_exact(other)).then_some(Self { step_size })
    }
}

impl<T: Float> FromScalars<1> for Scale<T> {
    fn from_scalars(&[step_size]: &[f64; 1]) -> Self {
        Self { step_size: T::from_f64(step_size) }
    }
}

impl<T: Float> Op<T, 0> for Scale<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (update * self.step_size, state)
    }

    fn as_factor(&self) -> Option<T> {
        Some(self.step_size)
    }

    fn keeps_zero(&self) -> bool {
        self.step_size.is_finite()
    }

    fn keeps_finite(&self) -> bool {
        self.step_size.abs() <= T::ONE
    }
}
