//! A leaf as a walk meets it: as slices where it can, as views where it must.

use std::ops::Range;

use crate::data::{Dense, Leaf};
use crate::error::Error;
use crate::number::dtype::DType;
use crate::number::float::Float;
use crate::plan::program::Program;

/// One leaf of a tree that a program runs over.
///
/// A [`Leaf`] is one. Who keeps arrays from step to step can hand them out one leaf at a time instead, which
/// spares a list of views.
pub trait Row: Send {
    /// Whether it takes part in this step. One that does not is passed over as if it were not there.
    fn is_active(&self) -> bool {
        true
    }

    /// Number of elements.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements of the leaf before it, where it is part of one.
    fn start(&self) -> usize {
        0
    }

    /// Bit `i` is set where op `i` passes this leaf by.
    fn skip(&self) -> u64;

    /// The dtype it is computed in.
    fn dtype(&self, program: &Program) -> DType;

    /// The incoming update, where it is dense and of this type.
    fn updates<T: Float>(&self) -> Option<&[T]>;

    /// Puts update, parameter and state into `dense`, where all are dense and of this type, and parameters and
    /// state are overwritten; whether they are.
    ///
    /// `slots` are positions among the slots of the ops that do not pass the leaf by. What is put in place takes
    /// no copy, which would have to wait until it is written.
    fn dense<'r, T: Float>(
        &'r mut self,
        slots: Range<usize>,
        dense: &mut Dense<'r, T, T, T>,
    ) -> bool {
        let _ = (slots, dense);
        false
    }

    /// Zeroes the update, where that is wanted.
    fn spend(&mut self) {}

    /// Its arrays as views.
    fn leaf(&mut self, program: &Program) -> Leaf<'_>;

    /// Makes room for an update that waits between two passes, where that is kept with the arrays; whether
    /// [`Row::leaf`] has an `out` from now on.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn make_room(&mut self, program: &Program) -> Result<bool, Error> {
        Ok(self.leaf(program).out.is_some())
    }
}

/// The rows that take part.
pub fn active<R: Row>(rows: &mut [R]) -> impl Iterator<Item = &mut R> + Send {
    rows.iter_mut().filter(|row| row.is_active())
}

impl Row for Leaf<'_> {
    fn len(&self) -> usize {
        self.updates.len()
    }

    fn start(&self) -> usize {
        self.origin.start
    }

    fn skip(&self) -> u64 {
        self.skip
    }

    fn dtype(&self, program: &Program) -> DType {
        program.dtype(self)
    }

    fn updates<T: Float>(&self) -> Option<&[T]> {
        self.updates.dense()
    }

    fn dense<'r, T: Float>(
        &'r mut self,
        slots: Range<usize>,
        dense: &mut Dense<'r, T, T, T>,
    ) -> bool {
        self.mixed(slots).map(|arrays| *dense = arrays).is_some()
    }

    fn spend(&mut self) {
        self.updates.spend();
    }

    fn leaf(&mut self, _: &Program) -> Leaf<'_> {
        self.reborrow()
    }
}
