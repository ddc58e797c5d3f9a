//! Seeded simulation of whole groups, on quorate-sim: a faulty network, nodes that crash, stand
//! still and have wrong clocks, disks that forget what was not synced. What must hold is checked
//! after every step; at the end the faults stop and the group must serve.
//!
//! `QUORATE_SEEDS=2000` runs more seeds, `QUORATE_SEED=17` one.

pub(crate) mod checks;
pub(crate) mod churn;
pub(crate) mod damage;
pub(crate) mod disk;
pub(crate) mod leases;
pub(crate) mod pieces;
pub(crate) mod replica;

use quorate_raft::Config;
use quorate_sim::{Campaign, Class, LaneModel, NodeId, Rng, Sim, SimConfig, Swarm, Workload};
use replica::{Replica, Setup, World};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

const MS: u64 = 1_000_000;

/// A campaign in which one of these never happened proves less than it claims. Faults count
/// themselves.
const MUST_HAPPEN: [&str; 15] = [
    "crash of a leader",
    "unsynced write lost",
    "disk stall",
    "leader elected",
    "term with no winner",
    "entry replaced",
    "entry committed",
    "entry loaded from disk",
    "snapshot made",
    "snapshot installed",
    "proposal refused",
    "proposal acknowledged",
    "read confirmed",
    "read through a follower",
    "leadership moved",
];

/// A group of three or five, perhaps with nodes beside it that may join.
pub(crate) struct Group {
    pub(crate) setup: Setup,
    pub(crate) world: Rc<RefCell<World>>,
    /// Entries committed when the group was asked to serve again.
    asked_at: Option<usize>,
}

impl Group {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, "group", 0, 0);
        let members = if rng.flip() { 3 } else { 5 };
        let churn = churn::drawn(seed);
        let leases = leases::drawn(seed);
        let draft = Config::local()
            .election_timeout(Duration::from_millis(50))
            .heartbeat_interval(Duration::from_millis(10))
            .append_bytes_max(4 << 10)
            .inflight_messages_max(8)
            .inflight_bytes_max(32 << 10)
            .uncommitted_bytes_max(64 << 10)
            .apply_bytes_max(32 << 10)
            .log_cache_bytes(16 << 10)
            .pre_vote(rng.chance(800_000) || churn)
            .check_quorum(rng.chance(800_000) || churn || leases);
        let setup = Setup {
            members: (1..=members).map(NodeId::new).collect(),
            churn,
            configs: leases::configs(&draft, leases),
            leases,
            sync: if rng.flip() { (50, 500) } else { (500, 6_000) },
            stall_ppm: u32::try_from(rng.below(20_000)).unwrap(),
            large_entries: rng.chance(400_000),
        };
        Self { setup, world: Rc::default(), asked_at: None }
    }

    /// Everybody there is, members or not.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        let spares = if self.setup.churn { churn::SPARES } else { 0 };
        (1..=self.setup.members.len() as u64 + spares).map(NodeId::new).collect()
    }

    fn replicas<'a>(&self, sim: &'a Sim, ids: &[NodeId]) -> Vec<Option<&'a Replica>> {
        ids.iter().map(|id| sim.node::<Replica>(*id)).collect()
    }
}

impl Workload for Group {
    fn setup(&mut self, sim: &mut Sim) {
        leases::watch(sim);
        for id in self.nodes() {
            let (setup, world) = (self.setup.clone(), Rc::clone(&self.world));
            sim.add(id, move |ctx| Replica::boot(ctx, setup.clone(), Rc::clone(&world)));
        }
    }

    /// One leads, it commits, and everybody has applied the same.
    fn healed(&mut self, sim: &mut Sim) -> Result<bool, String> {
        self.world.borrow_mut().quiet = true;
        let membership = self.world.borrow().memberships.newest(&self.setup.members);
        if membership.is_joint() && membership.auto_leave {
            return Ok(false);
        }
        let members = membership.members();
        let leads = |replica: &Option<&Replica>| replica.is_some_and(churn::leads);
        let replicas = self.replicas(sim, &members);
        let leaders: Vec<usize> = (0..replicas.len()).filter(|i| leads(&replicas[*i])).collect();
        let [leader] = leaders[..] else { return Ok(false) };
        let committed = self.world.borrow().observer.committed.len();
        let before = *self.asked_at.get_or_insert(committed);
        if committed <= before {
            // Again and again: a leader whose disk lags refuses, one that is deposed forgets.
            let leader = members[leader];
            return sim
                .with_node(leader, |replica: &mut Replica, ctx| replica.propose(ctx))
                .unwrap_or(Ok(()))
                .map(|()| false);
        }
        let world = self.world.borrow();
        let same = |replica: &Option<&Replica>| {
            replica.is_some_and(|replica| replica.state == world.observer.committed)
        };
        Ok(replicas.iter().all(same))
    }

