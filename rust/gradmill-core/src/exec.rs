//! Runs a program over leaves: validates, then walks memory once for each pass.

use smallvec::SmallVec;

use crate::carrier::Carrier;
use crate::dtype::DType;
use crate::error::Error;
use crate::kernel::Kernels;
use crate::known::{Known, SMALLER, root};
use crate::leaf::{Leaf, Params, Row, Slots, Source as Array, incoming};
use crate::measure::measure;
use crate::ops::Reduce;
use crate::others::Others;
use crate::program::{Binding, Cursor, Pass, Program, Source};
use crate::reduce::Pairwise;
use crate::rng::{self, Key};
use crate::simd::Tier;
use crate::sys::mode::in_default_mode;
use crate::units::{Measure, Numbers, UnitRule, Units};
use crate::validate::validate;
use crate::walk::Walk;

/// How to run, none of which changes a bit of the result.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most threads to use; 0 for as many as are in force.
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
    /// What half precision is rounded at random with; to nearest without.
    pub rounding: Option<Key>,
    /// Where the leaves are a part of a tree: what the first ops that ask for a norm or for finiteness will
    /// find in the whole of it. None of these has state before it.
    pub known: &'s [Known],
    /// Likewise, for each op that draws random numbers how many leaves before these it draws for.
    pub drawn: &'s [u64],
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
    for (index, leaf) in leaves.iter().enumerate() {
        validate(program, index, leaf)?;
    }
    run_rows(program, leaves, step, config)
}

/// As [`run`], for leaves of which the caller knows that they fit the program.
///
/// # Errors
/// [`Error::Scalars`], [`Error::NotANumber`], [`Error::OutOfMemory`]; nothing was written then.
pub fn run_rows<R: Row>(
    program: &Program,
    rows: &mut [R],
    step: Step<'_>,
    config: &Config,
) -> Result<Outcome, Error> {
    in_default_mode(|| passes(program, rows, step, config))
}

fn passes<R: Row>(
    program: &Program,
    rows: &mut [R],
    step: Step<'_>,
    config: &Config,
) -> Result<Outcome, Error> {
    program.check_scalars(step.scalars)?;
    let mut run = Run::new(program, step, config);
    if !program.carries(step.off) {
        run.passes(rows);
        return Ok(run.outcome);
    }
    let carrier = |row: &mut R| Carrier::new(program, &row.leaf(program));
    let mut carriers = present(rows).map(carrier).collect::<Result<Vec<_>, _>>()?;
    let with_carrier = |(row, carrier)| {
        let leaf = Row::leaf(row, program);
        let out = leaf.out.or_else(|| Some(Carrier::sink(carrier)));
        Leaf { out, ..leaf }
    };
    let mut leaves: Vec<Leaf<'_>> = present(rows).zip(&mut carriers).map(with_carrier).collect();
    run.passes(&mut leaves);
    Ok(run.outcome)
}

