//! Points in time: [`Monotonic`] for measuring, [`WallTime`] for showing and comparing by people.

use core::fmt;
use core::time::Duration;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A point of a monotonic clock: nanoseconds since an arbitrary origin.
///
/// # Shape
/// Meaningful only on one machine and within one boot; two machines' values cannot be compared.
/// Arithmetic saturates at [`Monotonic::ZERO`] and [`Monotonic::FAR_FUTURE`].
///
/// # Examples
/// ```
/// use quorate_clocks::Monotonic;
/// use std::time::Duration;
///
/// let start = Monotonic::from_nanos(1_000);
/// let later = start.saturating_add(Duration::from_micros(2));
/// assert_eq!(later.since(start), Duration::from_nanos(2_000));
/// assert_eq!(start.since(later), Duration::ZERO); // the past is never negative
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// Later than every reading: "never".
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The point `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point moved later by `d`, at most [`Monotonic::FAR_FUTURE`].
    #[must_use]
    pub fn saturating_add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(d)))
    }

    /// This point moved earlier by `d`, at least [`Monotonic::ZERO`].
    #[must_use]
    pub fn saturating_sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(d)))
    }

    /// This point moved later by `d`, or `None` past the representable range.
    #[must_use]
    pub fn checked_add(self, d: Duration) -> Option<Self> {
        let nanos = u64::try_from(d.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Self)
    }
}

impl fmt::Display for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / NANOS_PER_SEC, self.0 % NANOS_PER_SEC)
    }
}

/// A point of the wall clock: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// # Shape
/// 1970 to 2554. A wall clock may step either way, so nothing may be measured with it.
///
/// # Examples
/// ```
/// use quorate_clocks::WallTime;
/// use std::time::SystemTime;
///
/// let t = WallTime::from_nanos(1_700_000_000_123_456_789);
/// assert_eq!(t.to_string(), "1700000000.123456789");
/// let system: SystemTime = t.into();
/// assert_eq!(WallTime::try_from(system).ok(), Some(t));
/// ```
///
/// A bare number has no unit, and the difference of two clocks no meaning: // H11
/// ```compile_fail
/// let t: quorate_clocks::WallTime = 1_700_000_000_u64.into();
/// ```
/// ```compile_fail
/// let t = quorate_clocks::WallTime::EPOCH - quorate_clocks::WallTime::EPOCH;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

impl WallTime {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The point `nanos` nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How far this point lies after `earlier` on the wall clock; zero if it does not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point moved later by `d`, at most the end of the representable range.
    #[must_use]
    pub fn saturating_add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(d)))
    }

    /// This point moved earlier by `d`, at least [`WallTime::EPOCH`].
    #[must_use]
    pub fn saturating_sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(d)))
    }

    /// This point moved by `nanos` either way, saturating at both ends.
    #[must_use]
    pub const fn saturating_step(self, nanos: i64) -> Self {
        Self(self.0.saturating_add_signed(nanos))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / NANOS_PER_SEC, self.0 % NANOS_PER_SEC)
    }
}

#[cfg(feature = "std")]
mod std_time {
    use super::WallTime;
    use core::time::Duration;
    use std::time::{SystemTime, SystemTimeError, UNIX_EPOCH};

    impl TryFrom<SystemTime> for WallTime {
        type Error = SystemTimeError;

        /// Fails for times before 1970; times after 2554 saturate.
        fn try_from(t: SystemTime) -> Result<Self, SystemTimeError> {
            t.duration_since(UNIX_EPOCH).map(|d| Self(super::saturating_nanos(d)))
        }
    }

    impl From<WallTime> for SystemTime {
        fn from(t: WallTime) -> Self {
            UNIX_EPOCH + Duration::from_nanos(t.0)
        }
    }
}

fn saturating_nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
