//! Runs a program over leaves: validates, then walks memory once for each pass.

use smallvec::SmallVec;

use crate::dtype::{DType, Float};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::leaf::{Leaf, Origin, Params, Sink, Slots, Source as Array, ViewMut};
use crate::measure::measure;
use crate::ops::Reduce;
use crate::others::Others;
use crate::program::{Pass, Program, Source};
use crate::rng;
use crate::simd::Tier;
use crate::units::{Measure, Numbers, UnitRule, Units};
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

/// What a step needs beside its leaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step<'s> {
    /// The scalars of all ops in a row.
    pub scalars: &'s [f64],
    /// The ops that pass all leaves by in this step, as bits.
    pub off: u64,
}

/// What a step found on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The global norms that ops asked for, in chain order, each taken before its op; `None` for an op
    /// that was off.
    pub norms: SmallVec<[Option<f64>; 2]>,
    /// For each op that asks whether all updates are finite, whether they were.
    pub all_finite: SmallVec<[bool; 2]>,
    /// For each op that asks for NaN, whether each leaf had one; empty for an op that was off.
    pub nans: Vec<Vec<bool>>,
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
    step: Step<'_>,
    config: &Config,
) -> Result<Outcome, Error> {
    let got = step.scalars.len();
    if got != program.scalars() {
        return Err(Error::Scalars { expected: program.scalars(), got });
    }
    for (index, leaf) in leaves.iter_mut().enumerate() {
        validate(program, index, leaf)?;
        leaf.origin = Origin { leaf: index, start: 0 };
    }
    let run = Run::new(program, step, config);
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
    let leaf = |updates| Leaf::new(updates, Params::None, None, Slots::new());
    let mut leaves: Vec<Leaf<'_>> = arrays.into_iter().map(leaf).collect();
    let program = Program::global_norm();
    let step = Step { scalars: &[f64::INFINITY], off: 0 };
    let norms = Run::new(&program, step, config).passes(&mut leaves).norms;
    norms[0].unwrap_or_default()
}

