//! Where arrays fall into two.

use super::layout::{Layout, Lengths};

/// Where an array falls into two.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut<'c> {
    /// Behind so many elements, in row-major order.
    Run(usize),
    /// Behind so many steps along one axis of a box with these lengths, of an array with such a layout.
    Axis { layout: &'c Layout, lengths: Lengths, axis: usize, at: usize },
}

/// What a cut makes of a dense array.
pub(super) enum OfDense<'c> {
    /// Two that are dense, the first with so many elements.
    Run(usize),
    /// Two whose rows lie apart: those of a box with these lengths, in an array of this shape.
    Box(&'c Layout, Lengths),
}

impl<'c> Cut<'c> {
    pub(super) fn of_dense(&self) -> OfDense<'c> {
        match *self {
            Self::Run(at) => OfDense::Run(at),
            Self::Axis { layout, lengths, axis, at } => {
                if lengths.iter().take(axis).all(|length| length == 1) {
                    OfDense::Run(at * lengths.iter().skip(axis + 1).product::<usize>())
                } else {
                    OfDense::Box(layout, lengths)
                }
            }
        }
    }
}

/// How many elements at the end of a row of an array with these axes are next to each other, as all rows have.
pub(super) fn run_length(axes: &[(usize, isize)]) -> usize {
    let mut run = 1usize;
    for &(length, stride) in axes.iter().rev() {
        if length != 1 && stride != run.cast_signed() {
            break;
        }
        run *= length;
    }
    run
}
