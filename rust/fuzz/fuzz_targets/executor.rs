//! Any program over any leaves: an error leaves all memory as it was; else how the program runs changes no bit.
//!
//! With `GRADMILL_FUZZ_SHOW` set, each input is printed; with `GRADMILL_FUZZ_COUNT`, how many reach what.
#![no_main]

mod memory;

use std::collections::BTreeMap;
use std::sync::Mutex;

use arbitrary::{Arbitrary, Unstructured};
use gradmill_core::data::{Params, Slot};
use gradmill_core::ops::OPS;
use gradmill_core::number::scalars::bias_correction;
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, DType, Entry, Error, Leaf, Outcome, Program, Step, run};
use libfuzzer_sys::fuzz_target;
use memory::{Kind, Lie, Memory, Random, Recipe, Values, axes};

/// More than two chunks of a leaf, which takes its time.
const LONG: usize = (1 << 18) + 77;
const MAX_LEN: usize = 5000;
/// Bytes that few inputs need more of.
const ENOUGH: usize = 1 << 12;
const MAX_LEAVES: u8 = 5;

#[derive(Clone, Copy, Debug)]
enum Scalar {
    /// One that makes sense.
    Usual(u8),
    Any(f64),
}

/// True for `parts` of 256 inputs.
fn rarely(u: &mut Unstructured<'_>, parts: u8) -> arbitrary::Result<bool> {
    Ok(u.arbitrary::<u8>()? >= 255 - (parts - 1))
}

impl<'a> Arbitrary<'a> for Scalar {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(if rarely(u, 16)? { Self::Any(u.arbitrary()?) } else { Self::Usual(u.arbitrary()?) })
    }
}

