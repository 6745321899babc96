//! What is made from the list of ops: their modules, [`Meta`](super::Meta), and an op that may be any of them.

use super::op::{FromScalars, MomentVisitor, Op, Visitor};
use crate::number::float::Float;

/// The list of ops: for each file its ops; for each op a variant, its type, what it needs, and, where a superinstruction may
/// have it as its moment, `fused` and how often chains do.
macro_rules! ops {
    ($($module:ident { $($variant:ident: $type:ty, $meta:path $(, fused $often:ident)?;)* })*) => {
        $(mod $module;
        #[allow(clippy::wildcard_imports, reason = "what the rows name, they need not name twice")]
        pub(crate) use $module::*;)*

        /// All ops, in the order of [`AnyOp`]'s variants.
        pub const OPS: &[Meta] = &[$($($meta),*),*];

        /// An op with its constants for one step.
        #[derive(Clone, Copy, Debug)]
        pub enum AnyOp<T> {
            $($(#[allow(missing_docs, reason = "the op's own type says what it is")] $variant($type),)*)*
        }

        impl<T: Float> AnyOp<T> {
            /// What each op looks at, in the order of [`OPS`].
            const READS: &[Reads] = &[$($(<$type as Op<T, { $meta.slots.len() }>>::READS),*),*];

            /// The step of the op at `index` in [`OPS`].
            ///
            /// # Panics
            /// If `index` is none of an op, or there are not as many scalars as it takes; a program holds neither.
            #[must_use]
            pub fn new(index: usize, scalars: &[f64]) -> Self {
                let mut next = 0..;
                $($(if next.next() == Some(index) {
                    return Self::$variant(list::made::<{ $meta.numbers() }, _>(scalars));
                })*)*
                unreachable!("op {index} of {}", OPS.len())
            }

            /// What the op at `index` in [`OPS`] looks at beside the update and its slots.
            pub(crate) fn reads_of(index: usize) -> Reads {
                Self::READS[index]
            }

            /// Calls `visitor` with the op.
            #[inline(always)]
            pub(crate) fn visit<V: Visitor<T>>(&self, visitor: V) -> V::Output {
                match self {
                    $($(Self::$variant(op) => visitor.visit::<{ $meta.slots.len() }, _>(op),)*)*
                }
            }

            /// How often chains have it as the moment of a superinstruction, where its constants let it be one.
            #[allow(unused_variables, reason = "most ops are no moment")]
            pub(crate) fn moment(&self) -> Option<Frequency> {
                match self {
                    $($(Self::$variant(op) => list::moment!($($often)?; list::is_moment::<T, { $meta.slots.len() }>(op)
                        .then_some(Frequency::$($often)?)),)*)*
                }
            }

            /// Calls `visitor` with what stands for the op in a superinstruction, where `visitor` asks for one that is
            /// met as often.
            #[inline]
            #[allow(unused_variables, reason = "most ops are no moment")]
            pub(crate) fn visit_moment<V: MomentVisitor<T>>(&self, visitor: V) -> Option<V::Output> {
                match self {
                    $($(Self::$variant(op) => list::moment!($($often)?; {
                        const FREQUENCY: u8 = Frequency::$($often)? as u8;
                        if FREQUENCY < V::LEAST as u8 {
                            return None;
                        }
                        Op::<T, { $meta.slots.len() }>::in_registers(op, list::Moment::<_, FREQUENCY>(visitor))
                    }),)*)*
                }
            }

            /// How many slots it has.
            pub(crate) fn slots(&self) -> usize {
                match self {
                    $($(Self::$variant(_) => $meta.slots.len(),)*)*
                }
            }

            /// See [`Op::as_factor`].
            pub(crate) fn as_factor(&self) -> Option<T> {
                match self {
                    $($(Self::$variant(op) => Op::<T, { $meta.slots.len() }>::as_factor(op),)*)*
                }
            }

            /// See [`Op::as_factor_with`].
            pub(crate) fn as_factor_with(&self, number: T) -> Option<T> {
                match self {
                    $($(Self::$variant(op) => Op::<T, { $meta.slots.len() }>::as_factor_with(op, number),)*)*
                }
            }

            /// See [`Op::gives_zero`].
            pub(crate) fn gives_zero(&self) -> bool {
                match self {
                    $($(Self::$variant(op) => Op::<T, { $meta.slots.len() }>::gives_zero(op),)*)*
                }
            }

            /// See [`Op::keeps_zero`].
            pub(crate) fn keeps_zero(&self) -> bool {
                match self {
                    $($(Self::$variant(op) => Op::<T, { $meta.slots.len() }>::keeps_zero(op),)*)*
                }
            }

            /// See [`Op::keeps_finite`].
            pub(crate) fn keeps_finite(&self) -> bool {
                match self {
                    $($(Self::$variant(op) => Op::<T, { $meta.slots.len() }>::keeps_finite(op),)*)*
                }
            }

            /// What it looks at beside the update and its slots.
            #[inline(always)]
            pub(crate) fn reads(&self) -> Reads {
                match self {
                    $($(Self::$variant(_) => <$type as Op<T, { $meta.slots.len() }>>::READS,)*)*
                }
            }
        }
    };
}

/// What comes behind the frequency of an op, which is no moment where it has none.
macro_rules! moment {
    (; $($code:tt)*) => { None };
    ($often:ident; $($code:tt)*) => { $($code)* };
}

/// The ops with one slot that may end a superinstruction, each with the moments, and what these need, that it has loops for;
/// it has some without a moment as well.
macro_rules! tails {
    ($($tail:ident behind $($moment:ident $meta:ident),*;)*) => {
        impl<T: Float> AnyOp<T> {
            /// Whether it may end a superinstruction with this moment.
            pub(crate) fn ends(&self, moment: Option<&Self>) -> bool {
                match (self, moment) {
                    $((Self::$tail(_), None) => true,
                    $((Self::$tail(_), Some(Self::$moment(_))) => true,)*)*
                    _ => false,
                }
            }

            /// Calls `visitor` with it and the moment of a superinstruction that it ends.
            #[inline]
            pub(crate) fn visit_tail<V: TailVisitor<T>>(
                &self,
                moment: Option<&Self>,
                visitor: V,
            ) -> Option<V::Output> {
                match (self, moment) {
                    $((Self::$tail(tail), None) => Some(visitor.visit_tail::<0, 1, _, _>(&Nothing, tail)),
                    $((Self::$tail(tail), Some(Self::$moment(moment))) => {
                        const SLOTS: usize = $meta.slots.len();
                        Some(visitor.visit_tail::<SLOTS, { SLOTS + 1 }, _, _>(moment, tail))
                    })*)*
                    _ => None,
                }
            }
        }
    };
}

pub(super) use {moment, ops, tails};

/// An op of these scalars.
pub(super) fn made<const K: usize, O: FromScalars<K>>(scalars: &[f64]) -> O {
    match scalars.try_into() {
        Ok(scalars) => O::from_scalars(scalars),
        Err(_) => unreachable!("the program counts each op's scalars"),
    }
}

/// Whether something stands for the op in a superinstruction.
pub(super) fn is_moment<T: Float, const N: usize>(op: &impl Op<T, N>) -> bool {
    op.in_registers(Ignore).is_some()
}

struct Ignore;

impl<T: Float> Visitor<T> for Ignore {
    type Output = ();

    fn visit<const N: usize, O: Op<T, N>>(self, _: &O) {}
}

/// Hands a moment on, with its frequency.
pub(super) struct Moment<V, const FREQUENCY: u8>(pub V);

impl<T: Float, V: MomentVisitor<T>, const FREQUENCY: u8> Visitor<T> for Moment<V, FREQUENCY> {
    type Output = V::Output;

    #[inline(always)]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> V::Output {
        self.0.visit_moment::<FREQUENCY, N, O>(op)
    }
}
