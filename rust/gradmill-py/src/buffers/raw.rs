//! An array object as NumPy describes it: element type, address, layout.

use std::sync::atomic::{AtomicI32, Ordering};

use gradmill_core::data::{Layout, Sink, Source, Strided, StridedMut, View, ViewMut};
use gradmill_core::data::{Span, gcd};
use gradmill_core::number::codes::Coding;
use gradmill_core::{DType, Element, Float};
use numpy::npyffi::{
    self, NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_F_CONTIGUOUS, NPY_TYPES,
    PyArrayObject, objects::PyArrayObject_fields,
};
use pyo3::prelude::*;

/// Where an array's elements lie, as NumPy said when this was made.
///
/// The array object is looked at while the interpreter is held alone: what takes no token for that works on
/// what was noted here, as another thread may reshape the array at any other time.
#[derive(Debug)]
pub struct Raw {
    pub(super) object: *mut PyArrayObject,
    pub(super) data: *mut u8,
    dtype: DType,
    pub(super) len: usize,
    flags: i32,
    /// Lengths and strides in elements, of an array that is not dense row by row.
    layout: Option<Layout>,
}

// SAFETY: a `Raw` follows `object` with the interpreter held alone, which is one thread at a time, and makes
// views of what `data` points to in functions alone that are marked unsafe.
unsafe impl Send for Raw {}
// SAFETY: nothing in it changes once it is made, and the same holds for what it follows.
unsafe impl Sync for Raw {}

/// In which order the arrays of one leaf are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they lie in memory, where they are dense; the arrays of a leaf must lie alike then.
    Memory,
    /// Row by row, whatever their strides.
    Logical,
}

/// The dtypes that kernels take, in words.
pub(super) const DTYPES: &str = "float16, bfloat16, float32 or float64";

/// The flags of which one says that an array is dense where it is walked in this order.
fn dense_in(order: Order) -> i32 {
    match order {
        Order::Memory => NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS,
        Order::Logical => NPY_ARRAY_C_CONTIGUOUS,
    }
}

/// Why an array cannot be used as it is.
pub(super) enum Unfit {
    NotExactArray,
    NotNative,
    DType,
    /// Elements lie a fraction of their size apart.
    Strides,
}

/// NumPy's number of bfloat16, which the package that brings the dtype gets when it registers it.
static BFLOAT16: AtomicI32 = AtomicI32::new(NOT_SEEN);

/// The number as long as no array of it has been seen, which is no dtype's.
const NOT_SEEN: i32 = -1;

/// Whether `object` is the first array of bfloat16.
#[cold]
fn meets_bfloat16(object: &Bound<'_, PyAny>) -> bool {
    let number = || {
        let dtype = object.getattr("dtype")?;
        let is_known = dtype.getattr("name")?.eq("bfloat16")?;
        PyResult::Ok(is_known.then_some(dtype.getattr("num")?.extract()?))
    };
    match number() {
        Ok(Some(number)) if BFLOAT16.load(Ordering::Relaxed) == NOT_SEEN => {
            BFLOAT16.store(number, Ordering::Relaxed);
            true
        }
        _ => false,
    }
}

/// What codes of this type stand for.
fn coding_of(kind: i32) -> Option<Coding> {
    match kind {
        kind if kind == NPY_TYPES::NPY_BYTE as i32 => Some(Coding::Signed),
        kind if kind == NPY_TYPES::NPY_UBYTE as i32 => Some(Coding::Square),
        _ => None,
    }
}

/// The dtype of an array, where kernels take it and its bytes are in native order.
fn dtype_of(fields: &PyArrayObject_fields) -> Result<DType, Unfit> {
    // SAFETY: each array has a descriptor.
    let descr = unsafe { &(*fields.descr).fields };
    let dtype = match descr.type_num {
        kind if kind == NPY_TYPES::NPY_FLOAT as i32 => DType::F32,
        kind if kind == NPY_TYPES::NPY_DOUBLE as i32 => DType::F64,
        kind if kind == NPY_TYPES::NPY_HALF as i32 => DType::F16,
        kind if kind == BFLOAT16.load(Ordering::Relaxed) => DType::BF16,
        kind if coding_of(kind).is_some() => DType::Codes,
        _ => return Err(Unfit::DType),
    };
    let foreign = if cfg!(target_endian = "little") { b'>' } else { b'<' };
    if descr.byteorder.cast_unsigned() == foreign { Err(Unfit::NotNative) } else { Ok(dtype) }
}

