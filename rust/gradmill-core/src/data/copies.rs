//! Dense copies of the arrays of a leaf that are not.

use std::cell::Cell;
use std::ops::Range;

use super::buffer::Buffer;
use super::leaf::{Leaf, Origin, Params, Slot, UnitSlots};
use super::planes::Rows;
use crate::sys::kept::with_kept;

/// Room for copies, which stays with the thread.
#[derive(Debug, Default)]
pub struct Copies {
    buffers: Vec<Buffer>,
}

thread_local! {
    static COPIES: Cell<Copies> = Cell::default();
}

impl Copies {
    /// Calls `work` with what this thread has kept, and keeps what comes of it.
    pub fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        with_kept(&COPIES, work)
    }

    /// Calls `work` with a leaf of the same elements whose arrays are dense, and stores those that it may write.
    ///
    /// `out` has values before if `carried`.
    pub fn around(
        &mut self,
        leaf: &mut Leaf<'_>,
        carried: bool,
        own: &Range<usize>,
        mut work: impl FnMut(&mut Leaf<'_>) -> bool,
    ) -> bool {
        let (len, rows) = (leaf.len(), leaf.rows());
        let count = 5 + 2 * leaf.slots.len();
        if self.buffers.len() < count {
            self.buffers.resize_with(count, Buffer::default);
        }
        let [updates, from, to, out, copy, slots @ ..] = &mut self.buffers[..] else {
            unreachable!("there are five and those of slots");
        };
        let writes_params = matches!(leaf.params, Params::Write(_));
        let mut number = 0;
        let mut dense = Leaf {
            updates: leaf.updates.staged(updates, rows),
            params: match &mut leaf.params {
                Params::None => Params::None,
                Params::Read(source) => Params::Read(source.staged(from, rows)),
                Params::Write(slot) => Params::Write(slot.staged([from, to], rows, false)),
            },
            out: leaf.out.as_mut().map(|sink| sink.staged(out, rows, carried || writes_params)),
            copy: leaf.copy.as_mut().map(|sink| sink.staged(copy, rows, true)),
            slots: leaf
                .slots
                .iter_mut()
                .zip(slots.as_chunks_mut().0)
                .map(|(slot, [from, to])| {
                    let kept = !own.contains(&number);
                    number += 1;
                    slot.as_mut().map(|slot| slot.staged([from, to], rows, kept))
                })
                .collect(),
            unit_slots: UnitSlots::new(),
            skip: leaf.skip,
            shape: leaf.shape,
            origin: leaf.origin,
        };
        let result = if rows == Rows::NONE {
            work(&mut dense)
        } else {
            let count = len / rows.len;
            (0..count).fold(true, |all, at| all & work(&mut dense.row(at, count, rows.len)))
        };
        drop(dense);
        let [_, _, to, out, copy, slots @ ..] = &mut self.buffers[..] else {
            unreachable!("there are five and those of slots");
        };
        if let Params::Write(slot) = &mut leaf.params {
            slot.to.write_back(to, rows);
        }
        if let Some(sink) = &mut leaf.out {
            sink.write_back(out, rows);
        }
        if let Some(sink) = &mut leaf.copy {
            sink.write_back(copy, rows);
        }
        for (slot, [_, to]) in leaf.slots.iter_mut().zip(slots.as_chunks_mut().0) {
            if let Some(slot) = slot {
                slot.to.write_back(to, rows);
            }
        }
        result
    }
}

impl Leaf<'_> {
    /// One of so many rows of `len` elements each.
    fn row(&mut self, at: usize, rows: usize, len: usize) -> Leaf<'_> {
        Leaf {
            updates: self.updates.row(at, rows, len),
            params: match &mut self.params {
                Params::None => Params::None,
                Params::Read(source) => Params::Read(source.row(at, rows, len)),
                Params::Write(slot) => Params::Write(slot.row(at, rows, len)),
            },
            out: self.out.as_mut().map(|sink| sink.row(at, rows, len)),
            copy: self.copy.as_mut().map(|sink| sink.row(at, rows, len)),
            slots: self
                .slots
                .iter_mut()
                .map(|slot| slot.as_mut().map(|slot| slot.row(at, rows, len)))
                .collect(),
            unit_slots: UnitSlots::new(),
            skip: self.skip,
            shape: self.shape,
            origin: Origin { start: self.origin.start + at * len, ..self.origin },
        }
    }
}

impl Slot<'_> {
    /// The same array in rows, in these buffers where they are not yet.
    fn staged<'s>(
        &'s mut self,
        [from, to]: [&'s mut Buffer; 2],
        rows: Rows,
        kept: bool,
    ) -> Slot<'s> {
        let is_filled = kept || self.from.is_none();
        Slot {
            from: self.from.as_ref().map(|source| source.staged(from, rows)),
            to: self.to.staged(to, rows, is_filled),
        }
    }

    fn row(&mut self, at: usize, rows: usize, len: usize) -> Slot<'_> {
        Slot {
            from: self.from.as_ref().map(|source| source.row(at, rows, len)),
            to: self.to.row(at, rows, len),
        }
    }
}
