//! Chains, trees and runs that the integration tests share.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use gradmill_core::data::{Params, Sink, Slot, Source, View, ViewMut};
use gradmill_core::number::scalars::bias_correction;
use gradmill_core::ops::{Meta, OPS};
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, DType, Leaf, Program, Step};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A failing case is printed whole and is small, so none is kept in a file.
pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// An array that owns its elements.
#[derive(Clone, Debug)]
pub enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Data {
    /// Rounds to `dtype`, finite values to finite ones.
    pub fn new(dtype: DType, values: impl IntoIterator<Item = f64>) -> Self {
        let round = |value: f64| {
            let max = f64::from(f32::MAX);
            if value.is_finite() { value.clamp(-max, max) as f32 } else { value as f32 }
        };
        match dtype {
            DType::F32 => Self::F32(values.into_iter().map(round).collect()),
            DType::F64 => Self::F64(values.into_iter().collect()),
            DType::F16 | DType::BF16 => unreachable!("half precision has suites of its own"),
        }
    }

    pub fn filled(dtype: DType, len: usize, value: f64) -> Self {
        Self::new(dtype, std::iter::repeat_n(value, len))
    }

    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F64(data) => data.len(),
        }
    }

    /// All elements, converted, which is exact.
    pub fn values(&self) -> Vec<f64> {
        match self {
            Self::F32(data) => data.iter().map(|&value| f64::from(value)).collect(),
            Self::F64(data) => data.clone(),
        }
    }

    /// Overwrites one element, rounded.
    pub fn set(&mut self, at: usize, value: f64) {
        match self {
            Self::F32(data) => data[at] = value as f32,
            Self::F64(data) => data[at] = value,
        }
    }

    /// The first element whose bits differ from `other`'s.
    ///
    /// All NaN count as one: Rust leaves their sign and payload open, and compilers use the freedom.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if (self.dtype(), self.len()) != (other.dtype(), other.len()) {
            return Some(format!("{} of {}", self.dtype(), self.len()));
        }
        // Widening keeps each value but NaN apart, signed zeros included.
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        let (ours, theirs) = (self.values(), other.values());
        let at = ours.iter().zip(&theirs).position(|(&a, &b)| !same(a, b))?;
        Some(format!("[{at}] is {:e}, not {:e}", theirs[at], ours[at]))
    }
}

/// Memory that holds an array in some layout.
pub trait Memory {
    /// A copy of `data`; `salt` chooses among layouts.
    fn of(data: &Data, salt: usize) -> Self;
    /// The elements in order. Panics where anything beside them was written.
    fn data(&self) -> Data;
    fn source(&self) -> Source<'_>;
    fn sink(&mut self) -> Sink<'_>;
}

impl Memory for Data {
    fn of(data: &Data, _: usize) -> Self {
        data.clone()
    }

    fn data(&self) -> Data {
        self.clone()
    }

    fn source(&self) -> Source<'_> {
        match self {
            Self::F32(data) => Source::F32(View::Dense(data)),
            Self::F64(data) => Source::F64(View::Dense(data)),
        }
    }

    fn sink(&mut self) -> Sink<'_> {
        match self {
            Self::F32(data) => Sink::F32(ViewMut::Dense(data)),
            Self::F64(data) => Sink::F64(ViewMut::Dense(data)),
        }
    }
}

/// An op and its scalars.
#[derive(Clone, Debug)]
pub struct Link {
    pub name: &'static str,
    pub scalars: Vec<f64>,
}

/// The program of a chain and its scalars.
pub fn program(chain: &[Link]) -> (Program, Vec<f64>) {
    let program = Program::new(chain.iter().map(|link| link.name)).unwrap();
    (program, chain.iter().flat_map(|link| link.scalars.clone()).collect())
}

