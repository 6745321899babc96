//! The arrays of a leaf as slices.

use std::ops::Range;

use smallvec::SmallVec;

use super::codes::CodesMut;
use super::leaf::{Leaf, Params, ROOM, Slot};
use crate::number::element::Element;

/// The arrays of a leaf that is updated in place, all dense, each of a type of its own.
#[derive(Debug, Default)]
pub struct Dense<'d, U, P, S> {
    /// The incoming update.
    pub updates: &'d [U],
    /// The parameter, which is overwritten.
    pub params: &'d mut [P],
    /// The state, which is overwritten.
    pub slots: SmallVec<[&'d mut [S]; ROOM]>,
}

/// The same with state in 8 bits a number.
#[derive(Debug, Default)]
pub struct Coded<'d, U, P> {
    /// The incoming update.
    pub updates: &'d [U],
    /// The parameter, which is overwritten.
    pub params: &'d mut [P],
    /// The state, which is overwritten.
    pub slots: SmallVec<[CodesMut<'d>; ROOM]>,
}

impl<'a> Leaf<'a> {
    /// Its arrays as slices, where all are dense, updates, parameters and state each of one type, and parameters and
    /// state are overwritten. `slots` are positions among the slots that it has.
    pub(crate) fn mixed<U: Element, P: Element, S: Element>(
        &mut self,
        slots: Range<usize>,
    ) -> Option<Dense<'_, U, P, S>> {
        let (updates, params, own) = self.overwritten(slots)?;
        let slots = own.map(|slot| slot.to.dense().filter(|_| slot.from.is_none()));
        Some(Dense { updates, params, slots: slots.collect::<Option<_>>()? })
    }

    /// The same for a leaf all of whose state is in codes.
    pub(crate) fn coded<U: Element, P: Element>(
        &mut self,
        slots: Range<usize>,
    ) -> Option<Coded<'_, U, P>> {
        let (updates, params, own) = self.overwritten(slots)?;
        let slots = own.map(|slot| slot.to.codes().filter(|_| slot.from.is_none()));
        Some(Coded { updates, params, slots: slots.collect::<Option<_>>()? })
    }

    /// Updates and parameters, where both are dense and the latter are overwritten and have no copy, and some of the slots.
    fn overwritten<'l, U: Element, P: Element>(
        &'l mut self,
        slots: Range<usize>,
    ) -> Option<(&'l [U], &'l mut [P], impl Iterator<Item = &'l mut Slot<'a>>)> {
        let Params::Write(Slot { from: None, to }) = &mut self.params else {
            return None;
        };
        if self.copy.is_some() {
            return None;
        }
        let own = self.slots.iter_mut().flatten().skip(slots.start).take(slots.len());
        Some((self.updates.dense()?, to.dense()?, own))
    }
}
