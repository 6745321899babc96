//! Programs over lists of arrays, without writing to any of them.

use gradmill_core::leaf::{Params, Slot};
use gradmill_core::{Config, Entry, Leaf, Outcome, Source, Step, run};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use smallvec::SmallVec;

use crate::buffers::{Fresh, Order, Raw, Readable};
use crate::compute::compute;
use crate::fault::{Place, Tree, core_error};
use crate::settings::config;

/// The lengths of a leaf's axes.
pub type Shape = SmallVec<[usize; 4]>;

/// A chain of ops, validated once.
#[pyclass(frozen, module = "gradmill._core")]
pub struct Program {
    pub core: gradmill_core::Program,
}

/// New updates, new slots, and what was found.
type Updated<'py> = (Bound<'py, PyList>, Vec<Bound<'py, PyList>>, Found<'py>);

/// The global norms, whether all incoming updates were finite, and where ops ask for them: whether all
/// updates that reach the op are finite, and which leaves have a NaN.
pub type Found<'py> = (Bound<'py, PyList>, bool, Option<(Bound<'py, PyList>, Bound<'py, PyList>)>);

/// The outcome for a tree of so many leaves, of which those at `places`, in ascending order, went into the program.
pub fn found<'py, P: Iterator<Item = usize>>(
    py: Python<'py>,
    outcome: &Outcome,
    tree: usize,
    places: impl Fn() -> P,
) -> PyResult<Found<'py>> {
    let Outcome { norms, all_finite, nans, finite } = outcome;
    let norms = PyList::new(py, norms)?;
    if all_finite.is_empty() && nans.is_empty() {
        return Ok((norms, *finite, None));
    }
    let lists = PyList::empty(py);
    for flags in nans.lists() {
        let mut flags = places().zip(flags).peekable();
        let has_nan =
            |leaf| flags.next_if(|(place, _)| *place == leaf).is_some_and(|(_, &has)| has);
        lists.append(PyList::new(py, (0..tree).map(has_nan))?)?;
    }
    Ok((norms, *finite, Some((PyList::new(py, all_finite)?, lists))))
}

#[pymethods]
impl Program {
    /// Takes for each op its name, how many ops behind it it governs, and the axes of its units.
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
    fn new(ops: Vec<(String, usize, Option<Vec<isize>>)>) -> PyResult<Self> {
        let entries = ops.iter().map(|(name, governs, axes)| Entry {
            name,
            governs: *governs,
            axes: axes.clone(),
        });
        let core = gradmill_core::Program::new(entries);
        Ok(Self { core: core.map_err(|error| core_error(&error))? })
    }

