//! [`HlcStats`]: what happened off the fast path.

use crate::sync::{AtomicU64, Ordering};

/// Counters of a hybrid clock, since it was made.
///
/// # Examples
/// ```
/// use quorate_clocks::{Hlc, ManualClock, WallTime};
/// let hlc = Hlc::new(ManualClock::new(WallTime::from_nanos(1_000_000)));
/// for _ in 0..5_000 {
///     hlc.now(); // the clock stands still: the counter carries into the microseconds
/// }
/// assert_eq!((hlc.stats().carried, hlc.stats().lead_max_us), (1, 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HlcStats {
    /// Remote stamps refused because they were too far ahead.
    pub rejected_ahead: u64,
    /// Remote stamps refused because no clock reads such a time.
    pub rejected_range: u64,
    /// Times the counter ran over into the next microsecond.
    pub carried: u64,
    /// Stamps taken while the wall clock said 1970 or earlier.
    pub before_epoch: u64,
    /// The furthest a stamp was ahead of the wall clock reading of its call, in microseconds.
    pub lead_max_us: u64,
}

/// The counters, written off the fast path only.
#[derive(Debug)]
pub(crate) struct Counters {
    rejected_ahead: AtomicU64,
    rejected_range: AtomicU64,
    carried: AtomicU64,
    before_epoch: AtomicU64,
    lead_max_us: AtomicU64,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            rejected_ahead: zero(),
            rejected_range: zero(),
            carried: zero(),
            before_epoch: zero(),
            lead_max_us: zero(),
        }
    }

    pub(crate) fn reject_ahead(&self) {
        self.rejected_ahead.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reject_range(&self) {
        self.rejected_range.fetch_add(1, Ordering::Relaxed);
    }

    #[cold]
    pub(crate) fn count_carry(&self) {
        self.carried.fetch_add(1, Ordering::Relaxed);
    }

    #[cold]
    pub(crate) fn count_before_epoch(&self) {
        self.before_epoch.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn see_lead(&self, micros: u64) {
        if micros > self.lead_max_us.load(Ordering::Relaxed) {
            self.lead_max_us.fetch_max(micros, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> HlcStats {
        HlcStats {
            rejected_ahead: self.rejected_ahead.load(Ordering::Relaxed),
            rejected_range: self.rejected_range.load(Ordering::Relaxed),
            carried: self.carried.load(Ordering::Relaxed),
            before_epoch: self.before_epoch.load(Ordering::Relaxed),
            lead_max_us: self.lead_max_us.load(Ordering::Relaxed),
        }
    }
}
