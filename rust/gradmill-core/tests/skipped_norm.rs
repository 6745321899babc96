//! A leaf that passes an op with a norm by takes no part in the norm.

mod common;

use common::{Arrays, Data, Link, plain, run};

#[test]
fn skipped_leaves_do_not_count() {
    for chain in [
        &["clip_by_global_norm"][..],
        &["scale", "clip_by_global_norm"],
        &["trace", "clip_by_global_norm"],
    ] {
        let links: Vec<Link> = chain
            .iter()
            .map(|&name| Link { name, scalars: vec![if name == "trace" { 0.5 } else { 1.0 }] })
            .collect();
        let norm_op = chain.len() - 1;
        let slots = common::program(&links).0.slots();
        let leaf = |value: f64, skip: u64| Arrays {
            updates: Data::filled(gradmill_core::DType::F64, 3, value),
            params: Data::filled(gradmill_core::DType::F64, 3, 0.0),
            slots: vec![Some(Data::filled(gradmill_core::DType::F64, 3, 0.0)); slots],
            skip,
        };
        let made = run::<Data>(&links, &[leaf(2.0, 0), leaf(1e9, 1 << norm_op)], &plain());
        assert_eq!(made.norms, [12f64.sqrt()], "{chain:?}");
    }
}
