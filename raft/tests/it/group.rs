//! A group of bare cores whose every message, write and tick is in the test's hand.

use quorate_clocks::Monotonic;
use quorate_raft::{
    Append, Apply, Block, Body, Boot, ConfChange, ConfError, Config, ConfigDraft, EntryBody,
    EntryKind, GroupId, Invariant, Limits, Load, LogId, LogIndex, Membership, Message, Output,
    Proposal, ProposeError, Proposed, Raft, ReadDone, ReadId, Role, SnapshotMeta, StepError, Term,
    TermRun,
};
use quorate_transport::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub(crate) const GROUP: GroupId = GroupId::new(1);
/// The election timeout of these groups; heartbeats are a tenth.
pub(crate) const T: Duration = Duration::from_secs(1);

pub(crate) const fn node(id: u64) -> NodeId {
    NodeId::new(id)
}

pub(crate) fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId::new).collect()
}

pub(crate) const fn index(n: u64) -> LogIndex {
    LogIndex::new(n)
}

pub(crate) const fn message(term: u64, body: Body) -> Message {
    Message::new(GROUP, Term::new(term), body)
}

/// A heartbeat that asks for no promise, and its answer.
pub(crate) const fn heartbeat(commit: u64, read: u64) -> Body {
    Body::Heartbeat { commit: index(commit), read, stamp: Monotonic::ZERO }
}

pub(crate) const fn heartbeat_resp(read: u64) -> Body {
    Body::HeartbeatResp { read, stamp: Monotonic::ZERO, promise: Duration::ZERO }
}

pub(crate) fn draft() -> ConfigDraft {
    Config::lan().election_timeout(T)
}

/// A block of `term` behind `prev`, one entry per text.
pub(crate) fn block(term: u64, prev: LogId, entries: &[&str]) -> Block {
    proposal(entries).stamp(GROUP, Term::new(term), prev, 0)
}

pub(crate) fn proposal(entries: &[&str]) -> Proposal {
    let mut p = Proposal::new(&Limits::default());
    entries.iter().for_each(|data| p.push(EntryBody::Normal(data.as_bytes())).unwrap());
    p
}

/// A start with these blocks in the log.
pub(crate) fn boot(id: u64, members: &[u64], term: u64, blocks: &[Block]) -> Boot {
    let mut boot = Boot::fresh(node(id), GROUP, Membership::of_voters(&nodes(members)));
    boot.hard.term = Term::new(term);
    boot.last = blocks.last().map_or(LogId::ZERO, Block::last);
    for block in blocks {
        if boot.runs.last().is_none_or(|run| run.term != block.term()) {
            boot.runs.push(TermRun::new(block.first(), block.term()));
        }
    }
    boot.blocks = blocks.to_vec();
    boot
}

pub(crate) struct Member {
    pub(crate) raft: Raft,
    /// Writes that are not durable yet; empty unless the group holds them back.
    pub(crate) unsynced: VecDeque<Append>,
    /// Every block that was handed to the disk.
    pub(crate) written: Vec<Block>,
    /// What the machine was not given yet; empty unless the group makes it lag.
    pub(crate) unapplied: VecDeque<Apply>,
    pub(crate) applied: Vec<(LogId, String)>,
    pub(crate) reads: Vec<ReadDone>,
    pub(crate) loads: Vec<Load>,
    pub(crate) snapshot_wanted: bool,
}

impl Member {
    fn new(raft: Raft) -> Self {
        Self {
            raft,
            unsynced: VecDeque::new(),
            written: Vec::new(),
            unapplied: VecDeque::new(),
            applied: Vec::new(),
            reads: Vec::new(),
            loads: Vec::new(),
            snapshot_wanted: false,
        }
    }

    /// The machine takes all that it was handed.
    fn apply(&mut self, now: Monotonic) {
        while let Some(apply) = self.unapplied.pop_front() {
            let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
            self.applied.extend(apply.entries().map(|e| (e.id, text(e.data))));
            for e in apply.entries().filter(|e| e.kind == EntryKind::Conf) {
                let change = ConfChange::decode(e.data).unwrap();
                self.raft.activate(now, e.id.index, &change).unwrap();
            }
            self.raft.applied(now, apply.token);
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) message: Message,
}

pub(crate) struct Group {
    pub(crate) now: Monotonic,
    pub(crate) members: BTreeMap<u64, Member>,
    /// Messages under way, in the order in which they were sent.
    pub(crate) flights: VecDeque<Flight>,
    /// Ordered pairs between which nothing arrives.
    pub(crate) cut: BTreeSet<(u64, u64)>,
    /// These nodes' disks do not finish their writes.
    pub(crate) stalled: BTreeSet<u64>,
    /// These nodes' machines do not finish.
    pub(crate) lagging: BTreeSet<u64>,
    /// Messages that were refused on arrival.
    pub(crate) refused: Vec<StepError>,
    /// A snapshot that is wanted is made at once.
    pub(crate) makes_snapshots: bool,
}

impl Group {
    pub(crate) fn new(ids: &[u64]) -> Self {
        Self::with(&draft().build().unwrap(), ids.iter().map(|id| boot(*id, ids, 0, &[])).collect())
    }

