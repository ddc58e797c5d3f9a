//! [`SystemClock`] and [`CoarseClock`]: the clocks of the operating system. The only file of the
//! family that may ask it.

use crate::{Clock, Drift, Monotonic, WallTime};
use core::time::Duration;
use std::sync::OnceLock;
use std::time::Instant;

/// The operating system's clocks.
///
/// On 64-bit Linux `monotonic` goes on while the machine is suspended, so that a lease does not
/// outlive its time because a laptop was closed. Elsewhere, and on a kernel that refuses that
/// clock, it is std's `Instant`, and [`is_suspend_aware`](Clock::is_suspend_aware) says `false`.
///
/// # Cost
/// [`new`](Self::new): one vDSO read; no allocation, no system call on common platforms.
/// [`unslewed`](Self::unslewed): four.
///
/// # Examples
/// ```
/// use quorate_clocks::{Clock, Drift, SystemClock};
///
/// let clock = SystemClock::new();
/// let earlier = clock.monotonic();
/// assert!(clock.monotonic() >= earlier);
/// assert_eq!(clock.drift(), Drift::SLEWED);
/// ```
///
/// # Source
/// `clock_gettime(2)`; std does not count suspended time on Linux (rust-lang/rust#87906).
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    /// Decided once: mixing two origins would make time jump.
    source: Source,
    drift: Drift,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// `CLOCK_BOOTTIME`.
    Boottime,
    /// `CLOCK_MONOTONIC_RAW` and the suspended time.
    Unslewed,
    /// std's.
    Instant,
}

impl SystemClock {
    /// `CLOCK_BOOTTIME`, which NTP slews: [`Drift::SLEWED`].
    #[must_use]
    pub fn new() -> Self {
        let there = os::boottime().is_some();
        let source = if there { Source::Boottime } else { Source::Instant };
        Self { source, drift: Drift::SLEWED }
    }

    /// `CLOCK_MONOTONIC_RAW`, the oscillator as it runs, plus the measured time in suspend:
    /// [`Drift::CRYSTAL`], which makes for leases that are 500 times as exact. // H23
    ///
    /// # Limits
    /// Suspends below a millisecond are not seen, and longer ones are as exact as the kernel's own
    /// account of them (on some machines that of a real-time clock with whole seconds). Elsewhere
    /// than on 64-bit Linux this is [`new`](Self::new).
    #[must_use]
    pub fn unslewed() -> Self {
        if os::unslewed().is_none() {
            return Self::new();
        }
        Self { source: Source::Unslewed, drift: Drift::CRYSTAL }
    }

    /// States another rate error than the cautious one: you vouch for it, for instance because
    /// every node's NTP daemon is told to slew no faster.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::{Clock, Drift, SystemClock};
    /// // With `maxslewrate 1000` in chrony.conf, and 500 ppm for the crystal.
    /// let clock = SystemClock::new().with_drift(Drift::from_ppm(1_500).unwrap());
    /// assert_eq!(clock.drift().as_ppm(), 1_500);
    /// ```
    #[must_use]
    pub const fn with_drift(mut self, drift: Drift) -> Self {
        self.drift = drift;
        self
    }

