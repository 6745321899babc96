//! How the elements of a strided array come to lie next to each other, plane by plane.
//!
//! A plane has the axes that a copy is about: the one along which the strided array is dense, and columns, which
//! are next to each other in the copy. Both sides are then met by whole lines of a cache.

use smallvec::{SmallVec, smallvec};

use super::layout::{AXES, Axes};

/// Most columns of a plane.
const COLUMNS: usize = 256;

/// An axis of a strided array, and the distance of two neighbours in the dense copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub length: usize,
    pub stride: isize,
    pub place: usize,
}

/// Elements in rows and columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane<'p> {
    /// The axis with the smallest steps.
    pub along: Axis,
    /// Where in the strided array each column begins, counted from the first; each is next to the one before in
    /// the copy.
    pub columns: &'p [isize],
    /// Where in the strided array the first element lies.
    pub offset: isize,
    /// Its place in the copy.
    pub place: usize,
}

/// Rows of a dense copy that lie apart: so many elements each, and as many from the beginning of one to that of the
/// next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub len: usize,
    pub pitch: usize,
}

impl Rows {
    /// Rows that follow one another.
    pub const NONE: Self = Self { len: 0, pitch: 0 };

    /// How many elements there are from the first to behind the last of so many.
    pub fn extent(self, len: usize) -> usize {
        len.checked_div(self.len).map_or(len, |count| count * self.pitch)
    }
}

