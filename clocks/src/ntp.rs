//! [`KernelNtp`]: the bound that the kernel keeps for whoever disciplines its clock.

use crate::snapshot::Snapshot;
use crate::{BoundedClock, Clock, ErrorCode, Interval, Reading, SystemClock, Unbounded};
use core::fmt;
use core::time::Duration;
use std::sync::{Mutex, PoisonError};

/// `STA_UNSYNC` of the kernel's status.
const STA_UNSYNC: i32 = 0x40;
/// `TIME_ERROR`: the code of a clock that is not synchronised.
const TIME_ERROR: i32 = 5;
/// At 16 s the kernel's error no longer grows and says nothing.
const MAXERROR_LIMIT_US: i64 = 16_000_000;
/// The kernel advances `maxerror` once a second, by 500 ppm: 500 µs may be missing. The last
/// microsecond is for steps too small to be told from the noise of two readings.
const SECOND_AT_500_PPM_NS: u64 = 500_000 + STEP_NS;
/// 500 ppm as a divisor.
const AGE_DIVISOR: u64 = 2_000;
/// A clock that moved by more than this, and its staleness, against the monotonic one was stepped.
const STEP_NS: u64 = 1_000;
/// How often a reading is tried again that a step, or a pause, fell into.
const ATTEMPTS: u32 = 8;

/// What the kernel says about its clock.
///
/// # Examples
/// ```
/// use quorate_clocks::{KernelStatus, Unbounded};
/// use std::time::Duration;
///
/// let status = KernelStatus::new(0, 0, 2_000); // TIME_OK, no flag, 2 ms
/// assert_eq!(status.bound(Duration::ZERO), Ok(Duration::from_micros(2_501)));
/// let status = KernelStatus::new(0, 0x40, 2_000); // STA_UNSYNC
/// assert_eq!(status.bound(Duration::ZERO), Err(Unbounded::Unsynchronized));
/// ```
///
/// # Source
/// `adjtimex(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelStatus {
    /// What the call returned: 0 is `TIME_OK`, 5 `TIME_ERROR`.
    pub code: i32,
    /// `STA_…` bits; 0x40 is `STA_UNSYNC`.
    pub status: i32,
    /// `maxerror` in microseconds; from 16,000,000 on it means nothing.
    pub maxerror_us: i64,
}

impl KernelStatus {
    /// From its parts, where the caller asks the kernel by other means.
    #[must_use]
    pub const fn new(code: i32, status: i32, maxerror_us: i64) -> Self {
        Self { code, status, maxerror_us }
    }

    /// Asks the kernel of this machine.
    ///
    /// # Cost
    /// One system call.
    ///
    /// # Errors
    /// [`Unbounded::Source`]: the kernel refuses, or this is not 64-bit Linux.
    pub fn read() -> Result<Self, Unbounded> {
        ask_kernel()
    }

    /// How wrong the clock may be `age` after the kernel was asked:
    /// `maxerror + 500 µs + 1 µs + 500 ppm × age`.
    ///
    /// # Errors
    /// [`Unbounded::Unsynchronized`] if nothing keeps the clock: `STA_UNSYNC`, `TIME_ERROR`, or an
    /// error of 16 s or more. [`Unbounded::Malformed`] if the error is negative.
    pub fn bound(&self, age: Duration) -> Result<Duration, Unbounded> {
        Ok(Duration::from_nanos(self.error_ns()?).saturating_add(growth(age)))
    }

    /// Without the age. // H27
    fn error_ns(&self) -> Result<u64, Unbounded> {
        let unset = self.status & STA_UNSYNC != 0 || self.code == TIME_ERROR;
        if unset || self.maxerror_us >= MAXERROR_LIMIT_US {
            return Err(Unbounded::Unsynchronized);
        }
        let micros = u64::try_from(self.maxerror_us)
            .map_err(|_| Unbounded::Malformed("maxerror is below zero"))?;
        Ok(micros * 1_000 + SECOND_AT_500_PPM_NS)
    }
}

/// 500 ppm of `age`, rounded up. // H16
fn growth(age: Duration) -> Duration {
    Duration::from_nanos(nanos(age).div_ceil(AGE_DIVISOR))
}

/// Saturates, and takes no 128-bit numbers, which a cached interval would feel.
const fn nanos(d: Duration) -> u64 {
    d.as_secs().saturating_mul(1_000_000_000).saturating_add(d.subsec_nanos() as u64)
}

