//! Between the types that arrays hold and those that kernels compute in.
//!
//! Half precision is widened exactly and stored with one rounding to the nearest, ties to even. There is no
//! branch in it, so that compilers vectorise it on every instruction set, with the same bits on each.

use half::{bf16, f16};

use super::dtype::DType;

/// A type that arrays hold.
pub trait Element: Copy + Default + PartialEq + Send + Sync + std::fmt::Debug + 'static {
    /// The dtype of this type.
    const DTYPE: DType;

    /// Exact, but for f64.
    fn to_f32(self) -> f32;
    /// Exact.
    fn to_f64(self) -> f64;
    /// Rounds once.
    fn from_f32(value: f32) -> Self;
    /// Rounds once.
    fn from_f64(value: f64) -> Self;
    /// One of the two neighbours of a value that half precision does not hold: the upper one as likely as the
    /// value is close to it, so that sums of many small steps come out right on average. The word is what
    /// decides. Other types round to nearest.
    fn at_random(value: f32, word: u32) -> Self;
    /// What `table` has for this type.
    fn select<S: ElementTable>(table: S) -> S::Of<Self>;
}

/// Has something for each type that arrays hold.
pub trait ElementTable {
    /// What it has for a type.
    type Of<E: Element>;

    /// That of IEEE 754 binary16.
    fn f16(self) -> Self::Of<f16>;
    /// That of the upper half of binary32.
    fn bf16(self) -> Self::Of<bf16>;
    /// That of single precision.
    fn f32(self) -> Self::Of<f32>;
    /// That of double precision.
    fn f64(self) -> Self::Of<f64>;
}

macro_rules! element {
    ($type:ident, $dtype:ident, $to_f32:expr, $to_f64:expr, $from_f32:expr, $from_f64:expr, $at_random:expr) => {
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;

            #[inline(always)]
            fn to_f32(self) -> f32 {
                $to_f32(self)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                $to_f64(self)
            }
            #[inline(always)]
            fn from_f32(value: f32) -> Self {
                $from_f32(value)
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                $from_f64(value)
            }
            #[inline(always)]
            fn at_random(value: f32, word: u32) -> Self {
                $at_random(value, word)
            }
            #[inline(always)]
            fn select<S: ElementTable>(table: S) -> S::Of<Self> {
                table.$type()
            }
        }
    };
}

element! {
    f32, F32, |value| value, f64::from, |value| value, |value: f64| value as f32, |value, _| value
}
element! {
    f64, F64, |value: f64| value as f32, |value| value, f64::from, |value| value,
    |value, _| f64::from(value)
}
element! {
    f16, F16, f16_to_f32, |half| f64::from(f16_to_f32(half)), f32_to_f16,
    |value| f32_to_f16(to_odd(value)), f32_to_f16_at_random
}
element! {
    bf16, BF16, bf16_to_f32, |half| f64::from(bf16_to_f32(half)), f32_to_bf16,
    |value| f32_to_bf16(to_odd(value)), f32_to_bf16_at_random
}

#[inline(always)]
fn bf16_to_f32(half: bf16) -> f32 {
    f32::from_bits(u32::from(half.to_bits()) << 16)
}

#[inline(always)]
fn f32_to_bf16(value: f32) -> bf16 {
    let bits = value.to_bits();
    // A carry out of the mantissa is what the exponent needs, up to infinity.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    bf16::from_bits(if value.is_nan() { quiet } else { rounded } as u16)
}

#[inline(always)]
fn f16_to_f32(half: f16) -> f32 {
    const REBIAS: u32 = (127 - 15) << 23;
    let bits = u32::from(half.to_bits());
    let (sign, magnitude) = ((bits & 0x8000) << 16, bits & 0x7fff);
    let (normal, special) = ((magnitude << 13) + REBIAS, (magnitude << 13) + 2 * REBIAS);
    // Subnormal numbers are multiples of the smallest; arithmetic on their bits would be slow.
    let subnormal = (magnitude.cast_signed() as f32 * f32::from_bits((127 - 24) << 23)).to_bits();
    let finite = if magnitude < 0x0400 { subnormal } else { normal };
    f32::from_bits(sign | if magnitude < 0x7c00 { finite } else { special })
}

