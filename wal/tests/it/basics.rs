//! The ordinary life of a log.

use quorate_wal::vfs::MemVfs;
use quorate_wal::{Ack, Batch, Lsn, ReadBound, ReadError, Slot, Tail};

use crate::rig::{block_on, group, open, open_with, records, small};

#[test]
fn appended_records_are_read_back_after_a_clean_reopen() {
    let disk = MemVfs::new();
    let (wal, report) = open(&disk);
    assert!(report.created);
    for i in 0..500_u64 {
        let lsn = wal.append_blocking(&i.to_le_bytes()).unwrap();
        assert_eq!(lsn.as_u64(), i + 1);
    }
    wal.shutdown().wait().unwrap();
    let (wal, report) = open(&disk);
    assert_eq!(report.tail, Tail::Clean);
    assert_eq!(report.durable, Lsn::new(500));
    assert!(report.segments > 1, "rolled");
    for i in 0..500_u64 {
        assert_eq!(&wal.get(Lsn::new(i + 1)).unwrap()[..], &i.to_le_bytes());
    }
    let all: Vec<_> = wal.read(Lsn::new(1), ReadBound::Durable).map(Result::unwrap).collect();
    assert_eq!(all.len(), 500);
    assert!(all.iter().enumerate().all(|(i, r)| r.lsn.as_u64() == i as u64 + 1));
    assert!(matches!(wal.get(Lsn::new(501)), Err(ReadError::NotYet { bound: 500 })));
}

#[test]
fn a_batch_consumes_consecutive_numbers_and_futures_complete() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let staged = wal.stage(&records(&[b"a", b"b", b"c"]), Ack::Durable).unwrap();
    assert_eq!((staged.lsns().from, staged.lsns().to), (Lsn::new(1), Some(Lsn::new(3))));
    assert_eq!(block_on(staged).unwrap(), Lsn::new(3));
    assert_eq!(block_on(wal.append(b"d")).unwrap(), Lsn::new(4));
    let written = wal.stage(&records(&[b"e"]), Ack::Written).unwrap();
    block_on(written).unwrap();
    assert_eq!(wal.marks().written, Lsn::new(5));
    block_on(wal.durable(Lsn::new(5))).unwrap();
    assert_eq!(wal.marks().durable, Lsn::new(5));
}

#[test]
fn streams_extend_replace_compact_and_come_back() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let (g, vote) = (group(7), Slot::new(0).unwrap());
    let mut batch = Batch::new();
    for i in 0..100_u64 {
        batch.clear();
        batch.extend(g, 1 + i * 2, 2, 1, &[i as u8; 100]).meta(g, vote, &i.to_le_bytes());
        wal.commit_blocking(&batch).unwrap();
    }
    batch.clear();
    batch.replace(g, 150, 1, 2, b"new").keep_from(g, 100);
    wal.commit_blocking(&batch).unwrap();
    let check = |wal: &quorate_wal::Wal| {
        let s = wal.stream(g);
        assert_eq!(s.bounds(), 100..151);
        assert_eq!((s.tag(149), s.tag(150), s.tag(99)), (Some(1), Some(2), None));
        assert_eq!(s.meta(vote).unwrap(), &99_u64.to_le_bytes()[..]);
        let mut out = Vec::new();
        let mut next = 100;
        while next < 151 {
            next = s.read(next..151, 1000, &mut out).unwrap();
        }
        assert_eq!(out.first().unwrap().live, 100..101);
        assert_eq!(out.last().unwrap().bytes, &b"new"[..]);
        let mut expected = 100;
        for block in &out {
            assert_eq!(block.live.start, expected);
            expected = block.live.end;
        }
        assert!(matches!(s.read(99..100, 1, &mut out), Err(ReadError::Truncated { low: 100 })));
        assert!(matches!(s.read(151..152, 1, &mut out), Err(ReadError::NotYet { bound: 151 })));
    };
    check(&wal);
    assert_eq!(wal.streams(1), [g]);
    drop(wal);
    let (wal, report) = open(&disk);
    assert_eq!(report.streams, 1);
    check(&wal);
}

