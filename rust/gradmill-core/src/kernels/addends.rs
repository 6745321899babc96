//! Sums of what elements of an op add, whose shape depends on length alone, accumulated in f64.

use pulp::NullaryFnOnce;

use crate::number::float::Float;
use crate::ops::{AnyOp, Op, Visitor};
use crate::sums::squares::{Squares, folded, padded};
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
            let (rows, rest) = updates.as_chunks();
            let whole = updates.len() - rest.len();
            tier.run(AddRows {
                op,
                updates: rows,
                params: params.as_chunks().0,
                slots: slots.map(|slot| slot.as_chunks().0),
                lanes: &mut *lanes,
            });
            if !rest.is_empty() {
                // The same loop takes what is left over, padded: of zeros an op adds zero.
                let slots = slots.map(|slot| [padded(&slot[whole..])]);
                tier.run(AddRows {
                    op,
                    updates: &[padded(rest)],
                    params: &[padded(&params[whole..])],
                    slots: slots.each_ref().map(|rows| &rows[..]),
                    lanes,
                });
            }
        }
    }
}

/// The loop over rows of elements, one for each lane.
struct AddRows<'k, T, O, const N: usize> {
    op: &'k O,
    updates: &'k [[T; LANES]],
    params: &'k [[T; LANES]],
    slots: [&'k [[T; LANES]]; N],
    lanes: &'k mut AddendLanes,
}

impl<T: Float, O: Op<T, N>, const N: usize> NullaryFnOnce for AddRows<'_, T, O, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { op, updates, params, slots, lanes: AddendLanes(lanes) } = self;
        let (op, count) = (*op, updates.len());
        let (params, slots) = (&params[..count], slots.map(|slot| &slot[..count]));
        // Copies that stay in registers.
        let [mut first, mut second] = *lanes;
        for row in 0..count {
            for lane in 0..LANES {
                let mut old = [T::ZERO; N];
                for (old, slot) in old.iter_mut().zip(&slots) {
                    *old = slot[row][lane];
                }
                let [one, other] = op.addends(updates[row][lane], params[row][lane], old);
                first[lane] += one;
                second[lane] += other;
            }
        }
        *lanes = [first, second];
    }
}
