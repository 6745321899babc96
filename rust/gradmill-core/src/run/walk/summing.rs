//! What a walk sums on its way: squares, or what an op adds.

use super::Walk;
use crate::kernels::addends::{AddendLanes, Addends};
use crate::kernels::set::Bound;
use crate::number::float::Float;
use crate::ops::AnyOp;
use crate::sums::reduce::{Lanes, SumSquares};
use crate::sums::squares::Squares;
use crate::sys::mode::in_default_mode;
use crate::sys::simd::Tier;

/// What a walk sums: squares, or in the place of those of updates the addends of the op for which its pass ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summed {
    pub updates: bool,
    /// Those of the parameters as well.
    pub params: bool,
}

/// Sums of squares of updates, and of parameters where they are asked for.
pub type Pair = [Squares; 2];

/// The running sums of a chunk.
#[expect(clippy::large_enum_variant, reason = "a box for each chunk would be memory of its own")]
pub enum Running<T> {
    Nothing,
    /// Of squares of updates, and of parameters where they are asked for.
    Squares([Lanes; 2]),
    /// Those of an op's addends.
    Own(AnyOp<T>, AddendLanes),
}

impl<T: Float> Running<T> {
    /// Adds the updates of a stretch, or what the op makes of them, the parameters and its old state. Where there are no
    /// parameters the op reads none.
    pub fn add(&mut self, tier: Tier, updates: &[T], params: &[T], slots: &[&[T]]) {
        match self {
            Self::Nothing => {}
            Self::Squares([lanes, _]) => add_squares(tier, updates, lanes),
            Self::Own(step, lanes) => {
                let params = if params.is_empty() { updates } else { params };
                Addends { updates, params, slots }.add(step, tier, lanes);
            }
        }
    }

    /// Adds the squares of parameters.
    pub fn add_params(&mut self, tier: Tier, params: &[T]) {
        if let Self::Squares([_, lanes]) = self {
            add_squares(tier, params, lanes);
        }
    }

    /// The sums.
    pub fn total(self) -> Pair {
        match self {
            Self::Nothing => Pair::default(),
            Self::Squares(lanes) => lanes.map(Lanes::total),
            Self::Own(_, lanes) => [lanes.total(), Squares::default()],
        }
    }
}

/// In the mode of the host: a norm counts subnormal numbers.
fn add_squares<T: Float>(tier: Tier, values: &[T], lanes: &mut Lanes) {
    in_default_mode(|| tier.run(SumSquares { lanes, values }));
}

impl Walk<'_> {
    /// Whether a leaf with this `skip` is part of the sums at the end.
    fn counts(&self, skip: u64) -> bool {
        self.squares.updates && self.pass.ends_for.is_none_or(|op| skip >> op & 1 == 0)
    }

    /// What the sums of a chunk start from.
    pub(super) fn running<T: Float>(&self, bound: &Bound<T>, skip: u64) -> Running<T> {
        match &bound.adds {
            _ if !self.counts(skip) => Running::Nothing,
            Some(placed) => Running::Own(placed.step, AddendLanes::default()),
            None => Running::Squares([Lanes::ZERO; 2]),
        }
    }

    /// Whether it sums the squares of what it adds to the parameters.
    pub(super) fn measures_steps(&self) -> bool {
        self.squares.updates && self.pass.ends_for.is_none()
    }

    /// Whether it sums what the op for which its pass ends adds.
    pub(super) fn sums_addends(&self) -> bool {
        self.squares.updates && self.pass.ends_for.is_some_and(|op| self.program.has_addends(op))
    }
}
