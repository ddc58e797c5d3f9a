//! Hazards of the design (§11): failed syncs before a reopen, growing files, aligned groups,
//! carried blocks, deletion before a snapshot.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use quorate_wal::vfs::{FsyncFailure, MemVfs, OpKind, Operation};
use quorate_wal::{Ack, Align, Batch, Lsn, Prealloc, ReadBound, Tail, Wal, WriteError};

use crate::rig::{group, manual, open_with, records, settle};

const MODELS: [FsyncFailure; 3] =
    [FsyncFailure::MarkClean, FsyncFailure::DropPages, FsyncFailure::KeepDirty];

#[test]
fn h10_what_a_reopen_reports_after_a_failed_sync_is_on_the_medium() {
    for model in MODELS {
        let disk = MemVfs::new();
        disk.fsync_failure(model);
        let (wal, _) = open_with(&disk, manual()).unwrap();
        wal.append_blocking(b"kept").unwrap();
        disk.fail_nth(OpKind::SyncData, 1, ErrorKind::Other);
        assert!(wal.append_blocking(b"in doubt").is_err());
        drop(wal);
        let (wal, report) = open_with(&disk, manual()).unwrap();
        assert!(report.durable >= Lsn::new(1));
        for state in disk.crash_states(64) {
            let (_, again) = open_with(&state, manual()).unwrap();
            assert!(again.durable >= report.durable, "{model:?}: {again:?} after {report:?}");
        }
        drop(wal);
    }
}

#[test]
fn h10_files_are_deleted_only_because_of_a_manifest_that_is_on_the_medium() {
    for model in MODELS {
        for nth in 1..6 {
            let disk = MemVfs::new();
            disk.fsync_failure(model);
            let (wal, _) = open_with(&disk, manual()).unwrap();
            while wal.stats().rolls < 3 {
                wal.append_blocking(&[1; 900]).unwrap();
                settle(&wal);
            }
            let durable = wal.marks().durable;
            wal.truncate_prefix(durable).unwrap();
            disk.fail_nth(OpKind::SyncData, nth, ErrorKind::Other);
            // The mark, then MANIFEST's two slots: one of these syncs fails.
            drop(wal.append_blocking(b"more"));
            settle(&wal);
            let killed = disk.kill();
            let (again, report) = open_with(&killed, manual()).unwrap();
            assert!(report.damage.is_empty());
            for seed in 0..8 {
                let (_, report) = open_with(&killed.crash(seed), manual()).unwrap();
                assert!(report.durable >= durable, "{model:?} {nth}: {report:?}");
            }
            drop(again);
        }
    }
}

#[test]
fn h26_a_growing_file_is_synced_with_its_length() {
    let config = || manual().prealloc(Prealloc::Grow);
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, config()).unwrap();
    for n in 1..=60_u64 {
        assert_eq!(wal.append_blocking(&n.to_le_bytes().repeat(80)).unwrap(), Lsn::new(n));
        settle(&wal);
        if n % 5 == 0 {
            for state in disk.crash_states(12) {
                let (again, report) = open_with(&state, config()).unwrap();
                assert!(report.damage.is_empty() && report.durable >= Lsn::new(n), "{report:?}");
                let bytes = again.get(Lsn::new(n)).unwrap();
                assert_eq!(bytes[..], n.to_le_bytes().repeat(80));
            }
        }
    }
    assert!(wal.stats().rolls > 1);
    let short = crate::rig::segments(&disk).iter().any(|p| disk.contents(p).unwrap().len() < 8192);
    assert!(short, "files grow with what is written");
}

