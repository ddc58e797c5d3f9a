//! Locks that outlive a panic: whoever panicked while holding one has already been reported. And
//! what `driver/loom_models.rs` models of them: std's, or loom's.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(feature = "tokio")]
pub(crate) use modelled::{AtomicU64, Lock};

/// What the driver shares between threads without its task.
#[cfg(feature = "tokio")]
mod modelled {
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic::AtomicU64;
    #[cfg(not(loom))]
    pub(crate) use std::sync::atomic::AtomicU64;

    #[cfg(loom)]
    use loom::sync::{Mutex, MutexGuard};
    use std::sync::PoisonError;
    #[cfg(not(loom))]
    use std::sync::{Mutex, MutexGuard};

    /// A mutex that loom models.
    #[derive(Debug, Default)]
    pub(crate) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
