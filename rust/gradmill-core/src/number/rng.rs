//! The noise of `jax.random`, so that a seed gives the numbers that it gives under optax.
//!
//! Normal numbers are `√2 · erfinv` of uniform ones (Giles 2012, "Approximating the erfinv function"). Words and
//! uniform numbers have JAX's bits. Normal numbers are within 5e-7 of its in f32 and 5e-15 in f64, relatively: its
//! logarithm is less exact.

use std::f32::consts as consts32;
use std::f64::consts as consts64;
use std::ops::Mul;

use super::element::Element;
use super::threefry::pairs;
pub use super::threefry::{Key, WORDS_AT_ONCE, split};

/// Elements `start..` of `jax.random.normal(key, shape, dtype)` in C order.
#[inline(always)]
pub fn fill_normal<T: Sample>(key: Key, start: u64, out: &mut [T]) {
    for (block, out) in out.chunks_mut(WORDS_AT_ONCE).enumerate() {
        let block = normals::<T>(key, start.wrapping_add((block * WORDS_AT_ONCE) as u64));
        out.copy_from_slice(&block[..out.len()]);
    }
}

/// Elements that take the way through the tails where one of them is there: few enough that most have none.
const NEAR_AT_ONCE: usize = 32;

/// Elements `start..start + WORDS_AT_ONCE`, in loops without branches, each of which the compiler vectorises.
#[inline(always)]
pub(crate) fn normals<T: Sample>(key: Key, start: u64) -> [T; WORDS_AT_ONCE] {
    let [first, second] = pairs(key, start);
    let mut numbers = [T::default(); WORDS_AT_ONCE];
    for (number, (&first, &second)) in numbers.iter_mut().zip(first.iter().zip(&second)) {
        *number = T::uniform([first, second]);
    }
    let mut ratios = numbers;
    for ratio in &mut ratios {
        *ratio = (*ratio * *ratio).minus_ln_of_rest();
    }
    for ratios in ratios.as_chunks_mut::<NEAR_AT_ONCE>().0 {
        let far = ratios.iter().fold(0, |far, &ratio| far | u32::from(ratio >= T::FAR));
        if far == 0 {
            for w in ratios {
                *w = w.near();
            }
        } else {
            for w in ratios {
                *w = if *w < T::FAR { w.near() } else { w.far() };
            }
        }
    }
    for (number, ratio) in numbers.iter_mut().zip(ratios) {
        *number = T::SQRT_2 * (ratio * *number);
    }
    numbers
}

/// An element type that random numbers are drawn in.
///
/// `erfinv(x) / x` is a polynomial in `w = -ln(1 - x²)` where that is below `FAR`, and in its root elsewhere.
pub trait Sample: Element + PartialOrd + Mul<Output = Self> {
    /// The square root of two.
    const SQRT_2: Self;
    /// Where the tails begin.
    const FAR: Self;

    /// A number between -1 and 1.
    fn uniform(words: [u32; 2]) -> Self;
    /// `-ln(1 - self)` for a number between 0 and 1, to one unit in the last place.
    #[must_use]
    fn minus_ln_of_rest(self) -> Self;
    /// `erfinv(x) / x` of a `w` outside the tails.
    #[must_use]
    fn near(self) -> Self;
    /// `erfinv(x) / x` of a `w` in the tails.
    #[must_use]
    fn far(self) -> Self;
}

/// The value at `x` of a polynomial, highest power first. Written out, since loops around loops are not
/// vectorised.
macro_rules! polynomial {
    ($x:expr, $first:expr $(, $next:expr)* $(,)?) => {{
        let (x, sum) = ($x, $first);
        $(let sum = sum * x + $next;)*
        sum
    }};
}

