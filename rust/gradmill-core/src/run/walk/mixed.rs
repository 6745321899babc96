//! Chunks whose arrays differ in type, where there is a loop for these types.

use std::ops::Range;

use super::{STAGED, Walk};
use crate::data::{Leaf, Params};
use crate::kernels::kernel::Kernel;
use crate::kernels::mixed::apply_mixed;
use crate::number::float::Float;
use crate::number::rounding::Rounding;
use crate::plan::pass::PassInput;

impl Walk<'_> {
    /// Sends a chunk whose arrays are dense, in place and of different types through the last pass, where
    /// there is a loop for these types.
    pub(super) fn mixed<T: Float>(
        &self,
        kernel: &Kernel<T>,
        slots: &Range<usize>,
        leaf: &mut Leaf<'_>,
    ) -> Option<T::Bits> {
        let is_other = self.pass.ends_for.is_some() || self.pass.source == PassInput::Carried;
        if is_other || self.rounding.is_some() || self.measures_steps() {
            return None;
        }
        if leaf.copy.is_some() {
            return self.rounded(kernel, slots, leaf);
        }
        apply_mixed(kernel, self.config.tier, leaf, slots)
    }

    /// The same for parameters that have a copy in half precision: each block is rounded while it is in the cache.
    fn rounded<T: Float>(
        &self,
        kernel: &Kernel<T>,
        slots: &Range<usize>,
        leaf: &mut Leaf<'_>,
    ) -> Option<T::Bits> {
        let tier = self.config.tier;
        let mut bad = T::Bits::default();
        for start in (0..leaf.len()).step_by(STAGED) {
            let mut block = leaf.part(start..leaf.len().min(start + STAGED));
            let mut copy = block.copy.take()?;
            // All blocks are of the same types: without a loop for these, the first one ends here.
            bad |= apply_mixed(kernel, tier, &mut block, slots)?;
            if let Params::Write(slot) = &mut block.params
                && let Some(params) = slot.dense::<T>(tier)
                && !kernel.gives_zero()
            {
                copy.write(tier, params, Rounding::Nearest);
            }
        }
        Some(bad)
    }
}
