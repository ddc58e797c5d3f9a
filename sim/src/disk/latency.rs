//! How long operations take: integers only, so that every platform draws the same times (H23).

use std::time::Duration;

use super::config::DiskConfig;
use crate::rng::Rng;

/// Work of a disk that has its time without being done: what a node waits for before it does it.
///
/// # Examples
/// ```
/// use quorate_sim::Cost;
/// use std::time::Duration;
/// let _ = [Cost::Sync, Cost::Write(4096), Cost::Read(512), Cost::Fixed(Duration::from_secs(1))];
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cost {
    /// One sync.
    Sync,
    /// A write of so many bytes.
    Write(u64),
    /// A read of so many bytes.
    Read(u64),
    /// This long, whatever the disk.
    Fixed(Duration),
}

/// So many per cent of that time.
pub(crate) fn slowed(d: Duration, percent: u32) -> Duration {
    Duration::from_nanos(nanos(d).saturating_mul(u64::from(percent)) / 100)
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl DiskConfig {
    fn transfer(&self, bytes: u64) -> Duration {
        let time = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX))
    }

    /// How long this takes; only a sync draws.
    pub(super) fn time(&self, cost: Cost, rng: &mut Rng) -> Duration {
        match cost {
            Cost::Fixed(time) => time,
            Cost::Write(bytes) => self.write_latency.saturating_add(self.transfer(bytes)),
            Cost::Read(bytes) => self.read_latency.saturating_add(self.transfer(bytes)),
            Cost::Sync => {
                let (least, most) = self.sync_latency;
                if most.is_zero() {
                    return Duration::ZERO;
                }
                Duration::from_nanos(rng.log_uniform(nanos(least), nanos(most)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_the_configuration() {
        let mut rng = Rng::stream(1, "disk", 0, 0);
        let ssd = DiskConfig::default();
        assert_eq!(ssd.time(Cost::Write(4096), &mut rng), Duration::from_nanos(24_096));
        assert_eq!(ssd.time(Cost::Read(0), &mut rng), Duration::from_micros(20));
        let second = Duration::from_secs(1);
        assert_eq!(ssd.time(Cost::Fixed(second), &mut rng), second);
        let mut quick = 0;
        for _ in 0..1_000 {
            let time = ssd.time(Cost::Sync, &mut rng);
            assert!(time >= Duration::from_micros(200) && time <= Duration::from_millis(10));
            quick += u32::from(time < Duration::from_micros(1_414));
        }
        assert!((400..600).contains(&quick), "half of them below the geometric mean: {quick}");
        let instant = DiskConfig::instant().build().unwrap();
        let before = rng.clone();
        for cost in [Cost::Sync, Cost::Write(1 << 20), Cost::Read(9)] {
            assert_eq!(instant.time(cost, &mut rng), Duration::ZERO);
        }
        assert_eq!(rng, before);
    }
}
