//! Cube roots made of additions and multiplications, so that their bits are the same everywhere.

/// A type with cube roots.
pub trait CubeRoot {
    /// The cube root, to one unit in the last place; zero of numbers that are negative or subnormal.
    #[must_use]
    fn cube_root(self) -> Self;
}

macro_rules! cube_root {
    ($type:ident, $bits:ident) => {
        impl CubeRoot for $type {
            #[inline(always)]
            fn cube_root(self) -> Self {
                const FRACTION: u32 = $type::MANTISSA_DIGITS - 1;
                const BIAS: $bits = (1.0 as $type).to_bits() >> FRACTION;
                // Makes the bias a multiple of three.
                const MORE: $bits = (3 - BIAS % 3) % 3;
                // The number is a part from 1 to below 8 times the cube of a scale.
                let bits = self.to_bits();
                let exponent = (bits >> FRACTION) + MORE;
                // Vectors of integers have no quotients; of exponents a third is this, rounded down.
                let third = exponent * 43_691 >> 17;
                let fraction = bits & ((1 << FRACTION) - 1);
                let part = Self::from_bits(fraction | (exponent - 3 * third + BIAS) << FRACTION);
                let scale = Self::from_bits((third + BIAS - (BIAS + MORE) / 3) << FRACTION);

                // One over the root, to 0.7 percent. A step leaves five times the cube of an error.
                let inverse = 5.852_979e-4 * part - 0.012_986_696;
                let inverse = (inverse * part + 0.108_504_53) * part - 0.440_833_63;
                let inverse = inverse * part + 1.337_701_6;
                let closer = |inverse: Self| {
                    let rest = 1.0 - part * inverse * inverse * inverse;
                    inverse + inverse * (rest * (1.0 / 3.0 + 2.0 / 9.0 * rest))
                };
                let inverse = closer(closer(inverse));
                let square = inverse * inverse;
                let near = part * square;
                let root = near + (part - near * near * near) * (square * (1.0 / 3.0));

                let root = if self <= Self::MAX { root * scale } else { self };
                if self < Self::MIN_POSITIVE { 0.0 } else { root }
            }
        }
    };
}

cube_root!(f32, u32);
cube_root!(f64, u64);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Between two numbers of the same sign, in units in the last place.
    fn distance32(a: f32, b: f32) -> u32 {
        a.to_bits().abs_diff(b.to_bits())
    }

    fn distance64(a: f64, b: f64) -> u64 {
        a.to_bits().abs_diff(b.to_bits())
    }

    #[test]
    fn close_to_the_root_of_every_part() {
        // What is 1 to 8 times as much has the same bits in other places of the exponent.
        let parts = (1.0f32.to_bits()..=8.0f32.to_bits()).step_by(7).map(f32::from_bits);
        for part in parts {
            let exact = f64::from(part).cbrt() as f32;
            assert!(distance32(part.cube_root(), exact) <= 1, "{part:e}");
        }
        for at in 0..2_000_000 {
            let part = 1.0 + 7.0 * f64::from(at) / 2e6;
            assert!(distance64(part.cube_root(), part.cbrt()) <= 1, "{part:e}");
        }
    }

    #[test]
    fn close_at_each_power_of_two() {
        for exponent in 1..=254 {
            let power = f32::from_bits(exponent << 23);
            for number in [power, power.next_up(), (power * 2.0).next_down()] {
                let exact = f64::from(number).cbrt() as f32;
                assert!(distance32(number.cube_root(), exact) <= 1, "{number:e}");
            }
        }
        for exponent in 1..=2046 {
            let power = f64::from_bits(exponent << 52);
            for number in [power, power.next_up(), (power * 2.0).next_down()] {
                assert!(distance64(number.cube_root(), number.cbrt()) <= 1, "{number:e}");
            }
        }
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!([0.0f32, -0.0, -8.0, f32::MIN_POSITIVE / 2.0].map(f32::cube_root), [0.0; 4]);
        assert_eq!(f32::MIN_POSITIVE.cube_root(), f32::from_bits((127 - 42) << 23));
        assert_eq!([1.0f32, 8.0, 27.0].map(f32::cube_root), [1.0, 2.0, 3.0]);
        assert_eq!([1.0f64, 8.0, 27.0].map(f64::cube_root), [1.0, 2.0, 3.0]);
        assert_eq!(
            (f32::INFINITY.cube_root(), f64::INFINITY.cube_root()),
            (f32::INFINITY, f64::INFINITY)
        );
        assert!(f32::NAN.cube_root().is_nan() && (-f64::NAN).cube_root().is_nan());
    }

    proptest! {
        #[test]
        fn close_to_the_root_of_any_number(bits in f64::MIN_POSITIVE.to_bits()..=f64::MAX.to_bits()) {
            let number = f64::from_bits(bits);
            prop_assert!(distance64(number.cube_root(), number.cbrt()) <= 1);
        }
    }
}
