//! Toy protocols with one mistake each, and their correct twins: what this crate has to catch, and
//! what it has to leave alone.

use quorate_sim::{Bytes, Campaign, ChannelId, Class, NodeId, Sim, Swarm, Workload};
use std::time::Duration;

pub(crate) mod register;

mod ack_before_sync;
mod appender;
mod bridge;
mod checksum;
mod create_without_sync;
mod duplicate;
mod election;
mod fence;
mod forgotten;
mod identity;
mod lease;
mod lease_drift;
mod lease_wall;
mod no_resend;
mod rename_without_sync;
mod retry;
pub(crate) mod slots;
mod stale_read;
mod ticks;
mod unknown;
mod vote;

/// A protocol with a mistake that can be switched on.
#[derive(Clone, Copy)]
pub(crate) struct Planted {
    pub(crate) name: &'static str,
    /// Who has to find it.
    pub(crate) checker: &'static str,
    /// With the mistake, or without.
    pub(crate) campaign: fn(bool) -> Campaign<Toy>,
}

const fn planted(
    name: &'static str,
    checker: &'static str,
    campaign: fn(bool) -> Campaign<Toy>,
) -> Planted {
    Planted { name, checker, campaign }
}

pub(crate) const ALL: [Planted; 17] = [
    planted("stale-read", "linearizable", stale_read::campaign),
    planted("ack-before-sync", "durable acked", ack_before_sync::campaign),
    planted("rename-without-sync", "monotone-durable version", rename_without_sync::campaign),
    planted("create-without-sync", "durable acked", create_without_sync::campaign),
    planted("vote-not-persisted", "at-most-one leader", vote::campaign),
    planted("lease-on-wall-clock", "exclusive lease", lease_wall::campaign),
    planted("lease-ignores-drift", "exclusive lease", lease_drift::campaign),
    planted("lock-without-fence", "monotone written", fence::campaign),
    planted("unknown-as-failed", "linearizable", unknown::campaign),
    planted("retry-without-dedup", "conserved balance", retry::campaign),
    planted("no-resend", "dense applied", no_resend::campaign),
    planted("dead-forgotten", "eventually whole", forgotten::campaign),
    planted("duplicate-applied", "at-most-one times", duplicate::campaign),
    planted("identity-reused", "at-most-one leader", identity::campaign),
    planted("timers-replayed", "check", ticks::campaign),
    planted("bridge-two-leaders", "exclusive leader", bridge::campaign),
    planted("checksum-ignored", "agreement entry", checksum::campaign),
];

type Act = Box<dyn FnMut(&mut Sim)>;

/// A workload made of what it does at the beginning and at the end.
pub(crate) struct Toy {
    setup: Act,
    finish: Act,
}

impl Toy {
    pub(crate) fn new(setup: impl FnMut(&mut Sim) + 'static) -> Self {
        Self { setup: Box::new(setup), finish: Box::new(|_| {}) }
    }

    pub(crate) fn finish(mut self, finish: impl FnMut(&mut Sim) + 'static) -> Self {
        self.finish = Box::new(finish);
        self
    }
}

impl Workload for Toy {
    fn setup(&mut self, sim: &mut Sim) {
        (self.setup)(sim);
    }

    fn finish(&mut self, sim: &mut Sim) -> Result<(), String> {
        (self.finish)(sim);
        Ok(())
    }
}

/// A campaign of a toy: these classes, and short, since there are many of them.
pub(crate) fn campaign(
    name: &str,
    bug: bool,
    classes: &[Class],
    make: impl Fn(bool) -> Toy + Send + Sync + 'static,
) -> Campaign<Toy> {
    let name = if bug { name.to_owned() } else { format!("{name}-fixed") };
    Campaign::new(&name, move |_| make(bug))
        .swarm(Swarm::quiet().only(classes))
        .chaos(Duration::from_secs(15))
        .heal(Duration::from_secs(10))
}

/// The channel of all toys.
pub(crate) const CHANNEL: ChannelId = ChannelId::new(16);

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn node(n: u64) -> NodeId {
    NodeId::new(n)
}

/// A message: a few numbers.
pub(crate) fn pack(words: &[u64]) -> Bytes {
    words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>().into()
}

pub(crate) fn unpack(body: &[u8]) -> Vec<u64> {
    body.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
}
