//! Programs over arrays that are bound once and then written step after step.

use std::ops::Range;

use gradmill_core::leaf::{Params, Slot};
use gradmill_core::rng::{self, Key};
use gradmill_core::{DType, Float, Leaf, Outcome, Row, Step, run_rows};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;
use smallvec::SmallVec;

use crate::buffers::{CHANGED, Counter, Held, Order, Raw, Readable, Writable};
use crate::compute::compute;
use crate::fault::{Place, Tree, core_error};
use crate::program::{Found, Program, Shape, check_shape, found, shape_for};
use crate::scalars::Scalars;
use crate::settings::config;
use crate::written::Written;

/// A program bound to parameters and state.
#[pyclass(module = "gradmill._core")]
pub struct InPlace {
    program: Py<Program>,
    leaves: Vec<BoundLeaf>,
    /// Number of leaves of the tree, those without an array among them.
    tree: usize,
    /// What half precision is rounded at random with.
    seed: Option<Key>,
    written: Written,
    clocks: Vec<(Option<Counter>, Py<Scalars>)>,
    /// Steps taken.
    steps: u64,
    /// What the last step found whose counts the host keeps.
    last: Option<Found>,
    /// Whether a step broke off in the middle, which takes a bug.
    is_torn: bool,
}

/// The count that an op's scalars depend on, if any, and the scalars.
type Clock<'py> = (Option<Bound<'py, PyAny>>, Py<Scalars>);

