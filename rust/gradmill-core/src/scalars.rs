//! Arithmetic among scalars, in f64 and of multiplications alone, so that its bits are the same everywhere.

use crate::dtype::Float;
use crate::sys::mode::in_default_mode;

/// `base^exponent` by repeated squaring.
fn power(base: f64, exponent: u64) -> f64 {
    let (mut result, mut square, mut rest) = (1.0, base, exponent);
    while rest > 0 {
        // A product with one rather than a branch that nobody can predict.
        result *= [1.0, square][(rest & 1) as usize];
        square *= square;
        rest >>= 1;
    }
    result
}

/// `1 - decay^count`: what an average that started at zero has collected of its weights by step `count`.
#[must_use]
pub fn bias_correction(decay: f64, count: u64) -> f64 {
    in_default_mode(|| 1.0 - power(decay, count))
}

/// What stands inside the root of a denominator `√(v + eps_root) + eps` of type `T`: the least normal number
/// where neither epsilon is large enough to keep a quotient from 0/0, or from what a square that vanished
/// leaves of it. A square that did not vanish outweighs that.
pub(crate) fn inside_root<T: Float>(eps: f64, eps_root: f64) -> T {
    let least = T::MIN_POSITIVE.to_f64();
    T::from_f64(if eps * eps < least && eps_root < least { least } else { eps_root })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_powers_are_products() {
        assert_eq!(power(0.9, 0), 1.0);
        assert_eq!(power(0.9, 1), 0.9);
        assert_eq!(power(0.9, 3), 0.9 * (0.9 * 0.9));
        assert_eq!(bias_correction(1.0, 7), 0.0);
    }

    proptest! {
        #[test]
        fn close_to_the_exact_power(base in 0.5f64..1.0, exponent in 0u64..100_000) {
            let exact = (exponent as f64 * base.ln()).exp();
            prop_assert!((power(base, exponent) - exact).abs() <= 1e-9 * exact + 1e-300);
        }
    }
}
