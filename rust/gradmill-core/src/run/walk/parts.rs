//! Leaves whose arrays are not dense, or lie differently in memory: walked over part by part.

use super::Walk;
use crate::data::{Copies, Cuts, Leaf};
use crate::kernels::set::Bound;
use crate::number::float::Float;
use crate::plan::pass::PassInput;

/// Elements of a block of such a leaf, which should have many rows of it; divides [`super::CHUNK`].
pub(super) const STRIDED: usize = 1 << 15;
/// Elements of a box of which dense copies are made at once.
const BOX: usize = 1 << 16;

impl Walk<'_> {
    /// Sends a leaf that is not dense through the last pass, by dense copies of parts of its arrays.
    pub(super) fn staged<T: Float>(&self, bound: &Bound<T>, leaf: &mut Leaf<'_>) -> bool {
        let carried = self.pass.source == PassInput::Carried;
        Copies::with(|copies| {
            let mut around = |part: &mut Leaf<'_>| {
                let work = |dense: &mut Leaf<'_>| self.chunk(bound, dense).0;
                copies.around(part, carried, &self.pass.slots, work)
            };
            let len = leaf.len();
            if len <= STRIDED {
                return around(leaf);
            }
            if let Some(cuts) = self.cuts(leaf, BOX) {
                let boxes = leaf.reborrow().boxes(cuts);
                return boxes.fold(true, |finite, mut part| finite & around(&mut part));
            }
            let starts = (0..len).step_by(STRIDED);
            starts.fold(true, |finite, start| {
                finite & around(&mut leaf.part(start..len.min(start + STRIDED)))
            })
        })
    }

    /// How to cut a leaf into boxes of about so many elements: where its arrays lie differently in memory, and no
    /// result depends on where in the leaf an element is.
    pub(super) fn cuts<'l>(&self, leaf: &Leaf<'l>, len: usize) -> Option<Cuts<'l>> {
        let by_place = self.squares.updates || self.rounding.is_some() || self.program.has_places();
        if by_place || self.pass.ends_for.is_some() { None } else { leaf.cuts(len) }
    }
}