/// Calls `visit` with planes that together have each of the elements `start..start + count`, in row-major order,
/// once; places count from that at `start` on.
pub(super) fn planes(
    axes: &[(usize, isize)],
    start: usize,
    count: usize,
    rows: Rows,
    mut visit: impl FnMut(&Plane<'_>),
) {
    boxes(axes, start, count, Corner::default(), &mut |axes, corner| {
        let axes = merged(axes, rows);
        let steps = |(_, axis): &(usize, &Axis)| axis.stride.unsigned_abs();
        let at = axes.iter().enumerate().min_by_key(steps).map_or(0, |(at, _)| at);
        let (along, mut outer) = (axes[at], SmallVec::from_slice(&axes[at + 1..]));
        let Columns { offsets, of_step, axis, steps } = Columns::new(&axes[..at], &mut outer);
        each(&outer, corner, &mut |corner| {
            for first in (0..axis.length).step_by(steps) {
                let columns = &offsets[..of_step * steps.min(axis.length - first)];
                let Corner { offset, place } = corner.along(axis, first);
                visit(&Plane { along, columns, offset, place });
            }
        });
    });
}

/// Where something begins: in the strided array, and in the dense copy.
#[derive(Clone, Copy, Debug, Default)]
struct Corner {
    offset: isize,
    place: usize,
}

impl Corner {
    fn along(self, axis: Axis, steps: usize) -> Self {
        let offset = self.offset + axis.stride * steps.cast_signed();
        Self { offset, place: self.place + axis.place * steps }
    }
}

/// Calls `visit` with boxes of whole axes that make up a run of elements: the rest of a row, whole rows, and the
/// beginning of one, where parts of a row are made up of boxes in turn.
fn boxes(
    axes: &[(usize, isize)],
    start: usize,
    count: usize,
    corner: Corner,
    visit: &mut impl FnMut(&[(usize, isize)], Corner),
) {
    if count == 0 {
        return;
    }
    let Some((&(length, stride), inner)) = axes.split_first() else {
        visit(axes, corner);
        return;
    };
    if start == 0 && count == length * inner.iter().map(|axis| axis.0).product::<usize>() {
        visit(axes, corner);
        return;
    }
    let row: usize = inner.iter().map(|axis| axis.0).product();
    let at = |row: usize, done: usize| Corner {
        offset: corner.offset + stride * row.cast_signed(),
        place: corner.place + done,
    };
    let (first, skipped) = (start / row, start % row);
    let head = if skipped > 0 { count.min(row - skipped) } else { 0 };
    boxes(inner, skipped, head, at(first, 0), visit);
    let first = first + usize::from(skipped > 0);
    let rows = (count - head) / row;
    if rows > 0 {
        let mut axes: Axes = axes.into();
        axes[0].0 = rows;
        visit(&axes, at(first, head));
    }
    let done = head + rows * row;
    boxes(inner, 0, count - done, at(first + rows, done), visit);
}

/// The axes, innermost first, where those that are one in memory are one; at least one.
fn merged(axes: &[(usize, isize)], rows: Rows) -> SmallVec<[Axis; AXES]> {
    let mut merged: SmallVec<[Axis; AXES]> = SmallVec::new();
    let mut place = 1;
    for &(length, stride) in axes.iter().rev().filter(|axis| axis.0 != 1) {
        match merged.last_mut() {
            Some(inner)
                if stride == inner.stride * inner.length.cast_signed()
                    && place == inner.place * inner.length =>
            {
                inner.length *= length;
            }
            _ => merged.push(Axis { length, stride, place }),
        }
        place *= length;
        if place == rows.len {
            place = rows.pitch;
        }
    }
    if merged.is_empty() {
        merged.push(Axis { length: 1, stride: 1, place: 1 });
    }
    merged
}

/// The columns that some axes make, the last of them step by step where it has many.
struct Columns {
    offsets: SmallVec<[isize; COLUMNS]>,
    /// Columns of a step.
    of_step: usize,
    axis: Axis,
    /// Most steps at once.
    steps: usize,
}

impl Columns {
    /// Columns of the axes in `inner`, which are next to each other in the copy; those for which there is no room
    /// go to `outer`.
    fn new(inner: &[Axis], outer: &mut SmallVec<[Axis; AXES]>) -> Self {
        let mut offsets: SmallVec<[isize; COLUMNS]> = smallvec![0];
        let mut axes = inner.iter();
        for &axis in axes.by_ref() {
            let of_step = offsets.len();
            let steps = axis.length.min(COLUMNS / of_step);
            for step in 1..steps.cast_signed() {
                for column in 0..of_step {
                    offsets.push(offsets[column] + step * axis.stride);
                }
            }
            if steps < axis.length {
                outer.extend(axes.copied());
                return Self { offsets, of_step, axis, steps };
            }
        }
        let axis = Axis { length: 1, stride: 0, place: 0 };
        Self { of_step: offsets.len(), offsets, axis, steps: 1 }
    }
}

/// Calls `visit` with the corner of each element of these axes, the first of which is the innermost.
fn each(axes: &[Axis], corner: Corner, visit: &mut impl FnMut(Corner)) {
    match axes.split_last() {
        None => visit(corner),
        Some((&axis, inner)) => {
            for step in 0..axis.length {
                each(inner, corner.along(axis, step), visit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Offsets in row-major order.
    fn offsets(axes: &[(usize, isize)]) -> Vec<isize> {
        axes.iter().fold(vec![0], |offsets, &(length, stride)| {
            let along = |offset| (0..length.cast_signed()).map(move |step| offset + step * stride);
            offsets.into_iter().flat_map(along).collect()
        })
    }

    proptest! {
        #[test]
        fn planes_have_each_element_of_a_run_once(
            axes in proptest::collection::vec((0usize..7, -9isize..10), 0..6),
            wide in proptest::option::of((250usize..600, -3isize..4)),
            at in any::<prop::sample::Index>(),
            part in any::<prop::sample::Index>(),
        ) {
            let mut axes = axes;
            if let (Some(wide), true) = (wide, axes.len() < 3) {
                axes.push(wide);
            }
            let expected = offsets(&axes);
            let start = at.index(expected.len() + 1);
            let count = part.index(expected.len() - start + 1);
            let mut found = vec![None; count];
            planes(&axes, start, count, Rows::NONE, |plane| {
                let Plane { along, columns, offset, place } = *plane;
                for row in 0..along.length {
                    for (column, by) in columns.iter().enumerate() {
                        let from = offset + along.stride * row.cast_signed() + by;
                        let old = found[place + along.place * row + column].replace(from);
                        assert_eq!(old, None);
                    }
                }
            });
            let expected: Vec<_> = expected[start..start + count].iter().copied().map(Some).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
