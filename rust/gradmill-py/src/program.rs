//! Programs over lists of arrays, without writing to any of them.

use gradmill_core::data::{Params, Slot};
use gradmill_core::ops::Of;
use gradmill_core::sys::simd::Tier;
use gradmill_core::{
    DType, Entry, Float, Leaf, Outcome, PassInput, Row, Step, Workspace, run_rows,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use smallvec::SmallVec;

use crate::buffers::{CHANGED, Fresh, Held, Made, Order, Raw, Readable};
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
type Lists<'py> = (Bound<'py, PyList>, Vec<Bound<'py, PyList>>, Found<'py>);

/// The global norms, whether all incoming updates were finite, and where ops ask for them: whether all
/// updates that reach the op are finite, which leaves have a NaN, and what became of sums over the tree.
pub type Found<'py> = (Bound<'py, PyList>, bool, Option<More<'py>>);
type More<'py> = (Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>);

/// The outcome for a tree of so many leaves, of which those at `places`, in ascending order, went into the program.
pub fn found<'py, P: Iterator<Item = usize>>(
    py: Python<'py>,
    outcome: &Outcome,
    tree: usize,
    places: impl Fn() -> P,
) -> PyResult<Found<'py>> {
    let Outcome { norms, estimates, all_finite, nans, finite, .. } = outcome;
    let norms = PyList::new(py, norms)?;
    if all_finite.is_empty() && nans.is_empty() && estimates.is_empty() {
        return Ok((norms, *finite, None));
    }
    let lists = PyList::empty(py);
    for flags in nans.lists() {
        let mut flags = places().zip(flags).peekable();
        let has_nan =
            |leaf| flags.next_if(|(place, _)| *place == leaf).is_some_and(|(_, &has)| has);
        lists.append(PyList::new(py, (0..tree).map(has_nan))?)?;
    }
    let estimates = PyList::new(py, estimates.iter().map(|made| made.map(<(f64, f64)>::from)))?;
    Ok((norms, *finite, Some((PyList::new(py, all_finite)?, lists, estimates))))
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
            otherwise: None,
        });
        let entries = entries.map(Entry::or_otherwise);
        let core = gradmill_core::Program::new(entries);
        Ok(Self { core: core.map_err(|error| core_error(&error))? })
    }

    /// The passes as dicts: indices of the ops, source ("updates" or "carried"), the op that has to know
    /// something of the update the pass ends with or None, whether it leaves the update behind for the
    /// next, the arrays that are read to know it (none where it is found on the way), whether the walk looks at parameters, the
    /// ops that measure parameters before the pass, and whether it is one loop in a step with these scalars, over
    /// plain state and over state in codes.
    #[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
    fn passes<'py>(&self, py: Python<'py>, scalars: Vec<f64>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.core.check_scalars(&scalars).map_err(|error| core_error(&error))?;
        let mut next = 0;
        let op_of =
            |member: usize| self.core.of_ops().partition_point(|members| members.end <= member);
        let ops_of = |members: std::ops::Range<usize>| {
            let mut ops: Vec<usize> = members.map(op_of).collect();
            ops.dedup();
            ops
        };
        let describe = |pass: &gradmill_core::Pass| {
            let entry = PyDict::new(py);
            entry.set_item("ops", ops_of(pass.ops.clone()))?;
            let source = match pass.source {
                PassInput::Updates => "updates",
                PassInput::Carried => "carried",
            };
            entry.set_item("source", source)?;
            entry.set_item("ends_for", pass.ends_for.map(op_of))?;
            entry.set_item("carries", pass.carries)?;
            let at_end = pass.ends_for.and_then(|op| self.core.ops().nth(op));
            let gather = at_end.and_then(|meta| meta.gather);
            let on_the_way = gather.is_some_and(|gather| gather.is_of_walk());
            let sums = gather.map_or(&[][..], |gather| gather.of).iter();
            let measured: Vec<&str> = sums.map(|(of, _)| of.name()).collect();
            let reads_params = self.core.look_at_params(pass.ops.clone());
            let sums_params = on_the_way && measured.contains(&Of::Param.name())
                || at_end.is_some_and(|meta| meta.params)
                    && gather.is_some_and(|gather| gather.has_addends());
            entry.set_item("takes_params", reads_params || sums_params)?;
            entry.set_item("measures", if on_the_way { Vec::new() } else { measured })?;
            let before = self.core.gather_params(next..pass.ops.end).map(op_of);
            let before = before.collect::<Vec<_>>();
            entry.set_item("before", before)?;
            next = pass.ops.end;
            entry.set_item("fused", self.core.is_fused(pass, &scalars, false))?;
            entry.set_item("fused_in_codes", self.core.is_fused(pass, &scalars, true))?;
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
        updates: Vec<Bound<'py, PyAny>>,
        params: Option<Vec<Bound<'py, PyAny>>>,
        slots: Vec<Vec<Bound<'py, PyAny>>>,
        skip: Option<Vec<u64>>,
        scalars: Vec<f64>,
        off: u64,
        threads: usize,
    ) -> PyResult<Lists<'py>> {
        let given = Given { updates: &updates, params: params.as_deref(), slots: &slots };
        let step = Step { scalars: &scalars, off, ..Step::default() };
        let done = self.run(py, &given, skip.as_deref(), step, threads)?;
        let slots = done.slots.into_iter().map(|slot| PyList::new(py, slot));
        Ok((PyList::new(py, done.updates)?, slots.collect::<PyResult<_>>()?, done.found))
    }
}

