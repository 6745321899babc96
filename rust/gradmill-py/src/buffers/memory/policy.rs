//! Where the memory of new arrays comes from: a memory policy of NumPy's (NEP 49) that recycles.

use std::ffi::{CStr, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicPtr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyCapsule;

use super::block::{Allocator, Block};
use super::shelf::{self, RECYCLE_FROM};

/// Makes an array with `make`, whose memory comes from [`shelf`] where that pays: through a memory
/// policy of NumPy's, so that the array owns its memory like any other. A policy that the user has set
/// stays in force.
pub fn recycled<'py>(
    py: Python<'py>,
    bytes: usize,
    make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    if bytes < RECYCLE_FROM {
        return make();
    }
    let policy = Policy::get(py)?;
    let before = policy.set(policy.own.bind(py))?;
    let usual = before.is(&policy.numpys);
    if !usual {
        policy.set(&before)?;
    }
    let array = make();
    if usual {
        policy.set(&before)?;
    }
    array
}

/// Which memory NumPy takes for new arrays.
struct Policy {
    own: Py<PyCapsule>,
    numpys: Py<PyAny>,
    set: unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject,
}

impl Policy {
    fn get(py: Python<'_>) -> PyResult<&'static Self> {
        static POLICY: PyOnceLock<Policy> = PyOnceLock::new();
        POLICY.get_or_try_init(py, || Self::new(py))
    }

    fn new(py: Python<'_>) -> PyResult<Self> {
        const NAME: &CStr = c"mem_handler";
        let api = numpy::get_array_module(py)?.getattr("_ARRAY_API")?.cast_into::<PyCapsule>()?;
        let api: NonNull<*const c_void> = api.pointer_checked(None)?.cast();
        // SAFETY: since version 1.22, older than any that is supported, NumPy's table has the function
        // `PyDataMem_SetHandler` at 304, and at 306 the address of a reference to its own policy.
        let (set, numpys) = unsafe {
            let numpys = api.add(306).cast::<*const *mut ffi::PyObject>().read();
            (api.add(304).cast().read(), Bound::from_borrowed_ptr(py, *numpys))
        };
        let handler: NonNull<Handler> =
            numpys.cast::<PyCapsule>()?.pointer_checked(Some(NAME))?.cast();
        // SAFETY: such a capsule holds a handler; NumPy's own is a constant.
        let allocator: &'static Allocator = unsafe { &handler.as_ref().allocator };
        let mut name = [0; 127];
        name[..8].copy_from_slice(b"gradmill");
        let allocator = Allocator {
            context: AtomicPtr::new(std::ptr::from_ref(allocator).cast_mut().cast()),
            malloc,
            calloc,
            realloc,
            free,
        };
        let own = PyCapsule::new_with_value(py, Handler { name, version: 1, allocator }, NAME)?;
        Ok(Self { own: own.unbind(), numpys: numpys.unbind(), set })
    }

    /// Puts `handler` in force; returns what was.
    fn set<'py>(&self, handler: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: `handler` is one that NumPy or `new` has made, and is borrowed for the call; a null
        // result means that an exception is set, which is fetched.
        unsafe { Bound::from_owned_ptr_or_err(handler.py(), (self.set)(handler.as_ptr())) }
    }
}

/// `PyDataMem_Handler`.
#[repr(C)]
struct Handler {
    name: [u8; 127],
    version: u8,
    allocator: Allocator,
}

// What NumPy calls for arrays of our policy. The context is the one that `Policy::new` has set, and
// pointers come from `malloc`, `calloc` or `realloc`.

unsafe extern "C" fn malloc(context: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the context is NumPy's allocator.
    let numpys: &'static Allocator = unsafe { &*context.cast() };
    shelf::lend(size, || Block::new(numpys, size)).map_or(null_mut(), |b| b.lend().as_ptr())
}

unsafe extern "C" fn calloc(context: *mut c_void, count: usize, size: usize) -> *mut c_void {
    let size = count.saturating_mul(size);
    // SAFETY: `malloc` gives null or as many bytes.
    unsafe {
        let elements = malloc(context, size);
        if !elements.is_null() {
            elements.write_bytes(0, size);
        }
        elements
    }
}

unsafe extern "C" fn realloc(context: *mut c_void, old: *mut c_void, size: usize) -> *mut c_void {
    let Some(old) = NonNull::new(old) else {
        // SAFETY: passed on to the caller.
        return unsafe { malloc(context, size) };
    };
    // SAFETY: `old` is a lent block, and stays one where there is no memory for another; two blocks do
    // not overlap.
    unsafe {
        let new = malloc(context, size);
        if !new.is_null() {
            let capacity = old.cast::<Block>().sub(1).as_ref().capacity();
            new.copy_from_nonoverlapping(old.as_ptr(), size.min(capacity));
            free(context, old.as_ptr(), capacity);
        }
        new
    }
}

unsafe extern "C" fn free(_: *mut c_void, elements: *mut c_void, _: usize) {
    if let Some(elements) = NonNull::new(elements) {
        // SAFETY: NumPy calls this for an array that is gone, and with it all that looked at it.
        shelf::take_back(unsafe { Block::returned(elements) });
    }
}
