//! Steps as custom calls of XLA, on the CPU: what JAX needs to know of them.
//!
//! XLA hands arrays over through plain C structs ([`abi`]); [`frame`] reads them, [`call`] makes sense of them,
//! and [`handler`] runs the program over the leaves, in place where XLA gave results the memory of operands.
#![expect(unsafe_code, reason = "XLA hands out pointers")]

mod abi;
mod call;
mod frame;
mod handler;

use std::ffi::c_void;
use std::ptr::null;

use pyo3::prelude::*;

use self::handler::handler;

/// The handler, as a capsule that JAX registers.
#[pyfunction]
pub fn xla_handler(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let function = handler as *const () as *mut c_void;
    // SAFETY: the pointer is one to a function, which is there as long as the process; no name is one that
    // JAX takes.
    unsafe {
        let capsule = pyo3::ffi::PyCapsule_New(function, null(), None);
        Bound::from_owned_ptr_or_err(py, capsule)
    }
}

/// The offsets of the fields that the handler reads and writes, under the names that XLA's header has for them.
#[pyfunction]
pub fn xla_layout() -> Vec<(&'static str, usize)> {
    abi::LAYOUT.to_vec()
}
