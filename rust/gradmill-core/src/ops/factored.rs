//! Updates over a root mean square of which averages over rows and columns are kept.

use super::gather::{Addend, Factors, Gather, Of, Over, Settle, Side};
use super::op::{Beside, FromScalars, Meta, Op, decay, epsilon};
use crate::number::float::Float;
use crate::number::scalars::beside_root;

const SQUARES: (Of, Addend) = (Of::Update, Addend::Square);

pub const FACTORED_RMS: Meta = Meta {
    name: "scale_by_factored_rms",
    slots: &[],
    unit_slots: &["v_row", "v_col"],
    gather: Some(Gather {
        over: Over::Factors,
        of: &[SQUARES, SQUARES],
        settle: Settle::Factors(inverse_roots),
    }),
    otherwise: Some("scale_by_unfactored_rms"),
    ..UNFACTORED_RMS
};
pub const UNFACTORED_RMS: Meta = Meta {
    name: "scale_by_unfactored_rms",
    scalars: &[decay("decay"), epsilon("eps")],
    slots: &["v"],
    params: true,
    ..Meta::PLAIN
};

/// `1 / √(r' / mean(r'))` for each row and `1 / √c'` for each column, where `r'` and `c'` are averages over time of what
/// `u² + eps` is on average in the row or in the column.
fn inverse_roots(scalars: &[f64], Factors { sides, along: (length, inner) }: Factors<'_>) {
    let &[decay, eps] = scalars else { unreachable!("the program counts each op's scalars") };
    let [rows, columns] = sides.map(|Side { sums, elements, state, numbers }| {
        for (average, norm) in state.iter_mut().zip(sums) {
            *average = decay * *average + (1.0 - decay) * (norm * norm / elements + eps);
        }
        (state, numbers)
    });
    for (number, &average) in columns.1.iter_mut().zip(&*columns.0) {
        *number = inverse_root(average);
    }
    let blocks = rows.0.chunks(length * inner).zip(rows.1.chunks_mut(length * inner));
    for (averages, numbers) in blocks {
        for first in 0..inner {
            let mean = averages.iter().skip(first).step_by(inner).sum::<f64>() / length as f64;
            let places = numbers.iter_mut().skip(first).step_by(inner);
            for (number, &average) in places.zip(averages.iter().skip(first).step_by(inner)) {
                *number = inverse_root(if mean == 0.0 { 0.0 } else { average / mean });
            }
        }
    }
}

/// That of zero is finite: a mean square of zero is one of zeros.
fn inverse_root(square: f64) -> f64 {
    1.0 / (square.sqrt() + beside_root::<f64>(0.0))
}

/// `v' = decay v + (1 - decay) (u² + eps)`; emits `u / √v'`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByUnfactoredRms<T> {
    decay: T,
    rest: T,
    eps: T,
    least: T,
}

impl<T: Float> FromScalars<2> for ScaleByUnfactoredRms<T> {
    fn from_scalars(&[decay, eps]: &[f64; 2]) -> Self {
        Self {
            decay: T::from_f64(decay),
            rest: T::from_f64(1.0 - decay),
            eps: T::from_f64(eps),
            least: beside_root(0.0),
        }
    }
}

impl<T: Float> Op<T, 1> for ScaleByUnfactoredRms<T> {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [v]: [T; 1]) -> (T, [T; 1]) {
        let v = self.decay * v + self.rest * (update * update + self.eps);
        (update / (v.sqrt() + self.least), [v])
    }
}
