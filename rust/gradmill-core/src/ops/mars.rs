//! Adam on updates whose change reduces their variance.

use super::gather::{Estimates, Gather, Over, Settle, Unit};
use super::op::{Beside, FromScalars, Meta, Op, Reads, bound, count, decay, epsilon, factor};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, bias_correction};
use crate::sums::units::UnitAxes;

pub const MARS: Meta = Meta {
    name: "scale_by_mars",
    scalars: &[
        decay("b1"),
        decay("b2"),
        factor("gamma"),
        epsilon("eps"),
        bound("max_norm"),
        count("count"),
    ],
    slots: &["mu", "nu", "prev_grad"],
    gather: Some(Gather {
        over: Over::Units(UnitAxes::All),
        of: &[],
        settle: Settle::Number(share),
    }),
    ..Meta::PLAIN
};

/// What updates are made smaller by for a second sum of squares, which is finite where the first is not: 2^-600.
const SMALLER: f64 = f64::from_bits((1023 - 600) << 52);

/// What shrinks corrected updates of a leaf to a norm of `max_norm`.
fn share(scalars: &[f64], Unit { sums: [squares, smaller], .. }: Unit<'_>) -> f64 {
    let &[_, _, _, _, max_norm, _] = scalars else {
        unreachable!("the program counts each op's scalars")
    };
    let norm = if squares == f64::INFINITY { smaller.sqrt() / SMALLER } else { squares.sqrt() };
    if norm > max_norm { max_norm / norm } else { 1.0 }
}

/// `c = (u + weight (u - u_before)) number`, where the weight is `gamma b1 / (1 - b1)`, or zero in the first step;
/// `m' = b1 m + (1 - b1) c`, `v' = b2 v + (1 - b2) c²`; emits `m̂ / (√v̂ + eps)`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByMars<T> {
    weight: T,
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    eps: T,
    mu_factor: T,
    nu_factor: T,
}

impl<T: Float> FromScalars<6> for ScaleByMars<T> {
    fn from_scalars(&[b1, b2, gamma, eps, _, count]: &[f64; 6]) -> Self {
        let weight = if count == 0.0 { 0.0 } else { gamma * (b1 / (1.0 - b1)) };
        Self {
            weight: T::from_f64(weight),
            b1: T::from_f64(b1),
            rest1: T::from_f64(1.0 - b1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            eps: beside_root(eps),
            mu_factor: T::from_f64(1.0 / bias_correction(b1, count + 1.0)),
            nu_factor: T::from_f64(1.0 / bias_correction(b2, count + 1.0)),
        }
    }
}

impl<T: Float> ScaleByMars<T> {
    #[inline(always)]
    fn corrected(&self, update: T, before: T) -> T {
        update + self.weight * (update - before)
    }
}

impl<T: Float> Op<T, 3> for ScaleByMars<T> {
    const READS: Reads = Reads::NUMBER;
    const ADDS: bool = true;

    #[inline(always)]
    fn addends(&self, update: T, _: T, [_, _, before]: [T; 3]) -> Estimates {
        let corrected = self.corrected(update, before).to_f64();
        let smaller = SMALLER * corrected;
        [corrected * corrected, smaller * smaller]
    }

    #[inline(always)]
    fn element(
        &self,
        update: T,
        Beside { number, .. }: Beside<T>,
        [mu, nu, before]: [T; 3],
    ) -> (T, [T; 3]) {
        let corrected = self.corrected(update, before) * number;
        let mu = self.b1 * mu + self.rest1 * corrected;
        let nu = self.b2 * nu + self.rest2 * (corrected * corrected);
        let root = (nu * self.nu_factor).sqrt() + self.eps;
        // Updates are not subnormal: blocks flush.
        (mu * self.mu_factor / root, [mu, nu, update])
    }
}