impl Scalar {
    fn value(self, name: &str) -> f64 {
        match self {
            Self::Any(value) => value,
            Self::Usual(choice) => {
                let pick = |values: &[f64]| values[usize::from(choice) % values.len()];
                match name {
                    "b1" | "b2" | "decay" => pick(&[0.9, 0.999, 0.0, 0.5, 1.0]),
                    "eps" | "eps_root" => pick(&[1e-8, 0.0, 1e-3]),
                    "correction" | "correction1" | "correction1_next" | "correction2" => {
                        bias_correction(0.9, u64::from(choice) + 1)
                    }
                    "first" | "emit" | "skip" | "accept" | "collected" => pick(&[1.0, 0.0, 2.0]),
                    "key0" | "key1" => f64::from(choice),
                    _ => pick(&[1.0, -1e-3, 0.1, 10.0, 0.0, 1e-42, 1e10]),
                }
            }
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Op {
    index: u8,
    governs: u8,
    axes: Option<Vec<i8>>,
    scalars: [Scalar; 7],
}

/// A slot, or parameters that are written: replaced in place or elsewhere.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Replaced {
    old: Recipe,
    /// Where it is replaced elsewhere, how the new array lies; and another dtype of the old one.
    new: Option<(Lie, Option<Kind>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Parameters {
    None,
    Read(Recipe),
    Write(Replaced, Option<(Kind, Lie)>),
}

#[derive(Arbitrary, Debug)]
struct LeafInput {
    len: u16,
    cut: u8,
    updates: Recipe,
    params: Parameters,
    out: Lie,
    /// The dtype of all arrays, where each has none of its own.
    kind: Option<Kind>,
    /// The dtype of all slots, likewise.
    slot_kind: Option<Kind>,
    /// Whether all arrays are slices.
    dense: bool,
    slots: [Replaced; 3],
    skip: Option<u64>,
}

/// What is wrong with a leaf.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Mistake {
    NoParams,
    NoOut,
    NoSlot(u8),
    TooManySlots,
    SlotOfSkipped(u8),
    LengthOfUpdates(i8),
    LengthOfParams(i8),
    LengthOfOldParams(i8),
    LengthOfOut(i8),
    LengthOfCopy(i8),
    LengthOfSlot(u8, i8),
    LengthOfOldSlot(u8, i8),
    OutDtype(Kind),
    OutAndParams,
    CopyOfNothing,
    Scalars(i8),
}

#[derive(Debug)]
struct Input {
    threads: u8,
    tier: u8,
    fuse: bool,
    other_threads: u8,
    other_tier: u8,
    off: u64,
    rounding: Option<[u32; 2]>,
    long: bool,
    mistake: Option<(u8, Mistake)>,
    ops: Vec<Op>,
    leaves: Vec<LeafInput>,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (ops, leaves): (u8, u8) = u.arbitrary()?;
        let ops = if ops >= 250 { ops - 191 } else { ops % 8 };
        let leaves = leaves % if ops < 8 { MAX_LEAVES + 1 } else { 3 };
        Ok(Self {
            threads: u.arbitrary()?,
            tier: u.arbitrary()?,
            fuse: u.arbitrary()?,
            other_threads: u.arbitrary()?,
            other_tier: u.arbitrary()?,
            off: if rarely(u, 64)? { u.arbitrary()? } else { 0 },
            rounding: u.arbitrary()?,
            long: rarely(u, 1)?,
            mistake: if rarely(u, 32)? { Some(u.arbitrary()?) } else { None },
            ops: (0..ops).map(|_| u.arbitrary()).collect::<Result<_, _>>()?,
            leaves: (0..leaves).map(|_| u.arbitrary()).collect::<Result<_, _>>()?,
        })
    }
}

fn config(threads: u8, tier: u8, fuse: bool) -> Config {
    let available: Vec<Tier> = Tier::ALL.into_iter().filter(|tier| tier.available()).collect();
    let tier = available[usize::from(tier) % available.len()];
    Config { threads: 1 + usize::from(threads % 4), tier, fuse }
}

/// An array that is replaced.
#[derive(Clone, Debug)]
struct Held {
    from: Option<Memory>,
    to: Memory,
}

impl Held {
    fn new(replaced: &Replaced, dtype: DType, len: usize) -> Self {
        let Replaced { old, new } = replaced;
        let Some((lie, other)) = *new else {
            return Self { from: None, to: Memory::new(old, dtype, len, true) };
        };
        let from = other.map_or(dtype, Into::into);
        let to = Recipe { lie, values: Values::Raw, ..*old };
        Self {
            from: Some(Memory::new(old, from, len, false)),
            to: Memory::new(&to, dtype, len, true),
        }
    }

    fn slot(&mut self) -> Slot<'_> {
        Slot { from: self.from.as_ref().map(Memory::source), to: self.to.sink() }
    }

    fn old(&self) -> &Memory {
        self.from.as_ref().unwrap_or(&self.to)
    }

    /// The same array replaced in place, or elsewhere if it was in place, where the dtypes allow that.
    fn moved(&mut self) {
        match &self.from {
            None => self.from = Some(self.to.clone()),
            Some(from) if from.dtype() == self.to.dtype() => {
                // Old arrays may reach an element twice, so that they cannot be written.
                self.to = from.dense();
                self.from = None;
            }
            Some(_) => {}
        }
    }

    fn dense(&mut self) {
        self.to = self.to.dense();
        self.from = self.from.as_ref().map(Memory::dense);
    }
}

#[derive(Clone, Debug)]
enum HeldParams {
    None,
    Read(Memory),
    Write(Held),
}

/// All memory of a leaf.
#[derive(Clone, Debug)]
struct HeldLeaf {
    updates: Memory,
    params: HeldParams,
    out: Option<Memory>,
    copy: Option<Memory>,
    slots: Vec<Option<Held>>,
    skip: u64,
    shape: Vec<usize>,
}

impl HeldLeaf {
    /// A leaf that is valid for `program`.
    fn new(program: &Program, input: &LeafInput, long: bool) -> Self {
        let leaf = Self::as_given(program, input, long);
        if input.dense { leaf.rearranged(true, false) } else { leaf }
    }