    /// A group that starts from these boots.
    pub(crate) fn with(config: &Config, boots: Vec<Boot>) -> Self {
        let start = |boot: Boot| {
            let id = boot.id.value();
            let raft = Raft::new(config.clone(), boot, Monotonic::ZERO, id).unwrap();
            (id, Member::new(raft))
        };
        Self {
            now: Monotonic::ZERO,
            members: boots.into_iter().map(start).collect(),
            flights: VecDeque::new(),
            cut: BTreeSet::new(),
            stalled: BTreeSet::new(),
            lagging: BTreeSet::new(),
            refused: Vec::new(),
            makes_snapshots: false,
        }
    }

    /// Another core joins; it is driven like the rest.
    pub(crate) fn adopt(&mut self, id: u64, raft: Raft) {
        self.members.insert(id, Member::new(raft));
    }

    pub(crate) fn at(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&id).unwrap()
    }

    pub(crate) fn raft(&mut self, id: u64) -> &mut Raft {
        &mut self.at(id).raft
    }

    pub(crate) fn commit(&self, id: u64) -> u64 {
        self.members[&id].raft.commit().value()
    }

    pub(crate) fn last(&self, id: u64) -> LogId {
        self.members[&id].raft.last()
    }

    pub(crate) fn role(&self, id: u64) -> Role {
        self.members[&id].raft.role()
    }

    pub(crate) fn term(&self, id: u64) -> u64 {
        self.members[&id].raft.progress().term.value()
    }

    /// Carries out what the core of `id` wants; messages go under way.
    pub(crate) fn drain(&mut self, id: u64) {
        let mut out = Output::default();
        while self.at(id).raft.has_output() {
            let now = self.now;
            let member = self.members.get_mut(&id).unwrap();
            member.raft.drain(&mut out);
            check(&member.raft);
            for envelope in out.send.drain(..) {
                let to = envelope.to.value();
                self.flights.push_back(Flight { from: id, to, message: envelope.message });
            }
            member.reads.append(&mut out.reads);
            member.loads.append(&mut out.load);
            member.snapshot_wanted |= out.snapshot_wanted;
            let wanted = out.snapshot_wanted && self.makes_snapshots;
            member.unapplied.extend(out.apply.take());
            if !self.lagging.contains(&id) {
                member.apply(now);
            }
            if wanted {
                let raft = &mut member.raft;
                let at = raft.progress().applied;
                let last = LogId::new(raft.term_of(at).unwrap().value(), at.value());
                let meta = SnapshotMeta::new(last, raft.membership_at(at).clone());
                raft.snapshot_created(meta);
            }
            let append = out.append.take();
            member.written.extend(append.iter().flat_map(|a| a.blocks.iter().cloned()));
            member.unsynced.extend(append);
            if !self.stalled.contains(&id) {
                self.sync(id);
            }
        }
    }

    /// The machine of `id` catches up with all there is.
    pub(crate) fn catch_up(&mut self, id: u64) {
        self.lagging.remove(&id);
        let now = self.now;
        self.at(id).apply(now);
        self.drain(id);
    }

    /// Every write of `id` becomes durable; does not drain.
    pub(crate) fn sync(&mut self, id: u64) {
        while let Some(append) = self.at(id).unsynced.pop_front() {
            self.complete(id, append);
        }
    }

