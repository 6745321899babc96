//! Measures of units, taken in one read of an array and in f64.
//!
//! Arrays are cut into parts whose edges depend on shape alone, and a part's sums are formed block by block,
//! so no bit depends on threads, instruction set or memory layout.

use pulp::NullaryFnOnce;
use smallvec::{SmallVec, smallvec};

use crate::dtype::{DType, Float};
use crate::exec::Config;
use crate::leaf::Source;
use crate::par;
use crate::units::{Measure, Units};
use crate::walk::CHUNK;

/// Elements that are read at once.
const BLOCK: usize = 1 << 10;
/// Partial sums of a run within one unit: enough of them that the loop over lanes is what the compiler
/// vectorises, and few enough for short rows.
const LANES: usize = 64;

/// One number for each unit.
pub type Sums = SmallVec<[f64; 1]>;

/// The measure of each unit of each array.
pub fn measure(arrays: &[(Source<'_>, &Units)], what: Measure, config: &Config) -> Vec<Sums> {
    let mut result = sums(arrays, what, 1.0, config);
    if what != Measure::Norm {
        return result;
    }
    // Squares of f32 stay within f64; those of f64 may leave it at either end.
    let wide = arrays.iter().any(|(source, _)| source.dtype() == DType::F64);
    let huge: fn(f64) -> bool = |sum| sum == f64::INFINITY;
    let tiny: fn(f64) -> bool = |sum| sum < 1e-270;
    let again = [(huge, 1023 - 600), (tiny, 1023 + 600)].map(|(wrong, exponent)| {
        let scale = f64::from_bits(exponent << 52);
        let needed = wide && result.iter().flatten().any(|&sum| wrong(sum));
        (wrong, scale, needed.then(|| sums(arrays, what, scale, config)))
    });
    for (leaf, sums) in result.iter_mut().enumerate() {
        for (unit, sum) in sums.iter_mut().enumerate() {
            let scaled = again.iter().find_map(|(wrong, scale, sums)| {
                let sums = sums.as_ref().filter(|_| wrong(*sum))?;
                Some(sums[leaf][unit].sqrt() / scale)
            });
            *sum = scaled.unwrap_or_else(|| sum.sqrt());
        }
    }
    result
}

/// Part of an array: some steps of its outermost axis.
struct Part<'p, 'a> {
    leaf: usize,
    source: Source<'a>,
    units: &'p Units,
    start: usize,
    first_unit: usize,
    sums: Sums,
}

fn sums(arrays: &[(Source<'_>, &Units)], what: Measure, scale: f64, config: &Config) -> Vec<Sums> {
    let mut parts: Vec<Part<'_, '_>> = Vec::with_capacity(arrays.len());
    for (leaf, (source, units)) in arrays.iter().enumerate() {
        cut(leaf, source, units, &mut parts);
    }
    let total: usize = arrays.iter().map(|(source, _)| source.len()).sum();
    let threads = par::threads_for(config.threads, total);
    par::for_each(threads, parts.iter_mut(), |part| match part.source.dtype() {
        DType::F64 => part.run::<f64>(what, scale, config),
        _ => part.run::<f32>(what, scale, config),
    });
    let mut result: Vec<Sums> =
        arrays.iter().map(|(_, units)| smallvec![0.0; units.count()]).collect();
    for part in parts {
        for (total, sum) in result[part.leaf][part.first_unit..].iter_mut().zip(part.sums) {
            *total += sum;
        }
    }
    result
}

fn cut<'p, 'a>(leaf: usize, source: &Source<'a>, units: &'p Units, parts: &mut Vec<Part<'p, 'a>>) {
    if source.is_empty() {
        return;
    }
    let (steps, inside, step_len, step_units) = units.outermost();
    // Where units extend over the axis, each part has sums for all of them, so it must be worth them.
    let least = if inside { CHUNK.max(8 * units.count()) } else { CHUNK };
    let per_part = (least / step_len).max(1);
    let mut rest = source.clone();
    for first in (0..steps).step_by(per_part) {
        let taken = per_part.min(steps - first);
        let (source, tail) = rest.split_at(taken * step_len);
        rest = tail;
        let (first_unit, count) =
            if inside { (0, units.count()) } else { (first * step_units, taken * step_units) };
        let sums = smallvec![0.0; count];
        parts.push(Part { leaf, source, units, start: first * step_len, first_unit, sums });
    }
}

impl Part<'_, '_> {
    fn run<T: Float>(&mut self, what: Measure, scale: f64, config: &Config) {
        let Self { source, units, start, first_unit, sums, .. } = self;
        let mut add = |at: usize, values: &[T]| {
            let start = *start + at;
            let first_unit = *first_unit;
            config.tier.run(Add { units, start, first_unit, values, sums, what, scale });
        };
        if let Some(values) = source.dense::<T>() {
            for (block, values) in values.chunks(BLOCK).enumerate() {
                add(block * BLOCK, values);
            }
            return;
        }
        let mut buffer = [T::ZERO; BLOCK];
        let mut rest = source.clone();
        let mut at = 0;
        while !rest.is_empty() {
            let (block, tail) = rest.clone().split_at(rest.len().min(BLOCK));
            let buffer = &mut buffer[..block.len()];
            block.read(config.tier, buffer);
            add(at, buffer);
            at += buffer.len();
            rest = tail;
        }
    }
}

/// Adds a block's share to the sums of its units.
struct Add<'k, T> {
    units: &'k Units,
    start: usize,
    first_unit: usize,
    values: &'k [T],
    sums: &'k mut [f64],
    what: Measure,
    scale: f64,
}

impl<T: Float> NullaryFnOnce for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let scale = self.scale;
        match self.what {
            Measure::Norm => self.add(|value| {
                let value = value * scale;
                value * value
            }),
            Measure::Sum => self.add(|value| value),
            Measure::NotFinite => self.add(|value| if value.is_finite() { 0.0 } else { 1.0 }),
            Measure::Nans => self.add(|value| if value.is_nan() { 1.0 } else { 0.0 }),
        }
    }
}

impl<T: Float> Add<'_, T> {
    #[inline(always)]
    fn add(self, of: impl Fn(f64) -> f64 + Copy) {
        let Self { units, start, first_unit, values, sums, .. } = self;
        units.runs(start, values.len(), |at, run| {
            let values = &values[at..at + run.len];
            let sums = &mut sums[run.unit - first_unit..];
            if run.one_unit {
                sums[0] += total(values, of);
            } else {
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum += of(value.to_f64());
                }
            }
        });
    }
}

