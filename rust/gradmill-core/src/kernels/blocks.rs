//! The ops in turn, over blocks that stay in the innermost cache.
//!
//! Each op is a function of its own for each instruction set: loops inside the loop over blocks would be one
//! function so large that the compiler gives up on vectorising parts of it. An op reads the update from one block
//! and writes it to another: where it chooses between two values for the same memory, compilers store behind a
//! mask, which takes tens of cycles on some processors.

use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use super::loops::run_step;
use super::placed::{Placed, Site};
use super::stride::{STRIDE, pad, whole};
use crate::data::ROOM;
use crate::number::float::{Float, FloatTable};
use crate::ops::{Beside, Reads};
use crate::sys::kept::{grown, with_kept};

/// Elements of a block: the update twice, numbers of units, the parameter and two slots fill most of such a cache.
const BLOCK: usize = 1 << 10;

thread_local! {
    static SINGLE: Cell<Blocks<f32>> = Cell::default();
    static DOUBLE: Cell<Blocks<f64>> = Cell::default();
}

/// The blocks that this thread keeps.
struct KeptBlocks;

impl FloatTable for KeptBlocks {
    type Of<T: Float> = &'static LocalKey<Cell<Blocks<T>>>;

    #[inline(always)]
    fn f32(self) -> Self::Of<f32> {
        &SINGLE
    }
    #[inline(always)]
    fn f64(self) -> Self::Of<f64> {
        &DOUBLE
    }
}

/// What blocks are worked on in, kept by the thread: to make it takes longer than small leaves do.
#[derive(Default)]
struct Blocks<T>(Vec<T>);

impl<T: Float> Blocks<T> {
    /// Calls `work` with so many blocks.
    fn with<R, const N: usize>(work: impl FnOnce([&mut [T]; N]) -> R) -> R {
        with_kept(T::select_float(KeptBlocks), |Self(blocks)| {
            let mut rest = grown(blocks, N * BLOCK).chunks_mut(BLOCK);
            work(std::array::from_fn(|_| rest.next().unwrap_or_default()))
        })
    }
}

/// What becomes of the update, and the parameters that ops read, which may be none.
pub enum Target<'t, T> {
    /// It is added to the parameters.
    Params(&'t mut [T]),
    /// It is stored.
    Out { params: &'t [T], out: &'t mut [T] },
    /// It is zero, or for nobody.
    Nowhere { params: &'t [T] },
}

impl<T: Float> Target<'_, T> {
    fn params(&self, at: Range<usize>) -> &[T] {
        match self {
            Self::Params(params) => &params[at],
            Self::Out { params, .. } | Self::Nowhere { params } => {
                params.get(at).unwrap_or_default()
            }
        }
    }

    fn take(&mut self, site: Site<'_>, at: Range<usize>, updates: &[T]) {
        match self {
            Self::Params(params) => site.tier.run(AddToParams { params: &mut params[at], updates }),
            Self::Out { out, .. } => out[at].copy_from_slice(updates),
            Self::Nowhere { .. } => {}
        }
    }
}

/// Sends `updates` through all steps; the result tells whether an incoming one was not finite.
pub fn run_blocks<T: Float>(
    site: Site<'_>,
    steps: &[Placed<T>],
    updates: &[T],
    target: Target<'_, T>,
    slots: &mut [&mut [T]],
) -> T::Bits {
    Blocks::with(|blocks| run_in(site, steps, updates, target, slots, blocks))
}

fn run_in<T: Float>(
    site: Site<'_>,
    steps: &[Placed<T>],
    updates: &[T],
    mut target: Target<'_, T>,
    slots: &mut [&mut [T]],
    mut blocks: [&mut [T]; 4],
) -> T::Bits {
    let mut bad = T::Bits::default();
    let whole = whole(updates.len());
    for start in (0..whole).step_by(BLOCK) {
        let at = start..whole.min(start + BLOCK);
        let mut views: Views<'_, T> =
            slots.iter_mut().map(|slot| slot.get_mut(at.clone()).unwrap_or_default()).collect();
        let block = Block { start, len: at.len(), updates: &updates[at.clone()] };
        let updates =
            block.run(site, steps, target.params(at.clone()), &mut views, &mut blocks, &mut bad);
        target.take(site, at, updates);
    }
    let rest = &updates[whole..];
    if !rest.is_empty() {
        // The same loops take what is left over, padded.
        let at = whole..updates.len();
        let mut copies: SmallVec<[[T; STRIDE]; ROOM]> =
            slots.iter().map(|slot| pad(slot.get(at.clone()).unwrap_or_default())).collect();
        let mut views: Views<'_, T> = copies.iter_mut().map(|slot| &mut slot[..]).collect();
        let block = Block { start: whole, len: rest.len(), updates: &pad(rest) };
        let params = pad(target.params(at.clone()));
        let updates = block.run(site, steps, &params, &mut views, &mut blocks, &mut bad);
        target.take(site, at.clone(), &updates[..rest.len()]);
        drop(views);
        for (slot, copy) in slots.iter_mut().zip(&copies) {
            if let Some(slot) = slot.get_mut(at.clone()) {
                slot.copy_from_slice(&copy[..rest.len()]);
            }
        }
    }
    bad
}

type Views<'v, T> = SmallVec<[&'v mut [T]; ROOM]>;

/// Updates that make whole strides, of which the first `len` are there.
struct Block<'u, T> {
    start: usize,
    len: usize,
    updates: &'u [T],
}

impl<T: Float> Block<'_, T> {
    /// The updates behind all steps.
    fn run<'b>(
        self,
        site: Site<'_>,
        steps: &[Placed<T>],
        params: &[T],
        slots: &mut [&mut [T]],
        [from, to, numbers, normals]: &'b mut [&mut [T]; 4],
        bad: &mut T::Bits,
    ) -> &'b [T] {
        let Self { start, len, updates } = self;
        let count = updates.len();
        let (mut from, mut to) = (&mut from[..count], &mut to[..count]);
        *bad |= site.tier.run(FillBlock { updates, block: from });
        for Placed { step, op, first_slot } in steps {
            let Reads { param, number, normal } = step.reads();
            let mut beside = Beside::<&[T]>::default();
            if param {
                beside.param = params;
            }
            if number {
                site.settled.fill_numbers(site.tier, *op, site.origin, start, &mut numbers[..len]);
                beside.number = &numbers[..count];
            }
            if normal {
                site.settled.fill_normals(site.tier, *op, site.origin, start, &mut normals[..len]);
                beside.normal = &normals[..count];
            }
            run_step(step, site.tier, from, beside, to, &mut slots[*first_slot..]);
            std::mem::swap(&mut from, &mut to);
        }
        from
    }
}

struct FillBlock<'k, T> {
    updates: &'k [T],
    block: &'k mut [T],
}

impl<T: Float> NullaryFnOnce for FillBlock<'_, T> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let mut bad = T::Bits::default();
        for (element, &update) in self.block.iter_mut().zip(self.updates) {
            // In a fused loop it is a product that takes subnormal numbers for zero.
            *element = update.flush();
            bad |= update.nonfinite();
        }
        bad
    }
}

struct AddToParams<'k, T> {
    params: &'k mut [T],
    updates: &'k [T],
}

impl<T: Float> NullaryFnOnce for AddToParams<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (param, &update) in self.params.iter_mut().zip(self.updates) {
            *param = param.updated(update);
        }
    }
}
