//! Clipping example by example: against its definition, and the same bits however it runs.

mod common;

use common::{Data, Memory, config};
use gradmill_core::data::{Sink, Source, View, ViewMut};
use gradmill_core::run::per_example::{Examples, Scope, clip_sum};
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, Error, Role};
use proptest::prelude::*;

/// Elements of an example whose squares make one sum.
const CHUNK: usize = 1 << 17;
const PLAIN: Config = Config { threads: 1, tier: Tier::Scalar, fuse: true };
const SCOPES: [Scope; 3] = [Scope::Tree, Scope::Leaves, Scope::LeavesBySize];

fn clip(
    grads: &[Data],
    batch: usize,
    limit: f64,
    scope: Scope,
    config: &Config,
) -> (Vec<Data>, Vec<usize>) {
    let mut sums: Vec<Data> =
        grads.iter().map(|grads| Data::filled(grads.dtype(), grads.len() / batch, 0.0)).collect();
    let leaves = grads.iter().zip(&mut sums);
    let leaves =
        leaves.map(|(grads, sum)| Examples { grads: grads.source(), sum: sum.sink() }).collect();
    let counts = clip_sum(leaves, batch, limit, scope, config).unwrap();
    (sums, counts.to_vec())
}

fn bits(sums: &[Data]) -> Vec<u64> {
    sums.iter().flat_map(Data::values).map(f64::to_bits).collect()
}

/// The definition, step by step.
fn oracle(grads: &[Data], batch: usize, limit: f64, scope: Scope) -> (Vec<Vec<f64>>, Vec<usize>) {
    let leaves: Vec<Vec<f64>> = grads.iter().map(Data::values).collect();
    let lens: Vec<usize> = leaves.iter().map(|leaf| leaf.len() / batch).collect();
    let all: usize = lens.iter().sum();
    let mut sums: Vec<Vec<f64>> = lens.iter().map(|&len| vec![0.0; len]).collect();
    let mut counts = vec![0; if scope == Scope::Tree { 1 } else { leaves.len() }];
    for example in 0..batch {
        let row = |leaf: usize| &leaves[leaf][example * lens[leaf]..][..lens[leaf]];
        let square = |leaf: usize| row(leaf).iter().fold(0.0, |sum, x| sum + x * x);
        let whole = (0..leaves.len()).map(square).fold(0.0, |sum, square| sum + square);
        for leaf in 0..leaves.len() {
            let (limit, norm) = match scope {
                Scope::Tree => (limit, whole.sqrt()),
                Scope::Leaves => (limit / (leaves.len() as f64).sqrt(), square(leaf).sqrt()),
                Scope::LeavesBySize => {
                    (limit * (lens[leaf] as f64 / all as f64).sqrt(), square(leaf).sqrt())
                }
            };
            let ratio = limit / norm;
            let factor = if ratio < 1.0 { ratio } else { 1.0 };
            if scope != Scope::Tree {
                counts[leaf] += usize::from(factor < 1.0);
            } else if leaf == 0 {
                counts[0] += usize::from(factor < 1.0);
            }
            for (sum, value) in sums[leaf].iter_mut().zip(row(leaf)) {
                *sum += factor * value;
            }
        }
    }
    (sums, counts)
}

fn leaf(batch: usize, most: usize) -> impl Strategy<Value = Data> {
    let element = prop_oneof![6 => -3f32..3.0, 1 => Just(0.0f32), 1 => -1e4f32..1e4];
    (0..most, any::<bool>()).prop_flat_map(move |(len, wide)| {
        proptest::collection::vec(element.clone(), batch * len).prop_map(move |values| {
            if wide {
                Data::F64(values.iter().map(|&value| f64::from(value) / 3.0).collect())
            } else {
                Data::F32(values)
            }
        })
    })
}

fn leaves() -> impl Strategy<Value = (usize, Vec<Data>)> {
    (1usize..11).prop_flat_map(|batch| {
        let leaves = proptest::collection::vec(leaf(batch, 5000 / batch), 1..5);
        (Just(batch), leaves)
    })
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn agrees_with_the_definition((batch, grads) in leaves(), limit in 1e-3f64..1e3) {
        for scope in SCOPES {
            let (sums, counts) = clip(&grads, batch, limit, scope, &PLAIN);
            let (expected, clipped) = oracle(&grads, batch, limit, scope);
            prop_assert_eq!(counts, clipped);
            for (sum, expected) in sums.iter().zip(&expected) {
                let rounding = match sum {
                    Data::F32(_) => 6e-8,
                    Data::F64(_) => 0.0,
                };
                for (&expected, value) in expected.iter().zip(sum.values()) {
                    // Terms are at most 1e4 and may cancel.
                    let near = rounding * expected.abs() + 1e-12 * 1e4;
                    prop_assert!((value - expected).abs() <= near, "{} {}", value, expected);
                }
            }
        }
    }

    #[test]
    fn tiers_do_not_change_the_bits((batch, grads) in leaves(), limit in 1e-3f64..1e3) {
        let (sums, counts) = clip(&grads, batch, limit, Scope::Tree, &PLAIN);
        for tier in Tier::ALL {
            let config = Config { tier, ..PLAIN };
            let (same, clipped) = clip(&grads, batch, limit, Scope::Tree, &config);
            prop_assert_eq!(bits(&same), bits(&sums));
            prop_assert_eq!(&clipped, &counts);
        }
    }
}