/// The leaves of the trees that a program reads.
pub struct Given<'g, 'py> {
    pub updates: &'g [Bound<'py, PyAny>],
    pub params: Option<&'g [Bound<'py, PyAny>]>,
    pub slots: &'g [Vec<Bound<'py, PyAny>>],
}

/// The leaves of those that it made, and what it found.
pub struct Updated<'py> {
    pub updates: Vec<Bound<'py, PyAny>>,
    pub slots: Vec<Vec<Bound<'py, PyAny>>>,
    pub found: Found<'py>,
    /// For each op that asks whether all updates are finite, whether they were.
    pub finite: SmallVec<[bool; 2]>,
}

impl Program {
    /// Sends updates through the chain and writes to nothing that is given; see [`Program::update`].
    pub fn run<'py>(
        &self,
        py: Python<'py>,
        given: &Given<'_, 'py>,
        skip: Option<&[u64]>,
        step: Step<'_>,
        threads: usize,
    ) -> PyResult<Updated<'py>> {
        let &Given { updates, slots, .. } = given;
        let mut leaves = Vec::with_capacity(updates.len());
        for (index, update) in updates.iter().enumerate() {
            if update.is_none() {
                continue;
            }
            let skip = skip.and_then(|skip| skip.get(index)).copied().unwrap_or(0);
            leaves.push(PureLeaf::new(&self.core, given, index, skip)?);
        }
        leaves.iter().try_for_each(|leaf| leaf.check_unmoved(py))?;
        let elements = leaves.iter().map(Row::len).sum();
        let (config, mut workspace) = (config(threads), Workspace::default());
        for leaf in &mut leaves {
            leaf.copy_others(&self.core, config.tier);
        }
        compute(py, elements, || run_rows(&self.core, &mut leaves, step, &config, &mut workspace))?
            .map_err(|error| core_error(&error))?;
        let places = || leaves.iter().map(|leaf| leaf.index);
        let found = found(py, &workspace.outcome, updates.len(), places)?;

        let finite = workspace.outcome.all_finite;
        let mut made = Updated { updates: updates.to_vec(), slots: slots.to_vec(), found, finite };
        for leaf in leaves {
            for (new, slot) in made.slots.iter_mut().zip(leaf.slots) {
                if let Some((_, fresh)) = slot {
                    new[leaf.index] = fresh.into_object().into_bound(py);
                }
            }
            made.updates[leaf.index] = leaf.out.into_object().into_bound(py);
        }
        Ok(made)
    }
}

/// The arrays of a leaf that is not updated in place.
struct PureLeaf {
    index: usize,
    skip: u64,
    shape: Shape,
    order: Order,
    dtype: DType,
    update: Held,
    param: Option<Held>,
    out: Made,
    slots: SmallVec<[Option<(Held, Made)>; 2]>,
}

impl PureLeaf {
    fn new(
        program: &gradmill_core::Program,
        given: &Given<'_, '_>,
        index: usize,
        skip: u64,
    ) -> PyResult<Self> {
        let &Given { updates, params, slots: trees } = given;
        let (update, py) = (updates[index].clone(), updates[index].py());
        let short = || PyValueError::new_err("lists of different lengths");
        let update = Readable::new(update, Place { tree: Tree::Updates, leaf: index })?;
        let of_caller = program.members_of(skip);
        let (skip, shape) = fitted(py, program, index, skip, &update.raw)?;
        let mut dtype = update.raw.dtype().computed_in();
        let mut param = None;
        if program.reads_params_of(skip) {
            let tree = Tree::Params;
            let missing = || Place { tree, leaf: index }.value_error("missing");
            let object = params.ok_or_else(missing)?.get(index).ok_or_else(short)?.clone();
            let read = Readable::new(object, Place { tree, leaf: index })?;
            check_shape(py, program, index, &update.raw, tree, &read.raw)?;
            dtype = dtype.max(read.raw.dtype());
            param = Some(read.hold());
        }
        let mut slots = SmallVec::new();
        for (number, slot) in trees.iter().enumerate() {
            if program.skips_slot(of_caller, number) {
                slots.push(None);
                continue;
            }
            let tree = Tree::Slot(number);
            let object = slot.get(index).ok_or_else(short)?.clone();
            let make = if number < program.slots() { Readable::state } else { Readable::new };
            let old = make(object, Place { tree, leaf: index })?;
            if !program.skips_slot(skip, number) {
                check_slot(py, program, number, index, (&update.raw, &shape), &old.raw)?;
                dtype = dtype.max(old.raw.dtype());
            }
            // Row by row whatever the old state is: what saves it may know no other order.
            let new = old.next()?;
            slots.push(Some((old.hold(), new)));
        }
        let out = Fresh::like(&update, dtype)?.keep();
        let (order, update) = (Order::Logical, update.hold());
        let mut leaf = Self { index, skip, shape, order, dtype, update, param, out, slots };
        let of_elements = leaf.slots.iter().enumerate().take(program.slots());
        let own = of_elements.filter(|(number, _)| !program.skips_slot(skip, *number));
        let slots = own.filter_map(|(_, slot)| slot.as_ref());
        let slots = slots.flat_map(|(old, new)| [&old.raw, &new.raw]);
        let others = leaf.param.iter().chain([&leaf.update]).map(|held| &held.raw);
        let all = slots.chain(others).chain([&leaf.out.raw]);
        leaf.order = Raw::common_order(all, program.has_order());
        Ok(leaf)
    }

