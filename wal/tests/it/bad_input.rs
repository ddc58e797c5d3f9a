//! Every row of the design's table of bad input (§12) that concerns what is built.

use std::path::Path;
use std::sync::Arc;

use quorate_wal::vfs::{MemVfs, OpenMode, Vfs, VfsFile};
use quorate_wal::{
    Ack, Batch, Config, DamageKind, Lsn, OpenError, ReadError, Slot, StreamId, Wal, WriteError,
};

use crate::rig::{dir, group, open, open_with, records, segments, small};

fn refused(wal: &Wal, batch: &Batch) -> WriteError {
    let before = wal.marks();
    let error = wal.stage(batch, Ack::Durable).map(|s| s.lsn()).unwrap_err();
    assert_eq!(wal.marks(), before, "no number used, nothing staged: {error}");
    error
}

#[test]
fn limits_of_records_and_batches() {
    let (wal, _) = open(&MemVfs::new());
    let g = group(1);
    let too_large = records(&[&[0; 5000]]);
    assert!(matches!(refused(&wal, &too_large), WriteError::TooLarge { bytes: 5011, max: 4096 }));
    let invalid = |batch: &mut Batch, op: &str| match refused(&wal, batch) {
        WriteError::Invalid { op: found, .. } => assert_eq!(found, op),
        other => panic!("{other:?}"),
    };
    invalid(&mut Batch::new(), "stage");
    invalid(Batch::new().extend(g, 1, 0, 1, b"x"), "block");
    invalid(Batch::new().extend(g, 1, (1 << 24) + 1, 1, b"x"), "block");
    invalid(Batch::new().extend(g, (1 << 63) - 1, 1, 1, b"x"), "block");
    invalid(Batch::new().keep_from(g, 1 << 63), "keep_from");
    invalid(Batch::new().extend(StreamId::MAIN, 1, 1, 1, b"x"), "stream");
    assert_eq!(Slot::new(16), None);
    let config = Config::embedded().build().unwrap();
    let disk = Arc::new(MemVfs::new());
    let (wal, _) = Wal::open_on(disk, dir(), config, None).unwrap();
    let mut batch = Batch::new();
    match refused(&wal, batch.meta(g, Slot::new(0).unwrap(), &[0; 4097])) {
        WriteError::Invalid { op: "meta", .. } => {}
        other => panic!("{other:?}"),
    }
    batch.clear();
    for _ in 0..65_536 {
        batch.record(b"");
    }
    assert!(matches!(refused(&wal, &batch), WriteError::Invalid { .. }));
    assert_eq!(wal.append_blocking(b"").unwrap(), Lsn::new(1), "an empty record is a record");
}

#[test]
fn stream_rules() {
    let (wal, _) = open(&MemVfs::new());
    let g = group(1);
    wal.commit_blocking(Batch::new().extend(g, 10, 5, 1, b"x").keep_from(g, 12)).unwrap();
    let gap = |e| match e {
        WriteError::Gap { expected, found, .. } => (expected, found),
        other => panic!("{other:?}"),
    };
    assert_eq!(gap(refused(&wal, Batch::new().extend(g, 16, 1, 1, b""))), (15, 16));
    assert_eq!(gap(refused(&wal, Batch::new().extend(g, 14, 1, 1, b""))), (15, 14));
    assert_eq!(gap(refused(&wal, Batch::new().replace(g, 16, 1, 1, b""))), (15, 16));
    match refused(&wal, Batch::new().replace(g, 11, 1, 1, b"")) {
        WriteError::Compacted { low: 12, found: 11, .. } => {}
        other => panic!("{other:?}"),
    }
    // The rules look at the batch as a whole: its own earlier operations count, and one bad
    // operation refuses all.
    let mut batch = Batch::new();
    batch.extend(g, 15, 1, 1, b"").extend(g, 17, 1, 1, b"");
    assert_eq!(gap(refused(&wal, &batch)), (16, 17));
    assert_eq!(wal.stream(g).bounds(), 12..15);
    batch.clear();
    batch.drop_stream(g).extend(g, 900, 1, 1, b"");
    wal.commit_blocking(&batch).unwrap();
    assert_eq!(wal.stream(g).bounds(), 900..901);
}

