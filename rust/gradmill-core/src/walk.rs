//! One pass over all leaves: cut into chunks, spread over threads, brought into dense blocks.

use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::{SmallVec, smallvec};

use crate::dtype::{DType, Float};
use crate::exec::{Config, Kernels};
use crate::kernel::Kernel;
use crate::leaf::{Leaf, Params, Sink, Slot};
use crate::par;
use crate::program::{Pass, Program, Source};
use crate::reduce::{Lanes, SumSquares, pairwise};

/// Elements of a task. Fixed, so that no result depends on the thread count.
pub const CHUNK: usize = 1 << 17;
/// Elements that are converted or copied before a kernel runs over them; divides [`CHUNK`].
const BLOCK: usize = 1 << 10;
/// Below this many elements, waking a thread costs more than it saves.
pub const PARALLEL_FROM: usize = 1 << 18;

/// What all chunks of a pass share.
pub struct Walk<'w> {
    pub program: &'w Program,
    pub pass: &'w Pass,
    pub kernels: &'w Kernels,
    pub config: &'w Config,
    /// What values are multiplied with before they are squared.
    pub scale: f64,
}

impl Walk<'_> {
    /// Whether all incoming updates were finite, and the sum of squares of those that leave the pass.
    pub fn over(&self, leaves: &mut [Leaf<'_>]) -> (bool, f64) {
        let total: usize = leaves.iter().map(Leaf::len).sum();
        let threads = if total < PARALLEL_FROM { 1 } else { self.config.threads };
        // A sum for each chunk; which thread computes it does not matter.
        let chunks = |leaf: &Leaf<'_>| leaf.len().div_ceil(CHUNK);
        let count = self.pass.norm_for.map_or(0, |_| leaves.iter().map(chunks).sum());
        let mut sums: SmallVec<[f64; 16]> = smallvec![0.0; count];
        let finite = match threads {
            1 => self.in_turn(leaves, &mut sums),
            _ => self.spread(leaves, &mut sums, threads),
        };
        if count == 0 {
            return (finite, 0.0);
        }
        let mut rest = &sums[..];
        let of_leaves = leaves.iter().map(|leaf| {
            let (own, tail) = rest.split_at(chunks(leaf));
            rest = tail;
            pairwise(own)
        });
        (finite, pairwise(&of_leaves.collect::<SmallVec<[f64; 16]>>()))
    }

    fn in_turn(&self, leaves: &mut [Leaf<'_>], sums: &mut [f64]) -> bool {
        let mut sums = sums.iter_mut();
        let mut finite = true;
        for leaf in leaves.iter_mut().filter(|leaf| !leaf.is_empty()) {
            if leaf.len() <= CHUNK {
                finite &= self.chunk(leaf, sums.next());
            } else {
                for mut chunk in leaf.reborrow().chunks(CHUNK) {
                    finite &= self.chunk(&mut chunk, sums.next());
                }
            }
        }
        finite
    }

    fn spread(&self, leaves: &mut [Leaf<'_>], sums: &mut [f64], threads: usize) -> bool {
        let mut sums = sums.iter_mut();
        let chunks = leaves.iter_mut().flat_map(|leaf| leaf.reborrow().chunks(CHUNK));
        let finite = AtomicBool::new(true);
        par::for_each(
            threads,
            chunks.map(move |chunk| (chunk, sums.next())),
            |(mut chunk, sum)| {
                if !self.chunk(&mut chunk, sum) {
                    finite.store(false, Ordering::Relaxed);
                }
            },
        );
        finite.into_inner()
    }

    fn chunk(&self, leaf: &mut Leaf<'_>, sum: Option<&mut f64>) -> bool {
        // A leaf that the norm's op passes by is no part of the norm.
        let counts = self.pass.norm_for.is_none_or(|op| leaf.skip >> op & 1 == 0);
        let sum = sum.filter(|_| counts);
        match self.program.dtype(leaf) {
            DType::F32 => self.run(self.kernels.f32.of(leaf.skip), leaf, sum),
            DType::F64 => self.run(self.kernels.f64.of(leaf.skip), leaf, sum),
        }
    }

    fn run<T: Float>(
        &self,
        kernel: &Kernel<T>,
        leaf: &mut Leaf<'_>,
        sum: Option<&mut f64>,
    ) -> bool {
        let mut scratch = Scratch::default();
        let mut lanes = sum.is_some().then(Lanes::new);
        let mut bad = T::Bits::default();
        if self.runs_in_place::<T>(leaf) {
            bad |= self.block(kernel, leaf, &mut scratch, lanes.as_mut());
        } else {
            for mut block in leaf.reborrow().chunks(BLOCK) {
                bad |= self.block(kernel, &mut block, &mut scratch, lanes.as_mut());
            }
        }
        if let (Some(sum), Some(lanes)) = (sum, &mut lanes) {
            *sum = lanes.total();
        }
        !T::any(bad)
    }

    /// Whether the kernel can walk over the caller's arrays as they are.
    fn runs_in_place<T: Float>(&self, leaf: &Leaf<'_>) -> bool {
        let dense_updates = self.pass.source == Source::Updates && leaf.updates.is_dense::<T>();
        if self.pass.norm_for.is_some() {
            return dense_updates && self.pass.ops.is_empty();
        }
        let params = match &leaf.params {
            Params::Write(slot) => slot.is_in_place::<T>(),
            Params::Read(source) => source.is_dense::<T>() || !self.program.reads_params(),
            Params::None => true,
        };
        let slots = &leaf.slots[self.pass.slots.clone()];
        dense_updates
            && params
            && leaf.out.as_ref().is_none_or(Sink::is_dense::<T>)
            && slots.iter().flatten().all(Slot::is_in_place::<T>)
    }

    fn block<T: Float>(
        &self,
        kernel: &Kernel<T>,
        leaf: &mut Leaf<'_>,
        scratch: &mut Scratch<T>,
        lanes: Option<&mut Lanes>,
    ) -> T::Bits {
        let (pass, tier, len) = (self.pass, self.config.tier, leaf.len());
        let Leaf { updates, params, out, slots, skip } = leaf;
        let updates = match (pass.source, &*out) {
            (Source::Carried, Some(out)) => {
                let buffer = grown(&mut scratch.updates, len);
                out.read(buffer);
                &*buffer
            }
            _ => {
                if let Some(slice) = updates.dense() {
                    slice
                } else {
                    let buffer = grown(&mut scratch.updates, len);
                    updates.read(buffer);
                    buffer
                }
            }
        };
        let square = |values: &[T]| {
            if let Some(lanes) = lanes {
                tier.run(SumSquares { lanes, values, scale: self.scale });
            }
        };
        if pass.norm_for.is_some() && pass.ops.is_empty() {
            square(updates);
            return T::Bits::default();
        }
        let slots = &mut slots[pass.slots.clone()];
        scratch.slots.resize_with(slots.len(), Vec::new);
        let mut states: SmallVec<[&mut [T]; 4]> = SmallVec::new();
        for (slot, buffer) in slots.iter_mut().zip(&mut scratch.slots) {
            states.push(match slot {
                None => &mut [],
                Some(slot) => {
                    if slot.to.is_dense::<T>() {
                        slot.dense().unwrap_or_default()
                    } else {
                        let buffer = grown(buffer, len);
                        slot.read(buffer);
                        buffer
                    }
                }
            });
        }
        let reads_params = self.program.reads_params_of(*skip);
        let finishes = pass.norm_for.is_none();
        let bad = match (&mut *params, &mut *out) {
            (Params::Write(slot), _) if finishes && slot.to.is_dense::<T>() => {
                let params = slot.dense().unwrap_or_default();
                kernel.apply(tier, updates, params, &mut states)
            }
            (params, out) => {
                let writes_params = finishes && matches!(params, Params::Write(_));
                let in_out =
                    finishes && !writes_params && out.as_ref().is_some_and(Sink::is_dense::<T>);
                let read: &[T] = match params.dense() {
                    _ if !reads_params => &[],
                    Some(slice) => slice,
                    None => {
                        let buffer = grown(&mut scratch.params, len);
                        params.read(buffer);
                        buffer
                    }
                };
                let result = match out {
                    Some(out) if in_out => out.dense().unwrap_or_default(),
                    _ => grown(&mut scratch.out, len),
                };
                let bad = kernel.store(tier, updates, read, result, &mut states);
                square(result);
                match (params, out) {
                    _ if in_out => {}
                    (Params::Write(slot), _) if writes_params => add(&scratch.out[..len], slot),
                    (_, Some(out)) if finishes || pass.carries => out.write(&scratch.out[..len]),
                    _ => {}
                }
                bad
            }
        };
        drop(states);
        for (slot, buffer) in slots.iter_mut().zip(&scratch.slots) {
            if let Some(slot) = slot
                && !slot.to.is_dense::<T>()
            {
                slot.to.write(&buffer[..len]);
            }
        }
        bad
    }
}

/// Adds the update to parameters of another dtype or layout, in the wider dtype.
fn add<T: Float>(updates: &[T], params: &mut Slot<'_>) {
    fn sum<T: Float, W: Float>(updates: &[T], params: &mut Slot<'_>) {
        let mut buffer = vec![W::ZERO; updates.len()];
        params.read(&mut buffer);
        for (param, update) in buffer.iter_mut().zip(updates) {
            *param = *param + W::from_f64(update.to_f64());
        }
        params.to.write(&buffer);
    }
    match params.to.dtype().max(T::DTYPE) {
        DType::F32 => sum::<T, f32>(updates, params),
        DType::F64 => sum::<T, f64>(updates, params),
    }
}

/// Dense copies of arrays that a kernel cannot walk over.
#[derive(Default)]
struct Scratch<T> {
    updates: Vec<T>,
    params: Vec<T>,
    out: Vec<T>,
    slots: Vec<Vec<T>>,
}

fn grown<T: Float>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::ZERO);
    }
    &mut buffer[..len]
}
