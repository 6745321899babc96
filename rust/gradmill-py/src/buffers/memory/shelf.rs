//! Memory of arrays that are gone, kept for arrays to come.
//!
//! The system clears large blocks of memory page by page as they are first written, which takes longer
//! than most chains do. A training loop asks for the same sizes step after step, so what one step leaves
//! behind serves the next.
//!
//! No lock is waited for: where one is held, memory comes from NumPy's allocator and goes back to it. So
//! a child that was forked while another thread was in here still works.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;

use super::block::Block;

/// Bytes from which on an array's memory is recycled. The allocator serves smaller ones well.
pub const RECYCLE_FROM: usize = 1 << 16;

/// Bytes that may be idle however little is in use.
const SPARE: usize = 1 << 26;

static SHELF: Mutex<Shelf> = Mutex::new(Shelf::new());
static LENT: AtomicUsize = AtomicUsize::new(0);

/// A block of at least `size` bytes, or `None` where there is no memory. `make` makes a new one.
pub fn lend(size: usize, make: impl Fn() -> Option<Block>) -> Option<Block> {
    if size < RECYCLE_FROM {
        return make();
    }
    let kept = SHELF.try_lock().ok().and_then(|mut shelf| shelf.take(size));
    let block = kept.or_else(&make).or_else(|| {
        drop(empty());
        make()
    })?;
    LENT.fetch_add(block.capacity(), Ordering::Relaxed);
    Some(block)
}

/// Takes back a block that nobody uses any more.
pub fn take_back(block: Block) {
    if block.capacity() < RECYCLE_FROM {
        return;
    }
    let lent = LENT.fetch_sub(block.capacity(), Ordering::Relaxed) - block.capacity();
    // A step that is a function of parameters and state drops as much as it keeps, and its updates too.
    let most = lent.saturating_mul(2).max(SPARE);
    let surplus = SHELF.try_lock().ok().map(|mut shelf| shelf.put(block, most));
    drop(surplus);
}

fn empty() -> Shelf {
    SHELF.try_lock().map_or(Shelf::new(), |mut shelf| std::mem::replace(&mut *shelf, Shelf::new()))
}

/// Gives all memory that waits for arrays to come back to the system; returns the number of bytes.
#[pyfunction]
pub fn clear_cache() -> usize {
    empty().bytes
}

/// Idle blocks.
struct Shelf {
    /// By capacity, and then by when they came.
    blocks: BTreeMap<(usize, u64), Block>,
    bytes: usize,
    came: u64,
}

impl Shelf {
    const fn new() -> Self {
        Self { blocks: BTreeMap::new(), bytes: 0, came: 0 }
    }

    /// The smallest block that holds `size` bytes and is at most a quarter larger; of several, the last
    /// that came, which is the likeliest to be in a processor's cache.
    fn take(&mut self, size: usize) -> Option<Block> {
        let fitting = (size, 0)..=(size.saturating_add(size / 4), u64::MAX);
        let &(capacity, _) = self.blocks.range(fitting).next()?.0;
        let &key = self.blocks.range((capacity, 0)..=(capacity, u64::MAX)).next_back()?.0;
        self.bytes -= capacity;
        self.blocks.remove(&key)
    }

    /// Keeps `block`, and hands out the oldest ones until at most `most` bytes are left.
    fn put(&mut self, block: Block, most: usize) -> Vec<Block> {
        self.bytes += block.capacity();
        self.came += 1;
        self.blocks.insert((block.capacity(), self.came), block);
        let mut surplus = Vec::new();
        while self.bytes > most {
            let oldest = self.blocks.keys().copied().min_by_key(|&(_, came)| came);
            let Some(block) = oldest.and_then(|key| self.blocks.remove(&key)) else { break };
            self.bytes -= block.capacity();
            surplus.push(block);
        }
        surplus
    }
}
