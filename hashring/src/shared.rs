//! One value that is replaced as a whole, and readers that notice at their next look.

use crate::sync::{AtomicU64, Mutex, Ordering};
use alloc::sync::Arc;
use core::fmt;
use std::sync::PoisonError;

/// A value that many threads read and few replace: the current [`View`](crate::View), ring or
/// range map.
///
/// # Cost
/// [`Reader::get`] is one Acquire load as long as nothing was published; behind a publication it
/// takes a lock once, which holds for the copy of an `Arc`. Making the new value happens outside
/// of that lock, so readers never wait for a rebuild (H23).
///
/// # Examples
/// ```
/// use quorate_hashring::Shared;
/// use std::sync::Arc;
///
/// let shared = Shared::new(vec![1, 2]);
/// let mut reader = shared.reader(); // one per thread
/// assert_eq!(reader.get().len(), 2);
/// shared.publish(Arc::new(vec![1, 2, 3]));
/// assert_eq!(reader.get().len(), 3);
/// let sum = shared.update(|old| Ok::<_, ()>(vec![old.iter().sum::<i32>()])).unwrap();
/// assert_eq!(*sum, [6]);
/// ```
pub struct Shared<T> {
    cell: Arc<Cell<T>>,
}

struct Cell<T> {
    /// Rises by one with each publication, inside of `current`.
    version: AtomicU64,
    current: Mutex<Arc<T>>,
    /// Held while a new value is made from the current one.
    writer: Mutex<()>,
}

impl<T> Cell<T> {
    fn load(&self) -> (Arc<T>, u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&current), self.version.load(Ordering::Relaxed))
    }

    fn store(&self, value: Arc<T>) -> u64 {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let before = core::mem::replace(&mut *current, value);
        let version = self.version.fetch_add(1, Ordering::Release) + 1;
        drop(current);
        drop(before); // may free much: not under the lock
        version
    }
}

impl<T> Shared<T> {
    /// With a first value.
    #[must_use]
    pub fn new(value: T) -> Self {
        let (version, current) = (AtomicU64::new(0), Mutex::new(Arc::new(value)));
        Self { cell: Arc::new(Cell { version, current, writer: Mutex::new(()) }) }
    }

    /// The current value. Takes a lock for a moment: a thread that looks often should keep a
    /// [`Reader`].
    #[must_use]
    pub fn load(&self) -> Arc<T> {
        self.cell.load().0
    }

    /// Replaces the value and gives the number of values published so far.
    pub fn publish(&self, value: Arc<T>) -> u64 {
        let _writer = self.cell.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.cell.store(value)
    }

    /// Replaces the value by one made from it. Updates and publications happen one after the
    /// other, so none is lost; readers go on with the old value meanwhile. `make` must not publish
    /// to the same `Shared`: it would wait for itself.
    ///
    /// # Errors
    /// What `make` answers; nothing was published then.
    pub fn update<E>(&self, make: impl FnOnce(&T) -> Result<T, E>) -> Result<Arc<T>, E> {
        let _writer = self.cell.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, _) = self.cell.load();
        let value = Arc::new(make(&before)?);
        self.cell.store(Arc::clone(&value));
        Ok(value)
    }

    /// A reader with a cache of its own.
    #[must_use]
    pub fn reader(&self) -> Reader<T> {
        let (value, version) = self.cell.load();
        Reader { cell: Arc::clone(&self.cell), value, version }
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, version) = self.cell.load();
        f.debug_struct("Shared").field("version", &version).field("value", &value).finish()
    }
}

/// Reads a [`Shared`] value without a lock, by a cached copy that a version number guards.
///
/// However many publications lie between two looks, the next one sees the last (H20).
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// let shared = Shared::new(1);
/// let mut reader = shared.reader();
/// shared.publish(std::sync::Arc::new(2));
/// assert_eq!(**reader.get(), 2);
/// ```
pub struct Reader<T> {
    cell: Arc<Cell<T>>,
    value: Arc<T>,
    /// The version of `value`.
    version: u64,
}

impl<T> Reader<T> {
    /// The value published last.
    #[inline]
    pub fn get(&mut self) -> &Arc<T> {
        // Compared, not awaited: coalesced publications cannot leave a stale copy. // H20
        if self.cell.version.load(Ordering::Acquire) != self.version {
            self.refresh();
        }
        &self.value
    }

    #[cold]
    fn refresh(&mut self) {
        (self.value, self.version) = self.cell.load();
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        let (cell, value) = (Arc::clone(&self.cell), Arc::clone(&self.value));
        Self { cell, value, version: self.version }
    }
}

impl<T: fmt::Debug> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("version", &self.version)
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