#[pymethods]
impl InPlace {
    /// Binds `params` and, for each slot, a list of arrays; `None` parameters have no leaf. `clocks` has a row
    /// for each op and for each other member of the chain that counts steps. Where a parameter has a master,
    /// that is what the ops work on, and the parameter receives a copy of it. With a `seed`, half precision is
    /// rounded at random.
    #[new]
    #[pyo3(signature = (program, params, slots, skip, clocks, masters=None, seed=None))]
    #[expect(
        clippy::needless_pass_by_value,
        clippy::too_many_arguments,
        reason = "a call from Python"
    )]
    fn new(
        py: Python<'_>,
        program: Py<Program>,
        params: Bound<'_, PyList>,
        slots: Vec<Bound<'_, PyList>>,
        skip: Option<Vec<u64>>,
        clocks: Vec<Clock<'_>>,
        masters: Option<Bound<'_, PyList>>,
        seed: Option<Key>,
    ) -> PyResult<Self> {
        let core = &program.get().core;
        let ordered = core.has_order() || seed.is_some();
        let mut leaves = Vec::with_capacity(params.len());
        for (index, param) in params.iter().enumerate().filter(|(_, param)| !param.is_none()) {
            let skip = skip.as_ref().and_then(|skip| skip.get(index)).copied().unwrap_or(0);
            let mut param = Writable::new(&param, Place { tree: Tree::Params, leaf: index })?;
            let mut copy = None;
            let master = masters.as_ref().map(|masters| masters.get_item(index)).transpose()?;
            if let Some(master) = master.filter(|master| !master.is_none()) {
                let place = Place { tree: Tree::Master, leaf: index };
                let master = Writable::new(&master, place)?;
                check_shape(py, core, index, &master.raw, Tree::Params, &param.raw)?;
                copy = Some(std::mem::replace(&mut param, master));
            }
            let shape = shape_for(py, core, index, skip, &param.raw)?;
            let mut states = SmallVec::new();
            for number in core.slots_of(skip) {
                let place = Place { tree: Tree::Slot(number), leaf: index };
                let array = slots.get(number).map(|slot| slot.get_item(index)).transpose()?;
                let state = Writable::new(array.as_ref().unwrap_or(param.object(py)), place)?;
                check_shape(py, core, index, &param.raw, place.tree, &state.raw)?;
                states.push(state);
            }
            let arrays = Arrays { param, copy, slots: states };
            leaves.push(BoundLeaf::new(core, index, skip, shape, arrays, ordered));
        }
        let arrays = leaves.iter().flat_map(|leaf| {
            let place = |tree| Place { tree, leaf: leaf.index };
            leaf.arrays.all(core.slots_of(leaf.skip)).map(move |(tree, array)| (place(tree), array))
        });
        let written = Written::new(py, arrays)?;
        let count = |(count, scalars): Clock<'_>| {
            let misfit = || PyTypeError::new_err("count must be an int32 array without axes");
            let counter = count.map(|count| Counter::new(&count).ok_or_else(misfit)).transpose();
            counter.map(|counter| (counter, scalars))
        };
        let clocks = clocks.into_iter().map(count).collect::<PyResult<_>>()?;
        let (tree, steps, last, is_torn) = (params.len(), 0, None, false);
        Ok(Self { program, leaves, tree, seed, written, clocks, steps, last, is_torn })
    }

    /// One step: `params` and the slots are overwritten and the counts go up, or nothing happens and an
    /// error is raised.
    ///
    /// Returns the first global norm that was taken, whether all updates were finite, and the number of steps
    /// taken, this one included.
    #[pyo3(signature = (updates, threads=0))]
    fn step(
        slf: &Bound<'_, Self>,
        updates: &Bound<'_, PyList>,
        threads: usize,
    ) -> PyResult<(Option<f64>, bool, u64)> {
        let py = slf.py();
        let this = &mut *exclusive(slf)?;
        let mut scalars = SmallVec::<[f64; 32]>::new();
        for (leaf, (count, row)) in this.clocks.iter().enumerate() {
            let count = count.as_ref().map_or(Some(0), |count| count.get(py));
            let count =
                count.ok_or_else(|| Place { tree: Tree::Count, leaf }.value_error(COUNT))?;
            row.get().extend(py, count.max(0).unsigned_abs().into(), &mut scalars)?;
        }
        let step = Step { scalars: &scalars, rounding: this.rounding(), ..Step::default() };
        let outcome = this.run(py, updates, step, threads, true)?;
        for (leaf, (count, _)) in this.clocks.iter().enumerate() {
            if count.as_ref().is_some_and(|count| !count.advance(py)) {
                this.is_torn = true;
                return Err(Place { tree: Tree::Count, leaf }.value_error(COUNT_DURING));
            }
        }
        Ok((outcome.norms.first().copied().flatten(), outcome.finite, this.steps))
    }

    /// As `step`, with the scalars of all ops in a row, where the host keeps the counts. `off` holds the ops
    /// that pass all leaves by in this step. What was found is there to be asked for by `last`.
    #[pyo3(signature = (updates, scalars, off=0, threads=0))]
    #[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
    fn step_with(
        slf: &Bound<'_, Self>,
        updates: &Bound<'_, PyList>,
        scalars: Vec<f64>,
        off: u64,
        threads: usize,
    ) -> PyResult<()> {
        let this = &mut *exclusive(slf)?;
        let step = Step { scalars: &scalars, off, rounding: this.rounding(), ..Step::default() };
        let outcome = this.run(slf.py(), updates, step, threads, false)?;
        let bound: Vec<usize> = this.leaves.iter().map(|leaf| leaf.index).collect();
        this.last = Some(found(outcome, || {
            let takes = |(index, update): (usize, Bound<'_, PyAny>)| {
                !update.is_none() && bound.binary_search(&index).is_ok()
            };
            updates.iter().enumerate().map(takes).collect()
        }));
        Ok(())
    }

    /// The number of steps taken, and what the last one found that was taken by `step_with`.
    fn last(slf: &Bound<'_, Self>) -> PyResult<(u64, Option<Found>)> {
        let this = exclusive(slf)?;
        Ok((this.steps, this.last.clone()))
    }

    /// Arrays of floats and programs refer to nothing that could refer to this; schedules do.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.clocks.iter().try_for_each(|(_, scalars)| visit.call(scalars))
    }

    fn __clear__(&mut self) {
        self.clocks.clear();
        // Without its scalars it can take no step.
        self.is_torn = true;
    }

    /// Goes on as if so many steps had been taken, with parameters and state that were written from outside.
    fn restart(slf: &Bound<'_, Self>, steps: u64) -> PyResult<()> {
        let this = &mut *exclusive(slf)?;
        (this.steps, this.is_torn) = (steps, false);
        Ok(())
    }
}

fn exclusive<'py>(slf: &Bound<'py, InPlace>) -> PyResult<PyRefMut<'py, InPlace>> {
    slf.try_borrow_mut()
        .map_err(|_| PyRuntimeError::new_err("another thread is inside a step of this optimizer"))
}

impl InPlace {
    fn rounding(&self) -> Option<Key> {
        self.seed.map(|seed| rng::split(seed, self.steps))
    }

    /// `counts`: whether those of the state are to be written afterwards.
    fn run(
        &mut self,
        py: Python<'_>,
        updates: &Bound<'_, PyList>,
        step: Step<'_>,
        threads: usize,
        counts: bool,
    ) -> PyResult<Outcome> {
        if self.is_torn {
            return Err(PyRuntimeError::new_err(TORN));
        }
        let outcome = self.take(updates).and_then(|elements| {
            if counts {
                self.check_counts(py)?;
            }
            let Self { program, leaves, .. } = self;
            let (core, config) = (&program.get().core, config(threads));
            let outcome = compute(py, elements, || run_rows(core, leaves, step, &config));
            self.is_torn = outcome.is_err();
            outcome?.map_err(|error| core_error(&error))
        });
        for leaf in &mut self.leaves {
            leaf.update = None;
        }
        self.steps += u64::from(outcome.is_ok());
        outcome
    }

