//! Loops over arrays that differ in type: the combinations that networks are trained with.
//!
//! Any other combination is brought into dense blocks of the computing type, with the same bits; so is
//! float16, whose conversions are too long for compilers to vectorise inside such a loop.

use std::ops::Range;

use half::bf16;

use crate::convert::Element;
use crate::kernel::Kernel;
use crate::leaf::Leaf;
use crate::simd::Tier;

/// Adds the update to the parameters of `leaf`, whose arrays are computed in f32.
pub fn apply(
    kernel: &Kernel<f32>,
    tier: Tier,
    leaf: &mut Leaf<'_>,
    slots: &Range<usize>,
) -> Option<u32> {
    // Half precision with moments in single, then single with moments in half, then gradients alone in half.
    with::<bf16, bf16, f32>(kernel, tier, leaf, slots)
        .or_else(|| with::<f32, f32, bf16>(kernel, tier, leaf, slots))
        .or_else(|| with::<bf16, f32, f32>(kernel, tier, leaf, slots))
}

fn with<U: Element, P: Element, S: Element>(
    kernel: &Kernel<f32>,
    tier: Tier,
    leaf: &mut Leaf<'_>,
    slots: &Range<usize>,
) -> Option<u32> {
    kernel.apply_each(tier, &mut [leaf.mixed::<U, P, S>(slots.clone())?])
}
