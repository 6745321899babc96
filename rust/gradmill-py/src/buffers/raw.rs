//! An array object as NumPy describes it: element type, address, layout.

use std::sync::atomic::{AtomicI32, Ordering};

use gradmill_core::alias::{Span, gcd};
use gradmill_core::leaf::{Layout, Sink, Source, Strided, StridedMut, View, ViewMut};
use gradmill_core::{DType, Element, Float};
use numpy::npyffi::{
    self, NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_F_CONTIGUOUS, NPY_TYPES,
    PyArrayObject, objects::PyArrayObject_fields,
};
use pyo3::prelude::*;

/// Where an array's elements lie, as NumPy says at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    pub(super) object: *mut PyArrayObject,
    pub(super) data: *mut u8,
    dtype: DType,
    pub(super) len: usize,
    flags: i32,
}

// SAFETY: a `Raw` is an address; the functions that follow it say who keeps the memory alive.
unsafe impl Send for Raw {}
// SAFETY: as above.
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

/// The dtype of an array, where kernels take it and its bytes are in native order.
fn dtype_of(fields: &PyArrayObject_fields) -> Result<DType, Unfit> {
    // SAFETY: each array has a descriptor.
    let descr = unsafe { &(*fields.descr).fields };
    let dtype = match descr.type_num {
        kind if kind == NPY_TYPES::NPY_FLOAT as i32 => DType::F32,
        kind if kind == NPY_TYPES::NPY_DOUBLE as i32 => DType::F64,
        kind if kind == NPY_TYPES::NPY_HALF as i32 => DType::F16,
        kind if kind == BFLOAT16.load(Ordering::Relaxed) => DType::BF16,
        _ => return Err(Unfit::DType),
    };
    let foreign = if cfg!(target_endian = "little") { b'>' } else { b'<' };
    if descr.byteorder.cast_unsigned() == foreign { Err(Unfit::NotNative) } else { Ok(dtype) }
}

