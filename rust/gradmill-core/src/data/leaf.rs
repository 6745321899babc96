//! The arrays of one leaf, as borrowed views.

use std::ops::Range;

use smallvec::SmallVec;

use super::array::{Sink, Source};
use super::cut::Cut;
use super::updates::Updates;
use crate::number::dtype::DType;
use crate::number::float::Float;
use crate::number::rounding::Rounding;
use crate::sys::simd::Tier;

/// An array that a step replaces: in place, or from an array that stays as it was. Where sums alone are formed of it, the
/// array that would be written has no elements.
#[derive(Debug)]
pub struct Slot<'a> {
    /// The old value, where it is another array than the new one.
    pub from: Option<Source<'a>>,
    /// The array written; holds the old value where `from` is `None`.
    pub to: Sink<'a>,
}

impl<'a> Slot<'a> {
    /// Whether the old value is a slice of this type that can be written.
    #[inline]
    pub(crate) fn is_in_place<T: Float>(&self) -> bool {
        self.from.is_none() && self.to.is_dense::<T>()
    }

    /// The old value, converted.
    pub(crate) fn read<T: Float>(&self, tier: Tier, into: &mut [T]) {
        match &self.from {
            Some(source) => source.read(tier, into),
            None => self.to.read(tier, into),
        }
    }

    /// The array as a slice that holds the old value and can be written, where such a slice exists.
    #[inline]
    pub(crate) fn dense<T: Float>(&mut self, tier: Tier) -> Option<&mut [T]> {
        let slice = self.to.dense::<T>()?;
        if let Some(source) = &self.from {
            match source.dense::<T>() {
                Some(old) => slice.copy_from_slice(old),
                None => source.read(tier, slice),
            }
        }
        Some(slice)
    }

    /// The old value as a slice, where it is dense and of this type.
    #[inline]
    pub(crate) fn old<T: Float>(&mut self) -> Option<&[T]> {
        match &self.from {
            Some(source) => source.dense(),
            None => self.to.dense().map(|slice| &*slice),
        }
    }

    /// Whether [`Self::old`] gives a slice.
    pub(crate) fn has_dense_old<T: Float>(&self) -> bool {
        self.from.as_ref().map_or_else(|| self.to.is_dense::<T>(), Source::is_dense::<T>)
    }

    /// Copies the old value to where the new one goes, where that is another array.
    pub fn keep(&mut self, tier: Tier) {
        if let (Some(Source::Codes(from)), Sink::Codes(to)) = (&self.from, &mut self.to) {
            to.copy_from(*from);
        } else if let Some(from) = &self.from {
            let mut value = vec![0.0; self.to.len()];
            from.read(tier, &mut value);
            self.to.write(tier, &value, Rounding::Nearest);
        }
    }

    fn reborrow(&mut self) -> Slot<'_> {
        self.part(0..self.from.as_ref().map_or(self.to.len(), Source::len))
    }

    /// The old value.
    fn into_view(self) -> Source<'a> {
        self.from.unwrap_or_else(|| self.to.into_view())
    }

    pub(super) fn split(self, cut: Cut<'a>) -> (Self, Self) {
        let of_written = if self.to.is_empty() { Cut::Run(0) } else { cut };
        let (to, to_tail) = self.to.split(of_written);
        let (from, from_tail) = self.from.map(|source| source.split(cut)).unzip();
        (Self { from, to }, Self { from: from_tail, to: to_tail })
    }

    pub(super) fn part(&mut self, at: Range<usize>) -> Slot<'_> {
        let from = self.from.as_ref().map(|source| source.part(at.clone()));
        let is_read = self.to.is_empty();
        Slot { from, to: self.to.part(if is_read { 0..0 } else { at }) }
    }
}

