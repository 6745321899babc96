//! What runs on a stretch of dense memory: one fused loop, or the ops in turn over blocks.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use crate::blocks;
use crate::convert::Element;
use crate::dtype::Float;
use crate::fused::{Pattern, Visitor};
use crate::leaf::Origin;
use crate::ops::{Column, Op, Reads, Step, columns, walk};
use crate::others::Others;
use crate::simd::Tier;

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
pub struct Kernel<T> {
    body: Body<T>,
    /// The steps that matter where the update is to be applied and is zero in any case: those with state, and
    /// those before them. Parameters are left alone then.
    silent: Option<SmallVec<[Placed<T>; 4]>>,
}

#[derive(Debug)]
enum Body<T> {
    /// One loop, in registers.
    Fused(Pattern<T>),
    /// Op by op.
    Blocks(SmallVec<[Placed<T>; 4]>),
}

/// The steps that have state, and those before them, where the update that leaves `steps` is surely zero.
fn silent<T: Float>(steps: &[Placed<T>]) -> Option<&[Placed<T>]> {
    let zeroed = steps.iter().rposition(|placed| placed.step.gives_zero())?;
    let (head, tail) = steps.split_at(zeroed + 1);
    let stays = |placed: &Placed<T>| placed.step.keeps_zero() && !placed.step.has_slots();
    let last = head.iter().rposition(|placed| placed.step.has_slots());
    tail.iter().all(stays).then(|| &head[..last.map_or(0, |last| last + 1)])
}

impl<T: Float> Kernel<T> {
    pub fn new(steps: SmallVec<[Placed<T>; 4]>, fuse: bool) -> Self {
        let silent = silent(&steps).map(SmallVec::from_slice);
        let pattern = fuse.then(|| Pattern::of(&steps)).flatten();
        Self { body: pattern.map_or(Body::Blocks(steps), Body::Fused), silent }
    }

    /// Whether it leaves parameters alone when it is applied to them.
    pub fn is_silent(&self) -> bool {
        self.silent.is_some()
    }

    /// Whether it is one loop.
    pub fn is_fused(&self) -> bool {
        matches!(self.body, Body::Fused(_))
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
        match (&self.silent, &self.body) {
            (None, Body::Fused(pattern)) => {
                let slots = &mut slots[pattern.first_slot()..];
                pattern.visit(Apply { tier: site.tier, updates, params, slots })
            }
            (None, Body::Blocks(steps)) => blocks::apply(site, steps, updates, params, slots),
            (Some(steps), _) => advance_alone(site.tier, steps, updates, slots)
                .unwrap_or_else(|| blocks::advance(site, steps, updates, params, slots)),
        }
    }

    /// As [`Kernel::apply`] for arrays that differ in type, where there is such a loop.
    #[inline]
    pub fn apply_mixed<U: Element, P: Element, S: Element>(
        &self,
        tier: Tier,
        updates: &[U],
        params: &mut [P],
        slots: &mut [&mut [S]],
    ) -> Option<T::Bits> {
        match (&self.silent, &self.body) {
            (None, Body::Fused(pattern)) => {
                let slots = &mut slots[pattern.first_slot()..];
                pattern.visit_frequent(Apply { tier, updates, params, slots })
            }
            _ => None,
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
        match &self.body {
            Body::Fused(pattern) => {
                let slots = &mut slots[pattern.first_slot()..];
                pattern.visit(Store { tier: site.tier, updates, params, out, slots })
            }
            Body::Blocks(steps) => blocks::store(site, steps, updates, params, out, slots),
        }
    }
}

/// Arrays of a leaf that is not updated in place, all dense and of one type.
pub struct Across<'k, 'd, T> {
    pub updates: &'k [T],
    pub params: &'k [T],
    pub out: &'k mut [T],
    pub old: &'k [&'d [T]],
    pub new: &'k mut [&'d mut [T]],
}

impl<T: Float> Kernel<T> {
    /// Like [`Kernel::store`], from old slots to new ones; `None` where that takes more than one loop.
    pub fn store_across(&self, tier: Tier, arrays: Across<'_, '_, T>) -> Option<T::Bits> {
        match &self.body {
            Body::Fused(pattern) => {
                let first = pattern.first_slot();
                Some(pattern.visit(StoreAcross { tier, first, arrays }))
            }
            Body::Blocks(_) => None,
        }
    }
}

/// Elements that the unrolled loop of the widest tier takes at once. What is left over at the end of an
/// array is padded to this length, so that the same loop runs over it and small leaves are not slow.
const STRIDE: usize = 64;

fn pad<E: Element>(tail: &[E]) -> [E; STRIDE] {
    let mut padded = [E::default(); STRIDE];
    padded[..tail.len()].copy_from_slice(tail);
    padded
}

/// The arrays of updates, parameters and state, each of a type of its own.
struct Apply<'k, 'd, U, P, S> {
    tier: Tier,
    updates: &'k [U],
    params: &'k mut [P],
    slots: &'k mut [&'d mut [S]],
}

impl<T: Float, U: Element, P: Element, S: Element> Visitor<T> for Apply<'_, '_, U, P, S> {
    type Output = T::Bits;

