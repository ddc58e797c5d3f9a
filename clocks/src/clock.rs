//! [`Clock`]: the one injected source of time of the family.

use crate::{Drift, Monotonic, WallTime};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

/// Both clocks, read one right after the other.
///
/// # Examples
/// ```
/// use quorate_clocks::{Clock, ManualClock, Reading, WallTime};
///
/// let reading: Reading = ManualClock::new(WallTime::from_nanos(7)).read();
/// assert_eq!(reading.wall, WallTime::from_nanos(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// The wall clock, read first.
    pub wall: WallTime,
    /// The monotonic clock, read second: no later than now, no earlier than `wall`'s instant.
    pub monotonic: Monotonic,
}

/// A source of time. Protocol code never asks the operating system; it is given one of these, or
/// just `now`.
///
/// # Cost
/// Implementations must not block; [`SystemClock`](crate::SystemClock) costs one vDSO call a
/// reading.
///
/// # Examples
/// A clock of one's own needs two methods:
/// ```
/// use quorate_clocks::{Clock, Monotonic, WallTime};
///
/// struct Stopped;
/// impl Clock for Stopped {
///     fn monotonic(&self) -> Monotonic {
///         Monotonic::from_nanos(1)
///     }
///     fn wall(&self) -> WallTime {
///         WallTime::from_nanos(2)
///     }
/// }
/// let clock: std::sync::Arc<dyn Clock> = std::sync::Arc::new(Stopped);
/// assert_eq!(clock.read().wall, WallTime::from_nanos(2));
/// ```
pub trait Clock: Send + Sync {
    /// Time that never goes back. Counts suspend when [`is_suspend_aware`](Self::is_suspend_aware).
    fn monotonic(&self) -> Monotonic;

    /// Time of day; may step either way.
    fn wall(&self) -> WallTime;

    /// Both, the wall clock first: a pause between the two readings then makes the wall time look
    /// old, never the monotonic time. // H14
    fn read(&self) -> Reading {
        if crate::mutant::on("monotonic_first") {
            let monotonic = self.monotonic();
            return Reading { wall: self.wall(), monotonic };
        }
        let wall = self.wall();
        Reading { wall, monotonic: self.monotonic() }
    }

    /// How old the value of [`wall`](Self::wall) may be (coarse or cached clocks).
    fn wall_staleness(&self) -> Duration {
        Duration::ZERO
    }

    /// Bound on the rate error of [`monotonic`](Self::monotonic) against true time.
    fn drift(&self) -> Drift {
        Drift::SLEWED
    }

    /// Whether [`monotonic`](Self::monotonic) goes on while the machine is suspended.
    fn is_suspend_aware(&self) -> bool {
        true
    }
}

/// Forwards *every* method: a default body left in place here would silently answer for a clock
/// that overrides it. // H33
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<C: Clock + ?Sized> Clock for $pointer {
            fn monotonic(&self) -> Monotonic {
                (**self).monotonic()
            }
            fn wall(&self) -> WallTime {
                (**self).wall()
            }
            fn read(&self) -> Reading {
                (**self).read()
            }
            fn wall_staleness(&self) -> Duration {
                (**self).wall_staleness()
            }
            fn drift(&self) -> Drift {
                (**self).drift()
            }
            fn is_suspend_aware(&self) -> bool {
                (**self).is_suspend_aware()
            }
        }
    )*};
}

forward!(&C, Box<C>, Arc<C>);
