//! State in 8 bits a number: pairs of an array of codes and one of scales.

use gradmill_core::DType;
use gradmill_core::data::{Codes, CodesMut};
use gradmill_core::number::codes::{Coding, GROUP};
use numpy::npyffi::{NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_WRITEABLE, NPY_TYPES, PY_ARRAY_API};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::memory::recycled;
use super::raw::Raw;
use crate::fault::Place;

/// What belongs to an array of codes.
pub struct Scales {
    /// The pair.
    pair: Py<PyAny>,
    /// The second of its arrays.
    pub object: Py<PyAny>,
    pub raw: Raw,
    coding: Coding,
}

impl Scales {
    /// The codes of `object` and their scales, where it is a pair.
    pub fn of<'py>(
        object: &Bound<'py, PyAny>,
        place: Place,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Raw, Self)>> {
        let Ok(pair) = object.cast::<PyTuple>() else { return Ok(None) };
        let [codes, scale] = &pair.iter().collect::<Vec<_>>()[..] else { return Ok(None) };
        let wrong = |problem: &str| place.value_error(problem);
        let (raw, coding) = Raw::of_codes(codes)
            .ok_or_else(|| wrong("codes: expected a C-contiguous array of int8 or uint8"))?;
        let scales = Raw::of(scale).ok().filter(|scales| {
            scales.dtype() == DType::F32 && scales.is_dense(NPY_ARRAY_C_CONTIGUOUS)
        });
        let scales =
            scales.ok_or_else(|| wrong("scale: expected a C-contiguous array of float32"))?;
        let (got, expected) = (scales.len(), raw.len().div_ceil(GROUP));
        if got != expected {
            let codes = raw.len();
            return Err(wrong(&format!("scale: size {got}, {codes} codes take {expected}")));
        }
        let object = scale.clone().unbind();
        let scales = Self { pair: pair.clone().into_any().unbind(), object, raw: scales, coding };
        Ok(Some((codes.clone(), raw, scales)))
    }

    /// Whether both arrays can be written.
    pub fn are_open(&self, codes: &Raw) -> bool {
        codes.is_dense(NPY_ARRAY_WRITEABLE) && self.raw.is_dense(NPY_ARRAY_WRITEABLE)
    }

    /// A pair of new arrays, uninitialised, for codes of this shape: the codes, and what belongs to them.
    pub fn fresh<'py>(
        &self,
        py: Python<'py>,
        shape: &[usize],
        place: Place,
    ) -> PyResult<(Bound<'py, PyAny>, Raw, Self)> {
        let kind = match self.coding {
            Coding::Signed => NPY_TYPES::NPY_BYTE,
            Coding::Square => NPY_TYPES::NPY_UBYTE,
        };
        let codes = empty(py, shape, kind, 1)?;
        let scale = empty(py, &[self.raw.len()], NPY_TYPES::NPY_FLOAT, 4)?;
        let pair = self.pair.bind(py).get_type().call1((codes, scale))?;
        match Self::of(&pair, place)? {
            Some(pair) => Ok(pair),
            None => Err(place.type_error("is a pair of another class")),
        }
    }

    /// The pair.
    pub fn into_pair(self) -> Py<PyAny> {
        self.pair
    }

    /// Whether the array is where it was.
    pub fn is_unmoved(&self, py: Python<'_>) -> bool {
        self.raw.is_unmoved(py)
    }

    /// # Safety
    /// That of [`Raw::source`], for these scales and the codes they belong to.
    pub unsafe fn source<'r>(&'r self, codes: &'r Raw) -> Codes<'r> {
        let scales: *const f32 = self.raw.data.cast_const().cast();
        // SAFETY: `of` has found dense arrays of these lengths and types; the caller vouches for the rest.
        unsafe {
            Codes {
                coding: self.coding,
                codes: std::slice::from_raw_parts(codes.data.cast_const(), codes.len()),
                scales: std::slice::from_raw_parts(scales, self.raw.len()),
            }
        }
    }

    /// # Safety
    /// That of [`Raw::sink`], for these scales and the codes they belong to.
    pub unsafe fn sink<'r>(&'r self, codes: &'r Raw) -> CodesMut<'r> {
        let scales: *mut f32 = self.raw.data.cast();
        // SAFETY: as in `source`; that both may be written is for the caller to vouch for.
        unsafe {
            CodesMut {
                coding: self.coding,
                codes: std::slice::from_raw_parts_mut(codes.data, codes.len()),
                scales: std::slice::from_raw_parts_mut(scales, self.raw.len()),
            }
        }
    }
}

/// A new array, uninitialised and row-major, of no more axes than an array can have.
fn empty<'py>(
    py: Python<'py>,
    shape: &[usize],
    kind: NPY_TYPES,
    itemsize: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let mut lengths: Vec<isize> = shape.iter().map(|length| length.cast_signed()).collect();
    let bytes = shape.iter().product::<usize>().saturating_mul(itemsize);
    // SAFETY: as many lengths are read as `lengths` has; the reference to the descriptor is given to the new array; a
    // null result means that an exception is set, which is fetched.
    recycled(py, bytes, || unsafe {
        let descr = PY_ARRAY_API.PyArray_DescrFromType(py, kind as i32);
        let axes = lengths.len().cast_signed() as i32;
        let array = PY_ARRAY_API.PyArray_Empty(py, axes, lengths.as_mut_ptr(), descr, 0);
        Bound::from_owned_ptr_or_err(py, array)
    })
}
