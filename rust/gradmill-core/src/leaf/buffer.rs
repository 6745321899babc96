//! Room for dense copies, kept from one step to the next.

use std::cell::Cell;

use half::{bf16, f16};

use crate::convert::Element;

/// Room for a dense copy of an array of any dtype.
#[derive(Debug, Default)]
pub struct Buffer {
    pub f16: Vec<f16>,
    pub bf16: Vec<bf16>,
    pub f32: Vec<f32>,
    pub f64: Vec<f64>,
}

thread_local! {
    static BUFFER: Cell<Buffer> = Cell::default();
}

impl Buffer {
    /// Calls `work` with what this thread has kept, and keeps what comes of it.
    pub fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        BUFFER.with(|kept| {
            let mut buffer = kept.take();
            let done = work(&mut buffer);
            kept.set(buffer);
            done
        })
    }
}

/// As many elements of a buffer, of any value.
pub fn grown<T: Element>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
    &mut buffer[..len]
}
