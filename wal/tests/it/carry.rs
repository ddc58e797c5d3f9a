//! Carrying, recycling and the reserve, step by step.

use std::time::Duration;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{
    Ack, Batch, ConfigBuilder, Driver, Event, Health, Lsn, Slot, Turn, Wal, WriteError,
};

use crate::rig::{group, open_with, segments, small};

fn by_hand() -> ConfigBuilder {
    small().driver(Driver::manual(|| {}))
}

fn work(wal: &Wal) {
    while wal.turn() == Turn::Again {}
}

/// Appends to the plain log until it has rolled so many times.
fn roll(wal: &Wal, rolls: u64) {
    let to = wal.stats().rolls + rolls;
    while wal.stats().rolls < to {
        wal.append_blocking(&[0xab; 900]).unwrap();
        work(wal);
    }
}

fn give_up_all(wal: &Wal) {
    wal.truncate_prefix(Lsn::new(wal.marks().durable.as_u64() + 1)).unwrap();
    wal.sync().unwrap().wait().unwrap();
    work(wal);
}

#[test]
fn h48_an_idle_stream_is_carried_and_holds_nothing() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, by_hand()).unwrap();
    let (g, vote) = (group(1), Slot::new(0).unwrap());
    let mut batch = Batch::new();
    batch.extend(g, 1, 10, 7, b"ten entries").meta(g, vote, b"term 7").keep_from(g, 4);
    wal.commit_blocking(&batch).unwrap();
    roll(&wal, 2);
    give_up_all(&wal);
    let stats = wal.stats();
    assert!(stats.carried >= 3 && stats.carried_bytes == 17, "{stats:?}");
    assert!(stats.unlinked + stats.recycled >= 1, "{stats:?}");
    for disk in [disk.crash(1), disk.crash(2), disk.kill()] {
        let (wal, _) = open_with(&disk, by_hand()).unwrap();
        let s = wal.stream(g);
        assert_eq!((s.bounds(), s.tag(5), s.health()), (4..11, Some(7), Health::Intact));
        assert_eq!(s.meta(vote).as_deref(), Some(&b"term 7"[..]));
        let mut out = Vec::new();
        assert_eq!(s.read(4..11, 1 << 20, &mut out).unwrap(), 11);
        let block = &out[0];
        let seen = (block.first, block.count, block.live.clone(), &block.bytes[..]);
        assert_eq!(seen, (1, 10, 4..11, &b"ten entries"[..]));
    }
}

#[test]
fn h46_a_carried_block_does_not_bring_truncated_entries_back() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, by_hand().carry_live_percent_max(50)).unwrap();
    let g = group(1);
    wal.commit_blocking(Batch::new().extend(g, 1, 10, 7, b"ten entries")).unwrap();
    roll(&wal, 1);
    // The conflict is cut while the block is still in the oldest segment; then it is carried.
    wal.commit_blocking(Batch::new().replace(g, 5, 1, 8, b"one")).unwrap();
    roll(&wal, 1);
    give_up_all(&wal);
    assert!(wal.stats().carried > 0);
    let is = |wal: &Wal, what: &str| {
        let s = wal.stream(g);
        assert_eq!((s.bounds(), s.tag(4), s.tag(5), s.tag(6)), (1..6, Some(7), Some(8), None));
        let mut out = Vec::new();
        assert_eq!(s.read(1..6, 1 << 20, &mut out).unwrap(), 6, "{what}");
        assert_eq!((out[0].live.clone(), out[1].live.clone()), (1..5, 5..6), "{what}");
    };
    is(&wal, "live");
    roll(&wal, 2);
    give_up_all(&wal);
    is(&wal, "carried twice");
    for seed in 0..10 {
        is(&open_with(&disk.crash(seed), by_hand()).unwrap().0, "reopened");
    }
    // Between the reading of a block and its staging the stream is dropped.
    seeds_of_truncation_while_carrying();
}

