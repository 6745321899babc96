//! What ops read beside the update and the parameter: numbers of units, and random numbers.

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use crate::data::Origin;
use crate::number::float::Float;
use crate::number::rng::{self, Key};
use crate::sums::units::Units;
use crate::sys::simd::Tier;

/// What ops read that is neither update, parameter nor state.
#[derive(Debug, Default)]
pub struct Others {
    /// Each op that reads numbers of units, and the place of the first leaf's.
    number_ops: SmallVec<[(usize, usize); 4]>,
    /// For each such op in turn, of each leaf its units and the place of their first number; a leaf without
    /// units reads zero.
    units: Vec<Option<(Units, usize)>>,
    numbers: Vec<f64>,
    /// Each op that draws random numbers, and the place of the first leaf's key.
    key_ops: SmallVec<[(usize, usize); 4]>,
    /// For each such op, in turn, the key of each leaf.
    keys: Vec<Key>,
}

impl Others {
    pub fn clear(&mut self) {
        let Self { number_ops, units, numbers, key_ops, keys } = self;
        number_ops.clear();
        key_ops.clear();
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
        self.number_ops.push((op, self.units.len()));
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
        self.key_ops.push((op, self.keys.len()));
        self.keys.extend(keys);
    }

    /// The numbers of units that `op` reads from the element `at` of the stretch that begins at `origin`.
    ///
    /// A function of its own, since inside the loop over ops the compiler vectorises half of it.
    #[inline(never)]
    pub fn fill_numbers<T: Float>(&self, op: usize, origin: Origin, at: usize, into: &mut [T]) {
        match &self.units[first_of(&self.number_ops, op) + origin.leaf] {
            Some((units, first)) => units.fill(&self.numbers[*first..], origin.start + at, into),
            None => into.fill(T::ZERO),
        }
    }

    /// The random numbers that `op` reads from the element `at` of the stretch that begins at `origin`.
    #[inline(never)]
    pub fn fill_normals<T: Float>(
        &self,
        tier: Tier,
        op: usize,
        origin: Origin,
        at: usize,
        into: &mut [T],
    ) {
        let key = self.keys[first_of(&self.key_ops, op) + origin.leaf];
        tier.run(FillNormal { key, start: (origin.start + at) as u64, into });
    }
}

/// What belongs to `op`.
fn first_of(ops: &[(usize, usize)], op: usize) -> usize {
    match ops.iter().find(|(own, _)| *own == op) {
        Some((_, first)) => *first,
        None => unreachable!("what an op reads is known before its pass"),
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
