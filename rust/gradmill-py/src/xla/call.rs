//! What a call is to do: its attributes, and its arrays leaf by leaf.

use std::ops::Range;

use gradmill_core::ops::{Meta, Over};
use gradmill_core::{Entry, Program};
use smallvec::SmallVec;

use super::frame::{Buffer, Frame, Kind, Problem};

/// What to do with a group of leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sum what the last op has to know of all leaves.
    Sums,
    /// Run the program and hand out the updates.
    Update,
    /// Run the program and add the updates to the parameters.
    Step,
}

/// Where a scalar of a step comes from.
#[derive(Clone, Copy, Debug)]
enum Scalar {
    Constant(f64),
    Number(usize),
    Word(usize),
}

/// The attributes of a call.
pub struct Call<'f> {
    pub mode: Mode,
    pub program: Program,
    scalars: Vec<Scalar>,
    /// For each leaf the ops that pass it by.
    pub skip: &'f [i64],
    /// For each op that draws, for how many leaves before these it has done so.
    pub noise_before: &'f [i64],
    has_params: bool,
}

/// The arrays of one leaf.
pub struct LeafBuffers<'f> {
    /// The members of the program that pass it by, of its own accord or since it is not of their shape.
    pub skip: u64,
    /// Those of ops that pass it by, which have no slots among the operands.
    pub of_ops: u64,
    /// The lengths of its axes, where an op has units.
    pub shape: SmallVec<[usize; 4]>,
    pub update: Buffer<'f>,
    pub param: Option<Buffer<'f>>,
    /// The slots of all ops that do not pass it by, among those of all leaves.
    pub slots: Range<usize>,
    /// The new parameter, or the new update.
    pub result: Option<Buffer<'f>>,
}

/// All arrays of a call.
pub struct Operands<'f> {
    /// How many calls in one, by a `vmap`; all arrays have that many first elements, over so many axes.
    pub batch: usize,
    pub numbers: Buffer<'f>,
    pub words: Buffer<'f>,
    pub known: Buffer<'f>,
    pub leaves: Vec<LeafBuffers<'f>>,
    pub slots: Vec<Buffer<'f>>,
    pub new_slots: Vec<Buffer<'f>>,
    /// The sums, or what was found.
    pub found: Buffer<'f>,
    pub axes: usize,
}

impl<'f> Operands<'f> {
    /// The arrays that leaves read, each with the one that replaces it.
    pub fn read(
        &mut self,
        mode: Mode,
    ) -> impl Iterator<Item = (&mut Buffer<'f>, Option<Buffer<'f>>)> {
        let new = self.new_slots.iter().copied().map(Some).chain(std::iter::repeat(None));
        let slots = self.slots.iter_mut().zip(new);
        let leaves = self.leaves.iter_mut().flat_map(move |leaf| {
            let new = if mode == Mode::Step { leaf.result } else { None };
            leaf.param.iter_mut().map(move |param| (param, new)).chain([(&mut leaf.update, None)])
        });
        slots.chain(leaves)
    }

    /// The arrays that it writes.
    pub fn written(&self) -> impl Iterator<Item = &Buffer<'f>> {
        let results = self.leaves.iter().filter_map(|leaf| leaf.result.as_ref());
        self.new_slots.iter().chain(results).chain([&self.found])
    }
}

impl<'f> Call<'f> {
    pub fn new(frame: &Frame<'f>) -> Result<Self, Problem> {
        let mode = match frame.integer("mode")? {
            0 => Mode::Sums,
            1 => Mode::Update,
            2 => Mode::Step,
            other => return Err(format!("mode is {other}")),
        };
        let entries = frame.text("ops")?.split_whitespace().map(entry);
        let program = Program::new(entries.collect::<Result<Vec<_>, _>>()?);
        let program = program.map_err(|error| error.to_string())?;
        let (rows, rest) = frame.floats("scalars")?.as_chunks::<3>();
        if !rest.is_empty() {
            return Err("scalars is no list of rows of 3".into());
        }
        let scalars: Vec<Scalar> = rows.iter().map(scalar).collect::<Result<_, _>>()?;
        let expected = program.scalars();
        // Without any, a list that must not be empty may hold whatever it likes.
        if scalars.len() != expected && expected > 0 {
            return Err(format!("{} scalars for {expected}", scalars.len()));
        }
        let has_params = frame.integer("params")? != 0;
        if mode == Mode::Step && !has_params {
            return Err("a step needs params".into());
        }
        let state = program.ops().position(has_state).unwrap_or(program.ops().len());
        let is_last = state + 1 >= program.ops().len();
        if mode == Mode::Sums && !(is_last && program.ops().last().is_some_and(spans)) {
            return Err("sums are for an op that spans leaves, without state before it".into());
        }
        let (skip, noise_before) = (frame.integers("skip")?, frame.integers("drawn")?);
        let draws = program.noises().count();
        if noise_before.len() < draws || noise_before.iter().any(|&leaves| leaves < 0) {
            return Err(format!("drawn is no list of {draws} counts"));
        }
        Ok(Self { mode, program, scalars, skip, noise_before, has_params })
    }

