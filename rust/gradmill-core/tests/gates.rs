//! Ops that decide on others, ops that are off in a step, and what is found on the way.

mod common;

use common::{Data, Memory};
use gradmill_core::data::{Params, Slot};
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, DType, Entry, Leaf, Outcome, Program, Step, run};

const CONFIG: Config = Config { threads: 1, tier: Tier::Scalar, fuse: true };

/// A program of entries of which each may govern some behind it.
fn program(entries: &[(&'static str, usize)]) -> Program {
    let entry = |&(name, governs)| Entry { governs, ..Entry::from(name) };
    Program::new(entries.iter().map(entry)).unwrap()
}

/// One step over leaves of these updates, with parameters of ones and slots of tens.
fn step(
    program: &Program,
    updates: &[&[f64]],
    scalars: &[f64],
    off: u64,
) -> (Vec<Vec<f64>>, Vec<Vec<f64>>, Outcome) {
    let arrays = |value: f64| -> Vec<Data> {
        updates.iter().map(|row| Data::filled(DType::F64, row.len(), value)).collect()
    };
    let updates: Vec<Data> =
        updates.iter().map(|row| Data::new(DType::F64, row.iter().copied())).collect();
    let (params, mut out) = (arrays(1.0), arrays(7.0));
    let mut slots: Vec<Vec<Data>> = updates
        .iter()
        .map(|row| vec![Data::filled(DType::F64, row.len(), 10.0); program.slots()])
        .collect();
    let lengths: Vec<[usize; 1]> = updates.iter().map(|row| [row.len()]).collect();
    let leaves = updates.iter().zip(&lengths).zip(&params).zip(out.iter_mut().zip(&mut slots));
    let mut leaves: Vec<Leaf<'_>> = leaves
        .map(|(((update, shape), param), (out, slots))| {
            let slots = slots.iter_mut().map(|slot| Some(Slot { from: None, to: slot.sink() }));
            let params = Params::Read(param.source());
            let leaf = Leaf::new(update.source(), params, Some(out.sink()), slots.collect());
            Leaf { shape, ..leaf }
        })
        .collect();
    let outcome =
        run(program, &mut leaves, Step { scalars, off, ..Step::default() }, &CONFIG).unwrap();
    drop(leaves);
    let values = |rows: &[Data]| rows.iter().map(Data::values).collect();
    let slots: Vec<Vec<f64>> = slots.iter().flatten().map(Data::values).collect();
    (values(&out), slots, outcome)
}

const BAD: f64 = f64::NAN;

#[test]
fn an_open_gate_changes_nothing() {
    let gated = program(&[("apply_if_finite", 2), ("trace", 0), ("scale", 0)]);
    let (out, slots, outcome) = step(&gated, &[&[1.0], &[2.0]], &[0.0, 0.5, 3.0], 0);
    assert_eq!((out, slots), (vec![vec![18.0], vec![21.0]], vec![vec![6.0], vec![7.0]]));
    assert_eq!((outcome.all_finite.to_vec(), outcome.finite), (vec![true], true));
}

#[test]
fn a_closed_gate_gives_zeros_and_leaves_slots_alone() {
    let gated = program(&[("scale", 0), ("apply_if_finite", 1), ("trace", 0), ("ema", 0)]);
    let scalars = [2.0, 0.0, 0.5, 0.5, 0.0, 0.0];
    let (out, slots, outcome) = step(&gated, &[&[1.0], &[BAD]], &scalars, 0);
    // The op behind the two that are governed still runs, over zeros.
    assert_eq!(out, [[5.0], [5.0]]);
    assert_eq!(slots, [[10.0], [5.0], [10.0], [5.0]]);
    assert_eq!((outcome.all_finite.to_vec(), outcome.finite), (vec![false], false));
    let (out, ..) = step(&gated, &[&[1.0], &[BAD]], &[2.0, 1.0, 0.5, 0.5, 0.0, 0.0], 0);
    assert!(out[1][0].is_nan(), "accepted all the same");
}

#[test]
fn gates_within_a_closed_gate_do_not_open() {
    let gated =
        program(&[("apply_if_finite", 3), ("zero_nans", 0), ("apply_if_finite", 1), ("trace", 0)]);
    let (out, slots, outcome) = step(&gated, &[&[BAD, 1.0]], &[0.0, 0.0, 0.5], 0);
    assert_eq!((out, slots), (vec![vec![0.0, 0.0]], vec![vec![10.0, 10.0]]));
    assert_eq!(outcome.all_finite.to_vec(), [false, true]);
    assert_eq!(outcome.nans.lists().collect::<Vec<_>>(), [[]], "it did not look");
}

#[test]
fn ops_that_are_off_are_passed_by() {
    let chain =
        program(&[("clip_by_global_norm", 0), ("trace", 0), ("centralize", 0), ("scale", 0)]);
    let (out, slots, outcome) = step(&chain, &[&[3.0, 4.0]], &[1.0, 0.5, 2.0], 0b0011);
    assert_eq!((out, slots), (vec![vec![6.0, 8.0]], vec![vec![10.0, 10.0]]));
    assert_eq!(outcome.norms.to_vec(), [None]);
    let (_, _, outcome) = step(&chain, &[&[3.0, 4.0]], &[1.0, 0.5, 2.0], 0b1000);
    assert_eq!(outcome.norms.to_vec(), [Some(5.0)]);
}

#[test]
fn each_leaf_tells_of_its_nans() {
    let chain = program(&[("scale", 0), ("zero_nans", 0)]);
    let (out, _, outcome) = step(&chain, &[&[1.0, BAD], &[f64::INFINITY], &[]], &[2.0], 0);
    assert_eq!(out, [vec![2.0, 0.0], vec![f64::INFINITY], vec![]]);
    assert_eq!(outcome.nans.lists().collect::<Vec<_>>(), [[true, false, false]]);
}

#[test]
fn estimates_are_of_all_leaves_and_of_the_state_before() {
    let chain = program(&[("scale", 0), ("prodigy", 0)]);
    let (b1, b2, b3, eps) = (0.0, 0.0, 0.5, 0.0);
    let (safeguard, rate, d, weighted) = (1.0, 1.0, 1.0, 2.0);
    let own = [b1, b2, b3, eps, 1.0, 1.0, 0.0, safeguard, rate, d, weighted, 0.0];
    let scalars = [&[0.5][..], &own].concat();
    let (out, slots, outcome) = step(&chain, &[&[2.0, 4.0], &[], &[6.0]], &scalars, 0);
    assert_eq!(out, [vec![-1.0, -1.0], vec![], vec![-1.0]]);
    assert_eq!(slots[2], [6.0, 7.0], "the sums of the first leaf");
    // Parameters are 9 from the first ones; sizes are 6, 7 and 8.
    let weighted = 0.5 * 2.0 + 9.0 * (1.0 + 2.0 + 3.0);
    assert_eq!(outcome.estimates.to_vec(), [Some([weighted / 21.0, weighted])]);
    let (out, _, outcome) = step(&chain, &[&[2.0]], &scalars, 0b10);
    assert_eq!((out, outcome.estimates.to_vec()), (vec![vec![1.0]], vec![None]));
    let (_, _, outcome) = step(&chain, &[&[]], &scalars, 0);
    assert_eq!(outcome.estimates.to_vec(), [Some([1.0, 1.0])], "of no elements");
    let (_, _, outcome) = step(&chain, &[&[2.0, BAD]], &scalars, 0);
    assert!(outcome.estimates[0].is_some_and(|made| made.iter().all(|number| number.is_nan())));
}
