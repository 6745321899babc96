//! Overlap of arrays that a step would write, found by address.

/// The bytes `[start, end)` that an array touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Whether the step writes it.
    pub written: bool,
    /// Bytes of an element.
    pub size: usize,
    /// What all distances between elements are multiples of; 0 where there is one element alone.
    pub step: usize,
}

impl Span {
    /// Whether the spans have bytes in common and one of them is written.
    fn conflicts(&self, other: &Self) -> bool {
        (self.written || other.written)
            && self.start < other.end
            && other.start < self.end
            && !self.interleaves(other)
    }

    /// Whether the elements of one lie between those of the other, as those of columns of one matrix do.
    #[must_use]
    pub fn interleaves(&self, other: &Self) -> bool {
        let step = gcd(self.step, other.step);
        let ahead = match step {
            0 => return false,
            _ if other.start >= self.start => (other.start - self.start) % step,
            _ => (step - (self.start - other.start) % step) % step,
        };
        self.size <= ahead && ahead + other.size <= step
    }
}

/// The greatest common divisor; that of 0 and a number is the number.
#[must_use]
pub fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The first pair of spans that overlap with at least one written, as indices into `spans`.
///
/// Elements of strided arrays may lie between each other where [`Span`] cannot tell: `shared` decides those.
pub fn find_conflict(
    spans: &[Span],
    mut shared: impl FnMut(usize, usize) -> bool,
) -> Option<(usize, usize)> {
    let mut order: Vec<usize> =
        (0..spans.len()).filter(|&i| spans[i].start < spans[i].end).collect();
    order.sort_by_key(|&i| spans[i].start);
    let mut open: Vec<usize> = Vec::new();
    for &i in &order {
        open.retain(|&j| spans[j].end > spans[i].start);
        for &j in &open {
            if spans[i].conflicts(&spans[j]) && shared(j, i) {
                return Some((i.min(j), i.max(j)));
            }
        }
        open.push(i);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arrays_that_interleave_share_no_byte(
            a in (0usize..40, 1usize..4, 0usize..12, 1usize..6),
            b in (0usize..40, 1usize..4, 0usize..12, 1usize..6),
        ) {
            let bytes = |(start, size, step, count): (usize, usize, usize, usize)| -> Vec<usize> {
                (0..count).flat_map(|i| (0..size).map(move |byte| start + i * step + byte)).collect()
            };
            let span = |(start, size, step, count): (usize, usize, usize, usize)| {
                let end = start + (count - 1) * step + size;
                Span { start, end, written: true, size, step: if count > 1 { step } else { 0 } }
            };
            let ((ours, theirs), apart) = ((bytes(a), bytes(b)), span(a).interleaves(&span(b)));
            prop_assert!(!apart || ours.iter().all(|byte| !theirs.contains(byte)));
            prop_assert_eq!(apart, span(b).interleaves(&span(a)));
        }

        #[test]
        fn columns_interleave(columns in 2usize..9, i in 0usize..9, j in 0usize..9, size in 1usize..9) {
            let column = |at: usize| {
                let (start, step) = (at % columns * size, columns * size);
                Span { start, end: start + 2 * step + size, written: true, size, step }
            };
            prop_assert_eq!(column(i).interleaves(&column(j)), i % columns != j % columns);
        }

        #[test]
        fn agrees_with_all_pairs(raw in proptest::collection::vec((0usize..60, 0usize..8, any::<bool>()), 0..12)) {
            let spans: Vec<Span> = raw
                .iter()
                .map(|&(start, len, written)| Span { start, end: start + len, written, size: 1, step: 1 })
                .collect();
            let pairs = (0..spans.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
            let expected = pairs
                .filter(|&(i, j)| spans[i].start < spans[i].end && spans[j].start < spans[j].end)
                .any(|(i, j)| spans[i].conflicts(&spans[j]));
            prop_assert_eq!(find_conflict(&spans, |_, _| true).is_some(), expected);
            prop_assert_eq!(find_conflict(&spans, |_, _| false), None);
        }
    }
}
