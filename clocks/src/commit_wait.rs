//! [`CommitWait`]: waiting until a time is in the past on every correct clock.

use crate::{Interval, Timestamp, WallTime};
use core::time::Duration;

#[cfg(feature = "tokio")]
pub use waiting::{CommitWaitError, commit_wait};

/// The wait before a result stamped with a time may be shown: once it is over, whoever asks a
/// correct clock afterwards gets a later time.
///
/// # How to drive it
/// Poll it with a fresh interval; at [`Wait::For`] wait that long by whatever timer there is and
/// poll it with another fresh interval, for the error may have grown meanwhile. // H17
///
/// # Examples
/// ```
/// use quorate_clocks::{BoundedClock, CommitWait, ManualBounded, ManualClock, Wait, WallTime};
/// use std::time::Duration;
///
/// let time = ManualClock::new(WallTime::from_nanos(1_000_000));
/// let clock = ManualBounded::new(time.clone(), Duration::from_micros(5));
/// let wait = CommitWait::new(clock.interval()?.latest());
/// let Wait::For(left) = wait.poll(&clock.interval()?) else { unreachable!() };
/// assert_eq!(left, Duration::from_nanos(10_001));
/// time.advance(left);
/// clock.set_error(Duration::from_micros(6)); // the bound grew in the meantime
/// assert_eq!(wait.poll(&clock.interval()?), Wait::For(Duration::from_micros(1)));
/// time.advance(Duration::from_micros(1));
/// assert_eq!(wait.poll(&clock.interval()?), Wait::Done);
/// # Ok::<(), quorate_clocks::Unbounded>(())
/// ```
///
/// # Source
/// Corbett et al. 2012 (Spanner), section 4.1.2, "commit wait".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it waits for nothing unless it is polled"]
pub struct CommitWait(WallTime);

impl CommitWait {
    /// Until `t` is in the past.
    pub const fn new(t: WallTime) -> Self {
        Self(t)
    }

    /// Until the whole microsecond of `t` is in the past.
    pub const fn after(t: Timestamp) -> Self {
        Self(t.wall_end())
    }

    /// The time that is waited for.
    #[must_use]
    pub const fn until(&self) -> WallTime {
        self.0
    }

    /// Whether the wait is over, judged by an interval that was just taken.
    pub fn poll(&self, now: &Interval) -> Wait {
        if now.earliest() > self.0 {
            return Wait::Done;
        }
        let left = self.0.since(now.earliest());
        Wait::For(left.saturating_add(Duration::from_nanos(1)))
    }
}

/// The answer of [`CommitWait::poll`].
///
/// # Examples
/// ```
/// use quorate_clocks::{CommitWait, Interval, Quality, Wait, WallTime};
/// use std::time::Duration;
///
/// let wait = CommitWait::new(WallTime::from_nanos(99));
/// let exact = |ns| {
///     Interval::around(WallTime::from_nanos(ns), Duration::ZERO, Quality::Synchronized)
/// };
/// assert_eq!(wait.poll(&exact(99)), Wait::For(Duration::from_nanos(1)));
/// assert_eq!(wait.poll(&exact(100)), Wait::Done);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says whether to go on waiting"]
#[expect(clippy::exhaustive_enums, reason = "done or not: a caller must handle both")]
pub enum Wait {
    /// The time is in the past on every correct clock.
    Done,
    /// Poll again after this long, with a fresh interval.
    For(Duration),
}

#[cfg(feature = "tokio")]
mod waiting {
    use super::{CommitWait, Wait};
    use crate::{BoundedClock, Unbounded, WallTime, mutant};
    use core::fmt;
    use core::time::Duration;
    use tokio::time::{Instant, sleep};

    /// Waits until `t` is in the past on every correct clock, at most `limit` long.
    ///
    /// # Cost
    /// One interval for each sleep. tokio's timers count milliseconds and round up, so a wait lasts
    /// up to a millisecond longer than the bound asks for; with bounds of microseconds drive
    /// [`CommitWait`] with a finer timer.
    ///
    /// # Errors
    /// [`CommitWaitError`]: the clock lost its bound, or the wait would be longer than `limit`,
    /// which is known without waiting for it. `t` is then not known to be in the past.
    ///
    /// # Panics
    /// Outside of a tokio runtime that has its timer on.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind; another call waits for what is left.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::{BoundedClock, FixedError, SystemClock, commit_wait};
    /// use std::time::Duration;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// # runtime.block_on(async {
    /// let clock = FixedError::new(SystemClock::new(), Duration::from_micros(100));
    /// let stamp = clock.interval()?.latest();
    /// commit_wait(&clock, stamp, Duration::from_secs(1)).await?;
    /// assert!(clock.interval()?.earliest() > stamp);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn commit_wait(
        clock: &(impl BoundedClock + ?Sized),
        t: WallTime,
        limit: Duration,
    ) -> Result<(), CommitWaitError> {
        let start = Instant::now();
        let wait = CommitWait::new(t);
        loop {
            // H17: a fresh interval after each sleep.
            let now = clock.interval().map_err(CommitWaitError::Unbounded)?;
            let Wait::For(left) = wait.poll(&now) else { return Ok(()) };
            let waited = start.elapsed();
            if left > limit.saturating_sub(waited) {
                return Err(CommitWaitError::TooLong { left, waited, limit });
            }
            sleep(left).await;
            if mutant::on("one_sleep") {
                return Ok(());
            }
        }
    }

    /// Why [`commit_wait`] gave up.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::{CommitWaitError, Unbounded};
    /// let error = CommitWaitError::Unbounded(Unbounded::Malformed("magic"));
    /// assert!(!error.is_retryable());
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum CommitWaitError {
        /// Effect: the time is not known to be in the past. Whether a retry can help is in the
        /// reason.
        Unbounded(
            /// Why there is no bound now.
            Unbounded,
        ),
        /// Effect: the time is not known to be in the past. A retry helps if it may take longer, or
        /// once the bound is narrower.
        TooLong {
            /// How much longer the wait would last, at least.
            left: Duration,
            /// How long this call has waited.
            waited: Duration,
            /// How long it might.
            limit: Duration,
        },
    }

    impl CommitWaitError {
        /// Whether another call can succeed without anybody's repair.
        #[must_use]
        pub const fn is_retryable(&self) -> bool {
            match self {
                Self::Unbounded(why) => why.is_retryable(),
                Self::TooLong { .. } => true,
            }
        }
    }

    impl fmt::Display for CommitWaitError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Unbounded(why) => write!(f, "no bound to wait by: {why}"),
                Self::TooLong { left, waited, limit } => write!(
                    f,
                    "waited {waited:?} and {left:?} are left, more than the limit of {limit:?}"
                ),
            }
        }
    }

    impl core::error::Error for CommitWaitError {
        fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
            match self {
                Self::Unbounded(why) => Some(why),
                Self::TooLong { .. } => None,
            }
        }
    }
}
