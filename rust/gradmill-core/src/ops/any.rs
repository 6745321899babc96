//! The list of ops, and an op that may be any of them.

use super::accumulate::{ApplyEvery, MultiSteps};
use super::adam::ScaleByAdam;
use super::clip::Clip;
use super::decayed_weights::AddDecayedWeights;
use super::ema::Ema;
use super::global_norm::{ClipByGlobalNorm, NormalizeByUpdateNorm};
use super::noise::AddNoise;
use super::nonnegative::KeepParamsNonnegative;
use super::op::{FromScalars, Meta, Op, Reads, Visitor};
use super::rms::{ScaleByRms, ScaleByStddev};
use super::scale::Scale;
use super::trace::Trace;
use super::unitwise::{MinusNumber, TimesNumber};
use super::zero::{SetToZero, ZeroNans};
use super::{
    accumulate, adam, clip, decayed_weights, ema, global_norm, noise, nonnegative, rms, scale,
    trace, unitwise, zero,
};
use crate::number::float::Float;

macro_rules! ops {
    ($($variant:ident: $type:ty, $slots:literal slots, $meta:expr;)*) => {
        /// All ops, in the order of [`AnyOp`]'s variants.
        pub const OPS: &[Meta] = &[$($meta),*];

        /// An op with its constants for one step.
        #[derive(Clone, Copy, Debug)]
        pub enum AnyOp<T> {
            $(#[allow(missing_docs, reason = "the op's own type says what it is")] $variant($type),)*
        }

        impl<T: Float> AnyOp<T> {
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

            /// Calls `visitor` with the op.
            #[inline(always)]
            pub(crate) fn visit<V: Visitor<T>>(&self, visitor: V) -> V::Output {
                match self {
                    $(Self::$variant(op) => visitor.visit::<$slots, _>(op),)*
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
    Scale: Scale<T>, 0 slots, scale::SCALE;
    Clip: Clip<T>, 0 slots, clip::CLIP;
    ClipByGlobalNorm: ClipByGlobalNorm<T>, 0 slots, global_norm::CLIP_BY_GLOBAL_NORM;
    NormalizeByUpdateNorm: NormalizeByUpdateNorm<T>, 0 slots, global_norm::NORMALIZE_BY_UPDATE_NORM;
    ClipByBlockRms: TimesNumber, 0 slots, unitwise::BLOCK_RMS;
    AdaptiveGradClip: TimesNumber, 0 slots, unitwise::ADAPTIVE_CLIP;
    ScaleByTrustRatio: TimesNumber, 0 slots, unitwise::TRUST_RATIO;
    Centralize: MinusNumber, 0 slots, unitwise::CENTRALIZE;
    AddDecayedWeights: AddDecayedWeights<T>, 0 slots, decayed_weights::DECAYED_WEIGHTS;
    AddNoise: AddNoise<T>, 0 slots, noise::NOISE;
    KeepParamsNonnegative: KeepParamsNonnegative, 0 slots, nonnegative::KEEP_NONNEGATIVE;
    SetToZero: SetToZero, 0 slots, zero::ALL;
    ZeroNans: ZeroNans, 0 slots, zero::NANS;
    ApplyIfFinite: SetToZero, 0 slots, zero::UNLESS_FINITE;
    ScaleByAdam: ScaleByAdam<T, false>, 2 slots, adam::ADAM;
    ScaleByAdamNesterov: ScaleByAdam<T, true>, 2 slots, adam::ADAM_NESTEROV;
    ScaleByRms: ScaleByRms<T>, 1 slots, rms::RMS;
    ScaleByStddev: ScaleByStddev<T>, 2 slots, rms::STDDEV;
    Trace: Trace<T, false>, 1 slots, trace::TRACE;
    TraceNesterov: Trace<T, true>, 1 slots, trace::TRACE_NESTEROV;
    Ema: Ema<T>, 1 slots, ema::EMA;
    ApplyEvery: ApplyEvery, 1 slots, accumulate::EVERY;
    MultiStepsSum: MultiSteps<T, false>, 1 slots, accumulate::SUM;
    MultiStepsMean: MultiSteps<T, true>, 1 slots, accumulate::MEAN;
}
