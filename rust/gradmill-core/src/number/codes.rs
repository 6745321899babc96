//! Numbers in 8 bits each, in groups that share a scale.
//!
//! A group of [`GROUP`] numbers is one code for each and a scale in single precision, rounded before it is used: so what
//! is read and stored again stays as it is, bit for bit. A scale has 16 bits behind the first one, since with the seven of
//! bfloat16 a moment whose weight is 0.999 never becomes smaller: a step of a thousandth is lost in the rounding. Codes and
//! scales are made by arithmetic that has one result on any processor, in any mode for subnormal numbers.

/// How many numbers share a scale.
pub const GROUP: usize = 32;

/// What codes stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Numbers of either sign, as integers from -127 to 127 times the scale.
    Signed,
    /// Means of squares, as `2^e (1 + m / 16)` times the scale with `e` from -15 to 0 in the upper four bits and `m` in the
    /// lower ones. None is zero unless the scale is: a divisor that is lost in rounding would make a step without bound.
    Square,
}

/// The largest integer, and the largest number that a square's code stands for; powers of two in them would do as well,
/// but not more than eight bits, so that products with scales are exact.
const MOST: [f32; 2] = [127.0, 31.0 / 16.0];
/// Its sum with a number of either sign and less than `2^22` has that, rounded to an integer, in its lowest bits.
const ROUNDS: f32 = 12_582_912.0;
/// How far the four bits of a square's fraction are from the lowest of single precision.
const SHIFT: u32 = 19;
/// The bits of `2^-15`, for which a square's code is zero.
const LEAST: u32 = (127 - 15) << 23;
const HALF: u32 = 1 << (SHIFT - 1);
/// The bits of a number without its sign.
const SIZE: u32 = u32::MAX >> 1;
/// Those of infinity; what has larger ones is NaN.
const INFINITE: u32 = 0x7f80_0000;
/// The least scale: no number that is decoded with it is subnormal.
const LEAST_SCALE: f32 = f32::from_bits((127 - 107) << 23);
/// The bits of a scale that are rounded away.
const DROPPED: u32 = 0x7f;

impl Coding {
    /// The number that a code stands for.
    #[inline(always)]
    pub(crate) fn decode(self, code: u8, scale: f32) -> f32 {
        match self {
            Self::Signed => f32::from(code.cast_signed()) * scale,
            Self::Square => f32::from_bits(LEAST + (u32::from(code) << SHIFT)) * scale,
        }
    }

    /// What the largest number of a group is multiplied by to give its scale, before that is rounded.
    #[inline(always)]
    pub(crate) const fn share(self) -> f32 {
        1.0 / MOST[self as usize]
    }

    /// The code of a number that is finite and no larger than the largest of its group.
    #[inline(always)]
    pub(crate) fn encode(self, value: f32, factor: f32) -> u8 {
        let scaled = value * factor;
        let code = match self {
            Self::Signed => (scaled + ROUNDS).to_bits(),
            Self::Square => scaled.to_bits().wrapping_add(HALF).max(LEAST) >> SHIFT,
        };
        code as u8
    }
}

/// The scale of a group whose largest number has this [`size`], with what its coding has as [`Coding::share`], and the factor
/// by which its codes are made. One number that is not finite makes all of its group NaN.
#[inline(always)]
pub(crate) fn scale(largest: u32, share: f32) -> (f32, f32) {
    let exact = f32::from_bits(largest) * share;
    let rounded = f32::from_bits((exact.to_bits() + DROPPED.div_ceil(2)) & !DROPPED);
    let scale = if rounded < LEAST_SCALE { 0.0 } else { rounded };
    // What is divided by one is too small to have another code than zero.
    let factor = 1.0 / if scale == 0.0 { 1.0 } else { scale };
    (if is_finite(largest) { scale } else { f32::NAN }, factor)
}

/// The size of a number as an integer that is larger where the number is; that of what is not finite is the largest.
#[inline(always)]
pub(crate) fn size(value: f32) -> u32 {
    value.to_bits() & SIZE
}

