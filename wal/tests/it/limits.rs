//! The limits of a log: reached exactly, refused with a definite answer, and not felt before.

use quorate_wal::vfs::{MemVfs, Vfs};
use quorate_wal::{
    Ack, Batch, Config, ConfigBuilder, Driver, Recovery, Slot, StreamId, WriteError,
};

use crate::rig::{dir, group, manual, open_with, records, segments, settle};

const BLOCKS_MAX: u64 = 1 << 20;

fn roomy() -> ConfigBuilder {
    Config::embedded()
        .segment_bytes(16 << 20)
        .batch_bytes_max(4 << 20)
        .staged_bytes_max(16 << 20)
        .driver(Driver::manual(|| {}))
}

fn is_full(answer: &Result<quorate_wal::Lsn, quorate_wal::AppendError>) -> bool {
    let text = format!("{answer:?}");
    text.contains("Invalid") && text.contains("more than 1,048,576 blocks in a stream")
}

#[test]
fn a_stream_has_at_most_1_048_576_live_blocks() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, roomy()).unwrap();
    let g = group(1);
    let mut batch = Batch::new();
    for from in (1..BLOCKS_MAX).step_by(1 << 15) {
        batch.clear();
        for index in from..from + (1 << 15) {
            batch.extend(g, index, 1, 1, b"");
        }
        wal.commit_blocking(&batch).unwrap();
        settle(&wal);
    }
    let next = BLOCKS_MAX + 1;
    assert_eq!((wal.stats().blocks, wal.stream(g).bounds()), (BLOCKS_MAX, 1..next));
    let commit = |batch: &mut Batch| wal.commit_blocking(batch);
    assert!(is_full(&commit(Batch::new().extend(g, next, 1, 1, b""))), "one too many");
    let marks = wal.marks();
    assert!(is_full(&commit(Batch::new().extend(g, next, 1, 1, b"").keep_from(g, next))));
    assert_eq!(wal.marks(), marks, "nothing was staged");
    // What makes room before it takes it is no block too many, and other streams have their own.
    commit(Batch::new().extend(group(2), 1, 1, 1, b"")).unwrap();
    commit(Batch::new().keep_from(g, 2).extend(g, next, 1, 1, b"")).unwrap();
    commit(Batch::new().replace(g, next, 1, 1, b"")).unwrap();
    let mut many = Batch::new();
    for _ in 0..200 {
        many.meta(g, Slot::new(0).unwrap(), b"no block");
    }
    commit(many.replace(g, 50, 1, 1, b"")).unwrap();
    assert_eq!(wal.stream(g).blocks().len(), 49);
}

#[test]
fn a_permit_takes_no_more_than_was_reserved() {
    let (wal, _) = open_with(&MemVfs::new(), manual()).unwrap();
    let permit = wal.reserve(20).wait().unwrap();
    let marks = wal.marks();
    match permit.stage(&records(&[&[1; 100]]), Ack::Staged) {
        Err(WriteError::Invalid { op: "permit", .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(wal.marks(), marks);
    // What it had set aside is free again.
    drop(wal.reserve(4 << 10).wait().unwrap());
}

#[test]
fn only_the_report_of_this_open_can_be_accepted() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual()).unwrap();
    while wal.stats().rolls < 4 {
        wal.append_blocking(&[7; 900]).unwrap();
    }
    wal.shutdown().wait().unwrap();
    disk.remove(&segments(&disk)[1]).unwrap();
    let salvage = || manual().recovery(Recovery::Salvage);
    let (wal, stale) = open_with(&disk, salvage()).unwrap();
    drop(wal);
    disk.remove(&segments(&disk)[1]).unwrap();
    let (wal, report) = open_with(&disk, salvage()).unwrap();
    match wal.accept_damage(&stale) {
        Err(WriteError::Invalid { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(wal.append_blocking(b"x"), Err(e) if format!("{e:?}").contains("Damaged")));
    wal.accept_damage(&report).unwrap().wait().unwrap();
    wal.append_blocking(b"x").unwrap();
    drop(wal);
    open_with(&disk, manual()).unwrap();
    assert!(disk.contents(&dir().join("MANIFEST")).is_ok());
}

#[test]
fn the_plain_log_is_no_stream() {
    let (wal, _) = open_with(&MemVfs::new(), manual()).unwrap();
    for batch in [
        Batch::new().extend(StreamId::MAIN, 1, 1, 1, b"x"),
        Batch::new().drop_stream(StreamId::MAIN),
    ] {
        assert!(matches!(wal.stage(batch, Ack::Staged), Err(WriteError::Invalid { .. })));
    }
}
