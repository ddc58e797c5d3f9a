//! What every log store must do, run over the one in memory and the one on disk.

use quorate_raft::{
    AppendRequest, Block, Completion, EntryBody, GroupId, HardState, Limits, LogId, LogIndex,
    LogStore, Membership, MemoryLog, Owner, Proposal, SnapshotMeta, StoreError, Term, WalLog,
};
use quorate_transport::{ClusterId, NodeId};
use quorate_wal::{Ack, Batch, Config, Driver, StreamId, Wal, vfs::MemVfs};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

const GROUP: GroupId = GroupId::new(1);

pub(crate) fn owner() -> Owner {
    Owner::new(ClusterId::new(7), NodeId::new(1))
}

/// A store on a medium that outlives it.
trait Medium {
    type Store: LogStore;
    fn open(&self) -> Self::Store;
}

struct InMemory(MemoryLog);

impl Medium for InMemory {
    type Store = MemoryLog;
    fn open(&self) -> MemoryLog {
        self.0.clone()
    }
}

struct OnDisk(Arc<MemVfs>);

impl Medium for OnDisk {
    type Store = WalLog;
    fn open(&self) -> WalLog {
        on_disk(&self.0)
    }
}

/// The log on this disk.
pub(crate) fn on_disk(disk: &Arc<MemVfs>) -> WalLog {
    open_wal(disk).unwrap()
}

/// The log on this disk, or why it cannot be opened.
pub(crate) fn open_wal(disk: &Arc<MemVfs>) -> Result<WalLog, String> {
    let config =
        Config::embedded().segment_bytes(1 << 20).batch_bytes_max(1 << 18).build().unwrap();
    let opened = Wal::open_on(disk.clone(), Path::new("log"), config, None);
    opened.map(|(wal, _)| WalLog::new(wal)).map_err(|error| error.to_string())
}

/// Runs a check over both.
fn over_both(check: impl Fn(&dyn Fn() -> Box<dyn LogStore>)) {
    let memory = InMemory(MemoryLog::new());
    check(&|| Box::new(memory.open()));
    let disk = OnDisk(Arc::new(MemVfs::new()));
    check(&|| Box::new(disk.open()));
}

pub(crate) fn block(term: u64, prev: LogId, entries: &[&str]) -> Block {
    let mut p = Proposal::new(&Limits::default());
    for data in entries {
        p.push(EntryBody::Normal(data.as_bytes())).unwrap();
    }
    p.stamp(GROUP, Term::new(term), prev, 0)
}

pub(crate) fn append(
    store: &mut dyn LogStore,
    hard: Option<HardState>,
    blocks: &[Block],
    install: Option<&SnapshotMeta>,
) {
    let (tx, rx) = mpsc::channel();
    let done = Completion::new(move |result| tx.send(result).unwrap());
    store.append(GROUP, AppendRequest::new(hard, blocks, install, true), done);
    rx.recv().unwrap().unwrap();
}

fn load(store: &mut dyn LogStore, from: u64, max: u64) -> Result<Vec<Block>, StoreError> {
    let (tx, rx) = mpsc::channel();
    let done = Completion::new(move |result| tx.send(result).unwrap());
    store.load(GROUP, LogIndex::new(from), max, done);
    rx.recv().unwrap()
}

pub(crate) fn ids(blocks: &[Block], from: u64) -> Vec<LogId> {
    let entries = blocks.iter().flat_map(Block::iter);
    entries.map(|e| e.id).filter(|id| id.index.value() >= from).collect()
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    over_both(|open| {
        let hard = HardState::new(Term::new(2), Some(NodeId::new(3)), LogIndex::new(1));
        let a = block(1, LogId::ZERO, &["a", "b"]);
        let b = block(2, LogId::new(1, 2), &["c"]);
        let mut store = open();
        let fresh = store.open(GROUP, owner()).unwrap();
        assert_eq!((fresh.last, fresh.hard), (LogId::ZERO, HardState::default()));
        append(&mut *store, Some(hard), &[a.clone(), b.clone()], None);
        drop(store);
        let mut store = open();
        let log = store.open(GROUP, owner()).unwrap();
        assert_eq!((log.last, log.hard, log.store), (LogId::new(2, 3), hard, fresh.store));
        assert_eq!(log.runs.len(), 2);
        assert_eq!(log.blocks, [a, b]);
    });
}

#[test]
fn a_block_that_starts_inside_the_log_replaces_from_there() {
    over_both(|open| {
        let mut store = open();
        store.open(GROUP, owner()).unwrap();
        append(&mut *store, None, &[block(1, LogId::ZERO, &["a", "b", "c", "d"])], None);
        append(&mut *store, None, &[block(2, LogId::new(1, 2), &["X"])], None);
        let expected = [LogId::new(1, 1), LogId::new(1, 2), LogId::new(2, 3)];
        assert_eq!(ids(&load(&mut *store, 1, u64::MAX).unwrap(), 1), expected);
        drop(store);
        let mut store = open();
        let log = store.open(GROUP, owner()).unwrap();
        assert_eq!(log.last, LogId::new(2, 3));
        assert_eq!(ids(&log.blocks, 1), expected);
        assert_eq!(log.runs.len(), 2);
    });
}

