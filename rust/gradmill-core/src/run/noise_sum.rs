//! Sums of noise with weights: drawn where it is added, in f64, and the sum rounded once.

use std::marker::PhantomData;

use pulp::NullaryFnOnce;

use crate::data::{Sink, Source};
use crate::number::rng::{self, Key, Sample, WORDS_AT_ONCE};
use crate::number::rounding::Rounding;
use crate::sys::config::{CHUNK, Config};
use crate::sys::mode::in_default_mode;
use crate::sys::par;
use crate::sys::simd::Tier;

/// Elements of a sum that are formed at once, so that their accumulators stay in the first cache; divides [`CHUNK`].
const FORMED_AT_ONCE: usize = 1 << 10;
/// How many elements may be read and written in the time that it takes to draw one.
const COST: usize = 8;

/// What noise is added to.
#[derive(Debug)]
pub enum Base<'a> {
    /// Nothing.
    Zero,
    /// What the array that receives the sum holds.
    Own,
    /// Another array of as many elements.
    Other(Source<'a>),
}

/// One leaf of a tree that noise is drawn for.
#[derive(Debug)]
pub struct Noisy<'a> {
    /// What noise is added to.
    pub base: Base<'a>,
    /// Whether it is drawn in f64, and not in f32.
    pub is_wide: bool,
    /// Receives the sum.
    pub sum: Sink<'a>,
}

/// Writes `base + Σ weight · z` to the sum of each leaf, with the standard normal `z` of each key: those of
/// `jax.random.normal` for the key of the leaf's number in [`rng::split`].
///
/// No bit depends on the number of threads: each element adds up in the order of the keys.
pub fn noise_sum(leaves: Vec<Noisy<'_>>, keys: &[Key], weights: &[f64], config: &Config) {
    let elements: usize = leaves.iter().map(|leaf| leaf.sum.len()).sum();
    let drawn = elements.saturating_mul(COST * keys.len());
    let threads = par::threads_for(config.threads, elements.saturating_add(drawn));
    let per_task = (CHUNK / (COST * keys.len()).max(1)).next_multiple_of(FORMED_AT_ONCE);
    let mut stretches = Vec::new();
    for (number, Noisy { mut base, is_wide, sum: mut rest }) in leaves.into_iter().enumerate() {
        let len = rest.len();
        for start in (0..len).step_by(per_task) {
            let (sum, tail) = rest.split_at(per_task.min(len - start));
            let (own, other) = base.split_at(sum.len());
            let of = Of { leaf: number as u64, is_wide, keys, weights };
            stretches.push(Stretch { of, start, base: own, sum });
            (rest, base) = (tail, other);
        }
    }
    let run = |stretch: Stretch<'_>| in_default_mode(|| stretch.run(config.tier));
    par::for_each(threads, stretches.into_iter(), run);
}

impl Base<'_> {
    fn split_at(self, at: usize) -> (Self, Self) {
        match self {
            Self::Zero => (Self::Zero, Self::Zero),
            Self::Own => (Self::Own, Self::Own),
            Self::Other(source) => {
                let (head, tail) = source.split_at(at);
                (Self::Other(head), Self::Other(tail))
            }
        }
    }
}

/// What is added to a leaf.
#[derive(Clone, Copy)]
struct Of<'t> {
    leaf: u64,
    is_wide: bool,
    keys: &'t [Key],
    weights: &'t [f64],
}

/// Some elements of a leaf.
struct Stretch<'t> {
    of: Of<'t>,
    /// Elements of the leaf before it.
    start: usize,
    base: Base<'t>,
    sum: Sink<'t>,
}

impl Stretch<'_> {
    fn run(self, tier: Tier) {
        let Self { of, mut start, mut base, sum: mut rest } = self;
        let mut accumulators = [0.0; FORMED_AT_ONCE];
        while !rest.is_empty() {
            let count = FORMED_AT_ONCE.min(rest.len());
            let ((mut sum, tail), (own, other)) = (rest.split_at(count), base.split_at(count));
            let sums = &mut accumulators[..count];
            match &own {
                Base::Zero => sums.fill(0.0),
                Base::Own => sum.read(tier, sums),
                Base::Other(source) => source.read(tier, sums),
            }
            if of.is_wide {
                of.add::<f64>(tier, start, sums);
            } else {
                of.add::<f32>(tier, start, sums);
            }
            sum.write(tier, sums, Rounding::Nearest);
            (rest, base) = (tail, other);
            start += count;
        }
    }
}

impl Of<'_> {
    /// Adds the noise of elements `start..` of the leaf to `sums`.
    fn add<T: Sample>(self, tier: Tier, start: usize, sums: &mut [f64]) {
        for (&key, &weight) in self.keys.iter().zip(self.weights) {
            let key = rng::split(key, self.leaf);
            tier.run(AddDrawn::<T> { sums, key, start: start as u64, weight, of: PhantomData });
        }
    }
}

/// Adds the normal numbers of a key, of elements `start..`, to `sums`, each times `weight`.
struct AddDrawn<'k, T> {
    sums: &'k mut [f64],
    key: Key,
    start: u64,
    weight: f64,
    /// The type that is drawn in.
    of: PhantomData<T>,
}

impl<T: Sample> NullaryFnOnce for AddDrawn<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { sums, key, start, weight, .. } = self;
        for (block, sums) in sums.chunks_mut(WORDS_AT_ONCE).enumerate() {
            let drawn = rng::normals::<T>(key, start + (block * WORDS_AT_ONCE) as u64);
            for (sum, number) in sums.iter_mut().zip(drawn) {
                *sum += number.to_f64() * weight;
            }
        }
    }
}
