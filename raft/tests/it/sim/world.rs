//! The world: nodes, their disks, the network between them, and the order in which things happen.

mod happenings;

use super::checks::{Counters, Observer};
use super::disk::{Disk, State};
use super::faults::{Draw, Plan};
use bytes::{Bytes, BytesMut};
use quorate_clocks::Monotonic;
use quorate_raft::{
    Append, AppendToken, Apply, Body, Config, Envelope, GroupId, LoadId, LogId, LogIndex,
    Membership, Message, Output, Raft, ReadId, Role, SnapshotMeta, StepError, StoreError, Term,
    wire,
};
use quorate_transport::NodeId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

const GROUP: GroupId = GroupId::new(1);
/// Simulated time with faults, then without.
const CHAOS: Duration = Duration::from_millis(2_500);
const CALM: Duration = Duration::from_millis(1_500);
const CATCH_UP_ROUNDS: u32 = 20;
const STEPS_MAX: u64 = 400_000;
/// Applied entries between two snapshots, and how many stay in the log behind one.
const SNAPSHOT_EVERY: u64 = 60;
const TRAILING: u64 = 20;

type Step = Result<(), String>;

enum Event {
    Deliver {
        from: usize,
        to: usize,
        bytes: Option<Bytes>,
        snapshot: Option<Box<(Message, State)>>,
    },
    Synced {
        node: usize,
        life: u64,
    },
    Loaded {
        node: usize,
        life: u64,
        id: LoadId,
        from: LogIndex,
    },
    SnapshotSent {
        node: usize,
        life: u64,
        to: NodeId,
        ok: bool,
    },
    Client,
    Fault,
}

/// What a disk write releases when it is durable.
struct Unsynced {
    gated: Vec<Envelope>,
    token: Option<AppendToken>,
    install: Option<State>,
}

struct Node {
    id: NodeId,
    /// None while it is down.
    raft: Option<Raft>,
    life: u64,
    disk: Disk,
    unsynced: std::collections::VecDeque<Unsynced>,
    sync_done_at: Monotonic,
    state: State,
    commit: LogIndex,
    last: LogId,
    /// Proposals made here and not answered: where they stand.
    waiting: BTreeMap<LogIndex, Term>,
    reads: BTreeMap<ReadId, LogIndex>,
    /// Snapshot content on its way into the core.
    incoming: Option<State>,
}

pub(crate) struct World {
    now: Monotonic,
    draw: Draw,
    plan: Plan,
    config: Config,
    members: Membership,
    nodes: Vec<Node>,
    events: BinaryHeap<Reverse<(Monotonic, u64)>>,
    contents: BTreeMap<u64, Event>,
    scheduled: u64,
    /// Ordered pairs that hear nothing from each other.
    cut: BTreeSet<(usize, usize)>,
    calm: bool,
    observer: Observer,
    counters: Counters,
    /// Data that a client was told is applied.
    acknowledged: BTreeSet<Vec<u8>>,
    refused: BTreeSet<Vec<u8>>,
    requests: u64,
    out: Output,
}

