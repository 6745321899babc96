//! A tree that is walked over part by part has the bits of one that is walked over at once.

mod common;

use common::{Data, Memory};
use gradmill_core::data::{Params, Slot, Slots};
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, DType, Entry, Leaf, Outcome, Program, Squares, Step, gathered, run};
use proptest::prelude::*;

const CONFIG: Config = Config { threads: 2, tier: Tier::Scalar, fuse: true };

/// Ops, each with the number of those that it governs, and their scalars.
type Chain = (&'static [(&'static str, usize)], &'static [f64]);

/// Chains without state before what spans leaves.
const CHAINS: &[Chain] = &[
    (&[("clip_by_global_norm", 0), ("trace", 0)], &[1.0, 0.9]),
    (&[("scale", 0), ("normalize_by_update_norm", 0), ("clip", 0)], &[2.0, 3.0, 1e-6, 0.5]),
    (&[("centralize", 0), ("clip_by_global_norm", 0), ("ema", 0)], &[0.5, 0.9, 1.0, 3.0]),
    (&[("apply_if_finite", 1), ("trace", 0), ("scale", 0)], &[0.0, 0.9, -1.0]),
    (
        &[("add_noise", 0), ("clip_by_global_norm", 0), ("apply_if_finite", 1), ("trace", 0)],
        &[0.5, 3.0, 7.0, 1.0, 0.0, 0.9],
    ),
    (
        &[("clip_by_global_norm", 0), ("clip", 0), ("clip_by_global_norm", 0), ("zero_nans", 0)],
        &[2.0, 0.3, 0.1],
    ),
];

fn program(entries: &[(&'static str, usize)]) -> Program {
    let entry = |&(name, governs)| Entry { governs, ..Entry::from(name) };
    Program::new(entries.iter().map(entry)).unwrap()
}

/// One leaf: its update and the ops that pass it by.
#[derive(Clone, Debug)]
struct Given {
    update: Data,
    skip: u64,
}

/// Leaves with parameters of ones and slots of tens.
struct Tree<'g> {
    given: &'g [Given],
    params: Vec<Data>,
    slots: Vec<Vec<Option<Data>>>,
    shapes: Vec<[usize; 1]>,
}

impl<'g> Tree<'g> {
    fn new(program: &Program, given: &'g [Given]) -> Self {
        let filled =
            |leaf: &Given, value| Data::filled(leaf.update.dtype(), leaf.update.len(), value);
        let slots = |leaf: &Given| {
            let slot =
                |number| (!program.skips_slot(leaf.skip, number)).then(|| filled(leaf, 10.0));
            (0..program.slots()).map(slot).collect()
        };
        Self {
            given,
            params: given.iter().map(|leaf| filled(leaf, 1.0)).collect(),
            slots: given.iter().map(slots).collect(),
            shapes: given.iter().map(|leaf| [leaf.update.len()]).collect(),
        }
    }

    fn leaves(&mut self) -> Vec<Leaf<'_>> {
        let arrays = self.params.iter_mut().zip(&mut self.slots).zip(&self.shapes);
        let mut leaves = Vec::new();
        for (given, ((param, slots), shape)) in self.given.iter().zip(arrays) {
            let slots = slots
                .iter_mut()
                .map(|slot| slot.as_mut().map(|slot| Slot { from: None, to: slot.sink() }));
            let params = Params::Write(Slot { from: None, to: param.sink() });
            let leaf = Leaf::new(given.update.source(), params, None, slots.collect());
            leaves.push(Leaf { skip: given.skip, shape, ..leaf });
        }
        leaves
    }
}

