//! [`WalLog`]: the logs of many groups in one write-ahead log. Blocks go in verbatim, as one stream
//! per group; term, vote and where the log starts are cells of metadata beside them.

mod worker;

use super::mark::{decode_mark, encode_mark};
use super::memory::term_runs;
use super::meta::Meta;
use super::{AppendRequest, Completion, LogStore, OpenLog, Owner};
use crate::error::StoreError;
use crate::{Block, GroupId, HardState, Limits, LogId, LogIndex, SnapshotMeta};
use quorate_wal::{Ack, Batch, Health, ReadError, RecoveryReport, Slot, StreamId, StreamLog, Wal};
use std::collections::BTreeMap;
use worker::{Compaction, Job, Worker};

/// Streams of raft groups are in this space of the log.
const SPACE: u16 = 1;
/// Blocks of the end of a log that are read when it is opened; older ones are loaded on demand.
const OPEN_BLOCKS: usize = 64;
/// A batch takes no further block beyond this; a larger block has a batch of its own.
const BATCH_BYTES: u64 = 512 << 10;
/// What a block takes in a batch besides its own bytes, at most.
const RECORD_BYTES: u64 = 64;
/// Bytes of the hard state's record.
const META_BYTES: u64 = 128;

/// Logs in a [`Wal`]. The `Wal` may be shared with other users; whoever opened it shuts it down.
///
/// # Cost
/// One copy of each block. All appends that wait while the disk works go out together: one write,
/// one sync. Two threads: one writes, one reads.
///
/// # Examples
/// ```
/// use quorate_raft::{GroupId, LogStore, Owner, WalLog};
/// use quorate_transport::{ClusterId, NodeId};
/// use quorate_wal::{Config, Wal};
///
/// let dir = tempfile::tempdir().unwrap();
/// let config = Config::embedded().build().unwrap();
/// let (wal, _report) = Wal::open(dir.path().join("log"), config).unwrap();
/// let mut log = WalLog::new(wal.clone());
/// let owner = Owner::new(ClusterId::new(7), NodeId::new(1));
/// let open = log.open(GroupId::new(1), owner).unwrap();
/// assert_eq!(open.last.index.value(), 0);
///
/// // Another node's log is refused.
/// assert!(log.open(GroupId::new(1), Owner::new(ClusterId::new(7), NodeId::new(2))).is_err());
/// drop(log);
/// wal.shutdown().wait().unwrap();
/// ```
#[derive(Debug)]
pub struct WalLog {
    wal: Wal,
    worker: Worker,
    groups: BTreeMap<GroupId, Group>,
    /// Largest batch the `Wal` takes.
    batch_bytes_max: u64,
}

/// What the next write builds on.
#[derive(Debug)]
struct Group {
    meta: Meta,
    next: LogIndex,
}

impl WalLog {
    /// Logs in `wal`.
    ///
    /// # Panics
    /// If the operating system gives no thread.
    #[must_use]
    pub fn new(wal: Wal) -> Self {
        let batch_bytes_max = wal.batch_bytes_max();
        Self { worker: Worker::start(&wal), wal, groups: BTreeMap::new(), batch_bytes_max }
    }

    /// Logs in a `wal` that was opened with `Recovery::Salvage`. If `report` tells of damage, that
    /// is accepted: replicas whose logs are hit take what they lost from their leaders, and do not
    /// vote before.
    ///
    /// # Errors
    /// [`StoreError`] if the damage cannot be recorded; the files are as they were.
    ///
    /// # Examples
    /// ```
    /// use quorate_raft::WalLog;
    /// use quorate_wal::{Config, Recovery, Wal, vfs::MemVfs};
    /// use std::{path::Path, sync::Arc};
    ///
    /// let config = Config::embedded().recovery(Recovery::Salvage).build()?;
    /// let (wal, report) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
    /// let log = WalLog::salvaged(wal, &report)?;
    /// # drop(log);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn salvaged(wal: Wal, report: &RecoveryReport) -> Result<Self, StoreError> {
        if !report.damage.is_empty() {
            for damage in &report.damage {
                tracing::warn!(%damage, "log damaged");
            }
            let accepted = wal.accept_damage(report).map_err(|e| worker::write_error(&e))?;
            accepted.wait().map_err(|e| worker::in_doubt(&e))?;
        }
        Ok(Self::new(wal))
    }

    /// A log with a hole. What is left of it may be what the lost part had replaced, so nothing of
    /// it is kept; that entries up to its end may have been acknowledged is written down in the
    /// same batch. Every batch carries the hard state: the newest record is at least as new as any
    /// that was lost, since one behind the hole can be read. // H36
    fn open_damaged(
        &mut self,
        mut meta: Meta,
        mark: Option<SnapshotMeta>,
    ) -> Result<OpenLog, StoreError> {
        let (group, stream) = (meta.group, stream_id(meta.group));
        let last = LogIndex::new(self.stream(group).bounds().end.saturating_sub(1));
        meta.hard.lost = meta.hard.lost.max(last).max(meta.hard.commit);
        let start = mark.as_ref().map_or(LogId::ZERO, |m| m.last);
        meta.hard.commit = start.index;
        let mut batch = Batch::new();
        batch.drop_stream(stream).meta(stream, META, &meta.encode());
        if let Some(mark) = &mark {
            batch.meta(stream, MARK, &encode_mark(mark));
        }
        batch.keep_from(stream, start.index.next().value());
        self.wal.commit_blocking(&batch).map_err(|e| worker::append_error(&e))?;
        tracing::warn!(node = %meta.owner.node, %group, lost = %meta.hard.lost, "log lost entries");
        self.groups.insert(group, Group { meta, next: start.index.next() });
        Ok(OpenLog { store: meta.store, hard: meta.hard, mark, last: start, ..OpenLog::default() })
    }

    fn stream(&self, group: GroupId) -> StreamLog {
        self.wal.stream(stream_id(group))
    }

    /// The metadata of `group`, checked against `owner`; written first if the log is new.
    fn meta(&self, group: GroupId, owner: Owner) -> Result<Meta, StoreError> {
        if let Some(bytes) = self.stream(group).meta(META) {
            let meta = Meta::decode(&bytes)?;
            check_owner(&meta, group, owner)?;
            return Ok(meta);
        }
        let meta = Meta { group, owner, store: owner.draw_store_id(), hard: HardState::default() };
        let mut batch = Batch::new();
        batch.meta(stream_id(group), META, &meta.encode());
        self.wal.commit_blocking(&batch).map_err(|e| worker::append_error(&e))?;
        Ok(meta)
    }
}