#[test]
fn threads_do_not_change_the_bits() {
    // Long enough for several threads; an example of the first leaf is longer than a chunk.
    let value = |at: usize| ((at * 7919) % 1009) as f64 * 0.37 - 180.0;
    let batch = 5;
    let grads = [
        Data::F32((0..batch * (2 * CHUNK + 3001)).map(|at| value(at) as f32).collect()),
        Data::F64((0..batch * 777).map(value).collect()),
        Data::F32(Vec::new()),
    ];
    for scope in SCOPES {
        let (sums, counts) = clip(&grads, batch, 100.0, scope, &PLAIN);
        for threads in [2, 3] {
            let config = Config { threads, ..PLAIN };
            let (same, clipped) = clip(&grads, batch, 100.0, scope, &config);
            assert_eq!(bits(&same), bits(&sums));
            assert_eq!(clipped, counts);
        }
    }
}

#[test]
fn squares_out_of_range_are_taken_again() {
    let rows = [[3e200, 4e200], [3e-200, 4e-200], [0.0, 0.0], [1.5e308, 1.5e308], [3.0, 4.0]];
    let grads = [Data::F64(rows.concat()), Data::F32(vec![0.0; 5])];
    let run = |limit| {
        let (sums, counts) = clip(&grads, 5, limit, Scope::Tree, &PLAIN);
        (sums[0].values(), counts[0])
    };
    let (sums, count) = run(1.0);
    let half = 0.5f64.sqrt();
    assert!((sums[0] - (0.6 + 0.6 + half)).abs() < 1e-15);
    assert!((sums[1] - (0.8 + 0.8 + half)).abs() < 1e-15);
    assert_eq!(count, 3);
    // The tiny example is shrunk as well, to (0.6e-200, 0.8e-200).
    assert_eq!(run(1e-200).1, 4);
    assert_eq!(run(0.0), (vec![0.0, 0.0], 4));
}

#[test]
fn what_is_not_finite_stays_so() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let grads = [Data::F32(vec![inf, 1.0, 3.0, 4.0]), Data::F32(vec![2.0, 0.0])];
    let (sums, counts) = clip(&grads, 2, 1.0, Scope::Tree, &PLAIN);
    assert!(sums[0].values()[0].is_nan());
    assert!((sums[0].values()[1] - 0.8).abs() < 1e-6);
    assert_eq!((sums[1].values(), counts), (vec![0.0], vec![2]));

    let grads = [Data::F32(vec![nan, 10.0, 3.0, 4.0])];
    let (sums, counts) = clip(&grads, 2, 1.0, Scope::Tree, &PLAIN);
    assert!(sums[0].values()[0].is_nan());
    assert!((sums[0].values()[1] - 10.8).abs() < 1e-6);
    assert_eq!(counts, [1]);
}

#[test]
fn no_examples_add_up_to_zero() {
    let mut sum = [7.0f32; 3];
    let leaves = vec![Examples {
        grads: Source::F32(View::Dense(&[])),
        sum: Sink::F32(ViewMut::Dense(&mut sum)),
    }];
    assert_eq!(clip_sum(leaves, 0, 1.0, Scope::Tree, &PLAIN).unwrap().as_slice(), [0]);
    assert_eq!(sum, [0.0; 3]);
}

#[test]
fn a_sum_of_another_length_is_an_error() {
    let mut sum = [7.0f32; 2];
    let leaves = vec![Examples {
        grads: Source::F32(View::Dense(&[1.0; 9])),
        sum: Sink::F32(ViewMut::Dense(&mut sum)),
    }];
    let error = clip_sum(leaves, 3, 1.0, Scope::Tree, &PLAIN).unwrap_err();
    assert_eq!(error, Error::Length { leaf: 0, role: Role::Out, expected: 9, got: 6 });
    assert_eq!(sum, [7.0; 2]);
}
