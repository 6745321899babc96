//! An op in its place in a chain.

use std::ops::Range;

use crate::error::Error;
use crate::ops::{Meta, OPS, Over};
use crate::sums::units::{UnitAxes, Units};

/// Most members of a program: a leaf's `skip` has a bit for each.
pub const MAX_OPS: usize = 64;

/// One op of a chain, as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'n> {
    /// The name of the op.
    pub name: &'n str,
    /// How many of the ops behind it run only where this one lets them.
    pub governs: usize,
    /// The axes of a unit, in place of those that the op names; of one with factors, how long the second longest axis of a leaf
    /// has to be.
    pub axes: Option<Vec<isize>>,
    /// The op that takes its place for leaves in which it finds no units.
    pub otherwise: Option<&'n str>,
}

impl<'n> From<&'n str> for Entry<'n> {
    fn from(name: &'n str) -> Self {
        Self { name, governs: 0, axes: None, otherwise: None }
    }
}

impl Entry<'_> {
    /// The same, with the op that its row names for leaves without units.
    #[must_use]
    pub fn or_otherwise(self) -> Self {
        let own = OPS.iter().find(|meta| meta.name == self.name);
        Self { otherwise: own.and_then(|meta| meta.otherwise), ..self }
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
    /// The members of a program of these ops, and which of them are of each op.
    ///
    /// # Errors
    /// [`Error::UnknownOp`], [`Error::TooManyOps`].
    pub fn in_a_row(entries: Vec<Entry<'_>>) -> Result<(Vec<Self>, Vec<Range<usize>>), Error> {
        let (mut slots, mut unit_slots, mut scalars, mut members) = (0, 0, 0, 0);
        let next = |end: &mut usize, count: usize| {
            *end += count;
            *end - count..*end
        };
        let count =
            |entry: &Entry<'_>| next(&mut members, 1 + usize::from(entry.otherwise.is_some()));
        let of_ops: Vec<Range<usize>> = entries.iter().map(count).collect();
        if members > MAX_OPS {
            return Err(Error::TooManyOps { max: MAX_OPS, got: members });
        }
        let mut row = Vec::with_capacity(members);
        for (index, Entry { name, governs, axes, otherwise }) in entries.into_iter().enumerate() {
            let behind = of_ops[index + 1..].iter().take(governs).cloned().flatten();
            let governs = behind.fold(0, |bits, member| bits | 1 << member);
            let mut own = 0..0;
            for name in [Some(name), otherwise].into_iter().flatten() {
                let op = OPS.iter().position(|meta| meta.name == name);
                let op = op.ok_or_else(|| Error::UnknownOp(name.to_owned()))?;
                if own.is_empty() {
                    own = next(&mut scalars, OPS[op].scalars.len());
                }
                row.push(Self {
                    op,
                    governs,
                    slots: next(&mut slots, OPS[op].slots.len()),
                    unit_slots: next(&mut unit_slots, OPS[op].unit_slots.len()),
                    scalars: own.clone(),
                    axes: axes.clone(),
                });
            }
        }
        Ok((row, of_ops))
    }

    /// What it needs.
    #[inline]
    pub fn meta(&self) -> &'static Meta {
        &OPS[self.op]
    }

    /// Whether a leaf is one unit to it, whatever its shape.
    pub fn has_whole_units(&self) -> bool {
        let over = self.meta().gather.map(|gather| gather.over);
        self.axes.is_none() && over == Some(Over::Units(UnitAxes::All))
    }

    /// The units that it makes of a leaf for one of its sums, or of its slots by units; none where it makes none of any.
    pub fn units(&self, shape: &[usize], sum: usize) -> Result<Option<Units>, String> {
        let axes = match self.meta().gather.map(|gather| gather.over) {
            Some(Over::Units(axes)) => axes,
            Some(Over::Factors) => [UnitAxes::Longest, UnitAxes::SecondLongest][sum],
            _ => return Ok(None),
        };
        Units::new(axes, self.axes.as_deref(), shape)
    }
}
