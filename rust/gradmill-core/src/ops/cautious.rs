//! What goes by whether two signs agree.

use super::gather::{Estimates, Gather, Over, Settle, Unit};
use super::op::{Beside, FromScalars, Meta, Op, Reads, bound, epsilon, flag};
use crate::number::float::Float;
use crate::sums::units::UnitAxes;

pub const CAUTIOUS: Meta = Meta {
    name: "cautious",
    scalars: &[flag("descends"), bound("least_share")],
    params: true,
    gather: Some(Gather {
        over: Over::Units(UnitAxes::All),
        of: &[],
        settle: Settle::Number(share),
    }),
    ..Meta::PLAIN
};
pub const CAUTIOUS_DECAY: Meta = Meta {
    name: "cautious_weight_decay",
    scalars: &[epsilon("weight_decay")],
    params: true,
    ..Meta::PLAIN
};

/// The share of a leaf's elements that agree, or the least divisor.
fn share(scalars: &[f64], Unit { sums: [agreeing, _], elements, .. }: Unit<'_>) -> f64 {
    (agreeing / elements).max(scalars[1])
}

/// `u / number`, or zero where the update goes against what stands in the place of the parameter: a gradient, from which
/// updates that descend go away. What is no number agrees, so that it is seen.
#[derive(Clone, Copy, Debug)]
pub struct Cautious<T> {
    /// The sign of an update that goes along a gradient of one.
    along: T,
}

impl<T: Float> FromScalars<2> for Cautious<T> {
    fn from_scalars(&[descends, _]: &[f64; 2]) -> Self {
        Self { along: if descends == 0.0 { T::ONE } else { -T::ONE } }
    }
}

impl<T: Float> Cautious<T> {
    #[inline(always)]
    fn differs(&self, update: T, gradient: T) -> bool {
        update.sign() * (gradient.sign() * self.along) <= T::ZERO
    }
}

impl<T: Float> Op<T, 0> for Cautious<T> {
    const READS: Reads = Reads { param: true, number: true, normal: false };
    const ADDS: bool = true;

    #[inline(always)]
    fn addends(&self, update: T, gradient: T, _: [T; 0]) -> Estimates {
        [if self.differs(update, gradient) { 0.0 } else { 1.0 }, 0.0]
    }

    #[inline(always)]
    fn element(
        &self,
        update: T,
        Beside { param, number, .. }: Beside<T>,
        state: [T; 0],
    ) -> (T, [T; 0]) {
        // The number may be zero where none agrees.
        (if self.differs(update, param) { T::ZERO } else { update / number }, state)
    }
}

/// `u + weight_decay * p`, or `u` where the signs of both are opposite.
#[derive(Clone, Copy, Debug)]
pub struct CautiousWeightDecay<T> {
    weight_decay: T,
}

impl<T: Float> FromScalars<1> for CautiousWeightDecay<T> {
    fn from_scalars(&[weight_decay]: &[f64; 1]) -> Self {
        Self { weight_decay: T::from_f64(weight_decay) }
    }
}

impl<T: Float> Op<T, 0> for CautiousWeightDecay<T> {
    const READS: Reads = Reads::PARAM;

    #[inline(always)]
    fn element(&self, update: T, Beside { param, .. }: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        let decayed = update + self.weight_decay * param;
        // A product of the two themselves might vanish.
        (if update.sign() * param.sign() < T::ZERO { update } else { decayed }, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_against_a_gradient_is_left_out() {
        let kept = |descends, update: f32, param, number| {
            let cautious = Cautious::<f32>::from_scalars(&[descends, 0.5]);
            cautious.element(update, Beside { param, number, ..Beside::default() }, []).0
        };
        assert_eq!([kept(1.0, 2.0, -1.0, 0.5), kept(1.0, 2.0, 1.0, 0.5)], [4.0, 0.0]);
        assert_eq!([kept(0.0, 2.0, -1.0, 0.5), kept(0.0, 2.0, 1.0, 0.5)], [0.0, 4.0]);
        assert_eq!([kept(1.0, 0.0, -1.0, 0.0), kept(1.0, 1.0, 0.0, 0.0)], [0.0, 0.0]);
        assert!(kept(1.0, f32::NAN, 1.0, 1.0).is_nan());
    }

    #[test]
    fn opposite_signs_do_not_decay() {
        let decay = CautiousWeightDecay::<f32>::from_scalars(&[0.5]);
        let of = |update: f32, param: f32| {
            decay.element(update, Beside { param, ..Beside::default() }, []).0
        };
        assert_eq!(
            [of(1.0, 2.0), of(-1.0, -2.0), of(1.0, -2.0), of(-1.0, 2.0)],
            [2.0, -2.0, 1.0, -1.0]
        );
        assert_eq!([of(0.0, 2.0), of(0.0, -2.0), of(1.0, 0.0)], [1.0, -1.0, 1.0]);
        assert_eq!(of(1e-30, -1e-30), 1e-30);
        assert!(of(f32::NAN, -1.0).is_nan() && of(1.0, f32::NAN).is_nan());
    }
}