    /// Sorts the arrays of a call.
    pub fn operands(&self, frame: &Frame<'f>) -> Result<Operands<'f>, Problem> {
        let arguments = frame.arguments()?;
        let results = frame.results()?;
        let [numbers, words, known, ref rest @ ..] = arguments[..] else {
            return Err("operands are missing".into());
        };
        if !matches!(numbers.kind, Kind::Floats(_))
            || [words, known].iter().any(|b| b.kind != Kind::Words)
        {
            return Err("numbers, words or known are of another dtype".into());
        }
        let [ref made @ .., found] = results[..] else {
            return Err("results are missing".into());
        };
        let axes = words.dims.len().checked_sub(1).ok_or("words is no list")?;
        let first = &words.dims[..axes];
        let is_batched = |buffer: &Buffer<'_>| buffer.dims.get(..axes) == Some(first);
        if !arguments.iter().chain(&results).all(is_batched) {
            return Err("operands have other first axes than words".into());
        }
        self.check_known(&known.dims[axes..])?;
        let batch = first.iter().map(|&length| usize::try_from(length).unwrap_or(0)).product();
        let (mut rest, mut made) = (rest.iter().copied(), made.iter().copied());
        // Not collected: from results that may be errors, that takes no room ahead.
        let mut leaves = Vec::with_capacity(self.skip.len());
        let (mut slots, mut new_slots) =
            (Vec::with_capacity(arguments.len()), Vec::with_capacity(results.len()));
        for (at, skip) in self.skip.iter().enumerate() {
            let (given, new) = ((&mut rest, &mut slots), (&mut made, &mut new_slots));
            let leaf = self.leaf(skip.cast_unsigned(), axes, given, new);
            leaves.push(leaf.map_err(|problem| format!("leaf {at}: {problem}"))?);
        }
        if rest.next().is_some() || made.next().is_some() {
            return Err("operands or results are left over".into());
        }
        if found.kind != Kind::Words || found.len(axes) < self.found_len() {
            return Err("the last result is too short, or no words".into());
        }
        Ok(Operands { batch, numbers, words, known, leaves, slots, new_slots, found, axes })
    }

    /// Checks the shape of what is known of the tree: a row of sums for each leaf, for some of the first ops
    /// that ask.
    fn check_known(&self, dims: &[i64]) -> Result<(), Problem> {
        // Behind state, the walk that is spared would also be the one that writes it.
        let state = self.program.ops().position(has_state).map_or(usize::MAX, |first| first + 1);
        let most = self.program.ops().take(state).filter(|meta| spans(meta)).count();
        let lengths: Vec<usize> =
            dims.iter().filter_map(|&length| usize::try_from(length).ok()).collect();
        match lengths[..] {
            [0, _, WORDS_PER_LEAF] => Ok(()),
            [ops, leaves, WORDS_PER_LEAF] if ops <= most && leaves >= self.skip.len() => Ok(()),
            _ => Err(format!("known has shape {dims:?}, at most {most} ops can be known")),
        }
    }

    /// The arrays of the next leaf; its slots go to those of the others.
    fn leaf(
        &self,
        skip: u64,
        axes: usize,
        (rest, slots): (&mut impl Iterator<Item = Buffer<'f>>, &mut Vec<Buffer<'f>>),
        (made, new_slots): (&mut impl Iterator<Item = Buffer<'f>>, &mut Vec<Buffer<'f>>),
    ) -> Result<LeafBuffers<'f>, Problem> {
        let writes = self.mode != Mode::Sums;
        let update = rest.next().ok_or("an update is missing")?;
        let len = update.len(axes);
        let check_len = |buffer: Option<Buffer<'f>>, len| match buffer {
            Some(buffer) if buffer.len(axes) != len => Err("arrays differ in length"),
            Some(buffer) if buffer.kind == Kind::Words => Err("an array holds words"),
            Some(buffer) => Ok(buffer),
            None => Err("operands or results are missing"),
        };
        let check = |buffer| check_len(buffer, len);
        check(Some(update))?;
        let mut shape = SmallVec::new();
        let (of_ops, mut skip) = (self.program.members_of(skip), skip);
        if self.program.has_units() {
            let lengths = update.dims[axes..].iter();
            shape.extend(lengths.map(|&length| usize::try_from(length).unwrap_or(0)));
            let fitted = self.program.skip_of(skip, &shape);
            skip = fitted.map_err(|(problem, op)| format!("{problem} ({op})"))?;
        }
        let param = self.has_params.then(|| check(rest.next())).transpose()?;
        if param.is_none() && self.program.reads_params_of(skip) {
            return Err("params are missing".into());
        }
        let first = slots.len();
        for slot in self.program.slots_of(of_ops) {
            let state = rest.next().ok_or("operands or results are missing")?;
            let any = self.program.skips_slot(skip, slot);
            let len = if any { state.len(axes) } else { self.program.slot_len(slot, len, &shape) };
            slots.push(check_len(Some(state), len)?);
        }
        let own = first..slots.len();
        let result = writes.then(|| check(made.next())).transpose()?;
        for old in slots[own.clone()].iter().filter(|_| writes) {
            new_slots.push(check_len(made.next(), old.len(axes))?);
        }
        let params = param.iter().filter(|_| self.mode == Mode::Step).zip(&result);
        let new = new_slots.get(own.clone()).unwrap_or_default();
        let mut replaced = slots[own.clone()].iter().zip(new).chain(params);
        if replaced.any(|(old, new)| old.kind != new.kind) {
            return Err("an array changes its dtype".into());
        }
        Ok(LeafBuffers { skip, of_ops, shape, update, param, slots: own, result })
    }

    /// How many words say what was found.
    fn found_len(&self) -> usize {
        match self.mode {
            Mode::Sums => self.skip.len() * WORDS_PER_LEAF,
            _ => self.program.count_found(self.skip.len()),
        }
    }

    /// The scalars of a step.
    pub fn scalars(&self, numbers: &[f64], words: &[u32]) -> Result<Vec<f64>, Problem> {
        let number = |at: usize| numbers.get(at).copied().ok_or("a number is missing");
        let word = |at: usize| words.get(at).copied().ok_or("a word is missing");
        let value = |scalar: &Scalar| {
            Ok::<_, Problem>(match *scalar {
                Scalar::Constant(value) => value,
                Scalar::Number(at) => number(at)?,
                Scalar::Word(at) => word(at)?.into(),
            })
        };
        let row: Vec<f64> =
            self.scalars[..self.program.scalars()].iter().map(value).collect::<Result<_, _>>()?;
        self.program.check_scalars(&row).map_err(|error| error.to_string())?;
        Ok(row)
    }
}

