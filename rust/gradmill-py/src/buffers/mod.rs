//! NumPy arrays as views for the core.
//!
//! Borrow flags are of no use here: they forbid a reader and a writer of one array, which is what a step
//! in place is. Instead, each array's memory is described once by [`Raw`], overlap is found by address,
//! and the views made from it live no longer than one call, which holds a reference to each array.
#![expect(unsafe_code, reason = "array objects are read, and slices made, through raw pointers")]

mod cell;
mod codes;
mod counter;
mod memory;
mod raw;
mod tree;

use gradmill_core::data::{Layout, Sink, Source, Span, Updates};
use gradmill_core::{DType, Float};
use numpy::npyffi::{NPY_ARRAY_WRITEABLE, NPY_ORDER, PY_ARRAY_API};
use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

pub use self::cell::{Cell, Element};
use self::codes::Scales;
pub use self::counter::Counter;
pub use self::memory::clear_cache;
use self::memory::recycled;
use self::raw::{DTYPES, Unfit, itemsize, kind};
pub use self::raw::{Order, Raw};
pub use self::tree::Structure;
use crate::fault::Place;

/// What an array whose layout cannot be written is refused with.
const STRIDES: &str = "has strides that lead to one element twice or between two";

/// What an array that was changed during a call is refused with.
pub const CHANGED: &str = "was resized or moved while other leaves were converted";

/// An array that is read during one call.
pub struct Readable<'py> {
    object: Bound<'py, PyAny>,
    pub raw: Raw,
    place: Place,
    scales: Option<Box<Scales>>,
}

impl<'py> Readable<'py> {
    /// `object` itself, or a native copy where its memory is not as the kernels need it.
    pub fn new(object: Bound<'py, PyAny>, place: Place) -> PyResult<Self> {
        Self::like(object, place, None)
    }

    /// `object` itself, or a native copy of it; where it lies like the array of this layout, it shares that.
    pub fn like(
        object: Bound<'py, PyAny>,
        place: Place,
        layout: Option<&Layout>,
    ) -> PyResult<Self> {
        match Raw::like(&object, layout) {
            Ok(raw) => Ok(Self { object, raw, place, scales: None }),
            Err(_) => Self::converted(&object, place),
        }
    }

    /// State: `object` itself, a pair of codes and scales, or a native copy.
    pub fn state(object: Bound<'py, PyAny>, place: Place) -> PyResult<Self> {
        match Scales::of(&object, place)? {
            Some((object, raw, scales)) => {
                Ok(Self { object, raw, place, scales: Some(Box::new(scales)) })
            }
            None => Self::new(object, place),
        }
    }

    /// `object` itself, where its memory is as the kernels need it.
    pub fn plain(object: Bound<'py, PyAny>, place: Place, layout: Option<&Layout>) -> Option<Self> {
        Raw::like(&object, layout).ok().map(|raw| Self { object, raw, place, scales: None })
    }

    #[cold]
    fn converted(object: &Bound<'py, PyAny>, place: Place) -> PyResult<Self> {
        let py = object.py();
        let convert =
            py.import(intern!(py, "gradmill._data.arrays"))?.getattr(intern!(py, "as_native"))?;
        let object = convert.call1((object,)).map_err(|error| {
            let is = |kind: Bound<'_, PyType>| error.is_instance(py, &kind);
            if is(py.get_type::<PyException>()) && !is(py.get_type::<PyMemoryError>()) {
                return place.type_error(error.value(py).to_string());
            }
            error
        })?;
        match Raw::of(&object) {
            Ok(raw) => Ok(Self { object, raw, place, scales: None }),
            Err(_) => Err(place.value_error("has no native copy")),
        }
    }

    /// Looks at all arrays of a call once more. Those that are not NumPy's own are converted by code of
    /// the user's, which may have done anything to the ones before.
    pub fn check_unmoved<'r>(arrays: impl IntoIterator<Item = &'r Self>) -> PyResult<()>
    where
        'py: 'r,
    {
        match arrays.into_iter().find(|array| !array.raw.is_unmoved(array.object.py())) {
            Some(array) => Err(array.place.value_error(CHANGED)),
            None => Ok(()),
        }
    }

    /// The same array, kept beyond the lifetime of the token.
    pub fn hold(self) -> Held {
        Held { _object: self.object.unbind(), raw: self.raw, scales: self.scales }
    }

    /// A new array for what becomes of this one, row by row, uninitialised.
    pub fn next(&self) -> PyResult<Made> {
        let (py, shape) = (self.object.py(), self.raw.shape(self.object.py()));
        let Some(scales) = &self.scales else {
            return Ok(Fresh::new(py, shape, self.raw.dtype())?.keep());
        };
        let (codes, raw, scales) = scales.fresh(py, shape, self.place)?;
        Ok(Made { object: codes.unbind(), raw, scales: Some(Box::new(scales)) })
    }

    /// The array itself, or the copy of it that is read instead.
    pub fn object(&self) -> &Bound<'py, PyAny> {
        &self.object
    }

    /// The elements. Another Python thread that writes to the array meanwhile races with the kernel, as
    /// it would with any NumPy function.
    pub fn source(&self, order: Order) -> Source<'_> {
        // SAFETY: `self.object` keeps the array alive, and NumPy moves the memory of one that somebody else
        // refers to only where it is told not to look (`resize(refcheck=False)`), which is the teller's affair.
        // Arrays that a call writes overlap none that it reads: they are fresh, or `InPlace` has compared
        // their addresses.
        unsafe { self.raw.source(order) }
    }
}

