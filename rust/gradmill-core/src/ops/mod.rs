//! The ops: one file each, one element function each.
//!
//! An op is what happens to one element of the update. Everything else (blocks, threads, strides,
//! fusion into one loop) is made from that function, so each rounding stands in one place.

mod gather;
mod list;
mod op;

pub use gather::{Addend, Estimates, Factors, Gather, Of, Over, Settle, Side, Unit};
pub use op::{
    Beside, Frequency, FromScalars, Meta, MomentVisitor, Nothing, Op, Reads, Scalar, ScalarKind,
    TailVisitor, Visitor,
};

use crate::number::float::Float;

list::ops! {
    scale { Scale: Scale<T>, SCALE; }
    clip { Clip: Clip<T>, CLIP; }
    global_norm {
        ClipByGlobalNorm: ClipByGlobalNorm<T>, CLIP_BY_GLOBAL_NORM;
        NormalizeByUpdateNorm: NormalizeByUpdateNorm<T>, NORMALIZE_BY_UPDATE_NORM;
    }
    unitwise {
        ClipByBlockRms: TimesNumber, BLOCK_RMS;
        AdaptiveGradClip: TimesNumber, ADAPTIVE_CLIP;
        ScaleByTrustRatio: TimesNumber, TRUST_RATIO;
        Centralize: MinusNumber, CENTRALIZE;
        ScaleByParamBlockNorm: TimesNumber, PARAM_NORM;
        ScaleByParamBlockRms: TimesNumber, PARAM_RMS;
    }
    decayed_weights { AddDecayedWeights: AddDecayedWeights<T>, DECAYED_WEIGHTS; }
    noise { AddNoise: AddNoise<T>, NOISE; }
    nonnegative { KeepParamsNonnegative: KeepParamsNonnegative, KEEP_NONNEGATIVE; }
    zero {
        SetToZero: SetToZero, ALL;
        ZeroNans: ZeroNans, NANS;
        ApplyIfFinite: SetToZero, UNLESS_FINITE;
    }
    adam {
        ScaleByAdam: ScaleByAdam<T, false>, ADAM, fused Frequent;
        ScaleByAdamNesterov: ScaleByAdam<T, true>, ADAM_NESTEROV, fused Common;
    }
    rms {
        ScaleByRms: ScaleByRms<T>, RMS, fused Common;
        ScaleByStddev: ScaleByStddev<T>, STDDEV, fused Common;
    }
    trace {
        Trace: Trace<T, false>, TRACE, fused Frequent;
        TraceNesterov: Trace<T, true>, TRACE_NESTEROV, fused Common;
    }
    adadelta { ScaleByAdadelta: ScaleByAdadelta<T>, ADADELTA, fused Rare; }
    rprop { ScaleByRprop: ScaleByRprop<T>, RPROP, fused Rare; }
    ademamix { ScaleByAdemamix: ScaleByAdemamix<T>, ADEMAMIX, fused Rare; }
    adopt {
        ScaleByAdopt: ScaleByAdopt<T, false>, ADOPT, fused Rare;
        ScaleByAdoptNesterov: ScaleByAdopt<T, true>, ADOPT_NESTEROV, fused Rare;
    }
    ema { Ema: Ema<T>, EMA, fused Common; }
    lion {
        ScaleByLion: ScaleByLion<T, false>, LION, fused Common;
        ScaleByLionRefined: ScaleByLion<T, true>, LION_REFINED, fused Rare;
    }
    amsgrad { ScaleByAmsgrad: ScaleByAmsgrad<T>, AMSGRAD, fused Rare; }
    adan { ScaleByAdan: ScaleByAdan<T>, ADAN, fused Rare; }
    belief {
        ScaleByBelief: ScaleByBelief<T, false>, BELIEF, fused Rare;
        ScaleByBeliefNesterov: ScaleByBelief<T, true>, BELIEF_NESTEROV, fused Rare;
    }
    yogi { ScaleByYogi: ScaleByYogi<T>, YOGI, fused Rare; }
    radam {
        ScaleByRadam: ScaleByRadam<T, false>, RADAM, fused Rare;
        ScaleByRadamNesterov: ScaleByRadam<T, true>, RADAM_NESTEROV, fused Rare;
    }
    novograd { ScaleByNovograd: ScaleByNovograd<T>, NOVOGRAD; }
    factored {
        ScaleByFactoredRms: TimesNumber, FACTORED_RMS;
        ScaleByUnfactoredRms: ScaleByUnfactoredRms<T>, UNFACTORED_RMS;
    }
    acprop { ScaleByAcprop: ScaleByAcprop<T>, ACPROP; }
    simplified_ademamix { ScaleBySimplifiedAdemamix: ScaleBySimplifiedAdemamix<T>, SIMPLIFIED_ADEMAMIX; }
    cocob { ScaleByCocob: ScaleByCocob<T>, COCOB; }
    cautious {
        Cautious: Cautious<T>, CAUTIOUS;
        CautiousWeightDecay: CautiousWeightDecay<T>, CAUTIOUS_DECAY;
    }
    sophia { ScaleBySophia: ScaleBySophia<T>, SOPHIA; }
    mars { ScaleByMars: ScaleByMars<T>, MARS; }
    madgrad { ScaleByMadgrad: ScaleByMadgrad<T>, MADGRAD; }
    prodigy { Prodigy: Prodigy<T>, PRODIGY; }
    dadapt_adamw { DadaptAdamw: DadaptAdamw<T>, DADAPT_ADAMW; }
    dog { Dog: TimesRate<T>, DOG; }
    dowg { Dowg: TimesRate<T>, DOWG; }
    parameter_average { ParameterAverage: ParameterAverage<T>, PARAMETER_AVERAGE; }
    distance_over_gradients { DistanceOverGradients: DistanceOverGradients, DISTANCE; }
    schedule_free { ScheduleFree: ScheduleFree<T>, SCHEDULE_FREE; }
    sign { ScaleBySign: ScaleBySign, SIGN, fused Rare; }
    rss { ScaleByRss: ScaleByRss<T>, RSS, fused Rare; }
    adamax { ScaleByAdamax: ScaleByAdamax<T>, ADAMAX, fused Rare; }
    optimistic { ScaleByOptimisticGradient: ScaleByOptimisticGradient<T>, OPTIMISTIC, fused Rare; }
    accumulate {
        ApplyEvery: ApplyEvery, EVERY;
        MultiStepsSum: MultiSteps<T, false>, SUM;
        MultiStepsMean: MultiSteps<T, true>, MEAN;
    }
}

list::tails! {
    ScheduleFree behind ScaleByRms RMS;
    ParameterAverage behind ScaleByAdam ADAM, Trace TRACE;
}
