//! Ours: three cores on one thread, each with a log in memory. Messages are handed over; what is
//! written is durable at once. A replica takes everything that arrived and is drained once, as the
//! driver does in a turn.

use crate::applier::{Applier, Payloads};
use quorate_clocks::Monotonic;
use quorate_raft::{
    AppendRequest, Boot, Completion, Config, EntryBody, EntryKind, GroupId, LogStore, Membership,
    MemoryLog, Message, Output, Proposal, Raft, ReadId, Role, SnapshotMeta,
};
use quorate_transport::NodeId;
use std::time::Duration;

pub(crate) const GROUP: GroupId = GroupId::new(1);

pub(crate) struct Cores {
    pub(crate) rafts: Vec<Raft>,
    pub(crate) now: Monotonic,
    pub(crate) appliers: Vec<Applier>,
    /// Messages between two nodes so far.
    pub(crate) messages: u64,
    /// Reads that were answered and whose index was applied.
    pub(crate) reads: u64,
    stores: Vec<MemoryLog>,
    inboxes: Vec<Vec<(NodeId, Message)>>,
    arriving: Vec<(NodeId, Message)>,
    out: Output,
    config: Config,
}

impl Cores {
    /// The first of them leads.
    pub(crate) fn new(config: Config) -> Self {
        let ids = [1, 2, 3].map(NodeId::new);
        let now = Monotonic::from_nanos(1);
        let start = |id: NodeId| {
            let boot = Boot::fresh(id, GROUP, Membership::of_voters(&ids));
            Raft::new(config.clone(), boot, now, id.value()).expect("a fresh start is valid")
        };
        let mut cores = Self {
            rafts: ids.into_iter().map(start).collect(),
            now,
            appliers: vec![Applier::default(); 3],
            messages: 0,
            reads: 0,
            stores: vec![MemoryLog::new(), MemoryLog::new(), MemoryLog::new()],
            inboxes: vec![Vec::new(), Vec::new(), Vec::new()],
            arriving: Vec::new(),
            out: Output::default(),
            config,
        };
        // What a former life may have promised (with leases on) has passed by then.
        cores.now = now.saturating_add(Duration::from_secs(10));
        cores.rafts[0].campaign(cores.now).expect("a voter may campaign");
        cores.settle();
        assert_eq!(cores.rafts[0].role(), Role::Leader);
        cores
    }

    /// Does what replica `i` wants done.
    fn carry_out(&mut self, i: usize) {
        let Self { rafts, now, appliers, messages, reads, stores, inboxes, out, .. } = self;
        let (raft, now) = (&mut rafts[i], *now);
        let from = raft.id();
        while raft.has_output() {
            raft.drain(out);
            *messages += out.send.len() as u64;
            for envelope in out.send.drain(..) {
                inboxes[position(envelope.to)].push((from, envelope.message));
            }
            if let Some(append) = out.append.take() {
                let sync = append.sync || append.install.is_some();
                let request = AppendRequest::new(
                    append.hard,
                    &append.blocks,
                    append.install.as_deref(),
                    sync,
                );
                let durable = Completion::new(|done| done.expect("memory takes everything"));
                stores[i].append(GROUP, request, durable);
                for envelope in append.gated {
                    if envelope.to == from {
                        raft.handle_message(now, from, envelope.message).expect("its own");
                    } else {
                        *messages += 1;
                        inboxes[position(envelope.to)].push((from, envelope.message));
                    }
                }
                if let Some(token) = append.token {
                    raft.appended(now, token);
                }
            }
            if let Some(apply) = out.apply.take() {
                let normal = apply.entries().filter(|e| e.kind == EntryKind::Normal);
                normal.for_each(|e| appliers[i].apply(e.data));
                raft.applied(now, apply.token);
            }
            let applied = raft.progress().applied;
            for read in out.reads.drain(..) {
                assert!(read.result.expect("a read is confirmed") <= applied);
                *reads += 1;
            }
        }
    }

    /// Carries out and delivers until nothing is left.
    pub(crate) fn settle(&mut self) {
        (0..self.rafts.len()).for_each(|i| self.carry_out(i));
        while self.inboxes.iter().any(|inbox| !inbox.is_empty()) {
            for i in 0..self.rafts.len() {
                std::mem::swap(&mut self.inboxes[i], &mut self.arriving);
                for (from, message) in self.arriving.drain(..) {
                    self.rafts[i].handle_message(self.now, from, message).expect("it is sound");
                }
                self.carry_out(i);
            }
        }
    }

    /// `batch` entries, proposed, committed and applied by all three.
    pub(crate) fn commit(&mut self, batch: usize, payloads: &mut Payloads) {
        let room = batch * (payloads.size() + 8);
        let mut proposal = self.proposal(room);
        for _ in 0..batch {
            let data = payloads.next();
            if proposal.push(EntryBody::Normal(data)).is_err() {
                // A block is full: it goes, and the next begins.
                let full = std::mem::replace(&mut proposal, self.proposal(room));
                self.propose(full);
                proposal.push(EntryBody::Normal(data)).expect("it fits an empty block");
            }
        }
        self.propose(proposal);
        self.settle();
        if payloads.compaction_due() {
            self.compact();
        }
    }

    fn proposal(&self, room: usize) -> Proposal {
        Proposal::with_capacity(self.config.limits(), room.min(512 << 10))
    }

    fn propose(&mut self, proposal: Proposal) {
        self.rafts[0].propose(self.now, proposal).map_err(|(e, _)| e).expect("the leader takes it");
    }

    /// As after a snapshot of all that was applied.
    fn compact(&mut self) {
        for (raft, store) in self.rafts.iter_mut().zip(&mut self.stores) {
            let last = raft.last();
            assert_eq!(raft.progress().applied, last.index, "all is settled");
            let mark = SnapshotMeta::new(last, raft.membership().clone());
            raft.snapshot_created(mark.clone());
            store.compact(GROUP, &mark).expect("memory forgets everything");
            raft.compacted(last.index);
        }
    }

    /// So many reads asked of the leader at once, and served.
    pub(crate) fn read(&mut self, count: u64) {
        let before = self.reads;
        for id in 0..count {
            self.rafts[0].read(self.now, ReadId::new(before + id)).expect("the leader takes it");
        }
        self.settle();
        assert_eq!(self.reads - before, count, "every read is served");
    }

    /// Time passes, and what is due is done.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.now = self.now.saturating_add(by);
        for raft in &mut self.rafts {
            raft.handle_timeout(self.now);
        }
        self.settle();
    }
}

fn position(id: NodeId) -> usize {
    usize::try_from(id.value() - 1).expect("three nodes")
}
