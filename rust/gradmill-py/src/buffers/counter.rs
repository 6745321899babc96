//! Counts of steps, read and written where they are.

use numpy::npyffi::{
    self, NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE, NPY_TYPES, PyArrayObject,
    objects::PyArrayObject_fields,
};
use pyo3::prelude::*;

/// A count of steps that a state holds: an array without axes, of int32.
pub struct Counter {
    object: Py<PyAny>,
}

impl Counter {
    /// None where `object` is no such array that can be written.
    pub fn new(object: &Bound<'_, PyAny>) -> Option<Self> {
        // SAFETY: `object` is a valid reference; the call only compares its type.
        if unsafe { npyffi::PyArray_CheckExact(object.py(), object.as_ptr()) } == 0 {
            return None;
        }
        let counter = Self { object: object.clone().unbind() };
        counter.is_intact(object.py()).then_some(counter)
    }

    fn fields(&self) -> &PyArrayObject_fields {
        let array: *mut PyArrayObject = self.object.as_ptr().cast();
        // SAFETY: `new` has found that the object is an array, so its fields are initialised.
        unsafe { &(*array).fields }
    }

    /// Whether it still is an array that can count; the owner may have changed it since it was made.
    pub fn is_intact(&self, _py: Python<'_>) -> bool {
        let fields = self.fields();
        // SAFETY: each array has a descriptor.
        let descr = unsafe { &(*fields.descr).fields };
        let needed = NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE;
        fields.nd == 0
            && descr.type_num == NPY_TYPES::NPY_INT as i32
            && matches!(descr.byteorder.cast_unsigned(), b'=' | b'|')
            && fields.flags & needed == needed
    }

    fn data(&self) -> *mut i32 {
        self.fields().data.cast()
    }

    /// The number, where it is intact.
    pub fn get(&self, py: Python<'_>) -> Option<i32> {
        // SAFETY: four aligned bytes, as `is_intact` finds, and the interpreter is held.
        self.is_intact(py).then(|| unsafe { self.data().read() })
    }

    /// Adds one, or stays at the largest number; whether it was intact.
    pub fn advance(&self, py: Python<'_>) -> bool {
        let next = self.get(py).map(|count| count.saturating_add(1));
        // SAFETY: the same four bytes as in `get`, which may be written, as `is_intact` has found.
        next.map(|next| unsafe { self.data().write(next) }).is_some()
    }
}
