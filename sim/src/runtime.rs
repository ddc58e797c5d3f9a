//! [`Runtime`] of async nodes: their clock, tasks, timers and seeds.

use crate::host::Shared;
use quorate_clocks::{Clock, Monotonic, Timer};
use quorate_transport::{Runtime, Task};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The runtime of one life of a node.
pub(crate) struct SimRuntime {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

impl SimRuntime {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let clock: Arc<dyn Clock> = Arc::clone(&shared.clock) as Arc<dyn Clock>;
        Self { shared, clock }
    }
}

impl Runtime for SimRuntime {
    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn spawn(&self, _: &'static str, task: Task) {
        self.shared.executor.spawn(task);
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(SimTimer { shared: Arc::clone(&self.shared), set: None })
    }

    fn seed(&self) -> u64 {
        self.shared.seed()
    }
}

/// Deadlines that tasks wait for.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    wakers: BTreeMap<(Monotonic, u64), Waker>,
    last: u64,
}

impl Deadlines {
    pub(crate) fn next(&self) -> Option<Monotonic> {
        self.queue().wakers.keys().next().map(|(at, _)| *at)
    }

    /// Wakes whoever waited for a time that has come.
    pub(crate) fn wake_due(&self, now: Monotonic) {
        let due = {
            let mut queue = self.queue();
            let later = queue.wakers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut queue.wakers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// Wakes somebody once, whoever drops whatever meanwhile.
    pub(crate) fn wake_at(&self, at: Monotonic, waker: &Waker) {
        self.set(at, waker);
    }

    fn set(&self, at: Monotonic, waker: &Waker) -> (Monotonic, u64) {
        let mut queue = self.queue();
        queue.last += 1;
        let key = (at, queue.last);
        queue.wakers.insert(key, waker.clone());
        key
    }

    fn clear(&self, key: (Monotonic, u64)) {
        let waker = self.queue().wakers.remove(&key);
        drop(waker);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct SimTimer {
    shared: Arc<Shared>,
    set: Option<(Monotonic, u64)>,
}

impl Timer for SimTimer {
    fn poll_at(&mut self, deadline: Monotonic, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(key) = self.set.take() {
            self.shared.deadlines.clear(key);
        }
        if self.shared.clock.monotonic() >= deadline {
            return Poll::Ready(());
        }
        self.set = Some(self.shared.deadlines.set(deadline, cx.waker()));
        self.shared.executor.stir_up();
        Poll::Pending
    }
}

impl Drop for SimTimer {
    fn drop(&mut self) {
        if let Some(key) = self.set.take() {
            self.shared.deadlines.clear(key);
        }
    }
}
