//! Steps whose host is written down, and functional ones over whole trees of a known pattern.

use gradmill_core::Step;
use gradmill_core::sys::mode::in_default_mode;
use pyo3::prelude::*;

use crate::fault::{COUNT, COUNT_DURING, Place, Tree};
use crate::host::{Host, Moved};
use crate::in_place::{InPlace, Manner, Report, exclusive};
use crate::nest::Nest;
use crate::program::{Given, Program, Updated};
use crate::sums::added;

/// What a step has found, and numbers that have moved.
type Stepped<'py> = (Report, Moved<'py>);

/// One step in place over trees like those of the last one, with all that the host does as `host` has it; `states` are
/// those of the links. None where it is for Python to take the step. `leaves_of` gives the updates as a list where the trees want a closer look.
///
/// `wide` says whether a number that was assigned is stored in float64. Numbers that lie in other arrays from now on are
/// to be put into their places. `measures` is whether the step measures what it adds to the parameters, `spends` whether it zeroes
/// the updates.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
#[expect(clippy::too_many_arguments, reason = "a call from Python")]
pub fn step_by<'py>(
    bound: &Bound<'py, InPlace>,
    trees: [Bound<'py, PyAny>; 3],
    leaves_of: &Bound<'py, PyAny>,
    host: &Bound<'py, Host>,
    states: &Bound<'py, PyAny>,
    wide: bool,
    threads: &Bound<'py, PyAny>,
    measures: bool,
    spends: bool,
) -> PyResult<Option<Stepped<'py>>> {
    let (py, host) = (bound.py(), host.get());
    let [params, master, updates] = &trees;
    let mut this = exclusive(bound)?;
    let Some(mut plan) = host.plan(states, Some(wide))? else { return Ok(None) };
    if host.closed(&plan).is_some() {
        return Ok(None);
    }
    let elements = if let Some(elements) = this.take_soon(params, master, updates) {
        elements
    } else {
        drop(this);
        let leaves = leaves_of.call1((updates,))?;
        this = exclusive(bound)?;
        this.take(leaves.cast()?)?
    };
    let threads = this.threads_for(elements, threads)?;
    let locked = |leaf, problem: &str| Place { tree: Tree::Count, leaf }.value_error(problem);
    // Code of the user's may have run since.
    if let Some(link) = host.closed(&plan) {
        this.release(py);
        return Err(locked(link, COUNT));
    }
    this.run_given(
        py,
        elements,
        &plan.scalars,
        Manner { off: plan.off, threads, measures, spends },
    )?;
    let this = &mut *this;
    host.advance(py, &mut plan, &this.workspace.outcome.all_finite)?;
    let moved = match in_default_mode(|| host.write(py, &plan, &mut this.numbers)) {
        Ok((None, moved)) => moved,
        Ok((Some(link), _)) => {
            this.is_torn = true;
            return Err(locked(link, COUNT_DURING));
        }
        Err(error) => {
            this.is_torn = true;
            return Err(error);
        }
    };
    Ok(Some((this.report(), moved)))
}

/// New updates and the new state.
type NewTrees<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Sends `updates` through a program whose host is written down; writes to nothing that it was given. None where the
/// trees have another pattern than `nest`, or the host has to ask Python.
///
/// `wide` says whether a number that was assigned is stored in float64; with None, none may have been.
#[pyfunction]
#[pyo3(signature = (program, host, nest, updates, params, state, wide=None, threads=0))]
#[expect(clippy::too_many_arguments, reason = "a call from Python")]
pub fn update_trees<'py>(
    py: Python<'py>,
    program: &Bound<'py, Program>,
    host: &Bound<'py, Host>,
    nest: &Bound<'py, Nest>,
    updates: &Bound<'py, PyAny>,
    params: Option<&Bound<'py, PyAny>>,
    state: &Bound<'py, PyAny>,
    wide: Option<bool>,
    threads: usize,
) -> PyResult<Option<NewTrees<'py>>> {
    let (program, host, nest) = (program.get(), host.get(), nest.get());
    let Some(updates) = nest.arrays(updates)? else { return Ok(None) };
    let params = match params {
        None => None,
        Some(params) => match nest.arrays(params)? {
            None => return Ok(None),
            taken => taken,
        },
    };
    let Some(mut plan) = host.plan(state, wide)? else { return Ok(None) };
    let mut slots = Vec::with_capacity(host.slots.len());
    for &slot in &host.slots {
        let Some(slot) = nest.arrays(&plan.leaves[slot])? else { return Ok(None) };
        slots.push(slot);
    }
    let given = Given { updates: &updates, params: params.as_deref(), slots: &slots };
    let step = Step { scalars: &plan.scalars, off: plan.off, ..Step::default() };
    let Updated { updates, slots, finite, .. } = program.run(py, &given, None, step, threads)?;
    host.advance(py, &mut plan, &finite)?;
    in_default_mode(|| host.renew(py, &mut plan))?;
    for (&at, slot) in host.slots.iter().zip(slots) {
        plan.leaves[at] = nest.built(py, slot)?;
    }
    Ok(Some((nest.built(py, updates)?, host.state(py, plan)?)))
}

/// `params + updates` for trees of the pattern `nest`; None for other ones.
#[pyfunction]
#[pyo3(signature = (nest, params, updates, threads=0))]
pub fn apply_trees<'py>(
    py: Python<'py>,
    nest: &Bound<'py, Nest>,
    params: &Bound<'py, PyAny>,
    updates: &Bound<'py, PyAny>,
    threads: usize,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let nest = nest.get();
    let Some(params) = nest.arrays(params)? else { return Ok(None) };
    let Some(updates) = nest.arrays(updates)? else { return Ok(None) };
    let is_without = |(param, update): (&Bound<'py, PyAny>, &Bound<'py, PyAny>)| {
        param.is_none() && !update.is_none()
    };
    if params.iter().zip(&updates).any(is_without) {
        return Ok(None);
    }
    nest.built(py, added(py, params, updates, threads)?).map(Some)
}
