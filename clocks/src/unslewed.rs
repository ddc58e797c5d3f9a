//! [`SuspendOffset`]: how long the machine was suspended, measured, so that a clock that stands
//! still meanwhile can be put right.

#![cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "the crate's tests reach it through `testing`")
)]

use core::sync::atomic::{AtomicU64, Ordering};

/// Two readings around a third one must be this close for the three to count as one moment.
const SAMPLE_NS_MAX: u64 = 100_000;
/// Differences below this are the readings' own.
const STEP_NS_MIN: u64 = 1_000_000;
/// Samples taken before the former offset is kept.
const TRIES: u32 = 3;

/// `CLOCK_MONOTONIC` before and after `CLOCK_BOOTTIME`, in nanoseconds.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    feature = "testing",
    expect(clippy::exhaustive_structs, reason = "inside the crate but for its tests")
)]
pub struct Sample {
    /// `CLOCK_MONOTONIC`, first.
    pub before: u64,
    /// `CLOCK_BOOTTIME`.
    pub boottime: u64,
    /// `CLOCK_MONOTONIC`, again.
    pub after: u64,
}

/// The time spent suspended since boot; only ever rises.
///
/// `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` are slewed alike and differ by the suspended time alone.
#[derive(Debug)]
pub struct SuspendOffset(AtomicU64);

impl SuspendOffset {
    /// Never suspended, as far as is known.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A reading of `CLOCK_MONOTONIC_RAW`, put right; `raw` is read after the samples.
    pub fn reading(
        &self,
        mut sample: impl FnMut() -> Option<Sample>,
        raw: impl FnOnce() -> Option<u64>,
    ) -> Option<u64> {
        for _ in 0..TRIES {
            if self.observe(sample()?) {
                break;
            }
        }
        let suspended =
            if crate::mutant::on("suspend_not_added") { 0 } else { self.0.load(Ordering::Acquire) };
        Some(raw()?.saturating_add(suspended))
    }

    /// False if the sample was interrupted and says nothing.
    fn observe(&self, sample: Sample) -> bool {
        if sample.after.saturating_sub(sample.before) >= SAMPLE_NS_MAX {
            return false;
        }
        let offset = sample.boottime.saturating_sub(sample.after);
        if offset > self.0.load(Ordering::Acquire).saturating_add(STEP_NS_MIN) {
            self.0.fetch_max(offset, Ordering::AcqRel);
        }
        true
    }
}

impl Default for SuspendOffset {
    fn default() -> Self {
        Self::new()
    }
}
