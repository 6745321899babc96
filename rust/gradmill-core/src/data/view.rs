//! Arrays of any layout, behind one interface.

use std::ops::Range;

use super::buffer::Buffer;
use super::convert::{Load, Store, StoreAtRandom};
use super::cut::{Cut, OfDense, run_length};
use super::layout::Lies;
use super::planes::Rows;
use super::strided::{Strided, StridedMut};
use crate::number::dtype::DType;
use crate::number::element::Element;
use crate::number::float::Float;
use crate::number::rounding::Rounding;
use crate::number::threefry::{WORDS_AT_ONCE, words};
use crate::sys::kept::grown;
use crate::sys::mode::in_default_mode;
use crate::sys::simd::Tier;

/// Moves elements from one type to another with each of their bits: in the mode of kernels, processors convert
/// subnormal numbers to zero.
#[inline]
fn converting<T: Element, U: Element, R>(work: impl FnOnce() -> R) -> R {
    if T::DTYPE == U::DTYPE { work() } else { in_default_mode(work) }
}

/// An array to read.
#[derive(Clone, Debug)]
pub enum View<'a, T> {
    /// Elements next to each other.
    Dense(&'a [T]),
    /// Any other layout.
    Strided(Strided<'a, T>),
}

impl<'a, T: Element> View<'a, T> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Dense(slice) => slice.len(),
            Self::Strided(view) => view.len(),
        }
    }

    pub(super) fn split(self, cut: Cut<'a>) -> (Self, Self) {
        let view = match (self, cut.of_dense()) {
            (Self::Dense(slice), OfDense::Run(at)) => {
                let (head, tail) = slice.split_at(at);
                return (Self::Dense(head), Self::Dense(tail));
            }
            (Self::Dense(slice), OfDense::Box(layout, lengths)) => {
                Strided::of_dense(slice, layout, lengths)
            }
            (Self::Strided(view), _) => view,
        };
        let (head, tail) = view.split(cut);
        (Self::Strided(head), Self::Strided(tail))
    }

    pub(super) fn lies(&self) -> Lies<'a> {
        match self {
            Self::Dense(_) => Lies::Dense,
            Self::Strided(view) => view.lies(),
        }
    }

    pub(super) fn part(&self, at: Range<usize>) -> View<'_, T> {
        match self {
            Self::Dense(slice) => View::Dense(&slice[at]),
            Self::Strided(view) => View::Strided(view.part(at)),
        }
    }

    pub(super) fn read<U: Float>(&self, tier: Tier, into: &mut [U]) {
        match self {
            Self::Dense(from) => converting::<T, U, _>(|| tier.run(Load { from, into })),
            Self::Strided(view) => Buffer::with(|buffer| {
                let buffer = grown(T::select(buffer), view.len());
                view.read(buffer, Rows::NONE);
                View::Dense(buffer).read(tier, into);
            }),
        }
    }

    /// The elements in rows, in `buffer` where they are not yet.
    pub(super) fn staged<'s>(&self, buffer: &'s mut Buffer, rows: Rows) -> View<'s, T>
    where
        'a: 's,
    {
        match self {
            Self::Dense(slice) => View::Dense(slice),
            Self::Strided(view) if has_rows(view.lies(), rows) => self.clone(),
            Self::Strided(view) => {
                let into = grown(T::select(buffer), rows.extent(view.len()));
                view.read(into, rows);
                View::Dense(into)
            }
        }
    }

    /// One of so many rows of `len` elements each.
    pub(super) fn row(&self, at: usize, rows: usize, len: usize) -> View<'_, T> {
        View::Dense(match self {
            Self::Dense(slice) => &slice[slice.len() / rows * at..][..len],
            Self::Strided(view) => view.row(at, len),
        })
    }
}

