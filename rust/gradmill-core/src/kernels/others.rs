//! What ops read beside the update and the parameter: numbers of units, and random numbers.

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use crate::data::Origin;
use crate::number::float::Float;
use crate::number::rng::{self, Key};
use crate::sums::units::Units;
use crate::sys::simd::Tier;

/// The second argument of an op, for all elements of all leaves: the place of the first leaf's.
#[derive(Clone, Copy, Debug)]
enum Other {
    /// Numbers of units.
    Numbers(usize),
    /// Random numbers.
    Normal(usize),
}

/// The second arguments of the ops that read neither nothing nor the parameter.
#[derive(Debug, Default)]
pub struct Others {
    ops: SmallVec<[(usize, Other); 4]>,
    /// For each such op in turn, of each leaf its units and the place of their first number; a leaf without
    /// units reads zero.
    units: Vec<Option<(Units, usize)>>,
    numbers: Vec<f64>,
    /// For each op that draws random numbers, in turn, the key of each leaf.
    keys: Vec<Key>,
}

impl Others {
    pub fn clear(&mut self) {
        let Self { ops, units, numbers, keys } = self;
        ops.clear();
        units.clear();
        numbers.clear();
        keys.clear();
    }

    /// The numbers of each leaf's units for `op`, leaf by leaf; `numbers` are those of all units in a row.
    pub(crate) fn add_numbers(
        &mut self,
        op: usize,
        units: impl Iterator<Item = Option<Units>>,
        numbers: impl Iterator<Item = f64>,
    ) {
        self.ops.push((op, Other::Numbers(self.units.len())));
        let mut first = self.numbers.len();
        self.units.extend(units.map(|units| {
            let units = units?;
            let own = first;
            first += units.count();
            Some((units, own))
        }));
        self.numbers.extend(numbers);
    }

    /// Each leaf's key for `op`.
    pub fn add_keys(&mut self, op: usize, keys: impl Iterator<Item = Key>) {
        self.ops.push((op, Other::Normal(self.keys.len())));
        self.keys.extend(keys);
    }

    /// What `op` reads from the element `at` of the stretch that begins at `origin`.
    ///
    /// A function of its own, since inside the loop over ops the compiler vectorises half of it.
    #[inline(never)]
    pub fn fill<T: Float>(&self, tier: Tier, op: usize, origin: Origin, at: usize, into: &mut [T]) {
        let start = origin.start + at;
        match self.ops.iter().find(|(own, _)| *own == op) {
            Some((_, Other::Numbers(first))) => match &self.units[first + origin.leaf] {
                Some((units, first)) => units.fill(&self.numbers[*first..], start, into),
                None => into.fill(T::ZERO),
            },
            Some((_, Other::Normal(first))) => {
                let key = self.keys[first + origin.leaf];
                tier.run(FillNormal { key, start: start as u64, into });
            }
            None => unreachable!("what an op reads is known before its pass"),
        }
    }
}

struct FillNormal<'k, T> {
    key: Key,
    start: u64,
    into: &'k mut [T],
}

impl<T: Float> NullaryFnOnce for FillNormal<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        rng::fill_normal(self.key, self.start, self.into);
    }
}
