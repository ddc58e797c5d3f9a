//! [`Backoff`]: full-jitter exponential delays between dials.

use std::time::Duration;

/// How long to wait before the next dial: uniform in `[0, min(max, min · 2^failures)]`, so that a
/// cluster that lost a node does not return to it as a herd. // H30
///
/// # Examples
/// ```
/// use quorate_transport::Backoff;
/// use std::time::Duration;
///
/// let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
/// assert!(backoff.next(u64::MAX) <= Duration::from_millis(50));
/// assert!(backoff.next(u64::MAX) <= Duration::from_millis(100));
/// backoff.reset();
/// assert!(backoff.next(u64::MAX) <= Duration::from_millis(50));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// No failures yet.
    #[must_use]
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// One more failure; the delay that follows it, from a random number.
    pub fn next(&mut self, random: u64) -> Duration {
        let cap = self.min.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let nanos = cap.as_nanos().saturating_mul(u128::from(random)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// A session was stable.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}
