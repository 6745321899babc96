//! Sums of squares whose shape depends on length alone, accumulated in f64.

use pulp::NullaryFnOnce;

use super::squares::SquareLanes;
use crate::number::float::Float;

/// Independent partial sums; element `i` of a chunk goes to lane `i % LANES`. Two vectors of the widest tier,
/// which stay in registers.
const LANES: usize = 16;

/// The running sum of squares of one chunk.
pub type Lanes = SquareLanes<LANES>;

/// Adds the squares of `values`. All stretches of a chunk but the last have a multiple of [`LANES`] elements.
pub struct SumSquares<'k, T> {
    pub lanes: &'k mut Lanes,
    pub values: &'k [T],
}

impl<T: Float> NullaryFnOnce for SumSquares<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.lanes.add_all(self.values);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::simd::Tier;

    proptest! {
        #[test]
        fn stretches_and_tiers_do_not_change_the_bits(
            values in proptest::collection::vec(-1e3f32..1e3, 0..1500),
            at in 0usize..6,
        ) {
            let mut whole = Lanes::ZERO;
            Tier::Scalar.run(SumSquares { lanes: &mut whole, values: &values });
            let (head, tail) = values.split_at((at * LANES).min(values.len() / LANES * LANES));
            let whole = whole.total().sum;
            let exact: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            prop_assert!((whole - exact).abs() <= 1e-12 * exact);
            for tier in Tier::ALL {
                let mut parts = Lanes::ZERO;
                tier.run(SumSquares { lanes: &mut parts, values: head });
                tier.run(SumSquares { lanes: &mut parts, values: tail });
                prop_assert_eq!(parts.total().sum.to_bits(), whole.to_bits());
            }
        }
    }
}
