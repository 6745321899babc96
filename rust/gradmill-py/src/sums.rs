//! Parameters and updates, added up in new arrays.

use std::ops::Range;

use gradmill_core::data::{Dense, Params, Slot, Slots};
use gradmill_core::{DType, Entry, Float, Leaf, Row, Step, Workspace, run_rows};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyList;

use crate::buffers::{CHANGED, Fresh, Held, Made, Order, Raw, Readable};
use crate::compute::compute;
use crate::fault::{Place, Tree, core_error};
use crate::program::check_shape;
use crate::settings::config;

/// `params + updates` in fresh arrays of the parameters' dtypes. A `None` update keeps its parameter.
#[pyfunction]
#[pyo3(signature = (params, updates, threads=0))]
#[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
pub fn apply_updates<'py>(
    py: Python<'py>,
    params: Bound<'py, PyList>,
    updates: Bound<'py, PyList>,
    threads: usize,
) -> PyResult<Bound<'py, PyList>> {
    let (params, updates): (Vec<_>, Vec<_>) = (params.iter().collect(), updates.iter().collect());
    PyList::new(py, added(py, params, updates, threads)?)
}

/// The leaves of `params + updates`; see [`apply_updates`].
pub fn added<'py>(
    py: Python<'py>,
    params: Vec<Bound<'py, PyAny>>,
    updates: Vec<Bound<'py, PyAny>>,
    threads: usize,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    static NO_OPS: PyOnceLock<gradmill_core::Program> = PyOnceLock::new();
    let none = || gradmill_core::Program::new::<Entry<'_>>([]).map_err(|error| core_error(&error));
    let program = NO_OPS.get_or_try_init(py, none)?;
    let mut sums = Vec::with_capacity(params.len());
    let mut result = Vec::with_capacity(params.len());
    for (index, (param, update)) in params.into_iter().zip(updates).enumerate() {
        if !param.is_none() && !update.is_none() {
            let param = Readable::new(param.clone(), Place { tree: Tree::Params, leaf: index })?;
            let update = Readable::new(update, Place { tree: Tree::Updates, leaf: index })?;
            check_shape(py, program, index, &update.raw, Tree::Params, &param.raw)?;
            let made = Fresh::like(&param, param.raw.dtype())?.keep();
            let order = Raw::common_order([&param.raw, &update.raw].into_iter(), false);
            let (param, update) = (param.hold(), update.hold());
            sums.push(Sum { index, order, param, update, made });
        }
        result.push(param);
    }
    sums.iter().try_for_each(|sum| sum.check_unmoved(py))?;
    let elements = sums.iter().map(Row::len).sum();
    let (config, mut workspace) = (config(threads), Workspace::default());
    compute(py, elements, || {
        run_rows(program, &mut sums, Step::default(), &config, &mut workspace)
    })?
    .map_err(|error| core_error(&error))?;
    for sum in sums {
        result[sum.index] = sum.made.into_object().into_bound(py);
    }
    Ok(result)
}

/// A parameter, its update, and an array for what they add up to.
struct Sum {
    index: usize,
    order: Order,
    param: Held,
    update: Held,
    made: Made,
}

impl Sum {
    /// Looks at what is read once more; see [`Readable::check_unmoved`].
    fn check_unmoved(&self, py: Python<'_>) -> PyResult<()> {
        let Self { index, param, update, .. } = self;
        for (tree, held) in [(Tree::Updates, update), (Tree::Params, param)] {
            if !held.raw.is_unmoved(py) {
                return Err(Place { tree, leaf: *index }.value_error(CHANGED));
            }
        }
        Ok(())
    }
}

impl Row for Sum {
    fn len(&self) -> usize {
        self.param.raw.len()
    }

    fn skip(&self) -> u64 {
        0
    }

    fn dtype(&self, _: &gradmill_core::Program) -> DType {
        self.update.raw.dtype().computed_in()
    }

    fn updates<T: Float>(&self) -> Option<&[T]> {
        self.update.dense(self.order)
    }

    /// The sum starts as a copy of the parameter.
    fn dense<'r, T: Float>(&'r mut self, _: Range<usize>, dense: &mut Dense<'r, T, T, T>) -> bool {
        let Self { order, param, update, made, .. } = self;
        let (updates, params) = (update.dense(*order), param.dense::<T>(*order));
        let (Some(updates), Some(params), Some(sums)) = (updates, params, made.dense(*order))
        else {
            return false;
        };
        sums.copy_from_slice(params);
        (dense.updates, dense.params) = (updates, sums);
        true
    }

    fn leaf(&mut self, _: &gradmill_core::Program) -> Leaf<'_> {
        let order = self.order;
        let slot = Slot { from: Some(self.param.source(order)), to: self.made.sink(order) };
        Leaf::new(self.update.source(order), Params::Write(slot), None, Slots::new())
    }
}