/// What a program may do with the parameters.
#[derive(Debug)]
pub enum Params<'a> {
    /// There are none.
    None,
    /// Ops may read them.
    Read(Source<'a>),
    /// Ops may read them, and the update is added to them.
    Write(Slot<'a>),
}

impl<'a> Params<'a> {
    /// Number of elements, where there are parameters.
    pub(crate) fn elements(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Read(source) => Some(source.len()),
            Self::Write(slot) => Some(slot.to.len()),
        }
    }

    /// Element type, where there are parameters.
    #[must_use]
    pub fn dtype(&self) -> Option<DType> {
        match self {
            Self::None => None,
            Self::Read(source) => Some(source.dtype()),
            Self::Write(slot) => Some(slot.to.dtype()),
        }
    }

    /// The old value, where there are parameters.
    pub(crate) fn into_view(self) -> Option<Source<'a>> {
        match self {
            Self::None => None,
            Self::Read(source) => Some(source),
            Self::Write(slot) => Some(slot.into_view()),
        }
    }

    /// The old value, converted.
    pub(crate) fn read<T: Float>(&self, tier: Tier, into: &mut [T]) {
        match self {
            Self::None => {}
            Self::Read(source) => source.read(tier, into),
            Self::Write(slot) => slot.read(tier, into),
        }
    }

    /// The old value as a slice, where it is dense and of this type.
    #[inline]
    pub(crate) fn dense<T: Float>(&mut self) -> Option<&[T]> {
        match self {
            Self::None => Some(&[]),
            Self::Read(source) => source.dense(),
            Self::Write(slot) => slot.old(),
        }
    }

    pub(super) fn split(self, cut: Cut<'a>) -> (Self, Self) {
        match self {
            Self::None => (Self::None, Self::None),
            Self::Read(source) => {
                let (head, tail) = source.split(cut);
                (Self::Read(head), Self::Read(tail))
            }
            Self::Write(slot) => {
                let (head, tail) = slot.split(cut);
                (Self::Write(head), Self::Write(tail))
            }
        }
    }

    pub(super) fn part(&mut self, at: Range<usize>) -> Params<'_> {
        match self {
            Self::None => Params::None,
            Self::Read(source) => Params::Read(source.part(at)),
            Self::Write(slot) => Params::Write(slot.part(at)),
        }
    }
}

/// How many slots a leaf has room for without memory of its own: more than chains have in practice.
pub const ROOM: usize = 8;

/// The slots of one leaf; those of ops that pass the leaf by are `None`.
pub type Slots<'a> = SmallVec<[Option<Slot<'a>>; ROOM]>;

/// The state of one leaf with a number for each unit.
pub type UnitSlots<'a> = SmallVec<[Option<Slot<'a>>; 2]>;

/// Where a stretch of a leaf begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The leaf's position in its tree.
    pub leaf: usize,
    /// Elements of the leaf before it.
    pub start: usize,
}

/// All arrays of one leaf. All but `unit_slots` have as many elements as `updates`, in the same order.
#[derive(Debug)]
pub struct Leaf<'a> {
    /// The incoming gradient or update.
    pub updates: Updates<'a>,
    /// The parameter.
    pub params: Params<'a>,
    /// Receives the update, unless it is added to `params`.
    pub out: Option<Sink<'a>>,
    /// Receives a copy of the new parameter, rounded to its own dtype.
    pub copy: Option<Sink<'a>>,
    /// State arrays, in the order of the program's slots.
    pub slots: Slots<'a>,
    /// State with a number for each unit, in the order of the program's; only a whole leaf has them.
    pub unit_slots: UnitSlots<'a>,
    /// Bit `i` is set where op `i` passes this leaf by.
    pub skip: u64,
    /// The lengths of its axes; not asked for where [`crate::Program::has_units`] is false.
    pub shape: &'a [usize],
    /// What this is a stretch of; set by [`crate::run()`].
    pub origin: Origin,
}

