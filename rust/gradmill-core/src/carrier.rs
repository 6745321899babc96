//! Where an update waits between the passes of a step.

use crate::dtype::{DType, Float};
use crate::error::Error;
use crate::leaf::{Leaf, Sink, ViewMut};
use crate::program::Program;

/// Holds the update of a leaf between passes.
pub enum Carrier {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Carrier {
    pub fn new(program: &Program, leaf: &Leaf<'_>) -> Result<Self, Error> {
        let len = if leaf.out.is_some() { 0 } else { leaf.len() };
        Ok(match program.dtype(leaf) {
            DType::F64 => Self::F64(zeros(len)?),
            _ => Self::F32(zeros(len)?),
        })
    }

    pub fn sink(&mut self) -> Sink<'_> {
        match self {
            Self::F32(buffer) => Sink::F32(ViewMut::Dense(buffer)),
            Self::F64(buffer) => Sink::F64(ViewMut::Dense(buffer)),
        }
    }
}

fn zeros<T: Float>(len: usize) -> Result<Vec<T>, Error> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| Error::OutOfMemory)?;
    buffer.resize(len, T::ZERO);
    Ok(buffer)
}