macro_rules! bits {
    ($type:ident, $bits:ident, $consts:ident, |$a:ident, $b:ident| $word:expr, $ln_2:expr, [$($series:expr),* $(,)?]) => {
        const SQRT_2: Self = $consts::SQRT_2;

        #[inline(always)]
        fn uniform([$a, $b]: [u32; 2]) -> Self {
            // From [1, 2) to (-1, 1) in steps that are all exact.
            let bits = $word >> ($bits::BITS + 1 - Self::MANTISSA_DIGITS) | Self::to_bits(1.0);
            (Self::from_bits(bits) - 1.0) * 2.0 - (1.0 - Self::EPSILON / 2.0)
        }

        #[inline(always)]
        fn minus_ln_of_rest(self) -> Self {
            const FRACTION: u32 = $type::MANTISSA_DIGITS - 1;
            const ONE: $bits = (1.0 as $type).to_bits();
            const OFFSET: $bits = ONE - $consts::FRAC_1_SQRT_2.to_bits();
            // 1 - self = rest + lost = (1 + f) / 2^halvings, with 1 + f from √½ to √2.
            let rest = 1.0 - self;
            let lost = (1.0 - rest) - self;
            let halvings = (ONE >> FRACTION) - ((rest.to_bits() + OFFSET) >> FRACTION);
            let scaled = Self::from_bits(rest.to_bits() + (halvings << FRACTION));
            let scale = Self::from_bits(ONE + (halvings << FRACTION));
            let f = (scaled - 1.0) + lost * scale;
            // ln(1 + f) = 2 artanh(s) = f - f²/2 + s (f²/2 + r), where r is a series in s².
            let s = f / (2.0 + f);
            let r = s * s * polynomial!(s * s, $($series),*);
            let half = 0.5 * f * f;
            // An integer in the lowest bits of a large number: not every instruction set converts 64 bits.
            let large = 1.0 / Self::EPSILON;
            let count = Self::from_bits(large.to_bits() + halvings) - large;
            let [high, low] = $ln_2;
            count * high + ((half - (s * (half + r) - count * low)) - f)
        }
    };
}

// The polynomials of `erfinv` are Giles's.
// In both, ln 2 is in two parts, of which the first is short enough for exact products, and the series
// 2/3 + 2/5 s² + 2/7 s⁴ + ... is minimax between the ends of s.

#[allow(clippy::unreadable_literal, clippy::excessive_precision, reason = "as published")]
impl Sample for f32 {
    const FAR: Self = 5.0;
    bits!(
        f32,
        u32,
        consts32,
        |a, b| a ^ b,
        [0.693_145_75, 1.428_606_8e-6],
        [0.295_821_52, 0.399_887_17, 0.666_666_87]
    );

    #[inline(always)]
    fn near(self) -> Self {
        polynomial!(
            self - 2.5,
            2.81022636e-8,
            3.43273939e-7,
            -3.5233877e-6,
            -4.39150654e-6,
            0.00021858087,
            -0.00125372503,
            -0.00417768164,
            0.246640727,
            1.50140941
        )
    }
    #[inline(always)]
    fn far(self) -> Self {
        polynomial!(
            self.sqrt() - 3.0,
            -0.000200214257,
            0.000100950558,
            0.00134934322,
            -0.00367342844,
            0.00573950773,
            -0.0076224613,
            0.00943887047,
            1.00167406,
            2.83297682
        )
    }
}

#[allow(clippy::unreadable_literal, reason = "as published")]
impl Sample for f64 {
    const FAR: Self = 6.25;
    bits!(
        f64,
        u64,
        consts64,
        |a, b| u64::from(a) << 32 | u64::from(b),
        [0.693_147_180_559_918_8, 2.655_752_075_667_970_4e-14],
        [
            0.146_178_727_830_158_73,
            0.153_315_969_501_069_43,
            0.181_828_932_190_875_4,
            0.222_222_110_728_351_3,
            0.285_714_286_263_992_8,
            0.399_999_999_998_984_45,
            0.666_666_666_666_667
        ]
    );