/// Asks for two lines of a cache, where the processor takes such hints.
#[inline]
fn prefetch(start: *const u8) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..2 {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, for which no address is invalid.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(64 * line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = start;
}

impl Raw {
    /// Describes `object`, an array of native, aligned floats.
    pub(super) fn of(object: &Bound<'_, PyAny>) -> Result<Self, Unfit> {
        Self::like(object, None)
    }

    /// Describes `object`, an array of native, aligned floats; one that lies like the array of this layout shares it.
    pub(super) fn like(object: &Bound<'_, PyAny>, layout: Option<&Layout>) -> Result<Self, Unfit> {
        let py = object.py();
        // SAFETY: `object` is a valid reference; the call only compares its type.
        if unsafe { npyffi::PyArray_CheckExact(py, object.as_ptr()) } == 0 {
            return Err(Unfit::NotExactArray);
        }
        let array: *mut PyArrayObject = object.as_ptr().cast();
        // SAFETY: `object` is an array, so its fields are initialised.
        let fields = unsafe { &(*array).fields };
        let dtype = match dtype_of(fields) {
            Err(Unfit::DType) if meets_bfloat16(object) => DType::BF16,
            Ok(DType::Codes) => return Err(Unfit::DType),
            found => found?,
        };
        if fields.flags & NPY_ARRAY_ALIGNED == 0 {
            return Err(Unfit::NotNative);
        }
        let (data, flags) = (fields.data.cast(), fields.flags);
        let mut raw = Self { object: array, data, dtype, len: 0, flags, layout: None };
        raw.len = raw.shape(py).iter().product();
        if !raw.is_dense(NPY_ARRAY_C_CONTIGUOUS) {
            let size = itemsize(dtype).cast_signed();
            if raw.axes(py).any(|(_, stride)| stride % size != 0) {
                return Err(Unfit::Strides);
            }
            let alike = layout.filter(|layout| raw.axes(py).eq(raw.in_bytes(layout)));
            let new = || Layout::new(raw.axes(py).map(|(length, by)| (length, by / size)));
            raw.layout = Some(alike.cloned().unwrap_or_else(new));
        }
        Ok(raw)
    }

    /// Describes `object`, an array of codes that are next to each other, row by row, and what they stand for.
    pub(super) fn of_codes(object: &Bound<'_, PyAny>) -> Option<(Self, Coding)> {
        let py = object.py();
        // SAFETY: `object` is a valid reference; the call only compares its type.
        if unsafe { npyffi::PyArray_CheckExact(py, object.as_ptr()) } == 0 {
            return None;
        }
        let array: *mut PyArrayObject = object.as_ptr().cast();
        // SAFETY: `object` is an array, so its fields and its descriptor are initialised.
        let (fields, descr) = unsafe { (&(*array).fields, &(*(*array).fields.descr).fields) };
        let coding = coding_of(descr.type_num)?;
        let (data, flags, dtype) = (fields.data.cast(), fields.flags, DType::Codes);
        let mut raw = Self { object: array, data, dtype, len: 0, flags, layout: None };
        raw.len = raw.shape(py).iter().product();
        raw.is_dense(NPY_ARRAY_C_CONTIGUOUS).then_some((raw, coding))
    }

    /// The length of each axis at this moment; to be done with before code of the user's runs.
    pub fn shape<'r>(&'r self, _py: Python<'r>) -> &'r [usize] {
        // SAFETY: whoever has a `Raw` holds the array. NumPy keeps `nd` lengths there, none negative, and
        // nobody changes them while the interpreter is held; without axes the pointer may be null.
        unsafe {
            let fields = &(*self.object).fields;
            match fields.nd {
                0 => &[],
                axes => std::slice::from_raw_parts(
                    fields.dimensions.cast(),
                    axes.cast_unsigned() as usize,
                ),
            }
        }
    }

    /// The length of each axis and the bytes from one element of it to the next, as long as the interpreter is held.
    fn axes<'r>(&'r self, py: Python<'r>) -> impl Iterator<Item = (usize, isize)> {
        // SAFETY: NumPy keeps as many strides as lengths; for the rest as in `shape`.
        let strides: &[isize] = unsafe {
            let fields = &(*self.object).fields;
            match fields.nd {
                0 => &[],
                axes => {
                    std::slice::from_raw_parts(fields.strides.cast(), axes.cast_unsigned() as usize)
                }
            }
        };
        self.shape(py).iter().copied().zip(strides.iter().copied())
    }

    /// Lengths and strides, of an array that is not dense row by row.
    pub fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Asks for the array object, to be looked at soon.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(self.object.cast());
    }

    /// Whether `object` is an array whose elements are where those of the last one were, which it takes the place
    /// of.
    #[inline]
    pub(super) fn becomes(&mut self, object: &Bound<'_, PyAny>) -> bool {
        let py = object.py();
        // SAFETY: `object` is a valid reference; the call only compares its type.
        if unsafe { npyffi::PyArray_CheckExact(py, object.as_ptr()) } == 0 {
            return false;
        }
        self.object = object.as_ptr().cast();
        self.is_unmoved(py)
    }

    /// Whether the elements of the array are where they were.
    #[inline]
    pub fn is_unmoved(&self, py: Python<'_>) -> bool {
        // SAFETY: whoever has a `Raw` holds the array, which has its fields and its descriptor, and nobody
        // changes them while the interpreter is held.
        let fields = unsafe { &(*self.object).fields };
        let is_float = || dtype_of(fields).is_ok_and(|dtype| dtype == self.dtype);
        fields.data.cast() == self.data
            && fields.flags == self.flags
            && is_float()
            && match &self.layout {
                None => self.shape(py).iter().product::<usize>() == self.len,
                Some(layout) => self.axes(py).eq(self.in_bytes(layout)),
            }
    }

    /// The axes of `layout` with strides in bytes.
    fn in_bytes(&self, layout: &Layout) -> impl Iterator<Item = (usize, isize)> {
        let size = itemsize(self.dtype).cast_signed();
        layout.axes().iter().map(move |&(length, stride)| (length, stride * size))
    }

    pub(super) fn is_dense(&self, flag: i32) -> bool {
        self.flags & flag != 0
    }

    /// The bytes that the array touches.
    pub fn span(&self, written: bool) -> Span {
        let (start, size) = (self.data.addr(), itemsize(self.dtype));
        let layout = match &self.layout {
            Some(layout) if !self.is_dense(NPY_ARRAY_F_CONTIGUOUS) => layout,
            _ => return Span { start, end: start + self.len * size, written, size, step: size },
        };
        let Some((low, high)) = layout.extent() else {
            return Span { start, end: start, written, size, step: size };
        };
        let long = self.in_bytes(layout).filter(|(length, _)| *length > 1);
        let strides = long.map(|(_, stride)| stride);
        Span {
            start: start.wrapping_add_signed(low * size.cast_signed()),
            end: start.wrapping_add_signed(high * size.cast_signed()) + size,
            written,
            size,
            step: strides.fold(0, |step, stride| gcd(step, stride.unsigned_abs())),
        }
    }

    /// The order for a leaf with these arrays. Reductions go row by row, so that the bits of a norm do
    /// not depend on how an array lies in memory.
    #[inline]
    pub fn common_order<'r>(arrays: impl Iterator<Item = &'r Self>, reduces: bool) -> Order {
        let common = arrays.fold(!0, |flags, array| flags & array.flags);
        let row_major = common & NPY_ARRAY_C_CONTIGUOUS != 0;
        if row_major || !reduces && common & NPY_ARRAY_F_CONTIGUOUS != 0 {
            Order::Memory
        } else {
            Order::Logical
        }
    }

    /// # Safety
    /// The memory of the array stays where it is, and nobody writes to it, as long as the view lives.
    pub(super) unsafe fn source(&self, order: Order) -> Source<'_> {
        // SAFETY: passed on to the caller.
        unsafe {
            match self.dtype {
                DType::F16 => Source::F16(self.view(order)),
                DType::BF16 => Source::BF16(self.view(order)),
                DType::F32 => Source::F32(self.view(order)),
                DType::F64 => Source::F64(self.view(order)),
                DType::Codes => unreachable!("codes are read with their scales"),
            }
        }
    }

    /// # Safety
    /// The memory of the array stays where it is and may be written, and nobody else touches it, as long as the
    /// view lives.
    pub(super) unsafe fn sink(&self, order: Order) -> Sink<'_> {
        // SAFETY: passed on to the caller.
        unsafe {
            match self.dtype {
                DType::F16 => Sink::F16(self.view_mut(order)),
                DType::BF16 => Sink::BF16(self.view_mut(order)),
                DType::F32 => Sink::F32(self.view_mut(order)),
                DType::F64 => Sink::F64(self.view_mut(order)),
                DType::Codes => unreachable!("codes are written with their scales"),
            }
        }
    }

    unsafe fn view<T: Element>(&self, order: Order) -> View<'_, T> {
        let first: *const T = self.data.cast_const().cast();
        match self.strided(order) {
            // SAFETY: NumPy vouches that the shape and strides that were noted stay within the memory at
            // `data`, which is aligned; that it is there and left alone is what `source`'s caller vouches for.
            Some(layout) => View::Strided(unsafe { Strided::new(first, layout) }),
            // SAFETY: a dense array of `len` aligned elements; the caller of `source` vouches for the rest.
            None => View::Dense(unsafe { std::slice::from_raw_parts(first, self.len) }),
        }
    }

    unsafe fn view_mut<T: Element>(&self, order: Order) -> ViewMut<'_, T> {
        let first: *mut T = self.data.cast();
        match self.strided(order) {
            // SAFETY: as NumPy vouches for what `view` says; `Writable` refuses arrays whose elements overlap,
            // a fresh array has none, and that nobody else touches them is what `sink`'s caller vouches for.
            Some(layout) => ViewMut::Strided(unsafe { StridedMut::new(first, layout) }),
            // SAFETY: a dense array of `len` aligned elements; the caller of `sink` vouches for sole access.
            None => ViewMut::Dense(unsafe { std::slice::from_raw_parts_mut(first, self.len) }),
        }
    }

    /// The layout to walk by, where the array is not walked as it lies in memory.
    fn strided(&self, order: Order) -> Option<&Layout> {
        if self.is_dense(dense_in(order)) || self.len == 0 { None } else { self.layout.as_ref() }
    }

    /// Whether the elements are of this type and next to each other, in this order.
    pub(super) fn is_slice<T: Float>(&self, order: Order) -> bool {
        self.dtype == T::DTYPE && self.is_dense(dense_in(order))
    }

    /// Whether two indices may lead to one element: sorted by stride, each axis must step over all that
    /// the smaller ones reach.
    pub(super) fn overlaps_itself(&self) -> bool {
        let layout = match &self.layout {
            Some(layout) if self.len > 0 && !self.is_dense(NPY_ARRAY_F_CONTIGUOUS) => layout,
            _ => return false,
        };
        let axes = layout.axes().iter().filter(|(length, _)| *length > 1);
        let mut axes: Vec<(usize, usize)> =
            axes.map(|(length, stride)| (stride.unsigned_abs(), *length)).collect();
        axes.sort_unstable();
        let mut reach = 1;
        axes.iter().any(|&(stride, length)| {
            let overlaps = stride < reach;
            reach += stride * (length - 1);
            overlaps
        })
    }
}

pub(super) fn itemsize(dtype: DType) -> usize {
    match dtype {
        DType::Codes => 1,
        DType::F16 | DType::BF16 => 2,
        DType::F32 => 4,
        DType::F64 => 8,
    }
}

/// NumPy's number of a dtype.
pub(super) fn kind(dtype: DType) -> i32 {
    match dtype {
        DType::Codes => NPY_TYPES::NPY_BYTE as i32,
        DType::F16 => NPY_TYPES::NPY_HALF as i32,
        DType::BF16 => BFLOAT16.load(Ordering::Relaxed),
        DType::F32 => NPY_TYPES::NPY_FLOAT as i32,
        DType::F64 => NPY_TYPES::NPY_DOUBLE as i32,
    }
}
