//! What runs on a stretch of dense memory: one fused loop, or the ops in turn over blocks.

use std::hint::black_box;
use std::marker::PhantomData;

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use super::blocks::{self, Target};
use super::coded::ApplyCoded;
use super::fused::{Pattern, PatternVisitor};
use super::loops::{Loops, own_slots};
use super::placed::{Placed, Site};
use super::stride::{STRIDE, pad, whole};
use crate::data::{Coded, Dense, ROOM};
use crate::number::dtype::DType;
use crate::number::element::Element;
use crate::number::float::Float;
use crate::ops::{AnyOp, Frequency, Op, Scale, Visitor};
use crate::sys::simd::Tier;

/// How many steps a kernel holds without memory of its own.
const STEPS: usize = 4;

/// The steps of one pass with their constants, ready to run.
#[derive(Debug)]
pub struct Kernel<T> {
    steps: SmallVec<[Placed<T>; STEPS]>,
    may_fuse: bool,
    /// The same as one loop, in registers, where there is one.
    fused: Option<Pattern<T>>,
    /// How many steps matter where the update is to be applied and is zero in any case: those with state, and
    /// those before them. Parameters are left alone then.
    zero_steps: Option<usize>,
}

impl<T> Default for Kernel<T> {
    fn default() -> Self {
        Self { steps: SmallVec::new(), may_fuse: false, fused: None, zero_steps: None }
    }
}

/// How many steps have state or come before one that has, where the update that leaves `steps` is surely zero.
fn zero_steps<T: Float>(steps: &[Placed<T>]) -> Option<usize> {
    let zeroed = steps.iter().rposition(|placed| placed.step.gives_zero())?;
    let (head, tail) = steps.split_at(zeroed + 1);
    let stays = |placed: &Placed<T>| placed.step.keeps_zero() && placed.step.slots() == 0;
    let last = head.iter().rposition(|placed| placed.step.slots() > 0);
    tail.iter().all(stays).then(|| last.map_or(0, |last| last + 1))
}

fn reads_number<T: Float>(placed: &Placed<T>) -> bool {
    placed.step.reads().number
}

impl<T: Float> Kernel<T> {
    /// Makes it that of these steps.
    pub fn rebind(&mut self, steps: impl Iterator<Item = Placed<T>>, fuse: bool) {
        self.steps.clear();
        self.steps.extend(steps);
        self.zero_steps = zero_steps(&self.steps);
        self.may_fuse = fuse;
        self.fused = fuse.then(|| Pattern::of(&self.steps)).flatten();
    }

    /// The loop for a leaf all of whose elements read the same number, which `number_of` gives for an op; None where that is
    /// no loop, or they do not.
    pub fn with_numbers(&self, number_of: impl Fn(usize) -> Option<f64>) -> Option<Self> {
        // Longer ones would take memory of their own.
        if !self.may_fuse
            || self.fused.is_some()
            || self.steps.len() > STEPS
            || !self.steps.iter().any(reads_number)
        {
            return None;
        }
        let mut steps = SmallVec::<[Placed<T>; STEPS]>::new();
        for placed in &self.steps {
            let mut own = *placed;
            if reads_number(placed) {
                let number = T::from_f64(number_of(placed.op)?);
                own.step = AnyOp::Scale(Scale { step_size: placed.step.as_factor_with(number)? });
            }
            steps.push(own);
        }
        let mut kernel = Self::default();
        kernel.rebind(steps.into_iter(), self.may_fuse);
        kernel.is_fused().then_some(kernel)
    }

    /// Whether its update is zero whatever comes in, so that parameters it is applied to are left alone.
    pub fn gives_zero(&self) -> bool {
        self.zero_steps.is_some()
    }

    /// Whether it is one loop.
    pub fn is_fused(&self) -> bool {
        self.fused.is_some()
    }

    /// The loop that applies it, where it is one.
    fn one_loop(&self, tier: Tier) -> Option<&Pattern<T>> {
        self.fused.as_ref().filter(|_| tier.is_wide() && self.zero_steps.is_none())
    }

    /// Whether [`Kernel::apply_each`] takes leaves whose arrays are of one type.
    pub fn takes_each(&self, tier: Tier) -> bool {
        let least = <Apply<'_, '_, T, T, T> as PatternVisitor<T>>::LEAST;
        self.one_loop(tier).is_some_and(|pattern| pattern.frequency() >= least)
    }

