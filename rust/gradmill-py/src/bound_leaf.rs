//! A leaf of a program that is bound: arrays for all steps, and the update of one.

use std::ops::Range;

use gradmill_core::data::{Dense, Origin, Params, Slot, Span};
use gradmill_core::{Carrier, DType, Error, Float, Leaf, Program, Row};
use pyo3::prelude::*;
use smallvec::SmallVec;

use crate::buffers::{CHANGED, Incoming, Order, Raw, Readable, Writable};
use crate::fault::{Place, Tree};
use crate::program::{check_shape, have_one_shape};
use crate::written::{Written, check_apart};

/// The arrays of a leaf, some for all steps and the update for one.
pub struct BoundLeaf {
    /// Its position in the tree.
    pub index: usize,
    pub skip: u64,
    pub arrays: Arrays,
    shape: Box<[usize]>,
    update: Incoming,
    /// Whether that is the caller's own array, and no copy.
    is_given: bool,
    order: Order,
    /// Whether results depend on the order in which elements are walked.
    ordered: bool,
    /// The widest dtype of what the ops read beside the update.
    dtype: Option<DType>,
    /// Where an update waits between passes, of a chain in which it does.
    carrier: Option<Carrier>,
}

/// What a step writes of a leaf.
pub struct Arrays {
    pub param: Writable,
    /// Receives a copy of the parameter.
    pub copy: Option<Box<Writable>>,
    /// The slots of the ops that do not pass it by.
    pub slots: SmallVec<[Writable; 2]>,
    /// Those of them that have a number for each unit.
    pub unit_slots: Vec<Writable>,
}

impl Arrays {
    #[inline]
    fn are_unmoved(&self, py: Python<'_>) -> bool {
        let Self { param, copy, slots, unit_slots } = self;
        let slots = slots.iter().chain(unit_slots);
        slots.chain([param]).chain(copy.as_deref()).all(|array| array.is_unmoved(py))
    }

    /// All of them, and what each is; `slots` are the numbers of its slots.
    pub fn all(
        &self,
        slots: impl Iterator<Item = usize>,
    ) -> impl Iterator<Item = (Tree, &Writable)> {
        let param = if self.copy.is_some() { Tree::Master } else { Tree::Params };
        let copy = self.copy.as_deref().map(|copy| (Tree::Params, copy));
        let states = slots.map(Tree::Slot).zip(self.slots.iter().chain(&self.unit_slots));
        states.chain([(param, &self.param)]).chain(copy)
    }
}

impl BoundLeaf {
    pub fn new(
        core: &Program,
        index: usize,
        skip: u64,
        shape: &[usize],
        arrays: Arrays,
        ordered: bool,
    ) -> Self {
        let reads = core.reads_params_of(skip).then(|| arrays.param.raw.dtype());
        let states = arrays.slots.iter().chain(&arrays.unit_slots);
        let dtype = states.map(|slot| slot.raw.dtype()).chain(reads).max();
        let (update, order, shape) = (Incoming::default(), Order::Logical, shape.into());
        let (is_given, carrier) = (false, None);
        Self { index, skip, arrays, shape, update, is_given, order, ordered, dtype, carrier }
    }

    /// Asks for the array objects, to be looked at soon.
    #[inline]
    pub fn prefetch_objects(&self) {
        let Arrays { param, copy, slots, .. } = &self.arrays;
        let arrays = slots.iter().chain([param]).chain(copy.as_deref());
        arrays.for_each(|array| array.raw.prefetch());
        self.update.prefetch();
    }

    /// Checks the arrays of this step and keeps the update; whether code other than ours ran, which converted
    /// or copied it.
    pub fn take(
        &mut self,
        py: Python<'_>,
        core: &Program,
        written: &Written,
        update: Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let leaf = self.index;
        if !self.is_unmoved(py, core) {
            return Err(self.moved(py, core));
        }
        let place = Place { tree: Tree::Updates, leaf };
        let given = update.as_ptr();
        let mut update = Readable::like(update, place, self.update.layout())?;
        let mut others_ran = update.object().as_ptr() != given;
        check_shape(py, core, leaf, &update.raw, Tree::Params, &self.arrays.param.raw)?;
        if !written.is_apart(update.raw.span(false)) {
            others_ran = true;
            update = written.copy_between(&update, place)?;
        }
        self.keep(update);
        self.is_given = !others_ran;
        Ok(others_ran)
    }

    /// Keeps the update if that takes no code of others, and nothing is wrong; whether it did.
    #[inline]
    pub fn take_plain(
        &mut self,
        py: Python<'_>,
        core: &Program,
        written: &Written,
        update: &Bound<'_, PyAny>,
    ) -> bool {
        if !self.is_unmoved(py, core) {
            return false;
        }
        self.is_given = true;
        if self.update.keep_again(update) {
            return self.update.raw().is_some_and(|raw| self.has_shape_of(py, raw));
        }
        let place = Place { tree: Tree::Updates, leaf: self.index };
        let update = Readable::plain(update.clone(), place, self.update.layout());
        let update = update.filter(|update| {
            self.has_shape_of(py, &update.raw) && written.is_apart(update.raw.span(false))
        });
        update.map(|update| self.keep(update)).is_some()
    }

    fn has_shape_of(&self, py: Python<'_>, update: &Raw) -> bool {
        have_one_shape(update.shape(py), self.arrays.param.raw.shape(py))
    }

