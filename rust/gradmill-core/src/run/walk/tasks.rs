//! What threads work on: small leaves by the bundle, long ones part by part.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::row::Row;
use super::{Pair, Walk};
use crate::data::{Boxes, Chunks, Leaf};
use crate::sums::squares::Squares;
use crate::sys::config::CHUNK;
use crate::sys::par;

/// Elements of small leaves that a thread takes at once.
const BUNDLE: usize = par::PARALLEL_FROM >> 3;

/// What a thread works on at a time.
#[expect(clippy::large_enum_variant, reason = "a box for each chunk would be memory of its own")]
enum Task<'t, R> {
    /// Leaves that are no longer than a chunk; a sum for each that takes part.
    Rows { rows: &'t mut [R], first: usize, sums: &'t mut [Pair] },
    /// A chunk of a longer one.
    Chunk { chunk: Leaf<'t>, sum: Option<&'t mut Pair> },
}

/// Parts of a leaf: runs of consecutive elements in row-major order, or boxes.
#[expect(clippy::large_enum_variant, reason = "boxes are kept in place, as chunks are")]
enum Parts<'a> {
    Runs(Chunks<'a>),
    Boxes(Boxes<'a>),
}

impl<'a> Iterator for Parts<'a> {
    type Item = Leaf<'a>;

    fn next(&mut self) -> Option<Leaf<'a>> {
        match self {
            Self::Runs(runs) => runs.next(),
            Self::Boxes(boxes) => boxes.next(),
        }
    }
}

impl Walk<'_> {
    /// [`Walk::over`] on so many threads.
    #[inline(never)]
    pub(super) fn spread<R: Row>(
        &self,
        rows: &mut [R],
        threads: usize,
        sums: &mut Vec<Pair>,
        mut add: impl FnMut(Pair),
    ) -> bool {
        // A sum for each chunk; which thread computes it does not matter.
        let chunks = |row: &R| {
            let counts = self.squares.updates && row.is_active();
            if counts { row.len().div_ceil(CHUNK).max(1) } else { 0 }
        };
        sums.clear();
        sums.resize(rows.iter().map(chunks).sum(), Pair::default());
        let finite = AtomicBool::new(true);
        par::for_each(threads, tasks(self, rows, sums), |task| {
            let own = self.in_mode(|| match task {
                Task::Rows { rows, first, sums } => self.bundle(rows, first, sums),
                Task::Chunk { mut chunk, sum } => {
                    let position = chunk.origin.leaf;
                    let (own, found) = self.row(&mut chunk, position);
                    if let Some(sum) = sum {
                        *sum = found;
                    }
                    own
                }
            });
            if !own {
                finite.store(false, Ordering::Relaxed);
            }
        });
        let mut rest = &sums[..];
        for count in rows.iter().map(chunks).filter(|&count| count > 0) {
            let (own, tail) = rest.split_at(count);
            rest = tail;
            add([0, 1].map(|of: usize| Squares::of_tree(own.iter().map(|sums| sums[of]))));
        }
        finite.into_inner()
    }

    fn bundle<R: Row>(&self, rows: &mut [R], first: usize, sums: &mut [Pair]) -> bool {
        let mut finite = true;
        let mut sums = sums.iter_mut();
        self.each(rows, first, |own, found| {
            finite &= own;
            if let Some(sum) = sums.next() {
                *sum = found;
            }
        });
        finite
    }

    /// Parts of a leaf for threads.
    fn parts<'l>(&self, leaf: Leaf<'l>) -> Parts<'l> {
        match self.cuts(&leaf, CHUNK) {
            Some(cuts) => Parts::Boxes(leaf.boxes(cuts)),
            None => Parts::Runs(leaf.chunks(CHUNK)),
        }
    }
}

/// Hands out `rows` in turn: short ones by the bundle, long ones by the chunk, each with its places in `sums`,
/// which is empty where nobody asks for them.
fn tasks<'t, R: Row>(
    walk: &'t Walk<'_>,
    mut rows: &'t mut [R],
    mut sums: &'t mut [Pair],
) -> impl Iterator<Item = Task<'t, R>> + Send {
    let mut position = 0;
    let mut chunks: Option<Parts<'t>> = None;
    std::iter::from_fn(move || {
        loop {
            if let Some(chunk) = chunks.as_mut().and_then(Iterator::next) {
                return Some(Task::Chunk { chunk, sum: sums.split_off_first_mut() });
            }
            let is_long = |row: &R| row.is_active() && row.len() > CHUNK;
            if rows.first().is_some_and(is_long) {
                let mut leaf = rows.split_off_first_mut()?.leaf(walk.program);
                leaf.origin.leaf = position;
                position += 1;
                chunks = Some(walk.parts(leaf));
                continue;
            }
            let mut elements = 0;
            let fits = |row: &&R| {
                elements += row.len();
                !is_long(row) && elements <= BUNDLE
            };
            let count = rows.iter().take_while(fits).count().max(1);
            let bundle = rows.split_off_mut(..count.min(rows.len()))?;
            if bundle.is_empty() {
                return None;
            }
            let first = position;
            let taken = bundle.iter().filter(|row| row.is_active()).count();
            position += taken;
            let own = sums.split_off_mut(..taken.min(sums.len())).unwrap_or_default();
            return Some(Task::Rows { rows: bundle, first, sums: own });
        }
    })
}
