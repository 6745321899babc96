//! Sums of arrays with weights: each is read once, added up in f64, and the sum rounded once.

use std::ops::Range;

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use crate::data::{Sink, Source};
use crate::number::float::Float;
use crate::number::rounding::Rounding;
use crate::sys::config::{CHUNK, Config};
use crate::sys::mode::in_default_mode;
use crate::sys::par;
use crate::sys::simd::Tier;

/// Elements of a sum that are formed at once, so that their accumulators stay in the first cache; divides [`CHUNK`].
pub(super) const SUMMED_AT_ONCE: usize = 1 << 11;
/// Arrays that are read side by side.
const TOGETHER: usize = 8;

/// One leaf: what is added up, and what receives the sum.
#[derive(Debug)]
pub struct Terms<'a> {
    /// Arrays as long as the sum, one for each weight.
    pub terms: Vec<Source<'a>>,
    /// Receives the sum.
    pub sum: Sink<'a>,
}

/// Writes `Σ weight · term` to the sum of each leaf, on top of `own` times what it holds where that is given.
///
/// No bit depends on the number of threads: each element adds up in the order of the terms.
pub fn weighted_sum(leaves: Vec<Terms<'_>>, weights: &[f64], own: Option<f64>, config: &Config) {
    let elements = leaves.iter().map(|leaf| leaf.sum.len() * (weights.len() + 1)).sum();
    let threads = par::threads_for(config.threads, elements);
    let per_task = (CHUNK / weights.len().max(1)).next_multiple_of(SUMMED_AT_ONCE);
    let (terms, sums): (Vec<_>, Vec<_>) =
        leaves.into_iter().map(|leaf| (leaf.terms, leaf.sum)).unzip();
    let mut stretches = Vec::new();
    for (terms, mut rest) in terms.iter().zip(sums) {
        let len = rest.len();
        for start in (0..len).step_by(per_task) {
            let (sum, tail) = rest.split_at(per_task.min(len - start));
            stretches.push(Stretch { terms, weights, own, start, sum });
            rest = tail;
        }
    }
    let run = |stretch: Stretch<'_>| in_default_mode(|| stretch.run(config.tier));
    par::for_each(threads, stretches.into_iter(), run);
}

/// Some elements of a leaf.
struct Stretch<'t> {
    terms: &'t [Source<'t>],
    weights: &'t [f64],
    own: Option<f64>,
    /// Elements before those of `sum`.
    start: usize,
    sum: Sink<'t>,
}

impl Stretch<'_> {
    fn run(self, tier: Tier) {
        let Self { terms, weights, own, start, sum: mut rest } = self;
        let mut accumulators = [0.0; SUMMED_AT_ONCE];
        let mut buffer = Vec::new();
        let end = start + rest.len();
        for start in (start..end).step_by(SUMMED_AT_ONCE) {
            let count = SUMMED_AT_ONCE.min(end - start);
            let (mut sum, tail) = rest.split_at(count);
            let sums = &mut accumulators[..count];
            match own {
                Some(weight) => {
                    sum.read(tier, sums);
                    for sum in sums.iter_mut() {
                        *sum *= weight;
                    }
                }
                None => sums.fill(0.0),
            }
            for (terms, weights) in terms.chunks(TOGETHER).zip(weights.chunks(TOGETHER)) {
                let at = start..start + count;
                if let Some(rows) = dense::<f32>(terms, at.clone()) {
                    tier.run(AddAll { sums, rows: &rows, weights });
                } else if let Some(rows) = dense::<f64>(terms, at.clone()) {
                    tier.run(AddAll { sums, rows: &rows, weights });
                } else {
                    for (term, weight) in terms.iter().zip(weights) {
                        buffer.resize(count, 0.0);
                        term.part(at.clone()).read::<f64>(tier, &mut buffer);
                        let weights = std::slice::from_ref(weight);
                        tier.run(AddAll { sums, rows: &[&buffer[..]], weights });
                    }
                }
            }
            sum.write(tier, sums, Rounding::Nearest);
            rest = tail;
        }
    }
}

/// Stretches of arrays, where all are dense and of this type.
fn dense<'t, T: Float>(
    terms: &'t [Source<'_>],
    at: Range<usize>,
) -> Option<SmallVec<[&'t [T]; TOGETHER]>> {
    terms.iter().map(|term| term.dense::<T>().map(|values| &values[at.clone()])).collect()
}

/// Adds rows of one length to `sums`, each times its weight.
struct AddAll<'k, 'r, T> {
    sums: &'k mut [f64],
    rows: &'k [&'r [T]],
    weights: &'k [f64],
}

impl<T: Float> NullaryFnOnce for AddAll<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { sums, rows, weights } = self;
        let (rows8, rows) = rows.as_chunks::<TOGETHER>();
        let (weights8, weights) = weights.as_chunks::<TOGETHER>();
        rows8.iter().zip(weights8).for_each(|(rows, weights)| add_rows(sums, rows, weights));
        let (rows4, rows) = rows.as_chunks::<4>();
        let (weights4, weights) = weights.as_chunks::<4>();
        rows4.iter().zip(weights4).for_each(|(rows, weights)| add_rows(sums, rows, weights));
        for (row, weight) in rows.iter().zip(weights) {
            add_rows(sums, &[row], &[*weight]);
        }
    }
}

/// Adds rows as long as `sums`, each times its weight and in this order.
#[inline(always)]
pub(super) fn add_rows<T: Float, const N: usize>(
    sums: &mut [f64],
    rows: &[&[T]; N],
    weights: &[f64; N],
) {
    // Not by a function of arrays, which would be a call in the loop over them.
    let mut own: [&[T]; N] = [&[]; N];
    for (own, row) in own.iter_mut().zip(rows) {
        *own = &row[..sums.len()];
    }
    for (at, sum) in sums.iter_mut().enumerate() {
        for (row, weight) in own.iter().zip(weights) {
            *sum += row[at].to_f64() * weight;
        }
    }
}
