//! Superinstructions: `scale -> decay -> moment -> decay -> scale` as one loop in registers, each part optional.
//!
//! They are built from the ops' own element functions, so a fused run rounds exactly as the ops do one
//! by one. An absent scaling is a product with one, which changes no bit and costs less than a loop of its own.

use super::placed::Placed;
use crate::number::float::Float;
use crate::ops::{
    AddDecayedWeights, AnyOp, Ema, FromScalars, Op, Reads, Scale, ScaleByAdam, ScaleByRms,
    ScaleByStddev, Trace, Visitor,
};

/// A decay, if there is one.
#[derive(Clone, Copy, Debug)]
struct Decay<T> {
    op: AddDecayedWeights<T>,
    is_there: bool,
}

/// A moment op between two scalings, with a decay before or behind it where the constants say so.
#[derive(Clone, Copy)]
pub struct Fused<T, M, const SCALE: bool, const PRE: bool, const POST: bool> {
    first: Scale<T>,
    pre: AddDecayedWeights<T>,
    moment: M,
    post: AddDecayedWeights<T>,
    last: Scale<T>,
}

impl<T, M, const N: usize, const SCALE: bool, const PRE: bool, const POST: bool> Op<T, N>
    for Fused<T, M, SCALE, PRE, POST>
where
    T: Float,
    M: Op<T, N>,
{
    const READS: Reads = if PRE || POST { Reads::Params } else { Reads::Nothing };

    #[inline(always)]
    fn element(&self, mut update: T, param: T, state: [T; N]) -> (T, [T; N]) {
        if SCALE {
            update = self.first.element(update, param, []).0;
        }
        if PRE {
            update = self.pre.element(update, param, []).0;
        }
        let (mut update, state) = self.moment.element(update, param, state);
        if POST {
            update = self.post.element(update, param, []).0;
        }
        (self.last.element(update, param, []).0, state)
    }
}

/// Stands for the moment op in a chain that has none.
#[derive(Clone, Copy, Debug)]
pub struct NoMoment;

impl<T: Float> Op<T, 0> for NoMoment {
    #[inline(always)]
    fn element(&self, update: T, _: T, state: [T; 0]) -> (T, [T; 0]) {
        (update, state)
    }
}

#[derive(Clone, Copy, Debug)]
enum Moment<T> {
    None(NoMoment),
    Adam(ScaleByAdam<T, false, false>),
    AdamNesterov(ScaleByAdam<T, true, false>),
    Trace(Trace<T, false>),
    TraceNesterov(Trace<T, true>),
    Rms(ScaleByRms<T>),
    Stddev(ScaleByStddev<T>),
    Ema(Ema<T>),
}

/// A chain that one loop can run.
#[derive(Clone, Copy, Debug)]
pub struct Pattern<T> {
    first: Scale<T>,
    pre: Decay<T>,
    moment: Moment<T>,
    post: Decay<T>,
    last: Scale<T>,
    first_slot: usize,
}

/// Receives the op that a pattern stands for.
pub trait PatternVisitor<T: Float>: Visitor<T> {
    /// Whether a chain without a scaling before its moment is worth a loop of its own.
    const WITHOUT_SCALE: bool = false;
}

impl<T: Float> Pattern<T> {
    /// The pattern of `steps`, where they have one.
    pub fn of(steps: &[Placed<T>]) -> Option<Self> {
        let (first, rest) = scaling(steps);
        let (pre, rest) = decaying(rest);
        let moment = match rest.first().map(|placed| placed.step) {
            Some(AnyOp::ScaleByAdam(op)) => Moment::Adam(op.without_root()?),
            Some(AnyOp::ScaleByAdamNesterov(op)) => Moment::AdamNesterov(op.without_root()?),
            Some(AnyOp::Trace(op)) => Moment::Trace(op),
            Some(AnyOp::TraceNesterov(op)) => Moment::TraceNesterov(op),
            Some(AnyOp::ScaleByRms(op)) => Moment::Rms(op),
            Some(AnyOp::ScaleByStddev(op)) => Moment::Stddev(op),
            Some(AnyOp::Ema(op)) => Moment::Ema(op),
            _ => Moment::None(NoMoment),
        };
        let (first_slot, rest) = match (moment, rest) {
            (Moment::None(_), _) | (_, []) => (0, rest),
            (_, [placed, rest @ ..]) => (placed.first_slot, rest),
        };
        let (post, rest) = decaying(rest);
        if pre.is_there && post.is_there {
            return None;
        }
        let (mut last, mut rest) = scaling(rest);
        while let ([_, ..], (scale, behind)) = (rest, scaling(rest))
            && behind.len() < rest.len()
        {
            last = last.followed_by(scale)?;
            rest = behind;
        }
        let (mut first, mut last) = (first, last);
        if matches!(moment, Moment::None(_)) && !pre.is_there && last.step_size == T::ONE {
            // Nothing stands between the two, and loops without the first one are faster.
            std::mem::swap(&mut first, &mut last);
        }
        rest.is_empty().then_some(Self { first, pre, moment, post, last, first_slot })
    }

