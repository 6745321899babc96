//! The arrays of one leaf, as borrowed views.
//!
//! Dense arrays are slices. Strided ones keep a raw pointer, because a slice cannot describe them; the
//! two constructors marked `unsafe` are the only places where a caller vouches for memory.
#![expect(unsafe_code, reason = "strided arrays are read and written through raw pointers")]

use std::marker::PhantomData;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::dtype::{DType, Float};

/// Shape and strides, in elements, of an array walked in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    axes: Arc<[(usize, isize)]>,
}

impl Layout {
    /// Pairs of length and stride, outermost axis first.
    pub fn new(axes: impl IntoIterator<Item = (usize, isize)>) -> Self {
        Self { axes: axes.into_iter().collect() }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.axes.iter().map(|axis| axis.0).product()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Smallest and largest offset from the first element, or `None` for an empty array.
    #[must_use]
    pub fn extent(&self) -> Option<(isize, isize)> {
        (!self.is_empty()).then(|| {
            self.axes.iter().fold((0, 0), |(low, high), &(length, stride)| {
                let reach = stride * (length.cast_signed() - 1);
                (low + reach.min(0), high + reach.max(0))
            })
        })
    }

    /// Calls `visit` with the offset of each of the elements `start..start + count` in turn.
    #[inline]
    fn walk(&self, start: usize, count: usize, mut visit: impl FnMut(isize)) {
        if count == 0 {
            return;
        }
        let mut index: SmallVec<[usize; 4]> = SmallVec::from_elem(0, self.axes.len());
        let mut rest = start;
        let mut offset = 0;
        for (position, &(length, stride)) in index.iter_mut().zip(&*self.axes).rev() {
            *position = rest % length;
            rest /= length;
            offset += position.cast_signed() * stride;
        }
        for _ in 1..count {
            visit(offset);
            for (position, &(length, stride)) in index.iter_mut().zip(&*self.axes).rev() {
                *position += 1;
                offset += stride;
                if *position < length {
                    break;
                }
                *position = 0;
                offset -= stride * length.cast_signed();
            }
        }
        visit(offset);
    }
}

/// Elements `start..start + len` of a strided array, in row-major order.
#[derive(Clone, Debug)]
pub struct Strided<'a, T> {
    first: *const T,
    layout: Layout,
    start: usize,
    len: usize,
    borrow: PhantomData<&'a [T]>,
}

/// Like [`Strided`], to be written.
#[derive(Debug)]
pub struct StridedMut<'a, T> {
    inner: Strided<'a, T>,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Strided` only reads elements of `T`, as a `&[T]` does.
unsafe impl<T: Sync> Send for Strided<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Strided<'_, T> {}
// SAFETY: a `StridedMut` has sole access to its elements, as a `&mut [T]` has.
unsafe impl<T: Send> Send for StridedMut<'_, T> {}

impl<T: Float> Strided<'_, T> {
    /// # Safety
    /// Each element that `layout` reaches from `first` is aligned and readable for `'a`, and nobody
    /// writes it meanwhile.
    pub unsafe fn new(first: *const T, layout: Layout) -> Self {
        let len = layout.len();
        Self { first, layout, start: 0, len, borrow: PhantomData }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let tail = Self { start: self.start + mid, len: self.len - mid, ..self.clone() };
        (Self { len: mid, ..self }, tail)
    }

    fn read<U: Float>(&self, into: &mut [U]) {
        let mut elements = into.iter_mut();
        self.layout.walk(self.start, self.len, |offset| {
            // SAFETY: `new`'s caller vouches for each element of the layout.
            let value = unsafe { *self.first.offset(offset) };
            if let Some(element) = elements.next() {
                *element = convert(value);
            }
        });
    }
}

impl<T: Float> StridedMut<'_, T> {
    /// # Safety
    /// Each element that `layout` reaches from `first` is aligned, readable and writable for `'a`, no
    /// two are the same, and nobody else touches them meanwhile.
    pub unsafe fn new(first: *mut T, layout: Layout) -> Self {
        // SAFETY: what is asked of this caller includes what `Strided::new` asks.
        let inner = unsafe { Strided::new(first.cast_const(), layout) };
        Self { inner, borrow: PhantomData }
    }

    fn write<U: Float>(&mut self, from: &[U]) {
        let first = self.inner.first.cast_mut();
        let mut elements = from.iter();
        self.inner.layout.walk(self.inner.start, self.inner.len, |offset| {
            if let Some(&value) = elements.next() {
                // SAFETY: `new`'s caller gave sole access to each element of the layout.
                unsafe { *first.offset(offset) = convert(value) };
            }
        });
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let (head, tail) = self.inner.split_at(mid);
        (Self { inner: head, borrow: PhantomData }, Self { inner: tail, borrow: PhantomData })
    }
}

