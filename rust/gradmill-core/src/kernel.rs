//! What runs on a stretch of dense memory: one fused loop, or the ops in turn over small blocks.

use std::ops::Range;

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use crate::dtype::Float;
use crate::fused::{Pattern, Visitor};
use crate::leaf::Origin;
use crate::ops::{Op, Reads, Step, columns, walk};
use crate::others::Others;
use crate::simd::Tier;

/// Elements that the ops visit in turn; a few streams of this length stay in the innermost cache.
const BLOCK: usize = 256;

/// A step of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Placed<T> {
    pub step: Step<T>,
    /// The position of its op in the program.
    pub op: usize,
    /// The position of its first slot among those of the pass that the leaf has.
    pub first_slot: usize,
}

/// What a stretch of a leaf needs beside its arrays.
#[derive(Clone, Copy, Debug)]
pub struct Site<'s> {
    pub tier: Tier,
    pub origin: Origin,
    pub others: &'s Others,
}

/// A kernel, and which slots it works on: positions among those of a leaf's ops that do not pass it by.
#[derive(Debug)]
pub struct Bound<T> {
    pub kernel: Kernel<T>,
    pub slots: Range<usize>,
}

/// The steps of one pass with their constants, ready to run.
#[derive(Debug)]
pub enum Kernel<T> {
    /// One loop, in registers.
    Fused(Pattern<T>),
    /// Op by op.
    Blocks {
        steps: SmallVec<[Placed<T>; 4]>,
        /// Where the update that comes out is zero in any case: how many steps there are up to the last one
        /// that has state. The parameters are left alone then, and not even read.
        silent: Option<usize>,
    },
}

/// How many of `steps` matter where the update that leaves them is not looked at, if it surely is zero.
fn silent<T: Float>(steps: &[Placed<T>]) -> Option<usize> {
    let is_zeroed = steps.iter().rposition(|placed| placed.step.gives_zero())?;
    let (head, tail) = steps.split_at(is_zeroed + 1);
    let stays = |placed: &Placed<T>| placed.step.keeps_zero() && !placed.step.has_slots();
    let last = head.iter().rposition(|placed| placed.step.has_slots());
    tail.iter().all(stays).then(|| last.map_or(0, |last| last + 1))
}

impl<T: Float> Kernel<T> {
    pub fn new(steps: SmallVec<[Placed<T>; 4]>, fuse: bool) -> Self {
        let pattern = fuse.then(|| Pattern::of(&steps)).flatten();
        pattern.map_or_else(|| Self::Blocks { silent: silent(&steps), steps }, Self::Fused)
    }

    /// Adds the update to `params`; the highest bit of the result is set where an incoming update was not
    /// finite.
    #[inline]
    pub fn apply(
        &self,
        site: Site<'_>,
        updates: &[T],
        params: &mut [T],
        slots: &mut [&mut [T]],
    ) -> T::Bits {
        match self {
            Self::Fused(pattern) => {
                let slots = &mut slots[pattern.first_slot()..];
                pattern.visit(Apply { tier: site.tier, updates, params, slots })
            }
            Self::Blocks { steps, silent: Some(count) } => {
                let steps = &steps[..*count];
                site.tier.run(SilentBlocks { site, steps, updates, params, slots })
            }
            Self::Blocks { steps, silent: None } => {
                site.tier.run(ApplyBlocks { site, steps, updates, params, slots })
            }
        }
    }

    /// `out = update`; the highest bit of the result is set where an incoming update was not finite.
    #[inline]
    pub fn store(
        &self,
        site: Site<'_>,
        updates: &[T],
        params: &[T],
        out: &mut [T],
        slots: &mut [&mut [T]],
    ) -> T::Bits {
        match self {
            Self::Fused(pattern) => {
                let slots = &mut slots[pattern.first_slot()..];
                pattern.visit(Store { tier: site.tier, updates, params, out, slots })
            }
            Self::Blocks { steps, .. } => {
                site.tier.run(StoreBlocks { site, steps, updates, params, out, slots })
            }
        }
    }
}

/// Elements that the unrolled loop of the widest tier takes at once. What is left over at the end of an
/// array is padded to this length, so that the same loop runs over it and small leaves are not slow.
const STRIDE: usize = 64;

