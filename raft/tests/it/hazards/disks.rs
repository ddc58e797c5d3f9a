//! Hazards of what is kept: failing and damaged disks, snapshots.

use crate::group::{GROUP, block, snapshot};
use crate::store::{append, ids, on_disk, open_wal, owner};
use quorate_raft::{
    AppendRequest, Completion, HardState, LogId, LogIndex, LogStore, MemorySnapshots, SnapshotDir,
    SnapshotMeta, SnapshotStore, StoreError, StoreId, Term, read_machine, write_snapshot,
};
use quorate_wal::vfs::{MemVfs, OpKind, Vfs};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

/// An append with its answer.
fn answered(store: &mut dyn LogStore, blocks: &[quorate_raft::Block]) -> Result<(), StoreError> {
    let (tx, rx) = mpsc::channel();
    let done = Completion::new(move |result| tx.send(result).unwrap());
    store.append(GROUP, AppendRequest::new(None, blocks, None, true), done);
    rx.recv().unwrap()
}

/// The kernel forgets which pages it could not write: a second sync would lie.
#[test]
fn h33_after_one_failed_sync_the_log_takes_nothing_more() {
    let disk = Arc::new(MemVfs::new());
    let mut store = on_disk(&disk);
    store.open(GROUP, owner()).unwrap();
    append(&mut store, None, &[block(1, LogId::ZERO, &["a"])], None);
    // The failure may hit the preparation of a segment in the background, which may try again: then
    // the append is fine, and the next one is failed.
    let mut last = LogId::new(1, 1);
    let failed = loop {
        disk.fail_nth(OpKind::SyncData, 1, ErrorKind::Other);
        let next = block(1, last, &["b"]);
        match answered(&mut store, std::slice::from_ref(&next)) {
            Ok(()) if last.index.value() < 20 => last = next.last(),
            other => break other,
        }
    };
    assert!(matches!(failed, Err(StoreError::Poisoned { .. })), "{failed:?}");
    disk.clear_faults();
    let after = answered(&mut store, &[block(1, last, &["b"])]);
    assert!(matches!(after, Err(StoreError::Poisoned { .. })), "{after:?}");
    drop(store);
    let mut store = on_disk(&Arc::new(disk.crash(1)));
    let log = store.open(GROUP, owner()).unwrap();
    assert!(ids(&log.blocks, 1).starts_with(&[LogId::new(1, 1)]), "what was answered is there");
}

/// Entries that were acknowledged and rotted are not a torn end: a log that is cut there would vote
/// for leaders that lack them.
#[test]
fn h36_damage_inside_the_log_is_not_cut_off_like_a_torn_end() {
    let disk = Arc::new(MemVfs::new());
    let mut store = on_disk(&disk);
    store.open(GROUP, owner()).unwrap();
    let mut prev = LogId::ZERO;
    for _ in 0..20 {
        let next = block(1, prev, &["some data that is long enough to be found again"]);
        append(&mut store, None, std::slice::from_ref(&next), None);
        prev = next.last();
    }
    drop(store);
    let (path, at) = find(&disk, b"some data", 5);
    disk.flip(&path, at as u64 * 8).unwrap();
    let error = match open_wal(&disk) {
        Err(error) => error,
        Ok(mut store) => store.open(GROUP, owner()).unwrap_err().to_string(),
    };
    assert!(error.to_lowercase().contains("damage"), "{error}");
}

/// Where the `nth` occurrence of `needle` is on the disk.
pub(super) fn find(disk: &MemVfs, needle: &[u8], nth: usize) -> (std::path::PathBuf, usize) {
    for item in disk.list(Path::new("log")).unwrap() {
        let path = Path::new("log").join(&item.name);
        let Ok(bytes) = disk.contents(&path) else { continue };
        let hits = bytes.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle);
        if let Some((at, _)) = hits.into_iter().nth(nth) {
            return (path, at);
        }
    }
    panic!("not on the disk");
}

/// The file of a snapshot, as bytes.
fn file_of(meta: &SnapshotMeta, state: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let state = state.to_owned();
    let source = Box::new(move |w: &mut dyn Write| w.write_all(state.as_bytes()));
    write_snapshot(&mut bytes, meta, source).unwrap();
    bytes
}

fn made_by(maker: u128) -> SnapshotMeta {
    let mut meta = snapshot(LogId::new(3, 9), &[1, 2, 3]);
    meta.maker = StoreId::new(maker);
    meta
}

fn over_both(check: impl Fn(&mut dyn SnapshotStore)) {
    check(&mut MemorySnapshots::new());
    let dir = tempfile::tempdir().unwrap();
    check(&mut SnapshotDir::open(dir.path()).unwrap());
}

