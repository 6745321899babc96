//! What a step found on its way.

use smallvec::SmallVec;

use crate::ops::Estimates;

/// What a step found on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The global norms that ops asked for, in chain order, each taken before its op; `None` for an op
    /// that was off.
    pub norms: SmallVec<[Option<f64>; 2]>,
    /// What became of the sums of ops with addends of their own; `None` for an op that was off.
    pub estimates: SmallVec<[Option<Estimates>; 1]>,
    /// For each op that asks whether all updates are finite, whether they were.
    pub all_finite: SmallVec<[bool; 2]>,
    /// For each op that asks for NaN, whether each leaf had one.
    pub nans: Flags,
    /// Whether every incoming update was finite.
    pub finite: bool,
    /// The global norms of what was added to the parameters, and of these before, where they were asked for.
    pub sizes: Option<[f64; 2]>,
}

impl Default for Outcome {
    fn default() -> Self {
        let (norms, estimates, all_finite, nans) = Default::default();
        Self { norms, estimates, all_finite, nans, finite: true, sizes: None }
    }
}

impl Outcome {
    /// Adds what was found in some leaves of the same step, of which the first is at `start` among all, so many `leaves`.
    pub fn join(&mut self, other: Self, start: usize, leaves: usize) {
        let Self { norms, estimates, all_finite, nans, finite, .. } = other;
        self.finite &= finite;
        self.nans.join(&nans, start, leaves);
        (self.norms, self.estimates, self.all_finite) = (norms, estimates, all_finite);
    }

    pub(crate) fn clear(&mut self) {
        self.norms.clear();
        self.estimates.clear();
        self.all_finite.clear();
        self.nans.clear();
        self.finite = true;
        self.sizes = None;
    }
}

/// Lists of flags, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    all: Vec<bool>,
    ends: SmallVec<[usize; 2]>,
}

impl Flags {
    /// The lists: of each op those of all leaves, of one that does not take part false; empty for an op that was
    /// off.
    #[must_use]
    pub fn lists(&self) -> impl ExactSizeIterator<Item = &[bool]> {
        (0..self.ends.len()).map(|list| {
            let start = if list == 0 { 0 } else { self.ends[list - 1] };
            &self.all[start..self.ends[list]]
        })
    }

    /// Whether there are no lists.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn add(&mut self, flags: impl Iterator<Item = bool>) {
        self.all.extend(flags);
        self.ends.push(self.all.len());
    }

    /// Raises the flags that are up in lists of some leaves, of which the first is at `start` among so many `leaves`.
    fn join(&mut self, other: &Self, start: usize, leaves: usize) {
        self.all.resize(other.ends.len() * leaves, false);
        self.ends = (1..=other.ends.len()).map(|lists| lists * leaves).collect();
        for (own, flags) in self.all.chunks_mut(leaves.max(1)).zip(other.lists()) {
            own[start..].iter_mut().zip(flags).for_each(|(own, flag)| *own |= flag);
        }
    }

    fn clear(&mut self) {
        self.all.clear();
        self.ends.clear();
    }
}
