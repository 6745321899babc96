//! Copies of strided arrays, there and back.

use half::f16;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[test]
fn strided_views_read_and_write_in_row_major_order() {
    let mut data: Vec<f32> = (0..12u8).map(f32::from).collect();
    // The transpose of a 3 x 4 array.
    let layout = Layout::new([(4, 1), (3, 4)]);
    assert_eq!(layout.extent(), Some((0, 11)));
    // SAFETY: the layout reaches each of the twelve elements once, and `data` outlives the view.
    let mut view = unsafe { StridedMut::new(data.as_mut_ptr(), &layout) };
    let mut read = [0.0f32; 12];
    view.inner.read(&mut read, Rows::NONE);
    assert_eq!(read[..4], [0.0, 4.0, 8.0, 1.0]);
    view.write(&[-1.0; 12], Rows::NONE);
    assert!(data.iter().all(|&value| value == -1.0));
}

/// Lengths, the order of axes in memory, which axes go backwards, and gaps behind the elements of each.
type Place = (Vec<usize>, Vec<usize>, Vec<bool>, Vec<usize>);

fn places() -> impl Strategy<Value = Place> {
    let length = prop_oneof![0usize..5, 1usize..40];
    proptest::collection::vec(length, 0..5).prop_flat_map(|shape| {
        let (count, order) = (shape.len(), (0..shape.len()).collect::<Vec<_>>());
        let gaps = prop_oneof![4 => Just(vec![0; count]), 1 => proptest::collection::vec(0usize..3, count)];
        let back = prop_oneof![4 => Just(vec![false; count]), 1 => proptest::collection::vec(any::<bool>(), count)];
        (Just(shape), Just(order).prop_shuffle(), back, gaps)
    })
}

/// The layout, where its first element lies, and how much memory it takes.
fn layout((shape, order, back, gaps): &Place) -> (Layout, usize, usize) {
    let mut axes: Vec<(usize, isize)> = shape.iter().map(|&length| (length, 0)).collect();
    let (mut step, mut first) = (1, 0);
    for &axis in order.iter().rev() {
        let stride = step * (1 + gaps[axis]);
        axes[axis].1 = if back[axis] { -stride.cast_signed() } else { stride.cast_signed() };
        first += if back[axis] { stride * shape[axis].saturating_sub(1) } else { 0 };
        step = stride * shape[axis].max(1);
    }
    (Layout::new(axes), first, step)
}

/// Each offset in row-major order.
fn offsets(layout: &Layout) -> Vec<isize> {
    layout.axes().iter().fold(vec![0], |offsets, &(length, stride)| {
        let along = |offset| (0..length.cast_signed()).map(move |step| offset + step * stride);
        offsets.into_iter().flat_map(along).collect()
    })
}

/// Copies a run of elements there and back; `bits` makes elements of any bits, NaN among them.
fn check<T: Element, B: PartialEq + std::fmt::Debug>(
    place: &Place,
    run: Option<(Index, Index)>,
    element: impl Fn(usize) -> T,
    bits: impl Fn(T) -> B,
) -> Result<(), TestCaseError> {
    let (layout, first, size) = layout(place);
    let (all, offsets) = (layout.len(), offsets(&layout));
    let start = run.map_or(0, |(at, _)| at.index(all + 1));
    let len = run.map_or(all, |(_, len)| len.index(all - start + 1));
    let mut memory: Vec<T> = (0..size).map(&element).collect();
    let expected: Vec<T> = offsets[start..start + len]
        .iter()
        .map(|&offset| memory[first.checked_add_signed(offset).unwrap_or(usize::MAX)])
        .collect();
    // SAFETY: the layout stays within `memory`, has no element twice, and `memory` outlives the view.
    let view = unsafe { StridedMut::new(memory.as_mut_ptr().wrapping_add(first), &layout) };
    let mut run = view.split(Cut::Run(start)).1.split(Cut::Run(len)).0;
    let mut read = vec![T::default(); len];
    run.inner.read(&mut read, Rows::NONE);
    let same = |ours: &[T], theirs: &[T]| {
        ours.iter().map(|&value| bits(value)).eq(theirs.iter().map(|&value| bits(value)))
    };
    prop_assert!(same(&read, &expected));
    let new: Vec<T> = (0..len).map(|number| element(number + size)).collect();
    run.write(&new, Rows::NONE);
    let mut after: Vec<T> = (0..size).map(&element).collect();
    for (&offset, &value) in offsets[start..].iter().zip(&new) {
        after[first.checked_add_signed(offset).unwrap_or(usize::MAX)] = value;
    }
    prop_assert!(same(&memory, &after), "other elements changed, or these did not");
    Ok(())
}

proptest! {
    #[test]
    fn copies_keep_each_bit(place in places(), run in any::<(Index, Index)>()) {
        prop_assume!(place.0.iter().product::<usize>() < 1 << 15);
        for run in [None, Some(run)] {
            // Numbers, subnormal ones, infinities and NaN of many payloads.
            let word = |at: usize| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            check(&place, run, |at| f16::from_bits(word(at) as u16), f16::to_bits)?;
            check(&place, run, |at| f32::from_bits((word(at) >> 16) as u32), f32::to_bits)?;
            check(&place, run, |at| f64::from_bits(word(at)), f64::to_bits)?;
        }
    }

    #[test]
    fn rows_of_a_copy_may_lie_apart(rows in 1usize..20, len in 2usize..70, gap in 0usize..9) {
        let memory: Vec<f32> = (0..rows * len).map(|at| at as f32).collect();
        let layout = Layout::new([(rows, 1), (len, rows.cast_signed())]);
        // SAFETY: the layout reaches the elements of `memory`, which outlives the view.
        let view = unsafe { Strided::new(memory.as_ptr(), &layout) };
        let pitch = len + gap;
        let mut read = vec![-1.0f32; rows * pitch];
        view.read(&mut read, Rows { len, pitch });
        for (row, values) in read.chunks(pitch).enumerate() {
            let expected = (0..len).map(|column| (column * rows + row) as f32);
            prop_assert!(values[..len].iter().copied().eq(expected));
            prop_assert!(values[len..].iter().all(|&value| value == -1.0));
        }
    }
}