#[inline(always)]
fn convert<T: Float, U: Float>(value: T) -> U {
    U::from_f64(value.to_f64())
}

/// An array to read.
#[derive(Clone, Debug)]
pub enum View<'a, T> {
    /// Elements next to each other.
    Dense(&'a [T]),
    /// Any other layout. Boxed, since it is rare and a leaf holds many views.
    Strided(Box<Strided<'a, T>>),
}

impl<T: Float> View<'_, T> {
    fn len(&self) -> usize {
        match self {
            Self::Dense(slice) => slice.len(),
            Self::Strided(view) => view.len,
        }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Self::Dense(slice) => {
                let (head, tail) = slice.split_at(mid);
                (Self::Dense(head), Self::Dense(tail))
            }
            Self::Strided(view) => {
                let (head, tail) = view.split_at(mid);
                (Self::Strided(Box::new(head)), Self::Strided(Box::new(tail)))
            }
        }
    }

    fn read<U: Float>(&self, into: &mut [U]) {
        match self {
            Self::Dense(slice) => read_dense(slice, into),
            Self::Strided(view) => view.read(into),
        }
    }
}

#[inline]
fn read_dense<T: Float, U: Float>(from: &[T], into: &mut [U]) {
    for (element, &value) in into.iter_mut().zip(from) {
        *element = convert(value);
    }
}

/// An array to write.
#[derive(Debug)]
pub enum ViewMut<'a, T> {
    /// Elements next to each other.
    Dense(&'a mut [T]),
    /// Any other layout. Boxed, since it is rare and a leaf holds many views.
    Strided(Box<StridedMut<'a, T>>),
}

impl<T: Float> ViewMut<'_, T> {
    fn len(&self) -> usize {
        match self {
            Self::Dense(slice) => slice.len(),
            Self::Strided(view) => view.inner.len,
        }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Self::Dense(slice) => {
                let (head, tail) = slice.split_at_mut(mid);
                (Self::Dense(head), Self::Dense(tail))
            }
            Self::Strided(view) => {
                let (head, tail) = view.split_at(mid);
                (Self::Strided(Box::new(head)), Self::Strided(Box::new(tail)))
            }
        }
    }

    fn reborrow(&mut self) -> ViewMut<'_, T> {
        match self {
            Self::Dense(slice) => ViewMut::Dense(slice),
            Self::Strided(view) => {
                let inner = view.inner.clone();
                ViewMut::Strided(Box::new(StridedMut { inner, borrow: PhantomData }))
            }
        }
    }

    fn read<U: Float>(&self, into: &mut [U]) {
        match self {
            Self::Dense(slice) => read_dense(slice, into),
            Self::Strided(view) => view.inner.read(into),
        }
    }

    fn write<U: Float>(&mut self, from: &[U]) {
        match self {
            Self::Dense(slice) => read_dense(from, slice),
            Self::Strided(view) => view.write(from),
        }
    }
}

/// An array of either dtype to read.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// Single precision.
    F32(View<'a, f32>),
    /// Double precision.
    F64(View<'a, f64>),
}

/// An array of either dtype to write.
#[derive(Debug)]
pub enum Sink<'a> {
    /// Single precision.
    F32(ViewMut<'a, f32>),
    /// Double precision.
    F64(ViewMut<'a, f64>),
}

macro_rules! either {
    ($value:expr, $view:ident => $body:expr) => {
        match $value {
            Self::F32($view) => $body,
            Self::F64($view) => $body,
        }
    };
}

impl Source<'_> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        either!(self, view => view.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
        }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Self::F32(view) => {
                let (head, tail) = view.split_at(mid);
                (Self::F32(head), Self::F32(tail))
            }
            Self::F64(view) => {
                let (head, tail) = view.split_at(mid);
                (Self::F64(head), Self::F64(tail))
            }
        }
    }

    /// Copies all elements, converted.
    pub(crate) fn read<T: Float>(&self, into: &mut [T]) {
        either!(self, view => view.read(into));
    }

    /// Whether [`Self::dense`] gives a slice.
    #[inline]
    pub(crate) fn is_dense<T: Float>(&self) -> bool {
        self.dense::<T>().is_some()
    }

    /// The elements as a slice, where they are dense and of this type.
    #[inline]
    pub(crate) fn dense<T: Float>(&self) -> Option<&[T]> {
        match T::of_source(self)? {
            View::Dense(slice) => Some(slice),
            View::Strided(_) => None,
        }
    }
}