    fn keep(&mut self, update: Readable<'_>) {
        let Arrays { param, copy, slots, .. } = &self.arrays;
        let written = slots.iter().chain([param]).chain(copy.as_deref()).map(|array| &array.raw);
        self.order = Raw::common_order(written.chain([&update.raw]), self.ordered);
        self.update.keep(update);
    }

    /// The caller's own array, where that is the update of this step, and the memory it has.
    fn given(&self, py: Python<'_>) -> Option<(Span, Py<PyAny>)> {
        let object = self.update.object().filter(|_| self.is_given)?;
        Some((self.update.raw()?.span(true), object.clone_ref(py)))
    }

    /// Lets go of the update.
    #[inline]
    pub fn release(&mut self, py: Python<'_>) {
        self.update.release(py);
    }

    #[inline]
    fn is_unmoved(&self, py: Python<'_>, core: &Program) -> bool {
        let has_shape = || self.arrays.param.raw.shape(py) == &self.shape[..];
        self.arrays.are_unmoved(py) && (!core.has_units() || has_shape())
    }

    /// Looks at all arrays of this step once more.
    pub fn check_unmoved(&self, py: Python<'_>, core: &Program) -> PyResult<()> {
        if !self.is_unmoved(py, core) {
            return Err(self.moved(py, core));
        }
        match self.update.raw() {
            Some(update) if !update.is_unmoved(py) => {
                Err(Place { tree: Tree::Updates, leaf: self.index }.value_error(CHANGED))
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn moved(&self, py: Python<'_>, core: &Program) -> PyErr {
        let mut all = self.arrays.all(core.slots_of(self.skip));
        let tree =
            all.find(|(_, array)| !array.is_unmoved(py)).map_or(Tree::Params, |(tree, _)| tree);
        let place = Place { tree, leaf: self.index };
        place.value_error("was resized, reshaped, moved or made read-only since it was bound")
    }
}

/// Has the step zero the updates that are the caller's own arrays, and notes their positions in `spent`.
///
/// # Errors
/// One of them is read-only, has an element twice, or overlaps another one.
pub fn spend(py: Python<'_>, leaves: &mut [BoundLeaf], spent: &mut Vec<usize>) -> PyResult<()> {
    let (mut owners, mut arrays) = (Vec::new(), Vec::new());
    for leaf in leaves {
        if let Some(array) = leaf.given(py) {
            let place = Place { tree: Tree::Updates, leaf: leaf.index };
            leaf.update.spend(place)?;
            spent.push(leaf.index);
            owners.push(place);
            arrays.push(array);
        }
    }
    check_apart(py, &owners, &arrays)
}

impl Row for BoundLeaf {
    fn is_active(&self) -> bool {
        self.update.is_there()
    }

    fn len(&self) -> usize {
        self.arrays.param.raw.len()
    }

    fn skip(&self) -> u64 {
        self.skip
    }

    fn dtype(&self, _: &Program) -> DType {
        let update = self.update.raw().map(Raw::dtype);
        self.dtype.max(update).unwrap_or(DType::F32).computed_in()
    }

    fn updates<T: Float>(&self) -> Option<&[T]> {
        self.update.dense(self.order)
    }

    #[inline]
    fn dense<'r, T: Float>(
        &'r mut self,
        slots: Range<usize>,
        dense: &mut Dense<'r, T, T, T>,
    ) -> bool {
        let order = self.order;
        let Arrays { param, copy: None, slots: own, .. } = &mut self.arrays else {
            return false;
        };
        let (Some(updates), Some(params)) = (self.update.dense(order), param.dense(order)) else {
            return false;
        };
        (dense.updates, dense.params) = (updates, params);
        own[slots].iter_mut().all(|slot| match slot.dense(order) {
            Some(slot) => {
                dense.slots.push(slot);
                true
            }
            None => false,
        })
    }

    #[inline]
    fn spend(&mut self) {
        if let Some(mut sink) = self.update.sink(self.order) {
            sink.clear();
        }
    }

    fn leaf(&mut self, program: &Program) -> Leaf<'_> {
        let Self { order, skip, shape, update, arrays, carrier, .. } = self;
        let Arrays { param, copy, slots, unit_slots } = arrays;
        let mut own = slots.iter_mut();
        let slots = (0..program.slots()).map(|number| {
            let slot = if program.skips_slot(*skip, number) { None } else { own.next() };
            slot.map(|slot| Slot { from: None, to: slot.sink(*order) })
        });
        let mut own = unit_slots.iter_mut();
        let units = program.slots()..program.slots() + program.unit_slots();
        let unit_slots = units.map(|number| {
            let slot = if program.skips_slot(*skip, number) { None } else { own.next() };
            slot.map(|slot| Slot { from: None, to: slot.sink(Order::Logical) })
        });
        let params = Params::Write(Slot { from: None, to: param.sink(*order) });
        let out = carrier.as_mut().map(Carrier::sink);
        let Some(updates) = update.updates(*order) else {
            unreachable!("only leaves that take part are walked over")
        };
        let copy = copy.as_mut().map(|copy| copy.sink(*order));
        let (slots, unit_slots, origin) =
            (slots.collect(), unit_slots.collect(), Origin::default());
        Leaf { updates, params, out, copy, slots, unit_slots, skip: *skip, shape, origin }
    }

    fn make_room(&mut self, program: &Program) -> Result<bool, Error> {
        let (dtype, len) = (self.dtype(program), self.len());
        if !self.carrier.as_ref().is_some_and(|carrier| carrier.fits(dtype, len)) {
            self.carrier = None;
            self.carrier = Some(Carrier::new(dtype, len)?);
        }
        Ok(true)
    }
}
