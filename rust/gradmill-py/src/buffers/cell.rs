//! Numbers that a state holds, read and written where they are.

use numpy::npyffi::{
    NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE, NPY_TYPES, PY_ARRAY_API, PyArray_CheckExact,
    PyArrayObject, objects::PyArrayObject_fields,
};
use pyo3::prelude::*;

/// The type of such a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Bool,
    I32,
    F32,
    F64,
}

impl Element {
    fn kind(self) -> i32 {
        let kind = match self {
            Self::Bool => NPY_TYPES::NPY_BOOL,
            Self::I32 => NPY_TYPES::NPY_INT,
            Self::F32 => NPY_TYPES::NPY_FLOAT,
            Self::F64 => NPY_TYPES::NPY_DOUBLE,
        };
        kind as i32
    }

    /// `value` as this type holds it.
    pub fn rounded(self, value: f64) -> f64 {
        if self == Self::F32 { f64::from(value as f32) } else { value }
    }
}

/// An array without axes, of a type that is known and in native order.
pub struct Cell<'py> {
    object: Bound<'py, PyAny>,
    pub element: Element,
}

impl<'py> Cell<'py> {
    /// `object`, where it is such an array of one of `elements`.
    pub fn of(object: &Bound<'py, PyAny>, elements: &[Element]) -> Option<Self> {
        // SAFETY: `object` is a valid reference; the call only compares its type.
        if unsafe { PyArray_CheckExact(object.py(), object.as_ptr()) } == 0 {
            return None;
        }
        let mut cells = elements.iter().map(|&element| Self { object: object.clone(), element });
        cells.find(|cell| cell.has(NPY_ARRAY_ALIGNED))
    }

    /// A new one.
    pub fn new(py: Python<'py>, element: Element, value: f64) -> PyResult<Self> {
        // SAFETY: without axes no length is read; the reference to the descriptor is given to the new array; a null
        // result means that an exception is set, which is fetched.
        let object = unsafe {
            let descr = PY_ARRAY_API.PyArray_DescrFromType(py, element.kind());
            let array = PY_ARRAY_API.PyArray_Empty(py, 0, std::ptr::null_mut(), descr, 0);
            Bound::from_owned_ptr_or_err(py, array)
        }?;
        let cell = Self { object, element };
        cell.set(value);
        Ok(cell)
    }

    fn fields(&self) -> &PyArrayObject_fields {
        let array: *mut PyArrayObject = self.object.as_ptr().cast();
        // SAFETY: both ways to make a cell have found, or made, an array, so its fields are initialised.
        unsafe { &(*array).fields }
    }

    fn at<T>(&self) -> *mut T {
        self.fields().data.cast()
    }

    /// Whether it still is an array of this type without axes, and has these flags.
    fn has(&self, flags: i32) -> bool {
        let fields = self.fields();
        // SAFETY: each array has a descriptor.
        let descr = unsafe { &(*fields.descr).fields };
        fields.nd == 0
            && descr.type_num == self.element.kind()
            && matches!(descr.byteorder.cast_unsigned(), b'=' | b'|')
            && fields.flags & flags == flags
    }

    /// Whether it can be written; its owner may have changed it.
    pub fn is_open(&self) -> bool {
        self.has(NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE)
    }

    /// The number; None where its owner has made something else of it.
    pub fn get(&self) -> Option<f64> {
        // SAFETY: one aligned element of this type, as `has` finds, and a cell exists only while the interpreter is
        // held.
        self.has(NPY_ARRAY_ALIGNED).then(|| unsafe {
            match self.element {
                Element::Bool => f64::from(*self.at::<u8>()),
                Element::I32 => f64::from(*self.at::<i32>()),
                Element::F32 => f64::from(*self.at::<f32>()),
                Element::F64 => *self.at::<f64>(),
            }
        })
    }

    /// Writes `value` as a number of this type; whether it could be written.
    pub fn set(&self, value: f64) -> bool {
        let is_open = self.is_open();
        if is_open {
            // SAFETY: one aligned element of this type that may be written, as `is_open` has found, and the interpreter
            // is held.
            unsafe {
                match self.element {
                    Element::Bool => *self.at::<u8>() = u8::from(value != 0.0),
                    Element::I32 => *self.at::<i32>() = value as i32,
                    Element::F32 => *self.at::<f32>() = value as f32,
                    Element::F64 => *self.at::<f64>() = value,
                }
            }
        }
        is_open
    }

    /// The array.
    pub fn object(&self) -> &Bound<'py, PyAny> {
        &self.object
    }
}
