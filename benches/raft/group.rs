//! What the lanes of whole groups measure: three replicas in this process and clients beside them.

use crate::host::Host;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The election timeout of all: long enough for a machine that is busy with others.
pub(crate) const ELECTION: Duration = Duration::from_secs(1);
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);
/// Everybody makes a snapshot after so many entries, and drops all but the last `KEPT` of them.
pub(crate) const SNAPSHOT_AFTER: u64 = 100_000;
pub(crate) const KEPT: u64 = 10_000;

/// A group of three, by its leader.
pub(crate) trait Group: Clone + Send + Sync + 'static {
    /// Proposes a command that names its client and number; returns when it is applied.
    fn propose(&self, client: u64, number: u64) -> impl Future<Output = ()> + Send;

    /// A linearizable read of the count of commands on the leader.
    fn read(&self) -> impl Future<Output = u64> + Send;

    /// What the replicas hold, and what they should.
    fn ledger(&self) -> &Ledger;
}

/// What a machine was given.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) count: AtomicU64,
    /// Of clients and numbers: an entry that is lost and another that is doubled show.
    pub(crate) sum: AtomicU64,
}

impl Tally {
    /// Adds commands; only one thread does.
    pub(crate) fn add(&self, count: u64, sum: u64) {
        self.count.fetch_add(count, Relaxed);
        self.sum.fetch_add(sum, Relaxed);
    }

    pub(crate) fn values(&self) -> (u64, u64) {
        (self.count.load(Relaxed), self.sum.load(Relaxed))
    }

    pub(crate) fn set(&self, (count, sum): (u64, u64)) {
        self.count.store(count, Relaxed);
        self.sum.store(sum, Relaxed);
    }
}

/// What a command adds to the sum.
pub(crate) fn weight(client: u64, number: u64) -> u64 {
    (client << 32).wrapping_add(number)
}

/// The same from its bytes.
pub(crate) fn weight_of(data: &[u8]) -> u64 {
    let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("8 bytes"));
    weight(word(0), word(8))
}

/// What the clients were told is done, beside what the machines were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) told: Arc<Tally>,
    pub(crate) machines: [Arc<Tally>; 3],
}

impl Ledger {
    /// Everything is applied on all three replicas, and nothing else.
    pub(crate) fn check(&self, whose: &str) {
        let told = self.told.values();
        let begun = Instant::now();
        while self.machines.iter().any(|machine| machine.values() != told) {
            let found: Vec<_> = self.machines.iter().map(|m| m.values()).collect();
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{whose}: {told:?} were acknowledged, the replicas hold {found:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// So many clients propose one command after the other for `time`; nanoseconds for each of all
/// commands together.
pub(crate) fn propose_turn<G: Group>(host: &Host, group: &G, clients: u64, time: Duration) -> f64 {
    let ledger = group.ledger().told.clone();
    let group = group.clone();
    let client = move |client: u64, stop: Arc<AtomicBool>| {
        let (group, ledger) = (group.clone(), ledger.clone());
        async move {
            let (mut done, mut sum) = (0, 0_u64);
            loop {
                group.propose(client, done).await;
                sum = sum.wrapping_add(weight(client, done));
                done += 1;
                if stop.load(Relaxed) {
                    ledger.add(done, sum);
                    return done;
                }
            }
        }
    };
    tasks_turn(host, clients, time, client)
}

/// So many tasks read one time after the other for `time`; nanoseconds for each of all reads.
pub(crate) fn read_turn<G: Group>(host: &Host, group: &G, readers: u64, time: Duration) -> f64 {
    let (group, expected) = (group.clone(), group.ledger().told.values().0);
    let reader = move |_, stop: Arc<AtomicBool>| {
        let group = group.clone();
        async move {
            let mut done = 0;
            loop {
                assert_eq!(group.read().await, expected, "a stale read");
                done += 1;
                if stop.load(Relaxed) {
                    return done;
                }
            }
        }
    };
    tasks_turn(host, readers, time, reader)
}

fn tasks_turn<F>(
    host: &Host,
    tasks: u64,
    time: Duration,
    task: impl Fn(u64, Arc<AtomicBool>) -> F,
) -> f64
where
    F: Future<Output = u64> + Send + 'static,
{
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let running: Vec<_> = (0..tasks).map(|n| host.spawn(task(n, stop.clone()))).collect();
    std::thread::sleep(time);
    stop.store(true, Relaxed);
    let (done, ended) = host.run(async move {
        let mut done = 0;
        for task in running {
            done += task.await.expect("no client panics");
        }
        (done, Instant::now())
    });
    (ended - begun).as_secs_f64() * 1e9 / done as f64
}

/// One client proposes for `time`; the median of how long one command takes, in nanoseconds.
pub(crate) fn latency_turn<G: Group>(host: &Host, group: &G, time: Duration) -> f64 {
    let group = group.clone();
    let mut samples = host.run(async move {
        let (begun, mut samples, mut sum) = (Instant::now(), Vec::new(), 0);
        while begun.elapsed() < time {
            let (asked, number) = (Instant::now(), samples.len() as u64);
            group.propose(0, number).await;
            samples.push(asked.elapsed().as_nanos() as f64);
            sum += weight(0, number);
        }
        group.ledger().told.add(samples.len() as u64, sum);
        samples
    });
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
