//! The ops: one file each, one element function each.
//!
//! An op is what happens to one element of the update. Everything else (blocks, threads, strides,
//! fusion into one loop) is made from that function, so each rounding stands in one place.

mod accumulate;
mod adam;
mod clip;
mod decayed_weights;
mod ema;
mod global_norm;
mod noise;
mod nonnegative;
mod rms;
mod scale;
mod trace;
mod unitwise;
mod zero;

pub use accumulate::{ApplyEvery, MultiSteps};
pub use adam::ScaleByAdam;
pub use clip::Clip;
pub use decayed_weights::AddDecayedWeights;
pub use ema::Ema;
pub use global_norm::{ClipByGlobalNorm, NormalizeByUpdateNorm};
pub use noise::AddNoise;
pub use nonnegative::KeepParamsNonnegative;
pub use rms::{ScaleByRms, ScaleByStddev};
pub use scale::Scale;
pub use trace::Trace;
pub use unitwise::{MinusNumber, TimesNumber};
pub use zero::{SetToZero, ZeroNans};

use pulp::NullaryFnOnce;

use crate::convert::Element;
use crate::dtype::Float;
use crate::simd::Tier;
use crate::units::UnitRule;

/// What an op needs, as plain data.
#[derive(Debug)]
pub struct Meta {
    /// The name a program refers to.
    pub name: &'static str,
    /// The per-step numbers it takes, in order.
    pub scalars: &'static [&'static str],
    /// The state arrays it owns, in order.
    pub slots: &'static [&'static str],
    /// Whether it reads the parameters.
    pub params: bool,
    /// What it has to know of the update that reaches it, as a whole; this ends a pass.
    pub reduce: Reduce,
}

/// Something that is known only when a walk over the update is done.
#[derive(Clone, Copy, Debug)]
pub enum Reduce {
    /// Nothing.
    None,
    /// The norm of all leaves together; the op finds it behind its scalars.
    Norm,
    /// A number for each unit of each leaf.
    Units(UnitRule),
    /// Whether each element of all leaves is finite, which decides on the ops that this one governs.
    Finite,
    /// Whether a leaf has a NaN, for the caller.
    Nans,
}

impl Reduce {
    /// Whether there is anything to be known.
    #[must_use]
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }
}

/// What `element` is handed beside the update and the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Nothing that it looks at.
    Nothing,
    /// The parameter.
    Params,
    /// The number of the element's unit.
    Number,
    /// A normally distributed number.
    Normal,
}

/// The arithmetic of an op on one element, with `N` state arrays.
pub trait Op<T: Float, const N: usize>: Copy + Send + Sync {
    /// What the second argument of `element` is.
    const READS: Reads = Reads::Nothing;

    /// The new update and the new state.
    fn element(&self, update: T, other: T, state: [T; N]) -> (T, [T; N]);

    /// Whether each update that leaves is zero, whatever comes.
    fn gives_zero(&self) -> bool {
        false
    }

    /// Whether an update of zero leaves as zero.
    fn keeps_zero(&self) -> bool {
        false
    }

    /// Whether a finite update leaves as a finite one.
    fn keeps_finite(&self) -> bool {
        false
    }
}

/// Constants of an op, rounded from f64 scalars.
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

            /// Sends a block through the op; `others` is what it reads beside the update.
            pub(crate) fn run(
                &self,
                tier: Tier,
                update: &mut [T],
                others: &[T],
                slots: &mut [&mut [T]],
            ) {
                match self {
                    $(Self::$variant(op) => {
                        let slots = columns::<T, $slots>(slots, update.len());
                        tier.run(Each { op, update, others, slots });
                    })*
                }
            }

            /// Whether it has state.
            pub(crate) fn has_slots(&self) -> bool {
                match self {
                    $(Self::$variant(_) => $slots > 0,)*
                }
            }

            /// See [`Op::gives_zero`].
            pub(crate) fn gives_zero(&self) -> bool {
                match self {
                    $(Self::$variant(op) => Op::<T, $slots>::gives_zero(op),)*
                }
            }

            /// See [`Op::keeps_zero`].
            pub(crate) fn keeps_zero(&self) -> bool {
                match self {
                    $(Self::$variant(op) => Op::<T, $slots>::keeps_zero(op),)*
                }
            }

            /// See [`Op::keeps_finite`].
            pub(crate) fn keeps_finite(&self) -> bool {
                match self {
                    $(Self::$variant(op) => Op::<T, $slots>::keeps_finite(op),)*
                }
            }

            /// What it reads beside the update and its slots.
            #[inline(always)]
            pub(crate) fn reads(&self) -> Reads {
                match self {
                    $(Self::$variant(_) => <$type as Op<T, $slots>>::READS,)*
                }
            }
        }
    };
}

