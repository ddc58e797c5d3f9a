//! Errors of the hybrid and Lamport clocks.

use crate::{LamportTime, Timestamp, WallTime};
use core::fmt;
use core::time::Duration;

/// A remote stamp that is further ahead of the local clock than allowed, with what was measured.
///
/// # Examples
/// ```
/// use quorate_clocks::{Hlc, ManualClock, ObserveError, Timestamp, WallTime};
/// use std::time::Duration;
///
/// let hlc = Hlc::new(ManualClock::new(WallTime::from_nanos(1_000_000_000_000)));
/// let remote = Timestamp::from_parts(1_000_800_000, 0).unwrap();
/// let Err(ObserveError::Ahead(skew)) = hlc.observe(remote) else { panic!() };
/// assert_eq!((skew.ahead, skew.limit), (Duration::from_millis(800), Duration::from_millis(500)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockSkew {
    /// The stamp that came in.
    pub remote: Timestamp,
    /// What the local clock said.
    pub local: WallTime,
    /// How far the stamp is ahead of it.
    pub ahead: Duration,
    /// How far it may be: `max_skew` and the staleness of the local clock.
    pub limit: Duration,
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remote, local, ahead, limit } = self;
        write!(f, "stamp {remote} is {ahead:?} ahead of the local clock {local}, limit {limit:?}")
    }
}

/// Why a remote stamp was not taken.
///
/// # Examples
/// ```
/// use quorate_clocks::{Hlc, ObserveError, Timestamp};
/// let hlc = Hlc::system();
/// let poison = Timestamp::from_bits(u64::MAX).unwrap();
/// assert!(matches!(hlc.forward(poison), Err(ObserveError::OutOfRange { .. })));
/// assert_eq!(hlc.latest(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObserveError {
    /// Effect: none. The sender's clock, or the local one, is wrong; trying again helps only when
    /// it was corrected.
    Ahead(ClockSkew),
    /// Effect: none. No clock reads a time beyond [`Timestamp::LAST_MICROS`]; never try again.
    OutOfRange {
        /// The stamp that came in.
        remote: Timestamp,
    },
    /// Effect: no stamp was issued; the clock is past the remote stamp. Try again after the next
    /// [`HorizonHlc::persisted`](crate::HorizonHlc::persisted).
    HorizonBehind(HorizonBehind),
}

impl ObserveError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::OutOfRange { .. })
    }
}

impl fmt::Display for ObserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead(skew) => skew.fmt(f),
            Self::OutOfRange { remote } => {
                write!(f, "stamp {remote} is beyond the year 2112, which no clock reads")
            }
            Self::HorizonBehind(behind) => behind.fmt(f),
        }
    }
}

impl core::error::Error for ObserveError {}

/// A stamp was not issued because the durable horizon is below it: the disk is behind.
///
/// Effect: no stamp was issued, the wanted one is dropped. Try again after the next
/// [`HorizonHlc::persisted`](crate::HorizonHlc::persisted).
///
/// # Examples
/// ```
/// use quorate_clocks::{HlcConfig, HorizonHlc, SystemClock};
/// let hlc = HorizonHlc::recover(SystemClock::new(), HlcConfig::default(), None)?;
/// assert_eq!(hlc.now().unwrap_err().durable, None); // nothing was made durable yet
/// # Ok::<(), quorate_clocks::ObserveError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HorizonBehind {
    /// The stamp that would have been issued.
    pub wanted: Timestamp,
    /// The durable horizon; `None` before the first.
    pub durable: Option<Timestamp>,
}

impl fmt::Display for HorizonBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.durable {
            Some(durable) => write!(f, "stamp {} is above the horizon {durable}", self.wanted),
            None => write!(f, "stamp {} is wanted before there is a horizon", self.wanted),
        }
    }
}

impl core::error::Error for HorizonBehind {}

/// A remote Lamport time above 2⁶³, which no clock reaches by counting. // H25
///
/// Effect: none. Never try again.
///
/// # Examples
/// ```
/// use quorate_clocks::{LamportClock, LamportTime};
/// let clock = LamportClock::new();
/// assert!(clock.observe(LamportTime::new(u64::MAX)).is_err());
/// assert_eq!(clock.tick(), LamportTime::new(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LamportOutOfRange {
    /// What came in.
    pub remote: LamportTime,
}

impl fmt::Display for LamportOutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lamport time {} is far above what counting reaches", self.remote)
    }
}

impl core::error::Error for LamportOutOfRange {}