/// An array that is read during one call, kept in a place of its own.
pub struct Held {
    _object: Py<PyAny>,
    pub raw: Raw,
    scales: Option<Box<Scales>>,
}

impl Held {
    /// The elements; see [`Readable::source`].
    pub fn source(&self, order: Order) -> Source<'_> {
        match &self.scales {
            // SAFETY: `self._object` keeps the array alive; see `Readable::source` for the rest.
            None => unsafe { self.raw.source(order) },
            // SAFETY: the same for the codes, and the scales hold their own array.
            Some(scales) => Source::Codes(unsafe { scales.source(&self.raw) }),
        }
    }

    /// Whether the elements, and their scales where there are such, are where they were.
    pub fn is_unmoved(&self, py: Python<'_>) -> bool {
        self.raw.is_unmoved(py) && self.scales.as_ref().is_none_or(|scales| scales.is_unmoved(py))
    }

    /// The elements as a slice, where they are dense in this order and of this type.
    pub fn dense<T: Float>(&self, order: Order) -> Option<&[T]> {
        // SAFETY: a dense array of `len` elements of this type, kept alive by `self._object`; see
        // `Readable::source` for the rest.
        self.raw.is_slice::<T>(order).then(|| unsafe {
            std::slice::from_raw_parts(self.raw.data.cast_const().cast(), self.raw.len)
        })
    }
}

/// An array that is read in one step, and where the elements of the last one lay: an array in the same place tends
/// to come again.
#[derive(Default)]
pub struct Incoming {
    object: Option<Py<PyAny>>,
    raw: Option<Raw>,
    is_spent: bool,
}

impl Incoming {
    /// Keeps an array for a step.
    pub fn keep(&mut self, array: Readable<'_>) {
        self.object = Some(array.object.unbind());
        self.raw = Some(array.raw);
    }

    /// Keeps `object` for a step, if it is an array of NumPy's own like the last one, in the same memory.
    #[inline]
    pub fn keep_again(&mut self, object: &Bound<'_, PyAny>) -> bool {
        let is_like = self.raw.as_mut().is_some_and(|raw| raw.becomes(object));
        if is_like {
            self.object = Some(object.clone().unbind());
        }
        is_like
    }

    /// The layout of the last array, which the next one may share.
    pub fn layout(&self) -> Option<&Layout> {
        self.raw.as_ref().and_then(Raw::layout)
    }

    /// Asks for the object of the last array, which may be there again.
    #[inline]
    pub fn prefetch(&self) {
        self.raw.iter().for_each(Raw::prefetch);
    }

    /// The array.
    pub fn object(&self) -> Option<&Py<PyAny>> {
        self.object.as_ref()
    }

    /// Makes the array one that the step zeroes, of which the caller knows that no other array of the step overlaps it.
    pub fn spend(&mut self, place: Place) -> PyResult<()> {
        let Some(raw) = self.raw() else { return Ok(()) };
        if !raw.is_dense(NPY_ARRAY_WRITEABLE) {
            return Err(place.value_error("is read-only"));
        }
        if raw.overlaps_itself() {
            return Err(place.value_error(STRIDES));
        }
        self.is_spent = true;
        Ok(())
    }

