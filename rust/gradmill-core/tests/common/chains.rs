//! Chains of ops with random scalars.

use gradmill_core::Program;
use gradmill_core::ops::{Meta, OPS};
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
        let at = self.meta().scalars.iter().position(|&known| known == name);
        self.scalars[at.unwrap_or_else(|| panic!("{} takes no {name}", self.name))]
    }
}

/// A number for each scalar that an op may ask for.
#[derive(Clone, Debug)]
struct Numbers {
    b1: f64,
    b2: f64,
    count: u32,
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
            "count" => f64::from(self.count),
            "bias_correction" | "debias" => f64::from(self.count % 2),
            "step_size" => self.step_size,
            "max_delta" | "max_norm" => self.bound,
            "weight_decay" | "scale_factor" | "threshold" | "clipping" | "min_norm" | "std"
            | "trust_coefficient" | "key0" | "key1" | "first" | "emit" | "skip" | "accept"
            | "collected" => self.small,
            other => panic!("say what the tests give for the scalar {other}"),
        }
    }
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let decay = || prop_oneof![Just(0.9), Just(0.0), Just(0.999), 0.0..1.0];
    let eps = prop_oneof![Just(1e-8), Just(1e-3), Just(0.0), 0.0..1.0];
    let eps_root = prop_oneof![Just(0.0), Just(1e-8)];
    let step_size = prop_oneof![Just(1.0), Just(-1e-3), -2.0..2.0];
    let bound = prop_oneof![6 => 1e-2..1e2, 1 => Just(1e-42), 1 => Just(1e10), 1 => Just(0.0)];
    (decay(), decay(), 0u32..2000, eps, eps_root, step_size, bound, 0.0..0.1).prop_map(
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
