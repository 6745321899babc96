//! The loops over memory that element functions of ops become.

use pulp::NullaryFnOnce;

use super::stride::whole;
use crate::number::element::Element;
use crate::number::float::Float;
use crate::ops::{AnyOp, Beside, Op, Visitor};
use crate::sys::simd::Tier;

/// Most slots that an op has.
pub const SLOTS: usize = 6;

/// What loops know of slots: a slice of each that the op has, and empty ones.
pub type OwnSlots<S> = [S; SLOTS];

/// The first `N` of `slots`, as loops take them.
#[inline(always)]
pub fn own_slots<const N: usize, S: Default>(slots: impl Iterator<Item = S>) -> OwnSlots<S> {
    const { assert!(N <= SLOTS, "loops have an argument for each slot") };
    let mut slots = slots.take(N);
    std::array::from_fn(|_| slots.next().unwrap_or_default())
}

/// How many elements of a slot there are, by its position among `slots`.
#[inline(always)]
const fn len_of(slots: usize, slot: usize, len: usize) -> usize {
    if slot < slots { len } else { 0 }
}

/// The first `N`.
#[inline(always)]
fn own<T: Float, const N: usize>(all: OwnSlots<T>) -> [T; N] {
    let mut own = [T::ZERO; N];
    own.copy_from_slice(&all[..N]);
    own
}

/// What is behind a slice that is read, or nothing.
#[inline(always)]
fn read<T: Float>(is_read: bool, values: &[T], at: usize) -> T {
    if is_read { values[at] } else { T::ZERO }
}

macro_rules! loops {
    ($($slot:ident $old:ident $number:literal)*) => {
        /// The loops of an op.
        pub trait Loops<T: Float, const N: usize>: Op<T, N> {
            // Arrays that are arguments of their own, and a length that is a multiple of a vector's, spare the loops checks
            // for overlap, a second loop for the rest, and registers for the constants of that. Arrays of slots that the op
            // has not are empty.

            /// Adds the updates to the parameters, as many of them as make whole strides, and replaces the slots. What comes
            /// back tells whether an incoming update was not finite.
            #[inline(always)]
            #[expect(clippy::too_many_arguments, reason = "arrays that are arguments cannot overlap")]
            fn apply<U: Element, P: Element, S: Element>(
                &self,
                updates: &[U],
                params: &mut [P],
                $($slot: &mut [S],)*
            ) -> T::Bits {
                let (op, len) = (*self, whole(updates.len()));
                let (updates, params) = (&updates[..len], &mut params[..len]);
                $(let $slot = &mut $slot[..len_of(N, $number, len)];)*
                let mut bad = T::Bits::default();
                for at in 0..len {
                    let (update, param) = (T::load(updates[at]), T::load(params[at]));
                    bad |= update.nonfinite();
                    let old = own([$(if N > $number { T::load($slot[at]) } else { T::ZERO }),*]);
                    let (update, new) =
                        op.element(update, Beside { param, ..Beside::default() }, old);
                    params[at] = param.updated(update).store();
                    $(if N > $number {
                        $slot[at] = new[$number].store();
                    })*
                }
                bad
            }

            /// Sends updates through the op, as many of them as make whole strides, to other memory, and replaces the slots.
            #[inline(always)]
            #[expect(clippy::too_many_arguments, reason = "arrays that are arguments cannot overlap")]
            fn each(
                &self,
                updates: &[T],
                params: &[T],
                numbers: &[T],
                normals: &[T],
                to: &mut [T],
                $($slot: &mut [T],)*
            ) {
                let (op, len) = (*self, whole(updates.len()));
                let (updates, to) = (&updates[..len], &mut to[..len]);
                let params = &params[..if Self::READS.param { len } else { 0 }];
                let numbers = &numbers[..if Self::READS.number { len } else { 0 }];
                let normals = &normals[..if Self::READS.normal { len } else { 0 }];
                $(let $slot = &mut $slot[..len_of(N, $number, len)];)*
                for at in 0..len {
                    let beside = Beside {
                        param: read(Self::READS.param, params, at),
                        number: read(Self::READS.number, numbers, at),
                        normal: read(Self::READS.normal, normals, at),
                    };
                    let old = own([$(if N > $number { $slot[at] } else { T::ZERO }),*]);
                    let (update, new) = op.element(updates[at], beside, old);
                    to[at] = update;
                    $(if N > $number {
                        $slot[at] = new[$number];
                    })*
                }
            }

            /// Sends updates through the op, as many of them as make whole strides, from old slots to new ones. What comes
            /// back tells whether an incoming update was not finite.
            #[inline(always)]
            #[expect(clippy::too_many_arguments, reason = "slots are arguments of their own")]
            fn across(
                &self,
                updates: &[T],
                params: &[T],
                out: &mut [T],
                $($old: &[T],)*
                $($slot: &mut [T],)*
            ) -> T::Bits {
                let (op, len) = (*self, whole(updates.len()));
                let (updates, out) = (&updates[..len], &mut out[..len]);
                let params = &params[..if Self::READS.param { len } else { 0 }];
                $(let $old = &$old[..len_of(N, $number, len)];
                let $slot = &mut $slot[..len_of(N, $number, len)];)*
                let mut bad = T::Bits::default();
                for at in 0..len {
                    let update = updates[at];
                    bad |= update.nonfinite();
                    let param = read(Self::READS.param, params, at);
                    let old = own([$(if N > $number { $old[at] } else { T::ZERO }),*]);
                    let (update, new) =
                        op.element(update, Beside { param, ..Beside::default() }, old);
                    out[at] = update;
                    $(if N > $number {
                        $slot[at] = new[$number];
                    })*
                }
                bad
            }

            /// [`Loops::apply`] with the slots in a row.
            #[inline(always)]
            fn apply_all<U: Element, P: Element, S: Element>(
                &self,
                updates: &[U],
                params: &mut [P],
                [$($slot),*]: OwnSlots<&mut [S]>,
            ) -> T::Bits {
                self.apply(updates, params, $($slot),*)
            }

            /// [`Loops::each`] with the slots in a row.
            #[inline(always)]
            fn each_of_all(
                &self,
                updates: &[T],
                Beside { param, number, normal }: Beside<&[T]>,
                to: &mut [T],
                [$($slot),*]: OwnSlots<&mut [T]>,
            ) {
                self.each(updates, param, number, normal, to, $($slot),*);
            }

            /// [`Loops::across`] with the slots in a row.
            #[inline(always)]
            fn across_all(
                &self,
                updates: &[T],
                params: &[T],
                out: &mut [T],
                [$($old),*]: OwnSlots<&[T]>,
                [$($slot),*]: OwnSlots<&mut [T]>,
            ) -> T::Bits {
                self.across(updates, params, out, $($old,)* $($slot),*)
            }
        }
    };
}

