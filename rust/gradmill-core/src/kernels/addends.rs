//! Sums of what elements of an op add, whose shape depends on length alone, accumulated in f64.

use pulp::NullaryFnOnce;

use crate::number::float::Float;
use crate::ops::{AnyOp, Op, Visitor};
use crate::sums::squares::{Squares, folded};
use crate::sys::simd::Tier;

/// Independent partial sums of each kind; element `i` of a chunk goes to lane `i % LANES`.
const LANES: usize = 16;

/// The running sums of one chunk.
#[derive(Clone, Copy, Default)]
pub struct AddendLanes([[f64; LANES]; 2]);

impl AddendLanes {
    /// The sums of all lanes.
    pub fn total(self) -> Squares {
        Squares::of_own(self.0.map(folded))
    }
}

/// What of a stretch of a leaf an op sums over: state as it was before the step.
pub struct Addends<'a, T> {
    pub updates: &'a [T],
    pub params: &'a [T],
    pub slots: &'a [&'a [T]],
}

impl<T: Float> Addends<'_, T> {
    /// Adds them to `lanes`. All stretches of a chunk but the last have a multiple of [`LANES`] elements.
    pub fn add(self, step: &AnyOp<T>, tier: Tier, lanes: &mut AddendLanes) {
        step.visit(AddTo { tier, addends: self, lanes });
    }
}

struct AddTo<'k, 'a, T> {
    tier: Tier,
    addends: Addends<'a, T>,
    lanes: &'k mut AddendLanes,
}

impl<T: Float> Visitor<T> for AddTo<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn visit<const N: usize, O: Op<T, N>>(self, op: &O) {
        if const { O::ADDS } {
            let Self { tier, addends: Addends { updates, params, slots }, lanes } = self;
            let slots: [&[T]; N] = std::array::from_fn(|slot| slots[slot]);
            tier.run(AddAll { op, updates, params, slots, lanes });
        }
    }
}

/// The loop over a stretch.
struct AddAll<'k, T, O, const N: usize> {
    op: &'k O,
    updates: &'k [T],
    params: &'k [T],
    slots: [&'k [T]; N],
    lanes: &'k mut AddendLanes,
}

impl<T: Float, O: Op<T, N>, const N: usize> NullaryFnOnce for AddAll<'_, T, O, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { op, updates, params, slots, lanes: AddendLanes(lanes) } = self;
        let (op, len) = (*op, updates.len());
        let (params, slots) = (&params[..len], slots.map(|slot| &slot[..len]));
        // Copies that stay in registers.
        let [mut first, mut second] = *lanes;
        let mut add = |row: usize, lane: usize| {
            let at = row + lane;
            let [one, other] = op.addends(updates[at], params[at], slots.map(|slot| slot[at]));
            first[lane] += one;
            second[lane] += other;
        };
        let whole = len / LANES * LANES;
        for row in (0..whole).step_by(LANES) {
            for lane in 0..LANES {
                add(row, lane);
            }
        }
        for lane in 0..len - whole {
            add(whole, lane);
        }
        *lanes = [first, second];
    }
}
