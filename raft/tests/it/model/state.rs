//! A state of the whole group, what may happen in it, and what is checked after each step.

use super::flight::{Entry, Flight};
use super::node::{Effects, Node};
use crate::group::{node, proposal};
use quorate_raft::{ConfChange, ConfOp, ReadId, Role, Transition};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// How often each thing may still happen: the bounds of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) campaigns: u8,
    pub(super) proposals: u8,
    pub(super) changes: u8,
    pub(super) reads: u8,
    pub(super) heartbeats: u8,
    pub(super) crashes: u8,
    /// Messages that arrive and are under way still.
    pub(super) repeats: u8,
    /// Disks that become slow: each of their writes becomes durable by an action of its own.
    pub(super) stalls: u8,
}

/// Of the membership changes of the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    /// v(1 2 3) → v(1 2 4) by a joint phase that ends by itself.
    Replace,
    /// Node 4 becomes a voter.
    Add,
    /// Node 3 is removed.
    Remove,
}

impl Change {
    fn ops(self) -> ConfChange {
        let (add, remove) = (ConfOp::Voter(node(4), None), ConfOp::Remove(node(3)));
        match self {
            Self::Replace => ConfChange::new(vec![add, remove]).transition(Transition::JointAuto),
            Self::Add => ConfChange::new(vec![add]),
            Self::Remove => ConfChange::new(vec![remove]),
        }
    }
}

/// Nodes are named by their place, ids are one more.
#[derive(Clone, PartialEq)]
pub(super) enum Action {
    /// The election timeout passes.
    Campaign(usize),
    Propose(usize),
    Change(usize, Change),
    Read(usize),
    /// The heartbeat interval passes.
    Heartbeat(usize),
    /// Everything but what is durable is lost; the node is back at once.
    Crash(usize),
    Stall(usize),
    /// The oldest write of a slow disk becomes durable.
    Sync(usize),
    Deliver(Arc<Flight>),
    /// Delivers, and the message stays under way.
    Repeat(Arc<Flight>),
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, at) = match self {
            Self::Deliver(flight) => return write!(f, "deliver {flight:?}"),
            Self::Repeat(flight) => return write!(f, "deliver, and keep, {flight:?}"),
            Self::Change(at, change) => return write!(f, "{change:?} at {}", at + 1),
            Self::Campaign(at) => ("campaign of", at),
            Self::Propose(at) => ("proposal at", at),
            Self::Read(at) => ("read at", at),
            Self::Heartbeat(at) => ("heartbeat of", at),
            Self::Crash(at) => ("crash of", at),
            Self::Stall(at) => ("slow disk at", at),
            Self::Sync(at) => ("write done at", at),
        };
        write!(f, "{what} {}", at + 1)
    }
}

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    ElectionSafety,
    LogMatching,
    LeaderCompleteness,
    StateMachineSafety,
    NotOnAQuorum,
    StaleRead,
    Invariant,
}

/// An entry that some leader committed, and the term in which it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Committed {
    entry: Entry,
    in_term: u64,
}

/// What nobody in the group knows, and the checks need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Ghost {
    leaders: BTreeMap<u64, u64>,
    /// From index 1 on.
    committed: Vec<Committed>,
    /// Applied by a leader: its client was told.
    acknowledged: u64,
    /// What was acknowledged when they began.
    reads: BTreeMap<ReadId, u64>,
    asked: u64,
}

#[derive(Clone)]
pub(super) struct State {
    pub(super) nodes: Vec<Arc<Node>>,
    /// A set, by content: the order of sending has no influence on that of arrival, and what is
    /// never delivered is lost.
    net: BTreeMap<u64, Arc<Flight>>,
    pub(super) left: Left,
    ghost: Ghost,
    pub(super) broken: Option<Broken>,
    /// Whether every committed entry must be durable at this many nodes.
    quorum: usize,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.nodes.iter().for_each(|node| node.digest.hash(h));
        self.net.keys().for_each(|flight| flight.hash(h));
        (&self.left, &self.ghost, &self.broken).hash(h);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let digests = |state: &Self| -> Vec<u64> { state.nodes.iter().map(|n| n.digest).collect() };
        digests(self) == digests(other)
            && self.net == other.net
            && (self.left, self.broken) == (other.left, other.broken)
            && self.ghost == other.ghost
    }
}

/// A counterexample is read from its actions; this is for what is left of it.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for node in &self.nodes {
            let status = node.raft.status();
            list.entry(&format_args!(
                "{}: {:?} term {} log to {} committed {}",
                status.id, status.role, status.hard.term, status.last, status.commit
            ));
        }
        list.entry(&self.broken).finish()
    }
}

