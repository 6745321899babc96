//! Chunks that go from old arrays to new ones.

use smallvec::SmallVec;

use super::Walk;
use crate::data::{Leaf, Params, ROOM, Slot};
use crate::kernels::kernel::{Across, Kernel, Sum};
use crate::number::float::Float;
use crate::plan::pass::PassInput;

impl Walk<'_> {
    /// Goes from old arrays to new ones in one loop, where there is such a loop and all are dense.
    pub(super) fn across<T: Float>(
        &self,
        kernel: &Kernel<T>,
        leaf: &mut Leaf<'_>,
    ) -> Option<T::Bits> {
        let Leaf { updates, params, out, copy, slots, skip, .. } = leaf;
        let is_other = self.pass.ends_for.is_some() || self.pass.source == PassInput::Carried;
        if is_other || copy.is_some() || self.measures_steps() {
            return None;
        }
        let (updates, tier) = (updates.dense()?, self.config.tier);
        if let Params::Write(Slot { from: Some(from), to }) = params {
            let sum = Sum { updates, params: from.dense()?, out: to.dense()? };
            return self.pass.ops.is_empty().then(|| tier.run(sum));
        }
        let params = match params {
            Params::Write(_) => return None,
            Params::Read(source) if self.program.reads_params_of(*skip | self.off) => {
                source.dense()?
            }
            _ => &[],
        };
        let out = out.as_mut()?.dense()?;
        let mut old = SmallVec::<[&[T]; ROOM]>::new();
        let mut new = SmallVec::<[&mut [T]; ROOM]>::new();
        for slot in slots[self.pass.slots.clone()].iter_mut().flatten() {
            old.push(slot.from.as_ref()?.dense()?);
            new.push(slot.to.dense()?);
        }
        kernel.store_across(tier, Across { updates, params, out, old: &old, new: &mut new })
    }
}
