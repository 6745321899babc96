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
        if let Some(chosen) = chosen {
            for &axis in chosen {
                let from_front = if axis < 0 { axis + rank.cast_signed() } else { axis };
                let of_leaf =
                    usize::try_from(from_front).ok().and_then(|axis| inside.get_mut(axis));
                *of_leaf.ok_or_else(|| format!("has {rank} axes, so none is axis {axis}"))? = true;
            }
        } else {
            let longer_than_one = shape.iter().filter(|&&length| length != 1).count();
            let reduced = match (axes, rank) {
                (UnitAxes::All, _) => rank,
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

    /// Calls `visit` with each run of the elements `start..start + len`, and its place among them.
    #[inline]
    pub fn runs(&self, start: usize, len: usize, mut visit: impl FnMut(usize, UnitRun)) {
        let last = self.axes[self.axes.len() - 1];
        let mut done = 0;
        while done < len {
            let at = start + done;
            let (mut rest, mut unit, mut weight) = (at, 0, 1);
            for axis in self.axes.iter().rev() {
                let index = rest % axis.length;
                rest /= axis.length;
                if !axis.inside {
                    unit += index * weight;
                    weight *= axis.length;
                }
            }
            let run = (last.length - at % last.length).min(len - done);
            visit(done, UnitRun { unit, len: run, one_unit: last.inside });
            done += run;
        }
    }

    /// What the elements from `start` on read, where `numbers` has one for each unit.
    #[inline]
    pub fn fill<T: Float>(&self, numbers: &[f64], start: usize, into: &mut [T]) {
        self.runs(start, into.len(), |at, run| {
            let into = &mut into[at..at + run.len];
            if run.one_unit {
                into.fill(T::from_f64(numbers[run.unit]));
            } else {
                let numbers = &numbers[run.unit..run.unit + run.len];
                for (element, &number) in into.iter_mut().zip(numbers) {
                    *element = T::from_f64(number);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            units.runs(start, len - start, |at, run| {
                assert_eq!(at, seen.len());
                seen.extend((0..run.len).map(|i| run.unit + if run.one_unit { 0 } else { i }));
            });
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
