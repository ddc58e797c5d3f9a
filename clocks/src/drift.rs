//! [`Drift`]: how wrong the rate of a clock may be, stated instead of assumed.

use core::fmt;
use core::time::Duration;

const MILLION: u128 = 1_000_000;

/// A bound on the rate error of one clock against true time, in parts per million.
///
/// Each side of an agreement applies its *own* clock's drift: a holder of a lease counts
/// [`shrink`](Self::shrink)`(ttl)` of its clock, the granter [`stretch`](Self::stretch)`(ttl)` of
/// its own, and the holder's time ends first in true time, without any shared setting.
///
/// # Shape
/// 0 to 500,000 ppm.
///
/// # Examples
/// ```
/// use quorate_clocks::Drift;
/// use std::time::Duration;
///
/// let ttl = Duration::from_secs(10);
/// assert!(Drift::SLEWED.shrink(ttl) < ttl);
/// assert!(Drift::SLEWED.stretch(ttl) > ttl);
/// assert_eq!(Drift::NONE.shrink(ttl), ttl);
/// assert!(Drift::from_ppm(500_001).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Drift(u32);

impl Drift {
    /// A perfect clock: simulations and tests.
    pub const NONE: Self = Self(0);
    /// An undisciplined crystal oscillator.
    pub const CRYSTAL: Self = Self(200);
    /// A clock that NTP may slew: the kernel allows 10 % and adjusts the frequency by up to 500
    /// ppm.
    pub const SLEWED: Self = Self(100_500);

    pub(crate) const MAX_PPM: u32 = 500_000;

    /// `None` above 500,000 ppm: such a clock measures nothing.
    #[must_use]
    pub const fn from_ppm(ppm: u32) -> Option<Self> {
        if ppm <= Self::MAX_PPM { Some(Self(ppm)) } else { None }
    }

    /// The bound in parts per million.
    #[must_use]
    pub const fn as_ppm(self) -> u32 {
        self.0
    }

    /// The local duration that surely passes within `d` of true time: `d − ceil(d · ppm / 10⁶)`.
    #[must_use]
    pub fn shrink(self, d: Duration) -> Duration {
        from_nanos(d.as_nanos() - self.error(d))
    }

    /// The local duration within which `d` of true time surely passes: `d + ceil(d · ppm / 10⁶)`.
    ///
    /// A clock that runs fast by `ppm` shows `d · (1 + ppm/10⁶)` in `d` of true time, so waiting
    /// for this much is enough.
    #[must_use]
    pub fn stretch(self, d: Duration) -> Duration {
        from_nanos(d.as_nanos() + self.error(d))
    }

    fn error(self, d: Duration) -> u128 {
        (d.as_nanos() * u128::from(self.0)).div_ceil(MILLION)
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ppm", self.0)
    }
}

/// Saturates at the largest `Duration`.
fn from_nanos(nanos: u128) -> Duration {
    let secs = nanos / 1_000_000_000;
    // The remainder is below 10⁹ and fits.
    let rest = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
    u64::try_from(secs).map_or(Duration::MAX, |secs| Duration::new(secs, rest))
}
