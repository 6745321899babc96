//! Gradients of single examples, shrunk and added up.

use gradmill_core::run::per_example::{Examples, Scope, clip_sum};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::buffers::{Fresh, Order, Raw, Readable};
use crate::compute::compute;
use crate::fault::{Place, Tree, core_error};
use crate::settings::config;

/// The sums over examples, whose axis is the first of each array, and how many examples were shrunk.
///
/// With `uniform` of None the norm of all leaves together is bounded, and there is one number; else that
/// of each leaf, all alike or by size, and there is a number for each leaf that is not `None`. Without
/// `batched` the arrays are one example and have no such axis.
#[pyfunction]
#[pyo3(signature = (updates, l2_norm_clip, uniform=None, batched=true, threads=0))]
#[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
pub fn per_example_clip<'py>(
    py: Python<'py>,
    updates: Bound<'py, PyList>,
    l2_norm_clip: f64,
    uniform: Option<bool>,
    batched: bool,
    threads: usize,
) -> PyResult<(Bound<'py, PyList>, Vec<usize>)> {
    let mut batch = (!batched).then_some(1);
    let mut arrays: Vec<(Order, Readable<'py>, Fresh<'py>)> = Vec::new();
    let mut result = Vec::with_capacity(updates.len());
    for (leaf, update) in updates.iter().enumerate() {
        if update.is_none() {
            result.push(update);
            continue;
        }
        let place = Place { tree: Tree::Updates, leaf };
        let update = Readable::new(update, place)?;
        let shape = update.raw.shape(py);
        let own = if batched {
            let Some((&examples, own)) = shape.split_first() else {
                return Err(place.value_error("has no batch axis"));
            };
            let others = *batch.get_or_insert(examples);
            if examples != others {
                let message = format!("has {examples} examples, leaves before it have {others}");
                return Err(place.value_error(message));
            }
            own
        } else {
            shape
        };
        let fresh = Fresh::new(py, own, update.raw.dtype().computed_in())?;
        result.push(fresh.object().clone());
        arrays.push((Raw::common_order([&update.raw].into_iter(), true), update, fresh));
    }
    Readable::check_unmoved(arrays.iter().map(|(_, update, _)| update))?;
    let elements = arrays.iter().map(|(_, update, _)| update.raw.len()).sum();
    let leaves = arrays
        .iter_mut()
        .map(|(order, update, fresh)| Examples {
            grads: update.source(*order),
            sum: fresh.sink(Order::Memory),
        })
        .collect();
    let scope = match uniform {
        None => Scope::Tree,
        Some(true) => Scope::Leaves,
        Some(false) => Scope::LeavesBySize,
    };
    let (batch, config) = (batch.unwrap_or(0), config(threads));
    let counts = compute(py, elements, || clip_sum(leaves, batch, l2_norm_clip, scope, &config))?;
    let counts = counts.map_err(|error| core_error(&error))?.to_vec();
    Ok((PyList::new(py, result)?, counts))
}
