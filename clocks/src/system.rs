//! [`SystemClock`]: the clock of the operating system. The only file of the family that may ask it.

use crate::{Clock, Drift, Monotonic, WallTime};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

/// The operating system's clocks.
///
/// On 64-bit Linux `monotonic` is `CLOCK_BOOTTIME`, which goes on while the machine is suspended,
/// so that a lease does not outlive its time because a laptop was closed. Elsewhere, and on a
/// kernel that refuses that clock, it is std's `Instant`, and
/// [`is_suspend_aware`](Clock::is_suspend_aware) says `false`.
///
/// # Cost
/// One vDSO read; no allocation, no system call on common platforms.
///
/// # Examples
/// ```
/// use quorate_clocks::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// let earlier = clock.monotonic();
/// assert!(clock.monotonic() >= earlier);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    /// Decided once: mixing two origins would make time jump.
    boottime: bool,
}

impl SystemClock {
    /// The best monotonic clock of this platform, with [`Drift::SLEWED`].
    #[must_use]
    pub fn new() -> Self {
        Self { boottime: boottime_nanos().is_some() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Monotonic {
        if self.boottime
            && let Some(nanos) = boottime_nanos()
        {
            return Monotonic::from_nanos(nanos);
        }
        since_first_use()
    }

    #[expect(clippy::disallowed_methods, reason = "the family's one door to the wall clock")]
    fn wall(&self) -> WallTime {
        // A clock set before 1970 reads as the epoch: the value stays ordered and nothing fails.
        WallTime::try_from(SystemTime::now()).unwrap_or(WallTime::EPOCH)
    }

    fn drift(&self) -> Drift {
        Drift::SLEWED
    }

    fn is_suspend_aware(&self) -> bool {
        self.boottime
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), target_pointer_width = "64"))]
fn boottime_nanos() -> Option<u64> {
    crate::sys::clock_nanos(crate::sys::CLOCK_BOOTTIME)
}

#[cfg(not(all(any(target_os = "linux", target_os = "android"), target_pointer_width = "64")))]
fn boottime_nanos() -> Option<u64> {
    None
}

/// All clocks of a process share one origin, so that their readings can be compared.
#[expect(clippy::disallowed_methods, reason = "the family's one door to std's monotonic clock")]
fn since_first_use() -> Monotonic {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(Instant::now);
    Monotonic::ZERO.saturating_add(origin.elapsed())
}
