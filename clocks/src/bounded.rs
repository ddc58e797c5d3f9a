//! [`BoundedClock`]: a clock that says how wrong it may be, or that it does not know.

use crate::{Clock, Interval, ManualClock, Quality};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use core::time::Duration;

/// A source of bounded time.
///
/// # Examples
/// Whoever holds one decides what to do without a bound; nobody hands out an old interval.
/// ```
/// use quorate_clocks::{BoundedClock, ManualBounded, ManualClock, Unbounded, WallTime};
/// use std::time::Duration;
///
/// let time = ManualClock::new(WallTime::from_nanos(1_000_000));
/// let manual = ManualBounded::new(time, Duration::from_micros(1));
/// let clock: &dyn BoundedClock = &manual;
/// assert!(clock.interval()?.contains(WallTime::from_nanos(1_000_000)));
/// manual.lose_sync();
/// assert_eq!(clock.interval(), Err(Unbounded::Unsynchronized));
/// # Ok::<(), Unbounded>(())
/// ```
pub trait BoundedClock: Send + Sync {
    /// An interval that contains true time at some instant of this call, if what the source rests
    /// on holds.
    ///
    /// # Errors
    /// [`Unbounded`] whenever the source cannot vouch for a bound now.
    fn interval(&self) -> Result<Interval, Unbounded>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<B: BoundedClock + ?Sized> BoundedClock for $pointer {
            fn interval(&self) -> Result<Interval, Unbounded> {
                (**self).interval()
            }
        }
    )*};
}

forward!(&B, Box<B>, Arc<B>);

/// Why there is no bound on the error of the clock now.
///
/// # Examples
/// ```
/// use quorate_clocks::Unbounded;
/// assert!(Unbounded::Unsynchronized.is_retryable());
/// assert!(Unbounded::Malformed("magic").is_corruption());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unbounded {
    /// Effect: none. Nothing synchronises the clock, or not yet; a retry helps once something does.
    Unsynchronized,
    /// Effect: none. The machine was suspended, moved or restored since the bound was made; a retry
    /// helps after the source's next update.
    Disrupted,
    /// Effect: none. The bound is too old to be grown; a retry helps after the source's next
    /// update.
    Stale {
        /// How old it is.
        age: Duration,
    },
    /// Effect: none. The bound claims to be made in the future of this machine; a retry helps after
    /// the source's next update.
    Causality {
        /// How far in the future.
        by: Duration,
    },
    /// Effect: none. The source's data make no sense; a retry cannot help until the source is
    /// repaired.
    Malformed(
        /// What is wrong with them.
        &'static str,
    ),
    /// Effect: none. The source could not be asked; whether a retry can help is in the code.
    Source(
        /// Why not.
        ErrorCode,
    ),
}

impl Unbounded {
    /// Whether asking again later can succeed without anybody's repair.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::Malformed(_) | Self::Source(ErrorCode::Unsupported))
    }

    /// Whether broken data are the reason.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }
}

impl fmt::Display for Unbounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsynchronized => f.write_str("the clock is not synchronised"),
            Self::Disrupted => f.write_str("the clock was disrupted since its bound was made"),
            Self::Stale { age } => write!(f, "the bound is {age:?} old"),
            Self::Causality { by } => write!(f, "the bound was made {by:?} in the future"),
            Self::Malformed(what) => write!(f, "malformed clock data: {what}"),
            Self::Source(code) => write!(f, "the source of the bound failed: {code}"),
        }
    }
}

impl core::error::Error for Unbounded {}

/// Why a source of bounded time could not be asked.
///
/// # Examples
/// ```
/// use quorate_clocks::ErrorCode;
/// assert_eq!(ErrorCode::Os(2).to_string(), "os error 2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The operating system's error number.
    Os(i32),
    /// The source changed at every attempt to read it.
    Unstable,
    /// This platform has no such source.
    Unsupported,
    /// An error without a number.
    Unknown,
}

#[cfg(feature = "std")]
impl From<std::io::Error> for ErrorCode {
    fn from(error: std::io::Error) -> Self {
        error.raw_os_error().map_or(Self::Unknown, Self::Os)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(number) => write!(f, "os error {number}"),
            Self::Unstable => f.write_str("it changed at every attempt to read it"),
            Self::Unsupported => f.write_str("not on this platform"),
            Self::Unknown => f.write_str("an error without a number"),
        }
    }
}