impl<'a> Leaf<'a> {
    /// A leaf that no op passes by and that has no shape.
    #[must_use]
    pub fn new(
        updates: Source<'a>,
        params: Params<'a>,
        out: Option<Sink<'a>>,
        slots: Slots<'a>,
    ) -> Self {
        let (copy, origin) = (None, Origin::default());
        let (updates, unit_slots) = (Updates::Kept(updates), UnitSlots::new());
        Self { updates, params, out, copy, slots, unit_slots, skip: 0, shape: &[], origin }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.updates.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same arrays for a shorter time.
    pub fn reborrow(&mut self) -> Leaf<'_> {
        self.taken(0..self.len(), true)
    }

    /// Those of its elements, for a shorter time.
    pub(crate) fn part(&mut self, at: Range<usize>) -> Leaf<'_> {
        self.taken(at, false)
    }

    fn taken(&mut self, at: Range<usize>, is_whole: bool) -> Leaf<'_> {
        let Self { updates, params, out, copy, slots, unit_slots, skip, shape, origin } = self;
        let slots = slots.iter_mut();
        let unit_slots = unit_slots.iter_mut().filter(|_| is_whole);
        Leaf {
            updates: updates.part(at.clone()),
            params: params.part(at.clone()),
            out: out.as_mut().map(|sink| sink.part(at.clone())),
            copy: copy.as_mut().map(|sink| sink.part(at.clone())),
            slots: slots.map(|slot| slot.as_mut().map(|slot| slot.part(at.clone()))).collect(),
            unit_slots: unit_slots.map(|slot| slot.as_mut().map(Slot::reborrow)).collect(),
            skip: *skip,
            shape,
            origin: Origin { start: origin.start + at.start, ..*origin },
        }
    }

    pub(super) fn split(self, cut: Cut<'a>) -> (Self, Self) {
        let (updates, updates_tail) = self.updates.split(cut);
        let (params, params_tail) = self.params.split(cut);
        let (out, out_tail) = self.out.map(|sink| sink.split(cut)).unzip();
        let (copy, copy_tail) = self.copy.map(|sink| sink.split(cut)).unzip();
        let (slots, slots_tail) =
            self.slots.into_iter().map(|slot| slot.map(|slot| slot.split(cut)).unzip()).unzip();
        let (skip, origin) = (self.skip, self.origin);
        let origin_tail = match cut {
            Cut::Run(at) => Origin { start: origin.start + at, ..origin },
            Cut::Axis { .. } => origin,
        };
        let tail = Self {
            updates: updates_tail,
            params: params_tail,
            out: out_tail,
            copy: copy_tail,
            slots: slots_tail,
            unit_slots: UnitSlots::new(),
            skip,
            shape: self.shape,
            origin: origin_tail,
        };
        let (shape, unit_slots) = (self.shape, UnitSlots::new());
        (Self { updates, params, out, copy, slots, unit_slots, skip, shape, origin }, tail)
    }

    /// Consecutive parts of `len` elements, the last one shorter. An empty leaf has none.
    #[must_use]
    pub fn chunks(self, len: usize) -> Chunks<'a> {
        Chunks { rest: Some(self), len }
    }

    /// The update as a view: what a pass left behind, where one did.
    pub(crate) fn into_update(self, carried: bool) -> Source<'a> {
        match self.out {
            Some(out) if carried => out.into_view(),
            _ => self.updates.into_view(),
        }
    }
}

/// Consecutive parts of a leaf; see [`Leaf::chunks`].
#[derive(Debug)]
pub struct Chunks<'a> {
    rest: Option<Leaf<'a>>,
    len: usize,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Leaf<'a>;

    fn next(&mut self) -> Option<Leaf<'a>> {
        let leaf = self.rest.take().filter(|leaf| !leaf.is_empty())?;
        if leaf.len() <= self.len {
            return Some(leaf);
        }
        let (head, tail) = leaf.split(Cut::Run(self.len));
        self.rest = Some(tail);
        Some(head)
    }
}
