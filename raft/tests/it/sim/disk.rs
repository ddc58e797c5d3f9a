//! A disk that forgets: what was written and not yet synced may be lost in a crash, from any write
//! on.

use quorate_raft::{
    Append, Block, Boot, HardState, LogId, LogIndex, Membership, SnapshotMeta, TermRun,
};
use quorate_raft::{GroupId, Term};
use quorate_transport::NodeId;
use std::collections::VecDeque;

/// Entries of the state machine: one line each.
pub(crate) type State = Vec<(LogId, Vec<u8>)>;

/// What a crash leaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable {
    pub(crate) hard: HardState,
    pub(crate) start: LogId,
    pub(crate) blocks: Vec<Block>,
    pub(crate) snapshot: Option<(SnapshotMeta, State)>,
}

impl Durable {
    pub(crate) fn last(&self) -> LogId {
        self.blocks.last().map_or(self.start, Block::last)
    }

    /// The term of the entry at `index`, of the start included.
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        let at = self.blocks.partition_point(|b| b.last().index < index);
        self.blocks.get(at).filter(|b| b.first() <= index).map(Block::term)
    }

    /// Whether the entry is there, in the log or below its start.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        id.index < self.start.index || self.term(id.index) == Some(id.term)
    }

    fn write(&mut self, write: &Write) {
        if let Some(hard) = write.hard {
            self.hard = hard;
        }
        if let Some((meta, state)) = &write.install {
            self.start = meta.last;
            self.blocks.clear();
            self.snapshot = Some((meta.clone(), state.clone()));
        }
        for block in &write.blocks {
            let keep = LogIndex::new(block.first().value() - 1);
            while let Some(last) = self.blocks.last().filter(|b| b.last().index > keep) {
                let kept = last.prefix(keep).filter(|b| b.first() <= keep);
                self.blocks.pop();
                self.blocks.extend(kept);
            }
            assert_eq!(self.last().index, keep, "the store is never asked to leave a hole");
            self.blocks.push(block.clone());
        }
    }
}

#[derive(Clone, Debug)]
struct Write {
    hard: Option<HardState>,
    blocks: Vec<Block>,
    install: Option<(SnapshotMeta, State)>,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) durable: Durable,
    unsynced: VecDeque<Write>,
}

impl Disk {
    /// Takes a write; it is durable after [`sync_one`](Self::sync_one) was called for it.
    pub(crate) fn write(&mut self, append: &Append, installed: Option<State>) {
        let install = append.install.as_deref().cloned().zip(installed);
        self.unsynced.push_back(Write {
            hard: append.hard,
            blocks: append.blocks.clone(),
            install,
        });
    }

    pub(crate) fn sync_one(&mut self) {
        let write = self.unsynced.pop_front().expect("a completion for each write");
        self.durable.write(&write);
    }

    /// The power goes: of what was not synced the first `kept` writes made it. Returns how many did
    /// not.
    pub(crate) fn crash(&mut self, kept: usize) -> usize {
        for write in self.unsynced.drain(..kept.min(self.unsynced.len())) {
            self.durable.write(&write);
        }
        let lost = self.unsynced.len();
        self.unsynced.clear();
        lost
    }

    /// Whether the entry is durable, or was and is lost.
    pub(crate) fn held(&self, id: LogId) -> bool {
        id.index <= self.durable.hard.lost || self.durable.holds(id)
    }

    pub(crate) fn pending(&self) -> usize {
        self.unsynced.len()
    }

    /// A snapshot of `state` replaces the log up to `to`; both durable at once.
    pub(crate) fn compact(&mut self, meta: SnapshotMeta, state: State, to: LogId) {
        let log = &mut self.durable;
        log.snapshot = Some((meta, state));
        if to.index > log.start.index {
            log.start = to;
            log.blocks = log.blocks.iter().filter_map(|b| b.suffix(to.index.next())).collect();
        }
    }

    pub(crate) fn boot(&self, id: NodeId, group: GroupId, founders: &Membership) -> Boot {
        let log = &self.durable;
        let members = log.snapshot.as_ref().map_or(founders, |(meta, _)| &meta.membership);
        let mut boot = Boot::fresh(id, group, members.clone());
        boot.hard = log.hard;
        // A commit index that ran ahead of what reached the disk is only a hint.
        boot.hard.commit = boot.hard.commit.min(log.last().index);
        boot.start = log.start;
        boot.last = log.last();
        boot.runs = runs(&log.blocks);
        // Part of the log only: what is older is loaded on demand.
        boot.blocks = log.blocks.iter().rev().take(2).rev().cloned().collect();
        boot.snapshot = log.snapshot.as_ref().map(|(meta, _)| meta.clone());
        boot.applied = boot.snapshot.as_ref().map_or(LogIndex::ZERO, |meta| meta.last.index);
        boot.hard.commit = boot.hard.commit.max(boot.applied);
        boot
    }
}

fn runs(blocks: &[Block]) -> Vec<TermRun> {
    let mut runs: Vec<TermRun> = Vec::new();
    for block in blocks {
        if runs.last().is_none_or(|run| run.term != block.term()) {
            runs.push(TermRun::new(block.first(), block.term()));
        }
    }
    runs
}
