//! Calls into the core.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// Below this many elements, handing the interpreter to other threads costs more than the work.
const DETACH_FROM: usize = 1 << 14;

/// Runs `work` over so many elements, with the interpreter released where that is worth it.
///
/// A panic would be a bug; it ends here, as an error, and the library stays usable.
pub fn compute<R: Send>(
    py: Python<'_>,
    elements: usize,
    work: impl FnOnce() -> R + Send,
) -> PyResult<R> {
    let guarded = || catch_unwind(AssertUnwindSafe(work));
    let done = if elements < DETACH_FROM { guarded() } else { py.detach(guarded) };
    done.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("panic");
        PyRuntimeError::new_err(format!("{text}; please report this as a bug of gradmill"))
    })
}
