//! [`SkewedClock`]: a clock that is wrong by a stated amount.

use crate::{Clock, Drift, Monotonic, Reading, WallTime};
use core::time::Duration;

const PPB: i128 = 1_000_000_000;
/// The largest rate error that [`Drift`] can state.
const RATE_PPB_MAX: i64 = 500_000_000;
const MILLION: i64 = 1_000_000;

/// Another clock, with an offset and a wrong rate: how one node of a simulation sees time, or how a
/// program behaves on a bad machine.
///
/// # Shape
/// From the moment it is made, both of its clocks run `rate_ppb` parts in 10⁹ fast (negative:
/// slow); the wall clock is also `offset_ns` ahead. Time that saturates stands still. The rate is
/// limited so that [`Drift`] can state it together with the inner clock's: to ±50 % over a perfect
/// clock.
///
/// # Examples
/// ```
/// use quorate_clocks::{Clock, ManualClock, SkewedClock, WallTime};
/// use std::time::Duration;
///
/// let truth = ManualClock::new(WallTime::from_nanos(10_000_000_000));
/// // 2 s ahead and 10 % fast.
/// let node = SkewedClock::new(truth.clone(), 2_000_000_000, 100_000_000);
/// truth.advance(Duration::from_secs(10));
/// assert_eq!(node.wall(), WallTime::from_nanos(23_000_000_000));
/// assert_eq!(node.drift().as_ppm(), 100_000); // and says so
/// ```
#[derive(Clone, Debug)]
pub struct SkewedClock<C> {
    inner: C,
    start: Reading,
    offset_ns: i64,
    rate_ppb: i64,
}

impl<C: Clock> SkewedClock<C> {
    /// Wrong by so much from now on.
    #[must_use]
    pub fn new(inner: C, offset_ns: i64, rate_ppb: i64) -> Self {
        let start = inner.read();
        // (1 + a)(1 + b) − 1 is at most what can be stated.
        let inner_ppm = i64::from(inner.drift().as_ppm());
        let max = (RATE_PPB_MAX - inner_ppm * 1_000) * MILLION / (MILLION + inner_ppm);
        let rate_ppb = rate_ppb.clamp(-max, max);
        Self { inner, start, offset_ns, rate_ppb }
    }

    fn scaled(&self, start: u64, now: u64, offset: i64) -> u64 {
        let passed = i128::from(now) - i128::from(start);
        let gained = passed * i128::from(self.rate_ppb) / PPB;
        let value = i128::from(start) + passed + gained + i128::from(offset);
        u64::try_from(value.max(0)).unwrap_or(u64::MAX)
    }
}

impl<C: Clock> Clock for SkewedClock<C> {
    fn monotonic(&self) -> Monotonic {
        let (start, now) = (self.start.monotonic, self.inner.monotonic());
        Monotonic::from_nanos(self.scaled(start.as_nanos(), now.as_nanos(), 0))
    }

    fn wall(&self) -> WallTime {
        let (start, now) = (self.start.wall, self.inner.wall());
        WallTime::from_nanos(self.scaled(start.as_nanos(), now.as_nanos(), self.offset_ns))
    }

    fn wall_staleness(&self) -> Duration {
        let inner = self.inner.wall_staleness();
        if self.rate_ppb > 0 { inner.saturating_mul(2) } else { inner }
    }

    /// The inner clock's and this one's rate error together: rates multiply.
    fn drift(&self) -> Drift {
        let inner = u64::from(self.inner.drift().as_ppm());
        let own = self.rate_ppb.unsigned_abs().div_ceil(1_000);
        let both = inner + own + (inner * own).div_ceil(MILLION.unsigned_abs());
        let both = u32::try_from(both).unwrap_or(u32::MAX).min(Drift::MAX_PPM);
        Drift::from_ppm(both).unwrap_or(Drift::SLEWED)
    }

    fn is_suspend_aware(&self) -> bool {
        self.inner.is_suspend_aware()
    }
}
