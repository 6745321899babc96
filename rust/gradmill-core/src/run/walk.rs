//! One pass over all leaves: cut into chunks, spread over threads, brought into dense blocks.

mod across;
mod mixed;
mod parts;
mod summing;
mod tasks;

use smallvec::SmallVec;

use self::parts::STRIDED;
use self::summing::Running;
pub use self::summing::{Pair, Summed};
use super::row::Row;
use super::staging::{
    Scratch, StagedArrays, add_to_wider, copied, old_states, staged_states, write_back,
};
use crate::data::{Dense, Leaf, Origin, Params, ROOM, Sink, Slot, Updates};
use crate::kernels::kernel::{self, Kernel};
use crate::kernels::placed::{Placed, Site};
use crate::kernels::set::{Bound, KernelSet, Kernels};
use crate::kernels::settled::Settled;
use crate::number::dtype::DType;
use crate::number::float::Float;
use crate::number::rng::{self, Key};
use crate::number::rounding::Rounding;
use crate::plan::pass::{Pass, PassInput};
use crate::plan::program::Program;
use crate::sums::squares::Pairwise;
use crate::sys::config::{CHUNK, Config};
use crate::sys::kept::grown;
use crate::sys::mode::{in_default_mode, in_kernel_mode};
use crate::sys::par;

/// Elements that are converted or copied before a kernel runs over them; divides [`CHUNK`].
const STAGED: usize = 1 << 12;
/// How many small leaves one loop takes, one after the other.
const TOGETHER: usize = 16;

/// What all chunks of a pass share.
pub struct Walk<'w> {
    pub program: &'w Program,
    pub pass: &'w Pass,
    pub kernels: &'w Kernels,
    /// Ops that pass all leaves by in this step, as bits.
    pub off: u64,
    /// What half precision is rounded at random with; to nearest without.
    pub rounding: Option<Key>,
    /// How many leaves of the tree come before these, by which that is drawn.
    pub leaves_before: u64,
    pub settled: &'w Settled,
    /// Whether updates that nobody reads after this pass are zeroed where their leaves want it.
    pub spends: bool,
    /// Whose squares are summed, of what leaves the pass.
    pub squares: Summed,
    pub config: &'w Config,
}

