//! The numbers: each op, chains of them and the global norm against plain float64 formulas.

mod common;

use common::{
    Arrays, Case, Data, How, Link, Memory, Values, chains, config, dtypes, link, plain, run, shapes,
};
use gradmill_core::data::Source;
use gradmill_core::number::scalars::bias_correction;
use gradmill_core::ops::OPS;
use gradmill_core::{DType, global_norm};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A number and the sum of the magnitudes that it was made from, to which rounding errors compare.
#[derive(Clone, Copy, Debug)]
struct Term {
    value: f64,
    size: f64,
}

fn term(parts: &[f64]) -> Term {
    Term { value: parts.iter().sum(), size: parts.iter().map(|part| part.abs()).sum() }
}

impl Term {
    fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, size: self.size * factor.abs() }
    }

    fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, size: self.size + other.size }
    }

    fn is_near(self, got: f64, dtype: DType) -> bool {
        let (relative, least) = match dtype {
            DType::F64 => (1e-12, f64::MIN_POSITIVE),
            _ => (16.0 * f64::from(f32::EPSILON), f64::from(f32::MIN_POSITIVE)),
        };
        (got - self.value).abs() <= relative * self.size + least
    }
}

/// The new update, then the new state, of update `u` and parameter `p`; `s` holds the scalars.
type Formula = fn(u: f64, p: f64, state: &[f64], s: &Link, norm: f64) -> Vec<Term>;

const FORMULAS: [(&str, Formula); 8] = [
    ("scale", |u, _, _, s, _| vec![term(&[u * s.scalar("step_size")])]),
    ("clip", |u, _, _, s, _| {
        let max_delta = s.scalar("max_delta");
        vec![term(&[u.clamp(-max_delta, max_delta)])]
    }),
    ("clip_by_global_norm", |u, _, _, s, norm| {
        let max_norm = s.scalar("max_norm");
        let keeps = norm == 0.0 || norm < max_norm;
        vec![term(&[if keeps { u } else { u / norm * max_norm }])]
    }),
    ("add_decayed_weights", |u, p, _, s, _| vec![term(&[u, s.scalar("weight_decay") * p])]),
    ("scale_by_adam", |u, _, state, s, _| {
        let (mu, nu) = moments(u, state, s);
        let mu_hat = mu.times(1.0 / correction(s, "b1", 1.0));
        vec![mu_hat.times(1.0 / adam_denominator(nu, s)), mu, nu]
    }),
    ("scale_by_adam_nesterov", |u, _, state, s, _| {
        let (mu, nu) = moments(u, state, s);
        let kept = mu.times(s.scalar("b1") / correction(s, "b1", 2.0));
        let fresh = term(&[(1.0 - s.scalar("b1")) * u / correction(s, "b1", 1.0)]);
        vec![kept.plus(fresh).times(1.0 / adam_denominator(nu, s)), mu, nu]
    }),
    ("trace", |u, _, state, s, _| {
        let trace = term(&[u, s.scalar("decay") * state[0]]);
        vec![trace, trace]
    }),
    ("trace_nesterov", |u, _, state, s, _| {
        let trace = term(&[u, s.scalar("decay") * state[0]]);
        vec![term(&[u]).plus(trace.times(s.scalar("decay"))), trace]
    }),
];

fn correction(s: &Link, decay: &str, ahead: f64) -> f64 {
    let corrects = s.scalar("bias_correction") != 0.0;
    if corrects { bias_correction(s.scalar(decay), s.scalar("count") + ahead) } else { 1.0 }
}

fn moments(u: f64, state: &[f64], s: &Link) -> (Term, Term) {
    let (b1, b2) = (s.scalar("b1"), s.scalar("b2"));
    (term(&[b1 * state[0], (1.0 - b1) * u]), term(&[b2 * state[1], (1.0 - b2) * u * u]))
}

fn adam_denominator(nu: Term, s: &Link) -> f64 {
    let (eps, eps_root) = (s.scalar("eps").max(2f64.powi(-566)), s.scalar("eps_root"));
    let share = correction(s, "b2", 1.0);
    if s.scalar("hat") == 0.0 {
        (nu.value / share + eps_root).sqrt() + eps
    } else {
        ((nu.value + eps_root).sqrt() + eps) / share.sqrt()
    }
}

fn formula(name: &str) -> Option<Formula> {
    FORMULAS.into_iter().find(|(known, _)| *known == name).map(|(_, formula)| formula)
}

