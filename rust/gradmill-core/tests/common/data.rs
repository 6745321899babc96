//! Arrays that own their elements.

use gradmill_core::DType;
use gradmill_core::data::{Sink, Source, View, ViewMut};

/// An array that owns its elements.
#[derive(Clone, Debug)]
pub enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Data {
    /// Rounds to `dtype`, finite values to finite ones.
    pub fn new(dtype: DType, values: impl IntoIterator<Item = f64>) -> Self {
        let round = |value: f64| {
            let max = f64::from(f32::MAX);
            if value.is_finite() { value.clamp(-max, max) as f32 } else { value as f32 }
        };
        match dtype {
            DType::F32 => Self::F32(values.into_iter().map(round).collect()),
            DType::F64 => Self::F64(values.into_iter().collect()),
            _ => unreachable!("half precision and codes have suites of their own"),
        }
    }

    pub fn filled(dtype: DType, len: usize, value: f64) -> Self {
        Self::new(dtype, std::iter::repeat_n(value, len))
    }

    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F64(data) => data.len(),
        }
    }

    /// All elements, converted, which is exact.
    pub fn values(&self) -> Vec<f64> {
        match self {
            Self::F32(data) => data.iter().map(|&value| f64::from(value)).collect(),
            Self::F64(data) => data.clone(),
        }
    }

    /// Overwrites one element, rounded.
    pub fn set(&mut self, at: usize, value: f64) {
        match self {
            Self::F32(data) => data[at] = value as f32,
            Self::F64(data) => data[at] = value,
        }
    }

    /// The first element whose bits differ from `other`'s.
    ///
    /// All NaN count as one: Rust leaves their sign and payload open, and compilers use the freedom.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if (self.dtype(), self.len()) != (other.dtype(), other.len()) {
            return Some(format!("{} of {}", self.dtype(), self.len()));
        }
        // Widening keeps each value but NaN apart, signed zeros included.
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        let (ours, theirs) = (self.values(), other.values());
        let at = ours.iter().zip(&theirs).position(|(&a, &b)| !same(a, b))?;
        Some(format!("[{at}] is {:e}, not {:e}", theirs[at], ours[at]))
    }
}

/// Memory that holds an array in some layout.
pub trait Memory {
    /// A copy of `data`; `salt` chooses among layouts.
    fn of(data: &Data, salt: usize) -> Self;
    /// The elements in order. Panics where anything beside them was written.
    fn data(&self) -> Data;
    fn source(&self) -> Source<'_>;
    fn sink(&mut self) -> Sink<'_>;
}

impl Memory for Data {
    fn of(data: &Data, _: usize) -> Self {
        data.clone()
    }

    fn data(&self) -> Data {
        self.clone()
    }

    fn source(&self) -> Source<'_> {
        match self {
            Self::F32(data) => Source::F32(View::Dense(data)),
            Self::F64(data) => Source::F64(View::Dense(data)),
        }
    }

    fn sink(&mut self) -> Sink<'_> {
        match self {
            Self::F32(data) => Sink::F32(ViewMut::Dense(data)),
            Self::F64(data) => Sink::F64(ViewMut::Dense(data)),
        }
    }
}

/// Which values an array holds.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// Magnitudes between 2^-8 and 2^8.
    Moderate,
    /// One in eight is a zero, subnormal, tiny or huge.
    Finite,
    /// And one in 128 is infinite or NaN.
    Any,
}

const EXTREMES: [f64; 14] = [
    0.0, -0.0, 1e-40, -3e-45, 5e-324, -1e-310, 1.2e-38, 1e-23, -1e-16, 1e16, -3e38, 1e38, 1e150,
    -1e306,
];
const NOT_FINITE: [f64; 3] = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN];

/// Splitmix64, so that an array of any length is one number in a failing case.
pub struct Random(pub u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn pick(&mut self, values: &[f64]) -> f64 {
        values[self.bits() as usize % values.len()]
    }

    fn value(&mut self, values: Values) -> f64 {
        let (chance, bits) = (self.bits() % 128, self.bits());
        match (values, chance) {
            (Values::Any, 0) => self.pick(&NOT_FINITE),
            (Values::Any | Values::Finite, 0..16) => self.pick(&EXTREMES),
            _ => {
                let (sign, exponent, mantissa) = (bits >> 63, bits >> 52 & 15, bits & (!0 >> 12));
                f64::from_bits(sign << 63 | (1015 + exponent) << 52 | mantissa)
            }
        }
    }

    pub fn data(&mut self, dtype: DType, len: usize, values: Values) -> Data {
        Data::new(dtype, (0..len).map(|_| self.value(values)))
    }
}
