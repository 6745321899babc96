//! The types that kernels compute in.

use std::ops::{Add, BitOrAssign, Div, Neg, Sub};

use super::cube_root::CubeRoot;
use super::dtype::DType;
use super::element::{Element, to_odd};
use super::rng::Sample;

/// A type that kernels compute in. Only operations that IEEE 754 rounds correctly are here, which is
/// why every SIMD tier gives the same bits.
pub trait Float:
    Sample
    + CubeRoot
    + Add<Output = Self>
    + Sub<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// Unsigned integer of the same width, so that a check on bits keeps the lane count.
    type Bits: Copy + Default + PartialEq + BitOrAssign + Send + Sync;

    /// Positive zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// The smallest positive normal number.
    const MIN_POSITIVE: Self;
    /// The largest number.
    const MAX: Self;

    /// What an array holds, widened or rounded.
    fn load<E: Element>(value: E) -> Self;
    /// The value as an array holds it, rounded or widened.
    fn store<E: Element>(self) -> E;
    /// The value as an array holds it, rounded at random if that is of half precision.
    fn store_at_random<E: Element>(self, word: u32) -> E;
    /// Absolute value.
    #[must_use]
    fn abs(self) -> Self;
    /// Correctly rounded square root.
    #[must_use]
    fn sqrt(self) -> Self;
    /// -1, 0 or 1, or NaN.
    #[must_use]
    fn sign(self) -> Self;
    /// Whether the value is NaN.
    fn is_nan(self) -> bool;
    /// Whether the value is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Bits that [`Float::any`] tells from others where the value is infinite or NaN. They can be or-ed together.
    fn nonfinite(self) -> Self::Bits;
    /// Whether any of the values was infinite or NaN whose [`Float::nonfinite`] were or-ed together.
    fn any(flags: Self::Bits) -> bool;
    /// What `table` has for this type.
    fn select_float<S: FloatTable>(table: S) -> S::Of<Self>;
    /// Zero where the value is subnormal, as arithmetic in a kernel takes it; of the same sign.
    #[must_use]
    fn flush(self) -> Self;
    /// The parameter after an update. One of zero changes no bit, not even of a zero or of a subnormal number:
    /// parameters whose updates are zero need not be touched.
    #[must_use]
    fn updated(self, update: Self) -> Self;
}

/// Has something for each type that kernels compute in.
pub trait FloatTable {
    /// What it has for a type.
    type Of<T: Float>;

    /// That of single precision.
    fn f32(self) -> Self::Of<f32>;
    /// That of double precision.
    fn f64(self) -> Self::Of<f64>;
}

macro_rules! float {
    ($type:ident, $bits:ident, $exponent:literal, $load:ident, $store:ident, $single:expr) => {
        impl Float for $type {
            type Bits = $bits;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const MIN_POSITIVE: Self = $type::MIN_POSITIVE;
            const MAX: Self = $type::MAX;

            #[inline(always)]
            fn load<E: Element>(value: E) -> Self {
                value.$load()
            }
            #[inline(always)]
            fn store<E: Element>(self) -> E {
                E::$store(self)
            }
            #[inline(always)]
            fn store_at_random<E: Element>(self, word: u32) -> E {
                if E::DTYPE < DType::F32 { E::at_random($single(self), word) } else { self.store() }
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn sign(self) -> Self {
                // What is left over is NaN or, in a kernel also where it is subnormal, zero.
                if self.abs() > 0.0 { Self::ONE.copysign(self) } else { self * 0.0 }
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn nonfinite(self) -> $bits {
                (self * 0.0).to_bits()
            }
            #[inline(always)]
            fn any(flags: $bits) -> bool {
                flags & $exponent != 0
            }
            #[inline(always)]
            fn select_float<S: FloatTable>(table: S) -> S::Of<Self> {
                table.$type()
            }
            #[inline(always)]
            fn flush(self) -> Self {
                let bits = self.to_bits();
                let sign = bits & !($bits::MAX >> 1);
                Self::from_bits(if bits & $exponent == 0 { sign } else { bits })
            }
            #[inline(always)]
            fn updated(self, update: Self) -> Self {
                // The sum is what it was or, where that is lost in it, a zero to which its bits are added. Written
                // whether it changes or not: a store behind a mask takes tens of cycles on some processors.
                let kept = if update == 0.0 { self.to_bits() } else { 0 };
                Self::from_bits((self + update).to_bits() | kept)
            }
        }
    };
}

float!(f32, u32, 0x7f80_0000, to_f32, from_f32, |value| value);
float!(f64, u64, 0x7ff0_0000_0000_0000, to_f64, from_f64, to_odd);
