//! [`MemoryLog`]: a log that is lost with the process. For tests, examples and benchmarks.

use super::{AppendRequest, Completion, LogStore, OpenLog, Owner};
use crate::error::StoreError;
use crate::sync::lock;
use crate::{Block, GroupId, HardState, LogId, LogIndex, SnapshotMeta, StoreId, TermRun};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// Logs in memory. Clones share them, so that a test can stop a node and start it on "its disk"
/// again.
///
/// # Cost
/// Completions are answered inline; blocks are kept by reference, nothing is copied.
///
/// # Examples
/// ```
/// use quorate_raft::{GroupId, LogStore, MemoryLog};
/// let disk = MemoryLog::new();
/// assert_eq!(disk.clone().bytes(GroupId::new(1)), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    groups: Arc<Mutex<BTreeMap<GroupId, Log>>>,
}

#[derive(Debug, Default)]
struct Log {
    owner: Option<Owner>,
    store: StoreId,
    hard: HardState,
    mark: Option<SnapshotMeta>,
    blocks: VecDeque<Block>,
    bytes: u64,
}

impl MemoryLog {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl LogStore for MemoryLog {
    fn open(&mut self, group: GroupId, owner: Owner) -> Result<OpenLog, StoreError> {
        let mut groups = lock(&self.groups);
        let log = groups.entry(group).or_default();
        if let Some(other) = log.owner.filter(|other| !other.is_same(&owner)) {
            return Err(StoreError::Foreign {
                path: "memory".into(),
                what: "owner",
                expected: format!("{owner:?}").into(),
                found: format!("{other:?}").into(),
            });
        }
        if log.owner.is_none() {
            log.store = owner.draw_store_id();
        }
        log.owner = Some(owner);
        Ok(OpenLog {
            store: log.store,
            hard: log.hard,
            mark: log.mark.clone(),
            runs: term_runs(log.blocks.iter().map(|b| (b.first(), b.last()))),
            last: log.last(),
            blocks: log.blocks.iter().cloned().collect(),
        })
    }

    fn append(&mut self, group: GroupId, request: AppendRequest<'_>, done: Completion<()>) {
        let mut groups = lock(&self.groups);
        let log = groups.entry(group).or_default();
        if let Some(hard) = request.hard {
            log.hard = hard;
        }
        if let Some(mark) = request.install {
            log.mark = Some(mark.clone());
            log.blocks.clear();
            log.bytes = 0;
        }
        for block in request.blocks {
            log.push(block);
        }
        drop(groups);
        done.complete(Ok(()));
    }

    fn load(&mut self, group: GroupId, from: LogIndex, max: u64, done: Completion<Vec<Block>>) {
        let groups = lock(&self.groups);
        let result = groups.get(&group).map_or(Err(StoreError::Closed), |log| log.load(from, max));
        drop(groups);
        done.complete(result);
    }

    fn compact(&mut self, group: GroupId, mark: &SnapshotMeta) -> Result<(), StoreError> {
        let mut groups = lock(&self.groups);
        let log = groups.entry(group).or_default();
        while let Some(first) = log.blocks.front().filter(|b| b.last().index <= mark.last.index) {
            log.bytes -= first.as_bytes().len() as u64;
            log.blocks.pop_front();
        }
        // A block that is cut keeps its bytes: the mark says where it starts to count.
        log.mark = Some(mark.clone());
        Ok(())
    }

    fn bytes(&self, group: GroupId) -> u64 {
        lock(&self.groups).get(&group).map_or(0, |log| log.bytes)
    }
}

impl Log {
    fn last(&self) -> LogId {
        let start = self.mark.as_ref().map_or(LogId::ZERO, |m| m.last);
        self.blocks.back().map_or(start, Block::last)
    }

    fn push(&mut self, block: &Block) {
        while let Some(last) = self.blocks.back().filter(|b| b.last().index >= block.first()) {
            self.bytes -= last.as_bytes().len() as u64;
            let kept = last.prefix(block.first().prev());
            self.blocks.pop_back();
            if let Some(kept) = kept {
                self.bytes += kept.as_bytes().len() as u64;
                self.blocks.push_back(kept);
                break;
            }
        }
        self.bytes += block.as_bytes().len() as u64;
        self.blocks.push_back(block.clone());
    }

    fn load(&self, from: LogIndex, bytes_max: u64) -> Result<Vec<Block>, StoreError> {
        let start = self.mark.as_ref().map_or(LogIndex::ZERO, |m| m.last.index);
        if from <= start {
            return Err(StoreError::Compacted { to: start });
        }
        let wanted = self.blocks.iter().skip_while(|b| b.last().index < from);
        Ok(crate::log_view::take_bytes(wanted, bytes_max))
    }
}

/// Runs of equal terms over blocks given as (first index, last entry), in order.
pub(crate) fn term_runs(blocks: impl Iterator<Item = (LogIndex, LogId)>) -> Vec<TermRun> {
    let mut runs: Vec<TermRun> = Vec::new();
    for (first, last) in blocks {
        if runs.last().is_none_or(|run| run.term != last.term) {
            runs.push(TermRun::new(first, last.term));
        }
    }
    runs
}
