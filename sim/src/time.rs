//! [`SimTime`]: true time, which no node sees.

use std::fmt;
use std::time::Duration;

/// True time: nanoseconds since the world began.
///
/// Node code sees its own clocks instead; it gets true time only to record histories.
///
/// # Examples
/// ```
/// use quorate_sim::SimTime;
/// use std::time::Duration;
///
/// let at = SimTime::ZERO.saturating_add(Duration::from_millis(12_350));
/// assert_eq!((at.as_nanos(), at.to_string()), (12_350_000_000, "12.350s".to_owned()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(u64);

impl SimTime {
    /// The beginning of the world.
    pub const ZERO: Self = Self(0);
    /// Later than everything.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// From nanoseconds since the world began.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the world began.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// So much later; [`FAR_FUTURE`](Self::FAR_FUTURE) at most.
    #[must_use]
    pub fn saturating_add(self, d: Duration) -> Self {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Seconds with as many digits as needed, three at least: `12.350s`.
impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let digits = format!("{nanos:09}");
        let kept = digits.trim_end_matches('0').len().max(3);
        write!(f, "{seconds}.{}s", &digits[..kept])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_as_many_digits_as_needed() {
        for (nanos, text) in [
            (0, "0.000s"),
            (1, "0.000000001s"),
            (12_350_000_000, "12.350s"),
            (1_000_100_000, "1.0001s"),
        ] {
            assert_eq!(SimTime::from_nanos(nanos).to_string(), text);
        }
    }
}
