//! Arrays whose elements do not lie next to each other.
//!
//! A slice cannot describe them, so they keep a raw pointer; the two constructors marked `unsafe` are the
//! only places where a caller vouches for memory.
#![expect(unsafe_code, reason = "strided arrays are read and written through raw pointers")]

use std::marker::PhantomData;
use std::ops::Range;

use super::cut::Cut;
use super::layout::{Axes, Layout, Lengths, Lies, in_rows};
use super::planes::{Plane, Rows, planes};
use crate::number::element::Element;

/// Some elements of a strided array, in row-major order.
#[derive(Clone, Debug)]
pub struct Strided<'a, T> {
    first: *const T,
    layout: &'a Layout,
    extent: Extent,
    borrow: PhantomData<&'a [T]>,
}

/// Which of the elements of a layout these are.
#[derive(Clone, Copy, Debug)]
enum Extent {
    /// `start..start + len`, in row-major order.
    Run { start: usize, len: usize },
    /// From the first one, so many along each axis.
    Box { lengths: Lengths, steps: Steps },
}

/// How far apart neighbours are.
#[derive(Clone, Copy, Debug)]
enum Steps {
    /// As the layout says.
    OfLayout,
    /// As in a dense array of the layout's shape.
    InRows,
}

/// Some elements of a strided array, in row-major order, to be written.
#[derive(Debug)]
pub struct StridedMut<'a, T> {
    inner: Strided<'a, T>,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Strided` only reads elements of `T`, as a `&[T]` does.
unsafe impl<T: Sync> Send for Strided<'_, T> {}
// SAFETY: threads that share a `Strided` only read elements of `T`, as those that share a `&[T]` do.
unsafe impl<T: Sync> Sync for Strided<'_, T> {}
// SAFETY: a `StridedMut` has sole access to its elements, as a `&mut [T]` has.
unsafe impl<T: Send> Send for StridedMut<'_, T> {}

impl<'a, T: Element> Strided<'a, T> {
    /// # Safety
    /// Each element that `layout` reaches from `first` is aligned and readable for `'a`, and nobody
    /// writes it meanwhile.
    pub unsafe fn new(first: *const T, layout: &'a Layout) -> Self {
        let extent = Extent::Run { start: 0, len: layout.len() };
        Self { first, layout, extent, borrow: PhantomData }
    }

    /// A dense array, a box with these lengths of one of this shape.
    pub(super) fn of_dense(slice: &'a [T], layout: &'a Layout, lengths: Lengths) -> Self {
        let extent = Extent::Box { lengths, steps: Steps::InRows };
        let strided = Self { first: slice.as_ptr(), layout, extent, borrow: PhantomData };
        let axes = strided.axes();
        let last: isize = axes.iter().map(|axis| (axis.0.cast_signed() - 1) * axis.1).sum();
        let is_all = strided.len() == slice.len() && last + 1 == slice.len().cast_signed();
        assert!(is_all && !slice.is_empty(), "elements of {axes:?}");
        strided
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match &self.extent {
            Extent::Run { len, .. } => *len,
            Extent::Box { lengths, .. } => lengths.elements(),
        }
    }

    /// The axes of the box, or of the layout.
    fn axes(&self) -> Axes {
        let mut axes = Axes::from_slice(self.layout.axes());
        if let Extent::Box { lengths, steps } = &self.extent {
            if let Steps::InRows = steps {
                in_rows(&mut axes);
            }
            for (axis, length) in axes.iter_mut().zip(lengths.iter()) {
                axis.0 = length;
            }
        }
        axes
    }

