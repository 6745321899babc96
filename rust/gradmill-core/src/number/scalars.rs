//! Arithmetic among scalars, in f64 and of multiplications alone, so that its bits are the same everywhere.

use super::dtype::DType;
use super::float::Float;
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

/// `1 - decay^count`: what an average that started at zero has collected of its weights by step `count`, an integer.
#[must_use]
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "counts are integers")]
pub fn bias_correction(decay: f64, count: f64) -> f64 {
    in_default_mode(|| 1.0 - power(decay, count as u64))
}

/// [`bias_correction`] of the step behind `count` others where `corrects` is not zero, else one.
pub(crate) fn correction_if(corrects: f64, decay: f64, count: f64) -> f64 {
    if corrects == 0.0 { 1.0 } else { bias_correction(decay, count + 1.0) }
}

/// How a quotient by the root of a second moment is corrected: what the moment is multiplied by, and what the quotient.
/// Where `hat` is not zero it is the quotient, so that epsilons stand beside the moment as it is.
pub(crate) fn factors_of_root(hat: f64, correction: f64) -> (f64, f64) {
    if hat == 0.0 { (1.0 / correction, 1.0) } else { (1.0, correction.sqrt()) }
}

/// What both corrections of Adam's make of a learning rate, in the step behind `count` others.
pub(crate) fn adams_corrections(b1: f64, b2: f64, count: f64) -> f64 {
    bias_correction(b2, count + 1.0).sqrt() / bias_correction(b1, count + 1.0)
}

/// `number / divisor`, or zero where that is one by zero: a norm of zero is one of zeros.
pub(crate) fn over(number: f64, divisor: f64) -> f64 {
    if divisor == 0.0 { 0.0 } else { number / divisor }
}

/// The larger of two numbers; NaN where one is.
pub(crate) fn larger(first: f64, second: f64) -> f64 {
    if first > second || first.is_nan() { first } else { second }
}

/// The epsilon beside a root, at least what changes no bit of the root of a normal number when it is added:
/// where a square has vanished, it keeps a quotient from 0/0.
pub(crate) fn beside_root<T: Float>(eps: f64) -> T {
    // The root of the least normal number, times an eighth of the distance from one to the next number.
    let least = if T::DTYPE == DType::F64 { exp2(-511 - 52 - 3) } else { exp2(-63 - 23 - 3) };
    T::from_f64(if eps < least { least } else { eps })
}

const fn exp2(exponent: i64) -> f64 {
    f64::from_bits((1023 + exponent).cast_unsigned() << 52)
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
        assert_eq!(bias_correction(1.0, 7.0), 0.0);
    }

    #[test]
    fn the_least_epsilon_changes_no_root() {
        let root = f32::MIN_POSITIVE.sqrt();
        assert_eq!(root + beside_root::<f32>(0.0), root);
        assert_eq!(2.0 * root.next_down() + beside_root::<f32>(0.0), 2.0 * root.next_down());
        let root = f64::MIN_POSITIVE.sqrt();
        assert_eq!(root + beside_root::<f64>(0.0), root);
        assert_eq!(beside_root::<f32>(1e-8), 1e-8);
        assert!(beside_root::<f32>(1e-50) > f32::MIN_POSITIVE);
    }

    proptest! {
        #[test]
        fn close_to_the_exact_power(base in 0.5f64..1.0, exponent in 0u64..100_000) {
            let exact = (exponent as f64 * base.ln()).exp();
            prop_assert!((power(base, exponent) - exact).abs() <= 1e-9 * exact + 1e-300);
        }
    }
}