fn pad<T: Float>(tail: &[T]) -> [T; STRIDE] {
    let mut padded = [T::ZERO; STRIDE];
    padded[..tail.len()].copy_from_slice(tail);
    padded
}

struct Apply<'k, 'd, T> {
    tier: Tier,
    updates: &'k [T],
    params: &'k mut [T],
    slots: &'k mut [&'d mut [T]],
}

impl<T: Float> Visitor<T> for Apply<'_, '_, T> {
    type Output = T::Bits;

    #[inline]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> T::Bits {
        let Self { tier, updates, params, slots } = self;
        let (updates, updates_tail) = updates.split_at(updates.len() - updates.len() % STRIDE);
        let (params, params_tail) = params.split_at_mut(updates.len());
        let (slots, slots_tail) = split_columns::<T, N>(slots, updates.len());
        let mut bad = T::Bits::default();
        if !updates.is_empty() {
            bad |= tier.run(ApplyLoop::<T, O, N> { op, updates, params, slots });
        }
        let len = updates_tail.len();
        if len > 0 {
            let (updates, mut params) = (pad(updates_tail), pad(params_tail));
            let mut padded = slots_tail.each_ref().map(|slot| pad(slot));
            let slots = padded.each_mut().map(|slot| &mut slot[..]);
            bad |= tier.run(ApplyLoop::<T, O, N> {
                op,
                updates: &updates,
                params: &mut params,
                slots,
            });
            params_tail.copy_from_slice(&params[..len]);
            for (slot, padded) in slots_tail.into_iter().zip(&padded) {
                slot.copy_from_slice(&padded[..len]);
            }
        }
        bad
    }
}

struct ApplyLoop<'k, T, O, const N: usize> {
    op: &'k O,
    updates: &'k [T],
    params: &'k mut [T],
    slots: [&'k mut [T]; N],
}

impl<T: Float, O: Op<T, N>, const N: usize> NullaryFnOnce for ApplyLoop<'_, T, O, N> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Self { op, updates, params, slots } = self;
        let op = *op;
        let mut bad = T::Bits::default();
        walk(updates.iter().zip(params), slots, |(&update, param), state| {
            bad |= update.nonfinite();
            let (update, state) = op.element(update, *param, state);
            *param = applied(*param, update);
            state
        });
        bad
    }
}

/// The parameter after the update. One of zero changes nothing, not even the sign of a zero: parameters whose
/// updates are zero need not be touched.
#[inline(always)]
pub fn applied<T: Float>(param: T, update: T) -> T {
    if update == T::ZERO { param } else { param + update }
}

struct Store<'k, 'd, T> {
    tier: Tier,
    updates: &'k [T],
    params: &'k [T],
    out: &'k mut [T],
    slots: &'k mut [&'d mut [T]],
}

impl<T: Float> Visitor<T> for Store<'_, '_, T> {
    type Output = T::Bits;

    #[inline]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> T::Bits {
        let Self { tier, updates, params, out, slots } = self;
        let slots = columns::<T, N>(slots, updates.len());
        tier.run(StoreLoop::<T, O, N> { op, updates, params, out, slots })
    }
}

struct StoreLoop<'k, T, O, const N: usize> {
    op: &'k O,
    updates: &'k [T],
    params: &'k [T],
    out: &'k mut [T],
    slots: [&'k mut [T]; N],
}

impl<T: Float, O: Op<T, N>, const N: usize> NullaryFnOnce for StoreLoop<'_, T, O, N> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Self { op, updates, params, out, slots } = self;
        let op = *op;
        let mut bad = T::Bits::default();
        // An op that reads no parameter is handed the update in its place.
        let params = if O::READS == Reads::Params { params } else { updates };
        walk(updates.iter().zip(params).zip(out), slots, |((&update, &param), out), state| {
            bad |= update.nonfinite();
            let (update, state) = op.element(update, param, state);
            *out = update;
            state
        });
        bad
    }
}

