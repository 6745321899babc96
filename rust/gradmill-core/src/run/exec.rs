//! Runs a program over leaves: validates, then walks memory once for each pass.

pub(crate) mod halves;

use super::carrier::Carrier;
use super::measured::Gathering;
use super::outcome::Outcome;
use super::row::{Row, active};
use super::walk::{Pair, Summed, Walk};
use super::workspace::Workspace;
use crate::data::{Leaf, Params, Slots, Source};
use crate::error::Error;
use crate::number::dtype::DType;
use crate::number::rng::{self, Key};
use crate::ops::{Addend, Gather, ScalarKind, Settle};
use crate::plan::pass::{Cursor, Pass, PassInput};
use crate::plan::program::{Binding, Program};
use crate::plan::validate::validate;
use crate::sums::measure::Sums;
use crate::sums::squares::{Pairwise, Squares};
use crate::sums::units::Units;
use crate::sys::config::Config;
use crate::sys::mode::in_default_mode;

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
    pub known: &'s [Squares],
    /// For each op that draws random numbers how many leaves of the tree before these it draws for.
    pub noise_before: &'s [u64],
    /// How many leaves of the tree come before these, by which half precision is rounded at random.
    pub leaves_before: u64,
    /// Whether the norms of what is added to the parameters, and of these, are asked for.
    pub measures: bool,
    /// Whether updates are zeroed where their leaves want it, by the pass that is the last to read them.
    pub spends: bool,
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
    let mut workspace = Workspace::default();
    run_rows(program, leaves, step, config, &mut workspace)?;
    Ok(workspace.outcome)
}

/// Sends `rows`, of which the caller knows that they fit, through `program`, in memory that is kept from step to step.
/// What was found is in `workspace`.
///
/// # Errors
/// [`Error::Scalars`], [`Error::NotANumber`], [`Error::OutOfMemory`]; nothing was written then.
pub fn run_rows<R: Row>(
    program: &Program,
    rows: &mut [R],
    step: Step<'_>,
    config: &Config,
    workspace: &mut Workspace,
) -> Result<(), Error> {
    in_default_mode(|| passes(program, rows, step, config, workspace))
}

fn passes<R: Row>(
    program: &Program,
    rows: &mut [R],
    step: Step<'_>,
    config: &Config,
    workspace: &mut Workspace,
) -> Result<(), Error> {
    program.check_scalars(step.scalars)?;
    let Some(mut carriers) = carriers(program, rows, step.off)? else {
        Run::new(program, step, config, workspace).passes(rows);
        return Ok(());
    };
    let mut leaves = with_carriers(program, rows, &mut carriers);
    Run::new(program, step, config, workspace).passes(&mut leaves);
    Ok(())
}

/// Where the updates of `rows` wait between passes, of a program in which they do; None where each row has room of its own.
fn carriers<R: Row>(
    program: &Program,
    rows: &mut [R],
    off: u64,
) -> Result<Option<Vec<Carrier>>, Error> {
    let mut has_room = true;
    if program.carries(program.members_of(off)) {
        for row in active(rows) {
            has_room &= row.make_room(program)?;
        }
    }
    if has_room {
        return Ok(None);
    }
    let mut carriers = Vec::with_capacity(rows.len());
    for row in rows.iter_mut() {
        let needs_one = row.is_active() && !row.make_room(program)?;
        carriers.push(Carrier::new(row.dtype(program), if needs_one { row.len() } else { 0 })?);
    }
    Ok(Some(carriers))
}

/// The rows that take part, as leaves whose updates wait in `carriers`.
fn with_carriers<'r, R: Row>(
    program: &Program,
    rows: &'r mut [R],
    carriers: &'r mut [Carrier],
) -> Vec<Leaf<'r>> {
    let with_carrier = |(row, carrier)| {
        let leaf = Row::leaf(row, program);
        let out = leaf.out.or_else(|| Some(Carrier::sink(carrier)));
        Leaf { out, ..leaf }
    };
    let pairs = rows.iter_mut().zip(carriers).filter(|(row, _)| row.is_active());
    pairs.map(with_carrier).collect()
}

