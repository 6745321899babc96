//! Measures of units, taken in one read of an array and in f64.
//!
//! Arrays are cut into parts whose edges depend on shape alone, and a part's sums are formed block by block,
//! so no bit depends on threads, instruction set or memory layout.

use pulp::NullaryFnOnce;

use super::squares::{SquareLanes, Squares, add_squares, folded, padded};
use super::units::{Addend, Units};
use crate::data::Source;
use crate::number::dtype::DType;
use crate::number::float::Float;
use crate::sys::config::{CHUNK, Config};
use crate::sys::par;

/// Elements that are read at once.
const READ_AT_ONCE: usize = 1 << 10;
/// Partial sums of a run within one unit: enough of them that the loop over lanes is what the compiler
/// vectorises, and few enough for short rows.
const UNIT_LANES: usize = 64;

/// Arrays that are measured, with the units of each, handed out as often as it takes.
pub trait Arrays {
    /// The units of all, which have as many elements as their arrays.
    fn units(&self) -> impl Iterator<Item = &Units>;
    /// All of them, in the same order.
    fn each(&mut self) -> impl Iterator<Item = (Source<'_>, &Units)> + Send;
}

impl Arrays for &[(Source<'_>, &Units)] {
    fn units(&self) -> impl Iterator<Item = &Units> {
        self.iter().map(|(_, units)| *units)
    }

    fn each(&mut self) -> impl Iterator<Item = (Source<'_>, &Units)> + Send {
        self.iter().map(|(source, units)| (source.clone(), *units))
    }
}

/// Measures of units, and the memory that they are formed in.
#[derive(Debug, Default)]
pub struct Sums {
    /// One number for each unit of each array.
    of_units: Vec<f64>,
    of_parts: Vec<f64>,
    planes: Vec<f64>,
}

impl Sums {
    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.of_units.clear();
    }

    /// Takes what was measured elsewhere, a number for each unit of each array.
    pub fn set(&mut self, of_units: impl Iterator<Item = f64>) {
        self.of_units.clear();
        self.of_units.extend(of_units);
    }

    /// That of a unit by its number; zero where nothing was measured.
    pub fn of(&self, unit: usize) -> f64 {
        self.of_units.get(unit).copied().unwrap_or_default()
    }

    /// Those of all units in a row.
    pub fn all(&self) -> &[f64] {
        &self.of_units
    }

    /// The measure of each unit of each array, in a row.
    pub fn measure(&mut self, arrays: &mut impl Arrays, what: Addend, config: &Config) -> &[f64] {
        let Self { of_units, of_parts, planes } = self;
        let (mut elements, mut in_parts, mut in_units) = (0, 0, 0);
        for units in arrays.units() {
            elements += units.len();
            in_parts += cuts(units).map(|cut| cut.units).sum::<usize>();
            in_units += units.count();
        }
        let width = what.planes();
        for (list, len) in [(&mut *of_parts, width * in_parts), (planes, width * in_units)] {
            list.clear();
            list.resize(len, 0.0);
        }
        let threads = par::threads_for(config.threads, elements);
        let parts = parts(arrays, of_parts, width);
        par::for_each(threads, parts, |mut part| match part.source.dtype() {
            DType::F64 => part.run::<f64>(what, config),
            _ => part.run::<f32>(what, config),
        });
        of_units.clear();
        let (mut of_parts, mut planes) = (&of_parts[..], &mut planes[..]);
        for units in arrays.units() {
            let count = units.count();
            let totals = planes.split_off_mut(..width * count).unwrap_or_default();
            for cut in cuts(units) {
                let sums = of_parts.split_off(..width * cut.units).unwrap_or_default();
                for plane in 0..width {
                    let totals = &mut totals[plane * count + cut.first_unit..];
                    let sums = &sums[plane * cut.units..][..cut.units];
                    for (total, sum) in totals.iter_mut().zip(sums) {
                        *total += sum;
                    }
                }
            }
            of_units.extend((0..count).map(|unit| match what {
                Addend::Square => {
                    let [sum, smaller, larger] =
                        [0, 1, 2].map(|plane| totals[plane * count + unit]);
                    Squares::new(sum, smaller, larger).norm()
                }
                _ => totals[unit],
            }));
        }
        of_units
    }
}

impl Addend {
    /// How many sums it takes for a unit.
    fn planes(self) -> usize {
        if self == Self::Square { 3 } else { 1 }
    }
}

/// Some steps of the outermost axis of an array.
struct PartBounds {
    start: usize,
    len: usize,
    first_unit: usize,
    /// How many units have a share in it.
    units: usize,
}

/// Cuts an array into parts.
fn cuts(units: &Units) -> impl Iterator<Item = PartBounds> + Send + use<> {
    let (steps, inside, step_len, step_units) = units.outermost();
    let count = units.count();
    // Where units extend over the axis, each part has sums for all of them, so it must be worth them.
    let least = if inside { CHUNK.max(8 * count) } else { CHUNK };
    let per_part = (least / step_len.max(1)).max(1);
    let steps = if step_len == 0 { 0 } else { steps };
    (0..steps).step_by(per_part).map(move |first| {
        let taken = per_part.min(steps - first);
        let (first_unit, units) =
            if inside { (0, count) } else { (first * step_units, taken * step_units) };
        PartBounds { start: first * step_len, len: taken * step_len, first_unit, units }
    })
}

/// Part of an array.
struct Part<'p> {
    source: Source<'p>,
    units: &'p Units,
    start: usize,
    first_unit: usize,
    /// Those of all its units, plane by plane.
    sums: &'p mut [f64],
}