    fn as_given(program: &Program, input: &LeafInput, long: bool) -> Self {
        // Short ones are as good for most paths, and many times as fast.
        let most = if input.len >> 12 == 15 { MAX_LEN } else { 130 };
        let len = usize::from(input.len) % (most + 1) + if long { LONG } else { 0 };
        let skip = input.skip.unwrap_or(0);
        let kind_of = |recipe: &Recipe| input.kind.unwrap_or(recipe.kind);
        let memory = |recipe: &Recipe| Memory::new(recipe, kind_of(recipe).into(), len, false);
        let write = |replaced: &Replaced, kind: Kind| Held::new(replaced, kind.into(), len);
        let mut copy = None;
        let params = match &input.params {
            Parameters::None if program.reads_params_of(skip) => {
                HeldParams::Read(memory(&input.updates))
            }
            Parameters::None => HeldParams::None,
            Parameters::Read(recipe) => HeldParams::Read(memory(recipe)),
            Parameters::Write(replaced, copied) => {
                copy = copied.map(|(kind, lie)| {
                    let recipe = Recipe { lie, ..replaced.old };
                    let mut copy = Memory::new(&recipe, kind.into(), len, true);
                    copy.fill(f64::NAN);
                    copy
                });
                HeldParams::Write(write(replaced, kind_of(&replaced.old)))
            }
        };
        let slots = (0..program.slots()).map(|slot| {
            let mut replaced = input.slots[slot % 3];
            replaced.old.seed ^= slot as u64;
            let kind = input.slot_kind.unwrap_or(kind_of(&replaced.old));
            (!program.skips_slot(skip, slot)).then(|| write(&replaced, kind))
        });
        let slots = slots.collect();
        let shape = axes(len, input.cut);
        let mut leaf =
            Self { updates: memory(&input.updates), params, out: None, copy, slots, skip, shape };
        if !matches!(leaf.params, HeldParams::Write(_)) {
            let recipe = Recipe { lie: input.out, values: Values::Raw, ..input.updates };
            let dtype = program.dtype(&leaf.leaf());
            leaf.out = Some(Memory::new(&recipe, dtype, len, true));
        }
        leaf
    }

    fn leaf(&mut self) -> Leaf<'_> {
        let Self { updates, params, out, copy, slots, skip, shape } = self;
        let params = match params {
            HeldParams::None => Params::None,
            HeldParams::Read(memory) => Params::Read(memory.source()),
            HeldParams::Write(held) => Params::Write(held.slot()),
        };
        let slots = slots.iter_mut().map(|slot| slot.as_mut().map(Held::slot)).collect();
        let out = out.as_mut().map(Memory::sink);
        let leaf = Leaf::new(updates.source(), params, out, slots);
        Leaf { copy: copy.as_mut().map(Memory::sink), skip: *skip, shape, ..leaf }
    }

    /// Arrays to be read, and arrays to be written.
    fn memories(&self) -> (Vec<&Memory>, Vec<&Memory>) {
        let Self { updates, params, out, copy, slots, .. } = self;
        let mut read = vec![updates];
        let mut written: Vec<&Memory> = out.iter().chain(copy).collect();
        let params = match params {
            HeldParams::None => None,
            HeldParams::Read(memory) => {
                read.push(memory);
                None
            }
            HeldParams::Write(held) => Some(held),
        };
        for held in slots.iter().flatten().chain(params) {
            read.extend(&held.from);
            written.push(&held.to);
        }
        (read, written)
    }

    /// The same leaf in memory of other kinds: as slices, and with what was replaced in place elsewhere.
    fn rearranged(mut self, dense: bool, moved: bool) -> Self {
        let Self { updates, params, out, copy, slots, .. } = &mut self;
        if dense {
            *updates = updates.dense();
            if let HeldParams::Read(memory) = params {
                *memory = memory.dense();
            }
            for memory in out.iter_mut().chain(copy) {
                *memory = memory.dense();
            }
        }
        let params = if let HeldParams::Write(held) = params { Some(held) } else { None };
        for (number, held) in slots.iter_mut().flatten().chain(params).enumerate() {
            if dense {
                held.dense();
            }
            if moved {
                held.moved();
            }
            // What is written first is not to be read before.
            if held.from.is_some() {
                held.to.overwrite(Values::Moderate, number as u64);
            }
        }
        if let Some(out) = out {
            out.overwrite(Values::Moderate, 99);
        }
        self
    }