/// An array to write.
#[derive(Debug)]
pub enum ViewMut<'a, T> {
    /// Elements next to each other.
    Dense(&'a mut [T]),
    /// Any other layout.
    Strided(StridedMut<'a, T>),
}

impl<'a, T: Element> ViewMut<'a, T> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Dense(slice) => slice.len(),
            Self::Strided(view) => view.len(),
        }
    }

    pub(super) fn split(self, cut: Cut<'a>) -> (Self, Self) {
        let view = match (self, cut.of_dense()) {
            (Self::Dense(slice), OfDense::Run(at)) => {
                let (head, tail) = slice.split_at_mut(at);
                return (Self::Dense(head), Self::Dense(tail));
            }
            (Self::Dense(slice), OfDense::Box(layout, lengths)) => {
                StridedMut::of_dense(slice, layout, lengths)
            }
            (Self::Strided(view), _) => view,
        };
        let (head, tail) = view.split(cut);
        (Self::Strided(head), Self::Strided(tail))
    }

    pub(super) fn lies(&self) -> Lies<'a> {
        match self {
            Self::Dense(_) => Lies::Dense,
            Self::Strided(view) => view.lies(),
        }
    }

    pub(super) fn part(&mut self, at: Range<usize>) -> ViewMut<'_, T> {
        match self {
            Self::Dense(slice) => ViewMut::Dense(&mut slice[at]),
            Self::Strided(view) => ViewMut::Strided(view.part(at)),
        }
    }

    /// The same elements, to be read from now on.
    pub(super) fn into_view(self) -> View<'a, T> {
        match self {
            Self::Dense(slice) => View::Dense(slice),
            Self::Strided(view) => View::Strided(view.into_view()),
        }
    }

    pub(super) fn read<U: Float>(&self, tier: Tier, into: &mut [U]) {
        match self {
            Self::Dense(slice) => View::Dense(slice).read(tier, into),
            Self::Strided(view) => View::Strided(view.view()).read(tier, into),
        }
    }

    pub(super) fn write<U: Float>(&mut self, tier: Tier, from: &[U], rounding: Rounding) {
        match self {
            Self::Dense(into) => store(tier, from, into, rounding),
            Self::Strided(view) => Buffer::with(|buffer| {
                let buffer = grown(T::select(buffer), from.len());
                store(tier, from, buffer, rounding);
                view.write(buffer, Rows::NONE);
            }),
        }
    }

    /// Overwrites all elements with zeros.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Dense(slice) => slice.fill(T::default()),
            Self::Strided(view) => Buffer::with(|buffer| {
                let zeros = grown(T::select(buffer), view.len());
                zeros.fill(T::default());
                view.write(zeros, Rows::NONE);
            }),
        }
    }

    /// The elements in rows, in `buffer` where they are not yet, with their values if `filled`.
    pub(super) fn staged<'s>(
        &'s mut self,
        buffer: &'s mut Buffer,
        rows: Rows,
        filled: bool,
    ) -> ViewMut<'s, T> {
        let view = match self {
            Self::Dense(slice) => return ViewMut::Dense(slice),
            Self::Strided(view) => view,
        };
        if has_rows(view.lies(), rows) {
            return ViewMut::Strided(view.part(0..view.len()));
        }
        let into = grown(T::select(buffer), rows.extent(view.len()));
        if filled {
            view.view().read(into, rows);
        }
        ViewMut::Dense(into)
    }

    /// Stores the elements that `staged` put into `buffer`.
    pub(super) fn write_back(&mut self, buffer: &mut Buffer, rows: Rows) {
        if let Self::Strided(view) = self
            && !has_rows(view.lies(), rows)
        {
            view.write(grown(T::select(buffer), rows.extent(view.len())), rows);
        }
    }

    /// One of so many rows of `len` elements each, to be written.
    pub(super) fn row(&mut self, at: usize, rows: usize, len: usize) -> ViewMut<'_, T> {
        ViewMut::Dense(match self {
            Self::Dense(slice) => {
                let pitch = slice.len() / rows;
                &mut slice[pitch * at..][..len]
            }
            Self::Strided(view) => view.row(at, len),
        })
    }
}

/// Whether such rows of an array are in one piece.
fn has_rows(lies: Lies<'_>, rows: Rows) -> bool {
    match lies {
        Lies::Along { axes, .. } => rows != Rows::NONE && run_length(&axes) >= rows.len,
        Lies::Dense | Lies::InPart => false,
    }
}

/// `into = from`, rounded to the type of the array.
fn store<T: Element, U: Float>(tier: Tier, from: &[U], into: &mut [T], rounding: Rounding) {
    match rounding {
        Rounding::AtRandom { key, start } if T::DTYPE < DType::F32 => {
            let pieces = from.chunks(WORDS_AT_ONCE).zip(into.chunks_mut(WORDS_AT_ONCE));
            for (piece, (from, into)) in pieces.enumerate() {
                let words = words(tier, key, start + (piece * WORDS_AT_ONCE) as u64);
                tier.run(StoreAtRandom { from, into, words: &words });
            }
        }
        _ => converting::<T, U, _>(|| tier.run(Store { from, into })),
    }
}