    /// The elements to be zeroed after they are read, where the step does so.
    pub fn sink(&mut self, order: Order) -> Option<Sink<'_>> {
        // SAFETY: `self.object` is there and keeps the array alive, which was writeable and had no element twice when
        // `spend` was called; it overlaps no other array of the step, as `spend`'s caller has found out. See
        // `Readable::source` for its memory.
        self.raw().filter(|_| self.is_spent).map(|raw| unsafe { raw.sink(order) })
    }

    /// Lets go of the array.
    #[inline]
    pub fn release(&mut self, py: Python<'_>) {
        self.is_spent = false;
        drop(self.object.take().map(|object| object.into_bound(py)));
    }

    /// Whether there is an array.
    #[inline]
    pub fn is_there(&self) -> bool {
        self.object.is_some()
    }

    /// The array, as NumPy described it.
    #[inline]
    pub fn raw(&self) -> Option<&Raw> {
        self.raw.as_ref().filter(|_| self.is_there())
    }

    /// The elements; see [`Readable::source`].
    pub fn source(&self, order: Order) -> Option<Source<'_>> {
        // SAFETY: `self.object` is there and keeps the array alive; see `Readable::source` for the rest.
        self.raw().map(|raw| unsafe { raw.source(order) })
    }

    /// The elements, to be zeroed after they are read where the step does so.
    pub fn updates(&mut self, order: Order) -> Option<Updates<'_>> {
        if self.is_spent {
            self.sink(order).map(Updates::Spent)
        } else {
            self.source(order).map(Updates::Kept)
        }
    }

    /// The elements as a slice, where they are dense in this order and of this type.
    #[inline]
    pub fn dense<T: Float>(&self, order: Order) -> Option<&[T]> {
        // SAFETY: a dense array of `len` elements of this type, kept alive by `self.object`; see
        // `Readable::source` for the rest.
        self.raw()
            .filter(|raw| raw.is_slice::<T>(order))
            .map(|raw| unsafe { std::slice::from_raw_parts(raw.data.cast_const().cast(), raw.len) })
    }
}

/// A new array that nobody else has seen yet.
pub struct Fresh<'py> {
    object: Bound<'py, PyAny>,
    pub raw: Raw,
}

impl<'py> Fresh<'py> {
    /// Uninitialised, with the shape of `like` and its memory order as far as possible.
    pub fn like(like: &Readable<'py>, dtype: DType) -> PyResult<Self> {
        let (py, like) = (like.object.py(), &like.raw);
        // SAFETY: `like.object` is an array that is alive; the reference to the descriptor is given to
        // the new one; a null result means that an exception is set, which is fetched.
        let make = || unsafe {
            let descr = PY_ARRAY_API.PyArray_DescrFromType(py, kind(dtype));
            let array = PY_ARRAY_API.PyArray_NewLikeArray(
                py,
                like.object,
                NPY_ORDER::NPY_KEEPORDER,
                descr,
                0,
            );
            Bound::from_owned_ptr_or_err(py, array)
        };
        Ok(Self::of(recycled(py, like.len.saturating_mul(itemsize(dtype)), make)?))
    }

    /// Uninitialised and row-major. `shape` has no more axes than an array can have.
    pub fn new(py: Python<'py>, shape: &[usize], dtype: DType) -> PyResult<Self> {
        let mut lengths: Vec<isize> = shape.iter().map(|length| length.cast_signed()).collect();
        // SAFETY: as many lengths are read as `lengths` has; the reference to the descriptor is given to the
        // new array; a null result means that an exception is set, which is fetched.
        let make = || unsafe {
            let descr = PY_ARRAY_API.PyArray_DescrFromType(py, kind(dtype));
            let axes = lengths.len().cast_signed() as i32;
            let array = PY_ARRAY_API.PyArray_Empty(py, axes, lengths.as_mut_ptr(), descr, 0);
            Bound::from_owned_ptr_or_err(py, array)
        };
        Ok(Self::of(recycled(
            py,
            shape.iter().product::<usize>().saturating_mul(itemsize(dtype)),
            make,
        )?))
    }

    fn of(object: Bound<'py, PyAny>) -> Self {
        match Raw::of(&object) {
            Ok(raw) => Self { object, raw },
            Err(_) => unreachable!("a fresh array is native and aligned"),
        }
    }

    /// The array.
    pub fn object(&self) -> &Bound<'py, PyAny> {
        &self.object
    }

    /// The same array, kept beyond the lifetime of the token.
    pub fn keep(self) -> Made {
        Made { object: self.object.unbind(), raw: self.raw, scales: None }
    }

    /// The elements.
    pub fn sink(&mut self, order: Order) -> Sink<'_> {
        // SAFETY: `self.object` keeps the array alive, and is the only reference to it so far.
        unsafe { self.raw.sink(order) }
    }
}

/// A new array that nobody else has seen yet, kept beyond the lifetime of the token.
pub struct Made {
    object: Py<PyAny>,
    pub raw: Raw,
    scales: Option<Box<Scales>>,
}