    /// Makes `mistake`; whether it surely is one.
    fn spoil(&mut self, program: &Program, mistake: Mistake) -> bool {
        let len = self.updates.len();
        let recipe = Recipe { kind: Kind::F32, lie: Lie::Dense, values: Values::Moderate, seed: 1 };
        let wrong = |by: i8| len.saturating_add_signed(by.into());
        let resized = |dtype, by| Memory::new(&recipe, dtype, wrong(by), true);
        let slot = |slots: &mut Vec<Option<Held>>, at: u8| {
            (!slots.is_empty()).then(|| usize::from(at) % slots.len())
        };
        match mistake {
            Mistake::NoParams => {
                self.params = HeldParams::None;
                program.reads_params_of(self.skip) || self.out.is_none() || self.copy.is_some()
            }
            Mistake::NoOut => {
                let wrong = self.out.is_some();
                self.out = None;
                wrong
            }
            Mistake::NoSlot(at) => {
                slot(&mut self.slots, at).is_some_and(|at| self.slots[at].take().is_some())
            }
            Mistake::TooManySlots => {
                self.slots.push(None);
                true
            }
            Mistake::SlotOfSkipped(at) => slot(&mut self.slots, at).is_some_and(|at| {
                let wrong = self.slots[at].is_none();
                let given = || Held { from: None, to: resized(DType::F32, 0) };
                self.slots[at].get_or_insert_with(given);
                wrong
            }),
            Mistake::LengthOfUpdates(by) => {
                self.updates = resized(DType::F32, by);
                // A leaf without any other array does not exist: there is out or params.
                wrong(by) != len
            }
            Mistake::LengthOfParams(by) => match &mut self.params {
                HeldParams::None => false,
                HeldParams::Read(memory) | HeldParams::Write(Held { to: memory, .. }) => {
                    *memory = resized(memory.dtype(), by);
                    wrong(by) != len
                }
            },
            Mistake::LengthOfOldParams(by) => match &mut self.params {
                HeldParams::Write(held) => {
                    held.from = Some(resized(held.to.dtype(), by));
                    wrong(by) != len
                }
                _ => false,
            },
            Mistake::LengthOfOut(by) => self.out.as_mut().is_some_and(|out| {
                *out = resized(out.dtype(), by);
                wrong(by) != len
            }),
            Mistake::LengthOfCopy(by) => self.copy.as_mut().is_some_and(|copy| {
                *copy = resized(copy.dtype(), by);
                wrong(by) != len
            }),
            Mistake::LengthOfSlot(at, by) => slot(&mut self.slots, at).is_some_and(|at| {
                let Some(held) = &mut self.slots[at] else { return false };
                held.to = resized(held.to.dtype(), by);
                wrong(by) != len
            }),
            Mistake::LengthOfOldSlot(at, by) => slot(&mut self.slots, at).is_some_and(|at| {
                let Some(held) = &mut self.slots[at] else { return false };
                held.from = Some(resized(held.to.dtype(), by));
                wrong(by) != len
            }),
            Mistake::OutDtype(kind) => self.out.as_mut().is_some_and(|out| {
                let (right, kind) = (out.dtype(), kind.into());
                *out = resized(kind, 0);
                kind != right
            }),
            Mistake::OutAndParams => {
                let wrong = self.out.is_none();
                self.out.get_or_insert_with(|| resized(DType::F32, 0));
                wrong
            }
            Mistake::CopyOfNothing => {
                let wrong = !matches!(self.params, HeldParams::Write(_));
                self.copy.get_or_insert_with(|| resized(DType::F32, 0));
                wrong
            }
            Mistake::Scalars(_) => false,
        }
    }
}

/// All NaN as one.
fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

fn assert_same_outcome(a: &Outcome, b: &Outcome) {
    assert_eq!(a.norms.len(), b.norms.len());
    for pair in a.norms.iter().zip(&b.norms) {
        match pair {
            (Some(a), Some(b)) => assert!(same(*a, *b), "norms {a:e} and {b:e}"),
            (None, None) => {}
            _ => panic!("a norm is missing"),
        }
    }
    assert_eq!(a.all_finite, b.all_finite);
    assert_eq!(a.nans, b.nans);
    assert_eq!(a.finite, b.finite);
}

/// Whether an array's elements are those of another one, which may lie elsewhere.
fn assert_same_elements(what: &str, leaf: usize, a: &Memory, b: &Memory) {
    let (a, b) = (a.elements(), b.elements());
    assert_eq!(a.len(), b.len());
    if let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) {
        panic!("{what} of leaf {leaf} differs at {at}: {:#x} and {:#x}", a[at], b[at]);
    }
}

