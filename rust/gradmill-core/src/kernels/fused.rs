//! Superinstructions: `scale -> decay -> moment -> decay -> scale` as one loop in registers, each part optional, and a third
//! scaling in the place of a moment.
//!
//! They are built from the ops' own element functions, so a fused run rounds exactly as the ops do one
//! by one. An absent scaling is a product with one, which changes no bit and costs less than a loop of its own.

use smallvec::SmallVec;

use super::placed::Placed;
use crate::number::float::Float;
use crate::ops::{
    AddDecayedWeights, AnyOp, Beside, Frequency, FromScalars, MomentVisitor, Op, Reads, Scale,
    Visitor,
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
    const READS: Reads = if PRE || POST { Reads::PARAM } else { Reads::NOTHING };

    #[inline(always)]
    fn element(&self, mut update: T, beside: Beside<T>, state: [T; N]) -> (T, [T; N]) {
        if SCALE {
            update = self.first.element(update, beside, []).0;
        }
        if PRE {
            update = self.pre.element(update, beside, []).0;
        }
        let (mut update, state) = self.moment.element(update, beside, state);
        if POST {
            update = self.post.element(update, beside, []).0;
        }
        (self.last.element(update, beside, []).0, state)
    }
}

/// Stands for the moment op in a chain that has none.
#[derive(Clone, Copy, Debug)]
pub struct NoMoment;

impl<T: Float> Op<T, 0> for NoMoment {
    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, state: [T; 0]) -> (T, [T; 0]) {
        (update, state)
    }
}

/// A chain that one loop can run.
#[derive(Clone, Copy, Debug)]
pub struct Pattern<T> {
    first: Scale<T>,
    pre: Decay<T>,
    /// An op that the list of ops says can be one.
    moment: Option<Placed<T>>,
    /// What stands between the other two scalings where there is no moment.
    middle: Scale<T>,
    post: Decay<T>,
    last: Scale<T>,
    frequency: Frequency,
}

/// Receives the op that a pattern stands for.
pub trait PatternVisitor<T: Float>: Visitor<T> {
    /// It has loops for patterns whose moment is met as often.
    const LEAST: Frequency;
    /// Whether a chain without a scaling before its moment is worth a loop of its own.
    const WITHOUT_SCALE: bool = false;
}

impl<T: Float> Pattern<T> {
    /// The pattern of `steps`, where they have one.
    pub fn of(steps: &[Placed<T>]) -> Option<Self> {
        let (before, rest) = scalings(steps);
        let (pre, rest) = decaying(rest);
        let moment = rest.first().and_then(|placed| Some((*placed, placed.step.moment()?)));
        let rest = if moment.is_some() { &rest[1..] } else { rest };
        let frequency = moment.map_or(Frequency::Frequent, |(_, frequency)| frequency);
        let moment = moment.map(|(placed, _)| placed);
        let (post, rest) = decaying(rest);
        if pre.is_there && post.is_there {
            return None;
        }
        let (behind, rest) = scalings(rest);
        let one = Scale { step_size: T::ONE };
        let is_bare = moment.is_none() && !pre.is_there && !post.is_there;
        let (first, middle, last) = match (&before[..], &behind[..]) {
            // Loops without the first one are faster.
            ([], []) => (one, one, one),
            (&[last], []) | ([], &[last]) if is_bare => (one, one, last),
            (&[first, last], []) if is_bare => (first, one, last),
            (&[first, middle, last], []) if is_bare => (first, middle, last),
            (&[first], []) => (first, one, one),
            ([], &[last]) => (one, one, last),
            (&[first], &[last]) => (first, one, last),
            _ => return None,
        };
        rest.is_empty().then_some(Self { first, pre, moment, middle, post, last, frequency })
    }

    /// The position of the moment's first slot among those of the pass.
    pub fn first_slot(&self) -> usize {
        self.moment.map_or(0, |placed| placed.first_slot)
    }

    /// How many slots the moment has.
    pub fn slots(&self) -> usize {
        self.moment.map_or(0, |placed| placed.step.slots())
    }

    /// How often chains have this moment.
    pub fn frequency(&self) -> Frequency {
        self.frequency
    }

    /// Calls `visitor` with the op this pattern stands for, where it has loops for one that is met as often.
    #[inline]
    pub fn visit<V: PatternVisitor<T>>(&self, visitor: V) -> Option<V::Output> {
        let around = Around { pattern: self, visitor };
        match &self.moment {
            None if self.middle.step_size == T::ONE => {
                Some(around.visit_moment::<{ Frequency::Frequent as u8 }, 0, _>(&NoMoment))
            }
            None if Frequency::Rare < V::LEAST => None,
            None => Some(around.visit_moment::<{ Frequency::Rare as u8 }, 0, _>(&self.middle)),
            Some(moment) => moment.step.visit_moment(around),
        }
    }
}

/// Puts the other parts of a pattern around its moment.
struct Around<'p, T, V> {
    pattern: &'p Pattern<T>,
    visitor: V,
}

impl<T: Float, V: PatternVisitor<T>> MomentVisitor<T> for Around<'_, T, V> {
    type Output = V::Output;
    const LEAST: Frequency = V::LEAST;

    #[inline]
    fn visit_moment<const FREQUENCY: u8, const N: usize, M: Op<T, N>>(
        self,
        moment: &M,
    ) -> V::Output {
        let Self { pattern: &Pattern { first, pre, post, last, .. }, visitor } = self;
        macro_rules! visit {
            ($scale:literal, $pre:literal, $post:literal) => {
                visitor.visit(&Fused::<T, M, $scale, $pre, $post> {
                    first,
                    pre: pre.op,
                    moment: *moment,
                    post: post.op,
                    last,
                })
            };
        }
        if const { V::WITHOUT_SCALE && FREQUENCY > Frequency::Rare as u8 }
            && first.step_size == T::ONE
        {
            return match (pre.is_there, post.is_there) {
                (false, false) => visit!(false, false, false),
                (false, true) => visit!(false, false, true),
                (true, _) => visit!(false, true, false),
            };
        }
        match (pre.is_there, post.is_there) {
            (false, false) => visit!(true, false, false),
            (false, true) => visit!(true, false, true),
            (true, _) => visit!(true, true, false),
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

/// The scalings that `steps` begin with, those together that round as one does, and the rest.
fn scalings<T: Float>(mut steps: &[Placed<T>]) -> (SmallVec<[Scale<T>; 3]>, &[Placed<T>]) {
    let mut scalings = SmallVec::<[Scale<T>; 3]>::new();
    while let [placed, rest @ ..] = steps
        && let Some(step_size) = placed.step.as_factor()
    {
        let scale = Scale { step_size };
        let is_full = scalings.len() == scalings.inline_size();
        match scalings.last_mut().map(|last| (last.followed_by(scale), last)) {
            Some((Some(both), last)) => *last = both,
            // No pattern has more.
            _ if is_full => break,
            _ => scalings.push(scale),
        }
        steps = rest;
    }
    (scalings, steps)
}
