//! What a campaign that passed did.

use super::Attempt;
use crate::coverage::Coverage;
use crate::{ChannelId, Traffic};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a campaign did; nothing failed.
///
/// # Examples
/// See [`Campaign`](crate::Campaign); its `Display` is a table.
/// ```
/// fn crashes(report: &quorate_sim::Report) -> u64 {
///     report.coverage.class(quorate_sim::Class::Crash).effective
/// }
/// # let _ = crashes;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The campaign.
    pub campaign: String,
    /// Seeds that were run.
    pub seeds: u64,
    /// Events that happened in all of them.
    pub events: u64,
    /// Virtual time of all of them.
    pub virtual_time: Duration,
    /// Real time.
    pub wall: Duration,
    /// Faults and marks.
    pub coverage: Coverage,
    /// The seed that took longest, and how long.
    pub slowest: (u64, Duration),
    /// Messages of all nodes by channel.
    pub traffic: BTreeMap<ChannelId, Traffic>,
    /// The hashes of all seeds, as one.
    pub hash: u64,
}

impl Report {
    pub(super) fn new(campaign: &str) -> Self {
        Self {
            campaign: campaign.to_owned(),
            seeds: 0,
            events: 0,
            virtual_time: Duration::ZERO,
            wall: Duration::ZERO,
            coverage: Coverage::default(),
            slowest: (0, Duration::ZERO),
            traffic: BTreeMap::new(),
            hash: 0,
        }
    }

    pub(super) fn add(&mut self, seed: u64, attempt: &Attempt, wall: Duration) {
        self.seeds += 1;
        self.events += attempt.handled;
        self.virtual_time += attempt.virtual_time.since(crate::SimTime::ZERO);
        self.coverage.add(&attempt.coverage);
        self.hash = crate::trace::mix(self.hash, attempt.hash);
        if wall > self.slowest.1 {
            self.slowest = (seed, wall);
        }
        for (channel, more) in &attempt.traffic {
            self.traffic.entry(*channel).or_default().add(more);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { campaign, seeds, events, virtual_time, wall, slowest, .. } = self;
        writeln!(
            f,
            "campaign {campaign}: {seeds} seeds, {events} events, {} s virtual in {:.1} s; \
             slowest seed {} ({:.2} s)",
            virtual_time.as_secs(),
            wall.as_secs_f64(),
            slowest.0,
            slowest.1.as_secs_f64()
        )?;
        for (channel, traffic) in &self.traffic {
            let Traffic { messages_in, messages_out, bytes_out, .. } = traffic;
            writeln!(
                f,
                "channel {channel}: {messages_out} messages out ({bytes_out} bytes), \
                 {messages_in} in"
            )?;
        }
        write!(f, "{}", self.coverage)
    }
}
