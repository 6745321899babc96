//! Units: the parts of a leaf that share a norm or a mean, such as its rows or its columns.

use smallvec::{SmallVec, smallvec};

use crate::number::float::Float;

/// Over which axes a unit extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitAxes {
    /// All of them: a leaf is one unit.
    All,
    /// All but the first; a vector or a scalar has no units and is left alone.
    AllButFirst,
    /// Those that lead to one output of a layer: the whole of a vector, the first axis of a matrix, and
    /// all but the last of a convolution's kernel.
    Weights,
    /// The longest one, of equally long ones the last. A leaf whose second longest axis is too short has no units; what the
    /// caller chooses is how long it has to be.
    Longest,
    /// The second longest one, with the same exception.
    SecondLongest,
}

/// What an element adds to a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addend {
    /// Its square; the sum is given by its root, which neither overflows nor vanishes on the way.
    Square,
    /// Itself.
    Value,
    /// One where it is infinite or NaN.
    NotFinite,
    /// One where it is NaN.
    Nan,
}

/// How a leaf falls into units: its axes in row-major order, with neighbours of one kind taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Units {
    axes: SmallVec<[UnitAxis; 4]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnitAxis {
    length: usize,
    /// Whether a unit extends over it.
    inside: bool,
}

/// Neighbouring elements that are of one unit, or of one unit after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnitRun {
    pub unit: usize,
    pub len: usize,
    pub one_unit: bool,
}

impl Units {
    /// One unit of `len` elements.
    pub fn whole(len: usize) -> Self {
        Self { axes: smallvec![UnitAxis { length: len, inside: true }] }
    }

    /// The units of a leaf, or `None` where it has none.
    ///
    /// # Errors
    /// What is wrong with `shape`, where `axes` or `chosen` do not fit it.
    pub fn new(
        axes: UnitAxes,
        chosen: Option<&[isize]>,
        shape: &[usize],
    ) -> Result<Option<Self>, String> {
        let rank = shape.len();
        let mut inside: SmallVec<[bool; 64]> = smallvec![false; rank];
        if let UnitAxes::Longest | UnitAxes::SecondLongest = axes {
            let least = chosen.and_then(|chosen| chosen.first()).copied().unwrap_or(0);
            let Some([longest, second]) = two_longest(shape) else { return Ok(None) };
            if shape[second].cast_signed() < least {
                return Ok(None);
            }
            inside[if axes == UnitAxes::Longest { longest } else { second }] = true;
        } else if let Some(chosen) = chosen {
            for &axis in chosen {
                let from_front = if axis < 0 { axis + rank.cast_signed() } else { axis };
                let of_leaf =
                    usize::try_from(from_front).ok().and_then(|axis| inside.get_mut(axis));
                *of_leaf.ok_or_else(|| format!("has {rank} axes, so none is axis {axis}"))? = true;
            }
        } else {
            let longer_than_one = shape.iter().filter(|&&length| length != 1).count();
            let reduced = match (axes, rank) {
                (UnitAxes::All | UnitAxes::Longest | UnitAxes::SecondLongest, _) => rank,
                (UnitAxes::AllButFirst, 0 | 1) => return Ok(None),
                (UnitAxes::AllButFirst, _) => {
                    inside[1..].fill(true);
                    0
                }
                (UnitAxes::Weights, _) if longer_than_one <= 1 => rank,
                (UnitAxes::Weights, 2 | 3) => 1,
                (UnitAxes::Weights, 4 | 5) => rank - 1,
                (UnitAxes::Weights, _) => {
                    return Err(format!("has {rank} axes; say with `axis` which make a unit"));
                }
            };
            inside[..reduced].fill(true);
        }
        let mut axes: SmallVec<[UnitAxis; 4]> = SmallVec::new();
        for (&length, inside) in shape.iter().zip(inside) {
            match axes.last_mut() {
                Some(last) if last.inside == inside => {
                    last.length = last.length.saturating_mul(length);
                }
                _ => axes.push(UnitAxis { length, inside }),
            }
        }
        Ok(Some(if axes.is_empty() { Self::whole(1) } else { Self { axes } }))
    }

    fn product(axes: &[UnitAxis], inside: Option<bool>) -> usize {
        let counts = |axis: &&UnitAxis| inside.is_none_or(|inside| axis.inside == inside);
        axes.iter().filter(counts).map(|axis| axis.length).product()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        Self::product(&self.axes, None)
    }

