//! Bad input: each mistake has its error, and nothing is written.

mod common;

use common::{Data, Memory};
use gradmill_core::data::{Params, Slot, Slots, Updates};
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, DType, Error, Leaf, Program, Role, Step, run};

const CONFIG: Config = Config { threads: 1, tier: Tier::Scalar, fuse: true };
const LEN: usize = 5;

/// A norm in the middle, so that a late check would come after a first pass that writes.
const OPS: [&str; 4] = ["add_decayed_weights", "scale_by_adam", "clip_by_global_norm", "trace"];
const DECAY: u64 = 1 << 0;
const TRACE: u64 = 1 << 3;

/// What a leaf borrows.
#[derive(Clone)]
struct Arrays {
    updates: Data,
    params: Data,
    out: Data,
    old: [Data; 3],
    new: [Data; 3],
}

impl Arrays {
    fn new() -> Self {
        let data = |value| Data::filled(DType::F32, LEN, value);
        let (old, new) = ([data(3.0), data(4.0), data(5.0)], [data(8.0), data(8.0), data(8.0)]);
        Self { updates: data(1.0), params: data(2.0), out: data(7.0), old, new }
    }

    fn all(&self) -> impl Iterator<Item = &Data> {
        let Self { updates, params, out, old, new } = self;
        [updates, params, out].into_iter().chain(old).chain(new)
    }

    /// A valid leaf. The update is stored; the first slot is replaced in place, the others elsewhere.
    fn leaf(&mut self) -> Leaf<'_> {
        let [mu, nu, trace] = &mut self.old;
        let [_, new_nu, new_trace] = &mut self.new;
        let mu = Slot { from: None, to: mu.sink() };
        let nu = Slot { from: Some(nu.source()), to: new_nu.sink() };
        let trace = Slot { from: Some(trace.source()), to: new_trace.sink() };
        let params = Params::Read(self.params.source());
        let slots = [mu, nu, trace].into_iter().map(Some).collect();
        Leaf::new(self.updates.source(), params, Some(self.out.sink()), slots)
    }
}

fn program() -> Program {
    Program::new(OPS).unwrap()
}