#[test]
fn marks_out_of_range() {
    let (wal, _) = open(&MemVfs::new());
    for _ in 0..5 {
        wal.append_blocking(b"x").unwrap();
    }
    let invalid = |r: Result<(), WriteError>| assert!(matches!(r, Err(WriteError::Invalid { .. })));
    invalid(wal.truncate_prefix(Lsn::new(7)));
    invalid(wal.advance_high(Lsn::new(6)));
    invalid(wal.truncate_suffix(Lsn::new(7)).map(drop));
    invalid(wal.truncate_suffix(Lsn::ZERO).map(drop));
    wal.truncate_prefix(Lsn::new(3)).unwrap();
    wal.truncate_prefix(Lsn::new(2)).unwrap();
    wal.advance_high(Lsn::new(4)).unwrap();
    wal.advance_high(Lsn::new(1)).unwrap();
    assert_eq!((wal.marks().low, wal.marks().high), (Lsn::new(3), Lsn::new(4)), "no way back");
    invalid(wal.truncate_suffix(Lsn::new(2)).map(drop));
    invalid(wal.truncate_suffix(Lsn::new(4)).map(drop));
    let high: Vec<_> = wal.read(Lsn::new(3), quorate_wal::ReadBound::High).collect();
    assert_eq!(high.len(), 2);
}

#[test]
fn reads_out_of_range() {
    let (wal, _) = open(&MemVfs::new());
    wal.commit_blocking(Batch::new().record(b"1").extend(group(1), 1, 1, 1, b"2")).unwrap();
    drop(wal.stage(&records(&[b"staged"]), Ack::Staged).unwrap());
    assert!(matches!(wal.get(Lsn::new(2)), Err(ReadError::NotARecord(_))), "a block");
    assert!(matches!(wal.get(Lsn::ZERO), Err(ReadError::Truncated { low: 1 })));
    assert!(matches!(wal.get(Lsn::new(9)), Err(ReadError::NotYet { .. })));
    wal.sync().unwrap().wait().unwrap();
    wal.truncate_prefix(Lsn::new(2)).unwrap();
    assert!(matches!(wal.get(Lsn::new(1)), Err(ReadError::Truncated { low: 2 })));
    let mut below = wal.read(Lsn::new(1), quorate_wal::ReadBound::Durable);
    assert!(matches!(below.next(), Some(Err(ReadError::Truncated { low: 2 }))));
    assert!(below.next().is_none());
    let mut out = Vec::new();
    assert!(wal.stream(group(9)).read(1..2, 9, &mut out).is_err());
    assert_eq!(wal.stream(group(1)).read(1..1, 9, &mut out).unwrap(), 1);
}

#[test]
fn busy_when_the_buffer_is_full() {
    let (wal, _) = open(&MemVfs::new());
    let batch = records(&[&[1; 2000]]);
    let busy = (0..20).find_map(|_| wal.stage(&batch, Ack::Staged).err()).unwrap();
    assert!(matches!(busy, WriteError::Busy { max: 16384, .. }) && busy.is_retryable());
    wal.sync().unwrap().wait().unwrap();
    wal.stage(&records(&[b"x"]), Ack::Durable).unwrap().wait().unwrap();
}

#[test]
fn paths_that_are_no_log() {
    let disk = MemVfs::new();
    disk.create_dir_all(Path::new("other")).unwrap();
    disk.open(Path::new("other/file"), OpenMode::CreateNew).unwrap();
    let at = |path: &str| {
        let config = small().build().unwrap();
        Wal::open_on(Arc::new(disk.clone()), Path::new(path), config, None).map(|_| ())
    };
    assert!(matches!(at("other/file"), Err(OpenError::NotALog(_))));
    assert!(matches!(at("other"), Err(OpenError::NotALog(_))));
    assert_eq!(disk.list(Path::new("other")).unwrap().len(), 1, "nothing touched");
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, b"text").unwrap();
    let config = small().build().unwrap();
    assert!(matches!(Wal::open(&file, config), Err(OpenError::NotALog(_))));
}

