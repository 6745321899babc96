//! Programs over lists of arrays, without writing to any of them.

use gradmill_core::leaf::{Params, Slot};
use gradmill_core::{Config, Leaf, Outcome, Source, run};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use smallvec::SmallVec;

use crate::buffers::{Fresh, Order, Raw, Readable};
use crate::fault::{Place, Tree, core_error};
use crate::settings::config;

/// Below this many elements, handing the interpreter to other threads costs more than the work.
const DETACH_FROM: usize = 1 << 14;

/// A chain of ops, validated once.
#[pyclass(frozen, module = "gradmill._core")]
pub struct Program {
    pub core: gradmill_core::Program,
}

/// New updates, new slots, global norms, and whether all incoming updates were finite.
type Updated<'py> = (Bound<'py, PyList>, Vec<Bound<'py, PyList>>, Vec<f64>, bool);

#[pymethods]
impl Program {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
    fn new(ops: Vec<String>) -> PyResult<Self> {
        let core = gradmill_core::Program::new(ops.iter().map(String::as_str));
        Ok(Self { core: core.map_err(|error| core_error(&error))? })
    }

    /// The passes as dicts: indices of the ops, source ("updates" or "carried"), whether the pass ends
    /// with a norm, whether it leaves the update behind for the next, and whether it is one loop.
    #[getter]
    fn passes<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let describe = |pass: &gradmill_core::Pass| {
            let entry = PyDict::new(py);
            entry.set_item("ops", pass.ops.clone().collect::<Vec<_>>())?;
            let source = match pass.source {
                Source::Updates => "updates",
                Source::Carried => "carried",
            };
            entry.set_item("source", source)?;
            entry.set_item("norm", pass.norm_for.is_some())?;
            entry.set_item("carries", pass.carries)?;
            entry.set_item("fused", self.core.is_fused(pass))?;
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
    /// the leaf by. A `None` update leaves its leaf as it is.
    #[pyo3(signature = (updates, params, slots, skip, scalars, threads=0))]
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
        let mut views: Vec<Leaf<'_>> = leaves.iter_mut().map(PureLeaf::view).collect();
        let found = execute(py, &self.core, &mut views, &scalars, &config(threads))?;
        drop(views);

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
        Ok((PyList::new(py, out)?, new_slots, found.norms.to_vec(), found.finite))
    }
}

/// The arrays of a leaf that is not updated in place.
struct PureLeaf<'py> {
    index: usize,
    skip: u64,
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
        let param = match param {
            Some(param) if program.reads_params_of(skip) => {
                let param = Readable::new(param, Place { tree: Tree::Params, leaf: index })?;
                check_shape(program, index, &update.raw, Tree::Params, &param.raw)?;
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
                check_shape(program, index, &update.raw, tree, &slot.raw)?;
                Ok(Some(slot))
            })
            .collect::<PyResult<SmallVec<[Option<Readable<'py>>; 2]>>>()?;
        let arrays = || old.iter().flatten().chain(&param).chain([&update]).map(|array| &array.raw);
        let order = Raw::common_order(arrays(), program.reduces());
        let dtype = arrays().map(Raw::dtype).fold(update.raw.dtype(), Ord::max);
        let out = Fresh::like(py, &update.raw, dtype)?;
        let slots = old
            .into_iter()
            .map(|old| {
                old.map(|old| Fresh::like(py, &old.raw, old.raw.dtype()).map(|new| (old, new)))
                    .transpose()
            })
            .collect::<PyResult<_>>()?;
        Ok(Self { index, skip, order, update, param, out, slots })
    }

    fn view(&mut self) -> Leaf<'_> {
        let order = self.order;
        let slots = self.slots.iter_mut().map(|slot| {
            slot.as_mut()
                .map(|(old, new)| Slot { from: Some(old.source(order)), to: new.sink(order) })
        });
        Leaf {
            updates: self.update.source(order),
            params: self
                .param
                .as_ref()
                .map_or(Params::None, |param| Params::Read(param.source(order))),
            out: Some(self.out.sink(order)),
            slots: slots.collect(),
            skip: self.skip,
        }
    }
}

/// Runs the program, with the interpreter released where that is worth it.
pub fn execute(
    py: Python<'_>,
    program: &gradmill_core::Program,
    leaves: &mut [Leaf<'_>],
    scalars: &[f64],
    config: &Config,
) -> PyResult<Outcome> {
    let found = if leaves.iter().map(Leaf::len).sum::<usize>() < DETACH_FROM {
        run(program, leaves, scalars, config)
    } else {
        py.detach(|| run(program, leaves, scalars, config))
    };
    found.map_err(|error| core_error(&error))
}

/// Compares the shape of an update with that of an array that belongs to it.
pub fn check_shape(
    program: &gradmill_core::Program,
    leaf: usize,
    update: &Raw,
    tree: Tree,
    other: &Raw,
) -> PyResult<()> {
    if update.shape() == other.shape() {
        return Ok(());
    }
    let (name, op) = match tree {
        Tree::Slot(slot) => program.slot_name(slot),
        _ => ("params", program.first_reader().unwrap_or("apply_updates")),
    };
    let (got, expected) = (Shape(update.shape()), Shape(other.shape()));
    let place = Place { tree: Tree::Updates, leaf };
    Err(place.value_error(format!("shape {got}, {name} has {expected} ({op})")))
}

struct Shape<'s>(&'s [usize]);

impl std::fmt::Display for Shape<'_> {
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
