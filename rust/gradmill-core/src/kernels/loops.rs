//! The loops over memory that element functions of ops become.

use pulp::NullaryFnOnce;

use super::stride::whole;
use crate::number::element::Element;
use crate::number::float::Float;
use crate::ops::{AnyOp, Op, Reads, Visitor};
use crate::sys::simd::Tier;

/// The loops of an op.
pub trait Loops<T: Float, const N: usize>: Op<T, N> {
    // Arrays that are arguments of their own, and a length that is a multiple of a vector's, spare the loops checks for
    // overlap, a second loop for the rest, and registers for the constants of that. Arrays of slots that the op has not
    // are empty.

    /// Adds the updates to the parameters, as many of them as make whole strides, and replaces the slots. What comes
    /// back tells whether an incoming update was not finite.
    #[inline(always)]
    fn apply<U: Element, P: Element, S: Element>(
        &self,
        updates: &[U],
        params: &mut [P],
        first: &mut [S],
        second: &mut [S],
    ) -> T::Bits {
        let (op, len) = (*self, whole(updates.len()));
        let (updates, params) = (&updates[..len], &mut params[..len]);
        let (first, second) = (&mut first[..len_of(N, 0, len)], &mut second[..len_of(N, 1, len)]);
        let mut bad = T::Bits::default();
        for at in 0..len {
            let (update, param) = (T::load(updates[at]), T::load(params[at]));
            bad |= update.nonfinite();
            let old = if N > 0 { T::load(first[at]) } else { T::ZERO };
            let other = if N > 1 { T::load(second[at]) } else { T::ZERO };
            let (update, state) = op.element(update, param, both(old, other));
            params[at] = param.updated(update).store();
            if N > 0 {
                first[at] = state[0].store();
            }
            if N > 1 {
                second[at] = state[1].store();
            }
        }
        bad
    }

    /// Sends updates through the op, as many of them as make whole strides, to other memory, and replaces the slots.
    #[inline(always)]
    fn each(&self, from: &[T], others: &[T], to: &mut [T], first: &mut [T], second: &mut [T]) {
        let (op, len) = (*self, whole(from.len()));
        let reads = Self::READS != Reads::Nothing;
        let (from, to) = (&from[..len], &mut to[..len]);
        let others = &others[..if reads { len } else { 0 }];
        let (first, second) = (&mut first[..len_of(N, 0, len)], &mut second[..len_of(N, 1, len)]);
        for at in 0..len {
            let other = if reads { others[at] } else { T::ZERO };
            let old = if N > 0 { first[at] } else { T::ZERO };
            let older = if N > 1 { second[at] } else { T::ZERO };
            let (update, state) = op.element(from[at], other, both(old, older));
            to[at] = update;
            if N > 0 {
                first[at] = state[0];
            }
            if N > 1 {
                second[at] = state[1];
            }
        }
    }

    /// Sends updates through the op, as many of them as make whole strides, from old slots to new ones. What comes
    /// back tells whether an incoming update was not finite.
    #[inline(always)]
    fn across(
        &self,
        updates: &[T],
        params: &[T],
        out: &mut [T],
        old: (&[T], &[T]),
        first: &mut [T],
        second: &mut [T],
    ) -> T::Bits {
        let (op, len) = (*self, whole(updates.len()));
        let reads = Self::READS == Reads::Params;
        let (updates, out) = (&updates[..len], &mut out[..len]);
        let params = &params[..if reads { len } else { 0 }];
        let old = (&old.0[..len_of(N, 0, len)], &old.1[..len_of(N, 1, len)]);
        let (first, second) = (&mut first[..len_of(N, 0, len)], &mut second[..len_of(N, 1, len)]);
        let mut bad = T::Bits::default();
        for at in 0..len {
            let update = updates[at];
            bad |= update.nonfinite();
            let param = if reads { params[at] } else { T::ZERO };
            let one = if N > 0 { old.0[at] } else { T::ZERO };
            let other = if N > 1 { old.1[at] } else { T::ZERO };
            let (update, state) = op.element(update, param, both(one, other));
            out[at] = update;
            if N > 0 {
                first[at] = state[0];
            }
            if N > 1 {
                second[at] = state[1];
            }
        }
        bad
    }
}

impl<T: Float, O: Op<T, N>, const N: usize> Loops<T, N> for O {}

/// Sends a block of whole strides through the op of `step` to another one; `others` is what it reads beside the
/// update.
pub fn run_step<T: Float>(
    step: &AnyOp<T>,
    tier: Tier,
    from: &[T],
    others: &[T],
    to: &mut [T],
    slots: &mut [&mut [T]],
) {
    step.visit(RunStep { tier, from, others, to, slots });
}

/// What a block needs to be sent through an op.
struct RunStep<'k, 's, T> {
    tier: Tier,
    from: &'k [T],
    others: &'k [T],
    to: &'k mut [T],
    slots: &'k mut [&'s mut [T]],
}

impl<T: Float> Visitor<T> for RunStep<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) {
        let Self { tier, from, others, to, slots } = self;
        let mut slots = slots.iter_mut().map(|slot| &mut **slot);
        let mut next = |is_own: bool| is_own.then(|| slots.next()).flatten().unwrap_or_default();
        let (first, second) = (next(N > 0), next(N > 1));
        tier.run(Each::<T, _, N> { op, from, others, to, first, second });
    }
}

/// How many elements of a slot there are, by its position among `slots`.
#[inline(always)]
const fn len_of(slots: usize, slot: usize, len: usize) -> usize {
    assert!(slots <= 2, "a loop has two slots");
    if slot < slots { len } else { 0 }
}

/// As many of the two as there are slots.
#[inline(always)]
fn both<T: Copy, const N: usize>(first: T, second: T) -> [T; N] {
    std::array::from_fn(|slot| if slot == 0 { first } else { second })
}

/// An op alone over a block.
struct Each<'k, T, O, const N: usize> {
    op: &'k O,
    from: &'k [T],
    others: &'k [T],
    to: &'k mut [T],
    first: &'k mut [T],
    second: &'k mut [T],
}

impl<T: Float, O: Op<T, N>, const N: usize> NullaryFnOnce for Each<'_, T, O, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { op, from, others, to, first, second } = self;
        op.each(from, others, to, first, second);
    }
}