/// Asks for so many lines of a cache, where the processor takes such hints.
#[inline]
fn prefetch<const LINES: usize>(start: *const u8) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..LINES {
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
            found => found?,
        };
        if fields.flags & NPY_ARRAY_ALIGNED == 0 {
            return Err(Unfit::NotNative);
        }
        let mut raw =
            Self { object: array, data: fields.data.cast(), dtype, len: 0, flags: fields.flags };
        raw.len = raw.shape().iter().product();
        Ok(raw)
    }

    /// The length of each axis. Valid only while the interpreter is held since [`Raw::of`].
    pub fn shape(&self) -> &[usize] {
        // SAFETY: NumPy keeps `nd` lengths there, none negative; without axes the pointer may be null.
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

    /// The bytes from one element of an axis to the next. Valid as long as [`Raw::shape`].
    fn strides(&self) -> &[isize] {
        // SAFETY: as for `shape`.
        unsafe {
            let fields = &(*self.object).fields;
            match fields.nd {
                0 => &[],
                axes => {
                    std::slice::from_raw_parts(fields.strides.cast(), axes.cast_unsigned() as usize)
                }
            }
        }
    }

    /// The length and the stride of each axis. Valid as long as [`Raw::shape`].
    pub(super) fn axes(&self) -> impl Iterator<Item = (usize, isize)> {
        self.shape().iter().copied().zip(self.strides().iter().copied())
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
        prefetch::<2>(self.object.cast());
    }

    /// Asks for the first elements; the processor itself sees that more are to come.
    #[inline]
    pub fn prefetch_elements(&self) {
        prefetch::<4>(self.data);
    }

    /// Whether the memory of the array is where it was. Valid only while somebody holds it.
    pub fn is_unmoved(&self) -> bool {
        // SAFETY: an array object that is alive has its fields and its descriptor.
        let fields = unsafe { &(*self.object).fields };
        let is_float = || dtype_of(fields).is_ok_and(|dtype| dtype == self.dtype);
        fields.data.cast() == self.data
            && fields.flags == self.flags
            && is_float()
            && self.shape().iter().product::<usize>() == self.len
    }

    fn itemsize(&self) -> usize {
        itemsize(self.dtype)
    }

    /// The layout in elements, or `None` where a stride is no multiple of the element's size.
    fn layout(&self) -> Option<Layout> {
        let size = self.itemsize().cast_signed();
        let whole = self.strides().iter().all(|stride| stride % size == 0);
        whole.then(|| Layout::new(self.axes().map(|(length, stride)| (length, stride / size))))
    }

    pub(super) fn is_dense(&self, flag: i32) -> bool {
        self.flags & flag != 0
    }

    /// The bytes that the array touches.
    pub fn span(&self, written: bool) -> Span {
        let (start, size) = (self.data.addr(), self.itemsize());
        if self.is_dense(NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS) {
            return Span { start, end: start + self.len * size, written, size, step: size };
        }
        let Some((low, high)) = Layout::new(self.axes()).extent() else {
            return Span { start, end: start, written, size, step: size };
        };
        let strides = self.axes().filter(|(length, _)| *length > 1).map(|(_, stride)| stride);
        Span {
            start: start.wrapping_add_signed(low),
            end: start.wrapping_add_signed(high) + size,
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
    /// The array stays alive, and nobody writes to it, as long as the view lives.
    pub(super) unsafe fn source<'a>(&self, order: Order) -> Source<'a> {
        // SAFETY: passed on to the caller.
        unsafe {
            match self.dtype {
                DType::F16 => Source::F16(self.view(order)),
                DType::BF16 => Source::BF16(self.view(order)),
                DType::F32 => Source::F32(self.view(order)),
                DType::F64 => Source::F64(self.view(order)),
            }
        }
    }

    /// # Safety
    /// The array stays alive and writeable, and nobody else touches it, as long as the view lives.
    pub(super) unsafe fn sink<'a>(&self, order: Order) -> Sink<'a> {
        // SAFETY: passed on to the caller.
        unsafe {
            match self.dtype {
                DType::F16 => Sink::F16(self.view_mut(order)),
                DType::BF16 => Sink::BF16(self.view_mut(order)),
                DType::F32 => Sink::F32(self.view_mut(order)),
                DType::F64 => Sink::F64(self.view_mut(order)),
            }
        }
    }

    unsafe fn view<'a, T: Element>(&self, order: Order) -> View<'a, T> {
        let first: *const T = self.data.cast_const().cast();
        match self.strided(order) {
            // SAFETY: NumPy vouches that shape and strides stay within the array's memory, which is
            // aligned; the caller of `source` vouches for the rest.
            Some(layout) => View::Strided(Box::new(unsafe { Strided::new(first, layout) })),
            // SAFETY: a dense array of `len` aligned elements; the caller of `source` vouches for the rest.
            None => View::Dense(unsafe { std::slice::from_raw_parts(first, self.len) }),
        }
    }

    unsafe fn view_mut<'a, T: Element>(&self, order: Order) -> ViewMut<'a, T> {
        let first: *mut T = self.data.cast();
        match self.strided(order) {
            // SAFETY: as in `view`; `Writable` refuses arrays whose elements overlap.
            Some(layout) => ViewMut::Strided(Box::new(unsafe { StridedMut::new(first, layout) })),
            // SAFETY: as in `view`; the caller of `sink` vouches for sole access.
            None => ViewMut::Dense(unsafe { std::slice::from_raw_parts_mut(first, self.len) }),
        }
    }

    /// The layout to walk by, where the array is not walked as it lies in memory.
    fn strided(&self, order: Order) -> Option<Layout> {
        if self.is_dense(dense_in(order)) || self.len == 0 { None } else { self.layout() }
    }

    /// Whether the elements are of this type and next to each other, in this order.
    pub(super) fn is_slice<T: Float>(&self, order: Order) -> bool {
        self.dtype == T::DTYPE && self.is_dense(dense_in(order))
    }

    pub(super) fn has_whole_strides(&self) -> bool {
        self.is_dense(NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS) || self.layout().is_some()
    }

    /// Whether two indices may lead to one element: sorted by stride, each axis must step over all that
    /// the smaller ones reach.
    pub(super) fn overlaps_itself(&self) -> bool {
        if self.len == 0 || self.is_dense(NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS) {
            return false;
        }
        let axes = self.axes().filter(|(length, _)| *length > 1);
        let mut axes: Vec<(usize, usize)> =
            axes.map(|(length, stride)| (stride.unsigned_abs(), length)).collect();
        axes.sort_unstable();
        let mut reach = self.itemsize();
        axes.iter().any(|&(stride, length)| {
            let overlaps = stride < reach;
            reach += stride * (length - 1);
            overlaps
        })
    }
}

pub(super) fn itemsize(dtype: DType) -> usize {
    match dtype {
        DType::F16 | DType::BF16 => 2,
        DType::F32 => 4,
        DType::F64 => 8,
    }
}

/// NumPy's number of a dtype.
pub(super) fn kind(dtype: DType) -> i32 {
    match dtype {
        DType::F16 => NPY_TYPES::NPY_HALF as i32,
        DType::BF16 => BFLOAT16.load(Ordering::Relaxed),
        DType::F32 => NPY_TYPES::NPY_FLOAT as i32,
        DType::F64 => NPY_TYPES::NPY_DOUBLE as i32,
    }
}