/// Monotonic reading, wall − monotonic, error: what an answer of the kernel comes down to.
type Cached = [u64; 3];
/// The error of a cache that holds nothing.
const EMPTY: u64 = u64::MAX;

/// Bounded time without a daemon's protocol: the kernel of 64-bit Linux knows how wrong its clock
/// may be, as long as whoever disciplines it (chronyd, ntpd, ptp4l with phc2sys) keeps telling it.
///
/// # Shape
/// Around one reading of the clock, `maxerror + 501 µs + 500 ppm × age` either way. The kernel is
/// asked once a `refresh` (1 s), and at once when the wall clock was stepped.
///
/// Over a clock with a [`wall_staleness`](Clock::wall_staleness), such as a
/// [`CoarseClock`](crate::CoarseClock), steps up to twice the staleness cannot be told from its
/// ticks: the interval reaches one staleness further back and two further on.
///
/// # Limits
/// It rests on the daemon's word. chronyd clears the kernel's "unsynchronised" flag only with
/// `rtcsync` in its configuration (as its documentation says; not verified here). The kernel does
/// not grow its error while the machine is suspended: after a suspend the bound is as good as the
/// daemon is quick to notice, so on machines that sleep use a source that reports it.
/// Elsewhere than on 64-bit Linux every answer is `Unbounded::Source(ErrorCode::Unsupported)`.
///
/// # Cost
/// Two clock readings; a system call once a refresh. Without a bound every call is a system call.
///
/// # Examples
/// ```
/// use quorate_clocks::{BoundedClock, KernelNtp};
///
/// match KernelNtp::new().interval() {
///     Ok(now) => println!("true time is within {:?}", now.width()),
///     Err(why) => println!("nobody knows: {why}"), // most containers without an NTP daemon
/// }
/// ```
pub struct KernelNtp<C = SystemClock> {
    clock: C,
    ask: Box<dyn Fn() -> Result<KernelStatus, Unbounded> + Send + Sync>,
    refresh: Duration,
    cached: Snapshot<3>,
    /// Held by whoever asks the kernel.
    asking: Mutex<()>,
}

impl KernelNtp {
    /// The clock of the operating system, and what its kernel says.
    #[must_use]
    pub fn new() -> Self {
        Self::with_source(SystemClock::new(), ask_kernel)
    }
}

impl Default for KernelNtp {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock> KernelNtp<C> {
    /// Over another clock of this machine.
    ///
    /// # Limits
    /// The bound is that of the kernel's wall clock: a `wall` of anything else is not bounded by
    /// it. With a monotonic clock that NTP does not slew the kernel is asked more often, since the
    /// two clocks part by more than 1 µs within a second.
    pub fn with_clock(clock: C) -> Self {
        Self::with_source(clock, ask_kernel)
    }

    /// Over another clock, and with an answer of the caller's: a simulation, or a platform this
    /// crate cannot ask.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::{BoundedClock, KernelNtp, KernelStatus, ManualClock, WallTime};
    /// use std::time::Duration;
    ///
    /// let time = ManualClock::new(WallTime::from_nanos(1_000_000_000));
    /// let ntp = KernelNtp::with_source(time, || Ok(KernelStatus::new(0, 0, 1_000)));
    /// assert_eq!(ntp.interval()?.width(), Duration::from_micros(2 * (1_000 + 501)));
    /// # Ok::<(), quorate_clocks::Unbounded>(())
    /// ```
    pub fn with_source(
        clock: C,
        ask: impl Fn() -> Result<KernelStatus, Unbounded> + Send + Sync + 'static,
    ) -> Self {
        Self {
            clock,
            ask: Box::new(ask),
            refresh: Duration::from_secs(1),
            cached: Snapshot::new([0, 0, EMPTY]),
            asking: Mutex::new(()),
        }
    }

    /// How long an answer of the kernel is used.
    ///
    /// default 1 s · range 1 ms to 16 s · too small → a system call (about 0.7 µs) more often · too
    /// large → a wider interval (500 ppm of its age), and a daemon that died is noticed later.
    ///
    /// # Errors
    /// [`RefreshOutOfRange`]; nothing is built.
    pub fn refresh(mut self, refresh: Duration) -> Result<Self, RefreshOutOfRange> {
        RefreshOutOfRange::check(refresh, Duration::from_millis(1), Duration::from_secs(16))?;
        self.refresh = refresh;
        Ok(self)
    }

