//! The ops: one file each, one element function each.
//!
//! An op is what happens to one element of the update. Everything else (blocks, threads, strides,
//! fusion into one loop) is made from that function, so each rounding stands in one place.

mod adam;
mod clip;
mod decayed_weights;
mod global_norm;
mod scale;
mod trace;

pub use adam::ScaleByAdam;
pub use clip::Clip;
pub use decayed_weights::AddDecayedWeights;
pub use global_norm::ClipByGlobalNorm;
pub use scale::Scale;
pub use trace::Trace;

use crate::dtype::Float;

/// What an op needs, as plain data.
#[derive(Debug, PartialEq, Eq)]
pub struct Meta {
    /// The name a program refers to.
    pub name: &'static str,
    /// The per-step numbers it takes, in order.
    pub scalars: &'static [&'static str],
    /// The state arrays it owns, in order.
    pub slots: &'static [&'static str],
    /// Whether it reads the parameters.
    pub params: bool,
    /// Whether it needs the global norm of the update that reaches it, which ends a pass.
    pub reduces: bool,
}

/// The arithmetic of an op on one element, with `N` state arrays.
pub trait Op<T: Float, const N: usize>: Copy + Send + Sync {
    /// Whether `element` looks at the parameter.
    const PARAMS: bool = false;

    /// The new update and the new state.
    fn element(&self, update: T, param: T, state: [T; N]) -> (T, [T; N]);
}

/// Constants of an op, rounded from f64 scalars. An op that reduces finds the norm behind its own.
pub trait FromScalars {
    /// Rounds each scalar once, after all arithmetic among scalars is done in f64.
    fn from_scalars(scalars: &[f64]) -> Self;
}

macro_rules! ops {
    ($($variant:ident: $type:ty, $slots:literal slots, $meta:expr;)*) => {
        /// All ops, in the order of [`Step`]'s variants.
        pub const OPS: &[Meta] = &[$($meta),*];

        /// An op with its constants for one step.
        #[derive(Clone, Copy, Debug)]
        pub enum Step<T> {
            $(#[allow(missing_docs, reason = "the op's own type says what it is")] $variant($type),)*
        }

        impl<T: Float> Step<T> {
            /// The step of the op at `index` in [`OPS`].
            ///
            /// # Panics
            /// If `index` is none of an op; a program holds valid ones only.
            #[must_use]
            pub fn new(index: usize, scalars: &[f64]) -> Self {
                let mut next = 0..;
                $(if next.next() == Some(index) {
                    return Self::$variant(<$type>::from_scalars(scalars));
                })*
                unreachable!("op {index} of {}", OPS.len())
            }

            /// Sends a block through the op.
            #[inline(always)]
            pub(crate) fn run(&self, update: &mut [T], params: &[T], slots: &mut [&mut [T]]) {
                match self {
                    $(Self::$variant(op) => each::<T, $slots, _>(op, update, params, slots),)*
                }
            }
        }
    };
}

ops! {
    Scale: Scale<T>, 0 slots, scale::META;
    Clip: Clip<T>, 0 slots, clip::META;
    ClipByGlobalNorm: ClipByGlobalNorm<T>, 0 slots, global_norm::META;
    AddDecayedWeights: AddDecayedWeights<T>, 0 slots, decayed_weights::META;
    ScaleByAdam: ScaleByAdam<T, false>, 2 slots, adam::META;
    ScaleByAdamNesterov: ScaleByAdam<T, true>, 2 slots, adam::NESTEROV;
    Trace: Trace<T, false>, 1 slots, trace::META;
    TraceNesterov: Trace<T, true>, 1 slots, trace::NESTEROV;
}

#[inline(always)]
fn each<T: Float, const N: usize, O: Op<T, N>>(
    op: &O,
    update: &mut [T],
    params: &[T],
    slots: &mut [&mut [T]],
) {
    let slots = columns::<T, N>(slots, update.len());
    if O::PARAMS {
        walk(update.iter_mut().zip(params), slots, |(update, &param), state| {
            let (new, state) = op.element(*update, param, state);
            *update = new;
            state
        });
    } else {
        walk(update.iter_mut(), slots, |update, state| {
            let (new, state) = op.element(*update, T::ZERO, state);
            *update = new;
            state
        });
    }
}

/// Replaces the elements of `slots` by what `function` makes of them and of the item beside them.
///
/// Zipped iterators, written out for each number of slots: with indices, the bounds checks that stay
/// behind would keep the last elements of each array out of the vectorised loop.
#[inline(always)]
pub(crate) fn walk<T: Float, I, const N: usize>(
    items: impl Iterator<Item = I>,
    slots: [&mut [T]; N],
    mut function: impl FnMut(I, [T; N]) -> [T; N],
) {
    let mut slots = slots.into_iter();
    match (slots.next(), slots.next(), slots.next()) {
        (None, ..) => {
            for item in items {
                function(item, [T::ZERO; N]);
            }
        }
        (Some(first), None, _) => {
            for (item, first) in items.zip(first) {
                *first = function(item, [*first; N])[0];
            }
        }
        (Some(first), Some(second), None) => {
            for ((item, first), second) in items.zip(first).zip(second) {
                let state =
                    function(item, std::array::from_fn(|k| if k == 0 { *first } else { *second }));
                (*first, *second) = (state[0], state[1]);
            }
        }
        _ => unreachable!("no op has more than two slots"),
    }
}

/// The first `N` slots, each cut to `n` elements.
#[inline(always)]
pub(crate) fn columns<'s, T, const N: usize>(
    slots: &'s mut [&mut [T]],
    n: usize,
) -> [&'s mut [T]; N] {
    let mut slots = slots.iter_mut();
    std::array::from_fn(|_| match slots.next() {
        Some(slot) => &mut slot[..n],
        None => unreachable!("the program counts each op's slots"),
    })
}