    /// The passes as dicts: indices of the ops, source ("updates" or "carried"), the op that has to know
    /// something of the update the pass ends with or None, whether it leaves the update behind for the
    /// next, and whether it is one loop in a step with these scalars.
    #[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
    fn passes<'py>(&self, py: Python<'py>, scalars: Vec<f64>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.core.check_scalars(&scalars).map_err(|error| core_error(&error))?;
        let describe = |pass: &gradmill_core::Pass| {
            let entry = PyDict::new(py);
            entry.set_item("ops", pass.ops.clone().collect::<Vec<_>>())?;
            let source = match pass.source {
                Source::Updates => "updates",
                Source::Carried => "carried",
            };
            entry.set_item("source", source)?;
            entry.set_item("ends_for", pass.ends_for)?;
            entry.set_item("carries", pass.carries)?;
            entry.set_item("fused", self.core.is_fused(pass, &scalars))?;
            Ok(entry)
        };
        self.core.passes().iter().map(describe).collect()
    }

    /// Whether any op reads the parameters.
    #[getter]
    fn reads_params(&self) -> bool {
        self.core.reads_params()
    }

    /// Sends `updates` through the chain and writes to nothing that it was given.
    ///
    /// All lists run over the leaves; `slots` holds one for each slot, `skip` a bit set of ops that pass
    /// the leaf by. `off` holds the ops that pass all of them by. A `None` update leaves its leaf as it is.
    #[pyo3(signature = (updates, params, slots, skip, scalars, off=0, threads=0))]
    #[expect(
        clippy::needless_pass_by_value,
        clippy::too_many_arguments,
        reason = "a call from Python"
    )]
    fn update<'py>(
        &self,
        py: Python<'py>,
        updates: Bound<'py, PyList>,
        params: Option<Bound<'py, PyList>>,
        slots: Vec<Bound<'py, PyList>>,
        skip: Option<Vec<u64>>,
        scalars: Vec<f64>,
        off: u64,
        threads: usize,
    ) -> PyResult<Updated<'py>> {
        let mut leaves = Vec::with_capacity(updates.len());
        for (index, update) in updates.iter().enumerate() {
            if update.is_none() {
                continue;
            }
            let skip = skip.as_ref().and_then(|skip| skip.get(index)).copied().unwrap_or(0);
            let param = params.as_ref().map(|params| params.get_item(index)).transpose()?;
            let old = slots.iter().map(|slot| slot.get_item(index)).collect::<PyResult<_>>()?;
            leaves.push(PureLeaf::new(&self.core, index, skip, update, param, old)?);
        }
        Readable::check_unmoved(leaves.iter().flat_map(PureLeaf::read))?;
        let mut views: Vec<Leaf<'_>> = leaves.iter_mut().map(PureLeaf::view).collect();
        let step = Step { scalars: &scalars, off, ..Step::default() };
        let outcome = execute(py, &self.core, &mut views, step, &config(threads))?;
        drop(views);
        let places = || leaves.iter().map(|leaf| leaf.index);
        let found = found(py, &outcome, updates.len(), places)?;

        let mut done = leaves.into_iter().peekable();
        let mut out = Vec::with_capacity(updates.len());
        let mut new_slots = vec![Vec::with_capacity(updates.len()); slots.len()];
        for index in 0..updates.len() {
            let leaf = done.next_if(|leaf| leaf.index == index);
            for (number, (slot, new)) in slots.iter().zip(&mut new_slots).enumerate() {
                new.push(match leaf.as_ref().and_then(|leaf| leaf.slots[number].as_ref()) {
                    Some((_, fresh)) => fresh.object().clone(),
                    None => slot.get_item(index)?,
                });
            }
            out.push(leaf.map(|leaf| leaf.out.object().clone()));
        }
        let new_slots =
            new_slots.into_iter().map(|slot| PyList::new(py, slot)).collect::<PyResult<_>>()?;
        Ok((PyList::new(py, out)?, new_slots, found))
    }
}

/// The arrays of a leaf that is not updated in place.
struct PureLeaf<'py> {
    index: usize,
    skip: u64,
    shape: Shape,
    order: Order,
    update: Readable<'py>,
    param: Option<Readable<'py>>,
    out: Fresh<'py>,
    slots: SmallVec<[Option<(Readable<'py>, Fresh<'py>)>; 2]>,
}

impl<'py> PureLeaf<'py> {
    fn new(
        program: &gradmill_core::Program,
        index: usize,
        skip: u64,
        update: Bound<'py, PyAny>,
        param: Option<Bound<'py, PyAny>>,
        slots: SmallVec<[Bound<'py, PyAny>; 2]>,
    ) -> PyResult<Self> {
        let py = update.py();
        let update = Readable::new(update, Place { tree: Tree::Updates, leaf: index })?;
        let shape = shape_for(py, program, index, skip, &update.raw)?;
        let param = match param {
            Some(param) if program.reads_params_of(skip) => {
                let param = Readable::new(param, Place { tree: Tree::Params, leaf: index })?;
                check_shape(py, program, index, &update.raw, Tree::Params, &param.raw)?;
                Some(param)
            }
            _ => None,
        };
        let old = slots
            .into_iter()
            .enumerate()
            .map(|(number, slot)| {
                if program.skips_slot(skip, number) {
                    return Ok(None);
                }
                let tree = Tree::Slot(number);
                let slot = Readable::new(slot, Place { tree, leaf: index })?;
                check_shape(py, program, index, &update.raw, tree, &slot.raw)?;
                Ok(Some(slot))
            })
            .collect::<PyResult<SmallVec<[Option<Readable<'py>>; 2]>>>()?;
        let arrays = || old.iter().flatten().chain(&param).chain([&update]).map(|array| &array.raw);
        let dtype = arrays().map(Raw::dtype).fold(update.raw.dtype().computed_in(), Ord::max);
        let out = Fresh::like(&update, dtype)?;
        // Row by row whatever the old state is: what saves it may know no other order.
        let fresh = |old: Readable<'py>| {
            Fresh::new(py, old.raw.shape(py), old.raw.dtype()).map(|new| (old, new))
        };
        let slots = old
            .into_iter()
            .map(|old| old.map(fresh).transpose())
            .collect::<PyResult<SmallVec<[Option<(Readable<'py>, Fresh<'py>)>; 2]>>>()?;
        let states = slots.iter().flatten().flat_map(|(old, new)| [&old.raw, &new.raw]);
        let others = param.iter().chain([&update]).map(|array| &array.raw);
        let order = Raw::common_order(states.chain(others).chain([&out.raw]), program.has_order());
        Ok(Self { index, skip, shape, order, update, param, out, slots })
    }

    /// The arrays that it reads.
    fn read(&self) -> impl Iterator<Item = &Readable<'py>> {
        let slots = self.slots.iter().flatten().map(|(old, _)| old);
        slots.chain(&self.param).chain([&self.update])
    }

