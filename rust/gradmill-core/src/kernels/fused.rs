//! Superinstructions: `scale -> decay -> moment -> decay -> scale` as one loop in registers, each part optional, and a third
//! scaling in the place of a moment. A few ops may stand at the end.
//!
//! They are built from the ops' own element functions, so a fused run rounds exactly as the ops do one
//! by one. An absent scaling is a product with one, which changes no bit and costs less than a loop of its own.

use smallvec::SmallVec;

use super::placed::Placed;
use crate::number::float::Float;
use crate::ops::{
    AddDecayedWeights, AnyOp, Beside, Frequency, FromScalars, MomentVisitor, Nothing, Op, Reads,
    Scale, TailVisitor, Visitor,
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
    const SQUARES: u32 = M::SQUARES;

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

/// A superinstruction and an op behind it, whose one slot comes behind those of the moment.
#[derive(Clone, Copy)]
pub struct Ended<F, Q, const N: usize> {
    fused: F,
    tail: Q,
}

impl<T, F, Q, const N: usize, const K: usize> Op<T, K> for Ended<F, Q, N>
where
    T: Float,
    F: Op<T, N>,
    Q: Op<T, 1>,
{
    const READS: Reads = Reads::PARAM;

    #[inline(always)]
    fn element(&self, update: T, beside: Beside<T>, mut state: [T; K]) -> (T, [T; K]) {
        const { assert!(K == N + 1, "one slot more than the moment has") };
        let mut own = [T::ZERO; N];
        own.copy_from_slice(&state[..N]);
        let (update, own) = self.fused.element(update, beside, own);
        let (update, [last]) = self.tail.element(update, beside, [state[N]]);
        state[..N].copy_from_slice(&own);
        state[N] = last;
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
    /// An op that the list of ops says may stand at the end.
    tail: Option<Placed<T>>,
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
        let of_moment = moment.as_ref().map(|placed| &placed.step);
        let next_slot = moment.map(|placed| placed.first_slot + placed.step.slots());
        let (tail, rest) = match rest {
            [tail]
                if tail.step.ends(of_moment)
                    && next_slot.is_none_or(|at| at == tail.first_slot) =>
            {
                (Some(*tail), &[][..])
            }
            _ => (None, rest),
        };
        let frequency = if tail.is_some() { Frequency::Rare } else { frequency };
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
        let is_whole = rest.is_empty() && (tail.is_none() || middle.step_size == T::ONE);
        is_whole.then_some(Self { first, pre, moment, middle, post, last, tail, frequency })
    }

    /// The position of its first slot among those of the pass.
    pub fn first_slot(&self) -> usize {
        self.moment.or(self.tail).map_or(0, |placed| placed.first_slot)
    }

    /// How many slots it has.
    pub fn slots(&self) -> usize {
        [self.moment, self.tail].iter().flatten().map(|placed| placed.step.slots()).sum()
    }

    /// How often chains have this moment.
    pub fn frequency(&self) -> Frequency {
        self.frequency
    }

    /// Calls `visitor` with the op this pattern stands for, where it has loops for one that is met as often.
    #[inline]
    pub fn visit<V: PatternVisitor<T>>(&self, visitor: V) -> Option<V::Output> {
        let around = Around { pattern: self, visitor };
        if let Some(tail) = &self.tail {
            let moment = self.moment.as_ref().map(|placed| &placed.step);
            return if Frequency::Rare < V::LEAST {
                None
            } else {
                tail.step.visit_tail(moment, around)
            };
        }
        match &self.moment {
            None if self.middle.step_size == T::ONE => {
                Some(around.visit_moment::<{ Frequency::Frequent as u8 }, 0, _>(&Nothing))
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

impl<T: Float, V: PatternVisitor<T>> TailVisitor<T> for Around<'_, T, V> {
    type Output = V::Output;

    #[inline]
    fn visit_tail<const N: usize, const K: usize, M: Op<T, N>, Q: Op<T, 1>>(
        self,
        moment: &M,
        tail: &Q,
    ) -> V::Output {
        let Self { pattern: &Pattern { first, pre, post, last, .. }, visitor } = self;
        macro_rules! visit {
            ($pre:literal, $post:literal) => {
                visitor.visit::<K, Ended<Fused<T, M, true, $pre, $post>, Q, N>>(&Ended {
                    fused: Fused { first, pre: pre.op, moment: *moment, post: post.op, last },
                    tail: *tail,
                })
            };
        }
        match (pre.is_there, post.is_there) {
            (false, false) => visit!(false, false),
            (false, true) => visit!(false, true),
            (true, _) => visit!(true, false),
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