impl Link {
    pub fn meta(&self) -> &'static Meta {
        OPS.iter().find(|meta| meta.name == self.name).unwrap()
    }

    /// The scalar of this name.
    pub fn scalar(&self, name: &str) -> f64 {
        let at = self.meta().scalars.iter().position(|&known| known == name);
        self.scalars[at.unwrap_or_else(|| panic!("{} takes no {name}", self.name))]
    }
}

/// A number for each scalar that an op may ask for.
#[derive(Clone, Debug)]
struct Numbers {
    b1: f64,
    b2: f64,
    count: u64,
    eps: f64,
    eps_root: f64,
    step_size: f64,
    bound: f64,
    small: f64,
}

impl Numbers {
    fn scalar(&self, name: &str) -> f64 {
        match name {
            "b1" | "decay" => self.b1,
            "b2" => self.b2,
            "eps" => self.eps,
            "eps_root" => self.eps_root,
            "correction1" => bias_correction(self.b1, self.count),
            "correction1_next" => bias_correction(self.b1, self.count + 1),
            "correction2" => bias_correction(self.b2, self.count),
            "step_size" => self.step_size,
            "max_delta" | "max_norm" => self.bound,
            _ => self.small,
        }
    }
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let decay = || prop_oneof![Just(0.9), Just(0.0), Just(0.999), 0.0..1.0];
    let eps = prop_oneof![Just(1e-8), Just(1e-3), Just(0.0), 0.0..1.0];
    let eps_root = prop_oneof![Just(0.0), Just(1e-8)];
    let step_size = prop_oneof![Just(1.0), Just(-1e-3), -2.0..2.0];
    let bound = prop_oneof![6 => 1e-2..1e2, 1 => Just(1e-42), 1 => Just(1e10), 1 => Just(0.0)];
    (decay(), decay(), 1u64..2000, eps, eps_root, step_size, bound, 0.0..0.1).prop_map(
        |(b1, b2, count, eps, eps_root, step_size, bound, small)| Numbers {
            b1,
            b2,
            count,
            eps,
            eps_root,
            step_size,
            bound,
            small,
        },
    )
}

/// The op at `index` in [`OPS`] with random scalars.
pub fn link(index: usize) -> impl Strategy<Value = Link> {
    let meta = &OPS[index];
    let scalars = |numbers: Numbers| meta.scalars.iter().map(|name| numbers.scalar(name)).collect();
    numbers().prop_map(move |numbers| Link { name: meta.name, scalars: scalars(numbers) })
}

/// Chains of up to six ops.
pub fn chains() -> impl Strategy<Value = Vec<Link>> {
    vec((0..OPS.len()).prop_flat_map(link), 0..7)
}

/// The op of this name with random scalars.
pub fn op(name: &str) -> impl Strategy<Value = Link> + use<> {
    link(OPS.iter().position(|meta| meta.name == name).unwrap())
}

/// Chains that must keep the update between passes, since state was replaced before a norm.
pub fn carrying_chains() -> impl Strategy<Value = Vec<Link>> {
    let moment = prop_oneof![op("trace"), op("scale_by_adam"), op("trace_nesterov")];
    let parts = (chains(), moment, chains(), op("clip_by_global_norm"), chains());
    parts.prop_map(|(head, moment, middle, clip, tail)| {
        [head, vec![moment], middle, vec![clip], tail].concat()
    })
}

/// Which values an array holds.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// Magnitudes between 2^-8 and 2^8.
    Moderate,
    /// One in eight is a zero, subnormal, tiny or huge.
    Finite,
    /// And one in 128 is infinite or NaN.
    Any,
}

const EXTREMES: [f64; 14] = [
    0.0, -0.0, 1e-40, -3e-45, 5e-324, -1e-310, 1.2e-38, 1e-23, -1e-16, 1e16, -3e38, 1e38, 1e150,
    -1e306,
];
const NOT_FINITE: [f64; 3] = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN];