    fn view(&mut self) -> Leaf<'_> {
        let order = self.order;
        let slots = self.slots.iter_mut().map(|slot| {
            slot.as_mut()
                .map(|(old, new)| Slot { from: Some(old.source(order)), to: new.sink(order) })
        });
        let param = self.param.as_ref();
        let params = param.map_or(Params::None, |param| Params::Read(param.source(order)));
        let out = Some(self.out.sink(order));
        let leaf = Leaf::new(self.update.source(order), params, out, slots.collect());
        Leaf { skip: self.skip, shape: &self.shape, ..leaf }
    }
}

/// The shape of a leaf, where an op asks for it; an error where the op can make no units of it.
pub fn shape_for(
    py: Python<'_>,
    program: &gradmill_core::Program,
    leaf: usize,
    skip: u64,
    update: &Raw,
) -> PyResult<Shape> {
    if !program.has_units() {
        return Ok(Shape::new());
    }
    program.check_units(skip, update.shape(py)).map_err(|(problem, op)| {
        Place { tree: Tree::Updates, leaf }.value_error(format!("{problem} ({op})"))
    })?;
    Ok(update.shape(py).into())
}

/// Runs the program.
pub fn execute(
    py: Python<'_>,
    program: &gradmill_core::Program,
    leaves: &mut [Leaf<'_>],
    step: Step<'_>,
    config: &Config,
) -> PyResult<Outcome> {
    let elements = leaves.iter().map(Leaf::len).sum();
    compute(py, elements, || run(program, leaves, step, config))?
        .map_err(|error| core_error(&error))
}

/// Compares the shape of an update with that of an array that belongs to it.
pub fn check_shape(
    py: Python<'_>,
    program: &gradmill_core::Program,
    leaf: usize,
    update: &Raw,
    tree: Tree,
    other: &Raw,
) -> PyResult<()> {
    let (own, theirs) = (update.shape(py), other.shape(py));
    if have_one_shape(own, theirs) {
        return Ok(());
    }
    let (name, op) = match tree {
        Tree::Slot(slot) => program.slot_name(slot),
        _ => ("params", program.first_reader().unwrap_or("apply_updates")),
    };
    let (got, expected) = (Lengths(own), Lengths(theirs));
    let place = Place { tree: Tree::Updates, leaf };
    Err(place.value_error(format!("shape {got}, {name} has {expected} ({op})")))
}

/// Whether two shapes are one. A loop, since comparing slices calls a function that takes longer than a few
/// lengths do.
#[inline]
pub fn have_one_shape(own: &[usize], other: &[usize]) -> bool {
    own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own == other)
}

struct Lengths<'s>(&'s [usize]);

impl std::fmt::Display for Lengths<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [length] => write!(f, "({length},)"),
            lengths => {
                let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
                write!(f, "({})", lengths.join(", "))
            }
        }
    }
}
