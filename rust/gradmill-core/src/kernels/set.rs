//! The kernels of a pass, bound once for all leaves that share one.

use std::ops::Range;

use smallvec::SmallVec;

use super::kernel::Kernel;
use super::placed::Placed;
use super::settled::Settled;
use crate::number::float::Float;

/// A kernel, and which slots it works on: positions among those of a leaf's ops that do not pass it by.
#[derive(Debug)]
pub struct Bound<T> {
    pub kernel: Kernel<T>,
    pub slots: Range<usize>,
    /// The op whose addends the pass ends with, if there is one and it does not pass the leaf by; its first slot is
    /// counted in the same way.
    pub adds: Option<Placed<T>>,
}

impl<T: Float> Bound<T> {
    /// The same for a leaf that is one unit, with its numbers as factors, where that is one loop.
    pub fn of_leaf(&self, settled: &Settled, leaf: usize) -> Option<Self> {
        let kernel = self.kernel.with_numbers(|op| settled.number_of_leaf(op, leaf))?;
        Some(Self { kernel, slots: self.slots.clone(), adds: self.adds })
    }
}

/// The kernels of a pass: one for each dtype and each set of skipped ops.
#[derive(Default)]
pub struct Kernels {
    pub f32: KernelSet<f32>,
    pub f64: KernelSet<f64>,
}

impl Kernels {
    /// Forgets all kernels and keeps their memory.
    pub fn clear(&mut self) {
        (self.f32.bound, self.f64.bound) = (0, 0);
    }
}

/// The kernels of one dtype, by skipped ops.
pub struct KernelSet<T> {
    all: SmallVec<[(u64, Bound<T>); 1]>,
    /// How many are those of this pass; the others are there for their memory.
    bound: usize,
}

impl<T> Default for KernelSet<T> {
    fn default() -> Self {
        Self { all: SmallVec::new(), bound: 0 }
    }
}

impl<T: Float> KernelSet<T> {
    fn bound(&self) -> &[(u64, Bound<T>)] {
        &self.all[..self.bound]
    }

    /// Binds the kernel for leaves with this `skip`, where that has not been done; `bind` overwrites one.
    pub fn add(&mut self, skip: u64, bind: impl FnOnce(&mut Bound<T>)) {
        if self.bound().iter().any(|(own, _)| *own == skip) {
            return;
        }
        if self.bound == self.all.len() {
            self.all.push((skip, Bound { kernel: Kernel::default(), slots: 0..0, adds: None }));
        }
        let (own, bound) = &mut self.all[self.bound];
        *own = skip;
        bind(bound);
        self.bound += 1;
    }

    /// The kernel for leaves with this `skip`.
    pub fn of(&self, skip: u64) -> &Bound<T> {
        match self.bound().iter().find(|(own, _)| *own == skip) {
            Some((_, bound)) => bound,
            None => unreachable!("each leaf's kernel was bound before the walk"),
        }
    }
}