/// The ops that have a formula here; the Python tests hold every op against `python/gradmill/_ops/`.
fn known() -> impl Strategy<Value = usize> {
    let known = |index: &usize| formula(OPS[*index].name).is_some();
    select((0..OPS.len()).filter(known).collect::<Vec<_>>())
}

/// The root of the sum of squares: scaled by a power of two, summed with the rounding errors kept.
fn norm_of(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().map(|value| value.abs()).sum();
    if sum == 0.0 || values.iter().any(|value| !value.is_finite()) {
        return sum;
    }
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    // In two steps, since the scale of a subnormal number leaves the range.
    let half = 2f64.powi((-largest.log2() / 2.0) as i32);
    let (mut sum, mut lost) = (0.0, 0.0);
    for value in values {
        let square = (value * half * half).powi(2);
        let next = sum + square;
        let part = next - sum;
        lost += (sum - (next - part)) + (square - part);
        sum = next;
    }
    (sum + lost).sqrt() / half / half
}

fn norm_of_updates(leaves: &[Arrays]) -> f64 {
    let all: Vec<f64> = leaves.iter().flat_map(|arrays| arrays.updates.values()).collect();
    norm_of(&all)
}

fn moderate(lengths: impl Strategy<Value = usize>) -> impl Strategy<Value = common::Shape> {
    shapes(lengths, Just(Values::Moderate))
}

/// Runs `chain` in float64 on one element after the other; updates, slots and norms as a step makes them.
fn expected(chain: &[Link], leaves: &mut [Arrays]) -> Vec<f64> {
    let mut norms = Vec::new();
    let mut first_slot = 0;
    for (index, link) in chain.iter().enumerate() {
        let formula = formula(link.name).unwrap();
        let meta = link.meta();
        let norm = norm_of_updates(leaves);
        norms.extend(meta.gather.is_some().then_some(norm));
        for leaf in leaves.iter_mut().filter(|leaf| leaf.skip >> index & 1 == 0) {
            let Arrays { updates: Data::F64(updates), params, slots, .. } = leaf else {
                panic!("the oracle computes in float64")
            };
            let mut states: Vec<&mut Vec<f64>> = slots[first_slot..][..meta.slots.len()]
                .iter_mut()
                .map(|slot| match slot {
                    Some(Data::F64(slot)) => slot,
                    _ => panic!("the oracle computes in float64"),
                })
                .collect();
            for (at, (update, param)) in updates.iter_mut().zip(params.values()).enumerate() {
                let state: Vec<f64> = states.iter().map(|slot| slot[at]).collect();
                let made = formula(*update, param, &state, link, norm);
                *update = made[0].value;
                for (slot, term) in states.iter_mut().zip(&made[1..]) {
                    slot[at] = term.value;
                }
            }
        }
        first_slot += meta.slots.len();
    }
    norms
}

/// Holds each number that the one op of `case` makes against its formula's.
fn each_number(case: &Case, agree: impl Fn(f64, Term) -> bool) -> Result<(), TestCaseError> {
    let link = &case.chain[0];
    let formula = formula(link.name).unwrap();
    let leaves = case.arrays();
    let norm = norm_of_updates(&leaves);
    let made = run::<Data>(&case.chain, &leaves, &plain());
    for (leaf, arrays) in leaves.iter().enumerate() {
        let inputs = arrays.updates.values().into_iter().zip(arrays.params.values());
        let state_at = |slots: &[Option<Data>], at: usize| -> Vec<f64> {
            slots.iter().flatten().map(|slot| slot.values()[at]).collect()
        };
        for (at, (update, param)) in inputs.enumerate() {
            let expected = formula(update, param, &state_at(&arrays.slots, at), link, norm);
            let mut got = vec![made.results[leaf].values()[at]];
            got.extend(state_at(&made.slots[leaf], at));
            prop_assert_eq!(got.len(), expected.len());
            for (got, expected) in got.into_iter().zip(expected) {
                let agree = agree(got, expected);
                prop_assert!(agree, "leaf {leaf}, element {at}: {got:e}, not {expected:?}");
            }
        }
    }
    Ok(())
}

