//! Lanes P2 to P5: many writers.

use crate::peers::{self, RECORD, Wait};
use crate::{Bench, ROUNDS, SLOW, TURN, floors, ours};
use quorate_benches::count::counted;
use quorate_benches::crew::{Crew, Op, task_turn};
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, quantile, take_turns};
use quorate_wal::{Ack, Batch, Config, Wal};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const WRITERS: usize = 64;

fn crew(name: &str, writers: usize, op: &Op) -> Contender<'static> {
    let mut crew = Crew::new(writers, op);
    Contender::new(name, move || crew.turn(TURN))
}

/// 64 writers, each record synced, with the same 64 threads for everybody, and ours as tasks.
pub(crate) fn durable(bench: &mut Bench) -> bool {
    let place = &bench.place;
    let (tasks, threads) = (ours::server(&place.dir("t")), ours::server(&place.dir("b")));
    let peer = |name, op| crew(name, WRITERS, &op);
    let contenders = vec![
        Contender::looped(floors::OVERWRITE, TURN, floors::overwrite(&place.dir("floor"))),
        Contender::new("64 tasks on one thread", || {
            task_turn(WRITERS, TURN, || async {
                tasks.append(&RECORD).await.expect("synced");
            })
        }),
        crew("64 threads", WRITERS, &ours::durable(threads)),
        peer("raft-engine", peers::raft_engine(&place.dir("raft"), Wait::Durable)),
        peer("wal-db", peers::wal_db(&place.dir("wal-db"), Wait::Durable)),
        peer("open-wal", peers::open_wal(&place.dir("open-wal"))),
        peer("okaywal", peers::okay(&place.dir("okay"), false)),
        peer("okaywal 64 MiB", peers::okay(&place.dir("okay64"), true)),
        peer("chunked-wal", peers::chunked(&place.dir("chunked"), None)),
        peer("nano-wal (no checksum)", peers::nano(&place.dir("nano"), Wait::Durable)),
        peer("walrus-rust", peers::walrus("many")),
        peer("fjall", peers::fjall(&place.dir("fjall"))),
    ];
    let rounds = take_turns(contenders, ROUNDS);
    let quick = rounds.ns(floors::OVERWRITE) < SLOW;
    for name in ["64 tasks on one thread", "64 threads"] {
        let share = WRITERS as f64 * rounds.ratio(name, floors::OVERWRITE);
        let floor = format!("of floor / 64 ({})", time(rounds.ns(floors::OVERWRITE)));
        let mut line = Line::new(&format!("P2 durable, 256 B, {name}, an append"))
            .value(&time(rounds.ns(name)), rounds.ns(name), "ns")
            .floor(&floor, share)
            .goal_at(quick, "≥ 0.85 × 64 / floor", share <= 1.0 / 0.85);
        let but = ["64 tasks on one thread", "64 threads", floors::OVERWRITE];
        for peer in rounds.others(&but) {
            let better = rounds.ratio(&peer, name);
            line = line.peer(&peer, &time(rounds.ns(&peer)), better);
            if ["raft-engine", "wal-db"].contains(&peer.as_str()) {
                line = line.goal_at(quick, &format!("≥ 2× {peer}"), better >= 2.0);
            }
        }
        bench.sheet.push(line);
    }
    for name in ["t", "b", "raft", "okay", "okay64", "chunked", "walrus"] {
        bench.place.remove(name);
    }
    quick
}

/// Latency of every append while segments roll and old ones are recycled.
pub(crate) fn rolls(bench: &mut Bench) {
    let config = Config::server().segment_bytes(16 << 20).batch_bytes_max(4 << 20);
    let wal = ours::open(&bench.place.dir("rolls"), config.staged_bytes_max(8 << 20));
    let before = wal.stats().rolls;
    let (times, stop) = (Mutex::new(Vec::with_capacity(1 << 20)), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
                wal.truncate_prefix(wal.marks().durable).expect("it is durable");
            }
        });
        task_turn(WRITERS, Duration::from_secs(4), || async {
            let begun = Instant::now();
            wal.append(&RECORD).await.expect("synced");
            times.lock().expect("one thread").push(begun.elapsed().as_secs_f64() * 1e9);
        });
        stop.store(true, Relaxed);
    });
    let (times, rolls) = (times.into_inner().expect("one thread"), wal.stats().rolls - before);
    let of = |share| quantile(times.clone(), share);
    let (p50, p99, p999) = (of(0.5), of(0.99), of(0.999));
    let lane = format!("P3 durable, 64 tasks, p99.9 over {rolls} rolls of 16 MiB");
    let spread = format!("of p50 {}, p99 {}", time(p50), time(p99));
    let line = Line::new(&lane).value(&time(p999), p999, "ns").floor(&spread, p999 / p50);
    bench.sheet.push(line.goal_at(p50 < SLOW, "≤ 3× p50", p999 <= 3.0 * p50));
    drop(wal);
    bench.place.remove("rolls");
}