/// The maintenance thread carries while another thread cuts and drops: whatever it had read, only
/// what is live when it stages comes back.
fn seeds_of_truncation_while_carrying() {
    let mut carried = 0;
    for round in 0..60_u64 {
        let disk = MemVfs::new();
        let (wal, _) = open_with(&disk, small().carry_live_percent_max(50)).unwrap();
        let mut batch = Batch::new();
        for id in 0..12 {
            batch.clear();
            batch.extend(group(id), 1, 9, 1, &[id as u8; 300]);
            wal.commit_blocking(&batch).unwrap();
        }
        while wal.stats().rolls < 2 {
            wal.append_blocking(&[1; 900]).unwrap();
        }
        wal.truncate_prefix(wal.marks().durable).unwrap();
        wal.sync().unwrap().wait().unwrap();
        for id in 0..12 {
            batch.clear();
            if round % 2 == 0 {
                batch.drop_stream(group(id));
            } else {
                batch.replace(group(id), 3, 1, 2, b"new");
            }
            wal.commit_blocking(&batch).unwrap();
        }
        carried += wal.stats().carried;
        let expected = if round % 2 == 0 { 0..0 } else { 1..4 };
        drop(wal);
        let (wal, _) = open_with(&disk, small()).unwrap();
        for id in 0..12 {
            assert_eq!(wal.stream(group(id)).bounds(), expected, "round {round} stream {id}");
        }
    }
    assert!(carried > 0, "nothing was carried meanwhile");
}

#[test]
fn a_recycled_file_is_a_new_segment() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, by_hand()).unwrap();
    for _ in 0..6 {
        roll(&wal, 1);
        give_up_all(&wal);
    }
    let stats = wal.stats();
    assert!(stats.recycled >= 3, "{stats:?}");
    wal.append_blocking(b"newest").unwrap();
    let newest = wal.marks().durable;
    for seed in 0..20 {
        let (wal, report) = open_with(&disk.crash(seed), by_hand()).unwrap();
        assert!(report.damage.is_empty());
        assert_eq!(&wal.get(newest).unwrap()[..], b"newest");
    }
}

#[test]
fn the_reserve_lets_a_full_log_be_emptied_and_is_filled_again() {
    let disk = MemVfs::new();
    let config = || by_hand().prepare_retry(Duration::from_millis(10));
    let (wal, _) = open_with(&disk, config()).unwrap();
    work(&wal);
    let mut events = wal.events();
    let g = group(1);
    // Full to the last byte, with one segment in use and nothing prepared.
    let mut next = 1;
    disk.quota(Some(disk.used()), false);
    let mut batch = Batch::new();
    loop {
        batch.clear();
        batch.extend(g, next, 1, 1, &[1; 700]);
        match wal.stage(&batch, Ack::Durable) {
            Ok(staged) => drop(staged.wait().unwrap()),
            Err(WriteError::NoSpace { .. }) => break,
            Err(WriteError::Busy { .. }) => {
                work(&wal);
                continue;
            }
            Err(other) => panic!("{other}"),
        }
        next += 1;
        work(&wal);
    }
    assert!(disk.contents(std::path::Path::new("log/RESERVE")).is_err(), "in use");
    // Metadata and low marks still go, in the reserve; then there is room again.
    batch.clear();
    batch.meta(g, Slot::new(1).unwrap(), b"snapshot").keep_from(g, next);
    wal.commit_blocking(&batch).unwrap();
    assert_eq!(wal.stats().reserve_uses, 1);
    work(&wal);
    batch.clear();
    batch.extend(g, next, 1, 1, &[2; 700]);
    wal.commit_blocking(&batch).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = events.try_next() {
        seen.push(event);
    }
    assert!(seen.iter().any(|e| matches!(e, Event::NoSpace)), "{seen:?}");
    assert!(seen.iter().any(|e| matches!(e, Event::SpaceBack)), "{seen:?}");
    for seed in 0..10 {
        let disk = disk.crash(seed);
        disk.quota(Some(disk.used()), false);
        let (wal, _) = open_with(&disk, config()).unwrap();
        assert_eq!(wal.stream(g).bounds(), next..next + 1);
        assert_eq!(wal.stream(g).meta(Slot::new(1).unwrap()).as_deref(), Some(&b"snapshot"[..]));
    }
    assert!(!segments(&disk).is_empty());
}

#[test]
fn a_stream_that_pins_a_segment_is_told_once() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, by_hand().carry_live_percent_max(1)).unwrap();
    let mut events = wal.events();
    wal.commit_blocking(Batch::new().extend(group(3), 1, 1, 1, &[1; 2000])).unwrap();
    roll(&wal, 3);
    give_up_all(&wal);
    roll(&wal, 1);
    give_up_all(&wal);
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        if let Event::Lagging(lagging) = event {
            told.push((lagging.segment, lagging.stream, lagging.bytes));
        }
    }
    assert_eq!(told, [(1, group(3), 2000)]);
}