/// What the ops that span leaves will find in the whole of `given`, asked for part by part.
fn known(
    entries: &[(&'static str, usize)],
    scalars: &[f64],
    given: &[Given],
    part: usize,
) -> Vec<Squares> {
    let whole = program(entries);
    let mut known = Vec::new();
    for op in (0..entries.len()).filter(|&op| whole.spans_leaves(op)) {
        let prefix = program(&entries[..=op]);
        let scalars = &scalars[..prefix.scalars()];
        let mut rows = Vec::new();
        for (at, given) in given.chunks(part).enumerate() {
            let shapes: Vec<[usize; 1]> = given.iter().map(|leaf| [leaf.update.len()]).collect();
            let mut leaves: Vec<Leaf<'_>> = given
                .iter()
                .zip(&shapes)
                .map(|(leaf, shape)| {
                    let own = Leaf::new(leaf.update.source(), Params::None, None, Slots::new());
                    Leaf { skip: leaf.skip, shape, ..own }
                })
                .collect();
            let noise_before = [(at * part) as u64];
            let step =
                Step { scalars, known: &known, noise_before: &noise_before, ..Step::default() };
            rows.extend(
                gathered(&prefix, &mut leaves, prefix.ops().len() - 1, step, &[], &CONFIG).unwrap(),
            );
        }
        known.push(Squares::of_tree(rows.iter().copied()));
    }
    known
}

fn check((entries, scalars): Chain, given: &[Given], part: usize) -> Result<(), TestCaseError> {
    let program = program(entries);
    let mut whole = Tree::new(&program, given);
    let step = Step { scalars, ..Step::default() };
    let expected = run(&program, &mut whole.leaves(), step, &CONFIG).unwrap();
    let known = known(entries, scalars, given, part);
    for (at, given) in given.chunks(part).enumerate() {
        let mut tree = Tree::new(&program, given);
        let noise_before = [(at * part) as u64];
        let step = Step { scalars, known: &known, noise_before: &noise_before, ..Step::default() };
        let Outcome { norms, all_finite, nans, .. } =
            run(&program, &mut tree.leaves(), step, &CONFIG).unwrap();
        prop_assert_eq!(format!("{norms:?}"), format!("{:?}", expected.norms));
        prop_assert_eq!(all_finite, expected.all_finite.clone());
        let own = at * part..at * part + given.len();
        for (nans, all) in nans.lists().zip(expected.nans.lists()) {
            prop_assert_eq!(nans, &all[own.clone()]);
        }
        let all = tree.params.iter().zip(&whole.params[own.clone()]);
        let slots = tree.slots.iter().flatten().zip(whole.slots[own].iter().flatten());
        let slots = slots.filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)));
        for (got, expected) in all.chain(slots) {
            prop_assert_eq!(expected.difference(got), None);
        }
    }
    Ok(())
}

/// Values of all sizes, some of them not finite.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => -3.0f64..3.0,
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NAN), Just(0.0)],
    ]
}

fn leaf(ops: usize) -> impl Strategy<Value = Given> {
    let dtype = prop_oneof![Just(DType::F32), Just(DType::F64)];
    let scale = prop_oneof![6 => Just(1.0), 1 => Just(1e200), 1 => Just(1e-200)];
    // The first op is left to all, so that leaves before others are those that it draws for.
    let skip = (0..1u64 << ops).prop_map(|skip| if skip % 3 == 0 { skip & !1 } else { 0 });
    (proptest::collection::vec(value(), 0..40), dtype, scale, skip).prop_map(
        |(values, dtype, scale, skip)| Given {
            update: Data::new(dtype, values.into_iter().map(|value| value * scale)),
            skip,
        },
    )
}

fn chain_and_leaves() -> impl Strategy<Value = (usize, Vec<Given>)> {
    (0..CHAINS.len()).prop_flat_map(|chain| {
        (Just(chain), proptest::collection::vec(leaf(CHAINS[chain].0.len()), 1..9))
    })
}

proptest! {
    #![proptest_config(common::config(300))]

    #[test]
    fn parts_have_the_bits_of_the_whole((chain, given) in chain_and_leaves(), part in 1usize..5) {
        check(CHAINS[chain], &given, part)?;
    }
}

#[test]
fn squares_leave_the_range_of_doubles_in_the_whole_alone() {
    let leaf = |value: f64| Given { update: Data::filled(DType::F64, 3, value), skip: 0 };
    for sizes in [[1e154, 1e154], [1e200, 1e-200], [1e-170, 1e-170], [0.0, 1e-160], [0.0, 0.0]] {
        let given: Vec<Given> = sizes.into_iter().map(leaf).collect();
        check(CHAINS[0], &given, 1).unwrap();
    }
}
