//! Hazards on the reading side: recycling and maps.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{Driver, Lsn, ReadBound, ReadError, Turn, Wal, WalReader};

use crate::rig::{dir, group, open_with, small};

fn work(wal: &Wal) {
    while wal.turn() == Turn::Again {}
}

fn segment_files(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir).unwrap().map(|item| item.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".qwal")).count()
}

/// Segments deleted or recycled.
fn given_up(wal: &Wal) -> u64 {
    wal.stats().unlinked + wal.stats().recycled
}

/// On the real file system, where files can be mapped.
fn rolled(dir: &Path) -> Wal {
    let config = small().driver(Driver::manual(|| {})).build().unwrap();
    let (wal, _) = Wal::open(dir, config).unwrap();
    for n in 0..100_u8 {
        work(&wal);
        let mut batch = quorate_wal::Batch::new();
        batch.record(&[n; 300]).extend(group(1), 1 + u64::from(n), 1, 1, &[n; 200]);
        wal.commit_blocking(&batch).unwrap();
    }
    work(&wal);
    assert!(wal.stats().rolls >= 3);
    wal
}

#[test]
fn h52_a_mapped_segment_is_not_given_up_while_its_bytes_live() {
    let home = tempfile::tempdir().unwrap();
    let wal = rolled(home.path());
    let held = wal.get(Lsn::new(1)).unwrap();
    let mut blocks = Vec::new();
    wal.stream(group(1)).read(1..2, 1, &mut blocks).unwrap();
    let block = blocks.pop().unwrap().bytes;
    let read = wal.read(Lsn::new(3), ReadBound::Durable).next().unwrap().unwrap().bytes;
    assert_eq!((held[0], block[0], read[0]), (0, 0, 1));
    wal.truncate_prefix(wal.marks().durable).unwrap();
    let mut batch = quorate_wal::Batch::new();
    wal.commit_blocking(batch.keep_from(group(1), 101).record(b"on")).unwrap();
    let before = segment_files(home.path());
    work(&wal);
    assert_eq!((segment_files(home.path()), given_up(&wal)), (before, 0), "pinned");
    assert!(wal.stats().segments_pinned > 0);
    // Copies of one held `Bytes` hold it, too; the last one lets it go.
    let slice = held.slice(10..20);
    drop((held, block, read));
    wal.append_blocking(b"more").unwrap();
    work(&wal);
    assert_eq!((given_up(&wal), &slice[..]), (0, &[0; 10][..]));
    drop(slice);
    // A reader that goes asks for the segments it may have kept.
    let mut reader = wal.read(wal.marks().durable, ReadBound::Durable);
    reader.next().unwrap().unwrap();
    drop(reader);
    work(&wal);
    assert!(given_up(&wal) >= 3, "{:?}", wal.stats());
}

#[cfg(unix)]
#[test]
fn h52_maps_are_verified_and_only_of_what_is_sealed() {
    let home = tempfile::tempdir().unwrap();
    let wal = rolled(home.path());
    let one = wal.get(Lsn::new(1)).unwrap();
    let two = wal.get(Lsn::new(3)).unwrap();
    // Slices of one map lie where the file has them; reads have memory of their own.
    let apart = (two.as_ptr() as usize).wrapping_sub(one.as_ptr() as usize);
    assert!((500..1000).contains(&apart), "{apart}");
    let newest = wal.marks().durable.as_u64() - 1;
    let reads = [wal.get(Lsn::new(newest)).unwrap(), wal.get(Lsn::new(newest)).unwrap()];
    assert_ne!(reads[0].as_ptr(), reads[1].as_ptr(), "the last segment is still written");
    // Rot under the map is seen by the next read of it.
    let path = home.path().join(format!("{:020}.qwal", 1));
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(300).position(|w| w == [5; 300]).unwrap();
    bytes[at] ^= 1;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    drop((one, two));
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[at..=at], at as u64).unwrap();
    let hit = wal.get(Lsn::new(11)).unwrap_err();
    assert!(hit.is_corruption(), "{hit}");
    assert_eq!(wal.get(Lsn::new(3)).unwrap()[0], 1);
}

/// A log in memory without threads, with several segments of records.
fn in_memory(disk: &MemVfs) -> Wal {
    let (wal, _) = open_with(disk, small().driver(Driver::manual(|| {}))).unwrap();
    for n in 0..100_u8 {
        work(&wal);
        wal.append_blocking(&[n; 600]).unwrap();
    }
    work(&wal);
    wal
}

/// Gives up all but the last record, and lets the log recycle what it can.
fn give_up_and_go_on(wal: &Wal) {
    wal.truncate_prefix(wal.marks().durable).unwrap();
    for n in 100..160_u8 {
        wal.append_blocking(&[n; 600]).unwrap();
        work(wal);
    }
}

#[test]
fn h51_a_segment_is_not_recycled_under_a_reader() {
    let disk = MemVfs::new();
    let wal = in_memory(&disk);
    let mut reader = wal.read(Lsn::new(1), ReadBound::Durable);
    assert_eq!(reader.next().unwrap().unwrap().bytes[0], 0);
    give_up_and_go_on(&wal);
    assert_eq!((wal.stats().recycled, given_up(&wal)), (0, 0), "the oldest one is held");
    // The records of its window are hidden now, and none of them is taken for damage.
    let rest: Vec<_> = reader.by_ref().collect();
    for read in &rest {
        let sound = matches!(read, Ok(_) | Err(ReadError::Truncated { .. }));
        assert!(sound, "{read:?}");
    }
    drop(reader);
    wal.append_blocking(b"on").unwrap();
    work(&wal);
    assert!(wal.stats().recycled > 0, "{:?}", wal.stats());
    assert_eq!(wal.stats().verify_failures, 0);
}

#[test]
fn h51_beside_a_writer_a_recycled_segment_is_gone_not_damaged() {
    let disk = MemVfs::new();
    let wal = in_memory(&disk);
    let vfs = Arc::new(disk);
    let (mut reader, report) = WalReader::open_read_only(vfs, dir()).unwrap();
    assert!(report.damage.is_empty());
    // One file is open here when it is recycled, the others are not.
    let mut records = reader.read(Lsn::new(1), ReadBound::Written);
    assert_eq!(records.next().unwrap().unwrap().bytes[0], 0);
    give_up_and_go_on(&wal);
    assert!(wal.stats().recycled > 0, "{:?}", wal.stats());
    for lsn in 1..=90 {
        match reader.get(Lsn::new(lsn)) {
            Ok(bytes) => assert_eq!(bytes, vec![(lsn - 1) as u8; 600]),
            Err(ReadError::Io { source, .. }) => assert_eq!(source.kind(), ErrorKind::NotFound),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(reader.get(Lsn::new(1)).is_err());
    assert!(reader.refresh().unwrap().damage.is_empty());
    assert!(matches!(reader.get(Lsn::new(1)), Err(ReadError::Truncated { .. })));
}