#[inline(always)]
fn f32_to_f16(value: f32) -> f16 {
    const REBIAS: u32 = (127 - 15) << 23;
    let bits = value.to_bits();
    let (sign, magnitude) = (bits >> 16 & 0x8000, bits & 0x7fff_ffff);
    let odd = magnitude >> 13 & 1;
    let normal = magnitude.wrapping_sub(REBIAS).wrapping_add(0x0fff + odd) >> 13;
    // In a sum with one half the last bit is worth as much as in a subnormal number.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let finite = if magnitude < (127 - 14) << 23 { subnormal } else { normal };
    // From 2^16 on nothing is finite; what is less may round up to infinity by itself.
    let large = if magnitude > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    f16::from_bits((sign | if magnitude < (127 + 16) << 23 { finite } else { large }) as u16)
}

#[inline(always)]
fn f32_to_bf16_at_random(value: f32, word: u32) -> bf16 {
    const INFINITY: u32 = 0x7f80;
    let bits = value.to_bits();
    let (sign, magnitude) = (bits >> 16 & 0x8000, bits & 0x7fff_ffff);
    // What is cut off and the word carry into the rest as often as they should; never from finite to infinite.
    let rounded = (magnitude + (word >> 16)) >> 16;
    let finite = if rounded < INFINITY { rounded } else { INFINITY - 1 };
    let special = if value.is_nan() { magnitude >> 16 | 0x40 } else { INFINITY };
    bf16::from_bits((sign | if value.is_finite() { finite } else { special }) as u16)
}

#[inline(always)]
fn f32_to_f16_at_random(value: f32, word: u32) -> f16 {
    const REBIAS: u32 = (127 - 15) << 23;
    const INFINITY: u32 = 0x7c00;
    let bits = value.to_bits();
    let (sign, magnitude) = (bits >> 16 & 0x8000, bits & 0x7fff_ffff);
    let normal = magnitude.wrapping_sub(REBIAS).wrapping_add(word >> 19) >> 13;
    // In units of the smallest number there is.
    let units = f32::from_bits(magnitude.min((127 - 14) << 23)) * f32::from_bits((127 + 24) << 23);
    let whole = units as i32;
    let chance = (word >> 8).cast_signed() as f32 * f32::from_bits((127 - 24) << 23);
    let subnormal = whole.cast_unsigned() + u32::from(chance + (units - whole as f32) >= 1.0);
    let rounded = if magnitude < (127 - 14) << 23 { subnormal } else { normal };
    let finite = if rounded < INFINITY { rounded } else { INFINITY - 1 };
    let special = if value.is_nan() { 0x7e00 } else { INFINITY };
    f16::from_bits((sign | if value.is_finite() { finite } else { special }) as u16)
}