    /// Looks at the counts once more: schedules, and what converts updates, are code of the user's.
    fn check_counts(&self, py: Python<'_>) -> PyResult<()> {
        let is_lost = |(count, _): &(Option<Counter>, _)| {
            count.as_ref().is_some_and(|count| !count.is_intact(py))
        };
        match self.clocks.iter().position(is_lost) {
            Some(leaf) => Err(Place { tree: Tree::Count, leaf }.value_error(COUNT)),
            None => Ok(()),
        }
    }

    /// Checks all arrays of a step and keeps the updates; the number of elements.
    fn take(&mut self, updates: &Bound<'_, PyList>) -> PyResult<usize> {
        let py = updates.py();
        let Self { program, leaves, tree, written, .. } = self;
        if updates.len() != *tree {
            let got = updates.len();
            return Err(PyValueError::new_err(format!("{got} updates for {tree} params")));
        }
        let core = &program.get().core;
        let mut elements = 0;
        let mut others_ran = false;
        for at in 0..leaves.len() {
            // Array objects lie scattered; those of leaves to come arrive while this one is looked at.
            if let Some(later) = leaves.get(at + AHEAD) {
                later.arrays.prefetch();
            }
            let leaf = &mut leaves[at];
            let update = updates.get_item(leaf.index)?;
            if !update.is_none() {
                others_ran |= leaf.take(py, core, written, update)?;
                elements += leaf.len();
            }
        }
        if others_ran {
            leaves.iter().try_for_each(|leaf| leaf.check_unmoved(py, core))?;
        }
        Ok(elements)
    }
}

/// What is wrong with a count that was changed.
const COUNT: &str = "was made read-only, or something else than an int32 without axes";

/// What is wrong where it was changed during a step, whose parameters and slots are written.
const COUNT_DURING: &str = "was made read-only, or something else than an int32 without axes, by another thread \
     during a step, which is not counted; restore params, and the state with init_from";

/// What an optimizer refuses to go on with.
const TORN: &str =
    "an earlier step broke off in the middle; restore params, and the state with init_from";

/// How many leaves ahead array objects are asked for.
const AHEAD: usize = 8;

/// The arrays of a leaf, some for all steps and the update for one.
struct BoundLeaf {
    /// Its position in the tree.
    index: usize,
    skip: u64,
    shape: Shape,
    arrays: Arrays,
    update: Option<Held>,
    order: Order,
    /// Whether results depend on the order in which elements are walked.
    ordered: bool,
    /// The widest dtype of what the ops read beside the update.
    dtype: Option<DType>,
    /// Memory that an update had and that no array written overlaps; updates tend to come in the same.
    apart: Option<(usize, usize)>,
}

/// What a step writes of a leaf.
struct Arrays {
    param: Writable,
    /// Receives a copy of the parameter.
    copy: Option<Writable>,
    /// The slots of the ops that do not pass it by.
    slots: SmallVec<[Writable; 2]>,
}

impl Arrays {
    fn prefetch(&self) {
        let Self { param, copy, slots } = self;
        slots.iter().chain([param]).chain(copy).for_each(|array| array.raw.prefetch());
    }

    #[inline]
    fn are_unmoved(&self, py: Python<'_>) -> bool {
        let Self { param, copy, slots } = self;
        slots.iter().chain([param]).chain(copy).all(|array| array.is_unmoved(py))
    }

    /// All of them, and what each is; `slots` are the numbers of its slots.
    fn all(&self, slots: impl Iterator<Item = usize>) -> impl Iterator<Item = (Tree, &Writable)> {
        let param = if self.copy.is_some() { Tree::Master } else { Tree::Params };
        let copy = self.copy.iter().map(|copy| (Tree::Params, copy));
        slots.map(Tree::Slot).zip(&self.slots).chain([(param, &self.param)]).chain(copy)
    }
}

impl BoundLeaf {
    fn new(
        core: &gradmill_core::Program,
        index: usize,
        skip: u64,
        shape: Shape,
        arrays: Arrays,
        ordered: bool,
    ) -> Self {
        let reads = core.reads_params_of(skip).then(|| arrays.param.raw.dtype());
        let dtype = arrays.slots.iter().map(|slot| slot.raw.dtype()).chain(reads).max();
        let (update, order, apart) = (None, Order::Logical, None);
        Self { index, skip, shape, arrays, update, order, ordered, dtype, apart }
    }

