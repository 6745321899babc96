//! What is gathered over the units of leaves, and what becomes of it.

use super::row::{Row, active};
use super::walk::{Pair, Summed};
use crate::data::{Leaf, Source};
use crate::kernels::settled::Settled;
use crate::number::dtype::DType;
use crate::number::rounding::Rounding;
use crate::ops::{Factors, Gather, Of, Over, Side, Unit};
use crate::plan::program::Program;
use crate::sums::measure::{Arrays, Sums};
use crate::sums::units::Units;
use crate::sys::config::Config;

/// One array of each leaf that takes part and has units.
struct OfRows<'m, R> {
    program: &'m Program,
    rows: &'m mut [R],
    /// Those of the leaves that take part.
    units: &'m [Option<Units>],
    which: Which,
}

/// Which array of a leaf.
#[derive(Clone, Copy)]
enum Which {
    /// The update: that which a pass left behind, or the incoming one.
    Update { carried: bool },
    /// The parameter.
    Params,
}

impl<R: Row> Arrays for OfRows<'_, R> {
    fn units(&self) -> impl Iterator<Item = &Units> {
        self.units.iter().flatten()
    }

    fn each(&mut self) -> impl Iterator<Item = (Source<'_>, &Units)> + Send {
        let Self { program, rows, units, which } = self;
        let rows = active(rows).zip(units.iter());
        rows.filter_map(|(row, units)| {
            let units = units.as_ref()?;
            Some((which.of(row.leaf(program)), units))
        })
    }
}

impl Which {
    fn of(self, leaf: Leaf<'_>) -> Source<'_> {
        match self {
            Self::Update { carried } => leaf.into_update(carried),
            Self::Params => match leaf.params.into_view() {
                Some(params) => params,
                None => unreachable!("ops that measure parameters read them"),
            },
        }
    }
}

/// Sums of what an op gathers, and what they are formed in.
#[derive(Debug, Default)]
pub struct Measures {
    /// For each sum the units of each leaf that takes part; those of the first are the second's, where an op has no factors.
    units: [Vec<Option<Units>>; 2],
    sums: [Sums; 2],
    /// State by units of one leaf: unit by unit, or slot by slot.
    state: Vec<f64>,
    of_slot: Vec<f64>,
}

/// What an op gathers in a step.
pub struct Gathering<'g> {
    pub program: &'g Program,
    pub config: &'g Config,
    pub op: usize,
    pub gather: Gather,
    /// Whether the update is found where a pass left it.
    pub carried: bool,
}

impl Gathering<'_> {
    /// What the walk that brings the update to the op sums leaf by leaf; nothing where that is not what is asked for.
    pub fn of_walk(&self) -> Summed {
        let takes = |array| self.gather.of.iter().any(|(of, _)| *of == array);
        let updates = self.gather.is_of_walk();
        Summed { updates, params: updates && takes(Of::Param) }
    }
}

impl Measures {
    /// Forms the sums of all units; `of_walk` has them leaf by leaf where a walk has formed them.
    pub fn form<R: Row>(
        &mut self,
        gathering: &Gathering<'_>,
        rows: &mut [R],
        of_walk: Option<&[Pair]>,
    ) {
        let Self { units, sums, .. } = self;
        let &Gathering { program, config, op, gather, carried } = gathering;
        let has_state = !program.unit_slots_of(op).is_empty();
        let kinds = if gather.over == Over::Factors { 2 } else { 1 };
        for (sum, units) in units.iter_mut().enumerate().take(kinds) {
            units.clear();
            units.extend(active(rows).map(|row| {
                let takes = row.skip() >> op & 1 == 0 && (has_state || !row.is_empty());
                let units = || program.units(op, row.leaf(program).shape, sum).ok().flatten();
                takes.then(units).flatten()
            }));
        }
        sums.iter_mut().for_each(Sums::clear);
        if let Some(own) = of_walk.filter(|_| gather.has_addends()) {
            for (at, sums) in sums.iter_mut().enumerate() {
                let own = units[0].iter().zip(own).filter(|(units, _)| units.is_some());
                sums.set(own.map(|(_, [sums, _])| sums.own()[at]));
            }
        }
        for (sum, (sums, &(of, addend))) in sums.iter_mut().zip(gather.of).enumerate() {
            let units = &units[sum.min(kinds - 1)];
            if let Some(squares) = of_walk {
                let own = units.iter().zip(squares).filter(|(units, _)| units.is_some());
                sums.set(own.map(|(_, pair)| pair[of as usize].norm()));
            } else {
                let which = match of {
                    Of::Update => Which::Update { carried },
                    Of::Param => Which::Params,
                };
                sums.measure(&mut OfRows { program, rows, units, which }, addend, config);
            }
        }
    }

    /// For each leaf that takes part, whether its sum is not zero.
    pub fn found(&self) -> impl Iterator<Item = bool> {
        self.units[0].iter().scan(0, |next, units| {
            let unit = *next;
            *next += usize::from(units.is_some());
            Some(units.is_some() && self.sums[0].of(unit) > 0.0)
        })
    }

