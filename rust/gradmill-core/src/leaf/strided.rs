//! Arrays whose elements do not lie next to each other.
//!
//! A slice cannot describe them, so they keep a raw pointer; the two constructors marked `unsafe` are the
//! only places where a caller vouches for memory.
#![expect(unsafe_code, reason = "strided arrays are read and written through raw pointers")]

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::convert::Element;
use crate::dtype::Float;

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

    /// The length and the stride of each axis.
    #[must_use]
    pub fn axes(&self) -> &[(usize, isize)] {
        &self.axes
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
        let mut index: SmallVec<[usize; 8]> = SmallVec::from_elem(0, self.axes.len());
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
    layout: &'a Layout,
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

impl<'a, T: Element> Strided<'a, T> {
    /// # Safety
    /// Each element that `layout` reaches from `first` is aligned and readable for `'a`, and nobody
    /// writes it meanwhile.
    pub unsafe fn new(first: *const T, layout: &'a Layout) -> Self {
        let len = layout.len();
        Self { first, layout, start: 0, len, borrow: PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Those of its elements. Panics where there are fewer, as a slice does.
    pub(super) fn part(&self, at: Range<usize>) -> Self {
        assert!(at.start <= at.end && at.end <= self.len, "a part of {} elements", self.len);
        Self { start: self.start + at.start, len: at.len(), ..*self }
    }

    /// Panics where there are fewer elements, as a slice does.
    pub(super) fn split_at(self, mid: usize) -> (Self, Self) {
        assert!(mid <= self.len, "mid > len");
        let tail = Self { start: self.start + mid, len: self.len - mid, ..self };
        (Self { len: mid, ..self }, tail)
    }

    pub(super) fn read<U: Float>(&self, into: &mut [U]) {
        let mut elements = into.iter_mut();
        self.layout.walk(self.start, self.len, |offset| {
            // SAFETY: `new`'s caller vouches for each element of the layout.
            let value = unsafe { *self.first.offset(offset) };
            if let Some(element) = elements.next() {
                *element = U::load(value);
            }
        });
    }
}

impl<'a, T: Element> StridedMut<'a, T> {
    /// # Safety
    /// Each element that `layout` reaches from `first` is aligned, readable and writable for `'a`, no
    /// two are the same, and nobody else touches them meanwhile.
    pub unsafe fn new(first: *mut T, layout: &'a Layout) -> Self {
        // SAFETY: what is asked of this caller includes what `Strided::new` asks.
        let inner = unsafe { Strided::new(first.cast_const(), layout) };
        Self { inner, borrow: PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.inner.len
    }

    pub(super) fn into_view(self) -> Strided<'a, T> {
        self.inner
    }

    /// See [`Strided::part`].
    pub(super) fn part(&mut self, at: Range<usize>) -> StridedMut<'_, T> {
        StridedMut { inner: self.inner.part(at), borrow: PhantomData }
    }

    pub(super) fn read<U: Float>(&self, into: &mut [U]) {
        self.inner.read(into);
    }

    pub(super) fn write(&mut self, from: &[T]) {
        let first = self.inner.first.cast_mut();
        let mut elements = from.iter();
        self.inner.layout.walk(self.inner.start, self.inner.len, |offset| {
            if let Some(&value) = elements.next() {
                // SAFETY: `new`'s caller gave sole access to each element of the layout.
                unsafe { *first.offset(offset) = value };
            }
        });
    }

    pub(super) fn split_at(self, mid: usize) -> (Self, Self) {
        let (head, tail) = self.inner.split_at(mid);
        (Self { inner: head, borrow: PhantomData }, Self { inner: tail, borrow: PhantomData })
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
        let mut view = unsafe { StridedMut::new(data.as_mut_ptr(), &layout) };
        let mut read = [0.0f64; 12];
        view.inner.read(&mut read);
        assert_eq!(read[..4], [0.0, 4.0, 8.0, 1.0]);
        view.write(&[-1.0; 12]);
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