/// Cut off to f32, with the last bit set where anything was lost: rounding that to fewer bits gives what a
/// single rounding would.
#[inline(always)]
pub fn to_odd(value: f64) -> f32 {
    let near = value as f32;
    let bits = near.to_bits();
    let above = f64::from(near).abs() > value.abs();
    let cut = bits - u32::from(above);
    let is_exact = f64::from(near) == value || value.is_nan();
    f32::from_bits(if is_exact { bits } else { cut | 1 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same<E: Element>(ours: E, theirs: E, bits: impl Fn(E) -> u16) -> bool {
        bits(ours) == bits(theirs) || ours.to_f32().is_nan() && theirs.to_f32().is_nan()
    }

    #[test]
    fn widening_is_exact() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16_to_f32(f16::from_bits(bits)), f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan());
            let (ours, theirs) =
                (bf16_to_f32(bf16::from_bits(bits)), bf16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan());
        }
    }

    /// Values at, and beside, each number of half precision and each middle between two.
    fn critical(widen: impl Fn(u16) -> f32) -> Vec<f32> {
        let all: Vec<f32> = (0..0x7fff).map(widen).filter(|value| value.is_finite()).collect();
        let middles = all.windows(2).map(|pair| f32::midpoint(pair[0], pair[1]));
        let near = |value: f32| [value.next_down(), value, value.next_up()];
        let positive = all.iter().copied().chain(middles).flat_map(near);
        positive.flat_map(|value| [value, -value]).collect()
    }

    #[test]
    fn narrowing_rounds_to_nearest() {
        let extremes = [65519.9, 65520.0, 65536.0, f32::MAX, f32::INFINITY, f32::NAN, 1e-45, 3e-8];
        for value in critical(|bits| f16::from_bits(bits).to_f32()).into_iter().chain(extremes) {
            assert!(same(f32_to_f16(value), f16::from_f32(value), f16::to_bits), "{value:e}");
        }
        for value in critical(|bits| bf16::from_bits(bits).to_f32()).into_iter().chain(extremes) {
            assert!(same(f32_to_bf16(value), bf16::from_f32(value), bf16::to_bits), "{value:e}");
        }
    }

    #[test]
    fn random_rounding_is_right_on_average() {
        fn mean<E: Element>(value: f32) -> f64 {
            let words = (0..1u32 << 12).map(|word| word.wrapping_mul(0x9e37_79b9));
            words.map(|word| E::at_random(value, word).to_f64()).sum::<f64>() / f64::from(1 << 12)
        }
        for value in [1.001f32, -0.3, 3.1e-6, -7.7e-8, 1234.56] {
            let exact = f64::from(value);
            assert!((mean::<f16>(value) - exact).abs() < 1e-4 * exact.abs() + 3e-10, "{value:e}");
            assert!((mean::<bf16>(value) - exact).abs() < 1e-3 * exact.abs(), "{value:e}");
        }
    }

    proptest! {
        #[test]
        fn random_rounding_takes_a_neighbour(bits in any::<u32>(), word in any::<u32>()) {
            fn check<E: Element>(value: f32, word: u32) -> Result<(), TestCaseError> {
                let rounded = E::at_random(value, word);
                if value.is_nan() {
                    prop_assert!(rounded.to_f32().is_nan());
                    return Ok(());
                }
                prop_assert_eq!(rounded.to_f32().is_infinite(), value.is_infinite());
                prop_assert_eq!(rounded.to_f32().is_sign_negative(), value.is_sign_negative());
                // What is representable stays as it is.
                let near = E::from_f32(value);
                if near.to_f32() == value {
                    prop_assert_eq!(rounded, near);
                } else if near.to_f32().is_finite() {
                    let (low, high) = (E::at_random(value, 0), E::at_random(value, u32::MAX));
                    prop_assert!(rounded == low || rounded == high);
                    prop_assert!(low.to_f32().abs() <= value.abs());
                }
                Ok(())
            }
            check::<f16>(f32::from_bits(bits), word)?;
            check::<bf16>(f32::from_bits(bits), word)?;
        }

        #[test]
        fn any_bits(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assert!(same(f32_to_f16(value), f16::from_f32(value), f16::to_bits));
            prop_assert!(same(f32_to_bf16(value), bf16::from_f32(value), bf16::to_bits));
        }

        #[test]
        fn doubles_are_rounded_once(half in 0u16..0x7bff, offset in -1.0f64..1.0, tiny in any::<bool>()) {
            // The middle between two numbers and what lies next to it, where two roundings go wrong.
            let (low, high) = (f16::from_bits(half).to_f64(), f16::from_bits(half + 1).to_f64());
            let middle = f64::midpoint(low, high);
            let value = middle + offset * if tiny { 1e-14 } else { 1.0 } * (high - low) / 2.0;
            let nearest = if value > middle || value == middle && half % 2 == 1 { half + 1 } else { half };
            prop_assert_eq!(f16::from_f64(value).to_bits().abs_diff(nearest) <= 1, true);
            prop_assert_eq!(<f16 as Element>::from_f64(value).to_bits(), nearest);
            prop_assert_eq!(<f16 as Element>::from_f64(-value).to_bits(), nearest | 0x8000);
        }
    }
}
