//! The rows of §12 about opening: a refusal touches nothing.

use std::path::Path;
use std::sync::Arc;

use quorate_wal::vfs::{MemVfs, OpKind, OpenMode, Vfs};
use quorate_wal::{
    Ack, AppendError, Damage, DamageKind, Lsn, OpenError, Prealloc, ReadError, Recovery, Tail,
    TailPolicy, Wal, WalReader, WriteError,
};

use super::{files, quiet};
use crate::golden::{crc, log_with_flags};
use crate::rig::{dir, manual, open_with, records, segments, settle};

/// A log of twenty records, shut down or killed.
fn twenty(closed: bool) -> MemVfs {
    let (disk, wal) = quiet();
    for n in 0..20_u8 {
        wal.append_blocking(&[n; 100]).unwrap();
    }
    if closed {
        wal.shutdown().wait().unwrap();
    }
    disk.kill()
}

/// The error of an open that must not write a byte.
fn refused(disk: &MemVfs, config: quorate_wal::ConfigBuilder) -> OpenError {
    let before = files(disk);
    let error = open_with(disk, config).map(drop).unwrap_err();
    assert!(files(disk) == before, "nothing is touched: {error}");
    error
}

/// The damage that an open names.
fn damage(disk: &MemVfs) -> Vec<Damage> {
    match refused(disk, manual()) {
        OpenError::Corruption(report) => report.damage,
        other => panic!("{other:?}"),
    }
}

/// Flips a bit of the record with this byte.
fn rot(disk: &MemVfs, record: u8) {
    let path = &segments(disk)[0];
    let content = disk.contents(path).unwrap();
    let at = content.windows(100).position(|w| w == [record; 100]).unwrap();
    disk.flip(path, at as u64 * 8 + 1).unwrap();
}

#[test]
fn row_rot_at_open_strict() {
    let disk = twenty(true);
    rot(&disk, 4);
    rot(&disk, 9);
    let damage = damage(&disk);
    assert_eq!(damage.len(), 2, "every hole: {damage:?}");
    for (damage, lsn) in damage.iter().zip([5, 10].map(Lsn::new)) {
        assert_eq!((damage.kind, damage.segment), (DamageKind::Payload, 1));
        assert_eq!((damage.lost.from, damage.lost.to), (lsn, Some(lsn)));
        assert!(damage.single_bit.is_some(), "{damage}");
    }
}

#[test]
fn row_rot_at_open_salvage() {
    let disk = twenty(true);
    rot(&disk, 4);
    let old = disk.contents(&segments(&disk)[0]).unwrap();
    let (wal, report) = open_with(&disk, manual().recovery(Recovery::Salvage)).unwrap();
    assert_eq!(report.damage.len(), 1);
    let answer = wal.append_blocking(b"x");
    assert!(matches!(answer, Err(AppendError::Refused(WriteError::Damaged))), "{answer:?}");
    assert!(matches!(wal.get(Lsn::new(5)), Err(ReadError::Lost { .. })));
    assert_eq!(wal.get(Lsn::new(6)).unwrap()[..], [5; 100]);
    wal.accept_damage(&report).unwrap().wait().unwrap();
    settle(&wal);
    assert!(wal.append_blocking(b"x").unwrap() > Lsn::new(20));
    assert_eq!(disk.contents(&segments(&disk)[0]).unwrap(), old, "old bytes are evidence");
}

#[test]
fn row_torn_or_unverifiable_tail() {
    let (mut torn, mut unverifiable) = (0, 0);
    for seed in 0..400 {
        let (disk, wal) = quiet();
        wal.append_blocking(&[1; 700]).unwrap();
        for n in 2..5 {
            wal.stage(&records(&[&[n; 700]]), Ack::Written).unwrap().wait().unwrap();
        }
        let cut = disk.crash(seed);
        let strict = cut.kill();
        let path = segments(&cut)[0].clone();
        let before = cut.contents(&path).unwrap();
        let (wal, report) = open_with(&cut, manual()).unwrap();
        assert!(report.damage.is_empty() && report.durable >= Lsn::new(1), "{report:?}");
        match report.tail {
            Tail::Torn { from } => {
                assert_eq!(from.as_u64(), report.durable.as_u64() + 1);
                torn += 1;
            }
            Tail::Unverifiable { lsns } => {
                assert_eq!(lsns.from.as_u64(), report.durable.as_u64() + 1);
                let answer = refused(&strict, manual().tail(TailPolicy::Refuse));
                let OpenError::Unverifiable(named) = answer else { panic!("{answer:?}") };
                assert_eq!(named.tail, report.tail);
                unverifiable += 1;
            }
            _ => continue,
        }
        // What was discarded stays where it is, and is never read again.
        let new = wal.append_blocking(b"instead").unwrap();
        assert_eq!(cut.contents(&path).unwrap(), before);
        drop(wal);
        let (wal, again) = open_with(&cut, manual()).unwrap();
        assert_eq!((again.durable, again.damage.len()), (new, 0));
        assert_eq!(&wal.get(new).unwrap()[..], b"instead");
    }
    assert!(torn > 5 && unverifiable > 5, "{torn} {unverifiable}");
}

