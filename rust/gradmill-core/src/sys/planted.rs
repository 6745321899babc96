//! Panics on demand, for tests of what a panic in a kernel leaves behind. No release has this.

use std::sync::atomic::{AtomicI64, Ordering};

static LEFT: AtomicI64 = AtomicI64::new(-1);

/// Lets so many kernels pass and makes the next one panic; a negative number none.
pub fn panic_after(kernels: i64) {
    LEFT.store(kernels, Ordering::Relaxed);
}

/// Where a kernel is about to start.
pub(crate) fn point() {
    let is_due = |left: i64| left >= 0 && LEFT.fetch_sub(1, Ordering::Relaxed) == 0;
    assert!(!is_due(LEFT.load(Ordering::Relaxed)), "planted");
}
