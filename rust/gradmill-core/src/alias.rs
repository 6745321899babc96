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
}

impl Span {
    fn conflicts(&self, other: &Self) -> bool {
        (self.written || other.written) && self.start < other.end && other.start < self.end
    }
}

/// The first pair of spans that overlap with at least one written, as indices into `spans`.
///
/// Spans of strided arrays may interleave without sharing an element: `shared` decides those.
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
        fn agrees_with_all_pairs(raw in proptest::collection::vec((0usize..60, 0usize..8, any::<bool>()), 0..12)) {
            let spans: Vec<Span> = raw
                .iter()
                .map(|&(start, len, written)| Span { start, end: start + len, written })
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