/// Runs over `leaves`, and checks that nothing is written that must not be.
fn step(
    program: &Program,
    leaves: &mut [HeldLeaf],
    step: Step<'_>,
    config: &Config,
) -> Result<Outcome, Error> {
    let before = leaves.to_vec();
    let result = {
        let mut leaves: Vec<Leaf<'_>> = leaves.iter_mut().map(HeldLeaf::leaf).collect();
        run(program, &mut leaves, step, config)
    };
    for (leaf, (now, before)) in leaves.iter().zip(&before).enumerate() {
        let ((read, written), (read_before, written_before)) = (now.memories(), before.memories());
        for (now, before) in read.into_iter().zip(read_before) {
            assert!(now.is_untouched(before), "an input of leaf {leaf} was written");
        }
        for (now, before) in written.into_iter().zip(written_before) {
            assert!(now.is_untouched_around(before), "leaf {leaf}: written beside an array");
            assert!(result.is_ok() || now.is_untouched(before), "leaf {leaf}: written by an error");
        }
        if result.is_ok() {
            check_copy(leaf, now, before);
        }
    }
    result
}

/// A copy was NaN before the step: where the parameter became another number, it is one now.
fn check_copy(leaf: usize, now: &HeldLeaf, before: &HeldLeaf) {
    let (HeldParams::Write(now_params), HeldParams::Write(params)) = (&now.params, &before.params)
    else {
        return;
    };
    let Some(copy) = &now.copy else { return };
    if params.old().dtype() != params.to.dtype() {
        return;
    }
    let pairs = now_params.to.numbers().into_iter().zip(params.old().numbers());
    for (at, ((new, old), copy)) in pairs.zip(copy.numbers()).enumerate() {
        let changed = !new.is_nan() && !same(new, old);
        assert!(!(changed && copy.is_nan()), "leaf {leaf}: {at} of the copy was not written");
    }
}

fn assert_same_leaves(a: &[HeldLeaf], b: &[HeldLeaf]) {
    for (leaf, (a, b)) in a.iter().zip(b).enumerate() {
        if let (HeldParams::Write(a), HeldParams::Write(b)) = (&a.params, &b.params) {
            assert_same_elements("params", leaf, &a.to, &b.to);
        }
        if let (Some(a), Some(b)) = (&a.out, &b.out) {
            assert_same_elements("out", leaf, a, b);
        }
        if let (Some(a), Some(b)) = (&a.copy, &b.copy) {
            assert_same_elements("copy", leaf, a, b);
        }
        for (slot, pair) in a.slots.iter().zip(&b.slots).enumerate() {
            if let (Some(a), Some(b)) = pair {
                assert_same_elements(&format!("slot {slot}"), leaf, &a.to, &b.to);
            }
        }
    }
}

