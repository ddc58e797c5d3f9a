//! [`ClockMonitor`]: notices that the wall clock was stepped.

use crate::{MonitorConfig, Reading};
use core::fmt;
use core::time::Duration;

/// Compares how far the wall clock and the monotonic clock moved between two readings.
///
/// The clocks of [`SystemClock::new`](crate::SystemClock::new) run at the same slewed rate, so
/// slewing does not show; a step does. Beside an unslewed monotonic clock slewing shows as well:
/// with chrony's default, 83 ms in each second between two readings; set the limits above that.
///
/// # How to drive it
/// Hand it a reading about once a second. It keeps the last one; nothing else.
///
/// # Limits
/// It cannot tell smeared from unsmeared leap seconds: in a fleet that mixes them, clocks differ by
/// up to a second and no clock is stepped. Use one kind of time source. // H28
///
/// # Examples
/// ```
/// use quorate_clocks::*;
/// use std::time::Duration;
///
/// let clock = ManualClock::new(WallTime::from_nanos(1_000_000_000_000));
/// let config = MonitorConfig::for_skew(Duration::from_millis(500));
/// let mut monitor = ClockMonitor::new(config, clock.read());
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(monitor.handle_reading(clock.read()), None);
/// clock.step_wall(-60_000_000_000);
/// let by = Duration::from_secs(60);
/// assert_eq!(
///     monitor.handle_reading(clock.read()),
///     Some(ClockEvent::SteppedBackward { by })
/// );
/// ```
#[derive(Clone, Debug)]
pub struct ClockMonitor {
    config: MonitorConfig,
    last: Reading,
}

/// What a [`ClockMonitor`] noticed.
///
/// # Examples
/// ```
/// use quorate_clocks::ClockEvent;
/// use std::time::Duration;
/// let event = ClockEvent::SteppedForward { by: Duration::from_secs(2) };
/// assert_eq!(event.to_string(), "the wall clock was stepped forward by 2s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockEvent {
    /// Stamps follow at once, and a horizon makes that durable: if the new time is wrong, give the
    /// node a new id after it was corrected. // H35
    SteppedForward {
        /// By how much.
        by: Duration,
    },
    /// Stamps count on until the wall clock has caught up.
    SteppedBackward {
        /// By how much.
        by: Duration,
    },
    /// The monotonic clock went back, which no correct machine does: trust no lease.
    MonotonicReversed {
        /// By how much.
        by: Duration,
    },
}

impl fmt::Display for ClockEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SteppedForward { by } => {
                write!(f, "the wall clock was stepped forward by {by:?}")
            }
            Self::SteppedBackward { by } => write!(f, "the wall clock was stepped back by {by:?}"),
            Self::MonotonicReversed { by } => write!(f, "the monotonic clock went back by {by:?}"),
        }
    }
}

impl ClockMonitor {
    /// Begins with this reading.
    #[must_use]
    pub const fn new(config: MonitorConfig, first: Reading) -> Self {
        Self { config, last: first }
    }

    /// Compares with the reading before.
    #[must_use = "the event is told once"]
    pub fn handle_reading(&mut self, now: Reading) -> Option<ClockEvent> {
        let last = core::mem::replace(&mut self.last, now);
        if now.monotonic < last.monotonic {
            let by = last.monotonic.since(now.monotonic);
            return Some(ClockEvent::MonotonicReversed { by });
        }
        let moved = |now: u64, last: u64| i128::from(now) - i128::from(last);
        let step = moved(now.wall.as_nanos(), last.wall.as_nanos())
            - moved(now.monotonic.as_nanos(), last.monotonic.as_nanos());
        let by = Duration::from_nanos(u64::try_from(step.unsigned_abs()).unwrap_or(u64::MAX));
        if step > 0 && by >= self.config.forward_limit {
            Some(ClockEvent::SteppedForward { by })
        } else if step < 0 && by > self.config.backward_limit {
            Some(ClockEvent::SteppedBackward { by })
        } else {
            None
        }
    }
}