/// Acknowledged by the page cache.
pub(crate) fn written(bench: &mut Bench) {
    for (writers, min) in [(1, 1.0), (8, 3.0)] {
        let place = &bench.place;
        let floor = "pwrite of 256 B";
        let peer = |name, op| crew(name, writers, &op);
        let mut contenders = vec![
            Contender::looped(
                floor,
                TURN,
                floors::written(&place.dir("floor"), floors::STEP_SMALL),
            ),
            Contender::looped("pwrite, growing file", TURN, floors::appended(&place.dir("grown"))),
            peer("ours", ours::written(ours::server(&place.dir("ours")))),
            peer("wal-db", peers::wal_db(&place.dir("wal-db"), Wait::Written)),
            peer("raft-engine", peers::raft_engine(&place.dir("raft"), Wait::Written)),
            peer("nano-wal (no checksum)", peers::nano(&place.dir("nano"), Wait::Written)),
        ];
        if writers == 1 {
            contenders.push(peer("commitlog", peers::commitlog(&place.dir("commitlog"))));
            contenders.push(peer("simple_wal", peers::simple(&place.dir("simple"))));
            contenders.push(peer("mrecordlog", peers::mrecordlog(&place.dir("mrecordlog"))));
        }
        let rounds = take_turns(contenders, ROUNDS);
        let lane = format!("P4 in the page cache, 256 B, {writers} threads, an append");
        let line = Line::times(&lane, &rounds, "ours", Some(floor));
        let met = rounds.ratio("wal-db", "ours") >= min;
        bench.sheet.push(line.goal(&format!("≥ {min}× wal-db"), met));
        for name in ["ours", "wal-db", "raft", "nano", "commitlog", "simple", "mrecordlog"] {
            bench.place.remove(name);
        }
    }
}

/// Records staged before they are flushed, untimed.
const BURST: usize = 20_000;

fn stage(wal: &Wal, batch: &Batch, count: usize) {
    for _ in 0..count {
        drop(wal.stage(batch, Ack::Staged).expect("room"));
    }
}

fn staged_turn(wal: &Wal, batch: &Batch, threads: usize) -> f64 {
    let begun = Instant::now();
    if threads == 1 {
        stage(wal, batch, BURST);
    } else {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| stage(wal, batch, BURST / 2));
            }
        });
    }
    let count = if threads == 1 { BURST } else { threads * BURST / 2 };
    let ns = begun.elapsed().as_secs_f64() * 1e9 / count as f64;
    wal.sync().expect("staged").wait().expect("synced");
    wal.truncate_prefix(wal.marks().durable).expect("it is durable");
    while wal.stats().segments_prepared == 0 {
        std::thread::yield_now();
    }
    ns
}

/// Into memory only.
pub(crate) fn staged(bench: &mut Bench) {
    let config = Config::server().staged_bytes_max(64 << 20).flush_staged(Duration::from_secs(10));
    let wal = ours::open(&bench.place.dir("staged"), config);
    let mut batch = Batch::new();
    batch.record(&RECORD[..128]);
    let (mut append, mut commit) = peers::staged_open_wal(&bench.place.dir("open-wal"));
    let (from, mut to) = ([7_u8; 128], vec![0_u8; 1 << 22]);
    let mut at = 0;
    let contenders = vec![
        Contender::new("ours", || staged_turn(&wal, &batch, 1)),
        Contender::new("open-wal", || {
            let begun = Instant::now();
            (0..BURST).for_each(|_| append());
            let ns = begun.elapsed().as_secs_f64() * 1e9 / BURST as f64;
            commit();
            ns
        }),
        Contender::looped("memcpy of 128 B", Duration::from_millis(2), || {
            to[at..at + 128].copy_from_slice(std::hint::black_box(&from));
            at = (at + 128) % (1 << 22);
        }),
    ];
    let rounds = take_turns(contenders, ROUNDS);
    let ((), heap) = counted(|| stage(&wal, &batch, 5_000));
    wal.sync().expect("staged").wait().expect("synced");
    let lane = "P5 staged, 128 B, 1 thread";
    let line = Line::times(lane, &rounds, "ours", Some("memcpy of 128 B"));
    let count = heap.allocations;
    bench.sheet.push(
        line.goal("≤ 40 ns", rounds.ns("ours") <= 40.0)
            .goal(&format!("0 allocations ({count} in 5,000 records)"), count == 0)
            .goal("≥ 1× open-wal", rounds.ratio("open-wal", "ours") >= 1.0),
    );
    let threads = vec![Contender::new("ours", || staged_turn(&wal, &batch, 8))];
    let rounds = take_turns(threads, ROUNDS);
    let rate = 1e3 / rounds.ns("ours");
    let line = Line::new("P5 staged, 128 B, 8 threads, all together");
    let line = line.value(&format!("{rate:.1} M/s"), rate, "M/s");
    bench.sheet.push(line.goal("≥ 4 M/s on 2 cores", rate >= 4.0));
    drop(wal);
    bench.place.remove("staged");
}