    /// The clock that `monotonic` reads, by its name in `clock_gettime(2)`.
    #[must_use]
    pub const fn source(&self) -> &'static str {
        match self.source {
            Source::Boottime => "CLOCK_BOOTTIME",
            Source::Unslewed => "CLOCK_MONOTONIC_RAW and the time in suspend",
            Source::Instant => "std::time::Instant",
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    fn monotonic(&self) -> Monotonic {
        let nanos = match self.source {
            Source::Boottime => os::boottime(),
            Source::Unslewed => os::unslewed(),
            Source::Instant => None,
        };
        nanos.map_or_else(since_first_use, Monotonic::from_nanos)
    }

    /// A clock set before 1970 reads as 1970: the value stays ordered and nothing fails. // H12
    #[inline]
    fn wall(&self) -> WallTime {
        WallTime::from_nanos(os::realtime())
    }

    fn drift(&self) -> Drift {
        self.drift
    }

    fn is_suspend_aware(&self) -> bool {
        self.source != Source::Instant
    }
}

#[cold]
#[expect(clippy::disallowed_methods, reason = "the family's one door to std's monotonic clock")]
fn since_first_use() -> Monotonic {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(Instant::now);
    Monotonic::ZERO.saturating_add(origin.elapsed())
}

/// A wall clock that costs a memory read: the time of the kernel's last tick.
///
/// For stamps where a millisecond does not matter: an [`Hlc`](crate::Hlc) over it is as ordered and
/// as unique, its physical part lags by up to [`wall_staleness`](Clock::wall_staleness).
///
/// # Limits
/// Monotonic time is that of [`SystemClock::new`]. Elsewhere than on 64-bit Linux the wall clock is
/// its too, and the staleness zero.
///
/// # Examples
/// ```
/// use quorate_clocks::{Clock, CoarseClock, Hlc};
/// use std::time::Duration;
///
/// let clock = CoarseClock::new();
/// assert!(clock.wall_staleness() <= Duration::from_millis(10));
/// let hlc = Hlc::new(clock);
/// assert!(hlc.now() < hlc.now());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CoarseClock {
    fine: SystemClock,
    /// `None`: there is no coarse clock.
    resolution: Option<Duration>,
}

impl CoarseClock {
    /// Asks once for the clock's resolution.
    #[must_use]
    pub fn new() -> Self {
        Self { fine: SystemClock::new(), resolution: os::coarse_resolution() }
    }
}

impl Default for CoarseClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for CoarseClock {
    #[inline]
    fn monotonic(&self) -> Monotonic {
        self.fine.monotonic()
    }

    #[inline]
    fn wall(&self) -> WallTime {
        match self.resolution {
            Some(_) => WallTime::from_nanos(os::realtime_coarse()),
            None => self.fine.wall(),
        }
    }

    fn wall_staleness(&self) -> Duration {
        self.resolution.unwrap_or(Duration::ZERO)
    }

    fn drift(&self) -> Drift {
        self.fine.drift()
    }

    fn is_suspend_aware(&self) -> bool {
        self.fine.is_suspend_aware()
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), target_pointer_width = "64"))]
mod os {
    use crate::sys;
    use crate::unslewed::{Sample, SuspendOffset};
    use core::time::Duration;

    /// Of the machine, so of all clocks of the process.
    static SUSPENDED: SuspendOffset = SuspendOffset::new();

    #[inline]
    pub(super) fn boottime() -> Option<u64> {
        sys::clock_nanos(sys::CLOCK_BOOTTIME)
    }

    #[inline]
    pub(super) fn realtime() -> u64 {
        sys::clock_nanos(sys::CLOCK_REALTIME).unwrap_or(0)
    }

    #[inline]
    pub(super) fn realtime_coarse() -> u64 {
        sys::clock_nanos(sys::CLOCK_REALTIME_COARSE).unwrap_or(0)
    }

    pub(super) fn coarse_resolution() -> Option<Duration> {
        sys::clock_resolution_nanos(sys::CLOCK_REALTIME_COARSE).map(Duration::from_nanos)
    }

    #[inline]
    pub(super) fn unslewed() -> Option<u64> {
        let sample = || {
            let before = sys::clock_nanos(sys::CLOCK_MONOTONIC)?;
            let boottime = sys::clock_nanos(sys::CLOCK_BOOTTIME)?;
            let after = sys::clock_nanos(sys::CLOCK_MONOTONIC)?;
            Some(Sample { before, boottime, after })
        };
        SUSPENDED.reading(sample, || sys::clock_nanos(sys::CLOCK_MONOTONIC_RAW))
    }
}

#[cfg(not(all(any(target_os = "linux", target_os = "android"), target_pointer_width = "64")))]
mod os {
    use core::time::Duration;
    use std::time::{SystemTime, UNIX_EPOCH};

    pub(super) const fn boottime() -> Option<u64> {
        None
    }

    #[expect(clippy::disallowed_methods, reason = "the family's one door to the wall clock")]
    pub(super) fn realtime() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn realtime_coarse() -> u64 {
        realtime()
    }

    pub(super) const fn coarse_resolution() -> Option<Duration> {
        None
    }

    pub(super) const fn unslewed() -> Option<u64> {
        None
    }
}
