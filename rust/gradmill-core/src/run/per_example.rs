//! Gradients of single examples: each is shrunk to a norm, then they are added up.
//!
//! Gradients are read twice, for the norms and for the sum, and nothing as large as they are is made.

use pulp::NullaryFnOnce;
use smallvec::{SmallVec, smallvec};

use super::weighted_sum::{SUMMED_AT_ONCE, add_rows};
use crate::data::{Sink, Source};
use crate::error::{Error, Role};
use crate::number::dtype::DType;
use crate::number::float::Float;
use crate::number::rounding::Rounding;
use crate::sums::squares::{SquareLanes, Squares};
use crate::sys::config::{CHUNK, Config};
use crate::sys::mode::in_default_mode;
use crate::sys::par;
use crate::sys::simd::Tier;

/// Stretches of memory that are read side by side: processors fetch several ahead, so this is faster
/// than one after the other, where neither is in a cache.
const ROWS: usize = 8;
/// Partial sums of the squares of a chunk; divides [`STEP`].
const EXAMPLE_LANES: usize = 8;
/// The partial sums of a chunk of an example.
type ExampleLanes = SquareLanes<EXAMPLE_LANES>;
/// Elements of a row that are squared before the next row's turn, with the row's partial sums in registers;
/// divides [`SUMMED_AT_ONCE`].
const STEP: usize = 64;

/// One leaf of the gradients.
#[derive(Debug)]
pub struct Examples<'a> {
    /// The gradients, example after example.
    pub grads: Source<'a>,
    /// Receives their sum; has as many elements as one example.
    pub sum: Sink<'a>,
}

/// Which norms of an example are bounded, for a bound `C` of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// That of all leaves together, by `C`.
    Tree,
    /// That of each of `K` leaves, by `C / √K`.
    Leaves,
    /// That of each leaf with `D` of all `N` elements, by `C √(D / N)`.
    LeavesBySize,
}

/// Numbers for each group of leaves that share a norm: one group, or one for each leaf.
type Grouped<T> = SmallVec<[T; 1]>;

/// Adds up the gradients of `batch` examples, each multiplied with `min(C / norm, 1)`, or with one where
/// that is NaN; `C` is the bound of the norm, `limit` that of the whole.
///
/// Returns how many examples were shrunk: one number for [`Scope::Tree`], otherwise one for each leaf.
///
/// # Errors
/// [`Error::Length`] where a leaf's gradients are not `batch` times as long as its sum; nothing was
/// written then.
pub fn clip_sum(
    leaves: Vec<Examples<'_>>,
    batch: usize,
    limit: f64,
    scope: Scope,
    config: &Config,
) -> Result<Grouped<usize>, Error> {
    for (leaf, Examples { grads, sum }) in leaves.iter().enumerate() {
        let (expected, got) = (grads.len(), batch.saturating_mul(sum.len()));
        if expected != got {
            return Err(Error::Length { leaf, role: Role::Out, expected, got });
        }
    }
    let groups = if scope == Scope::Tree { 1 } else { leaves.len() };
    if leaves.iter().all(|leaf| leaf.sum.is_empty()) {
        return Ok(smallvec![0; groups]);
    }
    // There may be many more examples than memory has elements: an axis of stride zero takes no room.
    let numbers = batch.saturating_mul(groups);
    Vec::<f64>::new().try_reserve_exact(numbers).map_err(|_| Error::OutOfMemory)?;
    let elements: usize = leaves.iter().map(|leaf| leaf.grads.len()).sum();
    let threads = par::threads_for(config.threads, elements);
    let clip = ClippedSum { batch, limit, scope, config: &Config { threads, ..*config } };
    let factors = in_default_mode(|| {
        let factors = clip.factors(&leaves);
        clip.add_up(leaves, &factors);
        factors
    });
    Ok(factors.iter().map(|own| own.iter().filter(|&&factor| factor < 1.0).count()).collect())
}

struct ClippedSum<'c> {
    batch: usize,
    limit: f64,
    scope: Scope,
    config: &'c Config,
}

