//! Programs over arrays that are bound once and then written step after step.

pub mod halves;

use gradmill_core::number::rng::{self, Key};
use gradmill_core::sys::par::PARALLEL_FROM;
use gradmill_core::{Outcome, Row, Step, Workspace, run_rows};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;
use smallvec::SmallVec;

use self::halves::Parts;
use crate::bound_leaf::{Arrays, BoundLeaf, spend};
use crate::buffers::{Counter, Writable};
use crate::compute::compute;
use crate::fault::{COUNT, COUNT_DURING, Place, Tree, core_error};
use crate::program::{Found, Program, check_shape, check_slot, fitted, found};
use crate::scalars::Scalars;
use crate::settings::config;
use crate::watched::Watched;
use crate::written::Written;

/// A program bound to parameters and state.
#[pyclass(module = "gradmill._core")]
pub struct InPlace {
    program: Py<Program>,
    leaves: Vec<BoundLeaf>,
    /// What half precision is rounded at random with.
    seed: Option<Key>,
    written: Written,
    clocks: Vec<(Option<Counter>, Py<Scalars>)>,
    /// The scalars of all ops: of the last step, or of the one to come where that is planned.
    scalars: SmallVec<[f64; 32]>,
    is_planned: bool,
    watched: Watched,
    /// Where in `leaves` each leaf of the tree is.
    places: Vec<Option<usize>>,
    /// Steps taken.
    pub steps: u64,
    /// Whether a step was taken whose counts the host keeps.
    pub found: bool,
    /// What steps work in, and what the last one found.
    pub workspace: Workspace,
    /// The positions of the updates that the last step zeroed.
    spent: Vec<usize>,
    /// A step that is applied part by part, as far as it has come.
    parts: Option<Parts>,
    /// Whether a step broke off in the middle, which takes a bug, or has not come to its end.
    pub is_torn: bool,
    /// The arrays of hyperparameters that steps have made.
    pub numbers: Vec<Option<Py<PyAny>>>,
}

/// The number of steps taken, the last one included, the first global norm that was taken, whether all updates were
/// finite, where they were asked for the norms of what was added to the parameters and of these before, and a place for
/// the learning rate, which the host knows.
pub type Report = (u64, Option<f64>, bool, Option<f64>, Option<f64>, Option<f64>);

/// How a step runs.
#[derive(Clone, Copy, Default)]
pub struct Manner {
    /// The ops that pass all leaves by, as bits.
    pub off: u64,
    /// The number of threads to ask for, or 0.
    pub threads: usize,
    /// Whether it measures what it adds to the parameters.
    pub measures: bool,
    /// Whether it zeroes the updates that are the caller's own arrays.
    pub spends: bool,
}

/// The count that an op's scalars depend on, if any, and the scalars.
type Clock<'py> = (Option<Bound<'py, PyAny>>, Py<Scalars>);