    #[inline(always)]
    fn near(self) -> Self {
        polynomial!(
            self - 3.125,
            -3.64441206401782e-21,
            -1.6850591381820166e-19,
            1.28584807152564e-18,
            1.1157877678025181e-17,
            -1.333171662854621e-16,
            2.0972767875968562e-17,
            6.637638134358324e-15,
            -4.054566272975207e-14,
            -8.151934197605472e-14,
            2.6335093153082323e-12,
            -1.2975133253453532e-11,
            -5.415412054294628e-11,
            1.0512122733215323e-9,
            -4.112633980346984e-9,
            -2.9070369957882005e-8,
            4.2347877827932404e-7,
            -1.3654692000834679e-6,
            -1.3882523362786469e-5,
            0.00018673420803405714,
            -0.000740702534166267,
            -0.006033670871430149,
            0.24015818242558962,
            1.6536545626831027
        )
    }
    #[inline(always)]
    fn far(self) -> Self {
        let root = self.sqrt();
        let far = polynomial!(
            root - 3.25,
            2.2137376921775787e-9,
            9.075656193888539e-8,
            -2.7517406297064545e-7,
            1.8239629214389228e-8,
            1.5027403968909828e-6,
            -4.013867526981546e-6,
            2.9234449089955446e-6,
            1.2475304481671779e-5,
            -4.7318229009055734e-5,
            6.828485145957318e-5,
            2.4031110387097894e-5,
            -0.0003550375203628475,
            0.0009532893797373805,
            -0.0016882755560235047,
            0.002491442096107851,
            -0.003751208507569241,
            0.005370914553590064,
            1.0052589676941592,
            3.0838856104922208
        );
        let farthest = polynomial!(
            root - 5.0,
            -2.7109920616438573e-11,
            -2.555641816996525e-10,
            1.5076572693500548e-9,
            -3.789465440126737e-9,
            7.61570120807834e-9,
            -1.496002662714924e-8,
            2.914795345090108e-8,
            -6.771199775845234e-8,
            2.2900482228026655e-7,
            -9.9298272942317e-7,
            4.526062597223154e-6,
            -1.968177810553167e-5,
            7.599527703001776e-5,
            -0.00021503011930044477,
            -0.00013871931833623122,
            1.0103004648645344,
            4.849906401408584
        );
        if self < 16.0 { far } else { farthest }
    }
}

#[cfg(test)]
#[allow(clippy::unreadable_literal, reason = "numbers as JAX prints them")]
mod tests {
    use super::super::float::Float;
    use super::super::threefry::threefry;
    use super::*;
    use crate::sys::simd::Tier;
    use proptest::prelude::*;
    use pulp::NullaryFnOnce;

