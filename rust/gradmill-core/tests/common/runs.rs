//! Runs of chains in one kind of memory or another.

use gradmill_core::data::{Params, Slot};
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, DType, Leaf, Program, Step};
use proptest::prelude::*;

use super::chains::{Link, program};
use super::data::{Data, Memory};
use super::{Arrays, shape_of};

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
    pub estimates: Vec<f64>,
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
        let estimates = |made: &Self| Data::F64(made.estimates.clone());
        let difference = norms(self).difference(&norms(other));
        prop_assert!(difference.is_none(), "norm {}", difference.unwrap());
        let difference = estimates(self).difference(&estimates(other));
        prop_assert!(difference.is_none(), "estimate {}", difference.unwrap());
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
    /// How many of the slots have the leaf's elements.
    of_elements: usize,
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
        Self {
            shape: shape_of(len),
            of_elements: program.slots(),
            updates: M::of(updates, salt),
            params: Replaced::of(params, copies, salt + 1),
            out: M::of(&Data::filled(dtype, updates.len(), 7.0), salt + 3),
            slots: slots.iter().enumerate().map(slot).collect(),
        }
    }

    fn leaf(&mut self, skip: u64, adds: bool) -> Leaf<'_> {
        let Self { updates, params, out, slots, of_elements, shape } = self;
        let (params, out) = if adds {
            (Params::Write(params.slot()), None)
        } else {
            (Params::Read(params.old.source()), Some(out.sink()))
        };
        let mut slots = slots.iter_mut().map(|slot| slot.as_mut().map(Replaced::slot));
        let own = slots.by_ref().take(*of_elements).collect();
        let leaf = Leaf::new(updates.source(), params, out, own);
        Leaf { skip, shape, unit_slots: slots.collect(), ..leaf }
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
        estimates: outcome.estimates.iter().flat_map(|made| made.unwrap()).collect(),
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