/// The parts of all arrays, each with its places in `sums`.
fn parts<'p>(
    arrays: &'p mut impl Arrays,
    mut sums: &'p mut [f64],
    width: usize,
) -> impl Iterator<Item = Part<'p>> + Send {
    let mut arrays = arrays.each();
    let mut rest: Option<(Source<'p>, &'p Units, _)> = None;
    std::iter::from_fn(move || {
        loop {
            if let Some((source, units, cuts)) = &mut rest
                && let Some(PartBounds { start, len, first_unit, units: count }) =
                    Iterator::next(cuts)
            {
                let (own, tail) = Source::clone(source).split_at(len);
                *source = tail;
                let sums = sums.split_off_mut(..width * count)?;
                return Some(Part { source: own, units, start, first_unit, sums });
            }
            let (source, units) = arrays.next()?;
            rest = Some((source, units, cuts(units)));
        }
    })
}

impl Part<'_> {
    fn run<T: Float>(&mut self, what: Addend, config: &Config) {
        let Self { source, units, start, first_unit, sums } = self;
        let mut add = |at: usize, values: &[T]| {
            let start = *start + at;
            let first_unit = *first_unit;
            config.tier.run(AddToUnits { units, start, first_unit, values, sums, what });
        };
        if let Some(values) = source.dense::<T>() {
            for (block, values) in values.chunks(READ_AT_ONCE).enumerate() {
                add(block * READ_AT_ONCE, values);
            }
            return;
        }
        let mut buffer = [T::ZERO; READ_AT_ONCE];
        let mut rest = source.clone();
        let mut at = 0;
        while !rest.is_empty() {
            let (block, tail) = rest.clone().split_at(rest.len().min(READ_AT_ONCE));
            let buffer = &mut buffer[..block.len()];
            block.read(config.tier, buffer);
            add(at, buffer);
            at += buffer.len();
            rest = tail;
        }
    }
}

/// Adds a block's share to the sums of its units.
struct AddToUnits<'k, T> {
    units: &'k Units,
    start: usize,
    first_unit: usize,
    values: &'k [T],
    sums: &'k mut [f64],
    what: Addend,
}

impl<T: Float> NullaryFnOnce for AddToUnits<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        match self.what {
            Addend::Square => self.add_squares(),
            Addend::Value => self.add(|value| value),
            Addend::NotFinite => self.add(|value| if value.is_finite() { 0.0 } else { 1.0 }),
            Addend::Nan => self.add(|value| if value.is_nan() { 1.0 } else { 0.0 }),
        }
    }
}