#[test]
fn a_segment_of_another_log_is_damage() {
    let make = || {
        let disk = MemVfs::new();
        let (wal, _) = open(&disk);
        wal.append_blocking(&[1; 64]).unwrap();
        drop(wal);
        disk
    };
    let (disk, other) = (make(), make());
    other.entropy().unwrap();
    let stranger = {
        let disk = MemVfs::new();
        disk.entropy().unwrap();
        let (wal, _) = open(&disk);
        wal.append_blocking(&[1; 64]).unwrap();
        drop(wal);
        disk
    };
    let path = segments(&disk)[0].clone();
    disk.set_contents(&path, &stranger.contents(&path).unwrap()).unwrap();
    let Err(OpenError::Corruption(report)) = open_with(&disk, small()) else { panic!() };
    let kinds: Vec<_> = report.damage.iter().map(|d| d.kind).collect();
    assert!(
        kinds.iter().any(|k| matches!(k, DamageKind::SegmentHeader | DamageKind::Link)),
        "{report:?}"
    );
}

#[test]
fn newer_versions_are_refused_untouched() {
    let disk = MemVfs::new();
    drop(open(&disk));
    let path = dir().join("MANIFEST");
    let mut bytes = disk.contents(&path).unwrap();
    for at in [0, 4096] {
        bytes[at + 8] = 2;
        let crc = crate::golden::crc(&bytes[at..at + 124]);
        bytes[at + 124..at + 128].copy_from_slice(&crc.to_le_bytes());
    }
    disk.set_contents(&path, &bytes).unwrap();
    match open_with(&disk, small()) {
        Err(OpenError::Unsupported { what: "manifest version", found: 2 }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.contents(&path).unwrap(), bytes);
}

#[test]
fn lengths_of_files() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    for i in 0..20_u8 {
        wal.append_blocking(&[i; 100]).unwrap();
    }
    drop(wal);
    let path = segments(&disk)[0].clone();
    let bytes = disk.contents(&path).unwrap();
    // Longer: the excess is ignored.
    let longer = disk.kill();
    longer.set_contents(&path, &[&bytes[..], &[7; 5000]].concat()).unwrap();
    assert_eq!(open(&longer).1.durable, Lsn::new(20));
    // Shorter, behind the end: nothing is lost, and the log goes on elsewhere.
    let shorter = disk.kill();
    shorter.set_contents(&path, &bytes[..12_000]).unwrap();
    let (wal, report) = open(&shorter);
    assert_eq!((report.durable, report.repaired), (Lsn::new(20), 1));
    wal.append_blocking(b"next").unwrap();
    drop(wal);
    assert_eq!(open(&shorter).1.durable, Lsn::new(21));
    // Shorter, within the records: damage.
    disk.set_contents(&path, &bytes[..5000]).unwrap();
    let Err(OpenError::Corruption(report)) = open_with(&disk, small()) else { panic!() };
    assert!(report.damage.iter().any(|d| d.kind == DamageKind::Length), "{report:?}");
}

#[test]
fn a_directory_that_takes_no_writes() {
    let disk = MemVfs::new();
    drop(open(&disk));
    disk.fail_nth(quorate_wal::vfs::OpKind::Lock, 1, std::io::ErrorKind::PermissionDenied);
    assert!(matches!(open_with(&disk, small()), Err(OpenError::Io { .. })));
    let file: Arc<dyn VfsFile> = disk.open(&dir().join("MANIFEST"), OpenMode::Read).unwrap();
    assert!(file.write_at(b"x", 0).is_err());
}

#[test]
fn closed_and_damaged_logs_refuse_writes() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let other = wal.clone();
    wal.append_blocking(b"x").unwrap();
    wal.shutdown().wait().unwrap();
    let closed = |r: Result<(), WriteError>| assert!(matches!(r, Err(WriteError::Closed)));
    closed(other.stage(&records(&[b"x"]), Ack::Durable).map(drop));
    closed(other.sync().map(drop));
    closed(other.reserve(10).wait().map(drop));
    assert!(other.wait_durable(Lsn::new(99)).is_err(), "no call hangs");
    assert_eq!(&other.get(Lsn::new(1)).unwrap()[..], b"x");
    let (wal, report) = open(&disk);
    assert!(matches!(wal.accept_damage(&report).map(drop), Err(WriteError::Invalid { .. })));
}

#[test]
fn config_lists_every_violation() {
    let error = Config::server()
        .segment_bytes(17 << 10)
        .frame_bytes(1)
        .batch_bytes_max(1)
        .staged_bytes_max(0)
        .spare_segments(0)
        .log_bytes_max(1)
        .build()
        .unwrap_err();
    assert_eq!(error.violations().len(), 6, "{error}");
}
