//! A constant to multiply with, whose products are never subnormal.

use crate::dtype::Float;

/// A factor and the size below which a value's product with it would be subnormal.
///
/// Such a product is zero, as it is under XLA on CPUs. Arithmetic on subnormals, and underflow itself, is
/// tens of times slower than other arithmetic on common processors, and weight decay on a weight whose input
/// is dead runs into it for good: the comparison is before the product, so that it never takes place.
#[derive(Clone, Copy, Debug)]
pub struct Factor<T> {
    factor: T,
    least: T,
}

impl<T: Float> Factor<T> {
    pub fn new(factor: f64) -> Self {
        let least = T::MIN_POSITIVE.to_f64() / factor.abs();
        Self { factor: T::from_f64(factor), least: T::from_f64(least) }
    }

    /// `factor * value`.
    #[inline(always)]
    pub fn times(&self, value: T) -> T {
        self.factor * if value.abs() < self.least { T::ZERO } else { value }
    }
}

/// Like [`Factor`], for products with a square.
#[derive(Clone, Copy, Debug)]
pub struct SquareFactor<T> {
    factor: T,
    least: T,
}

impl<T: Float> SquareFactor<T> {
    pub fn new(factor: f64) -> Self {
        // The square alone must not be subnormal either.
        let least = T::MIN_POSITIVE.to_f64() / factor.abs().min(1.0);
        Self { factor: T::from_f64(factor), least: T::from_f64(least.sqrt()) }
    }

    /// `factor * value²`.
    #[inline(always)]
    pub fn times_square(&self, value: T) -> T {
        let value = if value.abs() < self.least { T::ZERO } else { value };
        self.factor * (value * value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn products_are_exact_or_zero(factor in -2.0f64..2.0, exponent in -149i32..100) {
            let value = 1.1f32 * 2f32.powi(exponent);
            let plain = factor as f32 * value;
            let product = Factor::<f32>::new(factor).times(value);
            prop_assert!(product == plain || product == 0.0 && plain.abs() <= 1.001 * f32::MIN_POSITIVE);
            let plain = factor as f32 * (value * value);
            let product = SquareFactor::<f32>::new(factor).times_square(value);
            prop_assert!(product == plain || product == 0.0 && plain.abs() <= 1.001 * f32::MIN_POSITIVE);
        }
    }

    #[test]
    fn special_values() {
        let factor = Factor::<f32>::new(0.5);
        assert!(factor.times(f32::NAN).is_nan());
        assert_eq!(factor.times(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert!(Factor::<f64>::new(0.0).times(f64::INFINITY).is_nan());
        assert_eq!(Factor::<f64>::new(0.0).times(3.0), 0.0);
        assert!(Factor::<f64>::new(f64::NAN).times(3.0).is_nan());
    }
}
