//! Steps in halves: what ops over the tree add up, part by part, and then parameters and state, part by part.

use std::ops::Range;

use gradmill_core::number::rng;
use gradmill_core::{Outcome, Row, Squares, Step, gathered, run_rows};
use pyo3::prelude::*;

use super::{InPlace, Report, exclusive};
use crate::bound_leaf::BoundLeaf;
use crate::compute::compute;
use crate::fault::core_error;
use crate::settings::config;

/// What an op over the tree adds up of one leaf, or of all.
type Sums = [f64; 3];

/// A step that comes in halves.
#[derive(FromPyObject)]
pub struct Half {
    /// The scalars of all ops in a row.
    scalars: Vec<f64>,
    /// The ops that pass all leaves by, as bits.
    off: u64,
    /// Whether the core counts steps.
    counts: bool,
    /// The leaves that have no update.
    absent: Vec<usize>,
    /// What the first ops over the tree have added up.
    known: Vec<Sums>,
}

/// What is applied of a step.
#[derive(Default)]
pub struct Parts {
    /// What it found.
    outcome: Outcome,
    /// The leaves that are written.
    written: Vec<usize>,
}

/// Updates of some leaves, each with the position of its own.
type Part<'py> = Vec<(usize, Bound<'py, PyAny>)>;

/// The scalars of the step to come, where the core counts steps.
#[pyfunction]
pub fn half_plan(bound: &Bound<'_, InPlace>) -> PyResult<Vec<f64>> {
    let this = &mut *exclusive(bound)?;
    this.check_whole()?;
    this.plan(bound.py())?;
    this.is_planned = false;
    Ok(this.scalars.to_vec())
}

/// For each of these updates what the next op over the tree adds up of it, in the order of leaves; nothing where there is
/// none left. `before` is what the one before it has added up of the same. All are checked as for a step, and nothing is
/// written.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
pub fn half_sums(
    bound: &Bound<'_, InPlace>,
    updates: Part<'_>,
    half: Half,
    before: Vec<Sums>,
    threads: usize,
) -> PyResult<Vec<Sums>> {
    let py = bound.py();
    let this = &mut *exclusive(bound)?;
    let elements = this.take_part(py, &updates)?;
    let InPlace { program, leaves, seed, steps, .. } = this;
    let (core, config) = (&program.get().core, config(threads));
    let known = known(&half);
    let before: Vec<Squares> = before.into_iter().map(from_sums).collect();
    let rounding = seed.map(|seed| rng::split(seed, *steps));
    let mut sums = Vec::new();
    let done = compute(py, elements, || {
        let Some(op) = core.spanning().nth(known.len()) else { return Ok(()) };
        for group in groups(core, leaves, &half, rounding.is_some()) {
            let noise_before = noise_before(core, leaves, &half, group.start);
            let Half { scalars, off, .. } = &half;
            let step = Step {
                scalars,
                off: *off,
                known: &known,
                noise_before: &noise_before,
                ..Step::default()
            };
            let own = gathered(core, &mut leaves[group], op, step, &before, &config)?;
            sums.extend(own.into_iter().map(to_sums));
        }
        Ok(())
    });
    this.release(py);
    done?.map_err(|error| core_error(&error))?;
    Ok(sums)
}

/// What an op over the tree has added up, of what it has added up of each leaf.
#[pyfunction]
pub fn half_total(rows: Vec<Sums>) -> Sums {
    to_sums(Squares::of_tree(rows.into_iter().map(from_sums)))
}

/// Writes the parameters and the state of these leaves, once all that is gathered over the tree is known. Until the step
/// ends the optimizer is no whole.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
pub fn half_apply(
    bound: &Bound<'_, InPlace>,
    updates: Part<'_>,
    half: Half,
    threads: usize,
) -> PyResult<()> {
    let py = bound.py();
    let this = &mut *exclusive(bound)?;
    if this.parts.is_none() {
        this.check_whole()?;
    }
    let elements = this.take_part(py, &updates)?;
    if half.counts {
        this.check_counts(py).inspect_err(|_| this.release(py))?;
    }
    let rounding = this.seed.map(|seed| rng::split(seed, this.steps));
    let known = known(&half);
    let InPlace { program, leaves, workspace, parts, is_torn, .. } = this;
    let (core, config) = (&program.get().core, config(threads));
    let mut has_begun = false;
    let done = compute(py, elements, || {
        for group in groups(core, leaves, &half, rounding.is_some()) {
            let noise_before = noise_before(core, leaves, &half, group.start);
            let Half { scalars, off, .. } = &half;
            let step = Step {
                scalars,
                off: *off,
                known: &known,
                rounding,
                noise_before: &noise_before,
                leaves_before: count_before(leaves, &half, group.start, |_| true),
                ..Step::default()
            };
            run_rows(core, &mut leaves[group.clone()], step, &config, workspace)?;
            has_begun = true;
            let parts = parts.get_or_insert_default();
            parts.outcome.join(workspace.outcome.clone(), group.start, leaves.len());
            let active = leaves[group].iter().filter(|leaf| leaf.is_active());
            parts.written.extend(active.map(|leaf| leaf.index));
        }
        Ok(())
    });
    // An error before the first write leaves all as it was; one behind it cannot be mended.
    if done.is_err() || has_begun && matches!(done, Ok(Err(_))) {
        (*parts, *is_torn) = (None, true);
    } else {
        *is_torn = parts.is_some();
    }
    this.release(py);
    done?.map_err(|error| core_error(&error))
}