#[test]
fn visit_shows_every_operation_in_order_during_the_open() {
    use quorate_wal::Replayed;
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let (g, slot) = (group(1), Slot::new(2).unwrap());
    wal.append_blocking(b"one").unwrap();
    wal.commit_blocking(Batch::new().extend(g, 1, 2, 9, b"ab").meta(g, slot, b"m")).unwrap();
    wal.append_blocking(b"two").unwrap();
    wal.truncate_suffix(Lsn::new(4)).unwrap().wait().unwrap();
    wal.commit_blocking(Batch::new().keep_from(g, 2).drop_stream(g)).unwrap();
    drop(wal);
    let mut seen = Vec::new();
    let mut visit = |op: Replayed<'_>| seen.push(format!("{op:?}"));
    let config = small().build().unwrap();
    let vfs = std::sync::Arc::new(disk);
    let opened = quorate_wal::Wal::open_on(vfs, crate::rig::dir(), config, Some(&mut visit));
    drop(opened.unwrap());
    let kinds: Vec<_> = seen.iter().map(|s| s.split_once(' ').unwrap().0).collect();
    let expected = ["Record", "Block", "Meta", "Record", "Cut", "KeepFrom", "Dropped"];
    assert_eq!(kinds, expected);
    assert!(seen[4].contains("from: Lsn(4)"), "{}", seen[4]);
}

#[test]
fn many_rounds_of_raft_traffic_keep_the_log_short() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let hard_state = Slot::new(0).unwrap();
    let mut batch = Batch::new();
    for round in 1..=300_u64 {
        batch.clear();
        for id in 1..=4 {
            batch.extend(group(id), round, 1, 1, &[7; 100]).meta(
                group(id),
                hard_state,
                &round.to_le_bytes(),
            );
            if round % 20 == 0 {
                batch.keep_from(group(id), round - 5);
            }
        }
        wal.commit_blocking(&batch).unwrap();
    }
    let wal = crate::sync_errors::guarded("reclaim", move || {
        while wal.stats().segments > 8 {
            std::thread::yield_now();
        }
        wal
    });
    drop(wal);
    let (wal, report) = open(&disk);
    assert!(report.segments <= 8 && report.first > Lsn::new(1), "{report:?}");
    for id in 1..=4 {
        assert_eq!(wal.stream(group(id)).bounds(), 295..301);
        assert_eq!(wal.stream(group(id)).meta(hard_state).unwrap(), &300_u64.to_le_bytes()[..]);
    }
}

#[test]
fn a_log_may_be_reopened_with_segments_of_another_size() {
    let disk = MemVfs::new();
    let mut n = 0;
    for kib in [16, 64, 32, 16] {
        let config = small().segment_bytes(kib << 10);
        let (wal, report) = open_with(&disk, config).unwrap();
        assert_eq!(report.durable, Lsn::new(n));
        for _ in 0..60 {
            n += 1;
            assert_eq!(wal.append_blocking(&n.to_le_bytes().repeat(100)).unwrap(), Lsn::new(n));
        }
        for lsn in 1..=n {
            assert_eq!(wal.get(Lsn::new(lsn)).unwrap(), lsn.to_le_bytes().repeat(100));
        }
    }
}

#[test]
fn shutdown_answers_who_waits_for_numbers_that_never_come() {
    let (wal, _) = open(&MemVfs::new());
    let other = wal.clone();
    let waiting = std::thread::spawn(move || block_on(other.durable(Lsn::new(1000))));
    while wal.stats().waiters == 0 {
        std::thread::yield_now();
    }
    wal.shutdown().wait().unwrap();
    let failure = waiting.join().unwrap().unwrap_err();
    assert_eq!(failure.op, quorate_wal::FailedOp::Closed);
}

#[test]
fn a_killed_log_that_was_idle_ends_clean() {
    let disk = MemVfs::new();
    let config = || small().driver(quorate_wal::Driver::manual(|| {}));
    let (wal, _) = open_with(&disk, config()).unwrap();
    for n in 0..3_u8 {
        wal.append_blocking(&[n; 100]).unwrap();
        while wal.turn() == quorate_wal::Turn::Again {}
    }
    // Neither the segment in use nor the prepared one leaves any doubt.
    let (_, report) = open_with(&disk.crash(1), config()).unwrap();
    assert_eq!((report.tail, report.durable), (Tail::Clean, Lsn::new(3)));
}
