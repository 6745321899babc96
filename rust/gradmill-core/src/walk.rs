//! One pass over all leaves: cut into chunks, spread over threads, brought into dense blocks.

use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::{SmallVec, smallvec};

use crate::dtype::{DType, Float};
use crate::exec::{Config, Kernels};
use crate::kernel::{Kernel, Site};
use crate::leaf::{Leaf, Params, Sink, Slot, Source as Array};
use crate::others::Others;
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
    /// Ops that pass all leaves by in this step, as bits.
    pub off: u64,
    pub others: &'w Others,
    /// Whether the pass ends with a sum of squares.
    pub norm: bool,
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
        let count = if self.norm { leaves.iter().map(chunks).sum() } else { 0 };
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
        let counts = self.pass.ends_for.is_none_or(|op| leaf.skip >> op & 1 == 0);
        let sum = sum.filter(|_| counts);
        match self.program.dtype(leaf) {
            DType::F32 => self.run(self.kernels.f32.of(leaf.skip | self.off), leaf, sum),
            DType::F64 => self.run(self.kernels.f64.of(leaf.skip | self.off), leaf, sum),
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
        if self.pass.ends_for.is_some() {
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

    /// Runs the kernel over a stretch of a leaf whose arrays are dense, or short enough to copy.
    fn block<T: Float>(
        &self,
        kernel: &Kernel<T>,
        leaf: &mut Leaf<'_>,
        scratch: &mut Scratch<T>,
        lanes: Option<&mut Lanes>,
    ) -> T::Bits {
        let len = leaf.len();
        let Leaf { updates, params, out, slots, skip, origin, .. } = leaf;
        let slots = &mut slots[self.pass.slots.clone()];
        let bad = {
            let mut states = staged_states(slots, &mut scratch.slots, len);
            let skip = *skip | self.off;
            let site = Site { tier: self.config.tier, origin: *origin, others: self.others };
            let stretch = Stretch { len, updates, params, out, skip, site };
            self.compute(kernel, stretch, &mut scratch.copies, &mut states, lanes)
        };
        write_back(slots, &scratch.slots, len);
        bad
    }

    fn compute<T: Float>(
        &self,
        kernel: &Kernel<T>,
        stretch: Stretch<'_, '_>,
        copies: &mut Copies<T>,
        states: &mut [&mut [T]],
        lanes: Option<&mut Lanes>,
    ) -> T::Bits {
        let pass = self.pass;
        let Stretch { len, updates, params, out, skip, site } = stretch;
        let finishes = pass.ends_for.is_none();
        let updates = match (pass.source, &*out) {
            (Source::Carried, Some(out)) => copied(&mut copies.updates, len, |to| out.read(to)),
            _ => match updates.dense() {
                Some(slice) => slice,
                None => copied(&mut copies.updates, len, |to| updates.read(to)),
            },
        };
        let square = |values: &[T]| {
            if let Some(lanes) = lanes {
                site.tier.run(SumSquares { lanes, values, scale: self.scale });
            }
        };
        if !finishes && pass.ops.is_empty() {
            square(updates);
            return T::Bits::default();
        }
        if let Params::Write(slot) = params
            && finishes
            && slot.to.is_dense::<T>()
        {
            return kernel.apply(site, updates, slot.dense().unwrap_or_default(), states);
        }
        let writes_params = finishes && matches!(params, Params::Write(_));
        let read = match params.dense() {
            _ if !self.program.reads_params_of(skip) => &[],
            Some(slice) => slice,
            None => copied(&mut copies.params, len, |to| params.read(to)),
        };
        if let Some(out) = out
            && finishes
            && !writes_params
            && out.is_dense::<T>()
        {
            return kernel.store(site, updates, read, out.dense().unwrap_or_default(), states);
        }
        let result = grown(&mut copies.out, len);
        let bad = kernel.store(site, updates, read, result, states);
        square(result);
        match (params, out) {
            (Params::Write(slot), _) if writes_params => add(result, slot),
            (_, Some(out)) if finishes || pass.carries => out.write(result),
            _ => {}
        }
        bad
    }
}

/// The arrays of a stretch of a leaf, but for its slots.
struct Stretch<'s, 'a> {
    len: usize,
    updates: &'s Array<'a>,
    params: &'s mut Params<'a>,
    out: &'s mut Option<Sink<'a>>,
    skip: u64,
    site: Site<'s>,
}

/// The states as slices that can be written: the slots' own memory, or copies in `buffers`.
fn staged_states<'s, T: Float>(
    slots: &'s mut [Option<Slot<'_>>],
    buffers: &'s mut Vec<Vec<T>>,
    len: usize,
) -> SmallVec<[&'s mut [T]; 4]> {
    buffers.resize_with(slots.len(), Vec::new);
    let stage = |(slot, buffer): (&'s mut Option<Slot<'_>>, &'s mut Vec<T>)| match slot {
        None => &mut [],
        Some(slot) => {
            if slot.to.is_dense::<T>() {
                return slot.dense().unwrap_or_default();
            }
            let buffer = grown(buffer, len);
            slot.read(buffer);
            buffer
        }
    };
    slots.iter_mut().zip(buffers).map(stage).collect()
}

/// Stores the states of which [`staged_states`] made copies.
fn write_back<T: Float>(slots: &mut [Option<Slot<'_>>], buffers: &[Vec<T>], len: usize) {
    for (slot, buffer) in slots.iter_mut().zip(buffers) {
        if let Some(slot) = slot
            && !slot.to.is_dense::<T>()
        {
            slot.to.write(&buffer[..len]);
        }
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
    copies: Copies<T>,
    slots: Vec<Vec<T>>,
}

/// Those of a leaf's arrays that are no slots.
#[derive(Default)]
struct Copies<T> {
    updates: Vec<T>,
    params: Vec<T>,
    out: Vec<T>,
}

/// A dense copy, made by `read`.
fn copied<T: Float>(buffer: &mut Vec<T>, len: usize, read: impl FnOnce(&mut [T])) -> &[T] {
    let buffer = grown(buffer, len);
    read(buffer);
    buffer
}

fn grown<T: Float>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::ZERO);
    }
    &mut buffer[..len]
}
