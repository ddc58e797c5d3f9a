//! The faults of a campaign, drawn from its seed.

/// A seeded generator (`SplitMix64`) with the draws a simulation needs; integers only, so that a
/// replay on another machine draws the same.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) const fn below(&mut self, n: u64) -> u64 {
        self.word() % n
    }

    pub(crate) fn pick(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap()
    }

    /// True in `per_mille` of a thousand.
    pub(crate) const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// Uniform in `low..=high`.
    pub(crate) const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
}

/// How bad it gets, per campaign: a mix of quiet and violent runs finds more than one average.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    /// Per mille of messages.
    pub(crate) lose: u64,
    pub(crate) duplicate: u64,
    /// Microseconds a message takes.
    pub(crate) delay: (u64, u64),
    /// Per mille of messages that take twenty times as long.
    pub(crate) slow: u64,
    /// Microseconds a sync takes.
    pub(crate) sync: (u64, u64),
    /// Per mille of syncs that take a hundred times as long.
    pub(crate) stall: u64,
    /// Microseconds between two faults.
    pub(crate) fault_every: (u64, u64),
    /// Microseconds between two client requests.
    pub(crate) client_every: (u64, u64),
    /// Entries of several kilobytes, so that one append does not carry the whole log.
    pub(crate) large_entries: bool,
    /// Crash a leader right after it sent something, again and again (paper, figure 8).
    pub(crate) hunt_leaders: bool,
}

impl Plan {
    pub(crate) fn draw(draw: &mut Draw) -> Self {
        let violent = draw.chance(500);
        let slow_net = draw.chance(300);
        Self {
            nodes: if draw.chance(500) { 3 } else { 5 },
            lose: if violent { draw.between(20, 200) } else { draw.between(0, 20) },
            duplicate: draw.between(0, 80),
            delay: if slow_net { (500, 8_000) } else { (50, 1_500) },
            slow: draw.between(0, 60),
            sync: if draw.chance(500) { (50, 500) } else { (500, 6_000) },
            stall: draw.between(0, 20),
            fault_every: if violent { (5_000, 60_000) } else { (40_000, 300_000) },
            client_every: (500, 6_000),
            large_entries: draw.chance(400),
            hunt_leaders: draw.chance(300),
        }
    }
}