/// How many elements are not finite.
#[must_use]
#[expect(clippy::cast_sign_loss, reason = "a sum of counts")]
pub fn count_not_finite(arrays: &[Array<'_>], config: &Config) -> u64 {
    let units: Vec<Units> = arrays.iter().map(|array| Units::whole(array.len())).collect();
    let pairs: Vec<_> = arrays.iter().cloned().zip(&units).collect();
    let counts = measure(&pairs, Measure::NotFinite, config);
    counts.iter().flatten().sum::<f64>() as u64
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
    off: u64,
    norms: SmallVec<[f64; 2]>,
    others: Others,
    outcome: Outcome,
}

impl<'r> Run<'r> {
    fn new(program: &'r Program, step: Step<'r>, config: &'r Config) -> Self {
        let outcome = Outcome {
            norms: SmallVec::new(),
            all_finite: SmallVec::new(),
            nans: Vec::new(),
            finite: true,
        };
        let Step { scalars, off } = step;
        let (norms, others) = (SmallVec::new(), Others::default());
        Self { program, scalars, config, off, norms, others, outcome }
    }

    fn is_off(&self, op: usize) -> bool {
        self.off >> op & 1 == 1
    }

    fn passes(mut self, leaves: &mut [Leaf<'_>]) -> Outcome {
        self.draw_keys(leaves);
        for pass in self.program.passes() {
            let reduce = match pass.ends_for {
                Some(op) if self.is_off(op) => Reduce::None,
                Some(op) => self.program.reduce(op),
                None => Reduce::None,
            };
            let is_norm = matches!(reduce, Reduce::Norm);
            let mut sum = 0.0;
            // What earlier passes left behind stays as it is where no op of this one runs; but slots
            // have to be brought to where the new ones go.
            let idle = pass.source == Source::Carried
                && pass.slots.is_empty()
                && pass.ops.clone().all(|op| self.is_off(op));
            if pass.ends_for.is_none() || pass.carries && !idle || is_norm {
                let finite;
                (finite, sum) = self.pass(pass, leaves, is_norm, 1.0);
                self.outcome.finite &= finite || pass.source == Source::Carried;
            }
            let Some(op) = pass.ends_for else { break };
            match reduce {
                Reduce::None => self.record_nothing(op),
                Reduce::Norm => {
                    let norm = self.norm(pass, leaves, sum);
                    self.norms.push(norm);
                    self.outcome.norms.push(Some(norm));
                }
                Reduce::Units(rule) => {
                    let numbers = self.numbers(pass, op, &rule, leaves);
                    self.others.add_numbers(op, numbers);
                }
                Reduce::Finite => {
                    let finite =
                        self.counts(pass, op, leaves, Measure::NotFinite).iter().all(|&n| n == 0.0);
                    let accept = self.program.scalars_of(op, self.scalars)[0] != 0.0;
                    self.off |= if finite || accept { 1 << op } else { self.program.governs(op) };
                    self.outcome.all_finite.push(finite);
                }
                Reduce::Nans => {
                    let counts = self.counts(pass, op, leaves, Measure::Nans);
                    self.outcome.nans.push(counts.iter().map(|&count| count > 0.0).collect());
                }
            }
        }
        self.outcome
    }

    /// Keeps the places of an op's results among those of others.
    fn record_nothing(&mut self, op: usize) {
        match self.program.reduce(op) {
            Reduce::None | Reduce::Units(_) => {}
            Reduce::Norm => {
                self.norms.push(f64::NAN);
                self.outcome.norms.push(None);
            }
            Reduce::Finite => self.outcome.all_finite.push(true),
            Reduce::Nans => self.outcome.nans.push(Vec::new()),
        }
    }

    /// A key for each leaf and each op that draws random numbers: leaves are counted without those that
    /// the op passes by.
    #[expect(clippy::cast_sign_loss, reason = "the words of a key travel among the scalars")]
    fn draw_keys(&mut self, leaves: &[Leaf<'_>]) {
        for op in self.program.noises() {
            let scalars = self.program.scalars_of(op, self.scalars);
            let key = [scalars[1] as u32, scalars[2] as u32];
            let mut taken = 0..;
            let keys = leaves.iter().map(|leaf| match leaf.skip >> op & 1 {
                0 => rng::split(key, taken.next().unwrap_or_default()),
                _ => key,
            });
            self.others.add_keys(op, keys.collect());
        }
    }

    /// The root of `sum`, computed again with scaled values where their squares left the range of f64.
    fn norm(&self, pass: &Pass, leaves: &mut [Leaf<'_>], sum: f64) -> f64 {
        let scale = if sum == f64::INFINITY {
            f64::from_bits((1023 - 600) << 52)
        } else if sum < 1e-270 {
            f64::from_bits((1023 + 600) << 52)
        } else {
            return sum.sqrt();
        };
        let again = if pass.carries { pass.over_carried() } else { pass.clone() };
        self.pass(&again, leaves, true, scale).1.sqrt() / scale
    }

    /// The numbers that `rule` makes of the units of each leaf.
    fn numbers(
        &self,
        pass: &Pass,
        op: usize,
        rule: &UnitRule,
        leaves: &[Leaf<'_>],
    ) -> Vec<Option<Numbers>> {
        let scalars = self.program.scalars_of(op, self.scalars);
        let units: Vec<Option<Units>> = leaves
            .iter()
            .map(|leaf| {
                let takes = leaf.skip >> op & 1 == 0 && !leaf.is_empty();
                takes.then(|| self.program.units(op, rule, leaf.shape).ok().flatten()).flatten()
            })
            .collect();
        let with_units = || leaves.iter().zip(&units).filter_map(|(l, u)| Some((l, u.as_ref()?)));
        let updates: Vec<_> = with_units().map(|(l, units)| (incoming(pass, l), units)).collect();
        let mut of_updates = measure(&updates, rule.measure, self.config).into_iter();
        let params = with_units().filter(|_| rule.params);
        let params: Vec<_> =
            params.filter_map(|(l, units)| Some((l.params.view()?, units))).collect();
        let mut of_params = measure(&params, rule.measure, self.config).into_iter();
        units
            .into_iter()
            .map(|units| {
                let units = units?;
                let elements = units.size() as f64;
                let params = of_params.next().unwrap_or_default();
                let values = of_updates.next()?.into_iter().enumerate().map(|(unit, of_update)| {
                    let of_param = params.get(unit).copied().unwrap_or_default();
                    (rule.number)(scalars, of_update, of_param, elements)
                });
                Some(Numbers { values: values.collect(), units })
            })
            .collect()
    }

    /// A count for each leaf; zero for those that `op` passes by.
    fn counts(&self, pass: &Pass, op: usize, leaves: &[Leaf<'_>], what: Measure) -> Vec<f64> {
        let units: Vec<Units> = leaves.iter().map(|leaf| Units::whole(leaf.len())).collect();
        let takes = |leaf: &&Leaf<'_>| leaf.skip >> op & 1 == 0;
        let pairs = leaves.iter().zip(&units).filter(|(leaf, _)| takes(leaf));
        let pairs: Vec<_> = pairs.map(|(leaf, units)| (incoming(pass, leaf), units)).collect();
        let mut counts = measure(&pairs, what, self.config).into_iter();
        leaves
            .iter()
            .map(|leaf| if takes(&leaf) { counts.next().map_or(0.0, |sums| sums[0]) } else { 0.0 })
            .collect()
    }

    /// Walks over `leaves`: whether all updates were finite, and the sum of squares if asked for.
    fn pass(&self, pass: &Pass, leaves: &mut [Leaf<'_>], norm: bool, scale: f64) -> (bool, f64) {
        let Self { program, scalars, config, off, norms, others, .. } = self;
        let mut kernels = Kernels::default();
        let fuse = config.fuse;
        for leaf in &*leaves {
            let skip = leaf.skip | off;
            match program.dtype(leaf) {
                DType::F32 => {
                    kernels.f32.add(skip, || program.bind(pass, skip, scalars, norms, fuse));
                }
                DType::F64 => {
                    kernels.f64.add(skip, || program.bind(pass, skip, scalars, norms, fuse));
                }
            }
        }
        let kernels = &kernels;
        Walk { program, pass, kernels, off: *off, others, norm, config, scale }.over(leaves)
    }
}

/// The update that the op behind `pass` meets.
fn incoming<'l>(pass: &Pass, leaf: &'l Leaf<'_>) -> Array<'l> {
    match (pass.carries, pass.source, &leaf.out) {
        (false, Source::Updates, _) | (_, _, None) => leaf.updates.clone(),
        (_, _, Some(out)) => out.view(),
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
