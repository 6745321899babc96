//! Sums of noise with weights.

use gradmill_core::number::rng::Key;
use gradmill_core::run::noise_sum::{self as core, Base, Noisy};
use pyo3::prelude::*;

use crate::buffers::{Order, Readable, Writable};
use crate::compute::compute;
use crate::fault::{Place, Tree};
use crate::settings::config;
use crate::written::Written;

/// What noise is added to: nothing, what the sum holds, or another array.
enum Given<'py> {
    Zero,
    Own,
    Other(Readable<'py>),
}

/// Writes to each array of `sums` that of normal numbers, those of each key times its weight, and of the array at its place
/// in `bases`: None for nothing, or of the same shape; it may be that of `sums` itself. `wide` says of which arrays numbers
/// are drawn in float64.
#[pyfunction]
#[pyo3(signature = (sums, bases, wide, keys, weights, threads=0))]
#[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
pub fn noise_sum(
    py: Python<'_>,
    sums: Vec<Bound<'_, PyAny>>,
    bases: Vec<Option<Bound<'_, PyAny>>>,
    wide: Vec<bool>,
    keys: Vec<Key>,
    weights: Vec<f64>,
    threads: usize,
) -> PyResult<()> {
    let place = |leaf| Place { tree: Tree::Params, leaf };
    let of_base = |leaf| Place { tree: Tree::Slot(0), leaf };
    let mut leaves: Vec<(Writable, Given<'_>)> = Vec::new();
    for (leaf, (sum, base)) in sums.iter().zip(bases).enumerate() {
        let own = Writable::new(sum, place(leaf))?;
        let base = match base {
            None => Given::Zero,
            Some(base) if base.is(sum) => Given::Own,
            Some(base) => Given::Other(Readable::new(base, of_base(leaf))?),
        };
        if let Given::Other(base) = &base
            && base.raw.shape(py) != own.raw.shape(py)
        {
            return Err(of_base(leaf).value_error("has another shape than the sum"));
        }
        leaves.push((own, base));
    }
    let written = leaves.iter().enumerate().map(|(leaf, (sum, _))| (place(leaf), sum));
    let written = Written::new(py, written, "what the sum is written to")?;
    for (leaf, (_, base)) in leaves.iter_mut().enumerate() {
        if let Given::Other(array) = base
            && !written.is_apart(array.raw.span(false))
        {
            *array = written.copy_between(array, of_base(leaf))?;
        }
    }
    // Code of others may have run, which converted or copied an array.
    Readable::check_unmoved(leaves.iter().filter_map(|(_, base)| match base {
        Given::Other(array) => Some(array),
        _ => None,
    }))?;
    if let Some(leaf) = leaves.iter().position(|(sum, _)| !sum.is_unmoved(py)) {
        return Err(place(leaf).value_error("was resized, reshaped, moved or made read-only"));
    }
    let mut elements = 0;
    let leaves: Vec<Noisy<'_>> = leaves
        .iter_mut()
        .zip(wide)
        .map(|((sum, base), is_wide)| {
            elements += sum.raw.len() * (keys.len() + 1);
            let base = match base {
                Given::Zero => Base::Zero,
                Given::Own => Base::Own,
                Given::Other(array) => Base::Other(array.source(Order::Logical)),
            };
            Noisy { base, is_wide, sum: sum.sink(Order::Logical) }
        })
        .collect();
    let config = config(threads);
    compute(py, elements, || core::noise_sum(leaves, &keys, &weights, &config))
}
