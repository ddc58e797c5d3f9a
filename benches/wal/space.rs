//! Lanes P11 and P14: what a log costs on disk and in memory.

use crate::peers::{LogEntry, Raft};
use crate::{Bench, ours, read};
use quorate_benches::count::counted;
use quorate_benches::device::used_bytes;
use quorate_benches::sheet::Line;
use quorate_wal::{Ack, Batch, Config, Lsn, ReadBound, Wal};
use raft_engine::LogBatch;
use std::path::Path;

const RECORD: [u8; 100] = [7; 100];
const RECORDS: u64 = 32_000;

/// Bytes on disk for each byte of payload, up to the last byte that was written. Records as
/// many to a batch as told; each batch waits, so that it is a group of its own.
fn ours_for(dir: &Path, per_batch: u64) -> f64 {
    let wal = ours::server(dir);
    let before = used_bytes(dir);
    let mut batch = Batch::new();
    for _ in 0..RECORDS / per_batch {
        batch.clear();
        (0..per_batch).for_each(|_| {
            batch.record(&RECORD);
        });
        wal.stage(&batch, Ack::Written).expect("room").wait().expect("written");
    }
    let used = used_bytes(dir) - before;
    used as f64 / (RECORDS * 100) as f64
}

fn wal_db_for(dir: &Path) -> f64 {
    let wal = wal_db::Wal::open(dir.join("log")).expect("wal-db opens");
    (0..RECORDS).for_each(|_| {
        let _ = wal.append(&RECORD).expect("written");
    });
    used_bytes(dir) as f64 / (RECORDS * 100) as f64
}

fn raft_for(dir: &Path, per_batch: u64) -> f64 {
    let raft = Raft::open(dir);
    let (before, mut batch) = (used_bytes(dir), LogBatch::default());
    for first in (1..=RECORDS).step_by(per_batch as usize) {
        let entries: Vec<_> =
            (first..first + per_batch).map(|index| LogEntry::of(index, &RECORD)).collect();
        batch.add_entries::<LogEntry>(1, &entries).expect("fits");
        raft.engine.write(&mut batch, false).expect("written");
    }
    (used_bytes(dir) - before) as f64 / (RECORDS * 100) as f64
}

pub(crate) fn space(bench: &mut Bench) {
    for (per_batch, max) in [(32, 1.06), (1, 1.45)] {
        let place = &bench.place;
        let ours = ours_for(&place.dir("ours"), per_batch);
        let wal_db = wal_db_for(&place.dir("wal-db"));
        let raft = raft_for(&place.dir("raft"), per_batch);
        let how = if per_batch == 1 { "alone" } else { "in batches of 32" };
        let line = Line::new(&format!("P11 bytes on disk a byte of payload, 100 B {how}"))
            .value(&format!("{ours:.3}"), ours, "ratio")
            .peer("wal-db", &format!("{wal_db:.3}"), wal_db / ours)
            .peer("raft-engine", &format!("{raft:.3}"), raft / ours)
            .goal(&format!("≤ {max}"), ours <= max);
        bench.sheet.push(line);
    }
}

/// Opening and using a log of a GiB, whose index is as large as it gets with frames of 4 KiB.
pub(crate) fn memory(bench: &mut Bench) {
    let (batches, single) = (read::big(bench), read::single(bench));
    for (dir, what) in [(batches, "in batches"), (single, "appended one by one")] {
        let config = Config::server().verify_threads(1).build().expect("in range");
        let (wal, heap) = counted(|| {
            let wal = Wal::open(&dir, config).expect("ours opens").0;
            ours::fill(&wal, &crate::peers::RECORD, (256 << 20) / 275);
            let read = wal.read(Lsn::new(1), ReadBound::Durable).take(100_000);
            assert_eq!(read.filter(Result::is_ok).count(), 100_000);
            wal
        });
        drop(wal);
        let mib = |bytes: i64| bytes as f64 / f64::from(1 << 20);
        let (peak, live, max) = (mib(heap.peak), mib(heap.live), 16.0 + 8.0);
        let lane = format!(
            "P14 heap of a log of 1 GiB, 256 B records {what}: open, append 256 MiB, read, at most"
        );
        let line = Line::new(&lane)
            .value(&format!("{peak:.1} MiB"), peak, "MiB")
            .goal("≤ 16 MiB staged limit + 8 MiB", peak <= max)
            .note(&format!("{live:.1} MiB afterwards"));
        bench.sheet.push(line);
    }
    bench.place.remove("big");
    bench.place.remove("single");
}
