//! What a program makes of the shape of a leaf: its units, and which members take it.

use std::ops::Range;

use super::Program;
use crate::sums::units::Units;

impl Program {
    /// For each op that the caller named its members: one, or a second one for leaves without the units of the first.
    #[must_use]
    pub fn of_ops(&self) -> &[Range<usize>] {
        &self.of_ops
    }

    /// The members of the ops in `ops`, as bits.
    #[must_use]
    pub fn members_of(&self, ops: u64) -> u64 {
        if self.of_ops.len() == self.members.len() {
            return ops;
        }
        let taken = self.of_ops.iter().enumerate().filter(|(op, _)| ops >> op & 1 == 1);
        taken.flat_map(|(_, members)| members.clone()).fold(0, |bits, member| bits | 1 << member)
    }

    /// The members that pass by a leaf of this shape, as bits, where the ops in `skip` do.
    ///
    /// # Errors
    /// What is wrong with the shape, and the name of the op that can make no units of it.
    pub fn skip_of(&self, skip: u64, shape: &[usize]) -> Result<u64, (String, &'static str)> {
        let mut members = self.members_of(skip);
        for (op, own) in self.of_ops.iter().enumerate() {
            if own.len() == 2 && skip >> op & 1 == 0 {
                let has_units = matches!(self.units(own.start, shape, 0), Ok(Some(_)));
                members |= 1 << if has_units { own.start + 1 } else { own.start };
            }
        }
        self.check_units(members, shape)?;
        Ok(members)
    }

    /// Checks that each op which does not pass the leaf by can make units of this shape.
    ///
    /// # Errors
    /// What is wrong, and the name of the op.
    pub fn check_units(&self, skip: u64, shape: &[usize]) -> Result<(), (String, &'static str)> {
        for (index, member) in self.members.iter().enumerate() {
            if skip >> index & 1 == 0 {
                member.units(shape, 0).map_err(|problem| (problem, member.meta().name))?;
            }
        }
        Ok(())
    }

    /// The units that `op` makes of a leaf for one of its sums; none where it makes none of any.
    pub(crate) fn units(
        &self,
        op: usize,
        shape: &[usize],
        sum: usize,
    ) -> Result<Option<Units>, String> {
        self.members[op].units(shape, sum)
    }

    /// How many elements `slot` has of a leaf with so many of this shape; the ops make units of it.
    #[must_use]
    pub fn slot_len(&self, slot: usize, elements: usize, shape: &[usize]) -> usize {
        if slot < self.slots() {
            return elements;
        }
        let owner = self.owner(slot);
        let own = slot - self.slots() - self.members[owner].unit_slots.start;
        self.units(owner, shape, own).ok().flatten().map_or(0, |units| units.count())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Program;
    use crate::plan::member::Entry;

    #[test]
    fn leaves_without_factors_go_to_the_other_member() {
        let factored = Entry { axes: Some(vec![3]), ..Entry::from("scale_by_factored_rms") };
        let entries = ["trace".into(), factored.or_otherwise(), "scale".into()];
        let program = Program::new(entries).unwrap();
        assert_eq!(program.of_ops(), [0..1, 1..3, 3..4]);
        assert_eq!(program.scalars(), 4);
        assert_eq!([0b000, 0b010, 0b100].map(|ops| program.members_of(ops)), [0, 0b0110, 0b1000]);
        let [matrix, vector] = [[3, 4].as_slice(), &[12]];
        assert_eq!(program.skip_of(0, matrix), Ok(0b0100));
        assert_eq!(program.skip_of(0b001, vector), Ok(0b0011));
        assert_eq!(program.skip_of(0b010, matrix), Ok(0b0110));
        let lengths = (0..program.slots() + program.unit_slots())
            .map(|slot| (program.slot_name(slot).0, program.slot_len(slot, 12, matrix)));
        assert_eq!(
            lengths.collect::<Vec<_>>(),
            [("trace", 12), ("v", 12), ("v_row", 3), ("v_col", 4)]
        );
    }
}