impl State {
    /// `quorum`: at how many nodes a committed entry must be durable; 0 if that is not fixed.
    pub(super) fn new(nodes: Vec<Node>, quorum: usize) -> Self {
        let count = nodes.len();
        let mut state = Self {
            nodes: nodes.into_iter().map(Arc::new).collect(),
            net: BTreeMap::new(),
            left: Left::default(),
            ghost: Ghost::default(),
            broken: None,
            quorum,
        };
        (0..count).for_each(|at| state.step(at, |_, _| {}));
        state
    }

    /// What may happen next. Terms are bounded by `terms_max`.
    pub(super) fn actions(&self, terms_max: u64, changes: &[Change], out: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        let left = &self.left;
        for (at, node) in self.nodes.iter().enumerate() {
            let progress = node.raft.progress();
            let leads = node.raft.role() == Role::Leader;
            let mut may = |is: bool, action: Action| {
                if is {
                    out.push(action);
                }
            };
            let voter = node.raft.membership().is_voter(node.raft.id());
            let campaigns = left.campaigns > 0 && progress.term.value() < terms_max;
            may(campaigns && voter && !leads, Action::Campaign(at));
            may(left.proposals > 0 && leads, Action::Propose(at));
            for change in changes {
                may(left.changes > 0 && leads, Action::Change(at, *change));
            }
            may(left.reads > 0 && node.raft.leader().is_some(), Action::Read(at));
            may(left.heartbeats > 0 && leads, Action::Heartbeat(at));
            let forgets = progress.term.value() > 0;
            may(left.crashes > 0 && forgets, Action::Crash(at));
            may(left.stalls > 0 && !node.slow, Action::Stall(at));
            may(!node.unsynced.is_empty(), Action::Sync(at));
        }
        for flight in self.net.values() {
            out.push(Action::Deliver(Arc::clone(flight)));
            if left.repeats > 0 {
                out.push(Action::Repeat(Arc::clone(flight)));
            }
        }
    }

    /// The state after `action`; none if it changes nothing.
    pub(super) fn after(&self, action: &Action, restart: impl Fn(&Node) -> Node) -> Option<Self> {
        let mut next = self.clone();
        let at = match action {
            Action::Deliver(flight) | Action::Repeat(flight) => next.deliver(flight, action)?,
            Action::Campaign(at) => {
                next.left.campaigns -= 1;
                next.step(*at, |node, _| {
                    let _refused = node.raft.campaign(node.now);
                });
                *at
            }
            Action::Propose(at) => {
                let data = format!("{}", next.left.proposals);
                next.left.proposals -= 1;
                next.step(*at, |node, _| {
                    drop(node.raft.propose(node.now, proposal(&[&data])));
                });
                *at
            }
            Action::Change(at, change) => {
                next.left.changes -= 1;
                next.step(*at, |node, _| {
                    drop(node.raft.propose_conf(node.now, &change.ops(), None));
                });
                *at
            }
            Action::Read(at) => {
                next.read(*at);
                *at
            }
            Action::Heartbeat(at) => {
                next.left.heartbeats -= 1;
                next.step(*at, |node, _| node.heartbeat());
                *at
            }
            Action::Crash(at) => {
                next.left.crashes -= 1;
                next.step(*at, |node, _| *node = restart(node));
                *at
            }
            Action::Stall(at) => {
                next.left.stalls -= 1;
                next.step(*at, |node, _| node.slow = true);
                *at
            }
            Action::Sync(at) => {
                next.step(*at, |node, effects| {
                    let _any = node.sync(effects);
                });
                *at
            }
        };
        let same = next.nodes[at].digest == self.nodes[at].digest && next.net == self.net;
        (!same || next.broken.is_some()).then_some(next)
    }

    fn deliver(&mut self, flight: &Flight, action: &Action) -> Option<usize> {
        let at = usize::try_from(flight.to).unwrap() - 1;
        let before = (self.nodes[at].digest, self.net.len());
        self.step(at, |node, _| node.hand(flight.from, flight.message.clone()));
        // Like a loss, which is to deliver it never.
        let had_effect = before != (self.nodes[at].digest, self.net.len());
        if !had_effect && self.broken.is_none() {
            return None;
        }
        if matches!(action, Action::Repeat(_)) {
            self.left.repeats -= 1;
        } else {
            self.net.remove(&flight.digest);
        }
        Some(at)
    }

    fn read(&mut self, at: usize) {
        self.left.reads -= 1;
        self.ghost.asked += 1;
        let id = ReadId::new(self.ghost.asked);
        self.ghost.reads.insert(id, self.ghost.acknowledged);
        let mut refused = false;
        self.step(at, |node, _| refused = node.raft.read(node.now, id).is_err());
        if refused {
            self.ghost.reads.remove(&id);
        }
    }