#[pymethods]
impl InPlace {
    /// Binds `params` and, for each slot, a list of arrays; `None` parameters have no leaf. `clocks` has a row
    /// for each op and for each other member of the chain that counts steps. Where a parameter has a master,
    /// that is what the ops work on, and the parameter receives a copy of it. With a `seed`, half precision is
    /// rounded at random. `watched`: a tree like the parameters of the positions of leaves, the addresses of the
    /// objects at the leaves of theirs (0 for any), and the same for the masters' tree where there is one.
    #[new]
    #[pyo3(signature = (program, params, slots, skip, clocks, watched, masters=None, seed=None))]
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
        watched: (Py<PyAny>, Vec<usize>, Option<Vec<usize>>),
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
                copy = Some(Box::new(std::mem::replace(&mut param, master)));
            }
            let (skip, shape) = fitted(py, core, index, skip, &param.raw)?;
            let (mut states, mut unit_slots) = (SmallVec::new(), Vec::new());
            for number in core.slots_of(skip) {
                let place = Place { tree: Tree::Slot(number), leaf: index };
                let array = slots.get(number).map(|slot| slot.get_item(index)).transpose()?;
                let array = array.as_ref().unwrap_or(param.object(py));
                let is_of_units = number >= core.slots();
                let make = if is_of_units { Writable::new } else { Writable::state };
                let state = make(array, place)?;
                check_slot(py, core, number, index, (&param.raw, &shape), &state.raw)?;
                if is_of_units { unit_slots.push(state) } else { states.push(state) }
            }
            let arrays = Arrays { param, copy, slots: states, unit_slots };
            leaves.push(BoundLeaf::new(core, index, skip, &shape, arrays, ordered));
        }
        let arrays = leaves.iter().flat_map(|leaf| {
            let place = |tree| Place { tree, leaf: leaf.index };
            leaf.arrays.all(core.slots_of(leaf.skip)).map(move |(tree, array)| (place(tree), array))
        });
        let what = "params or state, which the step overwrites";
        let written = Written::new(py, arrays, what)?;
        let count = |(count, scalars): Clock<'_>| {
            let misfit = || PyTypeError::new_err("count must be an int32 array without axes");
            let counter = count.map(|count| Counter::new(&count).ok_or_else(misfit)).transpose();
            counter.map(|counter| (counter, scalars))
        };
        let clocks = clocks.into_iter().map(count).collect::<PyResult<_>>()?;
        let watched = Watched::new(watched.0, watched.1, watched.2);
        let mut places = vec![None; params.len()];
        for (place, leaf) in leaves.iter().enumerate() {
            places[leaf.index] = Some(place);
        }
        Ok(Self {
            program,
            leaves,
            seed,
            written,
            clocks,
            scalars: SmallVec::new(),
            is_planned: false,
            watched,
            places,
            steps: 0,
            found: false,
            workspace: Workspace::default(),
            spent: Vec::new(),
            parts: None,
            is_torn: false,
            numbers: Vec::new(),
        })
    }

    /// Whether the trees of parameters and masters are seen at once to hold what is bound.
    fn holds(
        slf: &Bound<'_, Self>,
        params: &Bound<'_, PyAny>,
        master: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        Ok(exclusive(slf)?.watched.hold(params, master))
    }

    /// A step with `updates` in a tree like those of the last step, as `step` takes it with a list of them. None,
    /// with nothing written, where the trees or their arrays want a closer look, or something is wrong with them.
    /// `threads` gives their number, and is called where there is work for several.
    fn step_soon(
        slf: &Bound<'_, Self>,
        params: &Bound<'_, PyAny>,
        master: &Bound<'_, PyAny>,
        updates: &Bound<'_, PyAny>,
        threads: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Report>> {
        let py = slf.py();
        let this = &mut *exclusive(slf)?;
        if this.is_torn {
            return Ok(None);
        }
        // Schedules are code of the user's, which could change any array that has been looked at.
        this.plan(py)?;
        let Some(elements) = this.take_soon(params, master, updates) else { return Ok(None) };
        let threads = this.threads_for(elements, threads)?;
        this.step_by_plan(py, elements, Manner { threads, ..Manner::default() }).map(Some)
    }

    /// One step: `params` and the slots are overwritten and the counts go up, or nothing happens and an
    /// error is raised.
    #[pyo3(signature = (updates, threads=0, measures=false, spends=false))]
    fn step(
        slf: &Bound<'_, Self>,
        updates: &Bound<'_, PyList>,
        threads: usize,
        measures: bool,
        spends: bool,
    ) -> PyResult<Report> {
        let py = slf.py();
        let this = &mut *exclusive(slf)?;
        this.check_whole()?;
        if !this.is_planned {
            this.plan(py)?;
        }
        let elements = this.take(updates)?;
        this.step_by_plan(py, elements, Manner { off: 0, threads, measures, spends })
    }

    /// Notes the structures of trees, so that the next ones like them are recognised by `step_soon`.
    fn learn(
        slf: &Bound<'_, Self>,
        params: &Bound<'_, PyAny>,
        master: &Bound<'_, PyAny>,
        updates: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        exclusive(slf)?.watched.learn(params, master, updates);
        Ok(())
    }

    /// As `step`, with the scalars of all ops in a row, where the host keeps the counts. `off` holds the ops
    /// that pass all leaves by in this step. What was found is there to be asked for by `last`.
    #[pyo3(signature = (updates, scalars, off=0, threads=0, measures=false, spends=false))]
    fn step_with(
        slf: &Bound<'_, Self>,
        updates: &Bound<'_, PyList>,
        scalars: &Bound<'_, PyList>,
        off: u64,
        threads: usize,
        measures: bool,
        spends: bool,
    ) -> PyResult<()> {
        let this = &mut *exclusive(slf)?;
        let scalars = scalars.iter().map(|scalar| scalar.extract());
        let scalars = scalars.collect::<PyResult<SmallVec<[f64; 32]>>>()?;
        let elements = this.take(updates)?;
        this.run_given(
            updates.py(),
            elements,
            &scalars,
            Manner { off, threads, measures, spends },
        )?;
        this.found = true;
        Ok(())
    }

    /// The positions of the updates that the last step zeroed.
    fn spent(slf: &Bound<'_, Self>) -> PyResult<Vec<usize>> {
        Ok(exclusive(slf)?.spent.clone())
    }

    /// The norms of what the last step added to the parameters and of these before, where it was asked for them.
    fn sizes(slf: &Bound<'_, Self>) -> PyResult<Option<[f64; 2]>> {
        Ok(exclusive(slf)?.workspace.outcome.sizes)
    }

    /// The number of steps taken, and what the last one found that was taken by `step_with`.
    fn last<'py>(slf: &Bound<'py, Self>) -> PyResult<(u64, Option<Found<'py>>)> {
        let this = exclusive(slf)?;
        let places = || this.leaves.iter().map(|leaf| leaf.index);
        let found = || found(slf.py(), &this.workspace.outcome, this.places.len(), places);
        Ok((this.steps, this.found.then(found).transpose()?))
    }

    /// Arrays of floats and programs refer to nothing that could refer to this; schedules and keys do.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.watched.traverse(&visit)?;
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
        (this.steps, this.is_torn, this.parts) = (steps, false, None);
        Ok(())
    }
}