loops! { a old_a 0 b old_b 1 c old_c 2 d old_d 3 e old_e 4 f old_f 5 }

impl<T: Float, O: Op<T, N>, const N: usize> Loops<T, N> for O {}

/// Sends a block of whole strides through the op of `step` to another one.
pub fn run_step<T: Float>(
    step: &AnyOp<T>,
    tier: Tier,
    from: &[T],
    beside: Beside<&[T]>,
    to: &mut [T],
    slots: &mut [&mut [T]],
) {
    step.visit(RunStep { tier, from, beside, to, slots });
}

/// What a block needs to be sent through an op.
struct RunStep<'k, 's, T> {
    tier: Tier,
    from: &'k [T],
    beside: Beside<&'k [T]>,
    to: &'k mut [T],
    slots: &'k mut [&'s mut [T]],
}

impl<T: Float> Visitor<T> for RunStep<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) {
        let Self { tier, from, beside, to, slots } = self;
        let slots = own_slots::<N, _>(slots.iter_mut().map(|slot| &mut **slot));
        tier.run(Each::<T, _, N> { op, from, beside, to, slots });
    }
}

/// An op alone over a block.
struct Each<'k, T, O, const N: usize> {
    op: &'k O,
    from: &'k [T],
    beside: Beside<&'k [T]>,
    to: &'k mut [T],
    slots: OwnSlots<&'k mut [T]>,
}

impl<T: Float, O: Op<T, N>, const N: usize> NullaryFnOnce for Each<'_, T, O, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { op, from, beside, to, slots } = self;
        op.each_of_all(from, beside, to, slots);
    }
}
