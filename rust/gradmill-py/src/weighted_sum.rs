//! Sums of arrays with weights.

use gradmill_core::run::weighted_sum::{self as core, Terms};
use pyo3::prelude::*;

use crate::buffers::{Order, Raw, Readable, Writable};
use crate::compute::compute;
use crate::fault::{Place, Tree};
use crate::settings::config;
use crate::written::Written;

/// Writes to each array of `sums` that of the arrays at its place in `terms`, each times its weight, and where `own` is
/// given what it holds times that. All arrays at a place are of one shape.
#[pyfunction]
#[pyo3(signature = (sums, terms, weights, own=None, threads=0))]
#[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
pub fn weighted_sum(
    py: Python<'_>,
    sums: Vec<Bound<'_, PyAny>>,
    terms: Vec<Vec<Bound<'_, PyAny>>>,
    weights: Vec<f64>,
    own: Option<f64>,
    threads: usize,
) -> PyResult<()> {
    let mut leaves: Vec<(Writable, Vec<Readable<'_>>)> = Vec::new();
    for (leaf, sum) in sums.iter().enumerate() {
        let sum = Writable::new(sum, Place { tree: Tree::Params, leaf })?;
        let mut arrays = Vec::with_capacity(terms.len());
        for (number, tree) in terms.iter().enumerate() {
            let place = Place { tree: Tree::Slot(number), leaf };
            let missing = || place.value_error("missing");
            let array = Readable::new(tree.get(leaf).ok_or_else(missing)?.clone(), place)?;
            if array.raw.shape(py) != sum.raw.shape(py) {
                return Err(place.value_error("has another shape than the sum"));
            }
            arrays.push(array);
        }
        leaves.push((sum, arrays));
    }
    let place = |leaf| Place { tree: Tree::Params, leaf };
    let written = leaves.iter().enumerate().map(|(leaf, (sum, _))| (place(leaf), sum));
    let written = Written::new(py, written, "what the sum is written to")?;
    for (leaf, (_, arrays)) in leaves.iter_mut().enumerate() {
        for (number, array) in arrays.iter_mut().enumerate() {
            if !written.is_apart(array.raw.span(false)) {
                *array = written.copy_between(array, Place { tree: Tree::Slot(number), leaf })?;
            }
        }
    }
    // Code of others may have run, which converted or copied an array.
    Readable::check_unmoved(leaves.iter().flat_map(|(_, arrays)| arrays))?;
    if let Some(leaf) = leaves.iter().position(|(sum, _)| !sum.is_unmoved(py)) {
        return Err(place(leaf).value_error("was resized, reshaped, moved or made read-only"));
    }
    let mut elements = 0;
    let leaves: Vec<Terms<'_>> = leaves
        .iter_mut()
        .map(|(sum, arrays)| {
            elements += sum.raw.len() * (arrays.len() + 1);
            let all = arrays.iter().map(|array| &array.raw).chain([&sum.raw]);
            let order: Order = Raw::common_order(all, false);
            let terms = arrays.iter().map(|array| array.source(order)).collect();
            Terms { terms, sum: sum.sink(order) }
        })
        .collect();
    let config = config(threads);
    compute(py, elements, || core::weighted_sum(leaves, &weights, own, &config))
}