impl<T: Float> AddToUnits<'_, T> {
    /// Compiled once for all instruction sets, since few ops ask for it.
    #[inline(never)]
    fn add(self, of: impl Fn(f64) -> f64 + Copy) {
        let Self { units, start, first_unit, values, sums, .. } = self;
        for (at, run) in units.runs(start, values.len()) {
            let values = &values[at..at + run.len];
            let sums = &mut sums[run.unit - first_unit..];
            if run.one_unit {
                sums[0] += sum_of_run(values, of);
            } else {
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum += of(value.to_f64());
                }
            }
        }
    }

    #[inline(always)]
    fn add_squares(self) {
        let Self { units, start, first_unit, values, sums, .. } = self;
        let (sums, scaled) = sums.split_at_mut(sums.len() / 3);
        let (smaller, larger) = scaled.split_at_mut(sums.len());
        for (at, run) in units.runs(start, values.len()) {
            let values = &values[at..at + run.len];
            let first = run.unit - first_unit;
            let (sums, smaller, larger) =
                (&mut sums[first..], &mut smaller[first..], &mut larger[first..]);
            if run.one_unit {
                let squares = squares_of_run(values);
                sums[0] += squares.sum;
                smaller[0] += squares.smaller;
                larger[0] += squares.larger;
            } else {
                add_squares(values, sums, smaller, larger);
            }
        }
    }
}

#[inline(always)]
fn squares_of_run<T: Float>(values: &[T]) -> Squares {
    let mut lanes = SquareLanes::<UNIT_LANES>::ZERO;
    let (rows, tail) = values.as_chunks();
    for row in rows {
        lanes.add(row);
    }
    if !tail.is_empty() {
        lanes.add(&padded::<T, UNIT_LANES>(tail));
    }
    lanes.total()
}

#[inline(always)]
fn sum_of_run<T: Float>(values: &[T], of: impl Fn(f64) -> f64 + Copy) -> f64 {
    let mut lanes = [0.0; UNIT_LANES];
    let mut rows = values.chunks_exact(UNIT_LANES);
    for row in &mut rows {
        for (lane, &value) in lanes.iter_mut().zip(row) {
            *lane += of(value.to_f64());
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rows.remainder()) {
        *lane += of(value.to_f64());
    }
    folded(lanes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::View;
    use crate::sums::units::UnitAxes;
    use crate::sys::simd::Tier;

    /// Element by element, in the plainest way.
    fn naive(values: &[f64], units: &Units, what: Addend) -> Vec<f64> {
        let mut sums = vec![0.0; units.count()];
        for (at, run) in units.runs(0, values.len()) {
            for (offset, &value) in values[at..at + run.len].iter().enumerate() {
                sums[run.unit + if run.one_unit { 0 } else { offset }] += match what {
                    Addend::Square => value * value,
                    Addend::Value => value,
                    Addend::NotFinite => f64::from(u8::from(!value.is_finite())),
                    Addend::Nan => f64::from(u8::from(value.is_nan())),
                };
            }
        }
        if what == Addend::Square { sums.into_iter().map(f64::sqrt).collect() } else { sums }
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
            axes in prop_oneof![Just(UnitAxes::All), Just(UnitAxes::AllButFirst), Just(UnitAxes::Weights)],
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
            for what in [Addend::Square, Addend::Value, Addend::NotFinite, Addend::Nan] {
                let of = |threads, tier| {
                    let config = Config { threads, tier, fuse: true };
                    Sums::default().measure(&mut &pairs[..], what, &config).to_vec()
                };
                let measured = of(1, Tier::best());
                for (threads, tier) in [(2, Tier::best()), (3, Tier::Scalar)] {
                    prop_assert_eq!(&of(threads, tier), &measured);
                }
                let wide: Vec<f64> = single.iter().map(|&value| f64::from(value)).collect();
                let expected = [&values, &wide].map(|values| naive(values, &units, what)).concat();
                prop_assert_eq!(measured.len(), expected.len());
                for (sum, expected) in measured.iter().zip(expected) {
                    prop_assert!((sum - expected).abs() <= 1e-9 * (1.0 + expected.abs()));
                }
            }
        }
    }

    #[test]
    fn norms_beyond_the_range_of_squares() {
        let values = [3e200, 4e200, 0.0, 0.0, 3e-200, 4e-200];
        let units = Units::new(UnitAxes::AllButFirst, None, &[3, 2]).unwrap().unwrap();
        let config = Config { threads: 1, tier: Tier::Scalar, fuse: true };
        let pairs = [(Source::F64(View::Dense(&values)), &units)];
        let mut sums = Sums::default();
        let norms = sums.measure(&mut &pairs[..], Addend::Square, &config);
        for (norm, expected) in norms.iter().zip([5e200, 0.0, 5e-200]) {
            assert!((norm - expected).abs() <= 1e-12 * expected, "{norm}");
        }
    }
}