/// The sums of a leaf: three doubles.
pub const WORDS_PER_LEAF: usize = 6;

/// Whether an op has state.
fn has_state(meta: &Meta) -> bool {
    !(meta.slots.is_empty() && meta.unit_slots.is_empty())
}

/// Whether an op asks for something of all leaves together.
fn spans(meta: &Meta) -> bool {
    meta.gather.is_some_and(|gather| gather.over == Over::Tree)
}

/// An op, written as `name:governs:axes`, the axes as a list or a star for the usual ones.
fn entry(text: &str) -> Result<Entry<'_>, Problem> {
    let misfit = || format!("{text:?} is no op");
    let mut parts = text.splitn(3, ':');
    let (Some(name), Some(governs), Some(axes)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(misfit());
    };
    let governs = governs.parse().map_err(|_| misfit())?;
    let list = axes.split(',').map(|axis| axis.parse().map_err(|_| misfit()));
    let axes = match axes {
        "*" => None,
        "" => Some(Vec::new()),
        _ => Some(list.collect::<Result<_, _>>()?),
    };
    Ok(Entry { name, governs, axes, otherwise: None }.or_otherwise())
}

#[expect(clippy::cast_sign_loss, reason = "indices and counts travel among the scalars")]
fn scalar(&[kind, value, index]: &[f64; 3]) -> Result<Scalar, Problem> {
    let at = index as usize;
    Ok(match kind as i64 {
        0 => Scalar::Constant(value),
        1 => Scalar::Number(at),
        2 => Scalar::Word(at),
        other => return Err(format!("a scalar is of kind {other}")),
    })
}