const META: Slot = slot(0);
const MARK: Slot = slot(1);

const fn slot(n: u8) -> Slot {
    match Slot::new(n) {
        Some(slot) => slot,
        None => unreachable!(),
    }
}

fn stream_id(group: GroupId) -> StreamId {
    StreamId::new(SPACE, group.value())
}

fn check_owner(meta: &Meta, group: GroupId, owner: Owner) -> Result<(), StoreError> {
    let foreign = |what, expected: &dyn ToString, found: &dyn ToString| StoreError::Foreign {
        path: "write-ahead log".into(),
        what,
        expected: expected.to_string().into(),
        found: found.to_string().into(),
    };
    if meta.owner.cluster != owner.cluster {
        return Err(foreign("cluster", &owner.cluster, &meta.owner.cluster));
    }
    if meta.owner.node != owner.node {
        return Err(foreign("node", &owner.node, &meta.owner.node));
    }
    if meta.group != group {
        return Err(foreign("group", &group, &meta.group));
    }
    Ok(())
}

/// The raft block inside a stream's block, cut to what is live.
fn live_block(block: &quorate_wal::Block) -> Result<Block, StoreError> {
    let damaged = |what: String| StoreError::Damaged { what: what.into() };
    let decoded = Block::decode(block.bytes.clone(), &Limits::UNLIMITED)
        .map_err(|e| damaged(format!("record {}: {e}", block.lsn)))?;
    let (from, to) = (LogIndex::new(block.live.start), LogIndex::new(block.live.end).prev());
    if decoded.first().value() != block.first || decoded.term().value() != block.tag {
        return Err(damaged(format!("record {}: block and stream disagree", block.lsn)));
    }
    let cut = decoded.prefix(to).and_then(|b| b.suffix(from));
    cut.ok_or_else(|| damaged(format!("record {}: nothing of the block is live", block.lsn)))
}

/// Blocks of `range`, up to `bytes_max` but at least one.
fn read_blocks(
    wal: &Wal,
    stream: &StreamLog,
    range: core::ops::Range<u64>,
    bytes_max: u64,
) -> Result<Vec<Block>, StoreError> {
    let mut found = Vec::new();
    loop {
        match stream.read(range.clone(), bytes_max, &mut found) {
            // Listed and not in the file yet: staged a moment ago, or on its way from an old
            // segment to the end of the log, where the `Wal` carries what it still needs of it.
            Err(ReadError::NotYet { .. }) if range.start < stream.bounds().end => {
                let staged = wal.sync().map_err(|e| worker::write_error(&e))?;
                staged.wait().map_err(|e| worker::in_doubt(&e))?;
            }
            Err(error) => return Err(worker::read_error(&error)),
            Ok(_) => return found.iter().map(live_block).collect(),
        }
    }
}

