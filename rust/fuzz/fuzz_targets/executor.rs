//! Any program over any leaves: an error leaves all memory as it was; else how the program runs changes no bit.
//!
//! With `GRADMILL_FUZZ_SHOW` set, each input is printed; with `GRADMILL_FUZZ_COUNT`, how many reach what.
#![no_main]

mod held;
mod input;
mod memory;

use std::collections::BTreeMap;
use std::sync::Mutex;

use arbitrary::Unstructured;
use gradmill_core::ops::OPS;
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, Entry, Error, Leaf, Outcome, Program, Step, run};
use held::{HeldLeaf, HeldParams};
use input::{Input, Mistake};
use libfuzzer_sys::fuzz_target;
use memory::{Memory, Random};

/// Bytes that few inputs need more of.
const ENOUGH: usize = 1 << 12;

fn config(threads: u8, tier: u8, fuse: bool) -> Config {
    let available: Vec<Tier> = Tier::ALL.into_iter().filter(|tier| tier.available()).collect();
    let tier = available[usize::from(tier) % available.len()];
    Config { threads: 1 + usize::from(threads % 4), tier, fuse }
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
        let units = a.unit_slots.iter().zip(&b.unit_slots);
        for (slot, pair) in a.slots.iter().zip(&b.slots).chain(units).enumerate() {
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
        otherwise: None,
    });
    let program = Program::new(entries).expect("these are ops");
    let mut scalars: Vec<f64> = Vec::new();
    for (op, meta) in ops.iter().zip(&metas) {
        let numbers = meta.scalars.iter().zip(op.scalars.iter().cycle());
        scalars.extend(numbers.map(|(scalar, of)| of.value(scalar.kind)));
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
    let how =
        Step { scalars: &scalars, off: input.off, rounding: input.rounding, ..Step::default() };

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
