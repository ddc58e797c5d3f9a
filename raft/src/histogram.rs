//! How long things take, counted in powers of two.

use core::time::Duration;

/// Buckets of a histogram: the last holds everything from 2³⁰ µs, about 18 minutes, on.
const BUCKETS: usize = 32;

/// Durations counted in buckets of powers of two microseconds: enough to tell a disk that takes
/// 0.2 ms from one that takes 10, in 256 bytes and without a division.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use quorate_raft::Histogram;
///
/// let mut fsync = Histogram::default();
/// fsync.record(Duration::from_micros(700), 99);
/// fsync.record(Duration::from_millis(40), 1);
/// assert_eq!(fsync.count(), 100);
/// assert_eq!(fsync.quantile(0.5), Some(Duration::from_micros(1_024)));
/// assert_eq!(fsync.quantile(1.0), Some(Duration::from_micros(65_536)));
/// assert_eq!(Histogram::default().quantile(0.5), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
}

impl Histogram {
    /// Counts `times` things that took `d` each.
    pub fn record(&mut self, d: Duration, times: u64) {
        let micros = u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let bits = (u64::BITS - micros.leading_zeros()) as usize;
        self.counts[bits.min(BUCKETS - 1)] += times;
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The buckets that hold something: what they end before, and how many they hold. The last of
    /// all has no end, which is given as 2³¹ µs.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let all = self.counts.into_iter().enumerate();
        all.filter(|(_, count)| *count > 0).map(|(bits, count)| (end_of(bits), count))
    }

    /// The end of the bucket in which this share of all, 0 to 1, is reached: at most twice what it
    /// really was. None if nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = share.clamp(0.0, 1.0) * self.count() as f64;
        let mut seen = 0;
        let mut last = None;
        for (end, count) in self.buckets() {
            seen += count;
            last = Some(end);
            if seen as f64 >= wanted {
                break;
            }
        }
        last
    }
}

/// Durations of a bucket have so many bits in microseconds.
fn end_of(bits: usize) -> Duration {
    Duration::from_micros(1 << bits)
}

/// How long a node's work takes. From `Node::latencies`.
///
/// # Examples
/// ```
/// # use quorate_raft::Latencies;
/// fn report(l: &Latencies) -> String {
///     let p99 = l.fsync.quantile(0.99).unwrap_or_default();
///     format!("{} writes, 99 % durable within {p99:?}", l.fsync.count())
/// }
/// # report(&Latencies::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latencies {
    /// Entries proposed as a leader: from the append to durable on the own disk.
    pub durable: Histogram,
    /// The same entries, to committed.
    pub committed: Histogram,
    /// The same entries, to applied here.
    pub applied: Histogram,
    /// Writes: from when they were handed to the store to durable.
    pub fsync: Histogram,
    /// Reads that needed an answer of the leader or a round: from the question to served.
    pub read: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_has_its_bucket() {
        let cases = [(0, 1), (1, 2), (2, 4), (3, 4), (4, 8), (1_023, 1_024), (1_024, 2_048)];
        for (micros, end) in cases {
            let mut h = Histogram::default();
            h.record(Duration::from_micros(micros), 3);
            assert_eq!(h.buckets().collect::<Vec<_>>(), [(Duration::from_micros(end), 3)]);
        }
        let mut h = Histogram::default();
        h.record(Duration::MAX, 1);
        h.record(Duration::from_secs(3_600), 1);
        assert_eq!(h.buckets().collect::<Vec<_>>(), [(Duration::from_micros(1 << 31), 2)]);
    }

    #[test]
    fn quantiles_are_the_ends_of_their_buckets() {
        let mut h = Histogram::default();
        for micros in [1, 10, 100, 1_000] {
            h.record(Duration::from_micros(micros), 1);
        }
        let at = |share| h.quantile(share).unwrap().as_micros();
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(at), [2, 2, 16, 128, 1_024]);
        assert_eq!([-1.0, 9.0].map(at), [2, 1_024]);
    }
}