/// The root of the sum of squares of all elements, without overflow on the way.
#[must_use]
pub fn global_norm(arrays: Vec<Source<'_>>, config: &Config) -> f64 {
    let leaf = |updates| Leaf::new(updates, Params::None, None, Slots::new());
    let mut leaves: Vec<Leaf<'_>> = arrays.into_iter().map(leaf).collect();
    let names = ["clip_by_global_norm"];
    let Ok(program) = Program::new(names) else { unreachable!("{names:?} is an op") };
    let mut workspace = Workspace::default();
    let step = Step { scalars: &[f64::INFINITY], ..Step::default() };
    let mut run = Run::new(&program, step, config, &mut workspace);
    let pass = program.pass_from(Cursor::start(), 0);
    in_default_mode(|| run.pass(&pass, &mut leaves, true).1.norm())
}

/// How many elements are not finite.
#[must_use]
#[expect(clippy::cast_sign_loss, reason = "a sum of counts")]
pub fn count_not_finite(arrays: &[Source<'_>], config: &Config) -> u64 {
    let units: Vec<Units> = arrays.iter().map(|array| Units::whole(array.len())).collect();
    let pairs: Vec<_> = arrays.iter().cloned().zip(&units).collect();
    in_default_mode(|| {
        let mut sums = Sums::default();
        sums.measure(&mut &pairs[..], Addend::NotFinite, config).iter().sum::<f64>() as u64
    })
}

/// What norms are made of.
const UPDATES: Summed = Summed { updates: true, params: false };

struct Run<'r> {
    program: &'r Program,
    scalars: &'r [f64],
    config: &'r Config,
    off: u64,
    rounding: Option<Key>,
    known: &'r [Squares],
    noise_before: &'r [u64],
    leaves_before: u64,
    measures: bool,
    spends: bool,
    squares: Option<SquaresBefore>,
    work: &'r mut Workspace,
}

/// The sum of squares of the update that reaches an op, over the leaves that the op does not pass by.
#[derive(Clone, Copy)]
struct SquaresBefore {
    op: usize,
    squares: Squares,
}

