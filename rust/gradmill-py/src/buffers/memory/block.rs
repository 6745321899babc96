//! One piece of memory that arrays take turns to have.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// `PyDataMemAllocator`. In our own, the context is NumPy's.
#[repr(C)]
pub struct Allocator {
    pub context: AtomicPtr<c_void>,
    pub malloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    pub calloc: unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void,
    pub realloc: unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void,
    pub free: unsafe extern "C" fn(*mut c_void, *mut c_void, usize),
}

/// Memory from NumPy's allocator, which goes back to it when this is dropped.
///
/// While it is lent, the block itself stands in front of the elements.
pub struct Block {
    numpys: &'static Allocator,
    start: NonNull<u8>,
    elements: NonNull<u8>,
    capacity: usize,
}

// SAFETY: a block is the only owner of its memory. NumPy's allocator is the system's, which any thread may call,
// for all but blocks below 1,024 bytes: those it keeps for itself, under the interpreter's lock. `ROOM` alone
// makes each block larger, and NumPy holds the lock whenever it calls the functions below.
unsafe impl Send for Block {}

impl Block {
    /// Bytes of a cache line.
    const LINE: usize = 64;
    /// Lines after which a processor takes two addresses for one at first sight.
    const LINES: usize = 64;
    /// What is allocated beside the elements.
    const ROOM: usize = size_of::<Self>() + Self::LINE * Self::LINES;

    /// Elements begin at a line, each time another one of a page: a chain that reads and writes many
    /// arrays at the same place of a page waits for itself.
    pub fn new(numpys: &'static Allocator, capacity: usize) -> Option<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let size = capacity.checked_add(Self::ROOM)?;
        // SAFETY: the allocator takes any size.
        let start = unsafe { (numpys.malloc)(numpys.context.load(Ordering::Relaxed), size) };
        let start: NonNull<u8> = NonNull::new(start)?.cast();
        let line = NEXT.fetch_add(17, Ordering::Relaxed) % Self::LINES;
        // SAFETY: `ROOM` is enough for a block, the bytes to the next line and all lines but one.
        let elements = unsafe {
            let behind = start.add(size_of::<Self>());
            behind.add(behind.align_offset(Self::LINE) + line * Self::LINE)
        };
        Some(Self { numpys, start, elements, capacity })
    }

    /// Bytes for elements.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The elements, in front of which the block stands from now on.
    pub fn lend(self) -> NonNull<c_void> {
        let elements = self.elements;
        // SAFETY: `new` has left room for it in front of the elements.
        unsafe { elements.cast::<Self>().sub(1).write(self) };
        elements.cast()
    }

    /// The block of elements that were lent.
    ///
    /// # Safety
    /// `elements` comes from [`Block::lend`], and nobody uses it any more.
    pub unsafe fn returned(elements: NonNull<c_void>) -> Self {
        // SAFETY: `lend` put it there.
        unsafe { elements.cast::<Self>().sub(1).read() }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let context = self.numpys.context.load(Ordering::Relaxed);
        // SAFETY: the memory is of this allocator, was allocated with this size and is not lent.
        unsafe {
            (self.numpys.free)(context, self.start.as_ptr().cast(), self.capacity + Self::ROOM);
        }
    }
}
