//! The memory of leaves, and what can be wrong with it.

use gradmill_core::data::{Params, Slot};
use gradmill_core::{DType, Leaf, Program};

use super::input::{LeafInput, Mistake, Parameters, Replaced};
use super::memory::{Kind, Lie, Memory, Recipe, Values, axes};

/// More than two chunks of a leaf, which takes its time.
const LONG: usize = (1 << 18) + 77;
const MAX_LEN: usize = 5000;

/// An array that is replaced.
#[derive(Clone, Debug)]
pub struct Held {
    pub from: Option<Memory>,
    pub to: Memory,
}

impl Held {
    pub fn new(replaced: &Replaced, dtype: DType, len: usize) -> Self {
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

    pub fn old(&self) -> &Memory {
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
pub enum HeldParams {
    None,
    Read(Memory),
    Write(Held),
}

/// All memory of a leaf.
#[derive(Clone, Debug)]
pub struct HeldLeaf {
    pub updates: Memory,
    pub params: HeldParams,
    pub out: Option<Memory>,
    pub copy: Option<Memory>,
    pub slots: Vec<Option<Held>>,
    /// Those by units.
    pub unit_slots: Vec<Option<Held>>,
    pub skip: u64,
    pub shape: Vec<usize>,
}

impl HeldLeaf {
    /// A leaf that is valid for `program`.
    pub fn new(program: &Program, input: &LeafInput, long: bool) -> Self {
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
        let shape = axes(len, input.cut);
        let slots = (0..program.slots() + program.unit_slots()).map(|slot| {
            let mut replaced = input.slots[slot % 3];
            replaced.old.seed ^= slot as u64;
            let kind = input.slot_kind.unwrap_or(kind_of(&replaced.old));
            let len = program.slot_len(slot, len, &shape);
            let held = || Held::new(&replaced, kind.into(), len);
            (!program.skips_slot(skip, slot)).then(held)
        });
        let mut slots: Vec<_> = slots.collect();
        let unit_slots = slots.split_off(program.slots());
        let mut leaf = Self {
            updates: memory(&input.updates),
            params,
            out: None,
            copy,
            slots,
            unit_slots,
            skip,
            shape,
        };
        if !matches!(leaf.params, HeldParams::Write(_)) {
            let recipe = Recipe { lie: input.out, values: Values::Raw, ..input.updates };
            let dtype = program.dtype(&leaf.leaf());
            leaf.out = Some(Memory::new(&recipe, dtype, len, true));
        }
        leaf
    }

    pub fn leaf(&mut self) -> Leaf<'_> {
        let Self { updates, params, out, copy, slots, unit_slots, skip, shape } = self;
        let params = match params {
            HeldParams::None => Params::None,
            HeldParams::Read(memory) => Params::Read(memory.source()),
            HeldParams::Write(held) => Params::Write(held.slot()),
        };
        let slots = slots.iter_mut().map(|slot| slot.as_mut().map(Held::slot)).collect();
        let out = out.as_mut().map(Memory::sink);
        let leaf = Leaf::new(updates.source(), params, out, slots);
        let unit_slots = unit_slots.iter_mut().map(|slot| slot.as_mut().map(Held::slot)).collect();
        Leaf { copy: copy.as_mut().map(Memory::sink), skip: *skip, shape, unit_slots, ..leaf }
    }

    /// Arrays to be read, and arrays to be written.
    pub fn memories(&self) -> (Vec<&Memory>, Vec<&Memory>) {
        let Self { updates, params, out, copy, slots, unit_slots, .. } = self;
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
        for held in slots.iter().chain(unit_slots).flatten().chain(params) {
            read.extend(&held.from);
            written.push(&held.to);
        }
        (read, written)
    }

    /// The same leaf in memory of other kinds: as slices, and with what was replaced in place elsewhere.
    pub fn rearranged(mut self, dense: bool, moved: bool) -> Self {
        let Self { updates, params, out, copy, slots, unit_slots, .. } = &mut self;
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
        let slots = slots.iter_mut().chain(unit_slots);
        for (number, held) in slots.flatten().chain(params).enumerate() {
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
    pub fn spoil(&mut self, program: &Program, mistake: Mistake) -> bool {
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
