//! Counts what each thread allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a piece of code allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) calls: usize,
    /// All that was asked for, whether it was given back or not.
    pub(crate) bytes: usize,
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static USED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn count(bytes: usize) {
    // A thread that is ending has no counter any more.
    let _ = USED.try_with(|used| {
        let (calls, sum) = used.get();
        used.set((calls + 1, sum + bytes));
    });
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

/// Runs `f` and says what it allocated on this thread.
pub(crate) fn measure<R>(f: impl FnOnce() -> R) -> (R, Usage) {
    let before = USED.get();
    let result = f();
    let after = USED.get();
    (result, Usage { calls: after.0 - before.0, bytes: after.1 - before.1 })
}

#[test]
fn counts_what_is_allocated() {
    let (bytes, usage) = measure(|| Vec::<u8>::with_capacity(100));
    assert_eq!((bytes.capacity(), usage), (100, Usage { calls: 1, bytes: 100 }));
    let ((), usage) = measure(|| ());
    assert_eq!(usage, Usage { calls: 0, bytes: 0 });
}