impl Made {
    /// The elements.
    pub fn sink(&mut self, order: Order) -> Sink<'_> {
        match &self.scales {
            // SAFETY: `self.object` keeps the array alive, and is the only reference to it so far.
            None => unsafe { self.raw.sink(order) },
            // SAFETY: the same for the codes, and the scales hold their own array, which nobody else has seen.
            Some(scales) => Sink::Codes(unsafe { scales.sink(&self.raw) }),
        }
    }

    /// The elements as a slice, where they are dense in this order and of this type.
    pub fn dense<T: Float>(&mut self, order: Order) -> Option<&mut [T]> {
        // SAFETY: a dense array of `len` elements of this type; for the rest as in `sink`.
        self.raw
            .is_slice::<T>(order)
            .then(|| unsafe { std::slice::from_raw_parts_mut(self.raw.data.cast(), self.raw.len) })
    }

    /// The array, or the pair.
    pub fn into_object(self) -> Py<PyAny> {
        match self.scales {
            None => self.object,
            Some(scales) => scales.into_pair(),
        }
    }
}

/// An array that is written in place, step after step.
pub struct Writable {
    object: Py<PyAny>,
    pub raw: Raw,
    scales: Option<Box<Scales>>,
}

impl Writable {
    /// State: an array, or a pair of codes and scales.
    pub fn state(object: &Bound<'_, PyAny>, place: Place) -> PyResult<Self> {
        let Some((codes, raw, scales)) = Scales::of(object, place)? else {
            return Self::new(object, place);
        };
        if !scales.are_open(&raw) {
            return Err(place.value_error("is read-only"));
        }
        Ok(Self { object: codes.unbind(), raw, scales: Some(Box::new(scales)) })
    }

    /// `object` has to be as the kernels need it; a copy would not be updated.
    pub fn new(object: &Bound<'_, PyAny>, place: Place) -> PyResult<Self> {
        let raw = match Raw::of(object) {
            Ok(raw) => raw,
            Err(Unfit::NotExactArray) => {
                let kind = object.get_type().name()?;
                let message = format!(
                    "is a {kind}, not a NumPy array, so it cannot be updated in place; pass one that \
                     shares its memory, such as p.detach().numpy()"
                );
                return Err(place.type_error(message));
            }
            Err(Unfit::DType) => {
                let dtype = object.getattr("dtype")?;
                return Err(place.type_error(format!("dtype {dtype}, expected {DTYPES}")));
            }
            Err(Unfit::NotNative) => {
                return Err(place.value_error(
                    "is byte-swapped or misaligned, so it cannot be updated in place",
                ));
            }
            Err(Unfit::Strides) => return Err(place.value_error(STRIDES)),
        };
        if !raw.is_dense(NPY_ARRAY_WRITEABLE) {
            return Err(place.value_error("is read-only"));
        }
        if raw.overlaps_itself() {
            return Err(place.value_error(STRIDES));
        }
        Ok(Self { object: object.clone().unbind(), raw, scales: None })
    }

    /// Looks again: the array may have been resized or locked since.
    #[inline]
    pub fn is_unmoved(&self, py: Python<'_>) -> bool {
        self.raw.is_unmoved(py) && self.scales.as_ref().is_none_or(|scales| scales.is_unmoved(py))
    }

    /// Each array and the memory it touches: one, or codes and scales.
    pub fn spans<'w, 'py>(
        &'w self,
        py: Python<'py>,
    ) -> impl Iterator<Item = (Span, Bound<'py, PyAny>)> + use<'w, 'py> {
        let scales = self.scales.as_ref();
        let scales = scales.map(|scales| (scales.raw.span(true), scales.object.bind(py).clone()));
        [(self.raw.span(true), self.object(py).clone())].into_iter().chain(scales)
    }

    /// The array.
    pub fn object<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.object.bind(py)
    }

    /// The elements. The owner has made sure, by [`Raw::span`], that no other array of the step overlaps.
    pub fn sink(&mut self, order: Order) -> Sink<'_> {
        match &self.scales {
            // SAFETY: `self.object` keeps the array alive, which was writeable at the last look; its memory stays where
            // it is as that of what `Readable::source` reads. `InPlace` checks that it overlaps no other array of the
            // step when it binds it, and again for each update.
            None => unsafe { self.raw.sink(order) },
            // SAFETY: the same for the codes, and for the scales, which hold their own array.
            Some(scales) => Sink::Codes(unsafe { scales.sink(&self.raw) }),
        }
    }

    /// The elements as a slice, where they are dense in this order and of this type; see [`Writable::sink`].
    pub fn dense<T: Float>(&mut self, order: Order) -> Option<&mut [T]> {
        // SAFETY: a dense array of `len` elements of this type; for the rest as in `sink`.
        self.raw
            .is_slice::<T>(order)
            .then(|| unsafe { std::slice::from_raw_parts_mut(self.raw.data.cast(), self.raw.len) })
    }
}
