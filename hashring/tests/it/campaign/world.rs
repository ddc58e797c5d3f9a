//! Everything of one seed.

use super::authority::{Authority, Copy};
use super::client::{Client, Operation};
use super::net::{Event, Net};
use super::replica::Replica;
use crate::random::Random;
use quorate_hashring::{
    Epoch, KeyHash, MoveId, Node, NodeId, Partition, PartitionTable, Quorum, Rules, Stage,
    Topology, View,
};
use std::fmt;

pub(super) const KEYS: usize = 24;
const CLIENTS: usize = 4;
const TIME: u64 = 3_000;

/// The store with one order (O1), which holds every committed view as bytes.
pub(super) struct Log {
    encoded: Vec<Vec<u8>>,
    newest: View,
    /// For each view the partitions that its change concerns, by the rows of the tables.
    touched: Vec<Vec<bool>>,
}

impl Log {
    fn new(view: View) -> Self {
        Self { encoded: vec![view.encode()], touched: vec![vec![true; 64]], newest: view }
    }

    /// The position of the newest view.
    pub(super) fn newest(&self) -> usize {
        self.encoded.len() - 1
    }

    pub(super) fn view(&self, at: usize) -> View {
        if at == self.newest() {
            return self.newest.clone();
        }
        View::decode(&self.encoded[at], None).unwrap()
    }

    /// Compare and set.
    pub(super) fn commit(&mut self, view: &View) -> bool {
        if view.parent() != Some(self.newest.digest()) {
            return false;
        }
        // A change concerns the rows in which the tables before and after it differ; that is told
        // from its first view and holds to its last.
        let touched = if view.stage() == Stage::Copying {
            let (old, new) = (self.newest.table(), view.table());
            (0..64).map(|p| rows_differ(old, new, Partition::new(p))).collect()
        } else {
            self.touched[self.newest()].clone()
        };
        self.touched.push(touched);
        self.encoded.push(view.encode());
        self.newest = View::decode(&self.encoded[self.newest()], None).unwrap();
        assert_eq!(self.newest, *view);
        true
    }

    /// Whether no view behind the older and up to the newer of the two concerns a partition.
    pub(super) fn is_unmoved(&self, partition: Partition, a: Epoch, b: Epoch) -> bool {
        let position = |epoch: Epoch| usize::try_from(epoch.value()).unwrap() - 1;
        let (low, high) = (position(a.min(b)), position(a.max(b)));
        let p = usize::from(partition.value());
        self.touched[low + 1..=high].iter().all(|touched| !touched[p])
    }
}

fn rows_differ(old: &PartitionTable, new: &PartitionTable, p: Partition) -> bool {
    let (before, after) = (old.row(p).unwrap(), new.row(p).unwrap());
    !before.iter().all(|at| after.contains(at)) || before.len() != after.len()
}

