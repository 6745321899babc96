//! Words of Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), a function
//! of key and counter, in the layout that JAX calls partitionable: element `i` of an array is made of counter `i` alone,
//! so arrays can be filled in pieces.

use pulp::NullaryFnOnce;

use crate::sys::simd::Tier;

/// What a stream of random words is chosen by.
pub type Key = [u32; 2];

/// Key number `index` of `jax.random.split(key, n)`, which is the same for every `n`.
#[must_use]
pub fn split(key: Key, index: u64) -> Key {
    threefry(key, [(index >> 32) as u32, index as u32])
}

/// Elements at once: enough for [`pairs`] to be a loop over the widest vectors.
pub const WORDS_AT_ONCE: usize = 128;

/// Words of elements `start..start + WORDS_AT_ONCE`, those of `jax.random.bits` in 32 bits. Not inlined, as it is long.
#[inline(never)]
pub(crate) fn words(tier: Tier, key: Key, start: u64) -> [u32; WORDS_AT_ONCE] {
    tier.run(Words { key, start })
}

struct Words {
    key: Key,
    start: u64,
}

impl NullaryFnOnce for Words {
    type Output = [u32; WORDS_AT_ONCE];

    #[inline(always)]
    fn call(self) -> Self::Output {
        let [mut words, second] = pairs(self.key, self.start);
        for (word, second) in words.iter_mut().zip(second) {
            *word ^= second;
        }
        words
    }
}

/// The rounds of Threefry, of counters that take turns. Written out, since loops around loops are not vectorised.
macro_rules! rounds {
    ($key:expr, $($pair:tt)*) => {{
        let [x, y] = $key;
        let z = x ^ y ^ 0x1bd1_1bda;
        rounds!(@key x, y, 0, $($pair)*);
        rounds!(@four [13, 15, 26, 6], y, z, 1, $($pair)*);
        rounds!(@four [17, 29, 16, 24], z, x, 2, $($pair)*);
        rounds!(@four [13, 15, 26, 6], x, y, 3, $($pair)*);
        rounds!(@four [17, 29, 16, 24], y, z, 4, $($pair)*);
        rounds!(@four [13, 15, 26, 6], z, x, 5, $($pair)*);
    }};
    (@four [$($by:literal),*], $x:ident, $y:ident, $number:literal, $($pair:tt)*) => {
        rounds!(@turns [$($by),*] [$($pair)*]);
        rounds!(@key $x, $y, $number, $($pair)*);
    };
    (@turns [$($by:literal),*] $pairs:tt) => {
        $(rounds!(@turn $by, $pairs);)*
    };
    (@turn $by:literal, [$(($a:ident $b:ident))*]) => {
        $($a = $a.wrapping_add($b);)*
        $($b = $b.rotate_left($by) ^ $a;)*
    };
    (@key $x:ident, $y:ident, $number:literal, $(($a:ident $b:ident))*) => {
        $($a = $a.wrapping_add($x);)*
        $($b = $b.wrapping_add($y.wrapping_add($number));)*
    };
}

/// Both words of counters `start..start + WORDS_AT_ONCE`. Four take turns in each step: the rounds of one depend on each
/// other, and a processor looks ahead no further than to the next.
#[inline(always)]
pub(super) fn pairs(key: Key, start: u64) -> [[u32; WORDS_AT_ONCE]; 2] {
    const APART: usize = WORDS_AT_ONCE / 4;
    let (high, low) = ((start >> 32) as u32, start as u32);
    let (mut first, mut second) = ([0; WORDS_AT_ONCE], [0; WORDS_AT_ONCE]);
    for lane in 0..APART {
        let counter = |turn: usize| low.wrapping_add((lane + turn * APART) as u32);
        let carried = |counter: u32| high.wrapping_add(u32::from(counter < low));
        let (mut b0, mut b1, mut b2, mut b3) = (counter(0), counter(1), counter(2), counter(3));
        let (mut a0, mut a1, mut a2, mut a3) = (carried(b0), carried(b1), carried(b2), carried(b3));
        rounds!(key, (a0 b0) (a1 b1) (a2 b2) (a3 b3));
        (first[lane], second[lane]) = (a0, b0);
        (first[lane + APART], second[lane + APART]) = (a1, b1);
        (first[lane + 2 * APART], second[lane + 2 * APART]) = (a2, b2);
        (first[lane + 3 * APART], second[lane + 3 * APART]) = (a3, b3);
    }
    [first, second]
}

/// Two random words, of a counter with its high half first.
#[inline(always)]
pub(super) fn threefry(key: Key, counter: [u32; 2]) -> [u32; 2] {
    let [mut a, mut b] = counter;
    rounds!(key, (a b));
    [a, b]
}

#[cfg(test)]
#[allow(clippy::unreadable_literal, reason = "numbers as JAX prints them")]
mod tests {
    use super::*;

    #[test]
    fn words_of_random123() {
        let all = u32::MAX;
        assert_eq!(threefry([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry([all, all], [all, all]), [0x1cb9_96fc, 0xbb00_2be7]);
        let words = threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]);
        assert_eq!(words, [0xc492_3a9c, 0x483d_f7a0]);
    }

    #[test]
    fn keys_of_jax() {
        assert_eq!(split([0, 42], 0), [1832780943, 270669613]);
        assert_eq!(split([0, 42], 6), [2768684296, 3055579793]);
    }
}
