//! Where an update waits between the passes of a step.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::data::{Sink, ViewMut};
use crate::error::Error;
use crate::number::dtype::DType;
use crate::number::float::Float;

/// Holds the update of a leaf between passes.
#[derive(Debug)]
pub struct Carrier(Typed);

#[derive(Debug)]
enum Typed {
    F32(AlignedBuffer<f32>),
    F64(AlignedBuffer<f64>),
}

impl Carrier {
    /// One for so many elements, computed in this dtype.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(dtype: DType, len: usize) -> Result<Self, Error> {
        Ok(Self(match dtype {
            DType::F64 => Typed::F64(AlignedBuffer::new(len)?),
            _ => Typed::F32(AlignedBuffer::new(len)?),
        }))
    }

    /// Whether it has so many elements, of the type that `dtype` is computed in.
    #[must_use]
    pub fn fits(&self, dtype: DType, len: usize) -> bool {
        match &self.0 {
            Typed::F32(buffer) => dtype != DType::F64 && buffer.len() == len,
            Typed::F64(buffer) => dtype == DType::F64 && buffer.len() == len,
        }
    }

    /// The elements; those of an earlier step as long as no pass has written them.
    pub fn sink(&mut self) -> Sink<'_> {
        match &mut self.0 {
            Typed::F32(buffer) => Sink::F32(ViewMut::Dense(buffer.elements())),
            Typed::F64(buffer) => Sink::F64(ViewMut::Dense(buffer.elements())),
        }
    }
}

/// Elements behind some that nobody uses.
#[derive(Debug)]
struct AlignedBuffer<T> {
    all: Vec<T>,
    start: usize,
}

impl<T: Float> AlignedBuffer<T> {
    /// Elements of a cache line.
    const LINE: usize = 64 / size_of::<T>();
    /// Lines after which a processor takes two addresses for one at first sight.
    const LINES: usize = 64;
    /// Elements from which on systems hand out whole pages.
    const LARGE: usize = (1 << 16) / size_of::<T>();

    /// Large ones begin at a line, each time another one of a page: a pass that reads and writes many arrays at
    /// the same place of a page waits for itself.
    fn new(len: usize) -> Result<Self, Error> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let is_large = len >= Self::LARGE;
        let room = if is_large { Self::LINE * (Self::LINES + 1) } else { 0 };
        let size = len.checked_add(room).ok_or(Error::OutOfMemory)?;
        let mut all = Vec::new();
        all.try_reserve_exact(size).map_err(|_| Error::OutOfMemory)?;
        all.resize(size, T::ZERO);
        let start = if is_large {
            let line = NEXT.fetch_add(17, Ordering::Relaxed) % Self::LINES;
            all.as_ptr().align_offset(64).min(Self::LINE) + line * Self::LINE
        } else {
            0
        };
        all.truncate(start + len);
        Ok(Self { all, start })
    }

    fn len(&self) -> usize {
        self.all.len() - self.start
    }

    fn elements(&mut self) -> &mut [T] {
        &mut self.all[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_ones_begin_at_a_line() {
        for len in [3, AlignedBuffer::<f32>::LARGE - 1, AlignedBuffer::<f32>::LARGE, 1 << 17] {
            let mut carrier = Carrier::new(DType::F32, len).unwrap();
            let mut sink = carrier.sink();
            assert_eq!(sink.len(), len);
            let address = sink.dense::<f32>().unwrap().as_ptr().addr();
            assert!(len < AlignedBuffer::<f32>::LARGE || address.is_multiple_of(64));
        }
    }

    #[test]
    fn one_fits_its_length_and_what_is_computed_in_its_type() {
        let single = Carrier::new(DType::BF16, 3).unwrap();
        assert!(single.fits(DType::F32, 3) && !single.fits(DType::F32, 4));
        assert!(!single.fits(DType::F64, 3));
        assert!(Carrier::new(DType::F64, usize::MAX).is_err());
    }
}