    /// Does something at one node, and what follows from it; then checks.
    fn step(&mut self, at: usize, act: impl FnOnce(&mut Node, &mut Effects)) {
        let mut effects = Effects::default();
        let node = Arc::make_mut(&mut self.nodes[at]);
        act(node, &mut effects);
        node.drain(&mut effects);
        for flight in effects.sent {
            self.net.insert(flight.digest, Arc::new(flight));
        }
        self.forget_dead_messages();
        self.check(at);
        for done in effects.reads {
            let begun = self.ghost.reads.remove(&done.id).unwrap_or(0);
            if done.result.is_ok_and(|index| index.value() < begun) {
                self.broken = Some(Broken::StaleRead);
            }
        }
    }

    /// A term that is durable never falls again, and messages of older terms are dropped unseen
    /// (without `PreVote` and `CheckQuorum`, R3).
    fn forget_dead_messages(&mut self) {
        let nodes = &self.nodes;
        self.net.retain(|_, flight| {
            let durable = nodes[usize::try_from(flight.to).unwrap() - 1].disk.hard.term;
            let term = flight.message.term;
            term.value() == 0 || term >= durable
        });
    }

    fn check(&mut self, at: usize) {
        let node = Arc::clone(&self.nodes[at]);
        if node.raft.check_invariants().is_err() || node.raft.stopped().is_some() {
            self.broken = Some(Broken::Invariant);
        }
        if node.raft.role() == Role::Leader {
            self.check_leader(&node);
        }
        self.check_commit(&node);
        let others = self.nodes.iter().enumerate().filter(|(i, _)| *i != at);
        if others.map(|(_, other)| other).any(|other| !logs_match(&node, other)) {
            self.broken = Some(Broken::LogMatching);
        }
    }

    fn check_leader(&mut self, node: &Node) {
        let (term, id) = (node.raft.progress().term.value(), node.raft.id().value());
        if *self.ghost.leaders.entry(term).or_insert(id) != id {
            self.broken = Some(Broken::ElectionSafety);
        }
        let start = node.handed.start().index.value();
        let older = self.ghost.committed.iter().filter(|c| c.in_term < term);
        for committed in older.filter(|c| c.entry.id.index.value() > start) {
            if node.entry(committed.entry.id.index.value()) != Some(committed.entry) {
                self.broken = Some(Broken::LeaderCompleteness);
            }
        }
        let applied = node.raft.progress().applied.value();
        self.ghost.acknowledged = self.ghost.acknowledged.max(applied);
    }

    /// What this node takes for committed is what everyone did, and on the disks of a quorum.
    fn check_commit(&mut self, node: &Node) {
        let in_term = node.raft.progress().term.value();
        for index in 1..=node.raft.commit().value() {
            let place = usize::try_from(index - 1).unwrap();
            let known = self.ghost.committed.get(place).copied();
            match (node.entry(index), known) {
                (Some(entry), Some(known)) if entry != known.entry => {
                    self.broken = Some(Broken::StateMachineSafety);
                }
                (Some(entry), None) => {
                    let holds = |n: &&Arc<Node>| n.disk.entry(index) == Some(entry);
                    if self.nodes.iter().filter(holds).count() < self.quorum {
                        self.broken = Some(Broken::NotOnAQuorum);
                    }
                    self.ghost.committed.push(Committed { entry, in_term });
                }
                // Only a snapshot of what was committed may hide it.
                (None, None) => self.broken = Some(Broken::StateMachineSafety),
                _ => {}
            }
        }
    }

    /// Delivers everything, oldest term first, until nothing has an effect any more.
    pub(super) fn settle(mut self) -> Self {
        while let Some(next) = self.net.values().find_map(|flight| {
            let mut next = self.clone();
            next.deliver(flight, &Action::Deliver(Arc::clone(flight))).map(|_| next)
        }) {
            self = next;
        }
        self.net.clear();
        self
    }

    /// For the beginning of a model: does this, then everything that follows.
    pub(super) fn then(mut self, at: usize, act: impl FnOnce(&mut Node)) -> Self {
        self.step(at, |node, _| act(node));
        assert_eq!(self.broken, None);
        self.settle()
    }
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// Logs that hold the same (term, index) are the same up to there.
fn logs_match(a: &Node, b: &Node) -> bool {
    let from = a.handed.start().index.max(b.handed.start().index).value() + 1;
    let to = a.handed.last().min(b.handed.last());
    let mut agree = false;
    for index in (from..=to).rev() {
        let (Some(a), Some(b)) = (a.entry(index), b.entry(index)) else { continue };
        agree |= a.id == b.id;
        if agree && a != b {
            return false;
        }
    }
    true
}
