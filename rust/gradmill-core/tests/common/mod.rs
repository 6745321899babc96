//! Chains, trees and runs that the integration tests share.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test file is a crate of its own and uses a part of this"
)]

mod chains;
mod data;
mod runs;

use gradmill_core::{DType, Program};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

pub use self::chains::{Link, carrying_chains, chains, link, op, program};
use self::data::Random;
pub use self::data::{Data, Memory, Values};
pub use self::runs::{How, Made, hows, plain, run};

/// A failing case is printed whole and is small, so none is kept in a file.
pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A leaf in few words.
#[derive(Clone, Debug)]
pub struct Shape {
    pub len: usize,
    /// Those of the updates, the parameters and the slots.
    pub dtypes: [DType; 3],
    pub skip: u64,
    pub values: Values,
    pub seed: u64,
}

/// The lengths of the axes of a leaf with so many elements.
pub fn shape_of(len: usize) -> Vec<usize> {
    let rows = [4, 2].into_iter().find(|rows| len.is_multiple_of(*rows));
    rows.map_or_else(|| vec![len], |rows| vec![rows, len / rows])
}

/// A leaf's arrays before a step; slots of skipped ops are `None`, and those by units come last.
#[derive(Clone, Debug)]
pub struct Arrays {
    pub updates: Data,
    pub params: Data,
    pub slots: Vec<Option<Data>>,
    pub skip: u64,
}

impl Shape {
    pub fn arrays(&self, program: &Program) -> Arrays {
        let Self { len, dtypes, skip, values, seed } = *self;
        let mut random = Random(seed);
        let updates = random.data(dtypes[0], len, values);
        let params = random.data(dtypes[1], len, values);
        let shape = shape_of(len);
        let slot = |slot| {
            let len = program.slot_len(slot, len, &shape);
            let data = random.data(dtypes[2], len, values);
            let positive = || Data::new(dtypes[2], data.values().into_iter().map(f64::abs));
            let data = if program.slot_name(slot).0 == "nu" { positive() } else { data };
            (!program.skips_slot(skip, slot)).then_some(data)
        };
        let slots = (0..program.slots() + program.unit_slots()).map(slot).collect();
        Arrays { updates, params, slots, skip }
    }
}

/// A chain and the leaves that it runs over.
#[derive(Clone, Debug)]
pub struct Case {
    pub chain: Vec<Link>,
    pub shapes: Vec<Shape>,
}

impl Case {
    pub fn arrays(&self) -> Vec<Arrays> {
        let program = program(&self.chain).0;
        self.shapes.iter().map(|shape| shape.arrays(&program)).collect()
    }
}

pub fn dtypes() -> impl Strategy<Value = DType> {
    select(vec![DType::F32, DType::F64])
}

/// Lengths around the edges of what kernels, blocks and chunks take at once.
pub fn lengths() -> impl Strategy<Value = usize> {
    let common = select(vec![0, 1, 2, 63, 64, 65, 200, 1023, 1024, 1025]);
    prop_oneof![60 => common, 1 => select(vec![40_000, 140_000])]
}

pub fn shapes(
    lengths: impl Strategy<Value = usize>,
    values: impl Strategy<Value = Values>,
) -> impl Strategy<Value = Shape> {
    let dtypes = prop_oneof![
        3 => Just([DType::F32; 3]),
        1 => Just([DType::F64; 3]),
        2 => [dtypes(), dtypes(), dtypes()],
    ];
    let skip = prop_oneof![2 => Just(0), 1 => any::<u64>()];
    (lengths, dtypes, skip, values, any::<u64>())
        .prop_map(|(len, dtypes, skip, values, seed)| Shape { len, dtypes, skip, values, seed })
}

/// Mostly finite values: one NaN before a global norm is a NaN everywhere behind it.
pub fn values() -> impl Strategy<Value = Values> {
    prop_oneof![2 => Just(Values::Moderate), 2 => Just(Values::Finite), 1 => Just(Values::Any)]
}

/// `chain` over up to four leaves of all kinds.
pub fn cases(chain: impl Strategy<Value = Vec<Link>>) -> impl Strategy<Value = Case> {
    (chain, vec(shapes(lengths(), values()), 0..5))
        .prop_map(|(chain, shapes)| Case { chain, shapes })
}