/// The leaves that are written of a step that has not come to its end.
#[pyfunction]
pub fn half_written(bound: &Bound<'_, InPlace>) -> PyResult<Vec<usize>> {
    let parts = &exclusive(bound)?.parts;
    Ok(parts.as_ref().map_or_else(Vec::new, |parts| parts.written.clone()))
}

/// Counts a step of which all parts are written.
#[pyfunction]
pub fn half_end(bound: &Bound<'_, InPlace>, counts: bool) -> PyResult<Report> {
    let this = &mut *exclusive(bound)?;
    if counts {
        this.count_on(bound.py())?;
    }
    this.workspace.outcome = this.parts.take().unwrap_or_default().outcome;
    (this.is_torn, this.found) = (false, true);
    this.steps += 1;
    Ok(this.report())
}

impl InPlace {
    /// Checks the arrays of some leaves and keeps their updates; the number of elements.
    fn take_part(&mut self, py: Python<'_>, updates: &Part<'_>) -> PyResult<usize> {
        self.take_each(py, updates).inspect_err(|_| self.release(py))
    }

    fn take_each(&mut self, py: Python<'_>, updates: &Part<'_>) -> PyResult<usize> {
        let Self { program, leaves, places, written, .. } = self;
        let core = &program.get().core;
        let (mut elements, mut others_ran) = (0, false);
        for (index, update) in updates {
            if let Some(&Some(place)) = places.get(*index) {
                others_ran |= leaves[place].take(py, core, written, update.clone())?;
                elements += leaves[place].len();
            }
        }
        if others_ran {
            leaves.iter().try_for_each(|leaf| leaf.check_unmoved(py, core))?;
        }
        Ok(elements)
    }
}

/// The ranges of leaves that run together. Where random numbers are drawn, by leaf, one has no gap: each leaf in it takes
/// part, or has no update in this step.
fn groups(
    core: &gradmill_core::Program,
    leaves: &[BoundLeaf],
    half: &Half,
    rounds: bool,
) -> Vec<Range<usize>> {
    if !rounds && core.noises().next().is_none() {
        return std::iter::once(0..leaves.len()).collect();
    }
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut is_open = false;
    for (at, leaf) in leaves.iter().enumerate() {
        if leaf.is_active() {
            match groups.last_mut() {
                Some(last) if is_open => last.end = at + 1,
                _ => groups.push(at..at + 1),
            }
            is_open = true;
        } else if !half.absent.contains(&leaf.index) {
            is_open = false;
        }
    }
    if groups.is_empty() {
        groups.push(0..0);
    }
    groups
}

/// How many leaves before the one at `start` take part in the step, of those that `counts`.
fn count_before(
    leaves: &[BoundLeaf],
    half: &Half,
    start: usize,
    counts: impl Fn(&BoundLeaf) -> bool,
) -> u64 {
    let before = leaves[..start].iter();
    let taken = before.filter(|leaf| !half.absent.contains(&leaf.index) && counts(leaf));
    taken.count() as u64
}

/// For each op that draws random numbers, how many leaves before the one at `start` it draws for.
fn noise_before(
    core: &gradmill_core::Program,
    leaves: &[BoundLeaf],
    half: &Half,
    start: usize,
) -> Vec<u64> {
    let draws = |op: usize| count_before(leaves, half, start, |leaf| leaf.skip >> op & 1 == 0);
    core.noises().map(draws).collect()
}

fn known(half: &Half) -> Vec<Squares> {
    half.known.iter().copied().map(from_sums).collect()
}

fn from_sums([sum, smaller, larger]: Sums) -> Squares {
    Squares { sum, smaller, larger }
}

fn to_sums(Squares { sum, smaller, larger }: Squares) -> Sums {
    [sum, smaller, larger]
}
