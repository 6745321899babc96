//! The extension module `gradmill._core`: glue between NumPy arrays and `gradmill-core`.

mod bound_leaf;
mod buffers;
mod compute;
mod fault;
mod functions;
mod host;
mod in_place;
mod limit;
mod nest;
mod noise_sum;
mod per_example;
mod program;
mod scalars;
mod settings;
mod sums;
mod tape;
mod trees;
mod watched;
mod weighted_sum;
mod written;
mod xla;

/// Kernels, programs and threads. Private: `gradmill` is the public face.
///
/// Array objects are read, and counts written, under the interpreter's lock: an interpreter that can do without
/// takes it back when it imports this.
#[pyo3::pymodule(gil_used = true)]
mod _core {
    #[pymodule_export]
    use crate::buffers::clear_cache;
    #[pymodule_export]
    use crate::fault::CoreError;
    #[pymodule_export]
    use crate::functions::{count_not_finite, global_norm, in_default_mode, list_ops, split_key};
    #[pymodule_export]
    use crate::host::Host;
    #[pymodule_export]
    use crate::in_place::InPlace;
    #[pymodule_export]
    use crate::in_place::halves::{
        half_apply, half_end, half_plan, half_sums, half_total, half_written,
    };
    #[pymodule_export]
    use crate::limit::touch;
    #[pymodule_export]
    use crate::nest::Nest;
    #[pymodule_export]
    use crate::noise_sum::noise_sum;
    #[pymodule_export]
    use crate::per_example::per_example_clip;
    #[pymodule_export]
    use crate::program::Program;
    #[pymodule_export]
    use crate::scalars::{Count, Scalars, bias_correction};
    #[pymodule_export]
    use crate::settings::{allocations, build_info, force, plant_panic, set_num_threads};
    #[pymodule_export]
    use crate::sums::apply_updates;
    #[pymodule_export]
    use crate::tape::{Curve, tape_codes};
    #[pymodule_export]
    use crate::trees::{apply_trees, step_by, update_trees};
    #[pymodule_export]
    use crate::weighted_sum::weighted_sum;
    #[pymodule_export]
    use crate::xla::{xla_handler, xla_layout};

    /// Elements of a leaf of which sums are formed at once.
    #[pymodule_export]
    const CHUNK: usize = gradmill_core::sys::config::CHUNK;

    #[pymodule_init]
    fn init(_module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        crate::settings::read_environment()
    }
}
