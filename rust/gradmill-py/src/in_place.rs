//! Programs over arrays that are bound once and then written step after step.

use std::sync::{Mutex, TryLockError};

use gradmill_core::alias::{Span, find_conflict};
use gradmill_core::leaf::{Params, Slot};
use gradmill_core::{Leaf, Step};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use smallvec::SmallVec;

use crate::buffers::{Order, Raw, Readable, Writable};
use crate::fault::{Place, Tree};
use crate::program::{Found, Program, Shape, check_shape, execute, found, shape_for};
use crate::settings::config;

/// A program bound to parameters and state.
#[pyclass(frozen, module = "gradmill._core")]
pub struct InPlace {
    program: Py<Program>,
    leaves: Mutex<Vec<Option<BoundLeaf>>>,
    written: Written,
}

struct BoundLeaf {
    param: Writable,
    slots: SmallVec<[Option<Writable>; 2]>,
    skip: u64,
    shape: Shape,
    /// Memory that an update had and that no array written overlaps; updates tend to come in the same.
    apart: Option<(usize, usize)>,
}

#[pymethods]
impl InPlace {
    /// Binds `params` and, for each slot, a list of arrays; `None` parameters have no leaf.
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
    fn new(
        py: Python<'_>,
        program: Py<Program>,
        params: Bound<'_, PyList>,
        slots: Vec<Bound<'_, PyList>>,
        skip: Option<Vec<u64>>,
    ) -> PyResult<Self> {
        let core = &program.get().core;
        let mut leaves = Vec::with_capacity(params.len());
        for (index, param) in params.iter().enumerate() {
            if param.is_none() {
                leaves.push(None);
                continue;
            }
            let skip = skip.as_ref().and_then(|skip| skip.get(index)).copied().unwrap_or(0);
            let param = Writable::new(&param, Place { tree: Tree::Params, leaf: index })?;
            let shape = shape_for(core, index, skip, &param.raw)?;
            let mut states = SmallVec::new();
            for (number, slot) in slots.iter().enumerate() {
                states.push(if core.skips_slot(skip, number) {
                    None
                } else {
                    let tree = Tree::Slot(number);
                    let state = Writable::new(&slot.get_item(index)?, Place { tree, leaf: index })?;
                    check_shape(core, index, &param.raw, tree, &state.raw)?;
                    Some(state)
                });
            }
            leaves.push(Some(BoundLeaf { param, slots: states, skip, shape, apart: None }));
        }
        let written = Written::new(py, &leaves)?;
        Ok(Self { program, leaves: Mutex::new(leaves), written })
    }

    /// One step: `params` and the slots are overwritten, or nothing is and an error is raised.
    ///
    /// `off` holds the ops that pass all leaves by in this step.
    #[pyo3(signature = (updates, scalars, off=0, threads=0))]
    #[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
    fn step(
        &self,
        py: Python<'_>,
        updates: Bound<'_, PyList>,
        scalars: Vec<f64>,
        off: u64,
        threads: usize,
    ) -> PyResult<Found> {
        let mut leaves = match self.leaves.try_lock() {
            Ok(leaves) => leaves,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(PyRuntimeError::new_err(
                    "another thread is inside a step of this optimizer",
                ));
            }
        };
        if updates.len() != leaves.len() {
            let (got, expected) = (updates.len(), leaves.len());
            return Err(PyValueError::new_err(format!("{got} updates for {expected} params")));
        }
        let core = &self.program.get().core;
        let mut arrays = Vec::with_capacity(leaves.len());
        for (index, (leaf, update)) in leaves.iter_mut().zip(updates.iter()).enumerate() {
            let Some(leaf) = leaf.as_mut().filter(|_| !update.is_none()) else {
                continue;
            };
            leaf.param.refresh(py, Place { tree: Tree::Params, leaf: index })?;
            for (number, slot) in leaf.slots.iter_mut().enumerate() {
                if let Some(slot) = slot {
                    slot.refresh(py, Place { tree: Tree::Slot(number), leaf: index })?;
                }
            }
            let place = Place { tree: Tree::Updates, leaf: index };
            let update = Readable::new(update, place)?;
            check_shape(core, index, &update.raw, Tree::Params, &leaf.param.raw)?;
            let span = update.raw.span(false);
            let update = if leaf.apart == Some((span.start, span.end)) {
                update
            } else {
                let copy = self.written.copy_if_between(&update, span, place)?;
                leaf.apart = copy.is_none().then_some((span.start, span.end));
                copy.unwrap_or(update)
            };
            let states = leaf.slots.iter().flatten().map(|slot| &slot.raw);
            let all = states.chain([&leaf.param.raw, &update.raw]);
            arrays.push((Raw::common_order(all, core.has_order()), update, leaf));
        }
        let mut views: Vec<Leaf<'_>> =
            arrays.iter_mut().map(|(order, update, leaf)| leaf.view(*order, update)).collect();
        let step = Step { scalars: &scalars, off };
        let outcome = execute(py, core, &mut views, step, &config(threads))?;
        drop(views);
        Ok(found(outcome, || {
            let bound = leaves.iter().map(Option::is_some);
            bound.zip(updates.iter()).map(|(bound, update)| bound && !update.is_none()).collect()
        }))
    }
}