impl Sink<'_> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        either!(self, view => view.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
        }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Self::F32(view) => {
                let (head, tail) = view.split_at(mid);
                (Self::F32(head), Self::F32(tail))
            }
            Self::F64(view) => {
                let (head, tail) = view.split_at(mid);
                (Self::F64(head), Self::F64(tail))
            }
        }
    }

    fn reborrow(&mut self) -> Sink<'_> {
        match self {
            Self::F32(view) => Sink::F32(view.reborrow()),
            Self::F64(view) => Sink::F64(view.reborrow()),
        }
    }

    /// Copies all elements, converted.
    pub(crate) fn read<T: Float>(&self, into: &mut [T]) {
        either!(self, view => view.read(into));
    }

    /// Overwrites all elements, rounded to this dtype.
    pub(crate) fn write<T: Float>(&mut self, from: &[T]) {
        either!(self, view => view.write(from));
    }

    /// Whether [`Self::dense`] gives a slice.
    #[inline]
    pub(crate) fn is_dense<T: Float>(&self) -> bool {
        self.dtype() == T::DTYPE && either!(self, view => matches!(view, ViewMut::Dense(_)))
    }

    /// The elements as a slice, where they are dense and of this type.
    #[inline]
    pub(crate) fn dense<T: Float>(&mut self) -> Option<&mut [T]> {
        match T::of_sink(self)? {
            ViewMut::Dense(slice) => Some(slice),
            ViewMut::Strided(_) => None,
        }
    }
}

/// An array that a step replaces: in place, or from an array that stays as it was.
#[derive(Debug)]
pub struct Slot<'a> {
    /// The old value, where it is another array than the new one.
    pub from: Option<Source<'a>>,
    /// The array written; holds the old value where `from` is `None`.
    pub to: Sink<'a>,
}

impl Slot<'_> {
    /// Whether the old value is a slice of this type that can be written.
    #[inline]
    pub(crate) fn is_in_place<T: Float>(&self) -> bool {
        self.from.is_none() && self.to.is_dense::<T>()
    }

    /// The old value, converted.
    pub(crate) fn read<T: Float>(&self, into: &mut [T]) {
        match &self.from {
            Some(source) => source.read(into),
            None => self.to.read(into),
        }
    }

    /// The array as a slice that holds the old value and can be written, where such a slice exists.
    #[inline]
    pub(crate) fn dense<T: Float>(&mut self) -> Option<&mut [T]> {
        let slice = self.to.dense::<T>()?;
        if let Some(source) = &self.from {
            match source.dense::<T>() {
                Some(old) => slice.copy_from_slice(old),
                None => source.read(slice),
            }
        }
        Some(slice)
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let (to, to_tail) = self.to.split_at(mid);
        let (from, from_tail) = self.from.map(|source| source.split_at(mid)).unzip();
        (Self { from, to }, Self { from: from_tail, to: to_tail })
    }

    fn reborrow(&mut self) -> Slot<'_> {
        Slot { from: self.from.clone(), to: self.to.reborrow() }
    }
}

/// What a program may do with the parameters.
#[derive(Debug)]
pub enum Params<'a> {
    /// There are none.
    None,
    /// Ops may read them.
    Read(Source<'a>),
    /// Ops may read them, and the update is added to them.
    Write(Slot<'a>),
}

impl Params<'_> {
    /// Number of elements, where there are parameters.
    pub(crate) fn elements(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Read(source) => Some(source.len()),
            Self::Write(slot) => Some(slot.to.len()),
        }
    }

    /// Element type, where there are parameters.
    #[must_use]
    pub fn dtype(&self) -> Option<DType> {
        match self {
            Self::None => None,
            Self::Read(source) => Some(source.dtype()),
            Self::Write(slot) => Some(slot.to.dtype()),
        }
    }

    /// The old value, converted.
    pub(crate) fn read<T: Float>(&self, into: &mut [T]) {
        match self {
            Self::None => {}
            Self::Read(source) => source.read(into),
            Self::Write(slot) => slot.read(into),
        }
    }

    /// The old value as a slice, where it is dense and of this type.
    #[inline]
    pub(crate) fn dense<T: Float>(&mut self) -> Option<&[T]> {
        match self {
            Self::None => Some(&[]),
            Self::Read(source) | Self::Write(Slot { from: Some(source), .. }) => source.dense(),
            Self::Write(Slot { from: None, to }) => to.dense().map(|slice| &*slice),
        }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Self::None => (Self::None, Self::None),
            Self::Read(source) => {
                let (head, tail) = source.split_at(mid);
                (Self::Read(head), Self::Read(tail))
            }
            Self::Write(slot) => {
                let (head, tail) = slot.split_at(mid);
                (Self::Write(head), Self::Write(tail))
            }
        }
    }

    fn reborrow(&mut self) -> Params<'_> {
        match self {
            Self::None => Params::None,
            Self::Read(source) => Params::Read(source.clone()),
            Self::Write(slot) => Params::Write(slot.reborrow()),
        }
    }
}

