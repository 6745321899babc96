//! Where the elements of an array lie: lengths and strides of its axes.

use std::sync::Arc;

use smallvec::SmallVec;

/// Shape and strides, in elements, of an array walked in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    axes: Arc<[(usize, isize)]>,
}

impl Layout {
    /// Pairs of length and stride, outermost axis first.
    pub fn new(axes: impl IntoIterator<Item = (usize, isize)>) -> Self {
        Self { axes: axes.into_iter().collect() }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.axes.iter().map(|axis| axis.0).product()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length and the stride of each axis.
    #[must_use]
    pub fn axes(&self) -> &[(usize, isize)] {
        &self.axes
    }

    /// Smallest and largest offset from the first element, or `None` for an empty array.
    #[must_use]
    pub fn extent(&self) -> Option<(isize, isize)> {
        (!self.is_empty()).then(|| {
            self.axes.iter().fold((0, 0), |(low, high), &(length, stride)| {
                let reach = stride * (length.cast_signed() - 1);
                (low + reach.min(0), high + reach.max(0))
            })
        })
    }
}

/// How many axes there is room for without memory of its own: more than arrays have in practice.
pub(super) const AXES: usize = 6;

/// The length and the stride of each axis, outermost first.
pub(super) type Axes = SmallVec<[(usize, isize); AXES]>;

/// Makes the strides those of a dense array.
pub(super) fn in_rows(axes: &mut Axes) {
    let mut step = 1;
    for axis in axes.iter_mut().rev() {
        axis.1 = step;
        step *= axis.0.cast_signed();
    }
}

/// The lengths of a box, along each of a few axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    lengths: [u32; AXES],
    axes: u32,
}

impl Lengths {
    /// `None` where there are more axes than there is room for, or longer ones.
    pub fn new(shape: impl IntoIterator<Item = usize>) -> Option<Self> {
        let mut of = Self { lengths: [1; AXES], axes: 0 };
        for length in shape {
            *of.lengths.get_mut(of.axes as usize)? = u32::try_from(length).ok()?;
            of.axes += 1;
        }
        Some(of)
    }

    pub fn axes(&self) -> usize {
        self.axes as usize
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator {
        self.lengths[..self.axes()].iter().map(|&length| length as usize)
    }

    /// The length along an axis, which is there.
    pub fn of(&self, axis: usize) -> usize {
        self.lengths[axis] as usize
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.iter().product()
    }

    /// Those behind so many steps along an axis apart. Panics where there are fewer.
    pub fn split(mut self, axis: usize, at: usize) -> (Self, Self) {
        assert!(axis < self.axes() && at <= self.of(axis), "an axis with {at} steps");
        let mut tail = self;
        tail.lengths[axis] -= at as u32;
        self.lengths[axis] = at as u32;
        (self, tail)
    }
}

/// How the elements of a view lie.
#[derive(Clone, Debug)]
pub(super) enum Lies<'v> {
    /// Next to each other.
    Dense,
    /// Along these axes, all of them, in an array of this layout.
    Along { axes: Axes, layout: &'v Layout },
    /// As some of those along axes.
    InPart,
}