/// Splitmix64, so that an array of any length is one number in a failing case.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn pick(&mut self, values: &[f64]) -> f64 {
        values[self.bits() as usize % values.len()]
    }

    fn value(&mut self, values: Values) -> f64 {
        let (chance, bits) = (self.bits() % 128, self.bits());
        match (values, chance) {
            (Values::Any, 0) => self.pick(&NOT_FINITE),
            (Values::Any | Values::Finite, 0..16) => self.pick(&EXTREMES),
            _ => {
                let (sign, exponent, mantissa) = (bits >> 63, bits >> 52 & 15, bits & (!0 >> 12));
                f64::from_bits(sign << 63 | (1015 + exponent) << 52 | mantissa)
            }
        }
    }

    fn data(&mut self, dtype: DType, len: usize, values: Values) -> Data {
        Data::new(dtype, (0..len).map(|_| self.value(values)))
    }
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

/// A leaf's arrays before a step; slots of skipped ops are `None`.
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
        let slot = |slot| {
            let data = random.data(dtypes[2], len, values);
            let positive = || Data::new(dtypes[2], data.values().into_iter().map(f64::abs));
            let data = if program.slot_name(slot).0 == "nu" { positive() } else { data };
            (!program.skips_slot(skip, slot)).then_some(data)
        };
        let slots = (0..program.slots()).map(slot).collect();
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

/// How to run, none of which may change a bit.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub config: Config,
    /// Whether the update is added to the parameters rather than stored.
    pub adds: bool,
    /// Whether what is replaced is written to another array.
    pub copies: bool,
}

/// The update is stored and state is replaced in place, in one loop on one thread.
pub fn plain() -> How {
    let config = Config { threads: 1, tier: Tier::best(), fuse: true };
    How { config, adds: false, copies: false }
}

/// Where results and state go, on one thread.
pub fn hows() -> impl Strategy<Value = How> {
    any::<(bool, bool)>().prop_map(|(adds, copies)| How { adds, copies, ..plain() })
}

/// What a step made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Of each leaf the update, or the new parameter where the update was added to it.
    pub results: Vec<Data>,
    /// The slots of each leaf.
    pub slots: Vec<Vec<Option<Data>>>,
    pub norms: Vec<f64>,
    pub finite: bool,
}

impl Made {
    /// Fails where `other` has a different bit anywhere.
    pub fn same_as(&self, other: &Self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.results.len(), other.results.len());
        let leaves = self.results.iter().zip(&other.results);
        for (leaf, (ours, theirs)) in leaves.enumerate() {
            let difference = ours.difference(theirs);
            prop_assert!(difference.is_none(), "leaf {leaf}: {}", difference.unwrap());
        }
        self.same_state_as(other)?;
        prop_assert_eq!(self.finite, other.finite);
        Ok(())
    }

    /// Fails where `other` has a different bit in a slot or a norm.
    fn same_state_as(&self, other: &Self) -> Result<(), TestCaseError> {
        for (leaf, (ours, theirs)) in self.slots.iter().zip(&other.slots).enumerate() {
            prop_assert_eq!(ours.len(), theirs.len());
            for (slot, pair) in ours.iter().zip(theirs).enumerate() {
                let difference = match pair {
                    (Some(ours), Some(theirs)) => ours.difference(theirs),
                    (None, None) => None,
                    _ => Some("one is missing".to_owned()),
                };
                prop_assert!(
                    difference.is_none(),
                    "leaf {leaf}, slot {slot}: {}",
                    difference.unwrap()
                );
            }
        }
        let norms = |made: &Self| Data::F64(made.norms.clone());
        let difference = norms(self).difference(&norms(other));
        prop_assert!(difference.is_none(), "norm {}", difference.unwrap());
        Ok(())
    }
}

/// An array that a step replaces: what it was, and where the new one goes if that is elsewhere.
struct Replaced<M> {
    old: M,
    new: Option<M>,
}

impl<M: Memory> Replaced<M> {
    fn of(data: &Data, copies: bool, salt: usize) -> Self {
        let new = || M::of(&Data::filled(data.dtype(), data.len(), 7.0), salt + 1);
        Self { old: M::of(data, salt), new: copies.then(new) }
    }

