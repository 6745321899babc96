//! What a step reports: whether all incoming updates were finite, and the norms of its ops.

mod common;

use common::{
    Arrays, Case, Data, How, Link, carrying_chains, cases, chains, config, hows, plain, run,
};
use proptest::prelude::*;

/// Exactly when all incoming updates are finite, whatever parameters, state, ops and norms make of them.
fn check_finite(case: &Case, how: &How) -> Result<(), TestCaseError> {
    let leaves = case.arrays();
    let updates = |arrays: &Arrays| arrays.updates.values().iter().all(|update| update.is_finite());
    let made = run::<Data>(&case.chain, &leaves, how);
    prop_assert_eq!(made.finite, leaves.iter().all(updates));
    Ok(())
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn finite_is_about_the_updates(
        case in cases(prop_oneof![chains(), carrying_chains()]),
        how in hows(),
    ) {
        check_finite(&case, &how)?;
    }

    /// One bad element anywhere in a tree of good ones.
    #[test]
    fn one_bad_update_is_found(
        mut case in cases(prop_oneof![chains(), carrying_chains()]),
        how in hows(),
        at in any::<prop::sample::Index>(),
        bad in prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN]),
    ) {
        for shape in &mut case.shapes {
            shape.values = common::Values::Moderate;
        }
        let mut leaves = case.arrays();
        leaves.retain(|arrays| arrays.updates.len() > 0);
        prop_assume!(!leaves.is_empty());
        let leaf = at.index(leaves.len());
        let element = at.index(leaves[leaf].updates.len());
        leaves[leaf].updates.set(element, bad);
        prop_assert!(!run::<Data>(&case.chain, &leaves, &how).finite);
    }
}

/// Runs `chain` over one leaf of one element.
fn is_finite(chain: &[(&'static str, f64)], update: Data, param: f64) -> bool {
    let link = |&(name, scalar)| Link { name, scalars: vec![scalar] };
    let chain: Vec<Link> = chain.iter().map(link).collect();
    let params = Data::filled(update.dtype(), 1, param);
    let slot = Some(Data::filled(update.dtype(), 1, 0.0));
    let slots = vec![slot; common::program(&chain).0.slots()];
    run::<Data>(&chain, &[Arrays { updates: update, params, slots, skip: 0 }], &plain()).finite
}

#[test]
fn params_that_are_not_finite_do_not_count() {
    let decay = ("add_decayed_weights", 0.1);
    let clip = ("clip_by_global_norm", 1.0);
    for chain in [&[decay][..], &[decay, clip], &[decay, ("trace", 0.9), clip]] {
        assert!(is_finite(chain, Data::F32(vec![1.0]), f64::NAN), "{chain:?}");
    }
}

#[test]
fn overflow_on_the_way_does_not_count() {
    let scale = ("scale", 1e30);
    let clip = ("clip_by_global_norm", 1.0);
    for chain in [&[scale][..], &[scale, clip], &[scale, ("trace", 0.9), clip]] {
        assert!(is_finite(chain, Data::F32(vec![1e30]), 0.0), "{chain:?}");
    }
}

#[test]
fn a_norm_beyond_float64_does_not_count() {
    let clip = [Link { name: "clip_by_global_norm", scalars: vec![1.0] }];
    let updates = Data::F64(vec![1.5e308; 4]);
    let leaf = Arrays { params: updates.clone(), updates, slots: Vec::new(), skip: 0 };
    assert!(run::<Data>(&clip, &[leaf], &plain()).finite);
}