#[test]
fn row_locked() {
    let (disk, _wal) = quiet();
    assert!(matches!(refused(&disk, manual()), OpenError::Locked { holder: None }));
    let root = tempfile::tempdir().unwrap();
    let open = || Wal::open(root.path(), manual().build().unwrap()).map(drop);
    let (_wal, _) = Wal::open(root.path(), manual().build().unwrap()).unwrap();
    let me = std::process::id();
    match open() {
        Err(OpenError::Locked { holder: Some(pid) }) => assert_eq!(pid, me),
        other => panic!("{other:?}"),
    }
}

#[test]
fn row_segment_of_another_log() {
    // Nothing says under which salt its frames were written; and: MANIFEST says it, so that what
    // is wrong is the first frame.
    for (closed, kind) in [(false, DamageKind::SegmentHeader), (true, DamageKind::Link)] {
        let disk = twenty(closed);
        let stranger = MemVfs::new();
        // Other entropy: another uuid and other salts.
        stranger.entropy().unwrap();
        let (wal, _) = open_with(&stranger, manual()).unwrap();
        wal.append_blocking(b"of another log").unwrap();
        let path = &segments(&disk)[0];
        disk.set_contents(path, &stranger.contents(path).unwrap()).unwrap();
        let damage = damage(&disk);
        assert_eq!((damage[0].kind, damage[0].segment), (kind, 1));
        assert!(damage[0].lost.contains(Lsn::new(1)), "{damage:?}");
        assert!(damage[0].lost.contains(Lsn::new(20)), "{damage:?}");
    }
}

#[test]
fn row_newer_version_or_codec() {
    let disk = twenty(true);
    let manifest = dir().join("MANIFEST");
    let mut bytes = disk.contents(&manifest).unwrap();
    for at in [0, 4096] {
        bytes[at + 8] = 2;
        let sum = crc(&bytes[at..at + 124]);
        bytes[at + 124..at + 128].copy_from_slice(&sum.to_le_bytes());
    }
    disk.set_contents(&manifest, &bytes).unwrap();
    let unsupported = |disk: &MemVfs| match refused(disk, manual()) {
        OpenError::Unsupported { what, found } => (what, found),
        other => panic!("{other:?}"),
    };
    assert_eq!(unsupported(&disk), ("manifest version", 2));
    for (field, what, value) in [
        (8, "segment version", 2),
        (10, "checksum algorithm", 7),
        (11, "segment flags", 2),
        (52, "segment alignment", 3),
    ] {
        let disk = twenty(true);
        let path = &segments(&disk)[0];
        let mut bytes = disk.contents(path).unwrap();
        for at in [0, 2048] {
            bytes[at + field] = value;
            let sum = crc(&bytes[at..at + 92]);
            bytes[at + 92..at + 96].copy_from_slice(&sum.to_le_bytes());
        }
        disk.set_contents(path, &bytes).unwrap();
        assert_eq!(unsupported(&disk), (what, value.into()));
    }
    assert_eq!(unsupported(&log_with_flags(1).0), ("frame flags", 1), "a codec");
}