    /// Nothing acknowledged is missing and nothing refused is there.
    fn finish(&mut self, sim: &mut Sim) -> Result<(), String> {
        let world = self.world.borrow();
        let there: BTreeSet<&Vec<u8>> = world.observer.committed.iter().map(|(_, d)| d).collect();
        if let Some(lost) = world.acknowledged.iter().find(|data| !there.contains(data)) {
            let all: Vec<_> = self
                .replicas(sim, &self.nodes())
                .iter()
                .flatten()
                .map(|r| r.raft.status())
                .collect();
            return Err(format!(
                "acknowledged and lost: {} {all:?}",
                String::from_utf8_lossy(lost)
            ));
        }
        match world.refused.iter().find(|data| there.contains(data)) {
            Some(ghost) => Err(format!("refused, yet there: {}", String::from_utf8_lossy(ghost))),
            None => Ok(()),
        }
    }
}

/// The world of a seed: quick or slow lines, sessions or lines that lose.
pub(crate) fn config(seed: u64) -> SimConfig {
    let mut rng = Rng::stream(seed, "lines", 0, 0);
    let slowest = if rng.chance(300_000) { 8 } else { 1 };
    let model = if rng.flip() { LaneModel::Lossy } else { LaneModel::Session };
    SimConfig::lan(seed)
        .lane_model(model)
        .extreme_clocks(leases::extreme_clocks(seed))
        .latency(Duration::from_micros(50), Duration::from_millis(slowest))
        .session_timeout(Duration::from_millis(500))
        .connect_timeout(Duration::from_millis(200))
        .backoff(Duration::from_millis(5), Duration::from_millis(50))
        .build()
        .unwrap()
}

/// Faults at the pace of a group whose elections take 50 ms.
pub(crate) fn swarm() -> Swarm {
    Swarm::quiet()
        .with(Class::Loss)
        .with(Class::Duplicate)
        .range(Class::Delay, 200..=2_000)
        .range(Class::Reorder, 200..=2_000)
        .range(Class::Clog, 10 * MS..=500 * MS)
        .range(Class::Partition, 20 * MS..=1_000 * MS)
        .range(Class::OneWay, 20 * MS..=1_000 * MS)
        .range(Class::Break, 50 * MS..=1_000 * MS)
        .range(Class::Crash, 40 * MS..=1_000 * MS)
        .range(Class::Pause, 10 * MS..=1_000 * MS)
        .range(Class::Slow, 200..=2_000)
        .with(Class::ClockStep)
        .with(Class::ClockRate)
        .down(Duration::from_millis(1)..=Duration::from_millis(200))
        .hunt("leader elected")
}

pub(crate) fn campaign() -> Campaign<Group> {
    Campaign::new("raft", Group::new)
        .config(config)
        .swarm(swarm())
        .chaos(Duration::from_secs(3))
        .heal(Duration::from_secs(20))
        .require(&must_happen())
}

fn must_happen() -> Vec<&'static str> {
    [
        &MUST_HAPPEN[..],
        &damage::MUST_HAPPEN,
        &pieces::MUST_HAPPEN,
        &churn::MUST_HAPPEN,
        &leases::MUST_HAPPEN,
    ]
    .concat()
}

#[test]
fn sim() {
    match campaign().seeds(300).run() {
        Ok(report) => println!("{report}\n0 violations"),
        Err(failure) => panic!("{failure}"),
    }
    // The same seed is the same run, to the last event.
    let [once, again] = [0, 1].map(|_| campaign().trace_hash(7));
    println!("seed 7 run twice: trace hash {once:#018x} and {again:#018x}");
    assert_eq!(once, again);
}
