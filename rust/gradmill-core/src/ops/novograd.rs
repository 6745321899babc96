//! Updates over the norm that their leaf has had.

use super::gather::{Addend, Gather, Of, Over, Settle, Unit};
use super::op::{Beside, FromScalars, Meta, Op, Reads, count, decay, epsilon, factor};
use crate::number::float::Float;
use crate::number::scalars::beside_root;
use crate::sums::units::UnitAxes;

pub const NOVOGRAD: Meta = Meta {
    name: "scale_by_novograd",
    scalars: &[
        factor("b1"),
        decay("b2"),
        epsilon("eps"),
        epsilon("eps_root"),
        factor("weight_decay"),
        count("count"),
    ],
    slots: &["mu"],
    unit_slots: &["nu"],
    params: true,
    gather: Some(Gather {
        over: Over::Units(UnitAxes::All),
        of: &[(Of::Update, Addend::Square)],
        settle: Settle::Number(size),
    }),
    ..Meta::PLAIN
};

/// `sqrt(nu' + eps_root)`, where `nu' = b2 nu + (1 - b2) |u|^2`, or `|u|^2` in the first step.
fn size(scalars: &[f64], Unit { sums: [norm, _], state, .. }: Unit<'_>) -> f64 {
    let &[_, b2, _, eps_root, _, count] = scalars else {
        unreachable!("the program counts each op's scalars")
    };
    let square = norm * norm;
    let nu = if count == 0.0 { square } else { b2 * state[0] + (1.0 - b2) * square };
    state[0] = nu;
    (nu + eps_root).sqrt()
}

/// `m' = b1 m + u / (number + eps) + weight_decay p`; emits `m'`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByNovograd<T> {
    b1: T,
    eps: T,
    weight_decay: T,
}

impl<T: Float> FromScalars<6> for ScaleByNovograd<T> {
    fn from_scalars(&[b1, _, eps, _, weight_decay, count]: &[f64; 6]) -> Self {
        let b1 = if count == 0.0 { 0.0 } else { b1 };
        Self { b1: T::from_f64(b1), eps: beside_root(eps), weight_decay: T::from_f64(weight_decay) }
    }
}

impl<T: Float> Op<T, 1> for ScaleByNovograd<T> {
    const READS: Reads = Reads { param: true, number: true, normal: false };

    #[inline(always)]
    fn element(
        &self,
        update: T,
        Beside { param, number, .. }: Beside<T>,
        [mu]: [T; 1],
    ) -> (T, [T; 1]) {
        let Self { b1, eps, weight_decay } = *self;
        let mu = b1 * mu + (update / (number + eps) + weight_decay * param);
        (mu, [mu])
    }
}
