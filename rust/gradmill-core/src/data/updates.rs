//! The update that arrives at a leaf: left as it is, or zeroed once it is read.

use std::ops::Range;

use super::array::{Sink, Source};
use super::buffer::Buffer;
use super::cut::Cut;
use super::planes::Rows;
use crate::number::dtype::DType;
use crate::number::element::Element;
use crate::number::float::Float;
use crate::sys::simd::Tier;

/// An array of incoming updates.
#[derive(Debug)]
pub enum Updates<'a> {
    /// Left as it is.
    Kept(Source<'a>),
    /// Zeroed by the pass that is the last to read it.
    Spent(Sink<'a>),
}

impl<'a> Updates<'a> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Kept(source) => source.len(),
            Self::Spent(sink) => sink.len(),
        }
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
            Self::Kept(source) => source.dtype(),
            Self::Spent(sink) => sink.dtype(),
        }
    }

    /// The array, where it is left as it is.
    pub(super) fn kept(&self) -> Option<&Source<'a>> {
        match self {
            Self::Kept(source) => Some(source),
            Self::Spent(_) => None,
        }
    }

    /// The array, where it is zeroed.
    pub(super) fn spent(&self) -> Option<&Sink<'a>> {
        match self {
            Self::Kept(_) => None,
            Self::Spent(sink) => Some(sink),
        }
    }

    /// Overwrites all elements with zeros, where that is wanted.
    #[inline]
    pub(crate) fn spend(&mut self) {
        if let Self::Spent(sink) = self {
            sink.clear();
        }
    }

    /// The elements as a slice, where they are dense and of this type.
    #[inline]
    pub(crate) fn dense<T: Element>(&self) -> Option<&[T]> {
        match self {
            Self::Kept(source) => source.dense(),
            Self::Spent(sink) => sink.slice(),
        }
    }

    /// Whether [`Self::dense`] gives a slice.
    #[inline]
    pub(crate) fn is_dense<T: Element>(&self) -> bool {
        self.dense::<T>().is_some()
    }

    /// Copies all elements, converted.
    pub(crate) fn read<T: Float>(&self, tier: Tier, into: &mut [T]) {
        match self {
            Self::Kept(source) => source.read(tier, into),
            Self::Spent(sink) => sink.read(tier, into),
        }
    }

    /// The elements, to be read alone.
    pub(super) fn into_view(self) -> Source<'a> {
        match self {
            Self::Kept(source) => source,
            Self::Spent(sink) => sink.into_view(),
        }
    }

    pub(super) fn split(self, cut: Cut<'a>) -> (Self, Self) {
        match self {
            Self::Kept(source) => {
                let (head, tail) = source.split(cut);
                (Self::Kept(head), Self::Kept(tail))
            }
            Self::Spent(sink) => {
                let (head, tail) = sink.split(cut);
                (Self::Spent(head), Self::Spent(tail))
            }
        }
    }

    /// Those of its elements.
    pub(super) fn part(&mut self, at: Range<usize>) -> Updates<'_> {
        match self {
            Self::Kept(source) => Updates::Kept(source.part(at)),
            Self::Spent(sink) => Updates::Spent(sink.part(at)),
        }
    }

    /// The elements in rows, to be read alone, in `buffer` where they are not yet.
    pub(super) fn staged<'s>(&'s mut self, buffer: &'s mut Buffer, rows: Rows) -> Updates<'s> {
        Updates::Kept(match self {
            Self::Kept(source) => source.staged(buffer, rows),
            Self::Spent(sink) => sink.staged(buffer, rows, true).into_view(),
        })
    }

    /// One of so many rows of `len` elements each.
    pub(super) fn row(&mut self, at: usize, rows: usize, len: usize) -> Updates<'_> {
        match self {
            Self::Kept(source) => Updates::Kept(source.row(at, rows, len)),
            Self::Spent(sink) => Updates::Spent(sink.row(at, rows, len)),
        }
    }
}
