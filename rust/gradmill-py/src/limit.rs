//! For benchmarks: the least time that memory allows, which is that of the streams of an optimiser step with next to no
//! arithmetic.

use gradmill_core::sys::config::CHUNK;
use gradmill_core::sys::par;
use pulp::NullaryFnOnce;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::buffers::{Order, Readable, Writable};
use crate::compute::compute;
use crate::fault::{Place, Tree};
use crate::settings::config;

struct Touch<'k> {
    updates: &'k [f32],
    arrays: [&'k mut [f32]; 3],
}

impl NullaryFnOnce for Touch<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let [first, second, third] = self.arrays;
        let moments = first.iter_mut().zip(second).zip(third);
        for (&update, ((first, second), third)) in self.updates.iter().zip(moments) {
            *first += update;
            *second += update;
            *third += update;
        }
    }
}

/// Reads `updates` and each of `arrays`, and writes each of `arrays`: the four reads and three writes of AdamW in single
/// precision. With `norm`, reads `updates` once more beforehand, as a global norm does.
///
/// Uses the chunks and threads of a step, so that both meet the same memory.
#[pyfunction]
#[pyo3(signature = (updates, arrays, norm, threads=0))]
#[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
pub fn touch(
    py: Python<'_>,
    updates: Bound<'_, PyAny>,
    arrays: [Bound<'_, PyAny>; 3],
    norm: bool,
    threads: usize,
) -> PyResult<()> {
    let updates = Readable::new(updates, Place { tree: Tree::Updates, leaf: 0 })?;
    let [first, second, third] = &arrays;
    let mut arrays = [
        Writable::new(first, Place { tree: Tree::Params, leaf: 0 })?,
        Writable::new(second, Place { tree: Tree::Slot(0), leaf: 0 })?,
        Writable::new(third, Place { tree: Tree::Slot(1), leaf: 0 })?,
    ];
    let bytes =
        [&updates.raw, &arrays[0].raw, &arrays[1].raw, &arrays[2].raw].map(|raw| raw.span(true));
    if gradmill_core::data::find_conflict(&bytes, |_, _| true).is_some() {
        return Err(PyValueError::new_err("the arrays overlap"));
    }
    let streams = || PyValueError::new_err("expected dense float32 arrays of one length");
    let updates = updates.hold();
    let elements = updates.dense::<f32>(Order::Memory).ok_or_else(streams)?;
    let [first, second, third] = arrays.each_mut().map(|array| {
        let own = array.dense::<f32>(Order::Memory);
        own.filter(|own| own.len() == elements.len()).ok_or_else(streams)
    });
    let (first, second, third) = (first?, second?, third?);
    let config = config(threads);
    compute(py, elements.len(), || {
        if norm {
            let source = updates.source(Order::Memory);
            std::hint::black_box(gradmill_core::global_norm(vec![source], &config));
        }
        let threads = par::threads_for(config.threads, elements.len());
        let [first, second, third] = [first, second, third].map(|array| array.chunks_mut(CHUNK));
        let chunks = elements.chunks(CHUNK).zip(first).zip(second).zip(third);
        par::for_each(threads, chunks, |(((updates, first), second), third)| {
            config.tier.run(Touch { updates, arrays: [first, second, third] });
        });
    })
}
