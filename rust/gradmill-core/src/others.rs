//! What ops read beside the update and the parameter: numbers of units, and random numbers.

use pulp::NullaryFnOnce;

use crate::dtype::Float;
use crate::leaf::Origin;
use crate::rng::Key;
use crate::simd::Tier;
use crate::units::Numbers;

/// The second argument of an op, for all elements of all leaves.
#[derive(Debug)]
enum Other {
    /// For each leaf, the numbers of its units; a leaf without units has none, which reads as zero.
    Numbers(Vec<Option<Numbers>>),
    /// For each leaf, the key of its random numbers.
    Normal(Vec<Key>),
}

/// The second arguments of the ops that read neither nothing nor the parameter.
#[derive(Debug, Default)]
pub struct Others(Vec<(usize, Other)>);

impl Others {
    /// Each leaf's numbers for `op`.
    pub(crate) fn add_numbers(&mut self, op: usize, numbers: Vec<Option<Numbers>>) {
        self.0.push((op, Other::Numbers(numbers)));
    }

    /// Each leaf's key for `op`.
    pub fn add_keys(&mut self, op: usize, keys: Vec<Key>) {
        self.0.push((op, Other::Normal(keys)));
    }

    /// What `op` reads from the element `at` of the stretch that begins at `origin`.
    ///
    /// A function of its own, since inside the loop over ops the compiler vectorises half of it.
    #[inline(never)]
    pub fn fill<T: Float>(&self, tier: Tier, op: usize, origin: Origin, at: usize, into: &mut [T]) {
        let start = origin.start + at;
        match self.0.iter().find(|(known, _)| *known == op) {
            Some((_, Other::Numbers(numbers))) => match &numbers[origin.leaf] {
                Some(numbers) => numbers.fill(start, into),
                None => into.fill(T::ZERO),
            },
            Some((_, Other::Normal(keys))) => {
                let key = keys[origin.leaf];
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
        T::fill_normal(self.key, self.start, self.into);
    }
}
