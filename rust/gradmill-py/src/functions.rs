//! Functions over arrays that need no program of their own.

use gradmill_core::number::rng;
use gradmill_core::ops::{OPS, Settle};
use gradmill_core::sys::mode;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::buffers::{Order, Raw, Readable};
use crate::compute::compute;
use crate::fault::{Place, Tree};
use crate::settings::config;

/// The root of the sum of squares over all leaves, accumulated in float64 and without overflow.
#[pyfunction]
#[pyo3(signature = (updates, threads=0))]
#[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
pub fn global_norm(py: Python<'_>, updates: Bound<'_, PyList>, threads: usize) -> PyResult<f64> {
    let arrays = readable(&updates)?;
    let order = |array: &Readable<'_>| Raw::common_order([&array.raw].into_iter(), true);
    let sources = arrays.iter().map(|array| array.source(order(array))).collect();
    let config = config(threads);
    compute(py, elements(&arrays), || gradmill_core::global_norm(sources, &config))
}

/// How many elements of all leaves are not finite.
#[pyfunction]
#[pyo3(signature = (updates, threads=0))]
#[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
pub fn count_not_finite(
    py: Python<'_>,
    updates: Bound<'_, PyList>,
    threads: usize,
) -> PyResult<u64> {
    let arrays = readable(&updates)?;
    let sources: Vec<_> = arrays.iter().map(|array| array.source(Order::Memory)).collect();
    let config = config(threads);
    compute(py, elements(&arrays), || gradmill_core::count_not_finite(&sources, &config))
}

fn readable<'py>(updates: &Bound<'py, PyList>) -> PyResult<Vec<Readable<'py>>> {
    let present = updates.iter().enumerate().filter(|(_, update)| !update.is_none());
    let arrays = present
        .map(|(leaf, update)| Readable::new(update, Place { tree: Tree::Updates, leaf }))
        .collect::<PyResult<Vec<_>>>()?;
    Readable::check_unmoved(&arrays)?;
    Ok(arrays)
}

fn elements(arrays: &[Readable<'_>]) -> usize {
    arrays.iter().map(|array| array.raw.len()).sum()
}

/// Calls `function` in the floating-point mode in which kernels compute, which is not always the caller's.
#[pyfunction]
#[pyo3(signature = (function, /, *args))]
pub fn in_default_mode<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    mode::in_default_mode(|| function.call1(args))
}

/// One of the keys that a key is split into.
#[pyfunction]
pub fn split_key(key: rng::Key, index: u64) -> rng::Key {
    rng::split(key, index)
}

/// What each op needs, as dicts.
#[pyfunction]
pub fn list_ops(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let named = |name| OPS.iter().find(|meta| meta.name == name);
    let is_other = |name| OPS.iter().any(|meta| meta.otherwise == Some(name));
    OPS.iter()
        .filter(|meta| !is_other(meta.name))
        .map(|meta| {
            let entry = PyDict::new(py);
            entry.set_item("name", meta.name)?;
            entry.set_item(
                "scalars",
                meta.scalars.iter().map(|scalar| scalar.name).collect::<Vec<_>>(),
            )?;
            let other = meta.otherwise.and_then(named);
            let others = other.map_or(&[][..], |other| other.slots);
            entry.set_item("slots", [meta.slots, meta.unit_slots, others].concat())?;
            entry.set_item("members", 1 + usize::from(other.is_some()))?;
            entry.set_item("params", meta.params)?;
            let finds = meta.gather.map(|gather| match gather.settle {
                Settle::Scalar => "norm",
                Settle::Estimates(_) => "estimates",
                Settle::Number(_) | Settle::Factors(_) => "units",
                Settle::Gate => "finite",
                Settle::Flags => "nans",
            });
            entry.set_item("finds", finds)?;
            Ok(entry)
        })
        .collect()
}