impl World {
    /// One run. An error says what broke.
    pub(crate) fn campaign(seed: u64) -> Result<Counters, String> {
        let mut world = Self::new(seed);
        world.schedule(1_000, Event::Client);
        world.schedule(20_000, Event::Fault);
        world.run_until(Monotonic::ZERO.saturating_add(CHAOS))?;
        world.end_of_faults()?;
        world.run_until(world.now.saturating_add(CALM))?;
        world.must_serve()?;
        Ok(world.counters)
    }

    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ seed);
        let plan = Plan::draw(&mut draw);
        let ids: Vec<NodeId> = (1..=plan.nodes as u64).map(NodeId::new).collect();
        let members = Membership::of_voters(&ids);
        let config = Config::local()
            .election_timeout(Duration::from_millis(50))
            .heartbeat_interval(Duration::from_millis(10))
            .append_bytes_max(4 << 10)
            .inflight_messages_max(8)
            .inflight_bytes_max(32 << 10)
            .uncommitted_bytes_max(64 << 10)
            .apply_bytes_max(32 << 10)
            .log_cache_bytes(16 << 10)
            .pre_vote(draw.chance(800))
            .check_quorum(draw.chance(800))
            .build()
            .unwrap();
        let nodes = ids.iter().map(|id| Node::new(*id)).collect();
        let mut world = Self {
            now: Monotonic::ZERO,
            draw,
            plan,
            config,
            members,
            nodes,
            events: BinaryHeap::new(),
            contents: BTreeMap::new(),
            scheduled: 0,
            cut: BTreeSet::new(),
            calm: false,
            observer: Observer::default(),
            counters: Counters::default(),
            acknowledged: BTreeSet::new(),
            refused: BTreeSet::new(),
            requests: 0,
            out: Output::default(),
        };
        (0..world.nodes.len()).for_each(|i| world.start(i));
        world
    }

    fn schedule(&mut self, after_us: u64, event: Event) {
        let at = self.now.saturating_add(Duration::from_micros(after_us));
        self.schedule_at(at, event);
    }

    fn schedule_at(&mut self, at: Monotonic, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled)));
        self.contents.insert(self.scheduled, event);
    }

    fn run_until(&mut self, end: Monotonic) -> Step {
        for step in 0.. {
            if step > STEPS_MAX {
                return Err(format!("no end after {STEPS_MAX} steps"));
            }
            let event_at = self.events.peek().map_or(Monotonic::FAR_FUTURE, |Reverse((at, _))| *at);
            let timers =
                self.nodes.iter().enumerate().filter_map(|(i, n)| Some((n.wakes_at()?, i)));
            let (timer_at, i) = timers.min().unwrap_or((Monotonic::FAR_FUTURE, 0));
            let at = event_at.min(timer_at);
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            if timer_at <= event_at {
                let now = self.now;
                if let Some(raft) = &mut self.nodes[i].raft {
                    raft.handle_timeout(now);
                }
                self.after(i)?;
            } else if let Some(Reverse((_, id))) = self.events.pop() {
                let event = self.contents.remove(&id).expect("scheduled events have content");
                self.happen(event)?;
            }
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Step {
        match event {
            Event::Deliver { from, to, bytes, snapshot } => self.deliver(from, to, bytes, snapshot),
            Event::Synced { node, life } if self.nodes[node].life == life => self.synced(node),
            Event::Loaded { node, life, id, from } if self.nodes[node].life == life => {
                self.loaded(node, id, from)
            }
            Event::SnapshotSent { node, life, to, ok } if self.nodes[node].life == life => {
                let now = self.now;
                if let Some(raft) = &mut self.nodes[node].raft {
                    raft.snapshot_sent(now, to, ok);
                }
                self.after(node)
            }
            Event::Client => self.client(),
            Event::Fault => self.fault(),
            // Of a life that ended.
            _ => Ok(()),
        }
    }

    // --- one node ------------------------------------------------------------------------------

    fn start(&mut self, i: usize) {
        let seed = self.draw.word();
        let (now, config) = (self.now, self.config.clone());
        let node = &mut self.nodes[i];
        let boot = node.disk.boot(node.id, GROUP, &self.members);
        node.state =
            node.disk.durable.snapshot.as_ref().map(|(_, s)| s.clone()).unwrap_or_default();
        node.commit = boot.hard.commit;
        node.last = boot.last;
        node.raft = Some(Raft::new(config, boot, now, seed).expect("the disk holds a legal log"));
    }

    fn crash(&mut self, i: usize) {
        let pending = self.nodes[i].disk.pending();
        let kept = if pending > 0 { self.draw.pick(pending + 1) } else { 0 };
        let node = &mut self.nodes[i];
        if node.raft.as_ref().is_some_and(|r| r.role() == Role::Leader) {
            self.counters.count("crash of a leader");
        }
        let lost = node.disk.crash(kept);
        node.raft = None;
        node.life += 1;
        node.unsynced.clear();
        node.waiting.clear();
        node.reads.clear();
        node.incoming = None;
        node.sync_done_at = Monotonic::ZERO;
        self.counters.count("crash");
        for _ in 0..lost {
            self.counters.count("unsynced write lost");
        }
    }

    /// Does what the core wants and checks everything. Called after every input.
    fn after(&mut self, i: usize) -> Step {
        loop {
            let Some(raft) = &mut self.nodes[i].raft else { return Ok(()) };
            if let Err(broken) = raft.check_invariants() {
                return Err(format!("node {}: {broken}", self.nodes[i].id));
            }
            if !raft.has_output() {
                break;
            }
            let mut out = std::mem::take(&mut self.out);
            raft.drain(&mut out);
            let done = self.carry_out(i, &mut out);
            self.out = out;
            done?;
        }
        self.check(i)
    }

    fn carry_out(&mut self, i: usize, out: &mut Output) -> Step {
        for block in out.append.iter().flat_map(|append| &append.blocks) {
            self.observer.on_append(block)?;
        }
        self.check(i)?;
        if out.soft.is_some_and(|s| s.role == Role::Leader) {
            self.on_leader(i)?;
        }
        for envelope in out.send.drain(..) {
            self.transmit(i, envelope)?;
        }
        if let Some(append) = out.append.take() {
            self.write(i, append)?;
        }
        if let Some(apply) = out.apply.take() {
            self.apply(i, &apply)?;
        }
        for done in out.reads.drain(..) {
            let Some(needed) = self.nodes[i].reads.remove(&done.id) else {
                return Err(format!("read {} answered twice or never asked", done.id));
            };
            if let Ok(index) = done.result {
                self.counters.count("read confirmed");
                if index < needed {
                    return Err(format!("read sees {index}, but {needed} was acknowledged before"));
                }
            }
        }
        for load in out.load.drain(..) {
            self.counters.count("entry loaded from disk");
            let after = self.draw.between(50, 2_000);
            let life = self.nodes[i].life;
            self.schedule(after, Event::Loaded { node: i, life, id: load.id, from: load.from });
        }
        Ok(())
    }

    fn on_leader(&mut self, i: usize) -> Step {
        let raft = self.nodes[i].raft.as_ref().expect("it just spoke");
        let term = raft.status().hard.term;
        let start = raft.status().first;
        let holds = |id: LogId| id.index < start || raft.term_of(id.index) == Some(id.term);
        if self.observer.on_leader(self.nodes[i].id, term, holds)? {
            self.counters.count("leader elected");
            if term > Term::new(1) && !self.observer.has_leader(Term::new(term.value() - 1)) {
                self.counters.count("term with no winner");
            }
        }
        Ok(())
    }

    fn write(&mut self, i: usize, mut append: Append) -> Step {
        for block in &append.blocks {
            if block.first() <= self.nodes[i].last.index {
                self.counters.count("entry replaced");
            }
            self.nodes[i].last = block.last();
        }
        let install = match &append.install {
            Some(meta) => {
                self.counters.count("snapshot installed");
                self.nodes[i].last = meta.last;
                let state = self.nodes[i].incoming.take();
                Some(state.ok_or("a snapshot is installed that was not received")?)
            }
            None => None,
        };
        let (low, high) = self.plan.sync;
        let mut took = self.draw.between(low, high);
        // Not one stall behind another: the backlog would outlast the calm phase.
        let idle = self.nodes[i].sync_done_at <= self.now;
        if !self.calm && idle && self.draw.chance(self.plan.stall) {
            self.counters.count("disk stall");
            took *= 100;
        }
        let node = &mut self.nodes[i];
        node.disk.write(&append, install.clone());
        let gated = std::mem::take(&mut append.gated);
        node.unsynced.push_back(Unsynced { gated, token: append.token, install });
        // One disk: writes complete in order.
        let begin = node.sync_done_at.max(self.now);
        node.sync_done_at = begin.saturating_add(Duration::from_micros(took));
        let (at, life) = (node.sync_done_at, node.life);
        self.schedule_at(at, Event::Synced { node: i, life });
        Ok(())
    }

    fn synced(&mut self, i: usize) -> Step {
        let node = &mut self.nodes[i];
        node.disk.sync_one();
        let done = node.unsynced.pop_front().expect("a completion for each write");
        if let Some(state) = done.install {
            node.state = state;
        }
        for envelope in done.gated {
            if envelope.to == self.nodes[i].id {
                let (now, me) = (self.now, self.nodes[i].id);
                let raft = self.nodes[i].raft.as_mut().expect("completions of this life");
                raft.handle_message(now, me, envelope.message).map_err(|e| e.to_string())?;
            } else {
                self.transmit(i, envelope)?;
            }
        }
        if let (Some(raft), Some(token)) = (&mut self.nodes[i].raft, done.token) {
            raft.appended(self.now, token);
        }
        self.after(i)
    }

    fn apply(&mut self, i: usize, apply: &Apply) -> Step {
        let now = self.now;
        let node = &mut self.nodes[i];
        for entry in apply.entries() {
            let expected = node.state.len() as u64 + 1;
            if entry.id.index.value() != expected {
                return Err(format!("node {} applies {} instead of {expected}", node.id, entry.id));
            }
            if !node.disk.durable.holds(entry.id) {
                return Err(format!(
                    "node {} applies {} before its disk has it",
                    node.id, entry.id
                ));
            }
            node.state.push((entry.id, entry.data.to_vec()));
            if let Some(term) = node.waiting.remove(&entry.id.index) {
                if term == entry.id.term {
                    self.acknowledged.insert(entry.data.to_vec());
                    self.counters.count("proposal acknowledged");
                } else {
                    self.counters.count("proposal superseded");
                }
            }
        }
        if let Some(raft) = &mut node.raft {
            raft.applied(now, apply.token);
        }
        self.observer.check_applied(self.nodes[i].id, &self.nodes[i].state)?;
        self.maybe_snapshot(i);
        Ok(())
    }

    fn maybe_snapshot(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        let Some((last, _)) = node.state.last() else { return };
        let newest = node.disk.durable.snapshot.as_ref().map_or(0, |(m, _)| m.last.index.value());
        let durable = node.disk.durable.last().index;
        if last.index.value() < newest + SNAPSHOT_EVERY || last.index > durable {
            return;
        }
        let meta = SnapshotMeta::new(*last, self.members.clone());
        let raft = node.raft.as_mut().expect("it just applied");
        raft.snapshot_created(meta.clone());
        // Sometimes without regard to laggards, so that they need the snapshot.
        let wanted = LogIndex::new(last.index.value() - TRAILING);
        let to = if self.draw.chance(500) { raft.compactable(wanted, true) } else { wanted };
        let Some(term) = raft.term_of(to).filter(|_| to < durable) else { return };
        let to = LogId::new(term.value(), to.value());
        raft.compacted(to.index);
        node.disk.compact(meta, node.state.clone(), to);
        self.counters.count("snapshot made");
    }

    fn loaded(&mut self, i: usize, id: LoadId, from: LogIndex) -> Step {
        let node = &mut self.nodes[i];
        let log = &node.disk.durable;
        let gone = from <= log.start.index;
        let blocks =
            log.blocks.iter().filter(|b| b.last().index >= from).take(3).cloned().collect();
        let result =
            if gone { Err(StoreError::Compacted { to: log.start.index }) } else { Ok(blocks) };
        if let Some(raft) = &mut node.raft {
            raft.loaded(self.now, id, result);
        }
        self.after(i)
    }

    fn check(&mut self, i: usize) -> Step {
        let Some(raft) = &self.nodes[i].raft else { return Ok(()) };
        let (before, commit) = (self.nodes[i].commit, raft.commit());
        if commit < before {
            return Err(format!("node {}: commit index falls from {before}", self.nodes[i].id));
        }
        let known = self.observer.committed.len() as u64;
        let mut new = Vec::new();
        for index in before.value() + 1..=commit.value() {
            let index = LogIndex::new(index);
            let Some(term) = raft.term_of(index) else { continue }; // within a snapshot
            let id = LogId::new(term.value(), index.value());
            let data = self.observer.data(id).ok_or("an entry that nobody appended")?.to_vec();
            new.push((id, data));
        }
        if new.is_empty() && commit.value() > known {
            return Err(format!("commit {commit} without entries"));
        }
        let disks: Vec<_> = self.nodes.iter().map(|n| &n.disk.durable).collect();
        let count = self.observer.on_commit(self.nodes[i].id, &new, &disks)?;
        // Paper §5.4.2: only an entry of the leader's own term is committed by counting replicas;
        // what stands before it follows. Everyone else learns of commits that are known already.
        let own_term = raft.status().hard.term;
        if let Some((id, _)) = new.last().filter(|(id, _)| count > 0 && id.term != own_term) {
            return Err(format!("{id} is committed by counting replicas in term {own_term}"));
        }
        (0..count).for_each(|_| self.counters.count("entry committed"));
        self.nodes[i].commit = commit;
        Ok(())
    }

    // --- network -------------------------------------------------------------------------------

    fn transmit(&mut self, i: usize, envelope: Envelope) -> Step {
        let to = usize::try_from(envelope.to.value()).unwrap() - 1;
        if let Body::VoteResp { granted: true, .. } = envelope.message.body {
            let (me, disk) = (self.nodes[i].id, &self.nodes[i].disk.durable);
            self.observer.on_vote(me, envelope.message.term, envelope.to, disk)?;
        }
        if matches!(envelope.message.body, Body::TimeoutNow) {
            self.counters.count("leadership moved");
        }
        if let Body::Snapshot(meta) = &envelope.message.body {
            let meta = meta.clone();
            return self.transmit_snapshot(i, to, envelope, &meta);
        }
        if !self.calm && self.draw.chance(self.plan.lose) {
            self.counters.count("message lost");
            return Ok(());
        }
        let pieces = wire::encode(&envelope.message, 0).ok_or("a message without a wire form")?;
        let mut bytes = BytesMut::new();
        pieces.iter().for_each(|p| bytes.extend_from_slice(p));
        let bytes = bytes.freeze();
        let copies = if !self.calm && self.draw.chance(self.plan.duplicate) { 2 } else { 1 };
        if copies == 2 {
            self.counters.count("message duplicated");
        }
        for _ in 0..copies {
            let after = self.delay();
            let bytes = Some(bytes.clone());
            self.schedule(after, Event::Deliver { from: i, to, bytes, snapshot: None });
        }
        Ok(())
    }

    fn delay(&mut self) -> u64 {
        let (low, high) = self.plan.delay;
        let delay = self.draw.between(low, high);
        if !self.calm && self.draw.chance(self.plan.slow) {
            self.counters.count("message reordered");
            return delay * 20;
        }
        delay
    }

    fn transmit_snapshot(
        &mut self,
        i: usize,
        to: usize,
        envelope: Envelope,
        meta: &SnapshotMeta,
    ) -> Step {
        let count = usize::try_from(meta.last.index.value()).unwrap();
        let state = self.nodes[i].state.get(..count).ok_or("snapshot of what was not applied")?;
        let state = state.to_vec();
        let lost = !self.calm && self.draw.chance(self.plan.lose * 2);
        let (after, life, peer) = (self.delay() * 3, self.nodes[i].life, envelope.to);
        self.schedule(after, Event::SnapshotSent { node: i, life, to: peer, ok: !lost });
        if !lost {
            let snapshot = Some(Box::new((envelope.message, state)));
            self.schedule(after, Event::Deliver { from: i, to, bytes: None, snapshot });
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        from: usize,
        to: usize,
        bytes: Option<Bytes>,
        snapshot: Option<Box<(Message, State)>>,
    ) -> Step {
        if self.cut.contains(&(from, to)) {
            self.counters.count("message cut by a partition");
            return Ok(());
        }
        let (now, sender) = (self.now, self.nodes[from].id);
        let limits = *self.config.limits();
        let node = &mut self.nodes[to];
        let Some(raft) = &mut node.raft else { return Ok(()) };
        let message = match (bytes, snapshot) {
            (Some(bytes), _) => wire::decode(&bytes, &limits).map_err(|e| e.to_string())?.0,
            (None, Some(snapshot)) => {
                node.incoming = Some(snapshot.1);
                snapshot.0
            }
            (None, None) => return Err("an empty delivery".to_owned()),
        };
        match raft.handle_message(now, sender, message) {
            Ok(()) => self.after(to),
            Err(StepError::Stopped) => {
                Err(format!("node {} stopped: {:?}", node.id, raft.stopped()))
            }
            Err(other) => Err(format!("node {} refuses a message: {other}", node.id)),
        }
    }
}

impl Node {
    fn new(id: NodeId) -> Self {
        Self {
            id,
            raft: None,
            life: 0,
            disk: Disk::default(),
            unsynced: std::collections::VecDeque::new(),
            sync_done_at: Monotonic::ZERO,
            state: State::new(),
            commit: LogIndex::ZERO,
            last: LogId::ZERO,
            waiting: BTreeMap::new(),
            reads: BTreeMap::new(),
            incoming: None,
        }
    }

    fn wakes_at(&self) -> Option<Monotonic> {
        self.raft.as_ref()?.poll_timeout()
    }
}
