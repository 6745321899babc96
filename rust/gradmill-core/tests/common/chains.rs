//! Chains of ops with random scalars.

use gradmill_core::Program;
use gradmill_core::ops::{Meta, OPS, ScalarKind};
use proptest::collection::vec;
use proptest::prelude::*;

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
        let at = self.meta().scalars.iter().position(|known| known.name == name);
        self.scalars[at.unwrap_or_else(|| panic!("{} takes no {name}", self.name))]
    }
}

/// What a scalar of this kind may be, the frequent values frequently.
fn numbers(kind: ScalarKind) -> BoxedStrategy<f64> {
    match kind {
        ScalarKind::Decay => prop_oneof![Just(0.9), Just(0.0), Just(0.999), 0.0..1.0].boxed(),
        ScalarKind::Epsilon => {
            prop_oneof![2 => Just(0.0), 2 => Just(1e-8), 1 => Just(1e-3), 1 => 0.0..0.1].boxed()
        }
        ScalarKind::Factor => prop_oneof![Just(1.0), Just(-1e-3), -2.0..2.0].boxed(),
        ScalarKind::Estimate => prop_oneof![1e-3..1e1, Just(1e-6), Just(0.0)].boxed(),
        ScalarKind::Bound => {
            prop_oneof![6 => 1e-2..1e2, 1 => Just(1e-42), 1 => Just(1e10), 1 => Just(0.0)].boxed()
        }
        ScalarKind::Flag => any::<bool>().prop_map(|flag| f64::from(u8::from(flag))).boxed(),
        ScalarKind::Count => (0u32..2000).prop_map(f64::from).boxed(),
        ScalarKind::Word => any::<u32>().prop_map(f64::from).boxed(),
    }
}

/// The op at `index` in [`OPS`] with random scalars.
pub fn link(index: usize) -> impl Strategy<Value = Link> {
    let meta = &OPS[index];
    let scalars: Vec<_> = meta.scalars.iter().map(|scalar| numbers(scalar.kind)).collect();
    scalars.prop_map(|scalars| Link { name: meta.name, scalars })
}

/// Chains of up to six ops.
pub fn chains() -> impl Strategy<Value = Vec<Link>> {
    vec((0..OPS.len()).prop_flat_map(link), 0..7)
}

/// The op of this name with random scalars.
pub fn op(name: &str) -> impl Strategy<Value = Link> + use<> {
    link(OPS.iter().position(|meta| meta.name == name).unwrap())
}

/// Chains that must keep the update between passes, since state was replaced before sums over the tree.
pub fn carrying_chains() -> impl Strategy<Value = Vec<Link>> {
    let moment = prop_oneof![op("trace"), op("scale_by_adam"), op("trace_nesterov")];
    let summing = prop_oneof![op("clip_by_global_norm"), op("prodigy")];
    let parts = (chains(), moment, chains(), summing, chains());
    parts.prop_map(|(head, moment, middle, summing, tail)| {
        [head, vec![moment], middle, vec![summing], tail].concat()
    })
}