impl BoundLeaf {
    fn view<'a>(&'a mut self, order: Order, update: &'a Readable<'_>) -> Leaf<'a> {
        let in_place = |array: &'a mut Writable| Slot { from: None, to: array.sink(order) };
        let params = Params::Write(in_place(&mut self.param));
        let slots = self.slots.iter_mut().map(|slot| slot.as_mut().map(in_place)).collect();
        let leaf = Leaf::new(update.source(order), params, None, slots);
        Leaf { skip: self.skip, shape: &self.shape, ..leaf }
    }
}

/// The memory that a step writes, sorted by address.
struct Written {
    arrays: Vec<(Span, Py<PyAny>)>,
    /// The largest end among this array and those before it.
    reach: Vec<usize>,
}

impl Written {
    fn new(py: Python<'_>, leaves: &[Option<BoundLeaf>]) -> PyResult<Self> {
        let mut owners = Vec::new();
        let mut arrays = Vec::new();
        for (index, leaf) in leaves.iter().enumerate() {
            let Some(leaf) = leaf else { continue };
            let slots = leaf.slots.iter().enumerate();
            let slots =
                slots.filter_map(|(number, slot)| Some((Tree::Slot(number), slot.as_ref()?)));
            for (tree, array) in slots.chain([(Tree::Params, &leaf.param)]) {
                owners.push(Place { tree, leaf: index });
                arrays.push((array.raw.span(true), array.object().clone_ref(py)));
            }
        }
        let spans: Vec<Span> = arrays.iter().map(|(span, _)| *span).collect();
        let mut failed = None;
        let conflict = find_conflict(&spans, |first, second| {
            shares_memory(arrays[first].1.bind(py), arrays[second].1.bind(py)).unwrap_or_else(
                |error| {
                    failed.get_or_insert(error);
                    true
                },
            )
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some((first, second)) = conflict {
            return Err(owners[second].shares_with(owners[first]));
        }
        arrays.sort_by_key(|(span, _)| span.start);
        let reach = arrays.iter().scan(0, |reach, (span, _)| {
            *reach = span.end.max(*reach);
            Some(*reach)
        });
        Ok(Self { reach: reach.collect(), arrays })
    }

    /// A copy of the update where its memory merely interleaves with an array to be written.
    fn copy_if_between<'py>(
        &self,
        update: &Readable<'py>,
        span: Span,
        place: Place,
    ) -> PyResult<Option<Readable<'py>>> {
        let below = self.arrays.partition_point(|(written, _)| written.start < span.end);
        if below == 0 || self.reach[below - 1] <= span.start || span.start == span.end {
            return Ok(None);
        }
        let py = update.object().py();
        for (written, array) in &self.arrays[..below] {
            if written.end > span.start && shares_memory(array.bind(py), update.object())? {
                let message =
                    "shares memory with params or state, which the step overwrites; pass a copy";
                return Err(place.value_error(message));
            }
        }
        let copy = update.object().call_method0(intern!(py, "copy"))?;
        Readable::new(copy, place).map(Some)
    }
}

fn shares_memory(first: &Bound<'_, PyAny>, second: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = first.py();
    py.import(intern!(py, "numpy"))?
        .call_method1(intern!(py, "shares_memory"), (first, second))?
        .extract()
}
