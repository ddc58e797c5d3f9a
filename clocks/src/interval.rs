//! [`Interval`]: a time that is known to lie between two points.

use crate::WallTime;
use core::fmt;
use core::time::Duration;

/// What the bound of an [`Interval`] rests on.
///
/// # Examples
/// ```
/// use quorate_clocks::{BoundedClock, FixedError, ManualClock, Quality, WallTime};
/// use std::time::Duration;
///
/// let clock = FixedError::new(ManualClock::new(WallTime::EPOCH), Duration::from_millis(1));
/// assert_eq!(clock.interval()?.quality(), Quality::Assumed);
/// # Ok::<(), quorate_clocks::Unbounded>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quality {
    /// Something keeps the clock synchronised and publishes its error.
    Synchronized,
    /// Nothing corrects the clock at the moment; the published bound grows with its drift.
    FreeRunning,
    /// An operator's word, measured by nobody.
    Assumed,
}

/// True time lies between [`earliest`](Self::earliest) and [`latest`](Self::latest), both included,
/// at some instant of the call that returned this.
///
/// # Shape
/// `earliest ≤ latest`. Both saturate at the ends of [`WallTime`].
///
/// # Examples
/// ```
/// use quorate_clocks::{Interval, Quality, WallTime};
/// use std::time::Duration;
///
/// let wall = WallTime::from_nanos(1_000_000);
/// let now = Interval::around(wall, Duration::from_nanos(500), Quality::Synchronized);
/// assert_eq!(now.earliest(), WallTime::from_nanos(999_500));
/// assert_eq!(now.width(), Duration::from_micros(1));
/// assert!(now.contains(wall) && !now.contains(WallTime::from_nanos(1_000_501)));
/// ```
///
/// # Source
/// Corbett et al. 2012 (Spanner), section 3: `TTinterval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    earliest: WallTime,
    latest: WallTime,
    quality: Quality,
}

impl Interval {
    /// From its ends; `None` if `earliest` is after `latest`.
    #[must_use]
    pub fn new(earliest: WallTime, latest: WallTime, quality: Quality) -> Option<Self> {
        (earliest <= latest).then_some(Self { earliest, latest, quality })
    }

    /// Every time that is at most `error` away from `wall`.
    #[must_use]
    pub fn around(wall: WallTime, error: Duration, quality: Quality) -> Self {
        let (earliest, latest) = (wall.saturating_sub(error), wall.saturating_add(error));
        Self { earliest, latest, quality }
    }

    /// [`around`](Self::around) in nanoseconds, and for a reading that may be `staleness` old.
    #[cfg(feature = "std")]
    pub(crate) const fn of_nanos(wall: WallTime, error: u64, staleness: u64) -> Self {
        let wall = wall.as_nanos();
        Self {
            earliest: WallTime::from_nanos(wall.saturating_sub(error)),
            latest: WallTime::from_nanos(wall.saturating_add(error).saturating_add(staleness)),
            quality: Quality::Synchronized,
        }
    }

    /// Around a reading that may be `staleness` old: true time may be that much later. // H9
    pub(crate) fn stale(self, staleness: Duration) -> Self {
        Self { latest: self.latest.saturating_add(staleness), ..self }
    }

    /// True time is not before this.
    #[must_use]
    pub const fn earliest(&self) -> WallTime {
        self.earliest
    }

    /// True time is not after this.
    #[must_use]
    pub const fn latest(&self) -> WallTime {
        self.latest
    }

    /// From the earliest to the latest.
    #[must_use]
    pub const fn width(&self) -> Duration {
        self.latest.since(self.earliest)
    }

    /// Whether true time may be `t`.
    #[must_use]
    pub fn contains(&self, t: WallTime) -> bool {
        self.earliest <= t && t <= self.latest
    }

    /// What the bound rests on.
    #[must_use]
    pub const fn quality(&self) -> Quality {
        self.quality
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.earliest, self.latest)
    }
}
