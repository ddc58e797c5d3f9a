//! Copies of a log that is in use: they open clean, or are not taken for a log.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
use quorate_wal::{
    Batch, CheckpointError, Lsn, OpenError, ReadBound, RecoveryReport, Slot, Tail, Wal, WriteError,
};

use crate::rig::{Replay, dir, group, open, seeds, segments, small};

fn target() -> &'static Path {
    Path::new("backup/copy")
}

fn open_copy(disk: &MemVfs) -> Result<(Wal, RecoveryReport), OpenError> {
    Wal::open_on(Arc::new(disk.clone()), target(), small().build().unwrap(), None)
}

/// All records, the cells and blocks of two streams.
fn content(wal: &Wal) -> String {
    let marks = wal.marks();
    let mut text = format!("{:?} {:?}\n", marks.low, marks.durable);
    for record in wal.read(marks.low, ReadBound::Durable) {
        let record = record.unwrap();
        text += &format!("{} {:?}\n", record.lsn, record.bytes);
    }
    for id in [1, 2] {
        let stream = wal.stream(group(id));
        text += &format!("{:?} {:?}\n", stream.blocks(), stream.meta(Slot::new(0).unwrap()));
    }
    text
}

fn busy(disk: &MemVfs, rounds: u64) -> Wal {
    let (wal, _) = open(disk);
    for n in 0..rounds {
        let id = group(1 + n % 2);
        let mut batch = Batch::new();
        batch.record(&[n as u8; 300]).extend(id, 1 + n / 2, 1, n, &[1; 90]);
        wal.commit_blocking(batch.meta(id, Slot::new(0).unwrap(), &[n as u8])).unwrap();
        if n % 40 == 39 {
            wal.truncate_prefix(Lsn::new(n)).unwrap();
        }
    }
    wal
}

#[test]
fn the_copy_opens_clean_and_both_go_on() {
    let disk = MemVfs::new();
    let wal = busy(&disk, 150);
    let lsn = wal.checkpoint_to(target()).unwrap();
    assert_eq!(lsn, wal.marks().durable);
    let (copy, report) = open_copy(&disk).unwrap();
    assert_eq!((report.tail, report.damage.len(), report.durable), (Tail::Clean, 0, lsn));
    assert_eq!((report.repaired, report.foreign.len(), report.anchored_bytes), (0, 0, 0));
    assert_eq!(content(&copy), content(&wal));
    let uuid = |dir: &Path| disk.contents(&dir.join("MANIFEST")).unwrap()[24..40].to_vec();
    assert_eq!(uuid(dir()), uuid(target()), "it is the same log");
    let next = Lsn::new(lsn.as_u64() + 1);
    assert_eq!(wal.append_blocking(b"here").unwrap(), next);
    assert_eq!(copy.append_blocking(b"there").unwrap(), next);
    drop(copy);
    let (copy, report) = open_copy(&disk.kill()).unwrap();
    assert!(report.damage.is_empty());
    assert_eq!(&copy.get(next).unwrap()[..], b"there");
}

#[test]
fn an_empty_log_and_an_emptied_one_are_copied() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    assert_eq!(wal.checkpoint_to(target()).unwrap(), Lsn::ZERO);
    let (copy, report) = open_copy(&disk).unwrap();
    assert_eq!((report.tail, report.durable, report.created), (Tail::Clean, Lsn::ZERO, false));
    assert_eq!(copy.append_blocking(b"first").unwrap(), Lsn::new(1));
    // Numbers go on in a copy of a log without any record.
    let other = MemVfs::new();
    let wal = busy(&other, 5);
    wal.truncate_prefix(Lsn::new(16)).unwrap();
    assert_eq!(wal.checkpoint_to(target()).unwrap(), Lsn::new(15));
    let (copy, _) = open_copy(&other).unwrap();
    assert_eq!((copy.marks().low, copy.marks().durable), (Lsn::new(16), Lsn::new(15)));
    assert_eq!(copy.append_blocking(b"next").unwrap(), Lsn::new(16));
}

