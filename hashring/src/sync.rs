//! The primitives that threads share, exchanged for loom's when its models run.

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, Ordering},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

/// Between two attempts of a loop that waits for another thread's progress.
#[cfg(loom)]
pub(crate) fn spin_hint() {
    loom::thread::yield_now();
}
/// Between two attempts of a loop that waits for another thread's progress.
#[cfg(not(loom))]
pub(crate) fn spin_hint() {
    core::hint::spin_loop();
}