    /// The position of the moment's first slot among those of the pass.
    pub fn first_slot(&self) -> usize {
        self.first_slot
    }

    /// Calls `visitor` with the op this pattern stands for.
    #[inline]
    pub fn visit<V: PatternVisitor<T>>(&self, visitor: V) -> V::Output {
        match self.moment {
            Moment::None(moment) => self.with(moment, visitor),
            Moment::Adam(moment) => self.with(moment, visitor),
            Moment::AdamNesterov(moment) => self.with(moment, visitor),
            Moment::Trace(moment) => self.with(moment, visitor),
            Moment::TraceNesterov(moment) => self.with(moment, visitor),
            Moment::Rms(moment) => self.with(moment, visitor),
            Moment::Stddev(moment) => self.with(moment, visitor),
            Moment::Ema(moment) => self.with(moment, visitor),
        }
    }

    /// Calls `visitor` with the op this pattern stands for, where its moment is one that networks are trained with: loops
    /// over half precision come on top of all others, and each of them is code of its own.
    #[inline]
    pub fn visit_frequent<V: PatternVisitor<T>>(&self, visitor: V) -> Option<V::Output> {
        match self.moment {
            Moment::None(moment) => Some(self.with(moment, visitor)),
            Moment::Adam(moment) => Some(self.with(moment, visitor)),
            Moment::Trace(moment) => Some(self.with(moment, visitor)),
            _ => None,
        }
    }

    #[inline]
    fn with<const N: usize, M: Op<T, N>, V: PatternVisitor<T>>(
        &self,
        moment: M,
        visitor: V,
    ) -> V::Output {
        let Self { first, last, .. } = *self;
        let (pre, post) = (self.pre.op, self.post.op);
        macro_rules! visit {
            ($scale:literal, $pre:literal, $post:literal) => {
                visitor.visit(&Fused::<T, M, $scale, $pre, $post> {
                    first,
                    pre,
                    moment,
                    post,
                    last,
                })
            };
        }
        let scales = !V::WITHOUT_SCALE || first.step_size != T::ONE;
        match (scales, self.pre.is_there, self.post.is_there) {
            (false, false, false) => visit!(false, false, false),
            (false, false, true) => visit!(false, false, true),
            (false, true, _) => visit!(false, true, false),
            (true, false, false) => visit!(true, false, false),
            (true, false, true) => visit!(true, false, true),
            (true, true, _) => visit!(true, true, false),
        }
    }
}

/// The decay that `steps` begin with, if they do, and the rest.
fn decaying<T: Float>(steps: &[Placed<T>]) -> (Decay<T>, &[Placed<T>]) {
    match steps {
        [Placed { step: AnyOp::AddDecayedWeights(op), .. }, rest @ ..] => {
            (Decay { op: *op, is_there: true }, rest)
        }
        _ => (Decay { op: AddDecayedWeights::from_scalars(&[0.0]), is_there: false }, steps),
    }
}

/// The scaling that `steps` begin with, or one by one, and the rest.
fn scaling<T: Float>(steps: &[Placed<T>]) -> (Scale<T>, &[Placed<T>]) {
    let scale = match steps.first().map(|placed| placed.step) {
        Some(AnyOp::Scale(op)) => Some(op),
        Some(AnyOp::ClipByGlobalNorm(op)) => op.as_scale(),
        Some(AnyOp::NormalizeByUpdateNorm(op)) => op.as_scale(),
        _ => None,
    };
    match scale {
        Some(scale) => (scale, &steps[1..]),
        None => (Scale { step_size: T::ONE }, steps),
    }
}