/// With the tolerance of a whole chain, where errors pass through divisions by small numbers.
fn all_near(got: &Data, expected: &Data) -> Result<(), TestCaseError> {
    for (at, (got, expected)) in got.values().into_iter().zip(expected.values()).enumerate() {
        // Both may be infinite.
        let near = got == expected || (got - expected).abs() <= 1e-8 * (1e-6 + expected.abs());
        prop_assert!(near, "[{at}] is {got:e}, not {expected:e}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn each_op_is_its_formula(
        link in known().prop_flat_map(link),
        shapes in vec(moderate(0usize..70), 1..3),
        dtype in dtypes(),
    ) {
        let uniform = |shape| common::Shape { dtypes: [dtype; 3], skip: 0, ..shape };
        let shapes = shapes.into_iter().map(uniform).collect();
        each_number(&Case { chain: vec![link], shapes }, |got, expected| {
            expected.is_near(got, dtype)
        })?;
    }

    /// NaN stays NaN, and overflow is what it is in the formula.
    #[test]
    fn each_op_is_finite_where_its_formula_is(
        link in known().prop_flat_map(link),
        shape in shapes(0usize..70, Just(Values::Any)),
    ) {
        let shape = common::Shape { dtypes: [DType::F64; 3], skip: 0, ..shape };
        each_number(&Case { chain: vec![link], shapes: vec![shape] }, |got, Term { value, .. }| {
            if value.is_finite() { got.is_finite() } else { got == value || got.is_nan() && value.is_nan() }
        })?;
    }

    /// Ops in their order, each norm of the update that reaches its op, skipped ops left out.
    #[test]
    fn a_chain_is_its_formulas_in_turn(
        chain in vec(known().prop_flat_map(link), 0..7),
        shapes in vec(moderate(0usize..70), 0..5),
    ) {
        // Whether a leaf that skips a clip counts in its norm is not settled here.
        let reduces = chain.iter().enumerate().filter(|(_, link)| link.meta().gather.is_some());
        let unskippable = reduces.fold(0, |bits, (index, _)| bits | 1 << index);
        let in_f64 = |shape: common::Shape| {
            common::Shape { dtypes: [DType::F64; 3], skip: shape.skip & !unskippable, ..shape }
        };
        let case = Case { shapes: shapes.into_iter().map(in_f64).collect(), chain };
        let mut leaves = case.arrays();
        let made = run::<Data>(&case.chain, &leaves, &How { copies: true, ..plain() });
        let norms = expected(&case.chain, &mut leaves);
        for (leaf, arrays) in leaves.iter().enumerate() {
            all_near(&made.results[leaf], &arrays.updates)?;
            for (got, expected) in made.slots[leaf].iter().zip(&arrays.slots) {
                prop_assert_eq!(got.is_some(), expected.is_some());
                if let (Some(got), Some(expected)) = (got, expected) {
                    all_near(got, expected)?;
                }
            }
        }
        prop_assert_eq!(made.norms.len(), norms.len());
        all_near(&Data::F64(made.norms), &Data::F64(norms))?;
    }

    /// Parameters that no op reads have no say in the update or its dtype.
    #[test]
    fn unread_params_do_not_matter(chain in chains(), shape in moderate(0usize..70)) {
        let case = Case { chain, shapes: vec![shape] };
        let mut leaves = case.arrays();
        prop_assume!(!common::program(&case.chain).0.reads_params_of(leaves[0].skip));
        let made = run::<Data>(&case.chain, &leaves, &plain());
        leaves[0].params = Data::filled(DType::F64, leaves[0].updates.len(), f64::NAN);
        made.same_as(&run::<Data>(&case.chain, &leaves, &plain()))?;
    }
}

/// Powers of ten that all values of a tree are near to, and the dtype that holds them.
fn scales() -> impl Strategy<Value = (DType, f64)> {
    let of_f32 = select(vec![1.0, 1e-30, 1e30, 1e-38, 1e35]).prop_map(|scale| (DType::F32, scale));
    let of_f64 = select(vec![1.0, 1e-250, 1e250, 1e-150, 1e150, 1e-135, 1e-305, 1e303]);
    prop_oneof![of_f32, of_f64.prop_map(|scale| (DType::F64, scale))]
}

fn norm(arrays: &[Data]) -> f64 {
    let sources: Vec<Source<'_>> = arrays.iter().map(Memory::source).collect();
    global_norm(sources, &plain().config)
}

/// `shapes` filled with values near `scale`.
fn filled(shapes: &[common::Shape], dtype: DType, scale: f64) -> Vec<Data> {
    let program = common::program(&[]).0;
    let updates = |shape: &common::Shape| {
        let shape = common::Shape { dtypes: [DType::F64; 3], ..*shape };
        shape.arrays(&program).updates.values().into_iter().map(|value| value * scale)
    };
    shapes.iter().map(|shape| Data::new(dtype, updates(shape))).collect()
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn the_norm_is_exact_at_all_scales(
        shapes in vec(moderate(common::lengths()), 0..5),
        (dtype, scale) in scales(),
    ) {
        let arrays = filled(&shapes, dtype, scale);
        let values: Vec<f64> = arrays.iter().flat_map(Data::values).collect();
        let (got, expected) = (norm(&arrays), norm_of(&values));
        prop_assert!((got - expected).abs() <= 1e-14 * expected, "{got:e}, not {expected:e}");
    }

    /// Also where squares leave the range of float64, or the factor that of the dtype.
    #[test]
    fn clipping_reaches_the_bound_at_all_scales(
        shapes in vec(moderate(1usize..100), 1..4),
        (dtype, scale) in scales(),
        shrink in 0usize..3,
    ) {
        let arrays = filled(&shapes, dtype, scale);
        let (ratios, least) = match dtype {
            DType::F64 => ([0.25, 1e-200, 1e-310], f64::MIN_POSITIVE),
            _ => ([0.25, 1e-20, 1e-42], f64::from(f32::MIN_POSITIVE)),
        };
        let bound = norm(&arrays) * ratios[shrink];
        let chain = [Link { name: "clip_by_global_norm", scalars: vec![bound] }];
        let leaf = |updates: &Data| {
            let (updates, params) = (updates.clone(), updates.clone());
            Arrays { updates, params, slots: Vec::new(), skip: 0 }
        };
        let leaves: Vec<Arrays> = arrays.iter().map(leaf).collect();
        let got = norm(&run::<Data>(&chain, &leaves, &plain()).results);
        // Each element may be too small to be a normal number.
        let lost = least * (arrays.iter().map(Data::len).sum::<usize>() as f64).sqrt();
        prop_assert!((got - bound).abs() <= 1e-6 * bound + lost, "{got:e}, not {bound:e}");
    }

    #[test]
    fn norms_of_what_is_not_finite(
        shapes in vec(moderate(1usize..70), 1..4),
        (dtype, scale) in scales(),
        at in any::<prop::sample::Index>(),
    ) {
        let mut arrays = filled(&shapes, dtype, scale);
        let leaf = at.index(arrays.len());
        let element = at.index(arrays[leaf].len());
        for value in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            arrays[leaf].set(element, value);
            let norm = norm(&arrays);
            prop_assert!(if value.is_nan() { norm.is_nan() } else { norm == f64::INFINITY }, "{norm:e}");
        }
    }
}

