//! One direction between two nodes: how long it takes, and what stands in the way.

use crate::{Class, Rng, SimConfig, SimTime};
use std::time::Duration;

/// Of pairs, so many are always slow, and so many times slower.
const SLOW_PAIRS_PPM: u32 = 50_000;
const SLOW_FACTOR: u64 = 20;
/// Of messages, so many take so many times longer.
const SPIKES_PPM: u32 = 1_000;
const SPIKE_FACTOR: u64 = 100;
/// But no longer than this, or than they take anyway: a wire loses what it cannot deliver.
const SPIKE_MAX: u64 = 1_000_000_000;

/// One direction between two nodes.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(super) rng: Rng,
    /// Nanoseconds from one node to the other at least.
    base: u64,
    /// Which class of fault blocks lanes, if one does; the same for datagrams.
    pub(super) lanes_cut: Option<Class>,
    pub(super) datagrams_cut: Option<Class>,
    /// Nothing arrives before.
    pub(super) clogged_until: SimTime,
    /// Which clog that was.
    pub(super) clog: u64,
    /// When the newest frame of a lossy lane that arrived was sent.
    pub(super) newest_lossy: SimTime,
    /// When the newest datagram arrives or arrived.
    pub(super) newest_arrival: SimTime,
    /// Frames and datagrams so far: every 16th passes the real codec.
    pub(super) count: u32,
}

impl Way {
    pub(super) fn new(config: &SimConfig, from: u64, to: u64) -> Self {
        let mut rng = Rng::stream(config.seed, "net", from, to);
        let [low, high] = config.latency.map(nanos);
        let slow = if rng.chance(SLOW_PAIRS_PPM) { SLOW_FACTOR } else { 1 };
        let base = rng.log_uniform(low, high).saturating_mul(slow);
        Self {
            rng,
            base: if high == 0 { 0 } else { base },
            lanes_cut: None,
            datagrams_cut: None,
            clogged_until: SimTime::ZERO,
            clog: 0,
            newest_arrival: SimTime::ZERO,
            newest_lossy: SimTime::ZERO,
            count: 0,
        }
    }

    /// How long the next message takes.
    pub(super) fn latency(&mut self, percent: u32) -> Duration {
        let jitter = self.rng.exponential(self.base / 4);
        let usual = self.base.saturating_add(jitter);
        let plain = if self.rng.chance(SPIKES_PPM) {
            usual.saturating_mul(SPIKE_FACTOR).min(SPIKE_MAX).max(usual)
        } else {
            usual
        };
        Duration::from_nanos(plain.saturating_mul(u64::from(percent)) / 100)
    }

    /// Whether the next message passes the real encoder and decoder.
    pub(super) const fn is_sample(&mut self, wire_check: bool) -> bool {
        self.count = self.count.wrapping_add(1);
        wire_check && self.count % 16 == 1
    }
}

pub(super) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_lie_around_a_base_of_the_pair() {
        let config = SimConfig::lan(1).build().unwrap();
        let mut slow = 0;
        for to in 1..=1_000 {
            let mut way = Way::new(&config, 1, to);
            let base = way.base;
            assert!((50_000..=100_000_000).contains(&base), "{base}");
            slow += u32::from(base > 5_000_000);
            let mut sorted: Vec<u64> = (0..200).map(|_| nanos(way.latency(100))).collect();
            sorted.sort_unstable();
            assert!(sorted[0] >= base && sorted[100] < base * 2, "{base} {sorted:?}");
        }
        assert!((20..120).contains(&slow), "{slow} of 1,000 pairs are slow");
    }

    #[test]
    fn a_delay_multiplies() {
        let config = SimConfig::lan(1).build().unwrap();
        let (mut one, mut other) = (Way::new(&config, 1, 2), Way::new(&config, 1, 2));
        assert_eq!(one.latency(100) * 3, other.latency(300));
    }
}