impl ClippedSum<'_> {
    /// The bound of each group of leaves.
    fn limits(&self, leaves: &[Examples<'_>]) -> Grouped<f64> {
        let count = leaves.len();
        let elements: usize = leaves.iter().map(|leaf| leaf.sum.len()).sum();
        let by_size = |leaf: &Examples<'_>| leaf.sum.len() as f64 / elements as f64;
        match self.scope {
            Scope::Tree => smallvec![self.limit],
            Scope::Leaves => smallvec![self.limit * (1.0 / count as f64).sqrt(); count],
            Scope::LeavesBySize => {
                leaves.iter().map(|leaf| self.limit * by_size(leaf).sqrt()).collect()
            }
        }
    }

    /// For each group of leaves the factor of each example.
    fn factors(&self, leaves: &[Examples<'_>]) -> Grouped<Vec<f64>> {
        let limits = self.limits(leaves);
        let factor = |limit: f64, squares: &Squares| {
            let (norm, scale) = squares.scaled_norm();
            let factor = limit * scale / norm;
            if factor < 1.0 { factor } else { 1.0 }
        };
        let squares = self.squares(leaves);
        let groups = squares.iter().zip(&limits);
        groups.map(|(own, &limit)| own.iter().map(|one| factor(limit, one)).collect()).collect()
    }

    /// For each group of leaves the squares of each example.
    fn squares(&self, leaves: &[Examples<'_>]) -> Grouped<Vec<Squares>> {
        let count = self.batch;
        let of_chunks =
            |leaf: &Examples<'_>| vec![Squares::default(); leaf.sum.len().div_ceil(CHUNK) * count];
        let mut of_chunks: Vec<Vec<Squares>> = leaves.iter().map(of_chunks).collect();
        let tasks = leaves.iter().zip(&mut of_chunks).flat_map(|(leaf, sums)| {
            let Examples { grads, sum } = leaf;
            let (whole, rest) = (sum.len() / CHUNK, sum.len() % CHUNK);
            let (of_whole, of_rest) = sums.split_at_mut(whole * count);
            [(0, CHUNK, of_whole), (whole, rest, of_rest)].into_iter().flat_map(
                move |(chunk, len, sums)| {
                    let per_task = (CHUNK / len.max(1)).next_multiple_of(ROWS);
                    sums.chunks_mut(per_task).enumerate().map(move |(task, sums)| ExampleSquares {
                        grads,
                        of_example: sum.len(),
                        len,
                        count,
                        first: chunk * count + task * per_task,
                        sums,
                    })
                },
            )
        });
        let config = self.config;
        par::for_each(config.threads, tasks, |task| match task.grads.dtype() {
            DType::F64 => task.run::<f64>(config),
            _ => task.run::<f32>(config),
        });
        let mut parts: Vec<Squares> = Vec::new();
        let mut of_leaf = |sums: &[Squares], example: usize| {
            if sums.len() == count {
                return sums[example];
            }
            parts.clear();
            parts.extend(sums.iter().skip(example).step_by(count));
            Squares::of_tree(parts.iter().copied())
        };
        let all = 0..count;
        if self.scope != Scope::Tree {
            return of_chunks
                .iter()
                .map(|sums| all.clone().map(|example| of_leaf(sums, example)).collect())
                .collect();
        }
        let mut whole = Vec::with_capacity(leaves.len());
        let of_tree = all.map(|example| {
            whole.clear();
            whole.extend(of_chunks.iter().map(|sums| of_leaf(sums, example)));
            Squares::of_tree(whole.iter().copied())
        });
        smallvec![of_tree.collect()]
    }

    /// Writes the sums. Each of their elements adds up in the order of the examples, so no bit depends
    /// on where tasks begin.
    fn add_up(&self, leaves: Vec<Examples<'_>>, factors: &[Vec<f64>]) {
        let per_task = (CHUNK / self.batch.max(1)).next_multiple_of(SUMMED_AT_ONCE);
        let (grads, sums): (Vec<_>, Vec<_>) =
            leaves.into_iter().map(|leaf| (leaf.grads, leaf.sum)).unzip();
        let mut tasks = Vec::new();
        for (leaf, (grads, mut rest)) in grads.iter().zip(sums).enumerate() {
            let factors = &factors[if self.scope == Scope::Tree { 0 } else { leaf }];
            let len = rest.len();
            for start in (0..len).step_by(per_task) {
                let (sum, tail) = rest.split_at(per_task.min(len - start));
                tasks.push(SumStretch { grads, len, start, sum, factors });
                rest = tail;
            }
        }
        let config = self.config;
        par::for_each(config.threads, tasks.into_iter(), |task| match task.grads.dtype() {
            DType::F64 => task.run::<f64>(config),
            _ => task.run::<f32>(config),
        });
    }
}

/// Sums of squares of chunks of a leaf, all of one length: the same chunk of all examples, then the next.
struct ExampleSquares<'t> {
    grads: &'t Source<'t>,
    /// Elements of an example.
    of_example: usize,
    /// Elements of a chunk.
    len: usize,
    /// How many examples there are.
    count: usize,
    /// Position of the first sum among all of the leaf's.
    first: usize,
    sums: &'t mut [Squares],
}

impl ExampleSquares<'_> {
    fn run<T: Float>(self, config: &Config) {
        let Self { grads, of_example, len, count, first, sums } = self;
        let chunks = first / count..;
        let mut starts = chunks
            .flat_map(|chunk| (0..count).map(move |at| at * of_example + chunk * CHUNK))
            .skip(first % count);
        let Some(values) = grads.dense::<T>() else {
            let tier = config.tier;
            let mut buffer = Vec::new();
            for (sum, start) in sums.iter_mut().zip(starts) {
                let mut lanes = [ExampleLanes::ZERO];
                for at in (0..len).step_by(SUMMED_AT_ONCE) {
                    let row = dense_part::<T>(
                        tier,
                        grads,
                        start + at,
                        SUMMED_AT_ONCE.min(len - at),
                        &mut buffer,
                    );
                    tier.run(AddSquares { lanes: &mut lanes, rows: [row] });
                }
                *sum = lanes[0].total_by(sum_of_lanes);
            }
            return;
        };
        let mut row = || &values[starts.next().unwrap_or_default()..][..len];
        let (groups, rest) = sums.as_chunks_mut::<ROWS>();
        for group in groups {
            let mut lanes = [ExampleLanes::ZERO; ROWS];
            let rows = std::array::from_fn(|_| row());
            config.tier.run(AddSquares { lanes: &mut lanes, rows });
            *group = lanes.map(|lanes| lanes.total_by(sum_of_lanes));
        }
        for sum in rest {
            let mut lanes = [ExampleLanes::ZERO];
            config.tier.run(AddSquares { lanes: &mut lanes, rows: [row()] });
            *sum = lanes[0].total_by(sum_of_lanes);
        }
    }
}

