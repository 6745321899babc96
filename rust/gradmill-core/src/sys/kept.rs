//! Memory that stays with a thread, so that steps allocate nothing.

use std::cell::Cell;
use std::thread::LocalKey;

/// Calls `work` with what this thread has kept, and keeps what comes of it.
pub fn with_kept<K: Default, R>(
    kept: &'static LocalKey<Cell<K>>,
    work: impl FnOnce(&mut K) -> R,
) -> R {
    let mut memory = kept.take();
    let done = work(&mut memory);
    kept.set(memory);
    done
}

/// As many elements of a buffer, of any value.
pub fn grown<E: Copy + Default>(buffer: &mut Vec<E>, len: usize) -> &mut [E] {
    if buffer.len() < len {
        buffer.resize(len, E::default());
    }
    &mut buffer[..len]
}