impl LogStore for WalLog {
    fn open(&mut self, group: GroupId, owner: Owner) -> Result<OpenLog, StoreError> {
        let meta = self.meta(group, owner)?;
        let stream = self.stream(group);
        let mark = stream.meta(MARK).map(|bytes| decode_mark(&bytes)).transpose()?;
        match stream.health() {
            Health::Intact => {}
            Health::Gap { .. } => return self.open_damaged(meta, mark),
            // Behind the last record there was another: it may have been a vote.
            other => {
                let what = format!("group {group}: {other:?}");
                return Err(StoreError::HardStateLost { what: what.into() });
            }
        }
        let infos = stream.blocks();
        let last_of = |b: &quorate_wal::BlockInfo| LogId::new(b.tag, b.live.end - 1);
        let start = mark.as_ref().map_or(LogId::ZERO, |m| m.last);
        let last = infos.last().map_or(start, last_of);
        let runs = term_runs(infos.iter().map(|b| (LogIndex::new(b.live.start), last_of(b))));
        let mut blocks = Vec::new();
        if let Some(begin) = infos.get(infos.len().saturating_sub(OPEN_BLOCKS)) {
            // In pieces: a read ends before a block that is not in the file yet.
            let (mut from, end) = (begin.live.start, last.index.next().value());
            while from < end {
                blocks.extend(read_blocks(&self.wal, &stream, from..end, u64::MAX)?);
                from = blocks.last().map_or(end, |b: &Block| b.last().index.next().value());
            }
        }
        self.groups.insert(group, Group { meta, next: last.index.next() });
        Ok(OpenLog { store: meta.store, hard: meta.hard, mark, runs, last, blocks })
    }

    fn append(&mut self, group: GroupId, request: AppendRequest<'_>, done: Completion<()>) {
        let Some(state) = self.groups.get_mut(&group) else {
            done.complete(Err(StoreError::Closed));
            return;
        };
        let ack = if request.sync { Ack::Durable } else { Ack::Staged };
        let batch_bytes = BATCH_BYTES.min(self.batch_bytes_max);
        let mut batches = vec![Batch::new()];
        state.begin(&mut batches[0], &request);
        let mut holds_blocks = false;
        for block in request.blocks {
            let bytes = block.as_bytes().len() as u64 + RECORD_BYTES;
            let over = |b: &Batch| holds_blocks && b.bytes() as u64 + bytes > batch_bytes;
            if batches.last().is_some_and(over) {
                batches.push(state.next_batch());
            }
            holds_blocks = true;
            if let Some(batch) = batches.last_mut() {
                state.add(batch, block);
            }
        }
        batches.retain(|batch| !batch.is_empty());
        self.worker.append(Job { batches, ack, done });
    }

    fn load(&mut self, group: GroupId, from: LogIndex, max: u64, done: Completion<Vec<Block>>) {
        let (wal, stream) = (self.wal.clone(), self.stream(group));
        self.worker.load(move || {
            let result = read_blocks(&wal, &stream, from.value()..stream.bounds().end, max);
            done.complete(result);
        });
    }

    fn compact(&mut self, group: GroupId, mark: &SnapshotMeta) -> Result<(), StoreError> {
        if !self.groups.contains_key(&group) {
            return Err(StoreError::Closed);
        }
        // The snapshot behind it is durable; the compaction may take its time.
        self.worker.compact(Compaction {
            stream: stream_id(group),
            mark: encode_mark(mark),
            keep_from: mark.last.index.next().value(),
        });
        Ok(())
    }

    fn block_bytes_max(&self) -> u64 {
        // Beside the hard state, which every batch carries.
        self.batch_bytes_max.saturating_sub(2 * RECORD_BYTES + META_BYTES)
    }

    fn bytes(&self, group: GroupId) -> u64 {
        self.stream(group).bytes()
    }

    fn is_full(&self) -> bool {
        self.worker.is_full()
    }
}

impl Group {
    /// Metadata, and the reset of the log to a snapshot: before any block, so that they are durable
    /// no later. // H37
    fn begin(&mut self, batch: &mut Batch, request: &AppendRequest<'_>) {
        let stream = stream_id(self.meta.group);
        if let Some(hard) = request.hard {
            self.meta.hard = hard;
        }
        if let Some(mark) = request.install {
            // Not just `keep_from`: entries behind the snapshot may be of a deposed leader, and a
            // log that kept them would claim an older last entry than the snapshot it starts with.
            let next = mark.last.index.next();
            batch
                .drop_stream(stream)
                .meta(stream, META, &self.meta.encode())
                .meta(stream, MARK, &encode_mark(mark))
                .keep_from(stream, next.value());
            self.next = next;
        } else if request.hard.is_some() || !request.blocks.is_empty() {
            // With every block, too: whoever finds a hole before this batch knows that no newer
            // vote was in it. // H36
            batch.meta(stream, META, &self.meta.encode());
        }
    }

    /// A further batch of an append: it may be all that can be read behind a hole. // H36
    fn next_batch(&self) -> Batch {
        let mut batch = Batch::new();
        batch.meta(stream_id(self.meta.group), META, &self.meta.encode());
        batch
    }

    fn add(&mut self, batch: &mut Batch, block: &Block) {
        let stream = stream_id(self.meta.group);
        let (first, count, tag) = (block.first().value(), block.count(), block.term().value());
        if block.first() == self.next {
            batch.extend(stream, first, count, tag, block.as_bytes());
        } else {
            batch.replace(stream, first, count, tag, block.as_bytes());
        }
        self.next = block.last().index.next();
    }
}