    pub(super) fn lies(&self) -> Lies<'a> {
        match self.extent {
            Extent::Run { len, .. } if len != self.layout.len() => Lies::InPart,
            _ => Lies::Along { axes: self.axes(), layout: self.layout },
        }
    }

    /// Those of its elements. Panics where there are fewer, as a slice does, and for a part of a box.
    pub(super) fn part(&self, at: Range<usize>) -> Self {
        assert!(at.start <= at.end && at.end <= self.len(), "a part of {} elements", self.len());
        let extent = match self.extent {
            Extent::Run { start, .. } => Extent::Run { start: start + at.start, len: at.len() },
            Extent::Box { .. } => {
                assert_eq!(at.len(), self.len(), "a run of elements of a box");
                self.extent
            }
        };
        Self { extent, ..*self }
    }

    /// Panics where there is no such place, as a slice does.
    pub(super) fn split(self, cut: Cut<'_>) -> (Self, Self) {
        let Cut::Axis { axis, at, .. } = cut else {
            let Cut::Run(at) = cut else { unreachable!("the other kind of cut") };
            return (self.part(0..at), self.part(at..self.len()));
        };
        let (lengths, steps) = match self.extent {
            Extent::Box { lengths, steps } => (lengths, steps),
            Extent::Run { len, .. } => {
                assert_eq!(len, self.layout.len(), "a cut along an axis of a part");
                let shape = self.layout.axes().iter().map(|axis| axis.0);
                (Lengths::new(shape).expect("lengths of a box"), Steps::OfLayout)
            }
        };
        let (head, tail) = lengths.split(axis, at);
        let first = self.first.wrapping_offset(self.axes()[axis].1 * at.cast_signed());
        let of = |lengths| Extent::Box { lengths, steps };
        (Self { extent: of(head), ..self }, Self { first, extent: of(tail), ..self })
    }

    /// The row `at` of those of `len` elements each, which have to be next to each other.
    pub(super) fn row(&self, at: usize, len: usize) -> &'a [T] {
        assert!(!matches!(self.lies(), Lies::InPart), "a row of an array");
        let (mut rest, mut offset, mut inner) = (at, 0, 1usize);
        for &(length, stride) in self.axes().iter().rev() {
            if inner < len {
                assert!(length == 1 || stride == inner.cast_signed(), "a row in one piece");
                inner *= length;
            } else {
                offset += (rest % length).cast_signed() * stride;
                rest /= length;
            }
        }
        assert!(inner == len && rest == 0, "a row of the array");
        // SAFETY: the row's elements are some of those that `new`'s caller vouches for.
        unsafe { std::slice::from_raw_parts(self.first.wrapping_offset(offset), len) }
    }

    /// Calls `visit` with planes that have each element once.
    fn planes(&self, rows: Rows, visit: impl FnMut(&Plane<'_>)) {
        let (start, len) = match self.extent {
            Extent::Run { start, len } => (start, len),
            Extent::Box { .. } => (0, self.len()),
        };
        planes(&self.axes(), start, len, rows, visit);
    }

    /// Copies all elements, as rows.
    pub(super) fn read(&self, into: &mut [T], rows: Rows) {
        assert_eq!(into.len(), rows.extent(self.len()), "elements of a copy");
        let (strided, dense) = (self.first.cast_mut(), into.as_mut_ptr());
        self.planes(rows, |plane| {
            // SAFETY: `new`'s caller vouches for each element of the layout, of which `split` leaves a part; those
            // of planes are among them, and their places among those of `into`, which nobody else has.
            unsafe { copy::<T, false>(plane, strided, dense) };
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

    /// A box of a dense array, to be written.
    pub(super) fn of_dense(slice: &'a mut [T], layout: &'a Layout, lengths: Lengths) -> Self {
        let first = slice.as_mut_ptr().cast_const();
        let inner = Strided { first, ..Strided::of_dense(slice, layout, lengths) };
        Self { inner, borrow: PhantomData }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.inner.len()
    }

    pub(super) fn lies(&self) -> Lies<'a> {
        self.inner.lies()
    }

    pub(super) fn view(&self) -> Strided<'_, T> {
        self.inner.clone()
    }

    pub(super) fn into_view(self) -> Strided<'a, T> {
        self.inner
    }

    /// Those of its elements, to be written.
    pub(super) fn part(&mut self, at: Range<usize>) -> StridedMut<'_, T> {
        StridedMut { inner: self.inner.part(at), borrow: PhantomData }
    }

    /// Overwrites all elements, from rows.
    pub(super) fn write(&mut self, from: &[T], rows: Rows) {
        assert_eq!(from.len(), rows.extent(self.len()), "elements of a copy");
        let (strided, dense) = (self.inner.first.cast_mut(), from.as_ptr().cast_mut());
        self.inner.planes(rows, |plane| {
            // SAFETY: `new`'s caller gave sole access to each element of the layout, of which `split` leaves a
            // part; those of planes are among them, and their places among those of `from`.
            unsafe { copy::<T, true>(plane, strided, dense) };
        });
    }

    /// A row of elements that are next to each other, to be written.
    pub(super) fn row(&mut self, at: usize, len: usize) -> &mut [T] {
        let first = self.inner.row(at, len).as_ptr().cast_mut();
        // SAFETY: `new`'s caller gave sole access to the elements of the row.
        unsafe { std::slice::from_raw_parts_mut(first, len) }
    }

    /// The two parts have no element in common.
    pub(super) fn split(self, cut: Cut<'_>) -> (Self, Self) {
        let (head, tail) = self.inner.split(cut);
        (Self { inner: head, borrow: PhantomData }, Self { inner: tail, borrow: PhantomData })
    }
}