    /// Checks the arrays of this step and keeps the update; whether code other than ours ran, which converted
    /// or copied it.
    #[inline]
    fn take(
        &mut self,
        py: Python<'_>,
        core: &gradmill_core::Program,
        written: &Written,
        update: Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let leaf = self.index;
        let has_shape = || self.arrays.param.raw.shape(py) == &self.shape[..];
        if !self.arrays.are_unmoved(py) || core.has_units() && !has_shape() {
            return Err(self.moved(py, core));
        }
        let place = Place { tree: Tree::Updates, leaf };
        let given = update.as_ptr();
        let mut update = Readable::new(update, place)?;
        let mut others_ran = update.object().as_ptr() != given;
        check_shape(py, core, leaf, &update.raw, Tree::Params, &self.arrays.param.raw)?;
        let span = update.raw.span(false);
        if self.apart != Some((span.start, span.end)) {
            let copy = written.copy_if_between(&update, span, place)?;
            self.apart = copy.is_none().then_some((span.start, span.end));
            others_ran |= copy.is_some();
            update = copy.unwrap_or(update);
        }
        let Arrays { param, copy, slots } = &self.arrays;
        let written = slots.iter().chain([param]).chain(copy).map(|array| &array.raw);
        self.order = Raw::common_order(written.chain([&update.raw]), self.ordered);
        self.update = Some(update.hold());
        Ok(others_ran)
    }

    /// Looks at all arrays of this step once more.
    fn check_unmoved(&self, py: Python<'_>, core: &gradmill_core::Program) -> PyResult<()> {
        let has_shape = || self.arrays.param.raw.shape(py) == &self.shape[..];
        if !self.arrays.are_unmoved(py) || core.has_units() && !has_shape() {
            return Err(self.moved(py, core));
        }
        match &self.update {
            Some(update) if !update.raw.is_unmoved(py) => {
                Err(Place { tree: Tree::Updates, leaf: self.index }.value_error(CHANGED))
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn moved(&self, py: Python<'_>, core: &gradmill_core::Program) -> PyErr {
        let mut all = self.arrays.all(core.slots_of(self.skip));
        let tree =
            all.find(|(_, array)| !array.is_unmoved(py)).map_or(Tree::Params, |(tree, _)| tree);
        let place = Place { tree, leaf: self.index };
        place.value_error("was resized, reshaped, moved or made read-only since it was bound")
    }
}
impl Row for BoundLeaf {
    fn is_present(&self) -> bool {
        self.update.is_some()
    }

    fn prefetch(&self) {
        let Arrays { param, slots, .. } = &self.arrays;
        slots.iter().chain([param]).for_each(|array| array.raw.prefetch_elements());
        self.update.iter().for_each(|update| update.raw.prefetch_elements());
    }

    fn len(&self) -> usize {
        self.arrays.param.raw.len()
    }

    fn skip(&self) -> u64 {
        self.skip
    }

    fn dtype(&self, _: &gradmill_core::Program) -> DType {
        let update = self.update.as_ref().map(|update| update.raw.dtype());
        self.dtype.max(update).unwrap_or(DType::F32).computed_in()
    }

    fn updates<T: Float>(&self) -> Option<&[T]> {
        self.update.as_ref()?.dense(self.order)
    }

    #[inline]
    fn with_dense<T: Float, R>(
        &mut self,
        slots: Range<usize>,
        kernel: impl FnOnce(&[T], &mut [T], &mut [&mut [T]]) -> R,
    ) -> Option<R> {
        let order = self.order;
        let Arrays { param, copy: None, slots: own } = &mut self.arrays else {
            return None;
        };
        let updates = self.update.as_ref()?.dense(order)?;
        let params = param.dense(order)?;
        let mut states = SmallVec::<[&mut [T]; 2]>::new();
        for slot in &mut own[slots] {
            states.push(slot.dense(order)?);
        }
        Some(kernel(updates, params, &mut states))
    }

    fn leaf(&mut self, program: &gradmill_core::Program) -> Leaf<'_> {
        let Self { order, skip, shape, update, arrays, .. } = self;
        let Arrays { param, copy, slots } = arrays;
        let updates = match update {
            Some(update) => update.source(*order),
            None => unreachable!("only leaves that are present are walked over"),
        };
        let mut own = slots.iter_mut();
        let slots = (0..program.slots()).map(|number| {
            let slot = if program.skips_slot(*skip, number) { None } else { own.next() };
            slot.map(|slot| Slot { from: None, to: slot.sink(*order) })
        });
        let params = Params::Write(Slot { from: None, to: param.sink(*order) });
        let leaf = Leaf::new(updates, params, None, slots.collect());
        let copy = copy.as_mut().map(|copy| copy.sink(*order));
        Leaf { skip: *skip, shape, copy, ..leaf }
    }
}
