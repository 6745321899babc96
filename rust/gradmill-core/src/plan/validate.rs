//! Checks everything about a leaf before the first write.

use super::program::Program;
use crate::data::{Leaf, Params, Slot, Source};
use crate::error::{Error, Role};

pub fn validate(program: &Program, index: usize, leaf: &Leaf<'_>) -> Result<(), Error> {
    let missing = |role, problem| Err(Error::Missing { leaf: index, role, problem });
    let expected = leaf.len();
    let same = |role, got| {
        if got == expected {
            Ok(())
        } else {
            Err(Error::Length { leaf: index, role, expected, got })
        }
    };
    if program.has_units() {
        let wrong = |problem| Error::Shape { leaf: index, problem };
        let elements = leaf.shape.iter().try_fold(1usize, |all, &length| all.checked_mul(length));
        if elements != Some(expected) {
            return Err(wrong(format!("shape {:?} has not {expected} elements", leaf.shape)));
        }
        program
            .check_units(leaf.skip, leaf.shape)
            .map_err(|(problem, op)| wrong(format!("{problem} ({op})")))?;
    }
    if let Some(got) = leaf.params.elements() {
        same(Role::Params, got)?;
    } else if program.reads_params_of(leaf.skip) {
        return missing(Role::Params, "missing");
    }
    if let Params::Write(Slot { from: Some(from), .. }) = &leaf.params {
        same(Role::Params, from.len())?;
    }
    match (&leaf.out, &leaf.params) {
        (None, Params::Write(_)) => {}
        (Some(out), Params::None | Params::Read(_)) => {
            same(Role::Out, out.len())?;
            let (expected, got) = (program.dtype(leaf), out.dtype());
            if got != expected {
                return Err(Error::OutDtype { leaf: index, expected, got });
            }
        }
        (None, _) => return missing(Role::Out, "missing"),
        (Some(_), Params::Write(_)) => return missing(Role::Out, "given, but params are written"),
    }
    match (&leaf.copy, &leaf.params) {
        (Some(copy), Params::Write(_)) => same(Role::Copy, copy.len())?,
        (Some(_), _) => return missing(Role::Copy, "given, but params are not written"),
        (None, _) => {}
    }
    let given = leaf.slots.iter().chain(&leaf.unit_slots);
    if leaf.slots.len() != program.slots() || leaf.unit_slots.len() != program.unit_slots() {
        let expected = program.slots() + program.unit_slots();
        return missing(Role::Slot(given.count().min(expected)), "missing or left over");
    }
    for (number, slot) in given.enumerate() {
        let role = Role::Slot(number);
        let skipped = program.skips_slot(leaf.skip, number);
        match slot {
            None if !skipped => return missing(role, "missing"),
            Some(_) if skipped => return missing(role, "given for an op that skips the leaf"),
            None => {}
            Some(slot) => {
                let expected = program.slot_len(number, expected, leaf.shape);
                let lengths = [Some(slot.to.len()), slot.from.as_ref().map(Source::len)];
                if let Some(got) = lengths.into_iter().flatten().find(|&got| got != expected) {
                    return Err(Error::Length { leaf: index, role, expected, got });
                }
            }
        }
    }
    Ok(())
}