#[test]
fn loads_stop_at_the_byte_limit_but_give_at_least_one_block() {
    over_both(|open| {
        let mut store = open();
        store.open(GROUP, owner()).unwrap();
        let mut prev = LogId::ZERO;
        let blocks: Vec<Block> = (0..10)
            .map(|_| {
                let block = block(1, prev, &["0123456789"]);
                prev = block.last();
                block
            })
            .collect();
        append(&mut *store, None, &blocks, None);
        assert_eq!(load(&mut *store, 4, 1).unwrap(), blocks[3..4]);
        let three = blocks[0].as_bytes().len() as u64 * 3;
        assert_eq!(load(&mut *store, 4, three).unwrap(), blocks[3..6]);
        assert_eq!(load(&mut *store, 1, u64::MAX).unwrap(), blocks);
    });
}

#[test]
fn a_compacted_log_starts_behind_its_mark() {
    over_both(|open| {
        let mut store = open();
        store.open(GROUP, owner()).unwrap();
        append(&mut *store, None, &[block(1, LogId::ZERO, &["a", "b", "c", "d"])], None);
        let members = Membership::of_voters(&[NodeId::new(1)]);
        let mark = SnapshotMeta::new(LogId::new(1, 2), members);
        store.compact(GROUP, &mark).unwrap();
        append(&mut *store, None, &[block(1, LogId::new(1, 4), &["e"])], None);
        assert!(matches!(load(&mut *store, 2, 9), Err(StoreError::Compacted { .. })));
        drop(store);
        let mut store = open();
        let log = store.open(GROUP, owner()).unwrap();
        assert_eq!(log.mark, Some(mark));
        assert_eq!(log.last, LogId::new(1, 5));
        assert_eq!(ids(&log.blocks, 3), [3, 4, 5].map(|i| LogId::new(1, i)));
    });
}

/// Entries of a deposed leader behind the snapshot must not survive its installation: they would
/// make the log's last entry look older than the snapshot it starts with.
#[test]
fn an_installed_snapshot_leaves_nothing_of_the_old_log() {
    over_both(|open| {
        let mut store = open();
        store.open(GROUP, owner()).unwrap();
        append(&mut *store, None, &[block(1, LogId::ZERO, &["a", "b", "c", "d", "e"])], None);
        let hard = HardState::new(Term::new(3), None, LogIndex::new(3));
        let mark = SnapshotMeta::new(LogId::new(3, 3), Membership::of_voters(&[NodeId::new(1)]));
        append(&mut *store, Some(hard), &[], Some(&mark));
        append(&mut *store, None, &[block(3, LogId::new(3, 3), &["X"])], None);
        drop(store);
        let mut store = open();
        let log = store.open(GROUP, owner()).unwrap();
        assert_eq!((log.last, log.hard, log.mark), (LogId::new(3, 4), hard, Some(mark)));
        assert_eq!(ids(&log.blocks, 1), [LogId::new(3, 4)]);
    });
}

#[test]
fn the_log_of_another_is_refused_and_left_alone() {
    over_both(|open| {
        let mut store = open();
        store.open(GROUP, owner()).unwrap();
        append(&mut *store, None, &[block(1, LogId::ZERO, &["a"])], None);
        let others = [
            Owner::new(ClusterId::new(8), NodeId::new(1)),
            Owner::new(ClusterId::new(7), NodeId::new(2)),
        ];
        for other in others {
            assert!(matches!(store.open(GROUP, other), Err(StoreError::Foreign { .. })));
        }
        assert_eq!(store.open(GROUP, owner()).unwrap().last, LogId::new(1, 1));
    });
}

/// One append of more than a batch of the log takes goes out in several, and is all there.
#[test]
fn an_append_larger_than_a_batch_is_written_in_full() {
    over_both(|open| {
        let mut store = open();
        store.open(GROUP, owner()).unwrap();
        let large = "x".repeat(100_000);
        let (mut prev, mut blocks) = (LogId::ZERO, Vec::new());
        for _ in 0..12 {
            let next = block(1, prev, &[&large]);
            prev = next.last();
            blocks.push(next);
        }
        let hard = HardState::new(Term::new(1), None, LogIndex::ZERO);
        append(&mut *store, Some(hard), &blocks, None);
        assert_eq!(load(&mut *store, 1, u64::MAX).unwrap(), blocks);
        drop(store);
        assert_eq!(open().open(GROUP, owner()).unwrap().blocks, blocks);
    });
}

/// What a log carries from an old segment to its end is listed before it is written: whoever opens
/// or reads it then has to wait, not to give up.
#[test]
fn blocks_that_are_listed_and_not_yet_written_are_waited_for() {
    // Nothing is written unless somebody asks for it.
    let config = Config::embedded().segment_bytes(1 << 20).batch_bytes_max(1 << 18);
    let config = config.driver(Driver::manual(|| ())).build().unwrap();
    let vfs = Arc::new(MemVfs::new());
    let (wal, _) = Wal::open_on(vfs, Path::new("log"), config, None).unwrap();
    let mut store = WalLog::new(wal.clone());
    store.open(GROUP, owner()).unwrap();
    let a = block(1, LogId::ZERO, &["a", "b"]);
    append(&mut store, None, std::slice::from_ref(&a), None);
    let stage = |block: &Block| {
        let mut batch = Batch::new();
        let (first, tag) = (block.first().value(), block.term().value());
        batch.extend(StreamId::new(1, GROUP.value()), first, block.count(), tag, block.as_bytes());
        drop(wal.stage(&batch, Ack::Staged).unwrap());
    };
    let b = block(1, a.last(), &["c"]);
    stage(&b);
    assert_eq!(load(&mut store, 3, u64::MAX).unwrap(), std::slice::from_ref(&b));
    let c = block(1, b.last(), &["d"]);
    stage(&c);
    let log = WalLog::new(wal.clone()).open(GROUP, owner()).unwrap();
    assert_eq!((log.last, log.blocks), (c.last(), vec![a, b, c]));
}
