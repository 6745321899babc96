//! What runs on a stretch of dense memory: one fused loop, or the ops in turn over blocks.

use std::hint::black_box;
use std::marker::PhantomData;

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use super::blocks::{self, Target};
use super::fused::{Pattern, PatternVisitor};
use super::loops::Loops;
use super::placed::{Placed, Site};
use super::stride::{STRIDE, pad, whole};
use crate::data::Dense;
use crate::number::dtype::DType;
use crate::number::element::Element;
use crate::number::float::Float;
use crate::ops::{Op, Visitor};
use crate::sys::simd::Tier;

/// The steps of one pass with their constants, ready to run.
#[derive(Debug)]
pub struct Kernel<T> {
    steps: SmallVec<[Placed<T>; 4]>,
    /// The same as one loop, in registers, where there is one.
    fused: Option<Pattern<T>>,
    /// How many steps matter where the update is to be applied and is zero in any case: those with state, and
    /// those before them. Parameters are left alone then.
    zero_steps: Option<usize>,
}

impl<T> Default for Kernel<T> {
    fn default() -> Self {
        Self { steps: SmallVec::new(), fused: None, zero_steps: None }
    }
}

/// How many steps have state or come before one that has, where the update that leaves `steps` is surely zero.
fn zero_steps<T: Float>(steps: &[Placed<T>]) -> Option<usize> {
    let zeroed = steps.iter().rposition(|placed| placed.step.gives_zero())?;
    let (head, tail) = steps.split_at(zeroed + 1);
    let stays = |placed: &Placed<T>| placed.step.keeps_zero() && !placed.step.has_slots();
    let last = head.iter().rposition(|placed| placed.step.has_slots());
    tail.iter().all(stays).then(|| last.map_or(0, |last| last + 1))
}

impl<T: Float> Kernel<T> {
    /// Makes it that of these steps.
    pub fn rebind(&mut self, steps: impl Iterator<Item = Placed<T>>, fuse: bool) {
        self.steps.clear();
        self.steps.extend(steps);
        self.zero_steps = zero_steps(&self.steps);
        self.fused = fuse.then(|| Pattern::of(&self.steps)).flatten();
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
        self.one_loop(tier).is_some()
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
            let slots = slots.iter_mut().skip(pattern.first_slot()).take(2).map(|slot| &mut **slot);
            let leaves = &mut [Dense { updates, params, slots: slots.collect() }];
            return pattern.visit(Apply { tier: site.tier, leaves, first: 0 });
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
        let apply = Apply { tier, leaves, first: pattern.first_slot() };
        match (U::DTYPE, P::DTYPE, S::DTYPE) {
            (updates, params, slots) if updates == params && params == slots => {
                Some(pattern.visit(apply))
            }
            _ => pattern.visit_frequent(apply),
        }
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
        let pattern = self.fused.as_ref().filter(|_| tier.is_wide())?;
        Some(pattern.visit(StoreAcross { tier, first: pattern.first_slot(), arrays }))
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
        let (mut a, mut b) = ([S::default(); STRIDE], [S::default(); STRIDE]);
        for part in 0..2 * leaves.len() {
            let Dense { updates, params, slots } = &mut leaves[part / 2];
            let (is_rest, mid) = (part % 2 == 1, whole(updates.len()));
            let mut own = slots[first..].iter_mut().take(N).map(|slot| &mut **slot);
            let (one, other) = (own.next().unwrap_or_default(), own.next().unwrap_or_default());
            if is_rest {
                if mid == updates.len() {
                    continue;
                }
                u = pad(&updates[mid..]);
                p = pad(&params[mid..]);
                a = pad(one.get(mid..).unwrap_or_default());
                b = pad(other.get(mid..).unwrap_or_default());
            }
            let (from, to, one_slot, other_slot) = if is_rest {
                (&u[..stride], &mut p[..stride], &mut a[..stride], &mut b[..stride])
            } else {
                (&updates[..mid], &mut **params, &mut *one, &mut *other)
            };
            bad |= op.apply(from, to, one_slot, other_slot);
            if is_rest {
                let len = updates.len() - mid;
                params[mid..].copy_from_slice(&p[..len]);
                for (slot, copy) in [(one, &a), (other, &b)] {
                    if let Some(slot) = slot.get_mut(mid..) {
                        slot.copy_from_slice(&copy[..slot.len()]);
                    }
                }
            }
        }
        bad
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
        let mut old = old[first..].iter().take(N);
        let old = (old.next().copied(), old.next().copied());
        let old = (old.0.unwrap_or_default(), old.1.unwrap_or_default());
        let mut new = new[first..].iter_mut().take(N).map(|slot| &mut **slot);
        let (first, second) = (new.next().unwrap_or_default(), new.next().unwrap_or_default());
        let whole = whole(updates.len());
        let mut bad = T::Bits::default();
        if whole > 0 {
            let (out, first, second) = (&mut *out, &mut *first, &mut *second);
            bad |= tier.run_wide(AcrossLoop { op, updates, params, out, old, first, second });
        }
        if whole < updates.len() {
            let rest = |array: &[T]| pad(array.get(whole..).unwrap_or_default());
            let (updates, params) = (rest(updates), rest(params));
            let old = (rest(old.0), rest(old.1));
            let (mut one, mut other, mut made) = (pad(&[]), pad(&[]), pad(&[]));
            bad |= tier.run_wide(AcrossLoop {
                op,
                updates: &updates,
                params: &params,
                out: &mut made,
                old: (&old.0, &old.1),
                first: &mut one,
                second: &mut other,
            });
            for (array, made) in [(out, made), (first, one), (second, other)] {
                if let Some(array) = array.get_mut(whole..) {
                    array.copy_from_slice(&made[..array.len()]);
                }
            }
        }
        bad
    }
}

impl<T: Float> PatternVisitor<T> for StoreAcross<'_, '_, T> {}

struct AcrossLoop<'k, T, O, const N: usize> {
    op: &'k O,
    updates: &'k [T],
    params: &'k [T],
    out: &'k mut [T],
    old: (&'k [T], &'k [T]),
    first: &'k mut [T],
    second: &'k mut [T],
}

impl<T: Float, O: Op<T, N>, const N: usize> NullaryFnOnce for AcrossLoop<'_, T, O, N> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Self { op, updates, params, out, old, first, second } = self;
        op.across(updates, params, out, old, first, second)
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