    /// Adds the update to `params`; the result tells whether an incoming update was not
    /// finite.
    #[inline]
    pub fn apply(
        &self,
        site: Site<'_>,
        updates: &[T],
        params: &mut [T],
        slots: &mut [&mut [T]],
    ) -> T::Bits {
        if let Some(pattern) = self.one_loop(site.tier) {
            let own = slots.iter_mut().skip(pattern.first_slot()).take(pattern.slots());
            let slots = own.map(|slot| &mut **slot).collect();
            let leaves = &mut [Dense { updates, params: &mut *params, slots }];
            if let Some(bad) = pattern.visit(Apply { tier: site.tier, leaves, first: 0 }) {
                return bad;
            }
        }
        match self.zero_steps {
            Some(count) => {
                let nowhere = Target::Nowhere { params };
                blocks::run_blocks(site, &self.steps[..count], updates, nowhere, slots)
            }
            None => blocks::run_blocks(site, &self.steps, updates, Target::Params(params), slots),
        }
    }

    /// Adds the updates of several leaves, whose arrays may differ in type, to their parameters, where one loop does that;
    /// the result tells whether an incoming update was not finite.
    #[inline]
    pub fn apply_each<U: Element, P: Element, S: Element>(
        &self,
        tier: Tier,
        leaves: &mut [Dense<'_, U, P, S>],
    ) -> Option<T::Bits> {
        let pattern = self.one_loop(tier)?;
        pattern.visit(Apply { tier, leaves, first: pattern.first_slot() })
    }

    /// `out = update`; the result tells whether an incoming update was not finite.
    #[inline]
    pub fn store(
        &self,
        site: Site<'_>,
        updates: &[T],
        params: &[T],
        out: &mut [T],
        slots: &mut [&mut [T]],
    ) -> T::Bits {
        blocks::run_blocks(site, &self.steps, updates, Target::Out { params, out }, slots)
    }
}

impl Kernel<f32> {
    /// Whether there is a loop for state in codes.
    pub fn takes_codes(&self) -> bool {
        let least = <ApplyCoded<'_, f32, f32> as PatternVisitor<f32>>::LEAST;
        self.fused.as_ref().is_some_and(|pattern| pattern.frequency() >= least)
    }

    /// Adds the update to the parameters of a leaf whose state is in codes, where one loop does that.
    pub fn apply_coded<U: Element, P: Element>(
        &self,
        tier: Tier,
        leaf: Coded<'_, U, P>,
    ) -> Option<u32> {
        let pattern = self.one_loop(tier)?;
        pattern.visit(ApplyCoded { tier, leaf, first: pattern.first_slot() })?
    }
}

/// Adds steps that a kernel has stored to parameters, as it would have done itself.
pub fn add<T: Float>(site: Site<'_>, steps: &[T], params: &mut [T]) {
    blocks::run_blocks(site, &[], steps, Target::Params(params), &mut []);
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
    /// `out = update`, from old slots to new ones; `None` where that takes more than one loop.
    pub fn store_across(&self, tier: Tier, arrays: Across<'_, '_, T>) -> Option<T::Bits> {
        let least = <StoreAcross<'_, '_, T> as PatternVisitor<T>>::LEAST;
        let fits = |pattern: &&Pattern<T>| tier.is_wide() && pattern.frequency() >= least;
        let pattern = self.fused.as_ref().filter(fits)?;
        let Across { updates, params, out, old, new } = arrays;
        let own = pattern.first_slot()..pattern.first_slot() + pattern.slots();
        // Slots of ops that do not run in this step keep their values.
        for (index, (old, new)) in old.iter().zip(&mut *new).enumerate() {
            if !own.contains(&index) {
                new.copy_from_slice(old);
            }
        }
        let (old, new) = (&old[own.clone()], &mut new[own]);
        let whole = whole(updates.len());
        let mut bad = T::Bits::default();
        if whole > 0 {
            let arrays = Across { updates, params, out: &mut *out, old, new: &mut *new };
            bad |= pattern.visit(StoreAcross { tier, arrays })?;
        }
        if whole < updates.len() {
            // The same loop takes what is left over, padded.
            let rest = |array: &[T]| pad(array.get(whole..).unwrap_or_default());
            let padded: SmallVec<[[T; STRIDE]; ROOM]> = old.iter().map(|old| rest(old)).collect();
            let old: SmallVec<[&[T]; ROOM]> = padded.iter().map(|old| &old[..]).collect();
            let mut made = padded.clone();
            let mut views: SmallVec<[&mut [T]; ROOM]> =
                made.iter_mut().map(|new| &mut new[..]).collect();
            let mut updated = pad(&[]);
            let arrays = Across {
                updates: &rest(updates),
                params: &rest(params),
                out: &mut updated,
                old: &old,
                new: &mut views,
            };
            bad |= pattern.visit(StoreAcross { tier, arrays })?;
            drop(views);
            let slots = new.iter_mut().map(|new| &mut **new).zip(&made);
            for (array, made) in slots.chain([(out, &updated)]) {
                let array = &mut array[whole..];
                array.copy_from_slice(&made[..array.len()]);
            }
        }
        Some(bad)
    }
}

/// Leaves to be updated by one loop, one after the other.
struct Apply<'k, 'd, U, P, S> {
    tier: Tier,
    leaves: &'k mut [Dense<'d, U, P, S>],
    /// The position of the op's first slot.
    first: usize,
}