/// Two nodes make snapshots of the same index; their files differ. Half of each is no snapshot.
#[test]
fn h50_a_transfer_resumes_only_the_snapshot_of_the_same_maker() {
    over_both(|store| {
        let (a, b) = (made_by(1), made_by(2));
        let (file_a, file_b) = (file_of(&a, "state by a"), file_of(&b, "the state, by b"));
        let mut arriving = store.receive(&a).unwrap();
        arriving.write(&file_a[..50]).unwrap();
        drop(arriving); // the connection broke
        let mut resumed = store.receive(&a).unwrap();
        assert_eq!(resumed.offset(), 50);
        assert_eq!(resumed.crc().unwrap(), crc32fast::hash(&file_a[..50]));
        drop(resumed);
        let mut other = store.receive(&b).unwrap();
        assert_eq!(other.offset(), 0, "begins anew for another maker");
        other.write(&file_b).unwrap();
        assert_eq!(other.finish().unwrap(), b);
        assert_eq!(state_of(store, &b), "the state, by b");
    });
}

fn state_of(store: &dyn SnapshotStore, meta: &SnapshotMeta) -> String {
    let file = store.open(meta).unwrap();
    let mut state = String::new();
    read_machine(&*file).unwrap().read_to_string(&mut state).unwrap();
    state
}

#[test]
fn h50_content_of_another_snapshot_is_never_installed() {
    over_both(|store| {
        let mut arriving = store.receive(&made_by(1)).unwrap();
        arriving.write(&file_of(&made_by(2), "state")).unwrap();
        assert_eq!(arriving.finish().unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(store.latest().unwrap(), None);
    });
}

/// A snapshot that is being sent stays readable while newer ones take its place.
#[test]
fn h56_a_snapshot_being_sent_outlives_its_successors() {
    over_both(|store| {
        let old = snapshot(LogId::new(1, 5), &[1]);
        make(store, &old, "old");
        let sending = store.open(&old).unwrap();
        for n in 6..10 {
            make(store, &snapshot(LogId::new(1, n), &[1]), "new");
        }
        let mut state = String::new();
        read_machine(&*sending).unwrap().read_to_string(&mut state).unwrap();
        assert_eq!(state, "old");
        assert_eq!(store.latest().unwrap().unwrap().last, LogId::new(1, 9));
    });
}

fn make(store: &mut dyn SnapshotStore, meta: &SnapshotMeta, state: &str) {
    let state = state.to_owned();
    let mut writer = store.create(meta).unwrap();
    let source = Box::new(move |w: &mut dyn Write| w.write_all(state.as_bytes()));
    write_snapshot(&mut writer, meta, source).unwrap();
    writer.finish().unwrap();
}

/// A snapshot that rotted on the disk is no snapshot; the one before it is taken.
#[test]
fn a_rotten_snapshot_file_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SnapshotDir::open(dir.path()).unwrap();
    let (old, new) = (snapshot(LogId::new(1, 5), &[1]), snapshot(LogId::new(1, 6), &[1]));
    make(&mut store, &old, "old");
    make(&mut store, &new, "new");
    assert_eq!(store.latest().unwrap(), Some(new));
    let mut names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let newest = names.last().unwrap();
    let whole = std::fs::read(newest).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut rotten = whole.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(newest, rotten).unwrap();
        assert_eq!(store.latest().unwrap().as_ref(), Some(&old), "bit {bit}");
    }
    for len in 0..whole.len() {
        std::fs::write(newest, &whole[..len]).unwrap();
        assert_eq!(store.latest().unwrap().as_ref(), Some(&old), "cut to {len}");
    }
}

/// A power cut at any change of the disk: what was answered is there, hard state no older than the
/// blocks.
#[test]
fn h37_power_cuts_lose_nothing_that_was_answered() {
    let mut interrupted = 0;
    for seed in 0..60_u64 {
        let disk = Arc::new(MemVfs::new());
        let mut answered = Vec::new();
        let mut store = on_disk(&disk);
        store.open(GROUP, owner()).unwrap();
        disk.power_off_after(1 + seed % 12);
        let mut prev = LogId::ZERO;
        for term in 1..=12 {
            let block = crate::store::block(term, prev, &["x", "y"]);
            prev = block.last();
            let hard = HardState::new(Term::new(term), None, LogIndex::ZERO);
            let (tx, rx) = mpsc::channel();
            let done = Completion::new(move |result| tx.send(result).unwrap());
            let request = AppendRequest::new(Some(hard), std::slice::from_ref(&block), None, true);
            store.append(GROUP, request, done);
            if rx.recv().unwrap().is_err() {
                interrupted += 1;
                break;
            }
            answered.extend(ids(&[block], 1));
        }
        drop(store);
        let mut store = on_disk(&Arc::new(disk.crash(seed)));
        let log = store.open(GROUP, owner()).unwrap();
        let found = ids(&log.blocks, 1);
        assert!(
            found.starts_with(&answered),
            "seed {seed}: {answered:?} answered, {found:?} found"
        );
        assert!(log.hard.term >= log.last.term, "seed {seed}: blocks ahead of the hard state");
    }
    assert!(interrupted > 30, "the power went in {interrupted} of 60 runs");
}