/// The slots of one leaf; those of ops that pass the leaf by are `None`.
pub type Slots<'a> = SmallVec<[Option<Slot<'a>>; 2]>;

/// All arrays of one leaf. Every array has as many elements as `updates`, in the same order.
#[derive(Debug)]
pub struct Leaf<'a> {
    /// The incoming gradient or update.
    pub updates: Source<'a>,
    /// The parameter.
    pub params: Params<'a>,
    /// Receives the update, unless it is added to `params`.
    pub out: Option<Sink<'a>>,
    /// State arrays, in the order of the program's slots.
    pub slots: Slots<'a>,
    /// Bit `i` is set where op `i` passes this leaf by.
    pub skip: u64,
}

impl<'a> Leaf<'a> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.updates.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same arrays for a shorter time.
    pub fn reborrow(&mut self) -> Leaf<'_> {
        Leaf {
            updates: self.updates.clone(),
            params: self.params.reborrow(),
            out: self.out.as_mut().map(Sink::reborrow),
            slots: self.slots.iter_mut().map(|slot| slot.as_mut().map(Slot::reborrow)).collect(),
            skip: self.skip,
        }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let (updates, updates_tail) = self.updates.split_at(mid);
        let (params, params_tail) = self.params.split_at(mid);
        let (out, out_tail) = self.out.map(|sink| sink.split_at(mid)).unzip();
        let (slots, slots_tail) =
            self.slots.into_iter().map(|slot| slot.map(|slot| slot.split_at(mid)).unzip()).unzip();
        let skip = self.skip;
        (
            Self { updates, params, out, slots, skip },
            Self {
                updates: updates_tail,
                params: params_tail,
                out: out_tail,
                slots: slots_tail,
                skip,
            },
        )
    }

    /// Consecutive parts of `len` elements, the last one shorter. An empty leaf has none.
    pub fn chunks(self, len: usize) -> impl Iterator<Item = Leaf<'a>> {
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            let leaf = rest.take().filter(|leaf| !leaf.is_empty())?;
            if leaf.len() <= len {
                return Some(leaf);
            }
            let (head, tail) = leaf.split_at(len);
            rest = Some(tail);
            Some(head)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strided_views_read_and_write_in_row_major_order() {
        let mut data: Vec<f32> = (0..12u8).map(f32::from).collect();
        // The transpose of a 3 x 4 array.
        let layout = Layout::new([(4, 1), (3, 4)]);
        assert_eq!(layout.extent(), Some((0, 11)));
        // SAFETY: the layout reaches each of the twelve elements once, and `data` outlives the view.
        let mut view = unsafe { StridedMut::new(data.as_mut_ptr(), layout) };
        let mut read = [0.0f64; 12];
        view.inner.read(&mut read);
        assert_eq!(read[..4], [0.0, 4.0, 8.0, 1.0]);
        view.write(&[-1.0f64; 12]);
        assert!(data.iter().all(|&value| value == -1.0));
    }

    proptest! {
        #[test]
        fn walking_in_parts_is_walking_at_once(
            axes in proptest::collection::vec((1usize..4, -5isize..6), 0..4),
            at in 0usize..30,
        ) {
            let layout = Layout::new(axes);
            let at = at.min(layout.len());
            let mut whole = Vec::new();
            layout.walk(0, layout.len(), |offset| whole.push(offset));
            let mut parts = Vec::new();
            layout.walk(0, at, |offset| parts.push(offset));
            layout.walk(at, layout.len() - at, |offset| parts.push(offset));
            prop_assert_eq!(&whole, &parts);
            let (low, high) = layout.extent().unwrap_or_default();
            prop_assert!(whole.iter().all(|&offset| (low..=high).contains(&offset)));
        }
    }
}
