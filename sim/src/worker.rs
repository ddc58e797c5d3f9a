//! [`Unpark`]: wakes a worker, which stands for a thread of an async node.

use crate::executor::{Executor, Woken};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Wakes a worker; from [`Host::worker`](crate::Host::worker).
///
/// # Examples
/// See [`Host::worker`](crate::Host::worker).
/// ```
/// fn wake_twice(unpark: &quorate_sim::Unpark) {
///     unpark.unpark();
///     unpark.unpark(); // one turn at least, two at most
/// }
/// # let _ = wake_twice;
/// ```
#[derive(Clone)]
pub struct Unpark {
    pub(crate) executor: Arc<Executor>,
    pub(crate) worker: usize,
}

impl Unpark {
    /// The worker takes a turn soon, and more until it parks. Nothing happens if the node has died.
    pub fn unpark(&self) {
        self.executor.unpark(self.worker);
    }
}

impl fmt::Debug for Unpark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpark").field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// What a worker does when it is woken.
pub(crate) type TurnFn = Box<dyn FnMut() -> quorate_wal::Turn + Send>;

/// A worker, as the world keeps it.
pub(crate) struct Worker {
    pub(crate) turn: Option<TurnFn>,
    /// An event for its next turn is on its way.
    pub(crate) scheduled: bool,
    /// How long it waits for that turn.
    pub(crate) waits: Duration,
    /// Its last turn goes on: what comes of it at its end.
    pub(crate) ending: Option<Woken>,
}

impl Worker {
    pub(crate) const fn new(turn: TurnFn) -> Self {
        Self { turn: Some(turn), scheduled: false, waits: Duration::ZERO, ending: None }
    }
}
