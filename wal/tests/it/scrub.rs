//! Scrubbing finds what has rotted since the open, exactly that, and touches nothing.

use std::sync::Arc;

use quorate_wal::vfs::{MemVfs, OpKind};
use quorate_wal::{Damage, Lsn, LsnSpan, Pace, ReadError, Recovery, Scrub, Wal, WalReader};

use crate::rig::{Replay, Rng, dir, manual, open, open_with, seeds, segments, settle, small};

/// Several segments of records; the last number.
fn filled(disk: &MemVfs) -> Wal {
    let (wal, _) = open(disk);
    fill(&wal);
    wal
}

fn fill(wal: &Wal) {
    for n in 0..120_u64 {
        wal.append_blocking(&vec![n as u8; 100 + (n * 37 % 500) as usize]).unwrap();
        settle(wal);
    }
    assert!(wal.stats().rolls >= 3);
}

fn found(scrub: &mut Scrub) -> Vec<Damage> {
    scrub.map(Result::unwrap).collect()
}

#[test]
fn a_sound_log_has_nothing_to_name() {
    let disk = MemVfs::new();
    let wal = filled(&disk);
    let mut scrub = wal.scrub(Pace::unlimited());
    let mut bytes = 0;
    while let Some(step) = scrub.step() {
        assert!(step.found.is_none(), "{step:?}");
        assert!(step.bytes <= (1 << 20) + (64 << 10));
        bytes += step.bytes;
    }
    let counts = scrub.counts();
    assert_eq!((counts.segments, counts.bytes), (wal.stats().rolls - 1, bytes));
    assert_eq!((counts.damage, counts.copies_bad, counts.unreadable, counts.gone), (0, 0, 0, 0));
    // The same beside it, without owning the log, and after a reopen.
    wal.shutdown().wait().unwrap();
    let (reader, _) = WalReader::open_read_only(Arc::new(disk.clone()), dir()).unwrap();
    assert_eq!(found(&mut reader.scrub(Pace::unlimited())), []);
    assert_eq!(found(&mut open(&disk).0.scrub(Pace::unlimited())), []);
}

#[test]
fn every_flipped_byte_is_found_and_its_records_are_named() {
    let mut kinds = std::collections::BTreeMap::<String, u32>::new();
    for seed in seeds(300) {
        let _replay = Replay { test: "every_flipped_byte_is_found", seed };
        let disk = MemVfs::new();
        let (wal, _) = open_with(&disk, manual()).unwrap();
        fill(&wal);
        let mut rng = Rng(seed);
        let path = &segments(&disk)[rng.below(3) as usize];
        let bytes = disk.contents(path).unwrap();
        let end = bytes.iter().rposition(|&b| b != 0).unwrap() - 40;
        let at = match rng.below(8) {
            0 => 4096 + rng.below(88) as usize,
            1 => rng.below(96) as usize,
            _ => 4096 + rng.below((end - 4096) as u64) as usize,
        };
        disk.flip(path, at as u64 * 8 + rng.below(8)).unwrap();
        let mut scrub = wal.scrub(Pace::unlimited());
        let damage = found(&mut scrub);
        let counts = scrub.counts();
        if at < 4096 {
            assert_eq!((damage.len(), counts.copies_bad), (0, 1), "byte {at}");
            continue;
        }
        assert_eq!(damage.len(), 1, "byte {at}: {damage:?}");
        *kinds.entry(format!("{:?}", damage[0].kind)).or_default() += 1;
        let lost = damage[0].lost;
        for lsn in (1..=120).map(Lsn::new) {
            let read = wal.get(lsn);
            // A damaged frame hides what is read through it, never more than it lost.
            let hurt = matches!(read, Err(ReadError::Corruption(_)));
            assert!(!lost.contains(lsn) || hurt, "byte {at}: {lsn} is lost, and read: {read:?}");
        }
        assert_eq!((counts.damage, wal.stats().verify_failures > 0), (1, true));
    }
    assert!(kinds.len() >= 3, "{kinds:?}");
}

#[test]
fn what_the_open_has_named_is_not_named_again() {
    let disk = MemVfs::new();
    filled(&disk).shutdown().wait().unwrap();
    let path = &segments(&disk)[1];
    disk.flip(path, 5000 * 8).unwrap();
    let (wal, report) = open_with(&disk, small().recovery(Recovery::Salvage)).unwrap();
    assert_eq!(report.damage.len(), 1);
    assert_eq!(found(&mut wal.scrub(Pace::unlimited())), []);
    let lost = report.damage[0].lost;
    disk.flip(path, 9000 * 8).unwrap();
    let news = found(&mut wal.scrub(Pace::unlimited()));
    assert_eq!(news.len(), 1);
    let LsnSpan { from, .. } = news[0].lost;
    assert!(!lost.contains(from), "{lost} and {from}");
}

#[test]
fn a_medium_that_refuses_is_told_and_the_rest_is_read() {
    let disk = MemVfs::new();
    let wal = filled(&disk);
    let mut scrub = wal.scrub(Pace::unlimited());
    scrub.step().unwrap();
    disk.fail_nth(OpKind::Read, 1, std::io::ErrorKind::Other);
    let all: Vec<_> = scrub.by_ref().collect();
    // The window of the first segment was read already: the second one is hit.
    assert!(matches!(&all[..], [Err(ReadError::Io { .. })]), "{all:?}");
    let counts = scrub.counts();
    assert_eq!((counts.unreadable, counts.damage), (1, 0));
    assert_eq!(counts.segments + 1, wal.stats().rolls - 1);
}

#[test]
fn it_holds_one_segment_at_a_time_and_lets_go() {
    let disk = MemVfs::new();
    let wal = filled(&disk);
    let mut scrub = wal.scrub(Pace::bytes_per_second(1 << 40));
    scrub.step().unwrap();
    assert_eq!(wal.stats().segments_pinned, 1);
    drop(scrub);
    assert_eq!(wal.stats().segments_pinned, 0);
    let mut scrub = wal.scrub(Pace::unlimited());
    wal.truncate_prefix(wal.marks().durable).unwrap();
    wal.append_blocking(b"x").unwrap();
    while wal.stats().unlinked + wal.stats().recycled < 2 {
        wal.append_blocking(b"y").unwrap();
    }
    assert_eq!(found(&mut scrub), []);
    assert!(scrub.counts().gone >= 2, "reclaimed before their turn");
}

#[test]
fn the_real_file_system_is_read_past_its_cache() {
    let home = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(home.path(), small().build().unwrap()).unwrap();
    for _ in 0..60 {
        wal.append_blocking(&[3; 600]).unwrap();
    }
    let mut scrub = wal.scrub(Pace::bytes_per_second(4 << 20));
    assert!(scrub.next().is_none());
    assert!(scrub.counts().segments >= 1);
}
