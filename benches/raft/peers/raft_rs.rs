//! `raft` 0.7.0: three `RawNode`s with `MemStorage`, driven by the loop of its own example
//! (`single_mem_node`), without its logger.
//!
//! Settings: `max_size_per_msg` 1 MiB, which its documentation recommends (the default is one entry
//! a message); `batch_append` on, so that proposals of one round travel in one message; all else
//! as it comes. PreVote and CheckQuorum as in our presets; they cost nothing here.

use crate::applier::{Applier, Payloads};
use raft07::eraftpb::{ConfState, Entry, HardState, Message, MessageType};
use raft07::storage::MemStorage;
use raft07::{Config, RawNode, ReadState, StateRole};
use slog::{Discard, Logger, o};

/// How a round of several proposals is handed in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propose {
    /// `RawNode::propose` for each, as its examples do.
    Each,
    /// One `MsgPropose` with all of them, as forwarded proposals come.
    Together,
}

pub(crate) struct RawNodes {
    nodes: Vec<RawNode<MemStorage>>,
    inboxes: Vec<Vec<Message>>,
    arriving: Vec<Message>,
    pub(crate) appliers: Vec<Applier>,
    /// Messages between two nodes so far.
    pub(crate) messages: u64,
    pub(crate) read_states: Vec<ReadState>,
}

impl RawNodes {
    /// The first of them leads.
    pub(crate) fn new() -> Self {
        let logger = Logger::root(Discard, o!());
        let start = |id| {
            let storage = MemStorage::new_with_conf_state(ConfState::from((vec![1, 2, 3], vec![])));
            let config = Config {
                id,
                election_tick: 10,
                heartbeat_tick: 1,
                max_size_per_msg: 1 << 20,
                batch_append: true,
                pre_vote: true,
                check_quorum: true,
                ..Config::default()
            };
            RawNode::new(&config, storage, &logger).expect("a valid node")
        };
        let mut group = Self {
            nodes: [1, 2, 3].map(start).into(),
            inboxes: vec![Vec::new(), Vec::new(), Vec::new()],
            arriving: Vec::new(),
            appliers: vec![Applier::default(); 3],
            messages: 0,
            read_states: Vec::new(),
        };
        group.nodes[0].campaign().expect("a voter may campaign");
        group.settle();
        assert_eq!(group.nodes[0].raft.state, StateRole::Leader);
        group
    }

    fn deliver(&mut self, messages: Vec<Message>) {
        self.messages += messages.len() as u64;
        for message in messages {
            self.inboxes[message.to as usize - 1].push(message);
        }
    }

    fn apply(&mut self, i: usize, entries: &[Entry]) {
        // Empty ones are those with which leaders begin.
        let normal = entries.iter().filter(|entry| !entry.data.is_empty());
        normal.for_each(|entry| self.appliers[i].apply(&entry.data));
    }

    /// What the example's `on_ready` does.
    fn on_ready(&mut self, i: usize) {
        while self.nodes[i].has_ready() {
            let store = self.nodes[i].raft.raft_log.store.clone();
            let mut ready = self.nodes[i].ready();
            self.read_states.append(&mut ready.take_read_states());
            self.deliver(ready.take_messages());
            let committed = ready.take_committed_entries();
            self.apply(i, &committed);
            if !ready.entries().is_empty() {
                store.wl().append(ready.entries()).expect("memory takes everything");
            }
            if let Some(hard) = ready.hs() {
                let hard: HardState = hard.clone();
                store.wl().set_hardstate(hard);
            }
            self.deliver(ready.take_persisted_messages());
            let mut light = self.nodes[i].advance(ready);
            if let Some(commit) = light.commit_index() {
                store.wl().mut_hard_state().set_commit(commit);
            }
            self.deliver(light.take_messages());
            let committed = light.take_committed_entries();
            self.apply(i, &committed);
            self.nodes[i].advance_apply();
        }
    }

    /// Carries out and delivers until nothing is left.
    pub(crate) fn settle(&mut self) {
        (0..self.nodes.len()).for_each(|i| self.on_ready(i));
        while self.inboxes.iter().any(|inbox| !inbox.is_empty()) {
            for i in 0..self.nodes.len() {
                std::mem::swap(&mut self.inboxes[i], &mut self.arriving);
                for message in self.arriving.drain(..) {
                    self.nodes[i].step(message).expect("it is sound");
                }
                self.on_ready(i);
            }
        }
    }

    /// `batch` entries, proposed, committed and applied by all three.
    pub(crate) fn commit(&mut self, batch: usize, payloads: &mut Payloads, how: Propose) {
        let leader = &mut self.nodes[0];
        if how == Propose::Each {
            for _ in 0..batch {
                leader.propose(Vec::new(), payloads.next().to_vec()).expect("the leader takes it");
            }
        } else {
            let mut entry = || {
                let data = payloads.next().to_vec().into();
                Entry { data, ..Entry::default() }
            };
            let entries: Vec<Entry> = (0..batch).map(|_| entry()).collect();
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgPropose);
            message.from = 1;
            message.set_entries(entries.into());
            leader.step(message).expect("the leader takes it");
        }
        self.settle();
        if payloads.compaction_due() {
            for node in &self.nodes {
                // All but the last: `MemStorage` forgets where it was when it is empty.
                let applied = node.raft.raft_log.applied;
                node.raft.raft_log.store.wl().compact(applied).expect("it is there");
            }
        }
    }

    /// So many reads asked of the leader, each with a context of its own.
    pub(crate) fn read(&mut self, count: u64) {
        self.read_states.clear();
        for id in 0..count {
            self.nodes[0].read_index(id.to_le_bytes().to_vec());
        }
        self.settle();
        assert_eq!(self.read_states.len() as u64, count, "every read is confirmed");
    }
}