    fn slot(&mut self) -> Slot<'_> {
        match &mut self.new {
            Some(new) => Slot { from: Some(self.old.source()), to: new.sink() },
            None => Slot { from: None, to: self.old.sink() },
        }
    }

    /// The new value. Panics where an old one that was to stay did not.
    fn made(self, was: &Data) -> Data {
        let Some(new) = self.new else { return self.old.data() };
        assert_eq!(was.difference(&self.old.data()), None, "written");
        new.data()
    }
}

/// All memory of one leaf.
struct Held<M> {
    updates: M,
    params: Replaced<M>,
    out: M,
    slots: Vec<Option<Replaced<M>>>,
    shape: Vec<usize>,
}

impl<M: Memory> Held<M> {
    fn of(program: &Program, arrays: &Arrays, copies: bool, salt: usize) -> Self {
        let Arrays { updates, params, slots, skip } = arrays;
        let read = program.reads_params_of(*skip).then_some(params);
        let all = slots.iter().flatten().chain(read).map(Data::dtype);
        let dtype = all.fold(updates.dtype(), DType::max);
        let slot = |(number, slot): (usize, &Option<Data>)| {
            slot.as_ref().map(|slot| Replaced::of(slot, copies, salt + 4 + 2 * number))
        };
        let len = updates.len();
        let rows = [4, 2].into_iter().find(|rows| len.is_multiple_of(*rows));
        Self {
            shape: rows.map_or_else(|| vec![len], |rows| vec![rows, len / rows]),
            updates: M::of(updates, salt),
            params: Replaced::of(params, copies, salt + 1),
            out: M::of(&Data::filled(dtype, updates.len(), 7.0), salt + 3),
            slots: slots.iter().enumerate().map(slot).collect(),
        }
    }

    fn leaf(&mut self, skip: u64, adds: bool) -> Leaf<'_> {
        let Self { updates, params, out, slots, shape } = self;
        let (params, out) = if adds {
            (Params::Write(params.slot()), None)
        } else {
            (Params::Read(params.old.source()), Some(out.sink()))
        };
        let slots = slots.iter_mut().map(|slot| slot.as_mut().map(Replaced::slot)).collect();
        let leaf = Leaf::new(updates.source(), params, out, slots);
        Leaf { skip, shape, ..leaf }
    }
}

/// Runs `chain` over copies of `leaves` in memory of kind `M`, and checks that no input was written.
pub fn run<M: Memory>(chain: &[Link], leaves: &[Arrays], how: &How) -> Made {
    let (program, scalars) = program(chain);
    let numbered = leaves.iter().enumerate();
    let mut held: Vec<Held<M>> = numbered
        .map(|(index, arrays)| Held::of(&program, arrays, how.copies, 41 * index))
        .collect();
    let outcome = {
        let pairs = held.iter_mut().zip(leaves);
        let mut leaves: Vec<Leaf<'_>> =
            pairs.map(|(held, arrays)| held.leaf(arrays.skip, how.adds)).collect();
        gradmill_core::run(
            &program,
            &mut leaves,
            Step { scalars: &scalars, ..Step::default() },
            &how.config,
        )
        .unwrap()
    };
    let mut made = Made {
        results: Vec::new(),
        slots: Vec::new(),
        norms: outcome.norms.iter().map(|norm| norm.unwrap()).collect(),
        finite: outcome.finite,
    };
    for (held, arrays) in held.into_iter().zip(leaves) {
        assert_eq!(arrays.updates.difference(&held.updates.data()), None, "updates were written");
        let new_params = held.params.made(&arrays.params);
        made.results.push(if how.adds { new_params } else { held.out.data() });
        let slots = held.slots.into_iter().zip(&arrays.slots);
        made.slots.push(
            slots.map(|(slot, was)| slot.map(|slot| slot.made(was.as_ref().unwrap()))).collect(),
        );
    }
    made
}
