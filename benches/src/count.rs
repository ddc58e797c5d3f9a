//! A counting allocator: allocations, live bytes, and the most live bytes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

/// Counts while [`counted`] runs; otherwise it only passes on.
pub struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static HERE: Cell<u64> = const { Cell::new(0) };
}

/// Allocations of this thread so far, while anything was counted.
pub fn here() -> u64 {
    HERE.with(Cell::get)
}

fn took(bytes: usize) {
    if ON.load(Relaxed) {
        HERE.with(|here| here.set(here.get() + 1));
        ALLOCATIONS.fetch_add(1, Relaxed);
        let live = LIVE.fetch_add(bytes as i64, Relaxed) + bytes as i64;
        PEAK.fetch_max(live, Relaxed);
    }
}

fn gave(bytes: usize) {
    if ON.load(Relaxed) {
        LIVE.fetch_sub(bytes as i64, Relaxed);
    }
}

// SAFETY: every call goes on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        gave(layout.size());
        took(size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// What a piece of work allocated.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub allocations: u64,
    /// Bytes more at the end than at the beginning.
    pub live: i64,
    /// Most bytes more than at the beginning.
    pub peak: i64,
}

/// Does `work` and counts what it allocates, on all threads.
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, Counted) {
    for count in [&LIVE, &PEAK] {
        count.store(0, Relaxed);
    }
    ALLOCATIONS.store(0, Relaxed);
    ON.store(true, Relaxed);
    let done = work();
    ON.store(false, Relaxed);
    let live = LIVE.load(Relaxed);
    let counted =
        Counted { allocations: ALLOCATIONS.load(Relaxed), live, peak: PEAK.load(Relaxed) };
    (done, counted)
}
