//! How a leaf whose arrays lie differently in memory is cut: into boxes in which each of them has elements that lie
//! next to each other.
//!
//! A run of elements in row-major order may have only one of each line of a cache that an array in another order
//! has. A box has many, whichever the orders are.

use std::cmp::Ordering;

use smallvec::{SmallVec, smallvec};

use super::array::{Sink, Source};
use super::cut::{Cut, run_length};
use super::layout::{AXES, Axes, Layout, Lengths, Lies, in_rows};
use super::leaf::{Leaf, Params};
use super::planes::Rows;

/// Elements next to each other in memory that a box has of each array, as far as there are so many.
const RUN: usize = 16;

/// Least elements of a row that is walked over by itself.
const ROW: usize = 256;

/// How a leaf is cut into boxes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cuts<'a> {
    /// That of one of its arrays.
    layout: &'a Layout,
    /// Those of the leaf.
    lengths: Lengths,
    /// Those of a box.
    most: Lengths,
}

/// Boxes of a leaf; see [`Leaf::boxes`].
#[derive(Debug)]
pub struct Boxes<'a> {
    /// What is left, what comes next last: no more than axes.
    rest: SmallVec<[(Leaf<'a>, Lengths); AXES]>,
    cuts: Cuts<'a>,
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Leaf<'a>;

    fn next(&mut self) -> Option<Leaf<'a>> {
        let (mut leaf, mut lengths) = self.rest.pop()?;
        let Cuts { layout, most, .. } = self.cuts;
        for (axis, at) in most.iter().enumerate() {
            if at < lengths.of(axis) {
                let (head, tail) = leaf.split(Cut::Axis { layout, lengths, axis, at });
                let (own, left) = lengths.split(axis, at);
                self.rest.push((tail, left));
                (leaf, lengths) = (head, own);
            }
        }
        Some(leaf)
    }
}

impl<'a> Leaf<'a> {
    /// Its boxes, in an order of their own and with no place in the leaf.
    pub(crate) fn boxes(self, cuts: Cuts<'a>) -> Boxes<'a> {
        Boxes { rest: smallvec![(self, cuts.lengths)], cuts }
    }

    /// Whether an array is not dense.
    pub(crate) fn has_strided(&self) -> bool {
        let (mut sources, mut sinks) = (self.sources(), self.sinks());
        !(sources.all(Source::has_slice) && sinks.all(Sink::has_slice))
    }

    /// The arrays that are read.
    fn sources(&self) -> impl Iterator<Item = &Source<'a>> {
        let params = match &self.params {
            Params::None => None,
            Params::Read(source) => Some(source),
            Params::Write(slot) => slot.from.as_ref(),
        };
        let slots = self.slots.iter().flatten();
        let updates = self.updates.kept().into_iter();
        updates.chain(params).chain(slots.filter_map(|slot| slot.from.as_ref()))
    }

    /// The arrays that are written.
    fn sinks(&self) -> impl Iterator<Item = &Sink<'a>> {
        let params = match &self.params {
            Params::Write(slot) => Some(&slot.to),
            _ => None,
        };
        let slots = self.slots.iter().flatten().map(|slot| &slot.to);
        slots.chain(params).chain(&self.out).chain(&self.copy).chain(self.updates.spent())
    }

    /// How each array lies that is not dense.
    fn lie(&self) -> impl Iterator<Item = Lies<'a>> {
        let (sources, sinks) = (self.sources().map(Source::lies), self.sinks().map(Sink::lies));
        sources.chain(sinks).filter(|lies| !matches!(lies, Lies::Dense))
    }

    /// The axes of the arrays that are not dense.
    fn layouts(&self) -> impl Iterator<Item = Axes> {
        self.lie().filter_map(|lies| match lies {
            Lies::Along { axes, .. } => Some(axes),
            _ => None,
        })
    }

    /// Whether each array that is not dense has all elements of the same axes.
    fn has_layouts(&self) -> bool {
        let first = self.layouts().next();
        first.is_some_and(|first| {
            self.lie().all(|lies| match lies {
                Lies::Along { axes, .. } => have_shape(&axes, &first),
                _ => false,
            })
        })
    }

    /// The rows by which to walk over the leaf, where that is better than all at once: since they lie apart in an
    /// array, or had better do so in a copy, where elements that are written one after the other lie as far apart as
    /// those that share a set of a cache.
    pub(super) fn rows(&self) -> Rows {
        let row = |axes: Axes| match run_length(&axes) {
            ROW.. => Some(run_length(&axes)),
            _ => Some(step_of_copy(&axes)).filter(|step| step.is_multiple_of(ROW)),
        };
        let least = if self.has_layouts() { self.layouts().filter_map(row).min() } else { None };
        match least {
            Some(len) if len.is_multiple_of(2 * RUN) => Rows { len, pitch: len + RUN },
            Some(len) => Rows { len, pitch: len },
            None => Rows::NONE,
        }
    }

    /// How to cut it into boxes of about `len` elements, where it is not dense nor itself a part of one that is not.
    pub(crate) fn cuts(&self, len: usize) -> Option<Cuts<'a>> {
        if self.is_empty() || !self.has_layouts() {
            return None;
        }
        let Lies::Along { axes, layout } = self.lie().next()? else { return None };
        let lengths = Lengths::new(axes.iter().map(|axis| axis.0))?;
        let mut rows = axes;
        in_rows(&mut rows);
        let most = most(lengths, self.layouts().chain([rows]), len);
        Some(Cuts { layout, lengths, most: Lengths::new(most)? })
    }
}