impl<'r> Run<'r> {
    fn new(
        program: &'r Program,
        step: Step<'r>,
        config: &'r Config,
        work: &'r mut Workspace,
    ) -> Self {
        work.clear();
        let Step { scalars, off, rounding, known, noise_before, leaves_before, measures, spends } =
            step;
        let (off, squares) = (program.members_of(off), None);
        Self {
            program,
            scalars,
            config,
            off,
            rounding,
            known,
            noise_before,
            leaves_before,
            measures,
            spends,
            squares,
            work,
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
                self.pass_by(op, rows);
            }
            let Some(op) = pass.ends_for else {
                self.last_pass(&pass, rows);
                return;
            };
            self.find(op, &pass, rows);
            cursor.advance(&pass);
        }
    }

    /// Finds what `op`, for which `pass` ends, has to know.
    fn find<R: Row>(&mut self, op: usize, pass: &Pass, rows: &mut [R]) {
        let Some(gather) = self.program.gather(op) else {
            unreachable!("only ops that gather end passes")
        };
        match gather.settle {
            Settle::Scalar => {
                let squares = self.known(op).unwrap_or_else(|| self.squares(pass, op, rows));
                let norm = squares.norm();
                self.work.found.push(norm);
                self.work.outcome.norms.push(Some(norm));
            }
            Settle::Estimates(settle) => {
                let sums = self.known(op).unwrap_or_else(|| self.record_pass(pass, rows, true));
                let made = settle(self.program.scalars_of(op, self.scalars), sums.own());
                self.work.found.extend(made);
                self.work.outcome.estimates.push(Some(made));
            }
            Settle::Gate => {
                let known = self.known(op).map(|known| known.are_finite());
                let finite = known.unwrap_or_else(|| self.is_finite(pass, op, rows));
                let accept = self.program.scalars_of(op, self.scalars)[0] != 0.0;
                self.off |= if finite || accept { 1 << op } else { self.program.governs(op) };
                self.work.outcome.all_finite.push(finite);
            }
            Settle::Number(_) | Settle::Factors(_) | Settle::Flags => {
                self.gather(op, gather, Some(pass), rows);
            }
        }
    }

    /// What the whole tree has for `op`, where that is known already.
    fn known(&self, op: usize) -> Option<Squares> {
        let spans_leaves = |op: &usize| self.program.spans_leaves(*op);
        self.known.get((0..op).filter(spans_leaves).count()).copied()
    }

    /// Walks over `rows` and notes whether the incoming updates are finite.
    fn record_pass<R: Row>(&mut self, pass: &Pass, rows: &mut [R], norm: bool) -> Squares {
        let (finite, squares) = self.pass(pass, rows, norm);
        self.work.outcome.finite &= finite || pass.source == PassInput::Carried;
        squares
    }

    /// Walks over `rows` with the pass that writes the parameters.
    fn last_pass<R: Row>(&mut self, pass: &Pass, rows: &mut [R]) {
        if !self.measures {
            self.record_pass(pass, rows, false);
            return;
        }
        let mut sums = [Pairwise::default(), Pairwise::default()];
        let add = |own: Pair| {
            in_default_mode(|| sums.iter_mut().zip(own).for_each(|(sum, own)| sum.add(own)));
        };
        let finite = self.over(pass, rows, Summed { updates: true, params: true }, add);
        let outcome = &mut self.work.outcome;
        outcome.finite &= finite || pass.source == PassInput::Carried;
        outcome.sizes = Some(sums.map(|sum| sum.total().norm()));
    }

    /// Leaves the update behind where `pass` does so. What an earlier pass left behind stays as it is where
    /// no op of this one runs; but slots have to be brought to where the new ones go.
    fn carry<R: Row>(&mut self, pass: &Pass, rows: &mut [R]) {
        let idle = pass.source == PassInput::Carried
            && pass.slots.is_empty()
            && pass.ops.clone().all(|op| self.is_off(op));
        if pass.carries && !idle {
            self.record_pass(pass, rows, false);
        }
    }

    /// The sum of squares of the update that reaches `op`, which may be known already.
    fn squares<R: Row>(&mut self, pass: &Pass, op: usize, rows: &mut [R]) -> Squares {
        if let Some(before) = self.squares
            && !pass.carries
            && (before.op..op).all(|op| self.is_off(op))
            && active(rows).all(|row| row.skip() >> op & 1 == row.skip() >> before.op & 1)
        {
            return before.squares;
        }
        let squares = self.record_pass(pass, rows, true);
        self.squares = Some(SquaresBefore { op, squares });
        squares
    }

    /// Whether the update that reaches `op` is finite. Its squares say so, be they those of an earlier op.
    fn is_finite<R: Row>(&mut self, pass: &Pass, op: usize, rows: &mut [R]) -> bool {
        if let Some(before) = self.squares
            && !pass.carries
            && before.squares.are_finite()
            && self.program.keep_finite(before.op..op, self.binding())
            && active(rows).all(|row| row.skip() >> op & 1 >= row.skip() >> before.op & 1)
        {
            return true;
        }
        self.squares(pass, op, rows).are_finite()
    }

    fn binding(&self) -> Binding<'_> {
        let Self { scalars, work, off, config, .. } = self;
        Binding { scalars, found: &work.found, off: *off, fuse: config.fuse }
    }

    /// Settles what `op`, for which no pass ends, gathers of parameters; where it does not run, keeps the places of its
    /// results among those of others, and its state by units.
    fn pass_by<R: Row>(&mut self, op: usize, rows: &mut [R]) {
        let Some(gather) = self.program.gather(op) else { return };
        if !self.is_off(op) {
            self.gather(op, gather, None, rows);
            return;
        }
        let slots = self.program.unit_slots_of(op);
        if !slots.is_empty() {
            for row in active(rows) {
                let mut leaf = row.leaf(self.program);
                let own = leaf.unit_slots[slots.clone()].iter_mut().flatten();
                own.for_each(|slot| slot.keep(self.config.tier));
            }
        }
        let Workspace { outcome, found, .. } = self.work;
        found.extend(std::iter::repeat_n(f64::NAN, self.program.meta(op).found()));
        match gather.settle {
            Settle::Number(_) | Settle::Factors(_) => {}
            Settle::Scalar => outcome.norms.push(None),
            Settle::Estimates(_) => outcome.estimates.push(None),
            Settle::Gate => outcome.all_finite.push(true),
            Settle::Flags => outcome.nans.add(std::iter::empty()),
        }
    }

    /// A key for each leaf and each op that draws random numbers: leaves are counted without those that
    /// the op passes by.
    #[expect(clippy::cast_sign_loss, reason = "the words of a key travel among the scalars")]
    fn draw_keys<R: Row>(&mut self, rows: &mut [R]) {
        for (number, op) in self.program.noises().enumerate() {
            let scalars = self.program.scalars_of(op, self.scalars);
            let words = self.program.meta(op).scalars.iter().zip(scalars);
            let mut words = words.filter(|(scalar, _)| scalar.kind == ScalarKind::Word);
            let mut word = || words.next().map_or(0, |(_, &word)| word as u32);
            let key = [word(), word()];
            let mut taken = self.noise_before.get(number).copied().unwrap_or(0)..;
            let keys = active(rows).map(|row| match row.skip() >> op & 1 {
                0 => rng::split(key, taken.next().unwrap_or_default()),
                _ => key,
            });
            self.work.settled.add_keys(op, keys);
        }
    }

    /// Gathers over the units of leaves, of the update that leaves `pass` and of parameters.
    fn gather<R: Row>(&mut self, op: usize, gather: Gather, pass: Option<&Pass>, rows: &mut [R]) {
        let Self { program, scalars, config, .. } = *self;
        let carried = pass.is_some_and(Pass::leaves_behind);
        let gathering = Gathering { program, config, op, gather, carried };
        let mut of_walk = std::mem::take(&mut self.work.squares);
        of_walk.clear();
        let summed = gathering.of_walk();
        match pass {
            Some(pass) if summed.updates => {
                let finite = self.over(pass, rows, summed, |own| of_walk.push(own));
                self.work.outcome.finite &= finite || pass.source == PassInput::Carried;
            }
            Some(pass) => self.carry(pass, rows),
            None => {}
        }
        let Workspace { settled, measures, outcome, .. } = &mut *self.work;
        measures.form(&gathering, rows, summed.updates.then_some(&of_walk));
        let scalars = program.scalars_of(op, scalars);
        match gather.settle {
            Settle::Number(number) => {
                measures.settle(&gathering, scalars, number, rows, settled);
            }
            Settle::Factors(settle) => {
                measures.settle_factors(&gathering, scalars, settle, rows, settled);
            }
            _ => {
                let mut found = measures.found();
                let has_any = |row: &R| row.is_active() && found.next().unwrap_or(false);
                outcome.nans.add(rows.iter().map(has_any));
            }
        }
        self.work.squares = of_walk;
    }

    /// Walks over `rows`: whether all updates were finite, and the sum of squares if asked for.
    fn pass<R: Row>(&mut self, pass: &Pass, rows: &mut [R], norm: bool) -> (bool, Squares) {
        let mut sum = Pairwise::default();
        let summed = if norm { UPDATES } else { Summed::default() };
        // A thread of several adds up what chunks have in this mode, too.
        let finite = self.over(pass, rows, summed, |[own, _]| in_default_mode(|| sum.add(own)));
        (finite, sum.total())
    }

    /// Walks over `rows`: whether all updates were finite; `add` gets the sum of squares of each leaf.
    fn over<R: Row>(
        &mut self,
        pass: &Pass,
        rows: &mut [R],
        squares: Summed,
        add: impl FnMut(Pair),
    ) -> bool {
        let Self { program, scalars, config, off, rounding, leaves_before, .. } = *self;
        let Workspace { kernels, found, settled, sums, .. } = &mut *self.work;
        kernels.clear();
        let mut elements = 0;
        let binding = Binding { scalars, found, off, fuse: config.fuse };
        for row in active(rows) {
            elements += row.len();
            let skip = row.skip();
            match row.dtype(program) {
                DType::F64 => kernels.f64.add(skip, |it| program.bind(pass, skip, binding, it)),
                _ => kernels.f32.add(skip, |it| program.bind(pass, skip, binding, it)),
            }
        }
        let spends = self.spends && pass.is_last_to_read();
        let walk = Walk {
            program,
            pass,
            kernels,
            off,
            rounding,
            leaves_before,
            settled,
            spends,
            squares,
            config,
        };
        walk.over(rows, elements, sums, add)
    }
}