fn step_with(scalars: &[f64], leaves: &mut [Leaf<'_>]) -> Result<(), Error> {
    gradmill_core::run(&program(), leaves, Step { scalars, ..Step::default() }, &CONFIG).map(|_| ())
}

fn step(leaves: &mut [Leaf<'_>]) -> Result<(), Error> {
    step_with(&vec![0.5; program().scalars()], leaves)
}

/// What a step says to the second of three leaves after `spoil`, which may put `spare` in a place of
/// its. Panics where the step wrote to any array.
#[track_caller]
fn mistake(
    spare: &Data,
    spoil: for<'a> fn(&mut Leaf<'a>, spare: &'a mut Data),
) -> Result<(), Error> {
    let before = [Arrays::new(), Arrays::new(), Arrays::new()];
    let mut arrays = before.clone();
    let mut given = spare.clone();
    let result = {
        let mut leaves: Vec<Leaf<'_>> = arrays.iter_mut().map(Arrays::leaf).collect();
        spoil(&mut leaves[1], &mut given);
        step(&mut leaves)
    };
    if result.is_err() {
        let before = before.iter().flat_map(Arrays::all).chain([spare]);
        let after = arrays.iter().flat_map(Arrays::all).chain([&given]);
        for (before, after) in before.zip(after) {
            assert_eq!(before.difference(after), None, "written");
        }
    }
    result
}

fn missing(role: Role, problem: &'static str) -> Result<(), Error> {
    Err(Error::Missing { leaf: 1, role, problem })
}

fn nothing() -> Data {
    Data::F32(Vec::new())
}

#[test]
fn names_and_number_of_ops() {
    assert_eq!(Program::new(["scale", "skale"]).unwrap_err(), Error::UnknownOp("skale".to_owned()));
    assert!(Program::new(["scale"; Program::MAX_OPS]).is_ok());
    let many = Program::new(["scale"; Program::MAX_OPS + 1]).unwrap_err();
    assert_eq!(many, Error::TooManyOps { max: Program::MAX_OPS, got: Program::MAX_OPS + 1 });
}

#[test]
fn the_valid_step_is_valid() {
    assert_eq!(mistake(&nothing(), |_, _| {}), Ok(()));
    let before = Arrays::new();
    let mut arrays = before.clone();
    assert_eq!(step(&mut [arrays.leaf()]), Ok(()));
    let written: Vec<bool> = before
        .all()
        .zip(arrays.all())
        .map(|(before, after)| before.difference(after).is_some())
        .collect();
    // updates, params, out; mu, nu, trace; and the arrays that take the new nu and trace.
    assert_eq!(written, [false, false, true, true, false, false, false, true, true]);
}

#[test]
fn number_of_scalars() {
    let expected = program().scalars();
    for got in [0, expected - 1, expected + 1] {
        let before = Arrays::new();
        let mut arrays = before.clone();
        let result = step_with(&vec![0.5; got], &mut [arrays.leaf()]);
        assert_eq!(result, Err(Error::Scalars { expected, got }));
        assert!(before.all().zip(arrays.all()).all(|(a, b)| a.difference(b).is_none()));
    }
}

#[test]
fn params_are_needed_where_an_op_reads_them() {
    let none = mistake(&nothing(), |leaf, _| leaf.params = Params::None);
    assert_eq!(none, missing(Role::Params, "missing"));
    let skipped = mistake(&nothing(), |leaf, _| {
        leaf.params = Params::None;
        leaf.skip = DECAY;
    });
    assert_eq!(skipped, Ok(()));
}

#[test]
fn the_update_goes_to_one_place() {
    let nowhere = mistake(&nothing(), |leaf, _| leaf.out = None);
    assert_eq!(nowhere, missing(Role::Out, "missing"));
    let nowhere = mistake(&nothing(), |leaf, _| {
        (leaf.out, leaf.params, leaf.skip) = (None, Params::None, DECAY);
    });
    assert_eq!(nowhere, missing(Role::Out, "missing"));
    let params = Data::filled(DType::F32, LEN, 2.0);
    let both = mistake(&params, |leaf, spare| {
        leaf.params = Params::Write(Slot { from: None, to: spare.sink() });
    });
    assert_eq!(both, missing(Role::Out, "given, but params are written"));
    let added = mistake(&params, |leaf, spare| {
        leaf.params = Params::Write(Slot { from: None, to: spare.sink() });
        leaf.out = None;
    });
    assert_eq!(added, Ok(()));
}

#[test]
fn the_update_comes_in_the_dtype_of_the_chain() {
    let wide = Data::filled(DType::F64, LEN, 7.0);
    let error = |expected, got| Err(Error::OutDtype { leaf: 1, expected, got });
    let out = mistake(&wide, |leaf, spare| leaf.out = Some(spare.sink()));
    assert_eq!(out, error(DType::F32, DType::F64));
    // Any wide array that an op reads widens the chain.
    let updates = mistake(&wide, |leaf, spare| {
        leaf.updates = Updates::Kept(spare.source());
    });
    assert_eq!(updates, error(DType::F64, DType::F32));
    let params = mistake(&wide, |leaf, spare| leaf.params = Params::Read(spare.source()));
    assert_eq!(params, error(DType::F64, DType::F32));
    let slot = mistake(&wide, |leaf, spare| {
        leaf.slots[2] = Some(Slot { from: None, to: spare.sink() });
    });
    assert_eq!(slot, error(DType::F64, DType::F32));
    let unread = mistake(&wide, |leaf, spare| {
        leaf.params = Params::Read(spare.source());
        leaf.skip = DECAY;
    });
    assert_eq!(unread, Ok(()));
}

#[test]
fn slots_are_given_to_ops_that_run() {
    let slot = mistake(&nothing(), |leaf, _| leaf.slots[1] = None);
    assert_eq!(slot, missing(Role::Slot(1), "missing"));
    let skipped = mistake(&nothing(), |leaf, _| leaf.skip = TRACE);
    assert_eq!(skipped, missing(Role::Slot(2), "given for an op that skips the leaf"));
    let both = mistake(&nothing(), |leaf, _| {
        leaf.skip = TRACE;
        leaf.slots[2] = None;
    });
    assert_eq!(both, Ok(()));
}

#[test]
fn number_of_slots() {
    let few = mistake(&nothing(), |leaf, _| leaf.slots.truncate(2));
    assert_eq!(few, missing(Role::Slot(2), "missing or left over"));
    let none = mistake(&nothing(), |leaf, _| leaf.slots.clear());
    assert_eq!(none, missing(Role::Slot(0), "missing or left over"));
    let many = mistake(&nothing(), |leaf, _| leaf.slots.push(None));
    assert_eq!(many, missing(Role::Slot(3), "missing or left over"));
}

#[test]
fn each_array_has_the_length_of_the_updates() {
    for got in [0, LEN - 1, LEN + 1] {
        let spare = Data::filled(DType::F32, got, 7.0);
        let length = |role| Err(Error::Length { leaf: 1, role, expected: LEN, got });
        let params = mistake(&spare, |leaf, spare| leaf.params = Params::Read(spare.source()));
        assert_eq!(params, length(Role::Params));
        let written = mistake(&spare, |leaf, spare| {
            leaf.params = Params::Write(Slot { from: None, to: spare.sink() });
            leaf.out = None;
        });
        assert_eq!(written, length(Role::Params));
        let out = mistake(&spare, |leaf, spare| leaf.out = Some(spare.sink()));
        assert_eq!(out, length(Role::Out));
        let slot = mistake(&spare, |leaf, spare| {
            leaf.slots[0] = Some(Slot { from: None, to: spare.sink() });
        });
        assert_eq!(slot, length(Role::Slot(0)));
        let slot_to = mistake(&spare, |leaf, spare| {
            let Some(slot) = &mut leaf.slots[2] else { unreachable!("the valid leaf has it") };
            slot.to = spare.sink();
        });
        assert_eq!(slot_to, length(Role::Slot(2)));
        let slot_from = mistake(&spare, |leaf, spare| {
            let Some(slot) = &mut leaf.slots[2] else { unreachable!("the valid leaf has it") };
            slot.from = Some(spare.source());
        });
        assert_eq!(slot_from, length(Role::Slot(2)));
        let updates = mistake(&spare, |leaf, spare| {
            leaf.updates = Updates::Kept(spare.source());
        });
        let error = Error::Length { leaf: 1, role: Role::Params, expected: got, got: LEN };
        assert_eq!(updates, Err(error));
    }
}

/// Parameters written elsewhere have two arrays, and both are checked.
#[test]
fn old_params_have_the_length_of_the_updates() {
    for got in [0, LEN - 1, LEN + 1] {
        let old = Data::filled(DType::F32, got, 2.0);
        let before = Arrays::new();
        let mut arrays = before.clone();
        let mut new = Data::filled(DType::F32, LEN, 7.0);
        let result = {
            let mut leaf = arrays.leaf();
            leaf.params = Params::Write(Slot { from: Some(old.source()), to: new.sink() });
            leaf.out = None;
            step(&mut [leaf])
        };
        let error = Error::Length { leaf: 0, role: Role::Params, expected: LEN, got };
        assert_eq!(result, Err(error));
        assert!(before.all().zip(arrays.all()).all(|(a, b)| a.difference(b).is_none()));
        assert_eq!(new.difference(&Data::filled(DType::F32, LEN, 7.0)), None, "written");
    }
}

#[test]
fn errors_name_the_leaf_and_the_array() {
    let spare = Data::filled(DType::F32, 3, 7.0);
    let error = mistake(&spare, |leaf, spare| leaf.out = Some(spare.sink())).unwrap_err();
    assert_eq!(error.to_string(), "leaf 1: out has 3 elements, updates has 5");
    let error = mistake(&spare, |leaf, _| leaf.slots[1] = None).unwrap_err();
    assert_eq!(error.to_string(), "leaf 1: state slot 1 missing");
}

#[test]
fn a_shape_that_does_not_fit() {
    let program = Program::new(["clip_by_block_rms"]).unwrap();
    let (updates, params) =
        (Data::filled(DType::F32, LEN, 2.0), Data::filled(DType::F32, LEN, 1.0));
    let written = |shape: &[usize]| {
        let mut out = Data::filled(DType::F32, LEN, 7.0);
        let outcome = {
            let params = Params::Read(params.source());
            let leaf = Leaf::new(updates.source(), params, Some(out.sink()), Slots::new());
            let mut leaves = [Leaf { shape, ..leaf }];
            run(&program, &mut leaves, Step { scalars: &[1.0], ..Step::default() }, &CONFIG)
        };
        assert!(matches!(outcome, Ok(_) | Err(Error::Shape { leaf: 0, .. })));
        (outcome.is_ok(), out.values())
    };
    for shape in [&[LEN][..], &[1, LEN], &[LEN, 1]] {
        assert_eq!(written(shape), (true, vec![1.0; LEN]));
    }
    for shape in [&[6][..], &[0], &[], &[2], &[usize::MAX, usize::MAX]] {
        assert_eq!(written(shape), (false, vec![7.0; LEN]), "{shape:?}");
    }
    assert!(program.check_units(0, &[1 << 40, 1 << 40, 0]).is_ok());
}

#[test]
fn a_scalar_that_is_no_number() {
    let program = Program::new(["scale", "trace"]).unwrap();
    let updates = Data::filled(DType::F32, LEN, 2.0);
    let (mut out, mut trace) = (updates.clone(), updates.clone());
    let error = {
        let slots = [Some(Slot { from: None, to: trace.sink() })].into_iter().collect();
        let mut leaves = [Leaf::new(updates.source(), Params::None, Some(out.sink()), slots)];
        let step = Step { scalars: &[1.0, f64::NAN], ..Step::default() };
        run(&program, &mut leaves, step, &CONFIG).unwrap_err()
    };
    assert_eq!(error.to_string(), "trace: decay is nan");
    assert_eq!((out.values(), trace.values()), (vec![2.0; LEN], vec![2.0; LEN]));
}