/// Whether axes have the lengths of `others`.
fn have_shape(axes: &Axes, others: &Axes) -> bool {
    axes.iter().map(|axis| axis.0).eq(others.iter().map(|axis| axis.0))
}

/// How far apart two elements that are neighbours in an array with these axes are in a dense copy.
fn step_of_copy(axes: &Axes) -> usize {
    let longer = axes.iter().enumerate().filter(|(_, axis)| axis.0 > 1);
    let along = longer.min_by_key(|(_, axis)| axis.1.unsigned_abs()).map_or(0, |(at, _)| at);
    axes.iter().skip(along + 1).map(|axis| axis.0).product()
}

/// The lengths of a box of about `len` elements: runs of each array, then more rows, in row-major order.
fn most(
    shape: Lengths,
    layouts: impl Iterator<Item = Axes>,
    len: usize,
) -> SmallVec<[usize; AXES]> {
    let mut most: SmallVec<[usize; AXES]> = SmallVec::from_elem(1, shape.axes());
    for axes in layouts {
        let mut order: SmallVec<[usize; AXES]> = (0..axes.len()).collect();
        order.sort_by_key(|&axis| axes[axis].1.unsigned_abs());
        let mut run = 1;
        for axis in order {
            if run < RUN {
                most[axis] = most[axis].max(shape.of(axis).min(RUN.div_ceil(run)));
            }
            run *= most[axis];
        }
    }
    for axis in (0..shape.axes()).rev() {
        let others: usize = most.iter().product::<usize>() / most[axis].max(1);
        let fits = len / others.max(1);
        match fits.cmp(&shape.of(axis)) {
            Ordering::Less => most[axis] = most[axis].max(rounded(fits)),
            _ => most[axis] = shape.of(axis),
        }
    }
    most
}

/// Whole runs, as far as there are any.
fn rounded(length: usize) -> usize {
    if length < RUN { length.max(1) } else { length / RUN * RUN }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Slots, Strided, View};
    use super::*;
    use crate::data::layout::Layout;

    /// The axes of a dense array whose axes lie in memory in this order.
    fn permuted(shape: &[usize], order: &[usize]) -> Layout {
        let mut axes: Vec<(usize, isize)> = shape.iter().map(|&length| (length, 0)).collect();
        let mut step = 1;
        for &axis in order.iter().rev() {
            axes[axis].1 = step;
            step *= shape[axis].cast_signed();
        }
        Layout::new(axes)
    }

    fn orders() -> impl Strategy<Value = (Vec<usize>, Vec<usize>, Vec<usize>)> {
        proptest::collection::vec(1usize..40, 1..5).prop_flat_map(|shape| {
            let order: Vec<usize> = (0..shape.len()).collect();
            (Just(shape), Just(order.clone()).prop_shuffle(), Just(order).prop_shuffle())
        })
    }

    proptest! {
        #[test]
        fn boxes_have_each_element_once(
            (shape, order, other) in orders(),
            len in prop_oneof![1usize..5000, Just(usize::MAX)],
        ) {
            let len_of_all: usize = shape.iter().product();
            prop_assume!(len_of_all < 1 << 16);
            let values: Vec<f32> = (0..len_of_all).map(|at| at as f32).collect();
            let layouts = [permuted(&shape, &order), permuted(&shape, &other)];
            // SAFETY: each layout reaches the elements of `values`, which outlive the leaf.
            #[expect(unsafe_code, reason = "arrays in another order")]
            let view = |layout| unsafe {
                View::Strided(Strided::new(values.as_ptr(), layout))
            };
            let params = Params::Read(Source::F32(view(&layouts[1])));
            let leaf = Leaf::new(Source::F32(view(&layouts[0])), params, None, Slots::new());
            let read = |source: &Source<'_>| {
                let mut into = vec![0.0f32; source.len()];
                source.read(crate::sys::simd::Tier::Scalar, &mut into);
                into
            };
            let pairs = |leaf: &Leaf<'_>| -> Vec<(u32, u32)> {
                let Params::Read(params) = &leaf.params else { return Vec::new() };
                let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits);
                let Updates::Kept(updates) = &leaf.updates else { return Vec::new() };
                bits(read(updates)).zip(bits(read(params))).collect()
            };
            let mut expected = pairs(&leaf);
            let mut found: Vec<(u32, u32)> = Vec::new();
            let cuts = leaf.cuts(len).unwrap();
            for part in leaf.boxes(cuts) {
                found.extend(pairs(&part));
            }
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
