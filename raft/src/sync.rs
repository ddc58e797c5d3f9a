//! Locks that outlive a panic: whoever panicked while holding one has already been reported. And
//! what `driver/loom_models.rs` models of them: std's, or loom's.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::AtomicU64;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::AtomicU64;

#[cfg(loom)]
use loom::sync::{Mutex as Modelled, MutexGuard as ModelledGuard};
#[cfg(not(loom))]
use std::sync::{Mutex as Modelled, MutexGuard as ModelledGuard};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A mutex that loom models.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Modelled<T>);

impl<T> Lock<T> {
    pub(crate) fn lock(&self) -> ModelledGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
