//! Locks: std's, or loom's models of them, with poisoning ignored.
//!
//! A panic on the commit path is turned into a `Failure` that stops the log (H32); the state
//! under the locks is only ever changed in steps that leave it whole, so a poisoned lock carries
//! no further news.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

#[cfg(loom)]
use loom::{
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
    sync::{Condvar, Mutex, MutexGuard},
    thread::{self, Thread},
    thread_local,
};
#[cfg(not(loom))]
use std::{
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
    sync::{Condvar, Mutex, MutexGuard},
    thread::{self, Thread},
};

/// A mutex whose `lock` cannot fail.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A condition variable for [`Lock`] that makes no system call when nobody waits.
///
/// What is waited for must be changed under the lock that is waited with, before the notice: a
/// thread whose entry in `waiting` the notifier does not see takes the lock later, and sees that.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    changed: Condvar,
    waiting: AtomicU32,
}

impl Signal {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { changed: Condvar::new(), waiting: AtomicU32::new(0) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { changed: Condvar::new(), waiting: AtomicU32::new(0) }
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    pub(crate) fn wait_for<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> MutexGuard<'a, T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = match self.changed.wait_timeout(guard, time) {
            Ok((guard, _)) => guard,
            Err(poisoned) => poisoned.into_inner().0,
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    pub(crate) fn notify_all(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.changed.notify_all();
        }
    }

    pub(crate) fn notify_one(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.changed.notify_one();
        }
    }
}

/// A thread that waits for its own news: it is woken alone, and knows without a lock whether what
/// it waited for has happened.
#[derive(Debug)]
pub(crate) struct Parked {
    thread: Thread,
    news: AtomicU8,
}

const NONE: u8 = 0;
const DONE: u8 = 1;
const LOOK: u8 = 2;

thread_local! {
    static MINE: Arc<Parked> = Arc::new(Parked {
        thread: thread::current(),
        news: AtomicU8::new(NONE),
    });
}

impl Parked {
    /// This thread's, without news.
    pub(crate) fn mine() -> Arc<Self> {
        let mine = MINE.with(Arc::clone);
        mine.news.store(NONE, Ordering::Relaxed);
        mine
    }

    /// Waits for news; whether it is that the goal is reached.
    pub(crate) fn park(&self) -> bool {
        loop {
            match self.news.load(Ordering::Acquire) {
                NONE => thread::park(),
                news => return news == DONE,
            }
        }
    }

    /// The goal is reached.
    pub(crate) fn done(&self) {
        self.tell(DONE);
    }

    /// Something changed: look again.
    pub(crate) fn look(&self) {
        self.tell(LOOK);
    }

    fn tell(&self, news: u8) {
        self.news.store(news, Ordering::Release);
        self.thread.unpark();
    }
}
