//! An op in its place in a chain.

use std::ops::Range;

use crate::error::Error;
use crate::ops::{Meta, OPS, Over};
use crate::sums::units::Units;

/// One op of a chain, as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'n> {
    /// The name of the op.
    pub name: &'n str,
    /// How many of the ops behind it run only where this one lets them.
    pub governs: usize,
    /// The axes of a unit, in place of those that the op names.
    pub axes: Option<Vec<isize>>,
}

impl<'n> From<&'n str> for Entry<'n> {
    fn from(name: &'n str) -> Self {
        Self { name, governs: 0, axes: None }
    }
}

/// An op in its place.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its index in [`OPS`].
    pub op: usize,
    /// The ops that it governs, as bits.
    pub governs: u64,
    /// Its state arrays among those of the program that have the leaf's elements.
    pub slots: Range<usize>,
    /// Those among the ones that have a number for each unit.
    pub unit_slots: Range<usize>,
    /// Its scalars among those of a step.
    pub scalars: Range<usize>,
    axes: Option<Vec<isize>>,
}

impl Member {
    /// The members of a program of these ops.
    pub fn in_a_row(entries: Vec<Entry<'_>>) -> Result<Vec<Self>, Error> {
        let count = entries.len();
        let (mut slots, mut unit_slots, mut scalars) = (0, 0, 0);
        let next = |end: &mut usize, count: usize| {
            *end += count;
            *end - count..*end
        };
        let member = |(index, entry): (usize, Entry<'_>)| {
            let op = OPS.iter().position(|meta| meta.name == entry.name);
            let op = op.ok_or_else(|| Error::UnknownOp(entry.name.to_owned()))?;
            let behind = (index + 1..count).take(entry.governs);
            Ok(Self {
                op,
                governs: behind.fold(0, |bits, op| bits | 1 << op),
                slots: next(&mut slots, OPS[op].slots.len()),
                unit_slots: next(&mut unit_slots, OPS[op].unit_slots.len()),
                scalars: next(&mut scalars, OPS[op].scalars.len()),
                axes: entry.axes,
            })
        };
        entries.into_iter().enumerate().map(member).collect()
    }

    /// What it needs.
    #[inline]
    pub fn meta(&self) -> &'static Meta {
        &OPS[self.op]
    }

    /// The units that it makes of a leaf; none where it makes none of any.
    pub fn units(&self, shape: &[usize]) -> Result<Option<Units>, String> {
        match self.meta().gather.map(|gather| gather.over) {
            Some(Over::Units(axes)) => Units::new(axes, self.axes.as_deref(), shape),
            _ => Ok(None),
        }
    }
}