pub(super) struct World {
    pub(super) net: Net,
    pub(super) log: Log,
    pub(super) quorum: Quorum,
    pub(super) replicas: Vec<Replica>,
    pub(super) clients: Vec<Client>,
    pub(super) authorities: Vec<Authority>,
    pub(super) copies: Vec<Copy>,
    /// What the newest authority wrote down as copied, and for which `Copying` epoch.
    pub(super) copied_before: Option<(Epoch, Vec<MoveId>)>,
    pub(super) operations: Vec<Operation>,
    /// For each key its partition, and the newest version whose write completed.
    pub(super) partitions: Vec<Partition>,
    pub(super) completed: Vec<u64>,
    pub(super) versions: u64,
    pub(super) is_healed: bool,
    pub(super) counters: Counters,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let nodes = 5 + random.below(5);
        let ids: Vec<NodeId> = (1..=nodes as u64).map(NodeId::new).collect();
        let all = ids.iter().fold(Topology::builder(), |all, id| all.node(Node::new(*id)));
        let rows: Vec<Vec<NodeId>> =
            (0..64).map(|p| (0..3).map(|at| ids[(p + at) % nodes]).collect()).collect();
        let (topology, rules) = (all.build().unwrap(), Rules::new(3));
        let hash = KeyHash::default();
        let table = PartitionTable::from_rows(&topology, &rules, hash, &rows).unwrap();
        let view = View::initial(table);
        let quorum = match random.below(10) {
            0 => Quorum::fixed(1, 3),
            1 => Quorum::fixed(3, 1),
            _ => Quorum::Majority,
        };
        let client = |at: usize| Client { view: view.clone(), lazy: [1, 2, 8, 30][at] };
        Self {
            net: Net::new(random),
            quorum,
            replicas: ids.iter().map(|id| Replica::new(*id, &view)).collect(),
            clients: (0..CLIENTS).map(client).collect(),
            authorities: Vec::new(),
            copies: Vec::new(),
            copied_before: None,
            operations: Vec::new(),
            partitions: (0..KEYS).map(|key| view.route(&Self::key(key)).partition).collect(),
            completed: vec![0; KEYS],
            versions: 0,
            is_healed: false,
            counters: Counters::default(),
            log: Log::new(view),
        }
    }

    pub(super) fn key(key: usize) -> [u8; 8] {
        (key as u64).to_le_bytes()
    }

    /// Faults for a while, then none: the change must come to its end, and every key must be
    /// readable.
    pub(super) fn run(&mut self) -> Result<(), String> {
        for node in 0..self.replicas.len() {
            self.net.after(node, Event::Tick { node });
            for _ in 0..2 {
                let delay = self.net.random.below(usize::try_from(TIME).unwrap());
                self.net.after(delay, Event::Crash { node });
            }
        }
        for client in 0..CLIENTS {
            self.net.after(client, Event::Next { client });
        }
        let (replace, abort) = (self.net.random.below(900), self.net.random.below(1_500));
        self.net.after(10, Event::Govern);
        self.net.after(100 + replace, Event::Replace);
        self.net.after(100 + abort, Event::Abort);
        self.run_until(TIME)?;
        self.is_healed = true;
        self.net.heal();
        for step in 0.. {
            self.run_until(self.net.now + 100)?;
            let newest = self.log.view(self.log.newest());
            let is_current = |view: View| view == newest;
            let gates = self.replicas.iter().map(|replica| replica.gate.as_ref());
            let are_current = gates.flatten().filter(|gate| is_current(gate.view())).count();
            if newest.stage() == Stage::Settled && are_current == self.replicas.len() {
                break;
            }
            if step > 100 {
                return Err(format!("no progress: {newest:?}, {are_current} are current"));
            }
        }
        self.read_all()
    }

    fn read_all(&mut self) -> Result<(), String> {
        self.clients[0].view = self.log.view(self.log.newest());
        let reads: Vec<usize> = (0..KEYS).map(|key| self.start(0, key, false)).collect();
        self.run_until(self.net.now + 100)?;
        match reads.iter().position(|op| !self.is_reached(*op)) {
            Some(key) => Err(format!("key {key} cannot be read")),
            None => Ok(()),
        }
    }

    fn run_until(&mut self, time: u64) -> Result<(), String> {
        while self.net.now < time {
            let Some(event) = self.net.next() else { break };
            self.handle(event)?;
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Request(request) => return self.on_request(request),
            Event::Apply { node, life, work } => self.on_apply(node, life, work),
            Event::Answer { op, node, answer } => return self.on_answer(op, node, answer),
            Event::Timeout { op } => return self.on_timeout(op),
            Event::Next { client } => self.on_next(client),
            Event::View { node, at } => return self.on_view(node, at),
            Event::Durable { node, life, at } => self.on_durable(node, life, at),
            Event::Tick { node } => self.on_tick(node),
            Event::Ack { node, epoch } => self.on_ack(node, epoch),
            Event::CopyRead { copy, node } => self.on_copy_read(copy, node),
            Event::CopyData { copy, node, values } => self.on_copy_data(copy, node, &values),
            Event::CopyWrite { copy, values } => self.on_copy_write(copy, &values),
            Event::Copied { copy } => return self.on_copied(copy, true),
            Event::CopyTimeout { copy } => return self.on_copied(copy, false),
            Event::Govern => return self.on_govern(),
            Event::Crash { node } => self.on_crash(node),
            Event::Restart { node } => self.on_restart(node),
            Event::Replace => return self.on_replace(),
            Event::Abort => self.on_abort(),
        }
        Ok(())
    }
}

/// What happened, so that nothing is claimed for what never did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) operations: u64,
    pub(super) reached: u64,
    pub(super) lost: u64,
    pub(super) stale: u64,
    pub(super) ahead: u64,
    /// Requests between different views for a partition that no change in between concerns.
    pub(super) unmoved: u64,
    pub(super) skipped: u64,
    pub(super) transitions: u64,
    pub(super) resumes: u64,
    pub(super) aborts: u64,
    pub(super) aborts_switched: u64,
    pub(super) copies: u64,
    pub(super) quorum_copies: u64,
    pub(super) deleted: u64,
    pub(super) crashes: u64,
    /// Seeds that broke a promise, and those of them that refused what does not move (G10).
    pub(super) violations: u64,
    pub(super) unmoved_rejects: u64,
}

impl Counters {
    fn all(&self) -> [(&'static str, u64); 15] {
        [
            ("operations", self.operations),
            ("operations reached", self.reached),
            ("operations lost", self.lost),
            ("stale rejects", self.stale),
            ("ahead rejects", self.ahead),
            ("requests to unmoved partitions", self.unmoved),
            ("skipped installs", self.skipped),
            ("transitions", self.transitions),
            ("resumes", self.resumes),
            ("aborts", self.aborts),
            ("aborts from switched", self.aborts_switched),
            ("copies", self.copies),
            ("quorum-source copies", self.quorum_copies),
            ("keys deleted", self.deleted),
            ("crashes", self.crashes),
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.reached += other.reached;
        self.lost += other.lost;
        self.stale += other.stale;
        self.ahead += other.ahead;
        self.unmoved += other.unmoved;
        self.skipped += other.skipped;
        self.transitions += other.transitions;
        self.resumes += other.resumes;
        self.aborts += other.aborts;
        self.aborts_switched += other.aborts_switched;
        self.copies += other.copies;
        self.quorum_copies += other.quorum_copies;
        self.deleted += other.deleted;
        self.crashes += other.crashes;
        self.violations += other.violations;
        self.unmoved_rejects += other.unmoved_rejects;
    }

    pub(super) fn assert_all_happened(&self) {
        for (name, count) in self.all() {
            assert!(count > 0, "{name} never happened");
        }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.all() {
            writeln!(f, "  {name}: {count}")?;
        }
        writeln!(f, "  violations: {}", self.violations)?;
        write!(f, "  rejects for unmoved partitions: {}", self.unmoved_rejects)
    }
}
