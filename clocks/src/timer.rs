//! [`Timer`]: how an asynchronous driver waits without naming an executor.

use crate::Monotonic;
use core::task::{Context, Poll};

/// One waiting place that is re-armed at each poll.
///
/// A driver owns one timer and polls it with the earliest deadline it knows; a later call with
/// another deadline replaces the former one. The executor's adapter hands timers out (in the
/// family: `quorate_transport::Runtime::timer`), so that drivers run unchanged in a simulation.
///
/// # Cancel safety
/// There is nothing to cancel: not polling again disarms the timer.
///
/// # Examples
/// ```
/// use quorate_clocks::{Clock, ManualClock, Monotonic, Timer, WallTime};
/// use std::task::{Context, Poll, Waker};
/// use std::time::Duration;
///
/// /// Fires when a manual clock has reached the deadline (a real one would also keep the waker).
/// struct ManualTimer(ManualClock);
/// impl Timer for ManualTimer {
///     fn poll_at(&mut self, deadline: Monotonic, _cx: &mut Context<'_>) -> Poll<()> {
///         if self.0.monotonic() >= deadline { Poll::Ready(()) } else { Poll::Pending }
///     }
/// }
///
/// let clock = ManualClock::new(WallTime::EPOCH);
/// let mut timer = ManualTimer(clock.clone());
/// let mut cx = Context::from_waker(Waker::noop());
/// let deadline = clock.monotonic().saturating_add(Duration::from_secs(1));
/// assert!(timer.poll_at(deadline, &mut cx).is_pending());
/// clock.advance(Duration::from_secs(1));
/// assert!(timer.poll_at(deadline, &mut cx).is_ready());
/// ```
pub trait Timer: Send + 'static {
    /// Ready once the clock has reached `deadline`; else the task of `cx` is woken then or earlier.
    ///
    /// [`Monotonic::FAR_FUTURE`] means "never".
    fn poll_at(&mut self, deadline: Monotonic, cx: &mut Context<'_>) -> Poll<()>;
}