#[test]
fn row_not_a_log() {
    let disk = MemVfs::new();
    disk.create_dir_all(Path::new("other")).unwrap();
    disk.open(Path::new("other/file"), OpenMode::CreateNew).unwrap();
    let at = |path: &str| {
        let config = manual().build().unwrap();
        Wal::open_on(Arc::new(disk.clone()), Path::new(path), config, None).map(|_| ())
    };
    for path in ["other/file", "other"] {
        match at(path) {
            Err(OpenError::NotALog(named)) => assert_eq!(named, Path::new(path)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(disk.list(Path::new("other")).unwrap().len(), 1, "nothing touched");
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, b"text").unwrap();
    let opened = Wal::open(&file, manual().build().unwrap());
    assert!(matches!(opened, Err(OpenError::NotALog(named)) if named == file));
    assert_eq!(std::fs::read(&file).unwrap(), b"text");
}

#[test]
fn row_manifest_missing_over_segments() {
    let disk = twenty(true);
    disk.delete(&dir().join("MANIFEST")).unwrap();
    let damage = damage(&disk);
    assert_eq!((damage[0].kind, damage[0].lost.is_empty()), (DamageKind::Manifest, true));
}

#[test]
fn row_manifest_both_slots_bad() {
    let disk = twenty(true);
    let path = dir().join("MANIFEST");
    disk.flip(&path, 30 * 8).unwrap();
    let (_, report) = open_with(&disk.kill(), manual()).unwrap();
    assert_eq!((report.repaired, report.durable), (1, Lsn::new(20)), "one is enough");
    disk.flip(&path, (4096 + 30) * 8).unwrap();
    let damage = damage(&disk);
    assert_eq!((damage[0].kind, damage[0].lost.is_empty()), (DamageKind::Manifest, true));
}

#[test]
fn row_file_shorter_or_longer() {
    let disk = twenty(true);
    let path = segments(&disk)[0].clone();
    let bytes = disk.contents(&path).unwrap();
    // Longer: the excess is ignored.
    let longer = disk.kill();
    longer.extend(&path, &[7; 5000]).unwrap();
    let (_, report) = open_with(&longer, manual()).unwrap();
    assert_eq!((report.durable, report.damage.len()), (Lsn::new(20), 0));
    // Shorter, behind the end: nothing is lost, and the log goes on elsewhere.
    let shorter = disk.kill();
    shorter.truncate(&path, 12_000).unwrap();
    let (wal, report) = open_with(&shorter, manual()).unwrap();
    assert_eq!((report.durable, report.repaired), (Lsn::new(20), 1));
    settle(&wal);
    wal.append_blocking(b"next").unwrap();
    drop(wal);
    assert_eq!(open_with(&shorter, manual()).unwrap().1.durable, Lsn::new(21));
    // Shorter, within the records: damage.
    disk.truncate(&path, 5000).unwrap();
    let damage = damage(&disk);
    assert_eq!((damage[0].kind, damage[0].segment), (DamageKind::Length, 1));
    assert!(bytes.len() == 16 << 10 && damage[0].offset < 5000, "{damage:?}");
}

#[test]
fn row_growing_file_is_short_by_design() {
    let grow = || manual().prealloc(Prealloc::Grow);
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, grow()).unwrap();
    for n in 0..5_u8 {
        wal.append_blocking(&[n; 100]).unwrap();
    }
    wal.shutdown().wait().unwrap();
    let path = segments(&disk)[0].clone();
    assert!(disk.contents(&path).unwrap().len() < 8192, "as long as what was written");
    let (_, report) = open_with(&disk.kill(), grow()).unwrap();
    assert_eq!((report.durable, report.repaired, report.tail), (Lsn::new(5), 0, Tail::Clean));
    disk.truncate(&path, 4300).unwrap();
    let Err(OpenError::Corruption(report)) = open_with(&disk, grow()) else { panic!() };
    let first = &report.damage[0];
    assert_ne!(first.kind, DamageKind::Length, "there is no length to miss: {first}");
    assert!(first.lost.contains(Lsn::new(2)) || first.lost.contains(Lsn::new(1)), "{first}");
}

#[test]
fn row_read_only_directory() {
    for errno in [13, 30] {
        let disk = twenty(true);
        disk.fail_nth_errno(OpKind::Lock, 1, errno);
        match refused(&disk, manual()) {
            OpenError::Io { path, source } => {
                assert_eq!((path, source.raw_os_error()), (dir().join("LOCK"), Some(errno)));
            }
            other => panic!("{other:?}"),
        }
        let (reader, _) = WalReader::open_read_only(Arc::new(disk), dir()).unwrap();
        assert_eq!(reader.get(Lsn::new(20)).unwrap()[..], [19; 100]);
    }
}
