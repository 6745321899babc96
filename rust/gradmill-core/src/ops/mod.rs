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
use crate::stride::whole;
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

    // The loops over memory. Arrays that are arguments of their own, and a length that is a multiple of a vector's,
    // spare them checks for overlap, a second loop for the rest, and registers for the constants of that. Arrays
    // of slots that the op has not are empty.

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

            /// Sends a block of whole strides through the op to another one; `others` is what it reads beside the
            /// update.
            pub(crate) fn run(
                &self,
                tier: Tier,
                from: &[T],
                others: &[T],
                to: &mut [T],
                slots: &mut [&mut [T]],
            ) {
                let mut slots = slots.iter_mut().map(|slot| &mut **slot);
                let mut next = |is_own: bool| is_own.then(|| slots.next()).flatten().unwrap_or_default();
                match self {
                    $(Self::$variant(op) => {
                        let (first, second) = (next($slots > 0), next($slots > 1));
                        tier.run(Each::<T, _, $slots> { op, from, others, to, first, second });
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