/// A clock whose error an operator vouches for: never more than the one given.
///
/// # Shape
/// The interval is wide by twice the error, and later by the clock's
/// [`wall_staleness`](Clock::wall_staleness). Never an error; [`Quality::Assumed`].
///
/// # Cost
/// One reading of the wall clock.
///
/// # Examples
/// ```
/// use quorate_clocks::{BoundedClock, FixedError, SystemClock};
/// use std::time::Duration;
///
/// let clock = FixedError::new(SystemClock::new(), Duration::from_millis(10));
/// assert_eq!(clock.interval()?.width(), Duration::from_millis(20));
/// # Ok::<(), quorate_clocks::Unbounded>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FixedError<C> {
    clock: C,
    error: Duration,
}

impl<C: Clock> FixedError<C> {
    /// `clock` is never wrong by more than `error`, either way.
    pub const fn new(clock: C, error: Duration) -> Self {
        Self { clock, error }
    }
}

impl<C: Clock> BoundedClock for FixedError<C> {
    fn interval(&self) -> Result<Interval, Unbounded> {
        let around = Interval::around(self.clock.wall(), self.error, Quality::Assumed);
        Ok(around.stale(self.clock.wall_staleness()))
    }
}

/// Bounded time for tests: a [`ManualClock`] with an error that is set; clones share one state.
///
/// # Shape
/// Starts as [`Quality::Synchronized`] with the error given. Shared between threads, each call is
/// atomic on its own.
///
/// # Examples
/// ```
/// use quorate_clocks::{BoundedClock, ManualBounded, ManualClock, Quality, WallTime};
/// use std::time::Duration;
///
/// let time = ManualClock::new(WallTime::from_nanos(1_000_000));
/// let clock = ManualBounded::new(time.clone(), Duration::from_nanos(10));
/// clock.set_error(Duration::from_nanos(20));
/// clock.set_quality(Quality::FreeRunning);
/// time.advance(Duration::from_nanos(7));
/// assert_eq!(clock.interval()?.earliest(), WallTime::from_nanos(1_000_007 - 20));
/// # Ok::<(), quorate_clocks::Unbounded>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManualBounded {
    clock: ManualClock,
    shared: Arc<Bound>,
}

#[derive(Debug)]
struct Bound {
    error: AtomicU64,
    state: AtomicU8,
}

const SYNCHRONIZED: u8 = 0;
const FREE_RUNNING: u8 = 1;
const ASSUMED: u8 = 2;
const UNSYNCHRONIZED: u8 = 3;
const DISRUPTED: u8 = 4;

impl ManualBounded {
    /// The time of `clock`, wrong by at most `error`.
    #[must_use]
    pub fn new(clock: ManualClock, error: Duration) -> Self {
        let error = AtomicU64::new(nanos(error));
        Self { clock, shared: Arc::new(Bound { error, state: AtomicU8::new(SYNCHRONIZED) }) }
    }

    /// Sets the error; it lasts 584 years at most.
    pub fn set_error(&self, error: Duration) {
        self.shared.error.store(nanos(error), Ordering::SeqCst);
    }

    /// Intervals again, of this quality.
    pub fn set_quality(&self, quality: Quality) {
        let state = match quality {
            Quality::Synchronized => SYNCHRONIZED,
            Quality::FreeRunning => FREE_RUNNING,
            Quality::Assumed => ASSUMED,
        };
        self.shared.state.store(state, Ordering::SeqCst);
    }

    /// From now on [`Unbounded::Unsynchronized`], until [`set_quality`](Self::set_quality).
    pub fn lose_sync(&self) {
        self.shared.state.store(UNSYNCHRONIZED, Ordering::SeqCst);
    }

    /// From now on [`Unbounded::Disrupted`], until [`set_quality`](Self::set_quality).
    pub fn disrupt(&self) {
        self.shared.state.store(DISRUPTED, Ordering::SeqCst);
    }
}

impl BoundedClock for ManualBounded {
    fn interval(&self) -> Result<Interval, Unbounded> {
        let quality = match self.shared.state.load(Ordering::SeqCst) {
            UNSYNCHRONIZED => return Err(Unbounded::Unsynchronized),
            DISRUPTED => return Err(Unbounded::Disrupted),
            FREE_RUNNING => Quality::FreeRunning,
            ASSUMED => Quality::Assumed,
            _ => Quality::Synchronized,
        };
        let error = Duration::from_nanos(self.shared.error.load(Ordering::SeqCst));
        Ok(Interval::around(self.clock.wall(), error, quality))
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
