//! What is settled before a pass for its ops to read: numbers of units, and random numbers.

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use crate::data::Origin;
use crate::number::float::Float;
use crate::number::rng::{self, Key};
use crate::sums::units::Units;
use crate::sys::simd::Tier;

/// What ops read beside the update, the parameter and the state.
#[derive(Debug, Default)]
pub struct Settled {
    /// Each op that reads numbers of units, and the place of the first leaf's.
    number_ops: SmallVec<[(usize, usize); 4]>,
    /// For each such op in turn, of each leaf its units; a leaf without any reads zero.
    units: Vec<Option<OfLeaf>>,
    numbers: Vec<f64>,
    /// Each op that draws random numbers, and the place of the first leaf's key.
    key_ops: SmallVec<[(usize, usize); 4]>,
    /// For each such op, in turn, the key of each leaf.
    keys: Vec<Key>,
}

impl Settled {
    pub fn clear(&mut self) {
        let Self { number_ops, units, numbers, key_ops, keys } = self;
        number_ops.clear();
        key_ops.clear();
        units.clear();
        numbers.clear();
        keys.clear();
    }

    /// Begins the numbers of units for `op`, which come leaf by leaf.
    pub(crate) fn begin_numbers(&mut self, op: usize) -> Numbers<'_> {
        self.number_ops.push((op, self.units.len()));
        Numbers { units: &mut self.units, numbers: &mut self.numbers }
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
    pub fn fill_numbers<T: Float>(
        &self,
        tier: Tier,
        op: usize,
        origin: Origin,
        at: usize,
        into: &mut [T],
    ) {
        match &self.units[first_of(&self.number_ops, op) + origin.leaf] {
            Some(own) => {
                let (start, numbers) = (origin.start + at, &self.numbers[..]);
                tier.run(FillNumbers { own, numbers, start, into });
            }
            None => into.fill(T::ZERO),
        }
    }

    /// The number that all elements of a leaf read for `op`, where the leaf is one unit.
    pub fn number_of_leaf(&self, op: usize, leaf: usize) -> Option<f64> {
        match &self.units[first_of(&self.number_ops, op) + leaf] {
            Some(OfLeaf { units, first, other: None }) if units.count() == 1 => {
                Some(self.numbers[*first])
            }
            _ => None,
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

/// The units of a leaf and the place of their first number; where elements are of two units each, those others as well.
#[derive(Debug)]
struct OfLeaf {
    units: Units,
    first: usize,
    other: Option<(Units, usize)>,
}

/// Numbers of units, as they come in.
pub struct Numbers<'n> {
    units: &'n mut Vec<Option<OfLeaf>>,
    numbers: &'n mut Vec<f64>,
}

impl Numbers<'_> {
    /// Those of the next leaf.
    pub fn add(&mut self, units: Units, numbers: impl Iterator<Item = f64>) {
        self.units.push(Some(OfLeaf { units, first: self.numbers.len(), other: None }));
        self.numbers.extend(numbers);
    }

    /// Room for those of the next leaf, whose elements are of two units each.
    pub fn add_pairs(&mut self, [units, others]: [Units; 2]) -> [&mut [f64]; 2] {
        let (first, count) = (self.numbers.len(), units.count());
        let other = Some((others, first + count));
        self.numbers.resize(first + count + other.as_ref().map_or(0, |(own, _)| own.count()), 0.0);
        self.units.push(Some(OfLeaf { units, first, other }));
        self.numbers[first..].split_at_mut(count).into()
    }

    /// The next leaf has none.
    pub fn add_none(&mut self) {
        self.units.push(None);
    }
}

/// What belongs to `op`.
fn first_of(ops: &[(usize, usize)], op: usize) -> usize {
    match ops.iter().find(|(own, _)| *own == op) {
        Some((_, first)) => *first,
        None => unreachable!("what an op reads is known before its pass"),
    }
}

struct FillNumbers<'n, T> {
    own: &'n OfLeaf,
    numbers: &'n [f64],
    start: usize,
    into: &'n mut [T],
}

impl<T: Float> NullaryFnOnce for FillNumbers<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { own: OfLeaf { units, first, other }, numbers, start, into } = self;
        match other {
            None => units.fill(&numbers[*first..], start, into),
            Some((others, other)) => {
                let numbers = [*first, *other].map(|first| &numbers[first..]);
                Units::fill_products([units, others], numbers, start, into);
            }
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
