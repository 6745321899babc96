//! Runs a program over leaves: validates, then walks memory once for each pass.

use smallvec::SmallVec;

use crate::dtype::{DType, Float};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::leaf::{Leaf, Params, Sink, Source as Array, ViewMut};
use crate::program::{Pass, Program, Source};
use crate::simd::Tier;
use crate::validate::validate;
use crate::walk::Walk;

/// How to run, none of which changes a bit of the result.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most threads to use.
    pub threads: usize,
    /// Instruction set.
    pub tier: Tier,
    /// Whether frequent chains run as one loop in registers.
    pub fuse: bool,
}

/// What a step found on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The global norms that ops asked for, in chain order, each taken before its op.
    pub norms: SmallVec<[f64; 2]>,
    /// Whether every incoming update was finite.
    pub finite: bool,
}

/// Sends `leaves` through `program`.
///
/// The update goes to each leaf's `out`, or is added to its parameter where that is to be written.
///
/// # Errors
/// Any [`Error`] about leaves or scalars; nothing was written then.
pub fn run(
    program: &Program,
    leaves: &mut [Leaf<'_>],
    scalars: &[f64],
    config: &Config,
) -> Result<Outcome, Error> {
    if scalars.len() != program.scalars() {
        return Err(Error::Scalars { expected: program.scalars(), got: scalars.len() });
    }
    for (index, leaf) in leaves.iter().enumerate() {
        validate(program, index, leaf)?;
    }
    let run = Run { program, scalars, config };
    if !program.passes().iter().any(|pass| pass.carries) {
        return Ok(run.passes(leaves));
    }
    let mut carriers =
        leaves.iter().map(|leaf| Carrier::new(program, leaf)).collect::<Result<Vec<_>, _>>()?;
    let mut leaves: Vec<Leaf<'_>> = leaves
        .iter_mut()
        .zip(&mut carriers)
        .map(|(leaf, carrier)| {
            let mut leaf = leaf.reborrow();
            leaf.out = leaf.out.or_else(|| Some(carrier.sink()));
            leaf
        })
        .collect();
    Ok(run.passes(&mut leaves))
}

/// The root of the sum of squares of all elements, without overflow on the way.
#[must_use]
pub fn global_norm(arrays: Vec<Array<'_>>, config: &Config) -> f64 {
    let mut leaves: Vec<Leaf<'_>> = arrays
        .into_iter()
        .map(|updates| Leaf {
            updates,
            params: Params::None,
            out: None,
            slots: SmallVec::new(),
            skip: 0,
        })
        .collect();
    let program = Program::global_norm();
    Run { program: &program, scalars: &[f64::INFINITY], config }.passes(&mut leaves).norms[0]
}

/// Holds the update of a leaf between passes.
enum Carrier {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Carrier {
    fn new(program: &Program, leaf: &Leaf<'_>) -> Result<Self, Error> {
        let len = if leaf.out.is_some() { 0 } else { leaf.len() };
        Ok(match program.dtype(leaf) {
            DType::F32 => Self::F32(zeros(len)?),
            DType::F64 => Self::F64(zeros(len)?),
        })
    }

    fn sink(&mut self) -> Sink<'_> {
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

struct Run<'r> {
    program: &'r Program,
    scalars: &'r [f64],
    config: &'r Config,
}

impl Run<'_> {
    fn passes(&self, leaves: &mut [Leaf<'_>]) -> Outcome {
        let mut outcome = Outcome { norms: SmallVec::new(), finite: true };
        for pass in self.program.passes() {
            let (finite, sum) = self.pass(pass, leaves, &outcome.norms, 1.0);
            outcome.finite &= finite || pass.source == Source::Carried;
            if pass.norm_for.is_some() {
                let norm = self.norm(pass, leaves, &outcome.norms, sum);
                outcome.norms.push(norm);
            }
        }
        outcome
    }

    /// The root of `sum`, computed again with scaled values where their squares left the range of f64.
    fn norm(&self, pass: &Pass, leaves: &mut [Leaf<'_>], norms: &[f64], sum: f64) -> f64 {
        let scale = if sum == f64::INFINITY {
            f64::from_bits((1023 - 600) << 52)
        } else if sum < 1e-270 {
            f64::from_bits((1023 + 600) << 52)
        } else {
            return sum.sqrt();
        };
        let again = if pass.carries { pass.over_carried() } else { pass.clone() };
        self.pass(&again, leaves, norms, scale).1.sqrt() / scale
    }

    /// Walks over `leaves`: whether all updates were finite, and the sum of squares if asked for.
    fn pass(&self, pass: &Pass, leaves: &mut [Leaf<'_>], norms: &[f64], scale: f64) -> (bool, f64) {
        let Self { program, scalars, config } = *self;
        let mut kernels = Kernels::default();
        for leaf in &*leaves {
            let skip = leaf.skip;
            match program.dtype(leaf) {
                DType::F32 => {
                    kernels.f32.add(skip, || program.bind(pass, skip, scalars, norms, config.fuse));
                }
                DType::F64 => {
                    kernels.f64.add(skip, || program.bind(pass, skip, scalars, norms, config.fuse));
                }
            }
        }
        Walk { program, pass, kernels: &kernels, config, scale }.over(leaves)
    }
}

/// The kernels of a pass: one for each dtype and each set of skipped ops.
#[derive(Default)]
pub struct Kernels {
    pub f32: KernelSet<f32>,
    pub f64: KernelSet<f64>,
}

/// The kernels of one dtype, by skipped ops.
pub struct KernelSet<T>(SmallVec<[(u64, Kernel<T>); 1]>);

impl<T> Default for KernelSet<T> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<T> KernelSet<T> {
    fn add(&mut self, skip: u64, bind: impl FnOnce() -> Kernel<T>) {
        if self.0.iter().all(|(known, _)| *known != skip) {
            self.0.push((skip, bind()));
        }
    }

    /// The kernel for leaves with this `skip`.
    pub fn of(&self, skip: u64) -> &Kernel<T> {
        match self.0.iter().find(|(known, _)| *known == skip) {
            Some((_, kernel)) => kernel,
            None => unreachable!("each leaf's kernel was bound before the walk"),
        }
    }
}