/// Adds the squares of rows, which are of one length, to the lanes of each; all stretches of a chunk but the last
/// have a multiple of [`EXAMPLE_LANES`] elements.
struct AddSquares<'k, T, const N: usize> {
    lanes: &'k mut [ExampleLanes; N],
    rows: [&'k [T]; N],
}

impl<T: Float, const N: usize> NullaryFnOnce for AddSquares<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { lanes, rows } = self;
        let len = rows[0].len();
        for start in (0..len).step_by(STEP) {
            let end = len.min(start + STEP);
            for (own, row) in lanes.iter_mut().zip(&rows) {
                own.add_all(&row[start..end]);
            }
        }
    }
}

/// The sum of all lanes: neighbours, then neighbours of those.
fn sum_of_lanes(lanes: [f64; EXAMPLE_LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// Some elements of a leaf's sum.
struct SumStretch<'t> {
    grads: &'t Source<'t>,
    /// Elements of an example.
    len: usize,
    /// Those before the ones in `sum`.
    start: usize,
    sum: Sink<'t>,
    factors: &'t [f64],
}

impl SumStretch<'_> {
    fn run<T: Float>(self, config: &Config) {
        let Self { grads, len, start, sum: mut rest, factors } = self;
        let mut accumulators = [0.0; SUMMED_AT_ONCE];
        let mut buffer: Vec<T> = Vec::new();
        let end = start + rest.len();
        for start in (start..end).step_by(SUMMED_AT_ONCE) {
            let count = SUMMED_AT_ONCE.min(end - start);
            let sums = &mut accumulators[..count];
            sums.fill(0.0);
            match grads.dense::<T>() {
                Some(values) => {
                    // Without examples there is nothing behind `start`.
                    let values = values.get(start..).unwrap_or_default();
                    config.tier.run(AddRows { sums, values, stride: len, factors });
                }
                None => {
                    for (example, factor) in factors.iter().enumerate() {
                        let values = dense_part(
                            config.tier,
                            grads,
                            example * len + start,
                            count,
                            &mut buffer,
                        );
                        let factors = std::slice::from_ref(factor);
                        config.tier.run(AddRows { sums, values, stride: count, factors });
                    }
                }
            }
            let (mut sum, tail) = rest.split_at(count);
            sum.write(config.tier, sums, Rounding::Nearest);
            rest = tail;
        }
    }
}

/// A dense copy of `count` elements.
fn dense_part<'b, T: Float>(
    tier: Tier,
    grads: &Source<'_>,
    start: usize,
    count: usize,
    buffer: &'b mut Vec<T>,
) -> &'b [T] {
    buffer.resize(count, T::ZERO);
    grads.clone().split_at(start).1.split_at(count).0.read(tier, buffer);
    buffer
}

/// Adds to `sums` a row of `values` for each factor, times the factor; rows begin `stride` apart.
struct AddRows<'k, T> {
    sums: &'k mut [f64],
    values: &'k [T],
    stride: usize,
    factors: &'k [f64],
}

impl<T: Float> NullaryFnOnce for AddRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        // Those that are left over in smaller groups.
        let done = self.add::<ROWS>(0);
        let done = self.add::<4>(done);
        self.add::<1>(done);
    }
}

impl<T: Float> AddRows<'_, T> {
    /// Adds rows from `first` on, `N` at a time, as long as there are as many; returns the next.
    #[inline(always)]
    fn add<const N: usize>(&mut self, mut first: usize) -> usize {
        let sums = &mut *self.sums;
        let len = sums.len();
        for factors in self.factors[first..].as_chunks::<N>().0 {
            let mut rows: [&[T]; N] = [&[]; N];
            for (at, row) in rows.iter_mut().enumerate() {
                *row = &self.values[(first + at) * self.stride..][..len];
            }
            add_rows(sums, &rows, factors);
            first += N;
        }
        first
    }
}
