//! Updates that meet a number of their unit: of their row, their column or their whole leaf.
//!
//! The numbers are made from norms or means, which takes a walk over the update before the pass.

use super::op::{Beside, FromScalars, Meta, Op, Reads, Reduce, bound, epsilon};
use crate::number::float::Float;
use crate::sums::units::{Measure, UnitAxes, UnitRule};

pub const BLOCK_RMS: Meta = Meta {
    name: "clip_by_block_rms",
    scalars: &[bound("threshold")],
    slots: &[],
    params: false,
    reduce: Reduce::Units(UnitRule {
        axes: UnitAxes::All,
        measure: Measure::Norm,
        params: false,
        number: |scalars, norm, _, elements| {
            let (rms, threshold) = (norm / elements.sqrt(), scalars[0]);
            let excess = if rms == 0.0 { 0.0 } else { rms / threshold };
            if excess <= 1.0 { 1.0 } else { 1.0 / excess }
        },
    }),
};

pub const TRUST_RATIO: Meta = Meta {
    name: "scale_by_trust_ratio",
    scalars: &[epsilon("min_norm"), bound("trust_coefficient"), epsilon("eps")],
    slots: &[],
    params: true,
    reduce: Reduce::Units(UnitRule {
        axes: UnitAxes::All,
        measure: Measure::Norm,
        params: true,
        number: |scalars, update_norm, param_norm, _| {
            let &[min_norm, trust_coefficient, eps] = scalars else {
                unreachable!("the program counts each op's scalars")
            };
            // NaN is larger than any bound here, as it has to come out again.
            let at_least = |norm: f64| if norm <= min_norm { min_norm } else { norm };
            let (param_norm, update_norm) = (at_least(param_norm), at_least(update_norm));
            if param_norm == 0.0 || update_norm == 0.0 {
                1.0
            } else {
                trust_coefficient * param_norm / (update_norm + eps)
            }
        },
    }),
};

pub const ADAPTIVE_CLIP: Meta = Meta {
    name: "adaptive_grad_clip",
    scalars: &[bound("clipping"), epsilon("eps")],
    slots: &[],
    params: true,
    reduce: Reduce::Units(UnitRule {
        axes: UnitAxes::Weights,
        measure: Measure::Norm,
        params: true,
        number: |scalars, update_norm, param_norm, _| {
            let (clipping, eps) = (scalars[0], scalars[1]);
            let max_norm = clipping * if param_norm <= eps { eps } else { param_norm };
            if update_norm < max_norm {
                1.0
            } else {
                max_norm / if update_norm <= 1e-6 { 1e-6 } else { update_norm }
            }
        },
    }),
};

pub const CENTRALIZE: Meta = Meta {
    name: "centralize",
    scalars: &[],
    slots: &[],
    params: false,
    reduce: Reduce::Units(UnitRule {
        axes: UnitAxes::AllButFirst,
        measure: Measure::Sum,
        params: false,
        number: |_, sum, _, elements| sum / elements,
    }),
};

/// `u * number`.
#[derive(Clone, Copy, Debug)]
pub struct TimesNumber;

impl<const K: usize> FromScalars<K> for TimesNumber {
    fn from_scalars(_: &[f64; K]) -> Self {
        Self
    }
}

impl<T: Float> Op<T, 0> for TimesNumber {
    const READS: Reads = Reads::NUMBER;

    #[inline(always)]
    fn element(&self, update: T, Beside { number, .. }: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (update * number, state)
    }
}

/// `u - number`.
#[derive(Clone, Copy, Debug)]
pub struct MinusNumber;

impl<const K: usize> FromScalars<K> for MinusNumber {
    fn from_scalars(_: &[f64; K]) -> Self {
        Self
    }
}

impl<T: Float> Op<T, 0> for MinusNumber {
    const READS: Reads = Reads::NUMBER;

    #[inline(always)]
    fn element(&self, update: T, Beside { number, .. }: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (update - number, state)
    }
}