impl<T: Float, U: Element, P: Element, S: Element> Visitor<T> for Apply<'_, '_, U, P, S> {
    type Output = T::Bits;

    #[inline]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> T::Bits {
        let Self { tier, leaves, first } = self;
        tier.run_wide(ApplyLoop { op, leaves, first, computed_in: PhantomData })
    }
}

impl<T: Float, U: Element, P: Element, S: Element> PatternVisitor<T> for Apply<'_, '_, U, P, S> {
    const LEAST: Frequency = match (U::DTYPE, P::DTYPE, S::DTYPE) {
        (DType::F32, DType::F32, DType::F32) => Frequency::Rare,
        (DType::F64, DType::F64, DType::F64) => Frequency::Common,
        _ => Frequency::Frequent,
    };
    // Single precision alone is short of time for one more product.
    const WITHOUT_SCALE: bool =
        matches!((U::DTYPE, P::DTYPE, S::DTYPE), (DType::F32, DType::F32, DType::F32));
}

struct ApplyLoop<'k, 'd, T, O, U, P, S, const N: usize> {
    op: &'k O,
    leaves: &'k mut [Dense<'d, U, P, S>],
    first: usize,
    computed_in: PhantomData<T>,
}

impl<T, O, U, P, S, const N: usize> NullaryFnOnce for ApplyLoop<'_, '_, T, O, U, P, S, N>
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
        let Self { op, leaves, first, .. } = self;
        let mut bad = T::Bits::default();
        // Room for what is left over of a leaf, which the same loop takes after the whole strides: a length that the
        // compiler knew would make it a second one.
        let stride = black_box(STRIDE);
        let (mut u, mut p) = ([U::default(); STRIDE], [P::default(); STRIDE]);
        let mut s = [[S::default(); STRIDE]; N];
        for part in 0..2 * leaves.len() {
            let Dense { updates, params, slots } = &mut leaves[part / 2];
            let (is_rest, mid) = (part % 2 == 1, whole(updates.len()));
            let slots = &mut slots[first..first + N];
            if is_rest {
                if mid == updates.len() {
                    continue;
                }
                u = pad(&updates[mid..]);
                p = pad(&params[mid..]);
                for (copy, slot) in s.iter_mut().zip(&*slots) {
                    *copy = pad(&slot[mid..]);
                }
            }
            let (from, to, own) = if is_rest {
                let own = s.iter_mut().map(|copy| &mut copy[..stride]);
                (&u[..stride], &mut p[..stride], own_slots::<N, _>(own))
            } else {
                let own = slots.iter_mut().map(|slot| &mut **slot);
                (&updates[..mid], &mut **params, own_slots::<N, _>(own))
            };
            bad |= op.apply_all(from, to, own);
            if is_rest {
                let len = updates.len() - mid;
                params[mid..].copy_from_slice(&p[..len]);
                for (slot, copy) in slots.iter_mut().zip(&s) {
                    slot[mid..].copy_from_slice(&copy[..len]);
                }
            }
        }
        bad
    }
}

/// What goes from old arrays to new ones by one loop, as many elements as make whole strides.
struct StoreAcross<'k, 'd, T> {
    tier: Tier,
    arrays: Across<'k, 'd, T>,
}

impl<T: Float> Visitor<T> for StoreAcross<'_, '_, T> {
    type Output = T::Bits;

    #[inline]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> T::Bits {
        let Self { tier, arrays } = self;
        tier.run_wide(AcrossLoop { op, arrays })
    }
}

impl<T: Float> PatternVisitor<T> for StoreAcross<'_, '_, T> {
    const LEAST: Frequency = Frequency::Common;
}

struct AcrossLoop<'k, 'd, T, O, const N: usize> {
    op: &'k O,
    arrays: Across<'k, 'd, T>,
}

impl<T: Float, O: Op<T, N>, const N: usize> NullaryFnOnce for AcrossLoop<'_, '_, T, O, N> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Across { updates, params, out, old, new } = self.arrays;
        let old = own_slots::<N, _>(old.iter().copied());
        let new = own_slots::<N, _>(new.iter_mut().map(|new| &mut **new));
        self.op.across_all(updates, params, out, old, new)
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
            *out = param.updated(update);
        }
        bad
    }
}
