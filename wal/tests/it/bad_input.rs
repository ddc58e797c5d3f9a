//! Every row of the design's table of bad input (§12) that concerns what is built.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate_wal::vfs::{MemVfs, OpKind, Vfs};
use quorate_wal::{
    Ack, AppendError, Batch, Config, DamageKind, Event, FailedOp, Lsn, Marks, ReadBound, ReadError,
    Slot, StreamId, Wal, WriteError,
};

use crate::rig::{dir, group, manual, open, open_with, records, segments, settle};

mod opening;

/// Everything that may not change by a refusal.
struct State {
    marks: Marks,
    counters: [u64; 7],
    files: Files,
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(disk: &MemVfs) -> Files {
    // LOCK is made by everybody who asks.
    let items = disk.list(dir()).unwrap().into_iter().filter(|item| item.name != "LOCK");
    let paths = items.map(|item| dir().join(item.name));
    paths.map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

fn state(wal: &Wal, disk: &MemVfs) -> State {
    let s = wal.stats();
    let counters =
        [s.batches, s.records, s.payload_bytes, s.bytes_written, s.frames, s.syncs, s.staged_bytes];
    State { marks: wal.marks(), counters, files: files(disk) }
}

/// A log without threads: whatever changes, the call that is looked at did it.
fn quiet() -> (MemVfs, Wal) {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual()).unwrap();
    settle(&wal);
    (disk, wal)
}

/// The answer of a call that must leave everything as it was.
fn unchanged<T>(wal: &Wal, disk: &MemVfs, call: impl FnOnce() -> T) -> T {
    let before = state(wal, disk);
    let answer = call();
    let after = state(wal, disk);
    assert_eq!((after.marks, after.counters), (before.marks, before.counters));
    assert!(after.files == before.files, "a refusal changes no byte");
    answer
}

fn refused(wal: &Wal, batch: &Batch) -> WriteError {
    let before = wal.marks();
    let error = wal.stage(batch, Ack::Durable).map(|s| s.lsn()).unwrap_err();
    assert_eq!(wal.marks(), before, "no number used, nothing staged: {error}");
    error
}

#[test]
fn row_record_or_batch_over_a_limit() {
    let (disk, wal) = quiet();
    let g = group(1);
    let too_large = records(&[&[0; 5000]]);
    let error = unchanged(&wal, &disk, || refused(&wal, &too_large));
    assert!(matches!(error, WriteError::TooLarge { bytes: 5011, max: 4096 }));
    let invalid =
        |batch: &mut Batch, op: &str| match unchanged(&wal, &disk, || refused(&wal, batch)) {
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
fn row_extend_with_a_gap_or_below_low() {
    let (disk, wal) = quiet();
    let g = group(1);
    wal.commit_blocking(Batch::new().extend(g, 10, 5, 1, b"x").keep_from(g, 12)).unwrap();
    let gap = |e| match e {
        WriteError::Gap { expected, found, .. } => (expected, found),
        other => panic!("{other:?}"),
    };
    assert_eq!(gap(refused(&wal, Batch::new().extend(g, 16, 1, 1, b""))), (15, 16));
    assert_eq!(gap(refused(&wal, Batch::new().extend(g, 14, 1, 1, b""))), (15, 14));
    assert_eq!(gap(refused(&wal, Batch::new().replace(g, 16, 1, 1, b""))), (15, 16));
    match unchanged(&wal, &disk, || refused(&wal, Batch::new().replace(g, 11, 1, 1, b""))) {
        WriteError::Compacted { low: 12, found: 11, .. } => {}
        other => panic!("{other:?}"),
    }
    // The rules look at the batch as a whole: its own earlier operations count, and one bad
    // operation refuses all.
    let mut batch = Batch::new();
    batch.extend(g, 15, 1, 1, b"").extend(g, 17, 1, 1, b"");
    assert_eq!(gap(unchanged(&wal, &disk, || refused(&wal, &batch))), (16, 17));
    assert_eq!(wal.stream(g).bounds(), 12..15);
    batch.clear();
    batch.drop_stream(g).extend(g, 900, 1, 1, b"");
    wal.commit_blocking(&batch).unwrap();
    assert_eq!(wal.stream(g).bounds(), 900..901);
}

#[test]
fn row_marks_out_of_range() {
    let (disk, wal) = quiet();
    for _ in 0..5 {
        wal.append_blocking(b"x").unwrap();
    }
    let invalid = |r: Result<(), WriteError>| assert!(matches!(r, Err(WriteError::Invalid { .. })));
    unchanged(&wal, &disk, || {
        invalid(wal.truncate_prefix(Lsn::new(7)));
        invalid(wal.advance_high(Lsn::new(6)));
        invalid(wal.truncate_suffix(Lsn::new(7)).map(drop));
        invalid(wal.truncate_suffix(Lsn::ZERO).map(drop));
    });
    wal.truncate_prefix(Lsn::new(3)).unwrap();
    wal.truncate_prefix(Lsn::new(2)).unwrap();
    wal.advance_high(Lsn::new(4)).unwrap();
    wal.advance_high(Lsn::new(1)).unwrap();
    assert_eq!((wal.marks().low, wal.marks().high), (Lsn::new(3), Lsn::new(4)), "no way back");
    invalid(wal.truncate_suffix(Lsn::new(2)).map(drop));
    invalid(wal.truncate_suffix(Lsn::new(4)).map(drop));
    let high: Vec<_> = wal.read(Lsn::new(3), ReadBound::High).collect();
    assert_eq!(high.len(), 2);
}

#[test]
fn row_read_out_of_range() {
    let (disk, wal) = quiet();
    wal.commit_blocking(Batch::new().record(b"1").extend(group(1), 1, 1, 1, b"2")).unwrap();
    drop(wal.stage(&records(&[b"staged"]), Ack::Staged).unwrap());
    assert!(matches!(wal.get(Lsn::new(2)), Err(ReadError::NotARecord(_))), "a block");
    assert!(matches!(wal.get(Lsn::ZERO), Err(ReadError::Truncated { low: 1 })));
    let beyond = unchanged(&wal, &disk, || wal.get(Lsn::new(9)));
    assert!(matches!(beyond, Err(ReadError::NotYet { bound: 2 })), "{beyond:?}");
    wal.sync().unwrap().wait().unwrap();
    wal.truncate_prefix(Lsn::new(2)).unwrap();
    assert!(matches!(wal.get(Lsn::new(1)), Err(ReadError::Truncated { low: 2 })));
    let mut below = wal.read(Lsn::new(1), ReadBound::Durable);
    assert!(matches!(below.next(), Some(Err(ReadError::Truncated { low: 2 }))));
    assert!(below.next().is_none());
    let mut out = Vec::new();
    assert!(wal.stream(group(9)).read(1..2, 9, &mut out).is_err());
    assert_eq!(wal.stream(group(1)).read(1..1, 9, &mut out).unwrap(), 1);
}

/// Appends until the log answers no space; how much it then asks for.
fn until_full(wal: &Wal) -> u64 {
    for _ in 0..200 {
        settle(wal);
        match wal.append_blocking(&[1; 3000]) {
            Ok(_) => {}
            Err(AppendError::Refused(WriteError::NoSpace { needed })) => return needed,
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("never full");
}

/// Reads and truncation work, and make room.
fn full_and_emptied(wal: &Wal, disk: &MemVfs) {
    let needed = until_full(wal);
    assert!((3000..3300).contains(&needed), "{needed}");
    settle(wal);
    let error = unchanged(wal, disk, || refused(wal, &records(&[&[1; 3000]])));
    assert!(matches!(error, WriteError::NoSpace { .. }) && error.is_retryable(), "{error}");
    assert!(wal.stats().no_space > 0);
    let newest = wal.marks().durable;
    assert_eq!(wal.get(newest).unwrap().len(), 3000);
    wal.truncate_prefix(Lsn::new(newest.as_u64() + 1)).unwrap();
    assert!(matches!(wal.get(newest), Err(ReadError::Truncated { .. })));
    let room = (0..20).any(|_| {
        settle(wal);
        wal.append_blocking(&[2; 3000]).is_ok()
    });
    assert!(room, "what was given up is room again");
}

#[test]
fn row_disk_full() {
    let (disk, wal) = quiet();
    disk.quota(Some(5 * (16 << 10) + 8192 + 64), false);
    full_and_emptied(&wal, &disk);
}

#[test]
fn row_log_bytes_max() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual().log_bytes_max(4 * (16 << 10))).unwrap();
    full_and_emptied(&wal, &disk);
}

#[test]
fn row_staged_full() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual().staged_bytes_max(8 << 10)).unwrap();
    let batch = records(&[&[1; 2000]]);
    let mut lsns = 0;
    let busy = loop {
        match wal.stage(&batch, Ack::Staged) {
            Ok(staged) => lsns = staged.detach().as_u64(),
            Err(busy) => break busy,
        }
    };
    let WriteError::Busy { staged, max } = busy else { panic!("{busy:?}") };
    assert_eq!((max, staged), (8 << 10, wal.stats().staged_bytes));
    assert!(busy.is_retryable() && staged <= max && staged + 2000 + 200 > max, "{busy}");
    assert_eq!(wal.marks().staged, Lsn::new(lsns), "only what was taken has a number");
    let again = unchanged(&wal, &disk, || refused(&wal, &batch));
    assert!(matches!(again, WriteError::Busy { .. }));
    assert!(wal.stats().busy >= 2);
    wal.sync().unwrap().wait().unwrap();
    assert_eq!(wal.get(Lsn::new(1)).unwrap().len(), 2000);
    wal.stage(&batch, Ack::Durable).unwrap().wait().unwrap();
}

#[test]
fn row_write_or_sync_error() {
    for (kind, op) in [(OpKind::Write, FailedOp::Write), (OpKind::SyncData, FailedOp::Sync)] {
        let (disk, wal) = quiet();
        wal.append_blocking(b"before").unwrap();
        disk.fail_nth_errno(kind, 1, 5);
        let Err(AppendError::InDoubt(doubt)) = wal.append_blocking(b"?") else { panic!() };
        assert_eq!((doubt.lsns.from, doubt.lsns.to), (Lsn::new(2), Some(Lsn::new(2))));
        assert_eq!((doubt.cause.op, doubt.cause.source.raw_os_error()), (op, Some(5)));
        assert_eq!(doubt.cause.path, segments(&disk)[0]);
        let later = unchanged(&wal, &disk, || wal.append_blocking(b"later"));
        let Err(AppendError::Refused(later)) = later else { panic!("{later:?}") };
        assert!(matches!(later, WriteError::Poisoned(_)) && !later.is_retryable(), "{later}");
        assert!(matches!(wal.sync().map(drop), Err(WriteError::Poisoned(_))));
        assert_eq!(wal.marks().durable, Lsn::new(1));
        assert_eq!(&wal.get(Lsn::new(1)).unwrap()[..], b"before", "reads go on");
        drop(wal);
        // Reopened it goes on.
        let (wal, report) = open_with(&disk, manual()).unwrap();
        assert!(report.damage.is_empty() && report.durable >= Lsn::new(1), "{report:?}");
        wal.append_blocking(b"after").unwrap();
    }
}

#[test]
fn row_damaged_frame_on_read() {
    let (disk, wal) = quiet();
    for n in 0..3_u8 {
        wal.append_blocking(&[n; 1200]).unwrap();
    }
    let mut events = wal.events();
    let path = &segments(&disk)[0];
    let at = disk.contents(path).unwrap().windows(9).position(|w| w == [1; 9]).unwrap();
    disk.flip(path, at as u64 * 8).unwrap();
    let before = wal.stats().verify_failures;
    let answer = unchanged(&wal, &disk, || wal.get(Lsn::new(2)));
    let Err(ReadError::Corruption(damage)) = answer else { panic!("{answer:?}") };
    assert_eq!((damage.kind, damage.segment), (DamageKind::Payload, 1));
    assert_eq!(damage.lost.from, Lsn::new(2), "{damage}");
    assert_eq!(wal.stats().verify_failures, before + 1, "counted");
    let told = std::iter::from_fn(|| events.try_next());
    assert!(told.into_iter().any(|e| matches!(e, Event::Damage(_))), "told");
    // What is not read through it is read, and the log stays open.
    assert_eq!(wal.get(Lsn::new(1)).unwrap()[..], [0; 1200]);
    assert_eq!(wal.append_blocking(b"on").unwrap(), Lsn::new(4));
    assert!(wal.read(Lsn::new(1), ReadBound::Durable).any(|r| r.is_err()));
}

#[test]
fn row_closed_log() {
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
fn row_config_out_of_range() {
    let error = Config::server()
        .segment_bytes(17 << 10)
        .frame_bytes(1)
        .batch_bytes_max(1)
        .staged_bytes_max(0)
        .spare_segments(0)
        .log_bytes_max(1)
        .mark_idle(Duration::from_secs(61))
        .flush_staged(Duration::ZERO)
        .prepare_retry(Duration::ZERO)
        .carry_live_percent_max(51)
        .carry_bytes_per_turn(1)
        .verify_threads(0)
        .build()
        .unwrap_err();
    let named: Vec<&str> =
        error.violations().iter().filter_map(|v| Some(v.split_once(':')?.0)).collect();
    let expected = [
        "segment_bytes",
        "frame_bytes",
        "batch_bytes_max",
        "staged_bytes_max", // less than two batches
        "staged_bytes_max", // no room for one and its padding
        "spare_segments",
        "mark_idle",
        "flush_staged",
        "prepare_retry",
        "log_bytes_max",
        "carry_live_percent_max",
        "carry_bytes_per_turn",
        "verify_threads",
    ];
    assert_eq!(named, expected, "all of them at once, in the order of the setters");
    assert!(error.to_string().contains("verify_threads: 1 to 64"), "{error}");
}