pub fn exclusive<'py>(slf: &Bound<'py, InPlace>) -> PyResult<PyRefMut<'py, InPlace>> {
    slf.try_borrow_mut()
        .map_err(|_| PyRuntimeError::new_err("another thread is inside a step of this optimizer"))
}

impl InPlace {
    /// # Errors
    /// A step broke off in the middle.
    fn check_whole(&self) -> PyResult<()> {
        let why = if self.parts.is_some() { NOT_ALL } else { TORN };
        if self.is_torn { Err(PyRuntimeError::new_err(why)) } else { Ok(()) }
    }

    /// Makes the scalars of the step to come.
    fn plan(&mut self, py: Python<'_>) -> PyResult<()> {
        self.is_planned = false;
        self.scalars.clear();
        for (leaf, (count, row)) in self.clocks.iter().enumerate() {
            let count = count.as_ref().map_or(Some(0), |count| count.get(py));
            let count =
                count.ok_or_else(|| Place { tree: Tree::Count, leaf }.value_error(COUNT))?;
            let count = count.max(0).unsigned_abs().into();
            row.get().each(py, count, |scalar| self.scalars.push(scalar))?;
        }
        self.is_planned = true;
        Ok(())
    }

    /// The step that is planned, and its counts, with updates that are taken.
    fn step_by_plan(
        &mut self,
        py: Python<'_>,
        elements: usize,
        manner: Manner,
    ) -> PyResult<Report> {
        self.is_planned = false;
        self.check_counts(py).inspect_err(|_| self.release(py))?;
        self.run(py, elements, manner)?;
        self.count_on(py)?;
        Ok(self.report())
    }

    /// Counts a step that was taken.
    fn count_on(&mut self, py: Python<'_>) -> PyResult<()> {
        for (leaf, (count, _)) in self.clocks.iter().enumerate() {
            if count.as_ref().is_some_and(|count| !count.advance(py)) {
                self.is_torn = true;
                return Err(Place { tree: Tree::Count, leaf }.value_error(COUNT_DURING));
            }
        }
        Ok(())
    }

    /// Runs the program with scalars that are given, over updates that are taken. Counts are others' affair.
    pub fn run_given(
        &mut self,
        py: Python<'_>,
        elements: usize,
        scalars: &[f64],
        manner: Manner,
    ) -> PyResult<()> {
        (self.is_planned, self.found) = (false, false);
        self.scalars.clear();
        self.scalars.extend_from_slice(scalars);
        self.run(py, elements, manner)
    }

    /// What the last step found.
    pub fn report(&self) -> Report {
        let Outcome { norms, finite, sizes, .. } = &self.workspace.outcome;
        let norm = norms.iter().copied().flatten().next();
        let [update, param] = sizes.map_or([None; 2], |sizes| sizes.map(Some));
        (self.steps, norm, *finite, update, param, None)
    }

