//! Counts what each thread allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a piece of code allocated on its thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) calls: usize,
    /// The most that was held at one time beyond what was held before.
    pub(crate) peak: usize,
}

#[derive(Clone, Copy)]
struct Count {
    calls: usize,
    held: isize,
    peak: isize,
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { calls: 0, held: 0, peak: 0 }) };
}

fn note(calls: usize, bytes: isize) {
    // A thread that is ending has no counter any more.
    let _ = COUNT.try_with(|count| {
        let mut now = count.get();
        now.calls += calls;
        now.held += bytes;
        now.peak = now.peak.max(now.held);
        count.set(now);
    });
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, signed(layout.size()));
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, signed(layout.size()));
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        note(0, -signed(layout.size()));
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(1, signed(new_size) - signed(layout.size()));
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

/// Runs `f` and says what it allocated on this thread.
pub(crate) fn measure<R>(f: impl FnOnce() -> R) -> (R, Usage) {
    let before = COUNT.get();
    COUNT.set(Count { peak: before.held, ..before });
    let result = f();
    let after = COUNT.get();
    let peak = usize::try_from(after.peak - before.held).unwrap_or(0);
    (result, Usage { calls: after.calls - before.calls, peak })
}

#[test]
fn counts_what_is_allocated() {
    let (bytes, usage) = measure(|| Vec::<u8>::with_capacity(100));
    assert_eq!((bytes.capacity(), usage), (100, Usage { calls: 1, peak: 100 }));
    let ((), usage) = measure(|| drop((vec![0_u8; 50], vec![0_u8; 70])));
    assert_eq!(usage, Usage { calls: 2, peak: 120 });
    let ((), usage) = measure(|| ());
    assert_eq!(usage, Usage::default());
}
