//! What runs on a stretch of dense memory: one fused loop, or the ops in turn over small blocks.

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use crate::dtype::Float;
use crate::fused::{Pattern, Visitor};
use crate::ops::{Op, Step, columns};
use crate::simd::Tier;

/// Elements that the ops visit in turn; a few streams of this length stay in the innermost cache.
const BLOCK: usize = 256;

/// A step of a pass and the position of its first slot among the pass's slots.
pub type Placed<T> = (Step<T>, usize);

/// The steps of one pass with their constants, ready to run.
#[derive(Debug)]
pub enum Kernel<T> {
    /// One loop, in registers.
    Fused(Pattern<T>),
    /// Op by op.
    Blocks(SmallVec<[Placed<T>; 4]>),
}

impl<T: Float> Kernel<T> {
    pub fn new(steps: SmallVec<[Placed<T>; 4]>, fuse: bool) -> Self {
        let pattern = fuse.then(|| Pattern::of(&steps)).flatten();
        pattern.map_or(Self::Blocks(steps), Self::Fused)
    }

    /// `params += update`; the result is nonzero where an incoming update was not finite.
    #[inline]
    pub fn apply(
        &self,
        tier: Tier,
        updates: &[T],
        params: &mut [T],
        slots: &mut [&mut [T]],
    ) -> T::Bits {
        match self {
            Self::Fused(pattern) => {
                let slots = &mut slots[pattern.first_slot()..];
                pattern.visit(Apply { tier, updates, params, slots })
            }
            Self::Blocks(steps) => tier.run(ApplyBlocks { steps, updates, params, slots }),
        }
    }

    /// `out = update`; the result is nonzero where an incoming update was not finite.
    #[inline]
    pub fn store(
        &self,
        tier: Tier,
        updates: &[T],
        params: &[T],
        out: &mut [T],
        slots: &mut [&mut [T]],
    ) -> T::Bits {
        match self {
            Self::Fused(pattern) => {
                let slots = &mut slots[pattern.first_slot()..];
                pattern.visit(Store { tier, updates, params, out, slots })
            }
            Self::Blocks(steps) => tier.run(StoreBlocks { steps, updates, params, out, slots }),
        }
    }
}

struct Apply<'k, 'd, T> {
    tier: Tier,
    updates: &'k [T],
    params: &'k mut [T],
    slots: &'k mut [&'d mut [T]],
}

struct Store<'k, 'd, T> {
    tier: Tier,
    updates: &'k [T],
    params: &'k [T],
    out: &'k mut [T],
    slots: &'k mut [&'d mut [T]],
}

impl<T: Float> Visitor<T> for Apply<'_, '_, T> {
    type Output = T::Bits;

    #[inline]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> T::Bits {
        let Self { tier, updates, params, slots } = self;
        tier.run(ApplyLoop::<T, O, N> { op, updates, params, slots: columns(slots, updates.len()) })
    }
}

impl<T: Float> Visitor<T> for Store<'_, '_, T> {
    type Output = T::Bits;

    #[inline]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> T::Bits {
        let Self { tier, updates, params, out, slots } = self;
        tier.run(StoreLoop::<T, O, N> {
            op,
            updates,
            params,
            out,
            slots: columns(slots, updates.len()),
        })
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
        let (op, n) = (*op, updates.len());
        let params = &mut params[..n];
        let mut bad = T::Bits::default();
        for i in 0..n {
            bad |= updates[i].nonfinite();
            let state = std::array::from_fn(|k| slots[k][i]);
            let (update, state) = op.element(updates[i], params[i], state);
            for k in 0..N {
                slots[k][i] = state[k];
            }
            params[i] = params[i] + update;
        }
        bad
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
        let (op, n) = (*op, updates.len());
        let (out, params) = (&mut out[..n], if O::PARAMS { &params[..n] } else { params });
        let mut bad = T::Bits::default();
        for i in 0..n {
            bad |= updates[i].nonfinite();
            let param = if O::PARAMS { params[i] } else { T::ZERO };
            let state = std::array::from_fn(|k| slots[k][i]);
            let (update, state) = op.element(updates[i], param, state);
            for k in 0..N {
                slots[k][i] = state[k];
            }
            out[i] = update;
        }
        bad
    }
}

/// Loads `updates`, says whether any is not finite, and runs all steps over `block`.
#[inline(always)]
fn run_block<T: Float>(
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
    for (step, first) in steps {
        let mut views: SmallVec<[&mut [T]; 4]> = slots[*first..]
            .iter_mut()
            .map(|slot| slot.get_mut(at..at + n).unwrap_or_default())
            .collect();
        step.run(block, params, &mut views);
    }
    bad
}

struct ApplyBlocks<'k, 'd, T> {
    steps: &'k [Placed<T>],
    updates: &'k [T],
    params: &'k mut [T],
    slots: &'k mut [&'d mut [T]],
}

impl<T: Float> NullaryFnOnce for ApplyBlocks<'_, '_, T> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let Self { steps, updates, params, slots } = self;
        let mut scratch = [T::ZERO; BLOCK];
        let mut bad = T::Bits::default();
        let blocks = updates.chunks(BLOCK).zip(params.chunks_mut(BLOCK));
        for (index, (updates, params)) in blocks.enumerate() {
            let block = &mut scratch[..updates.len()];
            bad |= run_block(steps, updates, params, block, slots, index * BLOCK);
            for (param, &update) in params.iter_mut().zip(&*block) {
                *param = *param + update;
            }
        }
        bad
    }
}

struct StoreBlocks<'k, 'd, T> {
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
        let Self { steps, updates, params, out, slots } = self;
        let mut bad = T::Bits::default();
        for (index, (updates, block)) in
            updates.chunks(BLOCK).zip(out.chunks_mut(BLOCK)).enumerate()
        {
            let at = index * BLOCK;
            let params = params.get(at..at + updates.len()).unwrap_or_default();
            bad |= run_block(steps, updates, params, block, slots, at);
        }
        bad
    }
}
