//! Updates that meet a number of their unit: of their row, their column or their whole leaf.
//!
//! The numbers are made from norms or means, which takes a walk over the update before the pass.

use super::gather::{Addend, Gather, Of, Over, Settle, Unit};
use super::op::{Beside, FromScalars, Meta, Op, Reads, bound, epsilon};
use crate::number::float::Float;
use crate::sums::units::UnitAxes;

const UPDATE: (Of, Addend) = (Of::Update, Addend::Square);
const PARAM: (Of, Addend) = (Of::Param, Addend::Square);

const fn over(
    axes: UnitAxes,
    of: &'static [(Of, Addend)],
    number: fn(&[f64], Unit<'_>) -> f64,
) -> Gather {
    Gather { over: Over::Units(axes), of, settle: Settle::Number(number) }
}

pub const BLOCK_RMS: Meta = Meta {
    name: "clip_by_block_rms",
    scalars: &[bound("threshold")],
    gather: Some(over(
        UnitAxes::All,
        &[UPDATE],
        |scalars, Unit { sums: [norm, _], elements, .. }| {
            let (rms, threshold) = (norm / elements.sqrt(), scalars[0]);
            let excess = if rms == 0.0 { 0.0 } else { rms / threshold };
            if excess <= 1.0 { 1.0 } else { 1.0 / excess }
        },
    )),
    ..Meta::PLAIN
};

pub const TRUST_RATIO: Meta = Meta {
    name: "scale_by_trust_ratio",
    scalars: &[epsilon("min_norm"), bound("trust_coefficient"), epsilon("eps")],
    params: true,
    gather: Some(over(UnitAxes::All, &[UPDATE, PARAM], |scalars, Unit { sums, .. }| {
        let &[min_norm, trust_coefficient, eps] = scalars else {
            unreachable!("the program counts each op's scalars")
        };
        let [update_norm, param_norm] = sums.map(|norm| at_least(norm, min_norm));
        if param_norm == 0.0 || update_norm == 0.0 {
            1.0
        } else {
            trust_coefficient * param_norm / (update_norm + eps)
        }
    })),
    ..Meta::PLAIN
};

pub const ADAPTIVE_CLIP: Meta = Meta {
    name: "adaptive_grad_clip",
    scalars: &[bound("clipping"), epsilon("eps")],
    params: true,
    gather: Some(over(UnitAxes::Weights, &[UPDATE, PARAM], |scalars, Unit { sums, .. }| {
        let ([update_norm, param_norm], [clipping, eps]) = (sums, [scalars[0], scalars[1]]);
        let max_norm = clipping * at_least(param_norm, eps);
        if update_norm < max_norm { 1.0 } else { max_norm / at_least(update_norm, 1e-6) }
    })),
    ..Meta::PLAIN
};

pub const PARAM_NORM: Meta = Meta {
    name: "scale_by_param_block_norm",
    scalars: &[epsilon("min_scale")],
    params: true,
    gather: Some(over(UnitAxes::All, &[PARAM], |scalars, Unit { sums: [norm, _], .. }| {
        at_least(norm, scalars[0])
    })),
    ..Meta::PLAIN
};

pub const PARAM_RMS: Meta = Meta {
    name: "scale_by_param_block_rms",
    gather: Some(over(
        UnitAxes::All,
        &[PARAM],
        |scalars, Unit { sums: [norm, _], elements, .. }| {
            at_least(norm / elements.sqrt(), scalars[0])
        },
    )),
    ..PARAM_NORM
};

pub const CENTRALIZE: Meta = Meta {
    name: "centralize",
    gather: Some(over(
        UnitAxes::AllButFirst,
        &[(Of::Update, Addend::Value)],
        |_, Unit { sums: [sum, _], elements, .. }| sum / elements,
    )),
    ..Meta::PLAIN
};

/// The larger of two; NaN is larger than any bound here, as it has to come out again.
fn at_least(norm: f64, bound: f64) -> f64 {
    if norm <= bound { bound } else { norm }
}

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

    fn as_factor_with(&self, number: T) -> Option<T> {
        Some(number)
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