    /// Number of units.
    pub fn count(&self) -> usize {
        Self::product(&self.axes, Some(false))
    }

    /// Elements of one unit.
    pub fn size(&self) -> usize {
        Self::product(&self.axes, Some(true))
    }

    /// Length of the outermost axis, whether units extend over it, and elements and units in one step of it.
    pub fn outermost(&self) -> (usize, bool, usize, usize) {
        let (first, rest) = (self.axes[0], &self.axes[1..]);
        let inner_units = Self::product(rest, Some(false));
        (first.length, first.inside, Self::product(rest, None), inner_units)
    }

    /// Among the units of a leaf, how many neighbours there are along an axis over which units of `other` extend and
    /// how many units are in one step of it; `other` are units of the same leaf that extend over a single axis.
    pub fn along(&self, other: &Self) -> (usize, usize) {
        let (length, inner) = other.axis();
        (length, inner / self.size_within(inner))
    }

    /// The length of the one axis that units extend over, and how many elements are in one step of it.
    fn axis(&self) -> (usize, usize) {
        let at = self.axes.iter().position(|axis| axis.inside).unwrap_or(0);
        (self.axes[at].length, Self::product(&self.axes[at + 1..], None))
    }

    /// The size of a unit, or of as much of it as lies within `inner` neighbouring elements.
    fn size_within(&self, inner: usize) -> usize {
        let (length, step) = self.axis();
        if step < inner { length } else { 1 }
    }

    /// The runs of the elements `start..start + len`, each with its place among them.
    pub fn runs(&self, start: usize, len: usize) -> Runs<'_> {
        Runs { axes: &self.axes, start, len, done: 0 }
    }

    /// What the elements from `start` on read, where `numbers` has one for each unit.
    #[inline(always)]
    pub fn fill<T: Float>(&self, numbers: &[f64], start: usize, into: &mut [T]) {
        for (at, run) in self.runs(start, into.len()) {
            let into = &mut into[at..at + run.len];
            if run.one_unit {
                into.fill(T::from_f64(numbers[run.unit]));
            } else {
                for (element, &number) in into.iter_mut().zip(&numbers[run.unit..]) {
                    *element = T::from_f64(number);
                }
            }
        }
    }

    /// What the elements from `start` on read, where each is of two units and reads the product of their `numbers`, or the
    /// largest number where that is less.
    #[inline(always)]
    pub fn fill_products<T: Float>(
        [units, others]: [&Self; 2],
        [numbers, other_numbers]: [&[f64]; 2],
        start: usize,
        into: &mut [T],
    ) {
        let most = T::MAX.to_f64();
        let product = |a: f64, b: f64| T::from_f64(if a * b > most { most } else { a * b });
        for (at, run) in units.runs(start, into.len()) {
            for (within, other) in others.runs(start + at, run.len) {
                let into = &mut into[at + within..][..other.len];
                let own = &numbers[run.unit + if run.one_unit { 0 } else { within }..];
                let theirs = &other_numbers[other.unit..];
                match (run.one_unit, other.one_unit) {
                    (true, true) => into.fill(product(own[0], theirs[0])),
                    (true, false) => {
                        let places = into.iter_mut().zip(theirs);
                        places.for_each(|(element, &number)| *element = product(own[0], number));
                    }
                    (false, true) => {
                        let places = into.iter_mut().zip(own);
                        places.for_each(|(element, &number)| *element = product(number, theirs[0]));
                    }
                    (false, false) => {
                        for ((element, &a), &b) in into.iter_mut().zip(own).zip(theirs) {
                            *element = product(a, b);
                        }
                    }
                }
            }
        }
    }
}

/// Runs of elements; see [`Units::runs`]. What is done with each is compiled where it is done, for the instruction set there.
pub(crate) struct Runs<'u> {
    axes: &'u [UnitAxis],
    start: usize,
    len: usize,
    done: usize,
}

