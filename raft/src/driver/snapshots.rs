//! Snapshots of the local state: when to make one, making it beside application, and compacting
//! behind it.

use super::mailbox::Report;
use super::shard::Shard;
use crate::machine::StateMachine;
use crate::store::{SnapshotStore, write_snapshot_with};
use crate::sync::lock;
use crate::{LogId, LogIndex, Membership, SnapshotMeta, StoreId};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

pub(super) type SharedSnapshots = Arc<Mutex<Box<dyn SnapshotStore>>>;
type Asker = oneshot::Sender<Result<LogId, Arc<str>>>;

/// How finely log bytes are remembered.
const SIZE_STEP: u64 = 64 << 10;

/// Where the log's bytes are, so that a compaction can leave the last so many.
#[derive(Default)]
pub(super) struct Sizes {
    /// (last index, bytes) of consecutive stretches, oldest first.
    stretches: VecDeque<(LogIndex, u64)>,
    total: u64,
}

impl Sizes {
    /// A log of so many bytes, up to `last`.
    pub(super) fn of(last: LogIndex, bytes: u64) -> Self {
        let mut sizes = Self::default();
        sizes.appended(last, bytes);
        sizes
    }

    pub(super) fn appended(&mut self, last: LogIndex, bytes: u64) {
        self.total += bytes;
        match self.stretches.back_mut() {
            Some((end, sum)) if *sum < SIZE_STEP => {
                *end = last;
                *sum += bytes;
            }
            _ => self.stretches.push_back((last, bytes)),
        }
    }

    /// The index before the last `trailing` bytes.
    fn before_last(&self, trailing: u64) -> LogIndex {
        let mut left = self.total;
        let mut index = LogIndex::ZERO;
        for (last, bytes) in &self.stretches {
            if left <= trailing {
                break;
            }
            left -= bytes;
            index = *last;
        }
        index
    }

    /// Bytes of the log behind `index`.
    pub(super) fn behind(&self, index: LogIndex) -> u64 {
        let newest = self.stretches.iter().rev();
        newest.take_while(|(last, _)| *last > index).map(|(_, bytes)| bytes).sum()
    }

    fn compacted(&mut self, to: LogIndex) {
        while let Some((last, bytes)) = self.stretches.front().copied() {
            if last > to {
                break;
            }
            self.total -= bytes;
            self.stretches.pop_front();
        }
    }
}

/// The snapshot being made.
#[derive(Default)]
pub(super) struct Making {
    running: bool,
    /// Asked for while the machine was ahead of its sessions, or the group did not exist yet.
    postponed: bool,
    askers: Vec<Asker>,
    /// Came while one was being made: it may hold less than they have seen applied.
    later: Vec<Asker>,
}

impl<M: StateMachine> Shard<M> {
    /// Makes one if the log has grown enough since the last.
    pub(super) fn maybe_snapshot(&mut self) {
        let grown = self.since_snapshot >= self.config.log_bytes_max && !self.making.running;
        if grown || self.making.postponed {
            self.make_snapshot();
        }
    }

    pub(super) fn ask_snapshot(&mut self, asker: Asker) {
        if self.making.running {
            self.making.later.push(asker);
        } else {
            self.making.askers.push(asker);
            self.make_snapshot();
        }
    }

    pub(super) fn make_snapshot(&mut self) {
        if self.making.running || self.stopped.is_some() {
            return;
        }
        self.making.postponed = !self.machine.is_whole() || self.founding.is_some();
        if self.making.postponed {
            return;
        }
        self.making.running = true;
        self.since_snapshot = 0;
        let machine = self.machine.clone();
        let maker = self.store_id;
        let (snapshots, mailbox) = (Arc::clone(&self.snapshots), self.mailbox.clone());
        let made = std::thread::Builder::new().name("raft-snapshot".to_owned()).spawn(move || {
            // On this thread: freezing waits for the batch that is being applied.
            let made = machine.freeze().and_then(|frozen| {
                let meta = meta_of(frozen.at, frozen.membership, frozen.time_ms, maker);
                let mut writer = lock(&snapshots).create(&meta)?;
                write_snapshot_with(&mut writer, &meta, &frozen.sessions, frozen.machine)?;
                writer.finish()?;
                Ok(meta)
            });
            mailbox.push(Report::SnapshotMade(made.map_err(|e: io::Error| e.to_string().into())));
        });
        if let Err(error) = made {
            self.mailbox.push(Report::SnapshotMade(Err(error.to_string().into())));
        }
    }

    pub(super) fn snapshot_made(&mut self, made: Result<SnapshotMeta, Arc<str>>) {
        self.making.running = false;
        let outcome = match made {
            Ok(meta) => {
                self.counts.snapshots_made += 1;
                let last = meta.last;
                self.raft.snapshot_created(meta);
                self.compact();
                Ok(last)
            }
            Err(cause) => {
                self.counts.snapshots_failed += 1;
                tracing::warn!(node = %self.raft.id(), cause = &*cause, "snapshot failed");
                Err(cause)
            }
        };
        // Who asked finds it in the statistics.
        self.publish();
        for asker in self.making.askers.drain(..) {
            let _ = asker.send(outcome.clone());
        }
        if !self.making.later.is_empty() {
            self.making.askers = core::mem::take(&mut self.making.later);
            self.make_snapshot();
        }
    }

    /// Drops the log that a snapshot holds, but for the last `log_trailing_bytes`.
    fn compact(&mut self) {
        let wanted = self.sizes.before_last(self.config.log_trailing_bytes);
        // A follower that stands still (its disk is full, say) gets a snapshot later instead.
        let spare_followers = self.sizes.total <= self.config.log_bytes_max.saturating_mul(2);
        let to = self.raft.compactable(wanted, spare_followers);
        let Some(term) = self.raft.term_of(to) else { return };
        if to < self.raft.progress().first {
            return;
        }
        let members = self.raft.membership_at(to).clone();
        let mark = meta_of(LogId::of(term, to), members, 0, self.store_id);
        match self.store.compact(self.group, &mark) {
            Ok(()) => {
                self.raft.compacted(to);
                self.sizes.compacted(to);
            }
            Err(error) => tracing::warn!(node = %self.raft.id(), %error, "compaction refused"),
        }
    }
}

fn meta_of(last: LogId, members: Membership, time_ms: u64, maker: StoreId) -> SnapshotMeta {
    let mut meta = SnapshotMeta::new(last, members);
    meta.time_ms = time_ms;
    meta.maker = maker;
    meta
}