/// What the inputs were, where `GRADMILL_FUZZ_COUNT` is set: printed each time their number doubles.
fn count(facts: &[(&'static str, bool)]) {
    static COUNTS: Mutex<BTreeMap<&str, u64>> = Mutex::new(BTreeMap::new());
    static COUNTING: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| std::env::var_os("GRADMILL_FUZZ_COUNT").is_some());
    if !*COUNTING {
        return;
    }
    let Ok(mut counts) = COUNTS.lock() else { return };
    for &(fact, holds) in facts {
        *counts.entry(fact).or_default() += u64::from(holds);
    }
    let is_new = facts.first().is_some_and(|fact| fact.0 == "inputs");
    if is_new && counts["inputs"].is_power_of_two() {
        eprintln!("{counts:?}");
    }
}

fn check(input: &Input) {
    let config = (
        config(input.threads, input.tier, input.fuse),
        config(input.other_threads, input.other_tier, !input.fuse),
    );
    let long = input.long && input.ops.len() <= 4 && input.leaves.len() <= 2;
    let ops = &input.ops;
    let metas: Vec<_> = ops.iter().map(|op| &OPS[usize::from(op.index) % OPS.len()]).collect();
    let entries = ops.iter().zip(&metas).map(|(op, meta)| Entry {
        name: meta.name,
        governs: op.governs.into(),
        axes: op.axes.as_ref().map(|axes| axes.iter().map(|&axis| isize::from(axis) % 4).collect()),
    });
    let program = Program::new(entries).expect("these are ops");
    let mut scalars: Vec<f64> = Vec::new();
    for (op, meta) in ops.iter().zip(&metas) {
        scalars.extend(meta.scalars.iter().zip(&op.scalars).map(|(name, of)| of.value(name)));
    }
    let inputs = input.leaves.iter().enumerate();
    let mut leaves: Vec<HeldLeaf> =
        inputs.map(|(at, leaf)| HeldLeaf::new(&program, leaf, long && at == 0)).collect();
    let mut wrong = false;
    if let Some((leaf, mistake)) = input.mistake {
        if let Mistake::Scalars(by) = mistake {
            let expected = scalars.len();
            scalars.resize(expected.saturating_add_signed(by.into()), 1.0);
            wrong |= scalars.len() != expected;
        } else if !leaves.is_empty() {
            let leaf = usize::from(leaf) % leaves.len();
            wrong |= leaves[leaf].spoil(&program, mistake);
        }
    }
    let how = Step { scalars: &scalars, off: input.off, rounding: input.rounding, ..Step::default() };

    let mut first = leaves.clone();
    let result = step(&program, &mut first, how, &config.0);
    assert!(!wrong || result.is_err(), "{:?} is no error", input.mistake);
    let may_fail = input.mistake.is_some()
        || scalars.iter().any(|scalar| scalar.is_nan())
        || leaves.iter().any(|leaf| program.check_units(leaf.skip, &leaf.shape).is_err());
    assert!(may_fail || result.is_ok(), "{result:?}");
    let ok = result.is_ok();
    let runs = ok && leaves.iter().any(|leaf| leaf.updates.len() > 0);
    count(&[
        ("inputs", true),
        ("err", !ok),
        ("surely wrong", wrong),
        ("ok", ok),
        ("ok with elements and ops", runs && !ops.is_empty()),
        ("ok with passes", runs && program.passes().len() > 1),
        ("ok with carrying", runs && program.passes().iter().any(|pass| pass.carries)),
        ("ok with chunks", runs && long),
        ("ok with threads", runs && !input.threads.is_multiple_of(4)),
        ("ok with copy", runs && leaves.iter().any(|leaf| leaf.copy.is_some())),
        ("ok with strided", runs && leaves.iter().any(|leaf| !leaf.updates.is_dense())),
        ("ok with slots", runs && leaves.iter().any(|leaf| leaf.slots.iter().any(Option::is_some))),
        ("ok with rounding", runs && input.rounding.is_some()),
        ("ok with off", runs && input.off != 0),
    ]);
    if runs {
        let ops: Vec<_> = metas.iter().map(|meta| (meta.name, true)).collect();
        count(&ops);
    }
    for (config, dense, moved) in [
        (&config.1, false, false),
        (&config.1, true, false),
        (&config.0, false, true),
        (&config.0, true, true),
    ] {
        // Mistakes are in arrays that would move, and long leaves take their time.
        if (dense || moved) && result.is_err() || dense != moved && long {
            continue;
        }
        let rearrange = |leaf: HeldLeaf| leaf.rearranged(dense, moved);
        let mut again: Vec<HeldLeaf> = leaves.iter().cloned().map(rearrange).collect();
        match (&result, &step(&program, &mut again, how, config)) {
            (Ok(a), Ok(b)) => {
                assert_same_outcome(a, b);
                assert_same_leaves(&first, &again);
            }
            (Err(a), Err(b)) if a == b => {}
            (a, b) => panic!("{a:?} and {b:?}"),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    // Inputs say what is special about a case, from the front; what they do not say is random, so that short
    // ones have ops and leaves too.
    let seed = data.iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte));
    let mut random = Random(seed);
    let rest = (0..ENOUGH).map(|_| random.bits() as u8).skip(data.len());
    let data: Vec<u8> = data.iter().copied().chain(rest).collect();
    let Ok(input) = Unstructured::new(&data).arbitrary::<Input>() else { return };
    if std::env::var_os("GRADMILL_FUZZ_SHOW").is_some() {
        eprintln!("{input:#?}");
    }
    check(&input);
});