/// The first `N` slots, each split at `mid`.
fn split_columns<'s, T, const N: usize>(
    slots: &'s mut [&mut [T]],
    mid: usize,
) -> ([&'s mut [T]; N], [&'s mut [T]; N]) {
    let mut tails = [const { None }; N];
    let mut slots = slots.iter_mut().zip(&mut tails);
    let heads = std::array::from_fn(|_| match slots.next() {
        Some((slot, tail)) => {
            let (head, rest) = slot.split_at_mut(mid);
            *tail = Some(rest);
            head
        }
        None => unreachable!("the program counts each op's slots"),
    });
    drop(slots);
    (heads, tails.map(Option::unwrap_or_default))
}

/// Loads `updates`, says whether any is not finite, and runs all steps over `block`.
#[inline(always)]
fn run_block<T: Float>(
    site: Site<'_>,
    steps: &[Placed<T>],
    updates: &[T],
    params: &[T],
    block: &mut [T],
    slots: &mut [&mut [T]],
    at: usize,
) -> T::Bits {
    let n = block.len();
    let mut bad = T::Bits::default();
    for (element, &update) in block.iter_mut().zip(updates) {
        *element = update;
        bad |= update.nonfinite();
    }
    let mut buffer = [T::ZERO; BLOCK];
    for Placed { step, op, first_slot } in steps {
        let mut views: SmallVec<[&mut [T]; 4]> = slots[*first_slot..]
            .iter_mut()
            .map(|slot| slot.get_mut(at..at + n).unwrap_or_default())
            .collect();
        let others = match step.reads() {
            Reads::Nothing => &[],
            Reads::Params => params,
            Reads::Number | Reads::Normal => {
                site.others.fill(site.tier, *op, site.origin, at, &mut buffer[..n]);
                &buffer[..n]
            }
        };
        step.run(block, others, &mut views);
    }
    bad
}

struct ApplyBlocks<'k, 'd, T> {
    site: Site<'k>,
    steps: &'k [Placed<T>],
    updates: &'k [T],
    params: &'k mut [T],
    slots: &'k mut [&'d mut [T]],
}

impl<T: Float> NullaryFnOnce for ApplyBlocks<'_, '_, T> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Self { site, steps, updates, params, slots } = self;
        let mut scratch = [T::ZERO; BLOCK];
        let mut bad = T::Bits::default();
        let blocks = updates.chunks(BLOCK).zip(params.chunks_mut(BLOCK));
        for (index, (updates, params)) in blocks.enumerate() {
            let block = &mut scratch[..updates.len()];
            bad |= run_block(site, steps, updates, params, block, slots, index * BLOCK);
            for (param, &update) in params.iter_mut().zip(&*block) {
                *param = applied(*param, update);
            }
        }
        bad
    }
}

/// As [`ApplyBlocks`], where the update turns out to be zero.
struct SilentBlocks<'k, 'd, T> {
    site: Site<'k>,
    steps: &'k [Placed<T>],
    updates: &'k [T],
    params: &'k [T],
    slots: &'k mut [&'d mut [T]],
}

impl<T: Float> NullaryFnOnce for SilentBlocks<'_, '_, T> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Self { site, steps, updates, params, slots } = self;
        let mut scratch = [T::ZERO; BLOCK];
        let mut bad = T::Bits::default();
        for (index, (updates, params)) in
            updates.chunks(BLOCK).zip(params.chunks(BLOCK)).enumerate()
        {
            let block = &mut scratch[..updates.len()];
            bad |= run_block(site, steps, updates, params, block, slots, index * BLOCK);
        }
        bad
    }
}

struct StoreBlocks<'k, 'd, T> {
    site: Site<'k>,
    steps: &'k [Placed<T>],
    updates: &'k [T],
    params: &'k [T],
    out: &'k mut [T],
    slots: &'k mut [&'d mut [T]],
}

impl<T: Float> NullaryFnOnce for StoreBlocks<'_, '_, T> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Self { site, steps, updates, params, out, slots } = self;
        let mut bad = T::Bits::default();
        for (index, (updates, block)) in
            updates.chunks(BLOCK).zip(out.chunks_mut(BLOCK)).enumerate()
        {
            let at = index * BLOCK;
            let params = params.get(at..at + updates.len()).unwrap_or_default();
            bad |= run_block(site, steps, updates, params, block, slots, at);
        }
        bad
    }
}