impl Iterator for Runs<'_> {
    type Item = (usize, UnitRun);

    fn next(&mut self) -> Option<Self::Item> {
        let Self { axes, start, len, done } = *self;
        let last = axes.last().filter(|_| done < len)?;
        let at = start + done;
        let (mut rest, mut unit, mut weight) = (at, 0, 1);
        for axis in axes.iter().rev() {
            let index = rest % axis.length;
            rest /= axis.length;
            if !axis.inside {
                unit += index * weight;
                weight *= axis.length;
            }
        }
        let run = (last.length - at % last.length).min(len - done);
        self.done += run;
        Some((done, UnitRun { unit, len: run, one_unit: last.inside }))
    }
}

/// The longest axis and the second longest; of equally long ones, the last is the longer.
fn two_longest(shape: &[usize]) -> Option<[usize; 2]> {
    let longest = |without: Option<usize>| {
        let axes = (0..shape.len()).filter(|axis| Some(*axis) != without);
        axes.max_by_key(|&axis| shape[axis])
    };
    let first = longest(None)?;
    Some([first, longest(Some(first))?])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn factors_are_of_the_two_longest_axes() {
        let of = |shape: &[usize], least| {
            [UnitAxes::Longest, UnitAxes::SecondLongest]
                .map(|axes| Units::new(axes, Some(&[least]), shape).unwrap())
        };
        for (shape, counts, along) in [
            (&[3, 4][..], [3, 4], (3, 1)),
            (&[4, 3], [3, 4], (3, 1)),
            (&[4, 4], [4, 4], (4, 1)),
            (&[5, 2, 3], [6, 10], (3, 1)),
            (&[3, 2, 5], [6, 10], (3, 2)),
            (&[2, 3, 5], [6, 10], (3, 1)),
            (&[3, 5, 2], [6, 10], (3, 2)),
        ] {
            let [rows, columns] = of(shape, 3).map(Option::unwrap);
            assert_eq!([rows.count(), columns.count()], counts, "{shape:?}");
            assert_eq!(rows.along(&columns), along, "{shape:?}");
        }
        for shape in [&[][..], &[9], &[2, 9], &[2, 2, 9]] {
            assert_eq!(of(shape, 3), [None, None], "{shape:?}");
        }
    }

    #[test]
    fn units_of_weights() {
        let count = |shape: &[usize]| {
            let units = Units::new(UnitAxes::Weights, None, shape).unwrap().unwrap();
            (units.count(), units.size())
        };
        assert_eq!(count(&[]), (1, 1));
        assert_eq!(count(&[7]), (1, 7));
        assert_eq!(count(&[1, 7]), (1, 7));
        assert_eq!(count(&[5, 7]), (7, 5));
        assert_eq!(count(&[5, 7, 2]), (14, 5));
        assert_eq!(count(&[3, 3, 2, 8]), (8, 18));
        assert!(Units::new(UnitAxes::Weights, None, &[2; 6]).is_err());
        assert!(Units::new(UnitAxes::Weights, Some(&[2]), &[2; 2]).is_err());
    }

    #[test]
    fn vectors_have_no_rows() {
        assert_eq!(Units::new(UnitAxes::AllButFirst, None, &[4]).unwrap(), None);
        let rows = Units::new(UnitAxes::AllButFirst, None, &[4, 3, 2]).unwrap().unwrap();
        assert_eq!((rows.count(), rows.size()), (4, 6));
    }

    proptest! {
        #[test]
        fn runs_name_the_unit_of_each_element(
            shape in proptest::collection::vec(1usize..4, 1..5),
            chosen in proptest::collection::vec(any::<bool>(), 5),
            start in 0usize..20,
        ) {
            let axes: Vec<isize> =
                (0..shape.len()).filter(|&axis| chosen[axis]).map(usize::cast_signed).collect();
            let units = Units::new(UnitAxes::All, Some(&axes), &shape).unwrap().unwrap();
            let len: usize = shape.iter().product();
            let start = start.min(len);
            let mut seen = Vec::new();
            for (at, run) in units.runs(start, len - start) {
                assert_eq!(at, seen.len());
                seen.extend((0..run.len).map(|i| run.unit + if run.one_unit { 0 } else { i }));
            }
            let unit = |element: usize| {
                let (mut rest, mut unit, mut weight) = (element, 0, 1);
                for axis in (0..shape.len()).rev() {
                    if !chosen[axis] {
                        unit += rest % shape[axis] * weight;
                        weight *= shape[axis];
                    }
                    rest /= shape[axis];
                }
                unit
            };
            prop_assert_eq!(seen, (start..len).map(unit).collect::<Vec<_>>());
        }
    }
}