/// Bytes of a line of a cache.
const LINE: usize = 64;

/// Bytes of a dense copy that stay near while columns are copied.
const NEAR: usize = 1 << 14;

/// How many steps ahead lines are asked for: they lie too far apart for processors to see what comes.
const AHEAD: usize = 8;

/// Asks for the line of an element, where the processor takes such hints.
#[inline(always)]
fn prefetch<T>(element: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a hint, for which no address is invalid.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(element.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = element;
}

/// Copies the elements of a plane to their places in a dense array, or back.
///
/// # Safety
/// The elements and their places are readable, and those of the two that are copied to writable.
unsafe fn copy<T: Copy, const BACK: bool>(plane: &Plane<'_>, strided: *mut T, dense: *mut T) {
    let Plane { along, columns, offset, place } = *plane;
    let (rows, stride, step) = (along.length, along.stride, along.place);
    let (strided, dense) = (strided.wrapping_offset(offset), dense.wrapping_add(place));
    if stride == 1 && step == 1 {
        let (from, to) = if BACK { (dense, strided) } else { (strided, dense) };
        // SAFETY: all elements of the plane, which lie in one piece on both sides.
        unsafe { std::ptr::copy_nonoverlapping(from, to, rows) };
        return;
    }
    let single = |rows: Range<usize>, columns: &[isize], first: usize| {
        for (column, by) in columns.iter().enumerate() {
            for row in rows.clone() {
                let strided = strided.wrapping_offset(row.cast_signed() * stride + by);
                let dense = dense.wrapping_add(row * step + first + column);
                let (from, to) = if BACK { (dense, strided) } else { (strided, dense) };
                // SAFETY: an element of the plane.
                unsafe { *to = *from };
            }
        }
    };
    let side = square::SIDE / size_of::<T>();
    let rows_in_squares = if stride == 1 { rows / side * side } else { 0 };
    let (squares, rest) = columns.split_at(columns.len() / side * side);
    // Whole lines of the strided array, and no more of the dense one at a time than stay near.
    let of_line = LINE / size_of::<T>();
    let strip = (NEAR / step).max(LINE).next_multiple_of(LINE) / size_of::<T>();
    for first in (0..rows_in_squares).step_by(strip) {
        let end = rows_in_squares.min(first + strip);
        for (number, columns) in squares.chunks_exact(side).enumerate() {
            for line in (first..end).step_by(of_line) {
                let later = line + AHEAD * of_line;
                let (row, ahead) = match end - first {
                    length if length <= AHEAD * of_line => (line, AHEAD),
                    length if later >= end => (later - length, 1),
                    _ => (later, 0),
                };
                for &column in squares.iter().skip((number + ahead) * side).take(side) {
                    let later = strided.wrapping_add(row).wrapping_offset(column);
                    prefetch(later);
                    prefetch(later.wrapping_add(of_line - 1));
                }
                for row in (line..end.min(line + of_line)).step_by(side) {
                    let dense = dense.wrapping_add(row * step + number * side);
                    let strided = strided.wrapping_add(row);
                    let column = |at: usize| strided.wrapping_offset(columns[at]);
                    let row = |at: usize| dense.wrapping_add(at * step);
                    // SAFETY: elements of the plane.
                    unsafe {
                        if BACK {
                            square::copy(row, column);
                        } else {
                            square::copy(column, row);
                        }
                    }
                }
            }
        }
    }
    single(0..rows_in_squares, rest, squares.len());
    single(rows_in_squares..rows, columns, 0);
}

/// Squares of elements, as many in a row as a vector of 16 bytes has.
mod square {
    /// Bytes of a row.
    pub const SIDE: usize = 16;

    /// Copies rows to columns: element `i` of `from(k)` to element `k` of `to(i)`.
    ///
    /// # Safety
    /// The elements are readable from `from`, and writable from `to`.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn copy<T: Copy>(from: impl Fn(usize) -> *mut T, to: impl Fn(usize) -> *mut T) {
        use std::arch::x86_64::{
            __m128i, _mm_loadu_si128, _mm_storeu_si128, _mm_unpackhi_epi16, _mm_unpackhi_epi32,
            _mm_unpackhi_epi64, _mm_unpacklo_epi16, _mm_unpacklo_epi32, _mm_unpacklo_epi64,
        };
        /// One round: takes elements of the first half of the rows and of the second in turn.
        #[inline(always)]
        fn merge<const N: usize>(
            rows: [__m128i; N],
            low: impl Fn(__m128i, __m128i) -> __m128i,
            high: impl Fn(__m128i, __m128i) -> __m128i,
        ) -> [__m128i; N] {
            std::array::from_fn(|at| {
                let (first, second) = (rows[at / 2], rows[at / 2 + N / 2]);
                if at % 2 == 0 { low(first, second) } else { high(first, second) }
            })
        }
        // SAFETY: each row and each column has 16 bytes; SSE2 is part of x86-64.
        unsafe {
            let load = |at| _mm_loadu_si128(from(at).cast_const().cast());
            let store = |(at, column)| _mm_storeu_si128(to(at).cast(), column);
            match size_of::<T>() {
                2 => {
                    let round = |rows: [__m128i; 8]| {
                        merge(
                            rows,
                            |a, b| _mm_unpacklo_epi16(a, b),
                            |a, b| _mm_unpackhi_epi16(a, b),
                        )
                    };
                    let columns = round(round(round(std::array::from_fn(load))));
                    columns.into_iter().enumerate().for_each(store);
                }
                4 => {
                    let round = |rows: [__m128i; 4]| {
                        merge(
                            rows,
                            |a, b| _mm_unpacklo_epi32(a, b),
                            |a, b| _mm_unpackhi_epi32(a, b),
                        )
                    };
                    let columns = round(round(std::array::from_fn(load)));
                    columns.into_iter().enumerate().for_each(store);
                }
                _ => {
                    let rows: [__m128i; 2] = std::array::from_fn(load);
                    let columns = merge(
                        rows,
                        |a, b| _mm_unpacklo_epi64(a, b),
                        |a, b| _mm_unpackhi_epi64(a, b),
                    );
                    columns.into_iter().enumerate().for_each(store);
                }
            }
        }
    }

    /// Copies rows to columns: element `i` of `from(k)` to element `k` of `to(i)`.
    ///
    /// # Safety
    /// The elements are readable from `from`, and writable from `to`.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub unsafe fn copy<T: Copy>(from: impl Fn(usize) -> *mut T, to: impl Fn(usize) -> *mut T) {
        for row in 0..SIDE / size_of::<T>() {
            for column in 0..SIDE / size_of::<T>() {
                // SAFETY: an element of the square.
                unsafe { *to(column).add(row) = *from(row).add(column) };
            }
        }
    }
}

#[cfg(test)]
mod tests;