    /// Copies the state of members that pass the leaf by, since others do the same for it.
    fn copy_others(&mut self, program: &gradmill_core::Program, tier: Tier) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if let Some(slot) = slot
                && program.skips_slot(self.skip, number)
            {
                replaced(slot, Order::Logical).keep(tier);
            }
        }
    }

    /// The arrays that it reads.
    fn read(&self) -> impl Iterator<Item = (Tree, &Held)> {
        let slots = self.slots.iter().enumerate();
        let slots =
            slots.filter_map(|(number, slot)| Some((Tree::Slot(number), &slot.as_ref()?.0)));
        let param = self.param.iter().map(|param| (Tree::Params, param));
        slots.chain(param).chain([(Tree::Updates, &self.update)])
    }

    /// Looks at these once more; see [`Readable::check_unmoved`].
    fn check_unmoved(&self, py: Python<'_>) -> PyResult<()> {
        match self.read().find(|(_, array)| !array.is_unmoved(py)) {
            Some((tree, _)) => Err(Place { tree, leaf: self.index }.value_error(CHANGED)),
            None => Ok(()),
        }
    }
}

impl Row for PureLeaf {
    fn len(&self) -> usize {
        self.update.raw.len()
    }

    fn skip(&self) -> u64 {
        self.skip
    }

    fn dtype(&self, _: &gradmill_core::Program) -> DType {
        self.dtype
    }

    fn updates<T: Float>(&self) -> Option<&[T]> {
        self.update.dense(self.order)
    }

    fn leaf(&mut self, program: &gradmill_core::Program) -> Leaf<'_> {
        let order = self.order;
        let (elements, skip) = (program.slots(), self.skip);
        let mut states = self.slots.iter_mut().enumerate().map(|(number, slot)| {
            let order = if number < elements { order } else { Order::Logical };
            slot.as_mut()
                .filter(|_| !program.skips_slot(skip, number))
                .map(|it| replaced(it, order))
        });
        let slots = states.by_ref().take(elements).collect();
        let unit_slots = states.collect();
        let param = self.param.as_ref();
        let params = param.map_or(Params::None, |param| Params::Read(param.source(order)));
        let out = Some(self.out.sink(order));
        let leaf = Leaf::new(self.update.source(order), params, out, slots);
        Leaf { skip, shape: &self.shape, unit_slots, ..leaf }
    }
}

/// An array that is replaced by a new one.
fn replaced((old, new): &mut (Held, Made), order: Order) -> Slot<'_> {
    Slot { from: Some(old.source(order)), to: new.sink(order) }
}

/// The members of the program that pass a leaf by where the ops in `skip` do, and its shape where one asks for it; an error
/// where it can make no units of that.
pub fn fitted(
    py: Python<'_>,
    program: &gradmill_core::Program,
    leaf: usize,
    skip: u64,
    update: &Raw,
) -> PyResult<(u64, Shape)> {
    if !program.has_units() {
        return Ok((skip, Shape::new()));
    }
    let skip = program.skip_of(skip, update.shape(py)).map_err(|(problem, op)| {
        Place { tree: Tree::Updates, leaf }.value_error(format!("{problem} ({op})"))
    })?;
    Ok((skip, update.shape(py).into()))
}

/// Compares the shape of an update, which is that of its leaf where ops ask for it, with that of a slot, or its number of
/// units with how many numbers the slot has.
pub fn check_slot(
    py: Python<'_>,
    program: &gradmill_core::Program,
    slot: usize,
    leaf: usize,
    (update, shape): (&Raw, &[usize]),
    state: &Raw,
) -> PyResult<()> {
    let tree = Tree::Slot(slot);
    if slot < program.slots() {
        return check_shape(py, program, leaf, update, tree, state);
    }
    let (expected, got) = (program.slot_len(slot, update.len(), shape), state.len());
    if got == expected {
        return Ok(());
    }
    let (_, op) = program.slot_name(slot);
    let problem = format!("size {got}, the leaf takes {expected} ({op})");
    Err(Place { tree, leaf }.value_error(problem))
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
