//! [`TokioRuntime`]: the [`Runtime`] of ordinary processes.

use crate::{Runtime, Task};
use quorate_clocks::{Clock, Monotonic, SystemClock, Timer};
use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

/// Longest sleep before the clock is read again: tokio's timers stand still while the machine is
/// suspended, [`SystemClock`] does not. // H36
const SLICE_MAX: Duration = Duration::from_secs(1);

/// Spawns on a tokio runtime, reads a [`Clock`], takes seeds from the operating system.
///
/// # Examples
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use quorate_transport::{Runtime, TokioRuntime};
/// let rt = TokioRuntime::current();
/// assert_ne!(rt.seed(), rt.seed());
/// # })
/// ```
#[derive(Clone)]
pub struct TokioRuntime {
    handle: Handle,
    clock: Arc<dyn Clock>,
}

impl TokioRuntime {
    /// The runtime of this thread with the system's clock.
    ///
    /// # Panics
    /// Outside a tokio runtime; [`try_current`](Self::try_current) does not.
    #[must_use]
    pub fn current() -> Self {
        Self::with_clock(Handle::current(), Arc::new(SystemClock::new()))
    }

    /// The runtime of this thread with the system's clock, if there is one.
    #[must_use]
    pub fn try_current() -> Option<Self> {
        let handle = Handle::try_current().ok()?;
        Some(Self::with_clock(handle, Arc::new(SystemClock::new())))
    }

    /// A given runtime with a given clock.
    #[must_use]
    pub fn with_clock(handle: Handle, clock: Arc<dyn Clock>) -> Self {
        Self { handle, clock }
    }
}

impl fmt::Debug for TokioRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioRuntime").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Runtime for TokioRuntime {
    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn spawn(&self, _name: &'static str, task: Task) {
        drop(self.handle.spawn(task));
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(TokioTimer { clock: self.clock.clone(), armed: None })
    }

    fn seed(&self) -> u64 {
        // Each state has keys of its own, from the operating system's randomness.
        RandomState::new().build_hasher().finish()
    }
}

struct TokioTimer {
    clock: Arc<dyn Clock>,
    armed: Option<Armed>,
}

struct Armed {
    /// On the runtime's clock.
    wakes_by: Monotonic,
    sleep: Pin<Box<Sleep>>,
}

impl TokioTimer {
    fn arm(&mut self, now: Monotonic, left: Duration) {
        let (wakes_by, until) = (now.saturating_add(left), Instant::now() + left);
        if let Some(armed) = &mut self.armed {
            armed.sleep.as_mut().reset(until);
            armed.wakes_by = wakes_by;
        } else {
            self.armed = Some(Armed { wakes_by, sleep: Box::pin(sleep_until(until)) });
        }
    }
}

impl Timer for TokioTimer {
    fn poll_at(&mut self, deadline: Monotonic, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.clock.monotonic();
            let left = deadline.since(now);
            if left.is_zero() {
                return Poll::Ready(());
            }
            if deadline == Monotonic::FAR_FUTURE {
                self.armed = None;
                return Poll::Pending;
            }
            // Re-arming at each poll would cost more than the poll: one slice runs to its end, also
            // if the deadline has moved away meanwhile, as those of elections do.
            let runs = |a: &Armed| a.wakes_by <= deadline && !a.sleep.is_elapsed();
            if !self.armed.as_ref().is_some_and(runs) {
                self.arm(now, left.min(SLICE_MAX));
            }
            let Some(armed) = &mut self.armed else { return Poll::Pending };
            if armed.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