#[test]
fn norms_of_nothing() {
    assert_eq!(norm(&[]), 0.0);
    assert_eq!(norm(&[Data::F32(Vec::new()), Data::F64(vec![0.0, -0.0])]), 0.0);
    assert_eq!(norm(&[Data::F64(vec![5e-324])]), 5e-324);
    assert_eq!(norm(&[Data::F32(vec![1e-45])]), f64::from(1e-45f32));
}

/// State that decays, or is a part of an update, is zero or normal: subnormal numbers slow arithmetic down.
#[test]
fn state_is_never_subnormal() {
    for meta in OPS {
        // Halves for all decays and corrections, so that the least normal number leaves the range.
        let chain = [Link { name: meta.name, scalars: vec![0.5; meta.scalars.len()] }];
        let program = common::program(&chain).0;
        let shape = common::shape_of(65);
        for (fuse, decays) in [(true, true), (true, false), (false, true), (false, false)] {
            for (dtype, least) in
                [(DType::F32, f64::from(f32::MIN_POSITIVE)), (DType::F64, f64::MIN_POSITIVE)]
            {
                let filled = |value| Data::filled(dtype, 65, value);
                let of_slot = |number| program.slot_len(number, 65, &shape);
                let (update, slot) = if decays { (0.0, least) } else { (least, 0.0) };
                let arrays = Arrays {
                    updates: filled(update),
                    params: filled(0.0),
                    slots: program
                        .slots_of(0)
                        .map(|number| Some(Data::filled(dtype, of_slot(number), slot)))
                        .collect(),
                    skip: 0,
                };
                let mut how = plain();
                how.config.fuse = fuse;
                let made = run::<Data>(&chain, &[arrays], &how);
                for value in made.slots[0].iter().flatten().flat_map(Data::values) {
                    assert!(value == 0.0 || value.abs() >= least, "{}: {value:e}", meta.name);
                }
            }
        }
    }
}
