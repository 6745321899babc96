//! Programs of any names, numbers and axes: each public method answers, and none panics.
#![no_main]

use std::collections::HashSet;
use std::hint::black_box;

use arbitrary::Arbitrary;
use gradmill_core::ops::{OPS, Over};
use gradmill_core::{Entry, Error, Pass, PassInput, Program};
use libfuzzer_sys::fuzz_target;

/// An op's name, which may be none.
#[derive(Arbitrary, Debug)]
enum Name {
    Known(u8),
    Unknown(String),
}

impl Name {
    fn text(&self) -> &str {
        match self {
            Self::Known(index) => OPS[usize::from(*index) % OPS.len()].name,
            Self::Unknown(text) => text,
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Op {
    name: Name,
    governs: usize,
    axes: Option<Vec<isize>>,
}

#[derive(Arbitrary, Debug)]
struct Input {
    ops: Vec<Op>,
    skip: u64,
    slot: usize,
    shape: Vec<u16>,
}

/// What the passes of any program have in common.
fn check_passes(program: &Program, passes: &[Pass]) {
    let (last, head) = passes.split_last().expect("there is one at least");
    assert_eq!((last.ends_for, last.ops.end, last.carries), (None, program.ops().len(), false));
    let mut first = 0;
    let mut source = PassInput::Updates;
    for pass in passes {
        assert_eq!((pass.ops.start, pass.source), (first, source));
        assert!(pass.slots.start <= pass.slots.end && pass.slots.end <= program.slots());
        for in_codes in [false, true] {
            black_box(program.is_fused(pass, &vec![0.5; program.scalars()], in_codes));
        }
        if pass.carries {
            first = pass.ops.end;
            source = PassInput::Carried;
        }
    }
    let asking = program
        .ops()
        .enumerate()
        .filter(|(_, meta)| meta.gather.is_some_and(|gather| gather.needs_update()));
    assert!(head.iter().map(|pass| pass.ends_for).eq(asking.map(|(op, _)| Some(op))));
}

fn check(program: &Program, input: &Input) {
    let Input { skip, slot, .. } = *input;
    let count = |of: fn(&gradmill_core::ops::Meta) -> usize| program.ops().map(of).sum::<usize>();
    assert_eq!(program.slots(), count(|meta| meta.slots.len()));
    assert_eq!(program.scalars(), count(|meta| meta.scalars.len()));
    assert_eq!(program.reads_params(), program.first_reader().is_some());
    assert_eq!(program.reads_params(), program.reads_params_of(0));
    assert!(program.reads_params() || !program.reads_params_of(skip));
    let has_units =
        program.ops().any(|meta| meta.gather.is_some_and(|gather| gather.over != Over::Tree));
    assert_eq!(program.has_units(), has_units);
    black_box(program.has_order());
    check_passes(program, program.passes());
    let slots: HashSet<usize> = program.slots_of(skip).collect();
    let all = program.slots() + program.unit_slots();
    for slot in 0..all {
        assert_eq!(slots.contains(&slot), !program.skips_slot(skip, slot));
        let (name, op) = program.slot_name(slot);
        assert!(
            program
                .ops()
                .any(|meta| meta.name == op
                    && [meta.slots, meta.unit_slots].concat().contains(&name))
        );
    }
    if slot < all {
        black_box(program.slot_name(slot));
    }
    // The lengths of an array that exists: their product is small, as memory is.
    let mut elements = 1usize;
    let short = |&length: &u16| {
        elements = elements.saturating_mul(usize::from(length).max(1));
        elements <= isize::MAX.unsigned_abs()
    };
    let lengths = input.shape.iter().copied().take_while(short).map(usize::from);
    let shape: Vec<usize> = lengths.collect();
    let units = program.check_units(skip, &shape);
    assert!(program.has_units() || units.is_ok());
    assert_eq!(program.check_units(u64::MAX, &shape), Ok(()));
}

fuzz_target!(|input: Input| {
    let entries = input.ops.iter().map(|op| Entry {
        name: op.name.text(),
        governs: op.governs,
        axes: op.axes.clone(),
        otherwise: None,
    });
    match Program::new(entries) {
        Ok(program) => {
            assert!(
                program.ops().map(|meta| meta.name).eq(input.ops.iter().map(|op| op.name.text()))
            );
            check(&program, &input);
        }
        Err(Error::UnknownOp(name)) => assert!(OPS.iter().all(|meta| meta.name != name)),
        Err(Error::TooManyOps { max, got }) => {
            assert_eq!((max, got), (Program::MAX_OPS, input.ops.len()));
            assert!(got > max);
        }
        Err(error) => panic!("{error}"),
    }
});
