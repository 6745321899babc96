//! Arrays of any dtype and any layout, behind one interface.

use std::ops::Range;

use half::{bf16, f16};

use super::buffer::Buffer;
use super::codes::{Codes, CodesMut};
use super::cut::Cut;
use super::layout::Lies;
use super::planes::Rows;
use super::view::{View, ViewMut};
use crate::number::dtype::DType;
use crate::number::element::{Element, ElementTable};
use crate::number::float::Float;
use crate::number::rounding::Rounding;
use crate::sys::simd::Tier;

/// An array of any dtype to read.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// Half precision.
    F16(View<'a, f16>),
    /// Half precision with the range of single precision.
    BF16(View<'a, bf16>),
    /// Single precision.
    F32(View<'a, f32>),
    /// Double precision.
    F64(View<'a, f64>),
    /// Eight bits, in groups.
    Codes(Codes<'a>),
}

/// An array of any dtype to write.
#[derive(Debug)]
pub enum Sink<'a> {
    /// Half precision.
    F16(ViewMut<'a, f16>),
    /// Half precision with the range of single precision.
    BF16(ViewMut<'a, bf16>),
    /// Single precision.
    F32(ViewMut<'a, f32>),
    /// Double precision.
    F64(ViewMut<'a, f64>),
    /// Eight bits, in groups.
    Codes(CodesMut<'a>),
}

/// The view inside by its type.
macro_rules! views_by_type {
    ($name:ident, $($type:ident: $variant:ident),*) => {
        $(#[inline(always)]
        fn $type(self) -> Self::Of<$type> {
            match self {
                $name::$variant(view) => Some(view),
                _ => None,
            }
        })*
    };
}

impl<'s, 'a> ElementTable for &'s Source<'a> {
    type Of<E: Element> = Option<&'s View<'a, E>>;

    views_by_type!(Source, f16: F16, bf16: BF16, f32: F32, f64: F64);
}

impl<'s, 'a> ElementTable for &'s mut Sink<'a> {
    type Of<E: Element> = Option<&'s mut ViewMut<'a, E>>;

    views_by_type!(Sink, f16: F16, bf16: BF16, f32: F32, f64: F64);
}

impl<'s, 'a> ElementTable for &'s Sink<'a> {
    type Of<E: Element> = Option<&'s ViewMut<'a, E>>;

    views_by_type!(Sink, f16: F16, bf16: BF16, f32: F32, f64: F64);
}

/// What `$body` makes of the view inside, whatever its type.
macro_rules! inside {
    ($value:expr, $view:ident => $body:expr, $codes:pat => $of_codes:expr) => {
        match $value {
            Self::F16($view) => $body,
            Self::BF16($view) => $body,
            Self::F32($view) => $body,
            Self::F64($view) => $body,
            Self::Codes($codes) => $of_codes,
        }
    };
}

/// Runs a body on the view inside, which makes a view of the same type again; `$to` is what that becomes a part of.
macro_rules! rewrap {
    ($value:expr, $to:ident, $view:ident => $body:expr, $codes:pat => $of_codes:expr) => {
        match $value {
            Self::F16($view) => $to::F16($body),
            Self::BF16($view) => $to::BF16($body),
            Self::F32($view) => $to::F32($body),
            Self::F64($view) => $to::F64($body),
            Self::Codes($codes) => $to::Codes($of_codes),
        }
    };
}

/// Splits the view inside.
macro_rules! split {
    ($value:expr, $cut:expr, $($variant:ident)*) => {
        match $value {
            $(Self::$variant(view) => {
                let (head, tail) = view.split($cut);
                (Self::$variant(head), Self::$variant(tail))
            })*
        }
    };
}

impl<'a> Source<'a> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        inside!(self, view => view.len(), codes => codes.len())
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
            Self::F16(_) => DType::F16,
            Self::BF16(_) => DType::BF16,
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
            Self::Codes(_) => DType::Codes,
        }
    }

    pub(super) fn split(self, cut: Cut<'a>) -> (Self, Self) {
        split!(self, cut, F16 BF16 F32 F64 Codes)
    }

    pub(super) fn lies(&self) -> Lies<'a> {
        inside!(self, view => view.lies(), _ => Lies::InPart)
    }

    /// Whether the elements are next to each other, whatever their type.
    pub(super) fn has_slice(&self) -> bool {
        inside!(self, view => matches!(view, View::Dense(_)), _ => true)
    }

    /// Consecutive elements, in two.
    pub(crate) fn split_at(self, mid: usize) -> (Self, Self) {
        self.split(Cut::Run(mid))
    }

    /// The elements in rows, in `buffer` where they are not yet.
    pub(super) fn staged<'s>(&self, buffer: &'s mut Buffer, rows: Rows) -> Source<'s>
    where
        'a: 's,
    {
        rewrap!(self, Source, view => view.staged(buffer, rows), codes => *codes)
    }

    /// One of so many rows of `len` elements each.
    pub(super) fn row(&self, at: usize, rows: usize, len: usize) -> Source<'_> {
        rewrap!(self, Source, view => view.row(at, rows, len), codes => codes.part(at * len..(at + 1) * len))
    }

    /// Those of its elements.
    pub(crate) fn part(&self, at: Range<usize>) -> Source<'_> {
        rewrap!(self, Source, view => view.part(at), codes => codes.part(at))
    }

    /// Copies all elements, converted.
    pub(crate) fn read<T: Float>(&self, tier: Tier, into: &mut [T]) {
        inside!(self, view => view.read(tier, into), codes => codes.read(tier, into));
    }

    /// Whether [`Self::dense`] gives a slice.
    #[inline]
    pub(crate) fn is_dense<T: Element>(&self) -> bool {
        self.dense::<T>().is_some()
    }

    /// The elements as a slice, where they are dense and of this type.
    #[inline]
    pub(crate) fn dense<T: Element>(&self) -> Option<&[T]> {
        match T::select(self)? {
            View::Dense(slice) => Some(slice),
            View::Strided(_) => None,
        }
    }
}

impl<'a> Sink<'a> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        inside!(self, view => view.len(), codes => codes.len())
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
            Self::F16(_) => DType::F16,
            Self::BF16(_) => DType::BF16,
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
            Self::Codes(_) => DType::Codes,
        }
    }

    pub(super) fn split(self, cut: Cut<'a>) -> (Self, Self) {
        split!(self, cut, F16 BF16 F32 F64 Codes)
    }

    pub(super) fn lies(&self) -> Lies<'a> {
        inside!(self, view => view.lies(), _ => Lies::InPart)
    }

    /// Consecutive elements, in two.
    pub(crate) fn split_at(self, mid: usize) -> (Self, Self) {
        self.split(Cut::Run(mid))
    }

    /// Whether the elements are next to each other, whatever their type.
    pub(super) fn has_slice(&self) -> bool {
        inside!(self, view => matches!(view, ViewMut::Dense(_)), _ => true)
    }

    /// The elements in rows, in `buffer` where they are not yet, with their values if `filled`.
    pub(super) fn staged<'s>(
        &'s mut self,
        buffer: &'s mut Buffer,
        rows: Rows,
        filled: bool,
    ) -> Sink<'s> {
        rewrap!(self, Sink, view => view.staged(buffer, rows, filled), codes => codes.part(0..codes.len()))
    }

    /// One of so many rows of `len` elements each, to be written.
    pub(super) fn row(&mut self, at: usize, rows: usize, len: usize) -> Sink<'_> {
        rewrap!(self, Sink, view => view.row(at, rows, len), codes => codes.part(at * len..(at + 1) * len))
    }

    /// Stores the elements that `staged` put into `buffer`.
    pub(super) fn write_back(&mut self, buffer: &mut Buffer, rows: Rows) {
        inside!(self, view => view.write_back(buffer, rows), _ => ());
    }

    /// The same elements, to be read from now on.
    pub(crate) fn into_view(self) -> Source<'a> {
        rewrap!(self, Source, view => view.into_view(), codes => codes.into_view())
    }

    /// Those of its elements.
    pub(super) fn part(&mut self, at: Range<usize>) -> Sink<'_> {
        rewrap!(self, Sink, view => view.part(at), codes => codes.part(at))
    }

    /// Copies all elements, converted.
    pub(crate) fn read<T: Float>(&self, tier: Tier, into: &mut [T]) {
        inside!(self, view => view.read(tier, into), codes => codes.view().read(tier, into));
    }

    /// Overwrites all elements, rounded to this dtype.
    pub(crate) fn write<T: Float>(&mut self, tier: Tier, from: &[T], rounding: Rounding) {
        inside!(self, view => view.write(tier, from, rounding), codes => codes.write(tier, from));
    }

    /// The codes, where it has such.
    #[inline]
    pub(super) fn codes(&mut self) -> Option<CodesMut<'_>> {
        match self {
            Self::Codes(codes) => Some(codes.part(0..codes.len())),
            _ => None,
        }
    }

    /// Overwrites all elements with zeros.
    pub fn clear(&mut self) {
        inside!(self, view => view.clear(), _ => unreachable!("gradients are in no codes"));
    }

    /// The elements as a slice to read, where they are dense and of this type.
    #[inline]
    pub(super) fn slice<T: Element>(&self) -> Option<&[T]> {
        match T::select(self)? {
            ViewMut::Dense(slice) => Some(slice),
            ViewMut::Strided(_) => None,
        }
    }

    /// Whether [`Self::dense`] gives a slice.
    #[inline]
    pub(crate) fn is_dense<T: Element>(&self) -> bool {
        self.dtype() == T::DTYPE && self.has_slice()
    }

    /// The elements as a slice, where they are dense and of this type.
    #[inline]
    pub(crate) fn dense<T: Element>(&mut self) -> Option<&mut [T]> {
        match T::select(self)? {
            ViewMut::Dense(slice) => Some(slice),
            ViewMut::Strided(_) => None,
        }
    }
}