#[test]
fn h40_no_sector_with_acknowledged_bytes_is_written_again() {
    for (align, size) in [(Align::Bytes512, 512), (Align::Bytes4096, 4096)] {
        let config = || manual().align(align);
        let disk = MemVfs::new();
        let (wal, _) = open_with(&disk, config()).unwrap();
        wal.append_blocking(b"first").unwrap();
        settle(&wal);
        for n in 2..30_u64 {
            disk.log_operations(0);
            disk.log_operations(100);
            let before = disk.kill();
            wal.append_blocking(&[n as u8; 70]).unwrap();
            let log = disk.operations();
            // A prepared file keeps the name it was opened with.
            let name = |op: &Operation| op.path.to_string_lossy().replace(".tmp", "");
            let group = |op: &&Operation| op.kind == OpKind::Write && name(op).ends_with(".qwal");
            let write = log.iter().find(group).unwrap();
            assert_eq!(write.offset % size, 0, "a group begins a sector: {write:?}");
            // The power fails in the middle of that sector: nothing acknowledged was in it.
            if write.offset > 4096 {
                let torn = write.offset..write.offset + size;
                before.randomize(Path::new(&name(write)), torn, n).unwrap();
                let (again, report) = open_with(&before, config()).unwrap();
                assert!(report.damage.is_empty(), "{report:?}");
                assert_eq!(report.durable, Lsn::new(n - 1));
                assert!(!matches!(report.tail, Tail::Clean), "the End was in that sector");
                let all = again.read(Lsn::new(1), ReadBound::Durable);
                assert_eq!(all.map(Result::unwrap).count() as u64, n - 1);
            }
            settle(&wal);
        }
    }
}

#[test]
fn h46_a_carried_block_revives_nothing_that_was_cut() {
    let config = || manual().carry_live_percent_max(50).mark_idle(Duration::ZERO);
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, config()).unwrap();
    let g = group(1);
    for n in 1..=10 {
        wal.commit_blocking(Batch::new().extend(g, n, 1, 1, &[n as u8; 100])).unwrap();
    }
    let mut expected = 11;
    for round in 0..12_u64 {
        // Idle otherwise, so its segment is carried; and cut, so that carrying comes after.
        let rolls = wal.stats().rolls + 1;
        while wal.stats().rolls < rolls {
            wal.append_blocking(&[0xab; 900]).unwrap();
        }
        wal.truncate_prefix(Lsn::new(wal.marks().durable.as_u64() + 1)).unwrap();
        if round % 3 == 1 {
            expected -= 2;
            wal.commit_blocking(Batch::new().replace(g, expected - 1, 1, 2, b"new")).unwrap();
        }
        wal.sync().unwrap().wait().unwrap();
        settle(&wal);
        let look = |wal: &Wal| {
            let stream = wal.stream(g);
            let mut out = Vec::new();
            let mut next = 1;
            while next < stream.bounds().end {
                next = stream.read(next..stream.bounds().end, 1 << 20, &mut out).unwrap();
            }
            let live: Vec<_> = out.iter().map(|b| (b.live.clone(), b.tag)).collect();
            (stream.bounds(), live)
        };
        let now = look(&wal);
        assert_eq!(now.0, 1..expected, "round {round}");
        for state in disk.crash_states(6).into_iter().chain([disk.kill()]) {
            let (again, report) = open_with(&state, config()).unwrap();
            assert!(report.damage.is_empty(), "{report:?}");
            assert_eq!(look(&again), now, "round {round}");
        }
    }
    assert!(wal.stats().carried > 0, "nothing was carried: {:?}", wal.stats());
}

#[test]
fn h50_a_low_mark_without_room_for_its_hint_is_durable_with_the_next_sync() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual().segment_bytes(64 << 10)).unwrap();
    for _ in 0..5 {
        wal.append_blocking(b"kept until it is not").unwrap();
    }
    settle(&wal);
    // Without a roll: a Link would carry the mark.
    while wal.stage(&records(&[b""]), Ack::Staged).map(drop).is_ok() {}
    wal.truncate_prefix(Lsn::new(4)).unwrap();
    wal.sync().unwrap().wait().unwrap();
    for seed in 0..4 {
        assert_eq!(open_with(&disk.crash(seed), manual()).unwrap().0.marks().low, Lsn::new(4));
    }
}

#[test]
fn h50_nothing_is_given_up_that_is_not_durable() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual()).unwrap();
    wal.append_blocking(b"1").unwrap();
    wal.stage(&records(&[b"2"]), Ack::Written).unwrap().wait().unwrap();
    let marks = wal.marks();
    // The snapshot that replaces record 2 cannot be durable before the record: refused.
    match wal.truncate_prefix(Lsn::new(3)) {
        Err(WriteError::Invalid { op: "truncate_prefix", .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(wal.marks(), marks, "nothing changed");
    wal.truncate_prefix(Lsn::new(2)).unwrap();
    wal.sync().unwrap().wait().unwrap();
    wal.truncate_prefix(Lsn::new(3)).unwrap();
    assert_eq!(wal.marks().low, Lsn::new(3));
}
