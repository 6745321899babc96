//! The ops: one file each, one element function each.
//!
//! An op is what happens to one element of the update. Everything else (blocks, threads, strides,
//! fusion into one loop) is made from that function, so each rounding stands in one place.

mod accumulate;
mod adam;
mod any;
mod clip;
mod decayed_weights;
mod ema;
mod global_norm;
mod noise;
mod nonnegative;
mod op;
mod rms;
mod scale;
mod trace;
mod unitwise;
mod zero;

pub use accumulate::{ApplyEvery, MultiSteps};
pub use adam::ScaleByAdam;
pub use any::{AnyOp, OPS};
pub use clip::Clip;
pub use decayed_weights::AddDecayedWeights;
pub use ema::Ema;
pub use global_norm::{ClipByGlobalNorm, NormalizeByUpdateNorm};
pub use noise::AddNoise;
pub use nonnegative::KeepParamsNonnegative;
pub(crate) use op::Visitor;
pub use op::{FromScalars, Meta, Op, Reads, Reduce};
pub use rms::{ScaleByRms, ScaleByStddev};
pub use scale::Scale;
pub use trace::Trace;
pub use unitwise::{MinusNumber, TimesNumber};
pub use zero::{SetToZero, ZeroNans};
