use super::op::{Beside, FromScalars, Meta, Op, epsilon};
use crate::number::float::Float;

pub const RSS: Meta = Meta {
    name: "scale_by_rss",
    scalars: &[epsilon("eps"), epsilon("eps_root")],
    slots: &["sum_of_squares"],
    ..Meta::PLAIN
};

/// `s' = s + u²`; emits `u / (√(s' + eps_root) + eps)`, and zero where `s'` is.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByRss<T> {
    eps: T,
    eps_root: T,
}

impl<T: Float> FromScalars<2> for ScaleByRss<T> {
    fn from_scalars(&[eps, eps_root]: &[f64; 2]) -> Self {
        Self { eps: T::from_f64(eps).flush(), eps_root: T::from_f64(eps_root).flush() }
    }
}

impl<T: Float> Op<T, 1> for ScaleByRss<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [squares]: [T; 1]) -> (T, [T; 1]) {
        let squares = squares + update * update;
        // A sum that is NaN is not greater either: after it, finite updates are zero.
        let some = squares > T::ZERO;
        let (top, square) =
            if some { (update, squares + self.eps_root) } else { (update * T::ZERO, T::ONE) };
        (top / (square.sqrt() + self.eps), [squares])
    }

    fn keeps_zero(&self) -> bool {
        true
    }
}