/// For each leaf the sum of squares of the update that reaches the last op of `program`, which asks for a norm
/// or for finiteness and does not run. No op before it has state. Nothing is written.
///
/// # Errors
/// As [`run_rows`].
pub fn squares(
    program: &Program,
    leaves: &mut [Leaf<'_>],
    step: Step<'_>,
    config: &Config,
) -> Result<Vec<Known>, Error> {
    in_default_mode(|| squares_of(program, leaves, step, config))
}

fn squares_of(
    program: &Program,
    leaves: &mut [Leaf<'_>],
    step: Step<'_>,
    config: &Config,
) -> Result<Vec<Known>, Error> {
    program.check_scalars(step.scalars)?;
    let run = Run::new(program, step, config);
    if !program.carries(step.off) {
        return Ok(run.squares_of(leaves));
    }
    let carrier = |leaf: &Leaf<'_>| Carrier::new(program, leaf);
    let mut carriers = leaves.iter().map(carrier).collect::<Result<Vec<_>, _>>()?;
    let mut with_carriers = Vec::with_capacity(leaves.len());
    for (leaf, carrier) in leaves.iter_mut().zip(&mut carriers) {
        with_carriers.push(Leaf { out: Some(carrier.sink()), ..leaf.reborrow() });
    }
    Ok(run.squares_of(&mut with_carriers))
}

/// The rows that take part.
pub fn present<R: Row>(rows: &mut [R]) -> impl Iterator<Item = &mut R> {
    rows.iter_mut().filter(|row| row.is_present())
}

/// The root of the sum of squares of all elements, without overflow on the way.
#[must_use]
pub fn global_norm(arrays: Vec<Array<'_>>, config: &Config) -> f64 {
    let leaf = |updates| Leaf::new(updates, Params::None, None, Slots::new());
    let mut leaves: Vec<Leaf<'_>> = arrays.into_iter().map(leaf).collect();
    let names = ["clip_by_global_norm"];
    let Ok(program) = Program::new(names) else { unreachable!("{names:?} is an op") };
    let run = Run::new(&program, Step { scalars: &[f64::INFINITY], ..Step::default() }, config);
    let pass = program.pass_from(Cursor::start(), 0);
    in_default_mode(|| {
        let sum = run.pass(&pass, &mut leaves, true, 1.0).1;
        root(sum, |scale| run.again(&pass, &mut leaves, scale))
    })
}

/// How many elements are not finite.
#[must_use]
#[expect(clippy::cast_sign_loss, reason = "a sum of counts")]
pub fn count_not_finite(arrays: &[Array<'_>], config: &Config) -> u64 {
    let units: Vec<Units> = arrays.iter().map(|array| Units::whole(array.len())).collect();
    let pairs: Vec<_> = arrays.iter().cloned().zip(&units).collect();
    in_default_mode(|| {
        let counts = measure(&pairs, Measure::NotFinite, config);
        counts.iter().flatten().sum::<f64>() as u64
    })
}

struct Run<'r> {
    program: &'r Program,
    scalars: &'r [f64],
    config: &'r Config,
    off: u64,
    rounding: Option<Key>,
    known: &'r [Known],
    drawn: &'r [u64],
    norms: SmallVec<[f64; 2]>,
    others: Others,
    squares: Option<Squares>,
    outcome: Outcome,
}

/// The sum of squares of the update that reaches an op, over the leaves that the op does not pass by.
#[derive(Clone, Copy)]
struct Squares {
    op: usize,
    sum: f64,
}

impl<'r> Run<'r> {
    fn new(program: &'r Program, step: Step<'r>, config: &'r Config) -> Self {
        let outcome = Outcome {
            norms: SmallVec::new(),
            all_finite: SmallVec::new(),
            nans: Vec::new(),
            finite: true,
        };
        let Step { scalars, off, rounding, known, drawn } = step;
        Self {
            program,
            scalars,
            config,
            off,
            rounding,
            known,
            drawn,
            norms: SmallVec::new(),
            others: Others::default(),
            squares: None,
            outcome,
        }
    }

    fn is_off(&self, op: usize) -> bool {
        self.off >> op & 1 == 1
    }

    fn passes<R: Row>(&mut self, rows: &mut [R]) {
        self.draw_keys(rows);
        let mut cursor = Cursor::start();
        loop {
            let pass = self.program.pass_from(cursor, self.off);
            for op in cursor.next..pass.ends_for.unwrap_or(pass.ops.end) {
                self.record_nothing(op);
            }
            let Some(op) = pass.ends_for else {
                self.walk(&pass, rows, false);
                return;
            };
            self.find(op, &pass, rows);
            cursor.advance(&pass);
        }
    }

    /// Finds what `op`, for which `pass` ends, has to know.
    fn find<R: Row>(&mut self, op: usize, pass: &Pass, rows: &mut [R]) {
        match self.program.reduce(op) {
            Reduce::None => unreachable!("only reductions end passes"),
            Reduce::Norm => {
                let norm = if let Some(known) = self.known(op) {
                    known.norm()
                } else {
                    let sum = self.squares(pass, op, rows);
                    root(sum, |scale| self.again(pass, rows, scale))
                };
                self.norms.push(norm);
                self.outcome.norms.push(Some(norm));
            }
            Reduce::Finite => {
                let known = self.known(op).map(|known| known.is_finite());
                let finite = known.unwrap_or_else(|| self.is_finite(pass, op, rows));
                let accept = self.program.scalars_of(op, self.scalars)[0] != 0.0;
                self.off |= if finite || accept { 1 << op } else { self.program.governs(op) };
                self.outcome.all_finite.push(finite);
            }
            Reduce::Units(rule) => {
                self.carry(pass, rows);
                let leaves = self.leaves(rows);
                let numbers = self.numbers(pass, op, &rule, &leaves);
                self.others.add_numbers(op, numbers);
            }
            Reduce::Nans => {
                self.carry(pass, rows);
                let leaves = self.leaves(rows);
                self.outcome.nans.push(self.nans(pass, op, &leaves));
            }
        }
    }

    /// What the whole tree has for `op`, where that is known already.
    fn known(&self, op: usize) -> Option<Known> {
        let spans_leaves = |op: &usize| self.program.spans_leaves(*op);
        self.known.get((0..op).filter(spans_leaves).count()).copied()
    }

    /// What the last op will find in each leaf.
    fn squares_of(mut self, leaves: &mut [Leaf<'_>]) -> Vec<Known> {
        self.draw_keys(leaves);
        let mut cursor = Cursor::start();
        loop {
            let pass = self.program.pass_from(cursor, self.off);
            match pass.ends_for {
                // It is off.
                None => return vec![Known::default(); leaves.len()],
                Some(op) if op + 1 == self.program.ops().len() => {
                    return Known::of_leaves(|scale| {
                        let mut sums = Vec::with_capacity(leaves.len());
                        self.over(&pass, leaves, true, scale, |sum| sums.push(sum));
                        sums
                    });
                }
                Some(op) => self.find(op, &pass, leaves),
            }
            cursor.advance(&pass);
        }
    }

    fn leaves<'l, R: Row>(&self, rows: &'l mut [R]) -> Vec<Leaf<'l>> {
        present(rows).map(|row| row.leaf(self.program)).collect()
    }

    /// Walks over `rows` and notes whether the incoming updates are finite.
    fn walk<R: Row>(&mut self, pass: &Pass, rows: &mut [R], norm: bool) -> f64 {
        let (finite, sum) = self.pass(pass, rows, norm, 1.0);
        self.outcome.finite &= finite || pass.source == Source::Carried;
        sum
    }

    /// Leaves the update behind where `pass` does so. What an earlier pass left behind stays as it is where
    /// no op of this one runs; but slots have to be brought to where the new ones go.
    fn carry<R: Row>(&mut self, pass: &Pass, rows: &mut [R]) {
        let idle = pass.source == Source::Carried
            && pass.slots.is_empty()
            && pass.ops.clone().all(|op| self.is_off(op));
        if pass.carries && !idle {
            self.walk(pass, rows, false);
        }
    }

    /// The sum of squares of the update that reaches `op`, which may be known already.
    fn squares<R: Row>(&mut self, pass: &Pass, op: usize, rows: &mut [R]) -> f64 {
        if let Some(known) = self.squares
            && !pass.carries
            && (known.op..op).all(|op| self.is_off(op))
            && present(rows).all(|row| row.skip() >> op & 1 == row.skip() >> known.op & 1)
        {
            return known.sum;
        }
        let sum = self.walk(pass, rows, true);
        self.squares = Some(Squares { op, sum });
        sum
    }

    /// Whether the update that reaches `op` is finite. A finite sum of squares says so, be it that of an
    /// earlier op; an infinite one may come from large numbers.
    fn is_finite<R: Row>(&mut self, pass: &Pass, op: usize, rows: &mut [R]) -> bool {
        if let Some(known) = self.squares
            && !pass.carries
            && known.sum.is_finite()
            && self.program.keep_finite(known.op..op, self.binding())
            && present(rows).all(|row| row.skip() >> op & 1 >= row.skip() >> known.op & 1)
        {
            return true;
        }
        let sum = self.squares(pass, op, rows);
        sum.is_finite() || sum == f64::INFINITY && self.again(pass, rows, SMALLER).is_finite()
    }

    fn binding(&self) -> Binding<'_> {
        let Self { scalars, norms, off, config, .. } = self;
        Binding { scalars, norms, off: *off, fuse: config.fuse }
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
    fn draw_keys<R: Row>(&mut self, rows: &mut [R]) {
        for (number, op) in self.program.noises().enumerate() {
            let scalars = self.program.scalars_of(op, self.scalars);
            let key = [scalars[1] as u32, scalars[2] as u32];
            let mut taken = self.drawn.get(number).copied().unwrap_or(0)..;
            let keys = present(rows).map(|row| match row.skip() >> op & 1 {
                0 => rng::split(key, taken.next().unwrap_or_default()),
                _ => key,
            });
            self.others.add_keys(op, keys.collect());
        }
    }

    /// The sum of squares at the end of `pass`, which has run, of values multiplied by `scale`.
    fn again<R: Row>(&self, pass: &Pass, rows: &mut [R], scale: f64) -> f64 {
        let again = if pass.carries { pass.over_carried() } else { pass.clone() };
        self.pass(&again, rows, true, scale).1
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
        let carried = pass.leaves_behind();
        let updates = with_units().map(|(leaf, units)| (incoming(leaf, carried), units));
        let updates: Vec<_> = updates.collect();
        let mut of_updates = measure(&updates, rule.measure, self.config).into_iter();
        let params = with_units().filter(|_| rule.params);
        let params: Vec<_> =
            params.filter_map(|(l, units)| Some((l.params.view()?, units))).collect();
        let mut of_params = measure(&params, rule.measure, self.config).into_iter();
        leaves
            .iter()
            .zip(units)
            .map(|(leaf, units)| {
                let units = units?;
                let dtype = self.program.dtype(leaf);
                let elements = units.size() as f64;
                let params = of_params.next().unwrap_or_default();
                let values = of_updates.next()?.into_iter().enumerate().map(|(unit, of_update)| {
                    let of_param = params.get(unit).copied().unwrap_or_default();
                    rule.number_in(dtype, scalars, of_update, of_param, elements)
                });
                Some(Numbers { values: values.collect(), units })
            })
            .collect()
    }

    /// Whether each leaf has a NaN; those that `op` passes by count as having none.
    fn nans(&self, pass: &Pass, op: usize, leaves: &[Leaf<'_>]) -> Vec<bool> {
        let units: Vec<Units> = leaves.iter().map(|leaf| Units::whole(leaf.len())).collect();
        let takes = |leaf: &&Leaf<'_>| leaf.skip >> op & 1 == 0;
        let pairs = leaves.iter().zip(&units).filter(|(leaf, _)| takes(leaf));
        let carried = pass.leaves_behind();
        let pairs: Vec<_> = pairs.map(|(leaf, units)| (incoming(leaf, carried), units)).collect();
        let mut counts = measure(&pairs, Measure::Nans, self.config).into_iter();
        let has_nan = |leaf| takes(&leaf) && counts.next().is_some_and(|counts| counts[0] > 0.0);
        leaves.iter().map(has_nan).collect()
    }

    /// Walks over `rows`: whether all updates were finite, and the sum of squares if asked for.
    fn pass<R: Row>(&self, pass: &Pass, rows: &mut [R], norm: bool, scale: f64) -> (bool, f64) {
        let mut sum = Pairwise::default();
        let finite = self.over(pass, rows, norm, scale, |own| sum.add(own));
        (finite, sum.total())
    }

    /// Likewise, with the sums of all leaves one by one.
    fn over<R: Row>(
        &self,
        pass: &Pass,
        rows: &mut [R],
        norm: bool,
        scale: f64,
        add: impl FnMut(f64),
    ) -> bool {
        let Self { program, config, off, rounding, others, .. } = self;
        let (mut kernels, mut elements) = (Kernels::default(), 0);
        for row in present(rows) {
            elements += row.len();
            let (skip, bind) = (row.skip(), self.binding());
            match row.dtype(program) {
                DType::F64 => kernels.f64.add(skip, || program.bind(pass, skip, bind)),
                _ => kernels.f32.add(skip, || program.bind(pass, skip, bind)),
            }
        }
        let kernels = &kernels;
        let (off, rounding) = (*off, *rounding);
        let walk = Walk { program, pass, kernels, off, rounding, others, norm, config, scale };
        walk.over(rows, elements, add)
    }
}