#[inline(always)]
fn total<T: Float>(values: &[T], of: impl Fn(f64) -> f64 + Copy) -> f64 {
    let mut lanes = [0.0; LANES];
    let mut rows = values.chunks_exact(LANES);
    for row in &mut rows {
        for (lane, &value) in lanes.iter_mut().zip(row) {
            *lane += of(value.to_f64());
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rows.remainder()) {
        *lane += of(value.to_f64());
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        let (low, high) = lanes.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::leaf::View;
    use crate::simd::Tier;
    use crate::units::Axes;

    /// Element by element, in the plainest way.
    fn naive(values: &[f64], units: &Units, what: Measure) -> Vec<f64> {
        let mut sums = vec![0.0; units.count()];
        units.runs(0, values.len(), |at, run| {
            for (offset, &value) in values[at..at + run.len].iter().enumerate() {
                sums[run.unit + if run.one_unit { 0 } else { offset }] += match what {
                    Measure::Norm => value * value,
                    Measure::Sum => value,
                    Measure::NotFinite => f64::from(u8::from(!value.is_finite())),
                    Measure::Nans => f64::from(u8::from(value.is_nan())),
                };
            }
        });
        if what == Measure::Norm { sums.into_iter().map(f64::sqrt).collect() } else { sums }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn agrees_with_plain_sums_on_any_number_of_threads(
            shape in prop_oneof![
                proptest::collection::vec(0usize..40, 0..4),
                Just(vec![3, 70_001]),
                Just(vec![90_001, 3]),
                Just(vec![300_001]),
            ],
            axes in prop_oneof![Just(Axes::All), Just(Axes::AllButFirst), Just(Axes::Weights)],
            seed in any::<u32>(),
        ) {
            let len: usize = shape.iter().product();
            let mut state = u64::from(seed) | 1;
            let values: Vec<f64> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    f64::from((state >> 40) as u32) / 1e6 - 8.0
                })
                .collect();
            let single: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            let units = Units::new(axes, None, &shape).unwrap().unwrap_or_else(|| Units::whole(len));
            let sources = [Source::F64(View::Dense(&values)), Source::F32(View::Dense(&single))];
            let pairs = sources.map(|source| (source, &units));
            for what in [Measure::Norm, Measure::Sum, Measure::NotFinite, Measure::Nans] {
                let of = |threads, tier| measure(&pairs, what, &Config { threads, tier, fuse: true });
                let measured = of(1, Tier::best());
                for (threads, tier) in [(2, Tier::best()), (3, Tier::Scalar)] {
                    prop_assert_eq!(&of(threads, tier), &measured);
                }
                let wide: Vec<f64> = single.iter().map(|&value| f64::from(value)).collect();
                for (sums, values) in measured.iter().zip([&values, &wide]) {
                    let expected = naive(values, &units, what);
                    prop_assert_eq!(sums.len(), expected.len());
                    for (sum, expected) in sums.iter().zip(expected) {
                        prop_assert!((sum - expected).abs() <= 1e-9 * (1.0 + expected.abs()));
                    }
                }
            }
        }
    }

    #[test]
    fn norms_beyond_the_range_of_squares() {
        let values = [3e200, 4e200, 0.0, 0.0, 3e-200, 4e-200];
        let units = Units::new(Axes::AllButFirst, None, &[3, 2]).unwrap().unwrap();
        let config = Config { threads: 1, tier: Tier::Scalar, fuse: true };
        let pairs = [(Source::F64(View::Dense(&values)), &units)];
        let norms = &measure(&pairs, Measure::Norm, &config)[0];
        for (norm, expected) in norms.iter().zip([5e200, 0.0, 5e-200]) {
            assert!((norm - expected).abs() <= 1e-12 * expected, "{norm}");
        }
    }
}