    /// Brings the op's state by units up to date, and puts the numbers of all units into `settled`.
    pub fn settle<R: Row>(
        &mut self,
        gathering: &Gathering<'_>,
        scalars: &[f64],
        number: fn(&[f64], Unit<'_>) -> f64,
        rows: &mut [R],
        settled: &mut Settled,
    ) {
        let Self { units: [units, _], sums, state, of_slot } = self;
        let &Gathering { program, config, op, .. } = gathering;
        let slots = program.unit_slots_of(op);
        let width = slots.len();
        let mut numbers = settled.begin_numbers(op);
        let mut first = 0;
        for (row, units) in active(rows).zip(&*units) {
            let Some(units) = units else {
                numbers.add_none();
                continue;
            };
            let (count, elements, dtype) = (units.count(), units.size() as f64, row.dtype(program));
            let mut leaf = (width > 0).then(|| row.leaf(program));
            let own = leaf.as_mut().map_or(&mut [][..], |leaf| &mut leaf.unit_slots[slots.clone()]);
            state.clear();
            state.resize(width * count, 0.0);
            of_slot.resize(count, 0.0);
            for (at, slot) in own.iter().enumerate() {
                let Some(slot) = slot else { continue };
                slot.read(config.tier, of_slot);
                let places = state.iter_mut().skip(at).step_by(width);
                places.zip(&*of_slot).for_each(|(place, &value)| *place = value);
            }
            numbers.add(
                units.clone(),
                (0..count).map(|unit| {
                    let sums = [0, 1].map(|sum: usize| sums[sum].of(first + unit));
                    let state = &mut state[width * unit..][..width];
                    let made = number(scalars, Unit { sums, elements, state });
                    let is_finite = sums.iter().all(|sum| sum.is_finite());
                    if is_finite { within(dtype, made) } else { made }
                }),
            );
            for (at, slot) in own.iter_mut().enumerate() {
                let Some(slot) = slot else { continue };
                let values = state.iter().skip(at).step_by(width);
                of_slot.clear();
                of_slot.extend(values.map(|&value| flushed(slot.to.dtype(), value)));
                slot.to.write(config.tier, of_slot, Rounding::Nearest);
            }
            first += count;
        }
    }

    /// Brings the op's state by units up to date, and puts the numbers of all units into `settled`, where elements are of two
    /// units each.
    pub fn settle_factors<R: Row>(
        &mut self,
        gathering: &Gathering<'_>,
        scalars: &[f64],
        settle: fn(&[f64], Factors<'_>),
        rows: &mut [R],
        settled: &mut Settled,
    ) {
        let Self { units: [units, others], sums, state, .. } = self;
        let &Gathering { program, config, op, .. } = gathering;
        let slots = program.unit_slots_of(op);
        let mut numbers = settled.begin_numbers(op);
        let [mut of_units, mut of_others] = sums.each_ref().map(Sums::all);
        for (row, own) in active(rows).zip(units.iter().zip(&*others)) {
            let (Some(units), Some(others)) = own else {
                numbers.add_none();
                continue;
            };
            let counts = [units.count(), others.count()];
            let sums = [
                of_units.split_off(..counts[0]).unwrap_or_default(),
                of_others.split_off(..counts[1]).unwrap_or_default(),
            ];
            let is_empty = row.is_empty();
            let mut leaf = row.leaf(program);
            let own = &mut leaf.unit_slots[slots.clone()];
            state.clear();
            state.resize(counts[0] + counts[1], 0.0);
            let states: [&mut [f64]; 2] = state.split_at_mut(counts[0]).into();
            for (slot, state) in own.iter().zip(states) {
                if let Some(slot) = slot {
                    slot.read(config.tier, state);
                }
            }
            let [of_rows, of_columns] = numbers.add_pairs([units.clone(), others.clone()]);
            // The mean of no elements is none.
            if !is_empty {
                let (rows, columns) = state.split_at_mut(counts[0]);
                let side = |sums, units: &Units, state, numbers| {
                    let elements = units.size() as f64;
                    Side { sums, elements, state, numbers }
                };
                let sides = [
                    side(sums[0], units, rows, of_rows),
                    side(sums[1], others, columns, of_columns),
                ];
                settle(scalars, Factors { sides, along: units.along(others) });
            }
            let states: [&mut [f64]; 2] = state.split_at_mut(counts[0]).into();
            for (slot, state) in own.iter_mut().zip(states) {
                let Some(slot) = slot else { continue };
                let dtype = slot.to.dtype();
                for value in &mut *state {
                    *value = flushed(dtype, *value);
                }
                slot.to.write(config.tier, state, Rounding::Nearest);
            }
        }
    }
}

/// The nearest number to one that is made of finite sums: the ratio to an update that is next to nothing has no other end.
fn within(dtype: DType, number: f64) -> f64 {
    let most = if dtype == DType::F64 { f64::MAX } else { f32::MAX.into() };
    if number.abs() > most { most.copysign(number) } else { number }
}

/// Zero where an array of `dtype` has only a subnormal number for it.
fn flushed(dtype: DType, value: f64) -> f64 {
    let least = if dtype == DType::F64 { f64::MIN_POSITIVE } else { f32::MIN_POSITIVE.into() };
    if value.abs() < least { 0.0 } else { value }
}