#[test]
fn what_is_not_empty_is_left_alone() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    wal.append_blocking(b"x").unwrap();
    disk.create_dir_all(target()).unwrap();
    disk.open(&target().join("mine"), OpenMode::CreateNew).unwrap();
    let refused = wal.checkpoint_to(target()).unwrap_err();
    assert!(matches!(&refused, CheckpointError::NotEmpty(path) if path == target()), "{refused}");
    assert_eq!(disk.list(target()).unwrap().len(), 1);
    let closed = wal.clone();
    wal.shutdown().wait().unwrap();
    let refused = closed.checkpoint_to(Path::new("other")).unwrap_err();
    assert!(matches!(refused, CheckpointError::Refused(WriteError::Closed)), "{refused}");
}

#[test]
fn rot_is_not_copied_silently() {
    let disk = MemVfs::new();
    let wal = busy(&disk, 150);
    disk.flip(&segments(&disk)[0], 5000 * 8).unwrap();
    let refused = wal.checkpoint_to(target()).unwrap_err();
    let CheckpointError::Corruption(report) = &refused else { panic!("{refused}") };
    assert!(report.damage.len() == 1 && refused.is_corruption() && !refused.is_retryable());
    assert!(matches!(open_copy(&disk), Err(OpenError::Corruption(_))));
}

#[test]
fn a_copy_that_was_cut_short_is_not_taken_for_a_log() {
    let (mut refused, mut whole, mut nothing) = (0, 0, 0);
    for seed in seeds(2) {
        let _replay = Replay { test: "a_copy_that_was_cut_short", seed };
        for cut in 0.. {
            let disk = MemVfs::new();
            let wal = busy(&disk, 60);
            let expected = content(&wal);
            disk.power_off_after(cut);
            let done = wal.checkpoint_to(target()).is_ok();
            let left = disk.crash(seed + cut);
            drop(wal);
            assert_eq!(content(&open(&left).0), expected, "the log itself is unharmed");
            let is_bare = left.list(target()).map_or(true, |items| items.is_empty());
            match open_copy(&left) {
                Ok(_) if is_bare => nothing += 1,
                Ok((copy, report)) => {
                    assert_eq!((report.tail, report.created), (Tail::Clean, false), "cut {cut}");
                    assert_eq!(content(&copy), expected, "cut {cut}");
                    whole += 1;
                }
                Err(OpenError::NotALog(_) | OpenError::Corruption(_)) => refused += 1,
                Err(other) => panic!("cut {cut}: {other}"),
            }
            if done {
                break;
            }
        }
    }
    assert!(refused > 20 && whole > 0 && nothing > 0, "{refused} {whole} {nothing}");
}

#[test]
fn h54_copying_files_of_an_open_log_looks_damaged_and_a_checkpoint_does_not() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    wal.append_blocking(b"one").unwrap();
    // A copier takes the segment, then the log goes on, then it takes MANIFEST and the rest.
    let naive = Path::new("naive");
    disk.create_dir_all(naive).unwrap();
    let first = segments(&disk).remove(0);
    let copy = |from: &Path| {
        let name = from.file_name().unwrap();
        drop(disk.open(&naive.join(name), OpenMode::CreateNew).unwrap());
        disk.set_contents(&naive.join(name), &disk.contents(from).unwrap()).unwrap();
    };
    copy(&first);
    for _ in 0..60 {
        wal.append_blocking(&[2; 500]).unwrap();
    }
    for path in segments(&disk).iter().skip(1).chain([&dir().join("MANIFEST")]) {
        copy(path);
    }
    let opened = Wal::open_on(Arc::new(disk.clone()), naive, small().build().unwrap(), None);
    assert!(matches!(opened, Err(OpenError::Corruption(_))), "{opened:?}");
    // The same while somebody writes as fast as it goes.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let lsn = wal.append_blocking(&[3; 400]).unwrap();
                if lsn.as_u64().is_multiple_of(50) {
                    wal.truncate_prefix(Lsn::new(lsn.as_u64() - 40)).unwrap();
                }
            }
        });
        for n in 0..20 {
            let to = format!("copies/{n}");
            let before = wal.marks().durable;
            let lsn = wal.checkpoint_to(Path::new(&to)).unwrap();
            let vfs = Arc::new(disk.clone());
            let config = small().build().unwrap();
            let (_, report) = Wal::open_on(vfs, Path::new(&to), config, None).unwrap();
            assert!(lsn >= before);
            assert_eq!((report.tail, report.durable), (Tail::Clean, lsn), "{report:?}");
        }
        stop.store(true, Ordering::Relaxed);
    });
}
