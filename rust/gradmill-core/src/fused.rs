//! Superinstructions: `(scale | decay)* -> moment -> (scale | decay)*` as one loop in registers.
//!
//! They are built from the ops' own element functions, so a fused run rounds exactly as the ops do one
//! by one. An absent scaling is a product with one, which changes no bit.

use crate::dtype::Float;
use crate::kernel::Placed;
use crate::ops::{AddDecayedWeights, Op, Scale, ScaleByAdam, Step, Trace};

/// `u * before [+ decay * p] * after`.
#[derive(Clone, Copy, Debug)]
struct Affine<T> {
    before: Scale<T>,
    decay: AddDecayedWeights<T>,
    after: Scale<T>,
}

impl<T: Float> Affine<T> {
    #[inline(always)]
    fn element<const DECAY: bool>(&self, update: T, param: T) -> T {
        let mut update = self.before.element(update, param, []).0;
        if DECAY {
            update = self.decay.element(update, param, []).0;
        }
        self.after.element(update, param, []).0
    }
}

/// A moment op between two affine maps, with or without weight decay in each.
#[derive(Clone, Copy)]
pub struct Fused<T, M, const PRE: bool, const POST: bool> {
    pre: Affine<T>,
    moment: M,
    post: Affine<T>,
}

impl<T, M, const N: usize, const PRE: bool, const POST: bool> Op<T, N> for Fused<T, M, PRE, POST>
where
    T: Float,
    M: Op<T, N>,
{
    const PARAMS: bool = PRE || POST || M::PARAMS;

    #[inline(always)]
    fn element(&self, update: T, param: T, state: [T; N]) -> (T, [T; N]) {
        let update = self.pre.element::<PRE>(update, param);
        let (update, state) = self.moment.element(update, param, state);
        (self.post.element::<POST>(update, param), state)
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
    Adam(ScaleByAdam<T, false>),
    AdamNesterov(ScaleByAdam<T, true>),
    Trace(Trace<T, false>),
    TraceNesterov(Trace<T, true>),
}

/// A chain that one loop can run.
#[derive(Clone, Copy, Debug)]
pub struct Pattern<T> {
    pre: Affine<T>,
    pre_decay: bool,
    moment: Moment<T>,
    post: Affine<T>,
    post_decay: bool,
    first_slot: usize,
}

/// Receives the op that a pattern stands for, as a type.
pub trait Visitor<T: Float> {
    /// What the visit gives.
    type Output;
    /// Called once, with the monomorphic op.
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) -> Self::Output;
}

impl<T: Float> Pattern<T> {
    /// The pattern of `steps`, where they have one.
    pub fn of(steps: &[Placed<T>]) -> Option<Self> {
        let (pre, pre_decay, rest) = affine(steps);
        let moment = match rest.first() {
            Some((Step::ScaleByAdam(op), _)) => Moment::Adam(*op),
            Some((Step::ScaleByAdamNesterov(op), _)) => Moment::AdamNesterov(*op),
            Some((Step::Trace(op), _)) => Moment::Trace(*op),
            Some((Step::TraceNesterov(op), _)) => Moment::TraceNesterov(*op),
            _ => Moment::None(NoMoment),
        };
        let (first_slot, rest) = match (moment, rest) {
            (Moment::None(_), _) | (_, []) => (0, rest),
            (_, [(_, first_slot), rest @ ..]) => (*first_slot, rest),
        };
        let (post, post_decay, rest) = affine(rest);
        rest.is_empty().then_some(Self { pre, pre_decay, moment, post, post_decay, first_slot })
    }

    /// The position of the moment's first slot among those of the pass.
    pub fn first_slot(&self) -> usize {
        self.first_slot
    }

    /// Calls `visitor` with the op this pattern stands for.
    #[inline]
    pub fn visit<V: Visitor<T>>(&self, visitor: V) -> V::Output {
        match self.moment {
            Moment::None(moment) => self.with(moment, visitor),
            Moment::Adam(moment) => self.with(moment, visitor),
            Moment::AdamNesterov(moment) => self.with(moment, visitor),
            Moment::Trace(moment) => self.with(moment, visitor),
            Moment::TraceNesterov(moment) => self.with(moment, visitor),
        }
    }

    #[inline]
    fn with<const N: usize, M: Op<T, N>, V: Visitor<T>>(&self, moment: M, visitor: V) -> V::Output {
        let Self { pre, post, .. } = *self;
        match (self.pre_decay, self.post_decay) {
            (false, false) => visitor.visit(&Fused::<T, M, false, false> { pre, moment, post }),
            (false, true) => visitor.visit(&Fused::<T, M, false, true> { pre, moment, post }),
            (true, false) => visitor.visit(&Fused::<T, M, true, false> { pre, moment, post }),
            (true, true) => visitor.visit(&Fused::<T, M, true, true> { pre, moment, post }),
        }
    }
}

/// Takes as many steps as one affine map holds; says whether it has a decay, and which steps are left.
fn affine<T: Float>(steps: &[Placed<T>]) -> (Affine<T>, bool, &[Placed<T>]) {
    let (before, rest) = scaling(steps);
    let (decay, rest) = match rest {
        [(Step::AddDecayedWeights(op), _), rest @ ..] => (Some(*op), rest),
        _ => (None, rest),
    };
    let (after, rest) = scaling(rest);
    let has_decay = decay.is_some();
    let decay = decay.unwrap_or(AddDecayedWeights { weight_decay: T::ZERO });
    (Affine { before, decay, after }, has_decay, rest)
}

fn scaling<T: Float>(steps: &[Placed<T>]) -> (Scale<T>, &[Placed<T>]) {
    let scale = match steps.first() {
        Some((Step::Scale(op), _)) => Some(*op),
        Some((Step::ClipByGlobalNorm(op), _)) => op.as_scale(),
        _ => None,
    };
    match scale {
        Some(scale) => (scale, &steps[1..]),
        None => (Scale { step_size: T::ONE }, steps),
    }
}
