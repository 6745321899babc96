//! The ops in turn, over blocks that stay in the innermost cache.
//!
//! Each op is a function of its own for each instruction set: loops inside the loop over blocks would be one
//! function so large that the compiler gives up on vectorising parts of it.

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use crate::dtype::Float;
use crate::kernel::{Placed, Site, applied};
use crate::ops::Reads;

/// Elements of a block: the update, a second argument, the parameter and two slots fill half of such a cache.
const BLOCK: usize = 1 << 10;

/// Adds the update to `params`.
pub fn apply<T: Float>(
    site: Site<'_>,
    steps: &[Placed<T>],
    updates: &[T],
    params: &mut [T],
    slots: &mut [&mut [T]],
) -> T::Bits {
    let (mut scratch, mut others) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK]);
    let mut bad = T::Bits::default();
    let blocks = updates.chunks(BLOCK).zip(params.chunks_mut(BLOCK));
    for (index, (updates, params)) in blocks.enumerate() {
        let block = &mut scratch[..updates.len()];
        bad |= run(site, steps, updates, params, block, &mut others, slots, index * BLOCK);
        site.tier.run(Add { params, updates: block });
    }
    bad
}

/// Replaces the state and nothing else.
pub fn advance<T: Float>(
    site: Site<'_>,
    steps: &[Placed<T>],
    updates: &[T],
    params: &[T],
    slots: &mut [&mut [T]],
) -> T::Bits {
    let (mut scratch, mut others) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK]);
    let mut bad = T::Bits::default();
    for (index, updates) in updates.chunks(BLOCK).enumerate() {
        let at = index * BLOCK;
        let block = &mut scratch[..updates.len()];
        bad |= run(site, steps, updates, &params[at..], block, &mut others, slots, at);
    }
    bad
}

/// Stores the update in `out`.
pub fn store<T: Float>(
    site: Site<'_>,
    steps: &[Placed<T>],
    updates: &[T],
    params: &[T],
    out: &mut [T],
    slots: &mut [&mut [T]],
) -> T::Bits {
    let mut others = [T::ZERO; BLOCK];
    let mut bad = T::Bits::default();
    let blocks = updates.chunks(BLOCK).zip(out.chunks_mut(BLOCK));
    for (index, (updates, block)) in blocks.enumerate() {
        let at = index * BLOCK;
        // There may be none, where no op reads them.
        let params = params.get(at..).unwrap_or_default();
        bad |= run(site, steps, updates, params, block, &mut others, slots, at);
    }
    bad
}

/// Loads `updates`, says whether any is not finite, and runs all steps over `block`.
#[expect(clippy::too_many_arguments, reason = "the arrays of a block and two to work with")]
fn run<T: Float>(
    site: Site<'_>,
    steps: &[Placed<T>],
    updates: &[T],
    params: &[T],
    block: &mut [T],
    buffer: &mut [T; BLOCK],
    slots: &mut [&mut [T]],
    at: usize,
) -> T::Bits {
    let n = block.len();
    let bad = site.tier.run(Load { updates, block });
    for Placed { step, op, first_slot } in steps {
        let mut views: SmallVec<[&mut [T]; 4]> = slots[*first_slot..]
            .iter_mut()
            .map(|slot| slot.get_mut(at..at + n).unwrap_or_default())
            .collect();
        let others = match step.reads() {
            Reads::Nothing => &[],
            Reads::Params => &params[..n],
            Reads::Number | Reads::Normal => {
                site.others.fill(site.tier, *op, site.origin, at, &mut buffer[..n]);
                &buffer[..n]
            }
        };
        step.run(site.tier, block, others, &mut views);
    }
    bad
}

struct Load<'k, T> {
    updates: &'k [T],
    block: &'k mut [T],
}

impl<T: Float> NullaryFnOnce for Load<'_, T> {
    type Output = T::Bits;

    #[inline(always)]
    fn call(self) -> T::Bits {
        let mut bad = T::Bits::default();
        for (element, &update) in self.block.iter_mut().zip(self.updates) {
            *element = update;
            bad |= update.nonfinite();
        }
        bad
    }
}

struct Add<'k, T> {
    params: &'k mut [T],
    updates: &'k [T],
}

impl<T: Float> NullaryFnOnce for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (param, &update) in self.params.iter_mut().zip(self.updates) {
            *param = applied(*param, update);
        }
    }
}
