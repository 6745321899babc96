//! Loops over arrays that differ in type: the combinations that networks are trained with.
//!
//! Any other combination is brought into dense blocks of the computing type, with the same bits; so is
//! float16, whose conversions are too long for compilers to vectorise inside such a loop.

use std::ops::Range;

use half::bf16;

use super::kernel::Kernel;
use crate::data::Leaf;
use crate::number::element::Element;
use crate::number::float::{Float, FloatTable};
use crate::sys::simd::Tier;

/// Adds the update to the parameters of `leaf`, whose arrays differ in type, where there is a loop for these types.
pub fn apply_mixed<T: Float>(
    kernel: &Kernel<T>,
    tier: Tier,
    leaf: &mut Leaf<'_>,
    slots: &Range<usize>,
) -> Option<T::Bits> {
    T::select_float(MixedLoops)(kernel, tier, leaf, slots)
}

type ApplyMixed<T> =
    fn(&Kernel<T>, Tier, &mut Leaf<'_>, &Range<usize>) -> Option<<T as Float>::Bits>;

/// The loops for leaves that are computed in a type.
struct MixedLoops;

impl FloatTable for MixedLoops {
    type Of<T: Float> = ApplyMixed<T>;

    #[inline(always)]
    fn f32(self) -> ApplyMixed<f32> {
        apply_single
    }
    #[inline(always)]
    fn f64(self) -> ApplyMixed<f64> {
        |_, _, _, _| None
    }
}

fn apply_single(
    kernel: &Kernel<f32>,
    tier: Tier,
    leaf: &mut Leaf<'_>,
    slots: &Range<usize>,
) -> Option<u32> {
    // Half precision with moments in single, then single with moments in half, then gradients alone in half.
    with::<bf16, bf16, f32>(kernel, tier, leaf, slots)
        .or_else(|| with::<f32, f32, bf16>(kernel, tier, leaf, slots))
        .or_else(|| with::<bf16, f32, f32>(kernel, tier, leaf, slots))
        .or_else(|| with_codes::<f32, f32>(kernel, tier, leaf, slots))
        .or_else(|| with_codes::<bf16, bf16>(kernel, tier, leaf, slots))
        .or_else(|| with_codes::<bf16, f32>(kernel, tier, leaf, slots))
}

fn with_codes<U: Element, P: Element>(
    kernel: &Kernel<f32>,
    tier: Tier,
    leaf: &mut Leaf<'_>,
    slots: &Range<usize>,
) -> Option<u32> {
    kernel.apply_coded(tier, leaf.coded::<U, P>(slots.clone())?)
}

fn with<U: Element, P: Element, S: Element>(
    kernel: &Kernel<f32>,
    tier: Tier,
    leaf: &mut Leaf<'_>,
    slots: &Range<usize>,
) -> Option<u32> {
    kernel.apply_each(tier, &mut [leaf.mixed::<U, P, S>(slots.clone())?])
}
