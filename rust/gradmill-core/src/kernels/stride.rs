//! Strides: what loops over memory are made of, so that none has a second loop for the rest.

use crate::number::element::Element;

/// Elements that the unrolled loop of the widest instruction set takes at once. What is left over at the end of an
/// array is padded to this length, so that the same loop runs over it and small leaves are not slow.
pub const STRIDE: usize = 64;

/// How many elements of so many make whole strides.
#[inline(always)]
pub const fn whole(len: usize) -> usize {
    len / STRIDE * STRIDE
}

/// What is left over of an array that is cut into strides, with zeros behind.
pub fn pad<E: Element>(tail: &[E]) -> [E; STRIDE] {
    let mut padded = [E::default(); STRIDE];
    padded[..tail.len()].copy_from_slice(tail);
    padded
}