    /// Fills a slice in pieces of some length.
    struct Fill<'a, T>(Key, u64, &'a mut [T], usize);

    impl<T: Sample> NullaryFnOnce for Fill<'_, T> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self(key, start, out, len) = self;
            for (piece, out) in out.chunks_mut(len).enumerate() {
                fill_normal(key, start.wrapping_add((piece * len) as u64), out);
            }
        }
    }

    /// What JAX 0.10 draws, within four units in the last place.
    fn draws<T: Float>(key: Key, start: u64, expected: &[T]) {
        let mut numbers = vec![T::ZERO; expected.len()];
        fill_normal(key, start, &mut numbers);
        let unit = if T::DTYPE == crate::DType::F32 { f32::EPSILON.into() } else { f64::EPSILON };
        for (number, expected) in numbers.iter().zip(expected) {
            let (number, expected) = (number.to_f64(), expected.to_f64());
            assert!(
                (number - expected).abs() <= 4.0 * unit * expected.abs(),
                "{number} {expected}"
            );
        }
    }

    #[test]
    fn uniform_numbers_of_jax() {
        let words = [0, 1, 2].map(|index| threefry([0, 42], [0, index]));
        assert_eq!(words.map(|[a, b]| a ^ b), [0x7d1c_13a2, 0xae07_30d9, 0x9dc3_f9f9]);
        assert_eq!(words.map(f32::uniform), [-0.022580802, 0.3595944, 0.23254305]);
        let expected = [-0.14654486670018174, -0.9699798609693707, 0.14828883579907048];
        assert_eq!(words.map(f64::uniform), expected);
    }

    #[test]
    fn normal_numbers_of_jax() {
        let key = [0, 0];
        draws(key, 0, &[1.6226422f32, 2.0252647, -0.43359444, -0.07861735, 0.1760909]);
        draws(key, 73_606, &[-0.36796448f32, 0.99607426, 4.5215344, -0.19567728]);
        draws(key, 0, &[-0.2058421394796434, -0.7847657764467411, 1.8160866726679836]);
        draws(key, 89_164, &[-0.8870811842421922, 4.754777990241351, 1.65704825662684]);
        let key = [0, 42];
        draws(key, 0, &[-0.028304616f32, 0.46713185, 0.29570296, 0.15354592, -0.12403282]);
        draws(key, 99_996, &[0.4689532f32, 0.25881782, 0.8525194, -0.5208231]);
        draws(key, 0, &[-0.18471174528191162, -2.169824560397754, 0.18693555179382582]);
        draws(key, 99_997, &[-0.9308900958724943, 1.0042417449877503, -0.392887688731486]);

        // The ends and the middle: Threefry is a bijection, and these counters have the words [0, 0],
        // [MAX, 0], [MAX, MAX] and [1 << 31, 0].
        let key = [0, 0];
        let [least, large, most, middle]: [u64; 4] =
            [0x7f72bceddcf9249d, 0xfa7e3ae71321a31f, 0xbcf893de864a12b6, 0xabf71065a82c53a0];
        draws(key, least, &[-5.419983f32]);
        draws(key, large, &[5.220113f32]);
        draws(key, middle, &[7.470334e-8f32]);
        draws(key, least, &[-8.292361075813595]);
        draws(key, large, &[6.230260175302365]);
        draws(key, most, &[8.160707840858583]);
        draws(key, middle, &[1.3914582123358836e-16]);
    }

    #[test]
    fn two_steps_of_add_noise_on_the_second_of_three_leaves() {
        let first = [-1.335625f32, -0.35256302, 0.30970404, -1.000946, -0.07749758];
        let second = [1.0646981f32, -0.0349715, 1.8180065, -1.3633304, -1.8950322];
        let mut key = [0, 0];
        for expected in [first, second] {
            draws(split(split(key, 1), 1), 0, &expected);
            key = split(key, 0);
        }
    }

    #[test]
    fn moments() {
        fn of<T: Float>() {
            let mut numbers = vec![T::ZERO; 1_000_000];
            Tier::best().run(Fill([3, 4], 0, &mut numbers, 1_000_000));
            let moment = |power| numbers.iter().map(|x| x.to_f64().powi(power)).sum::<f64>() / 1e6;
            assert!(moment(1).abs() < 4e-3 && (moment(2) - 1.0).abs() < 6e-3);
            assert!(moment(3).abs() < 2e-2 && (moment(4) - 3.0).abs() < 4e-2);
        }
        of::<f32>();
        of::<f64>();
    }

    fn same_bits<T: Float>(key: Key, start: u64, length: usize, piece: usize) -> bool {
        let fill = |tier: Tier, piece| {
            let mut numbers = vec![T::ZERO; length];
            tier.run(Fill(key, start, &mut numbers, piece));
            numbers
        };
        let whole = fill(Tier::Scalar, length);
        Tier::ALL.into_iter().all(|tier| fill(tier, piece) == whole)
    }

    proptest! {
        #[test]
        fn same_bits_in_pieces_and_on_every_tier(
            key: Key, start in prop_oneof![any::<u64>(), (1u64 << 32) - 300..1 << 32],
            length in 1usize..400, piece in 1usize..150,
        ) {
            prop_assert!(same_bits::<f32>(key, start, length, piece));
            prop_assert!(same_bits::<f64>(key, start, length, piece));
        }

        #[test]
        fn logarithm_to_a_unit_in_the_last_place(mantissa in 0.5f64..1.0, exponent in -100i32..=0, flip: bool) {
            let t = mantissa * 2f64.powi(exponent);
            let t = if flip { 1.0 - t.max(f64::EPSILON) } else { t };
            let exact = -(-t).ln_1p();
            prop_assert!((t.minus_ln_of_rest() - exact).abs() <= 2.0 * f64::EPSILON * exact);
            let t = (t as f32).min(1.0 - f32::EPSILON);
            let exact = -f64::from(-t).ln_1p();
            let error = (f64::from(t.minus_ln_of_rest()) - exact).abs();
            prop_assert!(error <= f64::from(f32::EPSILON) * exact);
        }
    }
}