    /// The cached error carried to now, if the cache is fresh and the clock was not stepped.
    fn cached_at(&self, now: Reading) -> Option<Interval> {
        let [at, offset, error]: Cached = self.cached.load()?;
        let age = now.monotonic.as_nanos().checked_sub(at)?;
        if error == EMPTY || age > nanos(self.refresh) || self.stepped(offset, now) {
            return None;
        }
        Some(self.around(now, error, age))
    }

    /// The staleness counts twice: as what the reading lags by, and as what a step may be that
    /// `stepped` takes for a difference between the lags of two readings.
    fn around(&self, now: Reading, error: u64, age: u64) -> Interval {
        let stale = nanos(self.clock.wall_staleness());
        let error = error.saturating_add(age.div_ceil(AGE_DIVISOR)).saturating_add(stale);
        Interval::of_nanos(now.wall, error, stale)
    }

    /// Whether the wall clock was stepped since the reading that had this `offset`. A wall clock
    /// that ticks moves against a monotonic one that flows, by its staleness at most.
    fn stepped(&self, offset: u64, now: Reading) -> bool {
        let forward = offset_of(now).wrapping_sub(offset);
        let apart = forward.min(forward.wrapping_neg());
        apart > nanos(self.clock.wall_staleness()).saturating_add(STEP_NS)
    }

    /// Apart from the cached path, which is a few loads between two clock readings.
    #[cold]
    #[inline(never)]
    fn asked(&self, mut before: Reading) -> Result<Interval, Unbounded> {
        let _guard = match self.asking.try_lock() {
            Ok(guard) => guard,
            Err(_) => {
                let guard = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
                before = self.clock.read();
                if let Some(interval) = self.cached_at(before) {
                    return Ok(interval); // another thread has just asked
                }
                guard
            }
        };
        for _ in 0..ATTEMPTS {
            let error = (self.ask)().and_then(|status| status.error_ns());
            // What was good before is not good after a failure.
            let error = error.inspect_err(|_| self.cached.store([0, 0, EMPTY]))?;
            let after = self.clock.read();
            let age = after.monotonic.since(before.monotonic);
            if age > self.refresh * 4 {
                // A pause fell in between: the answer is as old as it.
                return Err(Unbounded::Stale { age });
            }
            let offset = offset_of(before);
            if !self.stepped(offset, after) {
                let at = before.monotonic.as_nanos();
                self.cached.store([at, offset, error]);
                return Ok(self.around(after, error, nanos(age)));
            }
            before = after;
        }
        Err(Unbounded::Source(ErrorCode::Unstable))
    }
}

impl<C: Clock> BoundedClock for KernelNtp<C> {
    fn interval(&self) -> Result<Interval, Unbounded> {
        let now = self.clock.read();
        self.cached_at(now).map_or_else(|| self.asked(now), Ok)
    }
}

impl<C: fmt::Debug> fmt::Debug for KernelNtp<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelNtp")
            .field("clock", &self.clock)
            .field("refresh", &self.refresh)
            .finish_non_exhaustive()
    }
}

/// wall − monotonic: constant but for staleness, and wrapping where the wall clock is behind.
fn offset_of(reading: Reading) -> u64 {
    reading.wall.as_nanos().wrapping_sub(reading.monotonic.as_nanos())
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn ask_kernel() -> Result<KernelStatus, Unbounded> {
    let ntp = crate::sys::adjtimex().map_err(|error| Unbounded::Source(error.into()))?;
    Ok(KernelStatus::new(ntp.code, ntp.status, ntp.maxerror))
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn ask_kernel() -> Result<KernelStatus, Unbounded> {
    Err(Unbounded::Source(ErrorCode::Unsupported))
}

/// A `refresh` that is out of its range.
///
/// # Examples
/// ```
/// use quorate_clocks::KernelNtp;
/// use std::time::Duration;
/// let error = KernelNtp::new().refresh(Duration::from_secs(17)).unwrap_err();
/// assert_eq!(error.to_string(), "refresh is 17s, must be 1ms to 16s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefreshOutOfRange {
    /// What was asked for.
    pub asked: Duration,
    /// The smallest allowed.
    pub min: Duration,
    /// The largest allowed.
    pub max: Duration,
}

impl RefreshOutOfRange {
    pub(crate) fn check(asked: Duration, min: Duration, max: Duration) -> Result<(), Self> {
        if asked < min || asked > max { Err(Self { asked, min, max }) } else { Ok(()) }
    }
}

impl fmt::Display for RefreshOutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refresh is {:?}, must be {:?} to {:?}", self.asked, self.min, self.max)
    }
}

impl core::error::Error for RefreshOutOfRange {}