impl Walk<'_> {
    /// Whether all incoming updates, so many `elements`, were finite; `add` gets for each leaf the sums of
    /// squares that are asked for. `sums` is what those of chunks are formed in.
    pub fn over<R: Row>(
        &self,
        rows: &mut [R],
        elements: usize,
        sums: &mut Vec<Pair>,
        add: impl FnMut(Pair),
    ) -> bool {
        match par::threads_for(self.config.threads, elements) {
            1 => self.in_turn(rows, add),
            threads => self.spread(rows, threads, sums, add),
        }
    }

    fn in_turn<R: Row>(&self, rows: &mut [R], mut add: impl FnMut(Pair)) -> bool {
        let mut finite = true;
        self.in_mode(|| {
            self.each(rows, 0, |own_finite, own_sum| {
                finite &= own_finite;
                add(own_sum);
            });
        });
        finite
    }

    /// Runs `work` in the mode of kernels, or where it only sums squares in that of the host: a norm counts
    /// subnormal numbers.
    fn in_mode<R>(&self, work: impl FnOnce() -> R) -> R {
        if self.only_sums() { work() } else { in_kernel_mode(work) }
    }

    fn only_sums(&self) -> bool {
        self.pass.ends_for.is_some() && self.pass.ops.is_empty() && !self.sums_addends()
    }

    /// Sends leaves through the pass, one after the other; `first` is the position of the first.
    fn each<R: Row>(&self, mut rows: &mut [R], first: usize, mut done: impl FnMut(bool, Pair)) {
        let mut position = first;
        while let Some(row) = rows.first() {
            if !row.is_active() {
                rows = &mut rows[1..];
                continue;
            }
            let together = match row.dtype(self.program) {
                DType::F64 => self.together(&self.kernels.f64, rows),
                _ => self.together(&self.kernels.f32, rows),
            };
            let (taken, active) = if let Some((taken, active, finite)) = together {
                (0..active).for_each(|_| done(finite, Pair::default()));
                if self.spends {
                    super::row::active(&mut rows[..taken]).for_each(Row::spend);
                }
                (taken, active)
            } else {
                let (finite, sum) = self.row(&mut rows[0], position);
                done(finite, sum);
                (1, 1)
            };
            position += active;
            rows = &mut rows[taken..];
        }
    }

    /// Sends the first of these leaves through the last pass, as many as one loop takes: how many, how many of
    /// these take part, and whether their updates were finite. None where there is no such loop.
    fn together<T: Float, R: Row>(
        &self,
        kernels: &KernelSet<T>,
        rows: &mut [R],
    ) -> Option<(usize, usize, bool)> {
        let Self { pass, config, program, .. } = self;
        let skip = rows.first()?.skip();
        let bound = kernels.of(skip);
        let is_last = pass.ends_for.is_none() && pass.source == PassInput::Updates;
        let is_last = is_last && !self.measures_steps();
        if !is_last || !bound.kernel.takes_each(config.tier) {
            return None;
        }
        let (mut leaves, mut taken) = (SmallVec::<[Dense<'_, T, T, T>; TOGETHER]>::new(), 0);
        let mut rest = rows;
        while let Some((row, behind)) = rest.split_first_mut()
            && leaves.len() < TOGETHER
        {
            if row.is_active() {
                #[cfg(feature = "planted")]
                crate::sys::planted::point();
                let fits = row.skip() == skip
                    && row.len() <= CHUNK
                    && (row.dtype(program) == DType::F64) == (T::DTYPE == DType::F64);
                leaves.push(Dense::default());
                let last = leaves.len() - 1;
                if !fits || !row.dense::<T>(bound.slots.clone(), &mut leaves[last]) {
                    leaves.pop();
                    break;
                }
            }
            taken += 1;
            rest = behind;
        }
        if taken == 0 {
            return None;
        }
        let finite = !T::any(bound.kernel.apply_each(config.tier, &mut leaves)?);
        Some((taken, leaves.len(), finite))
    }

    /// Sends a leaf, or a chunk of one, through the pass: whether its updates were finite, and its sum.
    fn row<R: Row>(&self, row: &mut R, position: usize) -> (bool, Pair) {
        #[cfg(feature = "planted")]
        crate::sys::planted::point();
        match row.dtype(self.program) {
            DType::F64 => self.typed(&self.kernels.f64, row, position),
            _ => self.typed(&self.kernels.f32, row, position),
        }
    }

    fn typed<T: Float, R: Row>(
        &self,
        kernels: &KernelSet<T>,
        row: &mut R,
        position: usize,
    ) -> (bool, Pair) {
        let bound = kernels.of(row.skip());
        let of_leaf = bound.of_leaf(self.settled, position);
        let bound = of_leaf.as_ref().unwrap_or(bound);
        if row.len() <= CHUNK
            && let Some(done) = self.dense(bound, row, position)
        {
            self.spend(row);
            return done;
        }
        self.views(bound, row, position)
    }

    /// Zeroes the updates of a leaf that went through the pass, where that is wanted.
    #[inline]
    fn spend<R: Row>(&self, row: &mut R) {
        if self.spends {
            row.spend();
        }
    }

    /// Sends a leaf through the pass by views of its arrays: whether its updates were finite, and its sum. A function of
    /// its own, since views take much of the stack.
    #[inline(never)]
    fn views<T: Float, R: Row>(
        &self,
        bound: &Bound<T>,
        row: &mut R,
        position: usize,
    ) -> (bool, Pair) {
        let mut leaf = row.leaf(self.program);
        leaf.origin.leaf = position;
        if !leaf.is_empty() && (leaf.len() <= CHUNK || self.cuts(&leaf, CHUNK).is_some()) {
            let done = self.chunk(bound, &mut leaf);
            self.spend(&mut leaf);
            return done;
        }
        let mut finite = true;
        let mut sums = [Pairwise::default(), Pairwise::default()];
        for mut chunk in leaf.chunks(CHUNK) {
            let (own_finite, own_sums) = self.chunk(bound, &mut chunk);
            self.spend(&mut chunk);
            finite &= own_finite;
            in_default_mode(|| sums.iter_mut().zip(own_sums).for_each(|(sum, own)| sum.add(own)));
        }
        (finite, sums.map(|sum| sum.total()))
    }

    /// Sends a leaf through the pass as slices, where a kernel can walk over the arrays as they are and writes none but
    /// parameters and state.
    fn dense<T: Float, R: Row>(
        &self,
        bound: &Bound<T>,
        row: &mut R,
        position: usize,
    ) -> Option<(bool, Pair)> {
        let Self { pass, config, settled, .. } = self;
        if pass.source == PassInput::Carried || row.is_empty() || self.measures_steps() {
            return None;
        }
        if pass.ends_for.is_none() {
            let origin = Origin { leaf: position, start: row.start() };
            let site = Site { tier: config.tier, origin, settled };
            let mut arrays = Dense::default();
            if !row.dense(bound.slots.clone(), &mut arrays) {
                return None;
            }
            let bad = bound.kernel.apply(site, arrays.updates, arrays.params, &mut arrays.slots);
            return Some((!T::any(bad), Pair::default()));
        }
        if !pass.ops.is_empty() || self.squares.params {
            return None;
        }
        let mut running = self.running(bound, row.skip());
        if let Some(Placed { op, first_slot, .. }) = bound.adds {
            let own = self.program.slots_of_op(op).len();
            let mut arrays = Dense::default();
            if !row.dense(first_slot..first_slot + own, &mut arrays) {
                return None;
            }
            let slots: SmallVec<[&[T]; ROOM]> = arrays.slots.iter().map(|slot| &**slot).collect();
            running.add(config.tier, arrays.updates, arrays.params, &slots);
        } else {
            running.add(config.tier, row.updates()?, &[], &[]);
        }
        Some((true, running.total()))
    }

    fn chunk<T: Float>(&self, bound: &Bound<T>, leaf: &mut Leaf<'_>) -> (bool, Pair) {
        if let Some(done) = self.dense(bound, leaf, leaf.origin.leaf) {
            return done;
        }
        if let Some(bad) = self.mixed(&bound.kernel, &bound.slots, leaf) {
            return (!T::any(bad), Pair::default());
        }
        if let Some(bad) = self.across(&bound.kernel, leaf) {
            return (!T::any(bad), Pair::default());
        }
        if self.pass.ends_for.is_none() && !self.measures_steps() && leaf.has_strided() {
            return (self.staged(bound, leaf), Pair::default());
        }
        let mut running = self.running(bound, leaf.skip);
        let bad = Scratch::with(|scratch| {
            if leaf.len() <= STAGED || self.runs_in_place::<T>(leaf) {
                return self.block(bound, leaf, scratch, &mut running);
            }
            let mut bad = T::Bits::default();
            let most = if leaf.has_strided() { STRIDED } else { STAGED };
            for start in (0..leaf.len()).step_by(most) {
                let mut block = leaf.part(start..leaf.len().min(start + most));
                bad |= self.block(bound, &mut block, scratch, &mut running);
            }
            bad
        });
        (!T::any(bad), running.total())
    }

    /// Whether the kernel can walk over the caller's arrays as they are.
    fn runs_in_place<T: Float>(&self, leaf: &Leaf<'_>) -> bool {
        let dense_updates = self.pass.source == PassInput::Updates && leaf.updates.is_dense::<T>();
        if let Some(op) = self.pass.ends_for {
            let mut own = leaf.slots[self.program.slots_of_op(op)].iter().flatten();
            let own = !self.sums_addends() || own.all(Slot::has_dense_old::<T>);
            return dense_updates && self.pass.ops.is_empty() && own;
        }
        if self.measures_steps() {
            return false;
        }
        let params = match &leaf.params {
            Params::Write(slot) => slot.is_in_place::<T>(),
            Params::Read(source) => source.is_dense::<T>() || !self.program.reads_params(),
            Params::None => true,
        };
        let slots = &leaf.slots[self.pass.slots.clone()];
        dense_updates
            && params
            && leaf.copy.is_none()
            && leaf.out.as_ref().is_none_or(Sink::is_dense::<T>)
            && slots.iter().flatten().all(Slot::is_in_place::<T>)
    }

    /// Runs the kernel over a stretch of a leaf whose arrays are dense, or short enough to copy.
    fn block<T: Float>(
        &self,
        bound: &Bound<T>,
        leaf: &mut Leaf<'_>,
        scratch: &mut Scratch<T>,
        running: &mut Running<T>,
    ) -> T::Bits {
        let len = leaf.len();
        let Leaf { updates, params, out, copy, slots, skip, origin, .. } = leaf;
        let (slots, behind) = slots.split_at_mut(self.pass.slots.end);
        let slots = &mut slots[self.pass.slots.start..];
        let bad = {
            let tier = self.config.tier;
            let mut states = staged_states(tier, slots, &mut scratch.slots, len);
            let own = bound.adds.map_or(0, |placed| self.program.slots_of_op(placed.op).len());
            let own = old_states(tier, &mut behind[..own], &mut scratch.old_slots, len);
            let skip = *skip | self.off;
            let site = Site { tier: self.config.tier, origin: *origin, settled: self.settled };
            let stretch = Stretch { len, updates, params, out, copy, skip, site };
            let sums = (running, &own[..]);
            self.compute(&bound.kernel, stretch, &mut scratch.copies, &mut states, sums)
        };
        let first = self.pass.slots.start;
        let rounding = |slot: usize| self.rounding_of(*origin, 1 + first + slot);
        write_back(self.config.tier, slots, &scratch.slots, len, rounding);
        bad
    }

    /// How an array of the leaf is rounded: the parameters, or a slot by its number and one.
    fn rounding_of(&self, origin: Origin, array: usize) -> Rounding {
        match self.rounding {
            None => Rounding::Nearest,
            Some(key) => {
                let leaf = self.leaves_before + origin.leaf as u64;
                let key = rng::split(rng::split(key, leaf), array as u64);
                Rounding::AtRandom { key, start: origin.start as u64 }
            }
        }
    }

    fn compute<T: Float>(
        &self,
        kernel: &Kernel<T>,
        stretch: Stretch<'_, '_>,
        copies: &mut StagedArrays<T>,
        states: &mut [&mut [T]],
        (running, own): (&mut Running<T>, &[&[T]]),
    ) -> T::Bits {
        let pass = self.pass;
        let Stretch { len, updates, params, out, copy, skip, site } = stretch;
        let tier = site.tier;
        let finishes = pass.ends_for.is_none();
        let updates = match (pass.source, &*out) {
            (PassInput::Carried, Some(out)) => {
                copied(&mut copies.updates, len, |to| out.read(tier, to))
            }
            _ => match updates.dense() {
                Some(slice) => slice,
                None => copied(&mut copies.updates, len, |to| updates.read(tier, to)),
            },
        };
        let only_sums = !finishes && pass.ops.is_empty();
        let summed = match params.dense() {
            _ if !(self.squares.params || only_sums && self.sums_addends()) => &[],
            Some(slice) => slice,
            None => copied(&mut copies.params, len, |to| params.read(tier, to)),
        };
        running.add_params(tier, summed);
        if only_sums {
            running.add(tier, updates, summed, own);
            return T::Bits::default();
        }
        if let Params::Write(slot) = params
            && finishes
            && slot.to.dtype() <= T::DTYPE
        {
            let rounding = self.rounding_of(site.origin, 0);
            let mut share = |params: &[T]| {
                if let Some(copy) = copy
                    && !kernel.gives_zero()
                {
                    copy.write(tier, params, rounding);
                }
            };
            let mut apply = |params: &mut [T]| {
                if !self.measures_steps() {
                    return kernel.apply(site, updates, params, states);
                }
                let steps = grown(&mut copies.out, len);
                let bad = kernel.store(site, updates, params, steps, states);
                running.add(tier, steps, &[], own);
                kernel::add(site, steps, params);
                bad
            };
            if slot.to.is_dense::<T>() {
                let params = slot.dense(tier).unwrap_or_default();
                let bad = apply(params);
                share(params);
                return bad;
            }
            let params = grown(&mut copies.params, len);
            slot.read(tier, params);
            let bad = apply(params);
            slot.to.write(tier, params, rounding);
            share(params);
            return bad;
        }
        let writes_params = finishes && matches!(params, Params::Write(_));
        let read = match params.dense() {
            _ if !self.program.reads_params_of(skip) => &[],
            Some(slice) => slice,
            None => copied(&mut copies.params, len, |to| params.read(tier, to)),
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
        running.add(tier, result, read, own);
        match (params, out) {
            (Params::Write(slot), _) if writes_params => {
                let params = add_to_wider(tier, result, slot, &mut copies.wider);
                if let Some(copy) = copy
                    && !kernel.gives_zero()
                {
                    copy.write(tier, params, self.rounding_of(site.origin, 0));
                }
            }
            (_, Some(out)) if finishes || pass.carries => {
                out.write(tier, result, Rounding::Nearest);
            }
            _ => {}
        }
        bad
    }
}

/// The arrays of a stretch of a leaf, but for its slots.
struct Stretch<'s, 'a> {
    len: usize,
    updates: &'s Updates<'a>,
    params: &'s mut Params<'a>,
    out: &'s mut Option<Sink<'a>>,
    copy: &'s mut Option<Sink<'a>>,
    skip: u64,
    site: Site<'s>,
}
