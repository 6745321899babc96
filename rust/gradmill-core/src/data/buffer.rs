//! Room for dense copies, kept from one step to the next.

use std::cell::Cell;

use half::{bf16, f16};

use crate::number::element::{Element, ElementTable};
use crate::sys::kept::with_kept;

/// Room for a dense copy of an array of any dtype.
#[derive(Debug, Default)]
pub struct Buffer {
    pub f16: Vec<f16>,
    pub bf16: Vec<bf16>,
    pub f32: Vec<f32>,
    pub f64: Vec<f64>,
}

/// The room for one type.
macro_rules! room_by_type {
    ($($type:ident),*) => {
        $(#[inline(always)]
        fn $type(self) -> Self::Of<$type> {
            &mut self.$type
        })*
    };
}

impl<'b> ElementTable for &'b mut Buffer {
    type Of<E: Element> = &'b mut Vec<E>;

    room_by_type!(f16, bf16, f32, f64);
}

thread_local! {
    static BUFFER: Cell<Buffer> = Cell::default();
}

impl Buffer {
    /// Calls `work` with what this thread has kept, and keeps what comes of it.
    pub fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        with_kept(&BUFFER, work)
    }
}