    /// Runs the program over updates that are taken, with the scalars that are there, and lets go of them.
    fn run(&mut self, py: Python<'_>, elements: usize, manner: Manner) -> PyResult<()> {
        let rounding = self.seed.map(|seed| rng::split(seed, self.steps));
        let Manner { off, threads, measures, spends } = manner;
        self.spent.clear();
        if spends {
            spend(py, &mut self.leaves, &mut self.spent).inspect_err(|_| self.release(py))?;
        }
        let Self { program, leaves, scalars, workspace, .. } = self;
        let step = Step { scalars, off, rounding, measures, spends, ..Step::default() };
        let (core, config) = (&program.get().core, config(threads));
        let outcome = compute(py, elements, || run_rows(core, leaves, step, &config, workspace));
        self.is_torn = outcome.is_err();
        self.release(py);
        outcome?.map_err(|error| core_error(&error))?;
        self.steps += 1;
        Ok(())
    }

    /// How many threads to ask for in a step with so many elements; `asked` gives the number, and is called where
    /// there is work for several. Lets go of updates where it fails.
    pub fn threads_for(&mut self, elements: usize, asked: &Bound<'_, PyAny>) -> PyResult<usize> {
        if elements < PARALLEL_FROM {
            return Ok(1);
        }
        let count = asked.call0().and_then(|count| count.extract());
        count.inspect_err(|_| self.release(asked.py()))
    }

    /// Lets go of updates that are taken.
    pub fn release(&mut self, py: Python<'_>) {
        self.leaves.iter_mut().for_each(|leaf| leaf.release(py));
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
    pub fn take(&mut self, updates: &Bound<'_, PyList>) -> PyResult<usize> {
        self.check_whole()?;
        self.take_all(updates).inspect_err(|_| self.release(updates.py()))
    }

    /// Checks all arrays of a step and keeps the updates, which come in a tree like those of the last step; the number of
    /// elements. None where the trees or their arrays want a closer look.
    pub fn take_soon(
        &mut self,
        params: &Bound<'_, PyAny>,
        master: &Bound<'_, PyAny>,
        updates: &Bound<'_, PyAny>,
    ) -> Option<usize> {
        let are_known = !self.is_torn && self.watched.hold(params, master);
        let taken = are_known.then(|| self.take_plain(updates)).flatten();
        if taken.is_none() {
            self.release(updates.py());
        }
        taken
    }

    fn take_all(&mut self, updates: &Bound<'_, PyList>) -> PyResult<usize> {
        let py = updates.py();
        let Self { program, leaves, places, written, .. } = self;
        if updates.len() != places.len() {
            let (got, tree) = (updates.len(), places.len());
            return Err(PyValueError::new_err(format!("{got} updates for {tree} params")));
        }
        let core = &program.get().core;
        let mut elements = 0;
        let mut others_ran = false;
        for at in 0..leaves.len() {
            // Array objects lie scattered; those of leaves to come arrive while this one is looked at.
            if let Some(later) = leaves.get(at + AHEAD) {
                later.prefetch_objects();
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

    /// Checks all arrays of a step and keeps the updates, where they are as those of the last step were, or arrays
    /// that no code of others has to look at; the number of elements.
    fn take_plain(&mut self, updates: &Bound<'_, PyAny>) -> Option<usize> {
        let py = updates.py();
        let Self { program, leaves, places, written, watched, .. } = self;
        let core = &program.get().core;
        let mut elements = 0;
        let taken = watched.each_update(updates, |at, update| match places[at] {
            Some(place) => {
                // Array objects lie scattered; those of leaves to come arrive while this one is looked at.
                if let Some(later) = leaves.get(place + AHEAD) {
                    later.prefetch_objects();
                }
                let leaf = &mut leaves[place];
                update.is_none() || {
                    elements += leaf.len();
                    leaf.take_plain(py, core, written, update)
                }
            }
            None => update.is_none() || watched.is_free(at),
        });
        taken.then_some(elements)
    }
}

/// What an optimizer refuses to go on with.
const TORN: &str =
    "an earlier step broke off in the middle; restore params, and the state with init_from";

/// What it refuses to go on with where that can be mended.
const NOT_ALL: &str = "a step has parts that are not applied yet: apply them, or restore params, and the state with init_from";

/// How many leaves ahead array objects are asked for.
const AHEAD: usize = 8;
