//! Lanes P6 and P8: many streams in one log, beside raft-engine's regions.

use crate::peers::{LogEntry, RECORD, Raft};
use crate::{Bench, ROUNDS, SLOW, TURN, floors, ours};
use quorate_benches::count::counted;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, median, take_turns};
use quorate_wal::{Batch, Config, StreamId, Wal};
use raft_engine::LogBatch;
use std::path::Path;
use std::time::Instant;

/// A block of each of 1,000 streams in one commit.
pub(crate) fn streams(bench: &mut Bench) -> bool {
    const STREAMS: u64 = 1_000;
    let place = &bench.place;
    let (wal, raft) = (ours::server(&place.dir("ours")), Raft::open(&place.dir("raft")));
    let (mut batch, mut next) = (Batch::new(), 1);
    let (mut log_batch, mut index) = (LogBatch::default(), 1);
    let floor = "pwrite of 256 kB + fdatasync";
    let contenders = vec![
        Contender::looped(floor, TURN, floors::overwrite_large(&place.dir("floor"), 256_000)),
        Contender::looped("ours", TURN, || {
            batch.clear();
            for id in 1..=STREAMS {
                batch.extend(StreamId::new(1, id), next, 1, 1, &RECORD);
            }
            wal.commit_blocking(&batch).expect("synced");
            next += 1;
        }),
        Contender::looped("raft-engine", TURN, || {
            for id in 1..=STREAMS {
                let entries = [LogEntry::of(index, &RECORD)];
                log_batch.add_entries::<LogEntry>(id, &entries).expect("fits");
            }
            raft.engine.write(&mut log_batch, true).expect("synced");
            index += 1;
        }),
    ];
    let rounds = take_turns(contenders, ROUNDS);
    let lane = "P6 a block of 256 B of each of 1,000 streams in one commit";
    let line = Line::times(lane, &rounds, "ours", Some(floor));
    let met = rounds.ratio("raft-engine", "ours") >= 1.5;
    let quick = rounds.ns(floor) < 2.0 * SLOW;
    bench.sheet.push(line.goal_at(quick, "≥ 1.5× raft-engine", met));
    drop((wal, raft));
    place_clear(bench);
    quick
}

fn place_clear(bench: &Bench) {
    for name in ["ours", "raft", "floor"] {
        bench.place.remove(name);
    }
}

const STREAMS: u64 = 10_000;
const BLOCKS: u64 = 100;
/// Small, so that the index and not the bytes are what counts.
const BLOCK: [u8; 64] = [7; 64];

fn write_ours(dir: &Path) {
    let wal = ours::server(dir);
    let mut batch = Batch::new();
    for index in 1..=BLOCKS {
        batch.clear();
        for id in 1..=STREAMS {
            batch.extend(StreamId::new(1, id), index, 1, 1, &BLOCK);
        }
        wal.commit_blocking(&batch).expect("synced");
    }
    wal.shutdown().wait().expect("synced");
}

fn write_raft(dir: &Path) {
    let raft = Raft::open(dir);
    let mut batch = LogBatch::default();
    for index in 1..=BLOCKS {
        for id in 1..=STREAMS {
            let entries = [LogEntry::of(index, &BLOCK)];
            batch.add_entries::<LogEntry>(id, &entries).expect("fits");
        }
        raft.engine.write(&mut batch, true).expect("synced");
    }
}

/// Opening a log of many streams, and what its index costs.
pub(crate) fn boot(bench: &mut Bench) {
    let (dir, raft_dir) = (bench.place.dir("ours"), bench.place.dir("raft"));
    write_ours(&dir);
    write_raft(&raft_dir);
    let config = Config::server().build().expect("in range");
    let (mut ours, mut raft) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let begun = Instant::now();
        let wal = Wal::open(&dir, config.clone()).expect("ours opens").0;
        ours.push(begun.elapsed().as_secs_f64() * 1e9);
        assert_eq!(wal.stats().blocks, STREAMS * BLOCKS);
        wal.shutdown().wait().expect("synced");
        let begun = Instant::now();
        let engine = Raft::open(&raft_dir).engine;
        raft.push(begun.elapsed().as_secs_f64() * 1e9);
        assert_eq!(engine.raft_groups().len() as u64, STREAMS);
    }
    let per_block = |live: i64| live as f64 / (STREAMS * BLOCKS) as f64;
    let (wal, heap) = counted(|| Wal::open(&dir, config).expect("ours opens").0);
    drop(wal);
    let (engine, peer_heap) = counted(|| Raft::open(&raft_dir));
    drop(engine);
    let (ours, raft) = (median(ours), median(raft));
    let lane = "P8 boot of 10,000 streams of 100 blocks of 64 B, index in memory";
    let line = Line::new(lane)
        .value(&time(ours), ours, "ns")
        .peer("raft-engine", &time(raft), raft / ours)
        .goal("≥ 1× raft-engine", ours <= raft);
    bench.sheet.push(line);
    let (live, peer) = (per_block(heap.live), per_block(peer_heap.live));
    let line = Line::new("P8 memory for each live block")
        .value(&format!("{live:.1} B"), live, "B")
        .peer("raft-engine", &format!("{peer:.1} B"), peer / live)
        .goal("≤ 64 B", live <= 64.0);
    bench.sheet.push(line);
    place_clear(bench);
}
