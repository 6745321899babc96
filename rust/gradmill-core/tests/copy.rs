//! The copy of a parameter is written wherever the parameter is.

mod common;

use common::{Data, Memory};
use gradmill_core::data::{Params, Slot, Slots};
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, DType, Leaf, Program, Step, run};

const CONFIG: Config = Config { threads: 1, tier: Tier::Scalar, fuse: true };
const LEN: usize = 5000;

/// Parameters of two, from which the chain takes one half, and their copy.
fn step(ops: &[&str], scalars: &[f64], params: DType, elsewhere: bool) -> [Data; 2] {
    let program = Program::new(ops.iter().copied()).unwrap();
    let updates = Data::filled(DType::F32, LEN, -0.5);
    let old = Data::filled(params, LEN, 2.0);
    let mut new = if elsewhere { Data::filled(params, LEN, 7.0) } else { old.clone() };
    let mut copy = Data::filled(DType::F32, LEN, 7.0);
    {
        let from = elsewhere.then(|| old.source());
        let params = Params::Write(Slot { from, to: new.sink() });
        let leaf = Leaf::new(updates.source(), params, None, Slots::new());
        let mut leaves = [Leaf { copy: Some(copy.sink()), ..leaf }];
        run(&program, &mut leaves, Step { scalars, ..Step::default() }, &CONFIG).unwrap();
    }
    [new, copy]
}

#[test]
fn of_any_parameter() {
    let chains: [(&[&str], &[f64]); 3] =
        [(&[], &[]), (&["scale"], &[1.0]), (&["add_decayed_weights"], &[0.0])];
    for (ops, scalars) in chains {
        for params in [DType::F32, DType::F64] {
            for elsewhere in [false, true] {
                for data in step(ops, scalars, params, elsewhere) {
                    let right = data.values().iter().all(|&value| value == 1.5);
                    assert!(right, "{ops:?} on {params}, elsewhere: {elsewhere}");
                }
            }
        }
    }
}
