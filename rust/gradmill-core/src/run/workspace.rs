//! Memory that steps need, kept from one to the next.

use smallvec::SmallVec;

use super::measured::Measures;
use super::outcome::Outcome;
use super::walk::Pair;
use crate::kernels::set::Kernels;
use crate::kernels::settled::Settled;

/// What a step works in beside its leaves. It grows to what one step takes; the next ones with leaves alike
/// allocate nothing.
#[derive(Default)]
pub struct Workspace {
    /// What the last step found that did not fail.
    pub outcome: Outcome,
    pub(crate) kernels: Kernels,
    /// What ops find behind their scalars, as far as it is known.
    pub(crate) found: SmallVec<[f64; 4]>,
    pub(crate) settled: Settled,
    pub(crate) measures: Measures,
    /// Sums of squares of chunks.
    pub(crate) sums: Vec<Pair>,
    /// Those of leaves.
    pub(crate) squares: Vec<Pair>,
}

impl Workspace {
    /// Forgets the last step.
    pub(crate) fn clear(&mut self) {
        self.outcome.clear();
        self.found.clear();
        self.settled.clear();
    }
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}
