//! A replica of the model: the real core, its disk, and writes that are not durable yet.

use super::flight::{Entry, Flight, entries};
use crate::group::{GROUP, T, node};
use quorate_clocks::Monotonic;
use quorate_raft::{
    Append, Block, Boot, ConfChange, Config, EntryKind, HardState, LogId, LogIndex, Membership,
    Output, Raft, ReadDone, SnapshotMeta, StepError, TermRun,
};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What a log on a disk holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) hard: HardState,
    pub(super) mark: Option<SnapshotMeta>,
    pub(super) blocks: Vec<Block>,
}

impl Disk {
    fn write(&mut self, append: &Append) {
        self.hard = append.hard.unwrap_or(self.hard);
        if let Some(mark) = &append.install {
            self.mark = Some(SnapshotMeta::clone(mark));
            self.blocks.clear();
        }
        for block in &append.blocks {
            let keep = block.first().prev();
            self.blocks.retain(|kept| kept.first() <= keep);
            if let Some(cut) = self.blocks.last().and_then(|last| last.prefix(keep)) {
                *self.blocks.last_mut().unwrap() = cut;
            }
            self.blocks.push(block.clone());
        }
    }

    /// Everything up to here is in a snapshot.
    pub(super) fn start(&self) -> LogId {
        self.mark.as_ref().map_or(LogId::ZERO, |mark| mark.last)
    }

    /// The entry at `index`, if it is neither compacted nor missing.
    pub(super) fn entry(&self, index: u64) -> Option<Entry> {
        let index = LogIndex::new(index);
        let block = self.blocks.iter().find(|b| b.first() <= index && index <= b.last().index)?;
        entries(block).find(|entry| entry.id.index == index)
    }

    pub(super) fn last(&self) -> u64 {
        self.blocks.last().map_or_else(|| self.start().index, |b| b.last().index).value()
    }
}

/// What a node tells the world in a step.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) sent: Vec<Flight>,
    pub(super) reads: Vec<ReadDone>,
}

#[derive(Clone)]
pub(super) struct Node {
    pub(super) raft: Raft,
    /// What survives a crash.
    pub(super) disk: Disk,
    /// What was handed to the disk.
    pub(super) handed: Disk,
    /// Handed over and not durable: lost in a crash.
    pub(super) unsynced: VecDeque<Arc<Append>>,
    /// Writes wait for an action of their own; otherwise they are durable at once.
    pub(super) slow: bool,
    pub(super) now: Monotonic,
    /// Of everything above that has an influence on what comes.
    pub(super) digest: u64,
}

impl Node {
    /// A node with this disk; `members` are those of the log's beginning.
    pub(super) fn start(config: &Config, id: u64, members: &Membership, disk: Disk) -> Self {
        let mark = disk.mark.clone();
        let members = mark.as_ref().map_or(members, |mark| &mark.membership);
        let mut boot = Boot::fresh(node(id), GROUP, members.clone());
        boot.hard = disk.hard;
        boot.start = disk.start();
        boot.applied = boot.start.index;
        boot.last = disk.blocks.last().map_or(boot.start, Block::last);
        for block in &disk.blocks {
            if boot.runs.last().is_none_or(|run| run.term != block.term()) {
                boot.runs.push(TermRun::new(block.first(), block.term()));
            }
        }
        boot.blocks.clone_from(&disk.blocks);
        boot.snapshot = mark;
        let raft = Raft::new(config.clone(), boot, Monotonic::ZERO, 1).unwrap();
        let unsynced = VecDeque::new();
        let handed = disk.clone();
        Self { raft, disk, handed, unsynced, slow: false, now: Monotonic::ZERO, digest: 0 }
    }

    /// Does all that the core wants done. What a slow disk does not finish stays behind.
    pub(super) fn drain(&mut self, effects: &mut Effects) {
        let mut out = Output::default();
        while self.raft.has_output() {
            self.raft.drain(&mut out);
            let me = self.raft.id();
            effects.sent.extend(out.send.drain(..).map(|e| Flight::new(me, e)));
            effects.reads.append(&mut out.reads);
            assert!(out.load.is_empty(), "a model keeps its log in memory");
            if let Some(apply) = out.apply.take() {
                self.apply(&apply);
            }
            if out.snapshot_wanted {
                self.make_snapshot();
            }
            if let Some(append) = out.append.take() {
                self.handed.write(&append);
                self.unsynced.push_back(Arc::new(append));
            }
            while !self.slow && self.sync(effects) {}
        }
        self.digest = self.behaviour();
    }

    fn apply(&mut self, apply: &quorate_raft::Apply) {
        for entry in apply.entries().filter(|e| e.kind == EntryKind::Conf) {
            let change = ConfChange::decode(entry.data).unwrap();
            self.raft.activate(self.now, entry.id.index, &change).unwrap();
            self.raft.snapshot_created(snapshot_at(&self.raft, entry.id));
        }
        self.raft.applied(self.now, apply.token);
    }

    fn make_snapshot(&mut self) {
        let applied = self.raft.progress().applied;
        if let Some(term) = self.raft.term_of(applied).filter(|term| term.value() > 0) {
            let last = LogId::new(term.value(), applied.value());
            self.raft.snapshot_created(snapshot_at(&self.raft, last));
        }
    }

    /// The oldest write becomes durable. False if there is none.
    pub(super) fn sync(&mut self, effects: &mut Effects) -> bool {
        let Some(append) = self.unsynced.pop_front() else { return false };
        self.disk.write(&append);
        let me = self.raft.id();
        for envelope in &append.gated {
            if envelope.to == me {
                self.hand(me.value(), envelope.message.clone());
            } else {
                effects.sent.push(Flight::new(me, envelope.clone()));
            }
        }
        if let Some(token) = append.token {
            self.raft.appended(self.now, token);
        }
        true
    }

    pub(super) fn hand(&mut self, from: u64, message: quorate_raft::Message) {
        match self.raft.handle_message(self.now, node(from), message) {
            // A replica that stopped is found by the check of its invariants.
            Ok(()) | Err(StepError::UnknownPeer { .. } | StepError::Stopped) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// The next heartbeat is due.
    pub(super) fn heartbeat(&mut self) {
        self.now = self.now.saturating_add(T / 10);
        self.raft.handle_timeout(self.now);
    }

    /// The entry at `index` as far as it was handed to the disk.
    pub(super) fn entry(&self, index: u64) -> Option<Entry> {
        self.handed.entry(index)
    }

    fn behaviour(&self) -> u64 {
        let mut h = DefaultHasher::new();
        self.raft.hash_behaviour(&mut h);
        self.slow.hash(&mut h);
        let hard = self.disk.hard;
        (hard.term, hard.vote, hard.commit, self.disk.start()).hash(&mut h);
        self.disk.blocks.iter().flat_map(entries).for_each(|entry| entry.hash(&mut h));
        for append in &self.unsynced {
            let hard = append.hard.map(|hard| (hard.term, hard.vote, hard.commit));
            (hard, append.install.is_some(), append.token.map(|t| (t.term(), t.last())))
                .hash(&mut h);
            append.blocks.iter().flat_map(entries).for_each(|entry| entry.hash(&mut h));
            for envelope in &append.gated {
                Flight::new(self.raft.id(), envelope.clone()).digest.hash(&mut h);
            }
        }
        h.finish()
    }
}

fn snapshot_at(raft: &Raft, last: LogId) -> SnapshotMeta {
    SnapshotMeta::new(last, raft.membership_at(last.index).clone())
}
