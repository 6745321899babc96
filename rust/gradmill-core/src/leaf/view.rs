//! Arrays of either dtype and any layout, behind one interface.

use super::strided::{Strided, StridedMut};
use crate::dtype::{DType, Float};

#[inline(always)]
pub(super) fn convert<T: Float, U: Float>(value: T) -> U {
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
            Self::Strided(view) => view.len(),
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
            Self::Strided(view) => view.len(),
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
            Self::Strided(view) => ViewMut::Strided(Box::new(view.reborrow())),
        }
    }

    /// The same elements, to read.
    fn view(&self) -> View<'_, T> {
        match self {
            Self::Dense(slice) => View::Dense(slice),
            Self::Strided(view) => View::Strided(Box::new(view.view())),
        }
    }

    fn read<U: Float>(&self, into: &mut [U]) {
        match self {
            Self::Dense(slice) => read_dense(slice, into),
            Self::Strided(view) => view.read(into),
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

    pub(crate) fn split_at(self, mid: usize) -> (Self, Self) {
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

    pub(crate) fn split_at(self, mid: usize) -> (Self, Self) {
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

    /// The same elements, to read.
    pub(crate) fn view(&self) -> Source<'_> {
        match self {
            Self::F32(view) => Source::F32(view.view()),
            Self::F64(view) => Source::F64(view.view()),
        }
    }

    pub(super) fn reborrow(&mut self) -> Sink<'_> {
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
