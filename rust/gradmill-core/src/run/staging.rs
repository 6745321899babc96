//! Arrays that a kernel cannot walk over as they are: brought into dense blocks, and back.
//!
//! The memory of blocks stays with the thread: a block for each array of a leaf, whatever leaves it has worked on.

use std::cell::Cell;
use std::thread::LocalKey;

use smallvec::SmallVec;

use crate::data::{ROOM, Slot};
use crate::number::float::{Float, FloatTable};
use crate::number::rounding::Rounding;
use crate::sys::kept::{grown, with_kept};
use crate::sys::simd::Tier;

/// The states that the leaf has as slices that can be written: the slots' own memory, or copies in `buffers`.
pub fn staged_states<'s, T: Float>(
    tier: Tier,
    slots: &'s mut [Option<Slot<'_>>],
    buffers: &'s mut Vec<Vec<T>>,
    len: usize,
) -> SmallVec<[&'s mut [T]; ROOM]> {
    if buffers.len() < slots.len() {
        buffers.resize_with(slots.len(), Vec::new);
    }
    let stage = |(slot, buffer): (&'s mut Option<Slot<'_>>, &'s mut Vec<T>)| {
        let slot = slot.as_mut()?;
        if slot.to.is_dense::<T>() {
            return slot.dense(tier);
        }
        let buffer = grown(buffer, len);
        slot.read(tier, buffer);
        Some(buffer)
    };
    slots.iter_mut().zip(buffers).filter_map(stage).collect()
}

/// The states that the leaf has as they are before the step: the slots' own memory, or copies in `buffers`.
pub fn old_states<'s, T: Float>(
    tier: Tier,
    slots: &'s mut [Option<Slot<'_>>],
    buffers: &'s mut Vec<Vec<T>>,
    len: usize,
) -> SmallVec<[&'s [T]; ROOM]> {
    if buffers.len() < slots.len() {
        buffers.resize_with(slots.len(), Vec::new);
    }
    let stage = |(slot, buffer): (&'s mut Option<Slot<'_>>, &'s mut Vec<T>)| {
        let slot = slot.as_mut()?;
        if slot.has_dense_old::<T>() {
            return slot.old();
        }
        Some(copied(buffer, len, |to| slot.read(tier, to)))
    };
    slots.iter_mut().zip(buffers).filter_map(stage).collect()
}

/// Stores the states of which [`staged_states`] made copies.
pub fn write_back<T: Float>(
    tier: Tier,
    slots: &mut [Option<Slot<'_>>],
    buffers: &[Vec<T>],
    len: usize,
    rounding: impl Fn(usize) -> Rounding,
) {
    for (number, (slot, buffer)) in slots.iter_mut().zip(buffers).enumerate() {
        if let Some(slot) = slot
            && !slot.to.is_dense::<T>()
        {
            slot.to.write(tier, &buffer[..len], rounding(number));
        }
    }
}

/// Adds the update to parameters of a wider dtype, in that; the new ones, in `buffer`.
pub fn add_to_wider<'b, T: Float>(
    tier: Tier,
    updates: &[T],
    params: &mut Slot<'_>,
    buffer: &'b mut Vec<f64>,
) -> &'b [f64] {
    let buffer = grown(buffer, updates.len());
    params.read(tier, buffer);
    for (param, update) in buffer.iter_mut().zip(updates) {
        *param = param.updated(update.to_f64());
    }
    params.to.write(tier, buffer, Rounding::Nearest);
    buffer
}

/// Dense copies of arrays that a kernel cannot walk over.
#[derive(Default)]
pub struct Scratch<T> {
    pub copies: StagedArrays<T>,
    pub slots: Vec<Vec<T>>,
    /// Those of state that is only read.
    pub old_slots: Vec<Vec<T>>,
}

thread_local! {
    static SINGLE: Cell<Scratch<f32>> = Cell::default();
    static DOUBLE: Cell<Scratch<f64>> = Cell::default();
}

/// The copies that this thread keeps.
struct KeptScratch;

impl FloatTable for KeptScratch {
    type Of<T: Float> = &'static LocalKey<Cell<Scratch<T>>>;

    #[inline(always)]
    fn f32(self) -> Self::Of<f32> {
        &SINGLE
    }
    #[inline(always)]
    fn f64(self) -> Self::Of<f64> {
        &DOUBLE
    }
}

impl<T: Float> Scratch<T> {
    /// Calls `work` with what this thread has kept, and keeps what comes of it.
    pub fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        with_kept(T::select_float(KeptScratch), work)
    }
}

/// Those of a leaf's arrays that are no slots.
#[derive(Default)]
pub struct StagedArrays<T> {
    pub updates: Vec<T>,
    pub params: Vec<T>,
    pub out: Vec<T>,
    /// The parameters, where they are of a wider type.
    pub wider: Vec<f64>,
}

/// A dense copy, made by `read`.
pub fn copied<T: Float>(buffer: &mut Vec<T>, len: usize, read: impl FnOnce(&mut [T])) -> &[T] {
    let buffer = grown(buffer, len);
    read(buffer);
    buffer
}