    #[inline]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> T::Bits {
        let Self { tier, updates, params, slots } = self;
        let (updates, updates_tail) = updates.split_at(updates.len() - updates.len() % STRIDE);
        let (params, params_tail) = params.split_at_mut(updates.len());
        let (slots, slots_tail) = split_columns::<S, N>(slots, updates.len());
        let mut bad = T::Bits::default();
        if !updates.is_empty() {
            bad |= tier.run(ApplyLoop::<T, O, U, P, S, N>::new(op, updates, params, slots));
        }
        let len = updates_tail.len();
        if len > 0 {
            let (updates, mut params) = (pad(updates_tail), pad(params_tail));
            let mut padded = slots_tail.each_ref().map(|slot| pad(slot));
            let slots = padded.each_mut().map(|slot| &mut slot[..]);
            let padded_loop = ApplyLoop::<T, O, U, P, S, N>::new(op, &updates, &mut params, slots);
            bad |= tier.run(padded_loop);
            params_tail.copy_from_slice(&params[..len]);
            for (slot, padded) in slots_tail.into_iter().zip(&padded) {
                slot.copy_from_slice(&padded[..len]);
            }
        }
        bad
    }
}

struct ApplyLoop<'k, T, O, U, P, S, const N: usize> {
    op: &'k O,
    updates: &'k [U],
    params: &'k mut [P],
    slots: [&'k mut [S]; N],
    computed_in: PhantomData<T>,
}

impl<'k, T, O, U, P, S, const N: usize> ApplyLoop<'k, T, O, U, P, S, N> {
    fn new(op: &'k O, updates: &'k [U], params: &'k mut [P], slots: [&'k mut [S]; N]) -> Self {
        Self { op, updates, params, slots, computed_in: PhantomData }
    }
}

impl<T, O, U, P, S, const N: usize> NullaryFnOnce for ApplyLoop<'_, T, O, U, P, S, N>
where
    T: Float,
    O: Op<T, N>,
    U: Element,
    P: Element,
    S: Element,
{
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Self { op, updates, params, slots, .. } = self;
        let op = *op;
        let mut bad = T::Bits::default();
        walk(updates.iter().zip(params), slots, |(&update, param), state| {
            let update = T::load(update);
            bad |= update.nonfinite();
            let old = T::load(*param);
            let (update, state) = op.element(update, old, state);
            *param = applied(old, update).store();
            state
        });
        bad
    }
}

/// Replaces the state of an op that collects updates and stands alone, in one loop over memory.
fn advance_alone<T: Float>(
    tier: Tier,
    steps: &[Placed<T>],
    updates: &[T],
    slots: &mut [&mut [T]],
) -> Option<T::Bits> {
    let [Placed { step, first_slot, .. }] = steps else { return None };
    let [slot] = columns::<T, 1>(&mut slots[*first_slot..], updates.len());
    Some(match step {
        Step::ApplyEvery(op) => tier.run(Advance { op, updates, slot }),
        Step::MultiStepsSum(op) => tier.run(Advance { op, updates, slot }),
        Step::MultiStepsMean(op) => tier.run(Advance { op, updates, slot }),
        _ => return None,
    })
}

struct Advance<'k, T, O> {
    op: &'k O,
    updates: &'k [T],
    slot: &'k mut [T],
}

impl<T: Float, O: Op<T, 1>> NullaryFnOnce for Advance<'_, T, O> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Self { op, updates, slot } = self;
        let op = *op;
        let mut bad = T::Bits::default();
        walk(updates.iter(), [slot], |&update, state| {
            bad |= update.nonfinite();
            op.element(update, T::ZERO, state).1
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
        tier.run(StoreLoop { op, updates, params, out, slots })
    }
}

struct StoreAcross<'k, 'd, T> {
    tier: Tier,
    first: usize,
    arrays: Across<'k, 'd, T>,
}

impl<T: Float> Visitor<T> for StoreAcross<'_, '_, T> {
    type Output = T::Bits;

    #[inline]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> T::Bits {
        let Self { tier, first, arrays } = self;
        let Across { updates, params, out, old, new } = arrays;
        // Slots of ops that do not run in this step keep their values.
        for (index, (old, new)) in old.iter().zip(&mut *new).enumerate() {
            if !(first..first + N).contains(&index) {
                new.copy_from_slice(old);
            }
        }
        let mut old = old[first..].iter();
        let slots = columns::<T, N>(&mut new[first..], updates.len())
            .map(|new| (old.next().map_or(&[][..], |old| &old[..updates.len()]), new));
        tier.run(StoreLoop { op, updates, params, out, slots })
    }
}

struct StoreLoop<'k, T, O, C, const N: usize> {
    op: &'k O,
    updates: &'k [T],
    params: &'k [T],
    out: &'k mut [T],
    slots: [C; N],
}

impl<T, O, C, const N: usize> NullaryFnOnce for StoreLoop<'_, T, O, C, N>
where
    T: Float,
    O: Op<T, N>,
    C: Column<T>,
{
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

/// `out = params + updates`; the highest bit of the result is set where an update was not finite.
pub struct Sum<'k, T> {
    pub updates: &'k [T],
    pub params: &'k [T],
    pub out: &'k mut [T],
}

impl<T: Float> NullaryFnOnce for Sum<'_, T> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Self { updates, params, out } = self;
        let mut bad = T::Bits::default();
        for ((&update, &param), out) in updates.iter().zip(params).zip(out) {
            bad |= update.nonfinite();
            *out = applied(param, update);
        }
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