ops! {
    Scale: Scale<T>, 0 slots, scale::META;
    Clip: Clip<T>, 0 slots, clip::META;
    ClipByGlobalNorm: ClipByGlobalNorm<T>, 0 slots, global_norm::CLIP;
    NormalizeByUpdateNorm: NormalizeByUpdateNorm<T>, 0 slots, global_norm::NORMALIZE;
    ClipByBlockRms: TimesNumber, 0 slots, unitwise::BLOCK_RMS;
    AdaptiveGradClip: TimesNumber, 0 slots, unitwise::ADAPTIVE_CLIP;
    ScaleByTrustRatio: TimesNumber, 0 slots, unitwise::TRUST_RATIO;
    Centralize: MinusNumber, 0 slots, unitwise::CENTRALIZE;
    AddDecayedWeights: AddDecayedWeights<T>, 0 slots, decayed_weights::META;
    AddNoise: AddNoise<T>, 0 slots, noise::META;
    KeepParamsNonnegative: KeepParamsNonnegative, 0 slots, nonnegative::META;
    SetToZero: SetToZero, 0 slots, zero::ALL;
    ZeroNans: ZeroNans, 0 slots, zero::NANS;
    ApplyIfFinite: SetToZero, 0 slots, zero::UNLESS_FINITE;
    ScaleByAdam: ScaleByAdam<T, false>, 2 slots, adam::META;
    ScaleByAdamNesterov: ScaleByAdam<T, true>, 2 slots, adam::NESTEROV;
    ScaleByRms: ScaleByRms<T>, 1 slots, rms::META;
    ScaleByStddev: ScaleByStddev<T>, 2 slots, rms::STDDEV;
    Trace: Trace<T, false>, 1 slots, trace::META;
    TraceNesterov: Trace<T, true>, 1 slots, trace::NESTEROV;
    Ema: Ema<T>, 1 slots, ema::META;
    ApplyEvery: ApplyEvery, 1 slots, accumulate::EVERY;
    MultiStepsSum: MultiSteps<T, false>, 1 slots, accumulate::SUM;
    MultiStepsMean: MultiSteps<T, true>, 1 slots, accumulate::MEAN;
}

/// An op alone over a block.
struct Each<'k, T, O, const N: usize> {
    op: &'k O,
    update: &'k mut [T],
    others: &'k [T],
    slots: [&'k mut [T]; N],
}

impl<T: Float, O: Op<T, N>, const N: usize> NullaryFnOnce for Each<'_, T, O, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { op, update, others, slots } = self;
        let op = *op;
        if O::READS == Reads::Nothing {
            walk(update.iter_mut(), slots, |update, state| {
                let (new, state) = op.element(*update, T::ZERO, state);
                *update = new;
                state
            });
        } else {
            walk(update.iter_mut().zip(others), slots, |(update, &other), state| {
                let (new, state) = op.element(*update, other, state);
                *update = new;
                state
            });
        }
    }
}

/// The elements of a slot, to be replaced.
pub(crate) trait Column<T> {
    /// One of them.
    type Cell: Cell<T>;
    /// All of them.
    fn cells(self) -> impl Iterator<Item = Self::Cell>;
}

/// An element of a slot.
pub(crate) trait Cell<T> {
    /// Its value before.
    fn old(&self) -> T;
    /// Its value from now on.
    fn put(self, new: T);
}

impl<'a, T: Float, S: Element> Column<T> for &'a mut [S] {
    type Cell = &'a mut S;

    #[inline(always)]
    fn cells(self) -> impl Iterator<Item = Self::Cell> {
        self.iter_mut()
    }
}

impl<T: Float, S: Element> Cell<T> for &mut S {
    #[inline(always)]
    fn old(&self) -> T {
        T::load(**self)
    }

    #[inline(always)]
    fn put(self, new: T) {
        *self = new.store();
    }
}

/// From old elements to new ones.
impl<'a, T: Float> Column<T> for (&'a [T], &'a mut [T]) {
    type Cell = (&'a T, &'a mut T);

    #[inline(always)]
    fn cells(self) -> impl Iterator<Item = Self::Cell> {
        self.0.iter().zip(self.1)
    }
}

impl<T: Float> Cell<T> for (&T, &mut T) {
    #[inline(always)]
    fn old(&self) -> T {
        *self.0
    }

    #[inline(always)]
    fn put(self, new: T) {
        *self.1 = new;
    }
}

/// Replaces the elements of `slots` by what `function` makes of them and of the item beside them.
///
/// Zipped iterators, written out for each number of slots: with indices, the bounds checks that stay
/// behind would keep the last elements of each array out of the vectorised loop.
#[inline(always)]
pub(crate) fn walk<T: Float, C: Column<T>, I, const N: usize>(
    items: impl Iterator<Item = I>,
    slots: [C; N],
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
            for (item, first) in items.zip(first.cells()) {
                let state = function(item, [first.old(); N]);
                first.put(state[0]);
            }
        }
        (Some(first), Some(second), None) => {
            for ((item, first), second) in items.zip(first.cells()).zip(second.cells()) {
                let old = [first.old(), second.old()];
                let state = function(item, std::array::from_fn(|slot| old[slot]));
                first.put(state[0]);
                second.put(state[1]);
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