    /// One write of `id` is durable.
    pub(crate) fn complete(&mut self, id: u64, append: Append) {
        let now = self.now;
        for envelope in append.gated {
            let to = envelope.to.value();
            if to == id {
                match self.raft(id).handle_message(now, node(id), envelope.message) {
                    // No member any more, its own word counts no more.
                    Ok(()) | Err(StepError::UnknownPeer { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            } else {
                self.flights.push_back(Flight { from: id, to, message: envelope.message });
            }
        }
        if let Some(token) = append.token {
            self.raft(id).appended(now, token);
        }
    }

    /// Hands a message to `to`, whoever sent it, and lets `to` react.
    pub(crate) fn hand(&mut self, from: u64, to: u64, message: Message) -> Result<(), StepError> {
        let now = self.now;
        let result = self.raft(to).handle_message(now, node(from), message);
        self.drain(to);
        result
    }

    /// Delivers the oldest message under way. False if there was none.
    pub(crate) fn deliver_one(&mut self) -> bool {
        let Some(flight) = self.flights.pop_front() else { return false };
        let Flight { from, to, message } = flight;
        if !self.cut.contains(&(from, to)) && self.members.contains_key(&to) {
            let result = self.hand(from, to, message);
            self.refused.extend(result.err());
        }
        true
    }

    /// Drains everyone and delivers until nothing is under way.
    pub(crate) fn settle(&mut self) {
        self.drain_all();
        while self.deliver_one() {}
    }

    pub(crate) fn drain_all(&mut self) {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        ids.into_iter().for_each(|id| self.drain(id));
    }

    /// The messages under way from `from` to `to`, removed.
    pub(crate) fn take(&mut self, from: u64, to: u64) -> Vec<Message> {
        let (taken, left) =
            self.flights.drain(..).partition(|f: &Flight| f.from == from && f.to == to);
        self.flights = left;
        let taken: VecDeque<Flight> = taken;
        taken.into_iter().map(|f| f.message).collect()
    }

    /// Lets `id` win an election, and everyone learn of it.
    pub(crate) fn elect(&mut self, id: u64) {
        let now = self.now;
        // Followers that heard a leader a moment ago would not vote.
        for member in self.members.values_mut() {
            let _unless_there_is_none = member.raft.forget_leader();
        }
        self.raft(id).campaign(now).unwrap();
        self.settle();
        assert_eq!(self.role(id), Role::Leader);
    }

    pub(crate) fn propose(&mut self, id: u64, data: &str) -> Result<LogId, ProposeError> {
        let now = self.now;
        let proposed = self.raft(id).propose(now, proposal(&[data])).map_err(|(e, _)| e)?;
        self.drain(id);
        match proposed {
            Proposed::Appended { term, range } => {
                Ok(LogId::new(term.value(), range.start().value()))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Asks `id` for a membership change; returns where it stands.
    pub(crate) fn change(&mut self, id: u64, change: &ConfChange) -> Result<u64, ConfError> {
        let now = self.now;
        let proposed = self.raft(id).propose_conf(now, change, None)?;
        self.drain(id);
        match proposed {
            Proposed::Appended { range, .. } => Ok(range.start().value()),
            other => panic!("{other:?}"),
        }
    }

    /// The voters of `id`'s membership, and of its outgoing half.
    pub(crate) fn voters(&self, id: u64) -> (Vec<u64>, Vec<u64>) {
        let m = self.members[&id].raft.membership();
        let ids = |list: &[NodeId]| list.iter().map(|id| id.value()).collect();
        (ids(&m.voters), ids(&m.outgoing))
    }

    pub(crate) fn read(&mut self, id: u64, read: u64) {
        let now = self.now;
        self.raft(id).read(now, ReadId::new(read)).unwrap();
        self.drain(id);
    }

    /// Time passes at `id` alone; what is due is done and the messages go under way.
    pub(crate) fn pass_at(&mut self, id: u64, time: Duration) {
        self.now = self.now.saturating_add(time);
        let now = self.now;
        self.raft(id).handle_timeout(now);
        self.drain(id);
    }

    /// Time passes for everyone in steps of a heartbeat; everything is delivered.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        while self.now < end {
            self.now = self.now.saturating_add(T / 10).min(end);
            let (now, ids): (_, Vec<u64>) = (self.now, self.members.keys().copied().collect());
            for id in ids {
                self.raft(id).handle_timeout(now);
                self.drain(id);
            }
            self.settle();
        }
    }

    /// Both directions between `a` and everyone in `others`.
    pub(crate) fn isolate(&mut self, a: u64, others: &[u64]) {
        for b in others {
            self.cut.extend([(a, *b), (*b, a)]);
        }
    }

    pub(crate) fn leaders(&self) -> Vec<u64> {
        let leads = |id: &u64| self.role(*id) == Role::Leader;
        self.members.keys().copied().filter(leads).collect()
    }
}

fn check(raft: &Raft) {
    let broken: Result<(), Invariant> = raft.check_invariants();
    assert_eq!(broken, Ok(()), "node {}", raft.id());
}

/// A snapshot of the state up to `last`, for a group of these voters.
pub(crate) fn snapshot(last: LogId, members: &[u64]) -> SnapshotMeta {
    SnapshotMeta::new(last, Membership::of_voters(&nodes(members)))
}