/// Whether a number of this [`size`] is neither infinite nor NaN.
#[inline(always)]
pub(crate) fn is_finite(size: u32) -> bool {
    size < INFINITE
}

/// Encodes numbers, no more than a group of them; the scale.
#[inline(always)]
pub(crate) fn encode_group(coding: Coding, values: &[f32], codes: &mut [u8]) -> f32 {
    let largest = values.iter().fold(0, |largest, &value| size(value).max(largest));
    let (scale, factor) = scale(largest, coding.share());
    for (code, &value) in codes.iter_mut().zip(values) {
        *code = coding.encode(value, factor);
    }
    if !is_finite(largest) {
        codes.fill(0);
    }
    scale
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coded(coding: Coding, values: &[f32]) -> (Vec<u8>, f32) {
        let mut codes = vec![0; values.len()];
        let scale = encode_group(coding, values, &mut codes);
        (codes, scale)
    }

    fn decoded(coding: Coding, codes: &[u8], scale: f32) -> Vec<f32> {
        codes.iter().map(|&code| coding.decode(code, scale)).collect()
    }

    #[test]
    fn a_group_of_zeros_stays_one() {
        for coding in [Coding::Signed, Coding::Square] {
            let (codes, scale) = coded(coding, &[0.0, -0.0, 1e-40, 0.0]);
            assert_eq!((codes, scale.to_bits()), (vec![0; 4], 0));
        }
    }

    #[test]
    fn what_is_not_finite_makes_its_group_nan() {
        for (coding, bad) in
            [Coding::Signed, Coding::Square].into_iter().zip([f32::NAN, f32::INFINITY])
        {
            let (codes, scale) = coded(coding, &[1.0, bad, 2.0]);
            assert!(scale.is_nan() && codes == [0; 3]);
        }
    }

    #[test]
    fn no_square_becomes_zero_beside_a_large_one() {
        let (codes, scale) = coded(Coding::Square, &[f32::MAX, 1e-30]);
        assert!(decoded(Coding::Square, &codes, scale).iter().all(|&value| value > 0.0));
    }

    #[test]
    fn a_small_decay_is_not_lost() {
        let (mut codes, mut scale) = coded(Coding::Square, &[1.0, 0.3]);
        let mut exact = 1.0;
        for _ in 0..1000 {
            exact *= 0.999;
            let mut values = decoded(Coding::Square, &codes, scale);
            for value in &mut values {
                *value *= 0.999;
            }
            (codes, scale) = coded(Coding::Square, &values);
        }
        let left = decoded(Coding::Square, &codes, scale)[0];
        assert!((left / exact - 1.0).abs() < 0.01, "{left}");
    }

    proptest! {
        #[test]
        fn codes_are_near_and_stay(
            values in proptest::collection::vec(prop_oneof![any::<f32>(), -1e3f32..1e3, -1e-3f32..1e-3], 1..=GROUP),
        ) {
            for coding in [Coding::Signed, Coding::Square] {
                let values: Vec<f32> = match coding {
                    Coding::Signed => values.clone(),
                    Coding::Square => values.iter().map(|value| value.abs()).collect(),
                };
                let (codes, scale) = coded(coding, &values);
                let back = decoded(coding, &codes, scale);
                let again = coded(coding, &back);
                prop_assert_eq!((&again.0, again.1.to_bits()), (&codes, scale.to_bits()));
                if values.iter().any(|value| !value.is_finite()) {
                    prop_assert!(back.iter().all(|value| value.is_nan()));
                    continue;
                }
                let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                for (&value, &back) in values.iter().zip(&back) {
                    let off = f64::from((value - back).abs());
                    let near = match coding {
                        Coding::Signed => f64::from(largest) / 254.0,
                        Coding::Square => f64::from(value / 32.0).max(f64::from(largest) / 6e4),
                    };
                    prop_assert!(off <= near * 1.0001 + 4e-31, "{value:e} is {back:e} beside {largest:e}");
                }
            }
        }
    }
}
