//! P3: commands through groups whose logs are synced: three logs in three directories of one file
//! system. Both openraft keep theirs in our WAL, with the same settings, so that what differs is
//! what stands above it.

use crate::Bench;
use crate::cluster::{Hosted, better, line_of_better};
use crate::group::{Group, latency_turn, propose_turn};
use crate::host::{Host, THREADS, Threads};
use crate::ours_cluster::{self, Setup};
use crate::peers::{OPENRAFT09, OPENRAFT10, openraft09, openraft10};
use quorate_benches::device::Place;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, Rounds, take_turns};
use quorate_raft::WalLog;
use quorate_wal::{Config, Wal};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const SIZE: usize = 256;
const CLIENTS: [u64; 2] = [16, 256];
const FLOOR: &str = "pwrite + fdatasync";
/// The same in three files by three threads at once; done when two of them are.
const FLOOR_OF_TWO: &str = "two of three pwrite + fdatasync at once";
/// Bytes of a record of the floor: a command, and what ours writes around it when it comes alone.
const RECORD: usize = 512;
/// This device changes its pace for minutes; from here on a sync is all that is measured.
const SLOW: f64 = 400_000.0;
const FILE: u64 = 16 << 20;

/// A log as servers have it; ready when the next segment is, so that zero-filling disturbs nobody's
/// turn.
fn open(dir: &Path) -> Wal {
    let config = Config::server().build().expect("in range");
    let wal = Wal::open(dir, config).expect("a new log").0;
    while wal.stats().segments_prepared == 0 {
        std::thread::yield_now();
    }
    wal
}

/// A group with its logs.
struct Subject<G> {
    hosted: Hosted<G>,
    wals: Vec<Wal>,
}

impl<G: Group> Subject<G> {
    fn new(
        place: &Place,
        whose: &str,
        threads: Threads,
        start: impl FnOnce(&Host, Vec<Wal>) -> G,
    ) -> Self {
        let name = threads.name(whose);
        let wals: Vec<Wal> = (0..3).map(|n| open(&place.dir(&format!("{name} {n}")))).collect();
        let hosted = Hosted::new(whose, threads, |host| start(host, wals.clone()));
        Self { hosted, wals }
    }

    fn syncs(&self) -> u64 {
        self.wals.iter().map(|wal| wal.stats().syncs).sum()
    }

    fn commands(&self) -> u64 {
        self.hosted.group.ledger().told.values().0
    }
}

/// One record after the other in a file that was written before.
struct Floor {
    file: File,
    at: u64,
}

impl Floor {
    fn new(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(path).expect("a file");
        let zeros = vec![0; 64 << 10];
        for at in (0..FILE).step_by(zeros.len()) {
            file.write_all_at(&zeros, at).expect("room");
        }
        file.sync_all().expect("synced");
        Self { file, at: 0 }
    }

    fn append(&mut self) {
        self.file.write_all_at(&[7; RECORD], self.at).expect("room");
        self.file.sync_data().expect("synced");
        self.at = (self.at + RECORD as u64) % FILE;
    }
}

fn median_of(turn: Duration, mut op: impl FnMut()) -> f64 {
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < turn {
        let asked = Instant::now();
        op();
        samples.push(asked.elapsed().as_nanos() as f64);
    }
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn floor(place: &Place, turn: Duration) -> Contender<'static> {
    let mut floor = Floor::new(&place.dir("floor").join("file"));
    Contender::new(FLOOR, move || median_of(turn, || floor.append()))
}

/// What a commit of three needs of the device at least: two of three syncs that begin together.
fn floor_of_two(place: &Place, turn: Duration) -> Contender<'static> {
    let dir = place.dir("floor of two");
    let mut floors: Vec<_> = (0..3).map(|n| Floor::new(&dir.join(n.to_string()))).collect();
    Contender::new(FLOOR_OF_TWO, move || {
        let begin = Arc::new(Barrier::new(3));
        let times: Vec<Vec<f64>> = std::thread::scope(|scope| {
            let work = |floor| {
                let begin = begin.clone();
                scope.spawn(move || together(floor, &begin, turn))
            };
            let running: Vec<_> = floors.iter_mut().map(work).collect();
            running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let second = |n: usize| {
            let mut three = [times[0][n], times[1][n], times[2][n]];
            three.sort_by(f64::total_cmp);
            three[1]
        };
        let count = times.iter().map(Vec::len).min().expect("three");
        let mut seconds: Vec<f64> = (0..count).map(second).collect();
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    })
}

/// One thread's share: as many as take about `turn`, each begun together with the others.
fn together(floor: &mut Floor, begin: &Barrier, turn: Duration) -> Vec<f64> {
    let mut samples = Vec::new();
    // A count, not a time: everybody must come to the barrier equally often.
    for _ in 0..turn.as_micros() / 400 {
        begin.wait();
        let asked = Instant::now();
        floor.append();
        samples.push(asked.elapsed().as_nanos() as f64);
    }
    samples
}

/// The syncs and commands of one contender while it was measured.
fn syncs_for_each<G: Group>(subject: &Subject<G>, before: (u64, u64)) -> f64 {
    let (syncs, commands) = (subject.syncs() - before.0, subject.commands() - before.1);
    syncs as f64 / commands.max(1) as f64
}

/// Ours with logs there, for a profiler.
pub(crate) fn ours(host: &Host, place: &Place) -> ours_cluster::Ours {
    let wals: Vec<Wal> = (0..3).map(|n| open(&place.dir(&n.to_string()))).collect();
    let setup = Setup { size: SIZE, lease: false };
    ours_cluster::start(host, setup, move |n| WalLog::new(wals[n].clone()))
}

/// Everybody twice, once on each kind of runtime.
struct Subjects {
    ours: [Subject<ours_cluster::Ours>; 2],
    old: [Subject<openraft09::Peer>; 2],
    new: [Subject<openraft10::Peer>; 2],
}

impl Subjects {
    fn new(place: &Place) -> Self {
        let ours = |threads| {
            Subject::new(place, "ours", threads, |host, wals| {
                let setup = Setup { size: SIZE, lease: false };
                ours_cluster::start(host, setup, move |n| WalLog::new(wals[n].clone()))
            })
        };
        let old = |threads| {
            Subject::new(place, OPENRAFT09, threads, |h, w| openraft09::start(h, SIZE, Some(w)))
        };
        let new = |threads| {
            Subject::new(place, OPENRAFT10, threads, |h, w| openraft10::start(h, SIZE, Some(w)))
        };
        Self { ours: THREADS.map(ours), old: THREADS.map(old), new: THREADS.map(new) }
    }

    fn counts(&self) -> Vec<(u64, u64)> {
        let ours = self.ours.iter().map(|s| (s.syncs(), s.commands()));
        let old = self.old.iter().map(|s| (s.syncs(), s.commands()));
        let new = self.new.iter().map(|s| (s.syncs(), s.commands()));
        ours.chain(old).chain(new).collect()
    }

    /// Syncs of all three logs for a command, of each by its better way.
    fn syncs(&self, rounds: &Rounds, before: &[(u64, u64)]) -> String {
        let two = |whose: &str| usize::from(better(rounds, whose) != THREADS[0].name(whose));
        let (ours, old, new) = (two("ours"), two(OPENRAFT09), two(OPENRAFT10));
        format!(
            "syncs of the three logs for a command: ours {:.3}, 0.9 {:.3}, 0.10 {:.3}",
            syncs_for_each(&self.ours[ours], before[ours]),
            syncs_for_each(&self.old[old], before[2 + old]),
            syncs_for_each(&self.new[new], before[4 + new]),
        )
    }

    fn contenders<'a>(&'a self, turn: impl Turn + 'a) -> Vec<Contender<'a>> {
        let mut contenders = Vec::new();
        for n in 0..THREADS.len() {
            contenders.push(self.ours[n].hosted.contender(move |h, g| turn.take(h, g)));
            contenders.push(self.old[n].hosted.contender(move |h, g| turn.take(h, g)));
            contenders.push(self.new[n].hosted.contender(move |h, g| turn.take(h, g)));
        }
        contenders
    }

    fn check(&self) {
        self.ours.iter().for_each(|s| s.hosted.check());
        self.old.iter().for_each(|s| s.hosted.check());
        self.new.iter().for_each(|s| s.hosted.check());
    }
}

/// What a contender does in a turn, whoever it is.
trait Turn: Copy {
    fn take<G: Group>(self, host: &Host, group: &G) -> f64;
}

/// One client; the median of its latencies.
#[derive(Clone, Copy)]
struct Latency(Duration);

impl Turn for Latency {
    fn take<G: Group>(self, host: &Host, group: &G) -> f64 {
        latency_turn(host, group, self.0)
    }
}

/// So many clients; the time for each of all commands.
#[derive(Clone, Copy)]
struct Throughput(u64, Duration);

impl Turn for Throughput {
    fn take<G: Group>(self, host: &Host, group: &G) -> f64 {
        propose_turn(host, group, self.0, self.1)
    }
}

/// P3.
pub(crate) fn lane(bench: &mut Bench) {
    let place = Place::new();
    let subjects = Subjects::new(&place);
    let turn = bench.turn;

    let before = subjects.counts();
    let mut contenders = subjects.contenders(Latency(turn));
    contenders.push(floor(&place, turn));
    contenders.push(floor_of_two(&place, turn));
    let rounds = take_turns(contenders, bench.rounds);
    let quick = rounds.ns(FLOOR_OF_TWO) < SLOW;
    bench.sheet.push(single(&rounds, &subjects, &before, &place));

    for clients in CLIENTS {
        let before = subjects.counts();
        let contenders = subjects.contenders(Throughput(clients, turn));
        let rounds = take_turns(contenders, bench.rounds);
        let lane = format!("P3 durable, {clients} clients, {SIZE} B");
        let (mut line, ratios) = line_of_better(&lane, &rounds, &[OPENRAFT09, OPENRAFT10]);
        if clients == 256 {
            line = line.goal_at(quick, "≥ 3× openraft 0.9", ratios[0] >= 3.0);
            line = line.goal_at(quick, "≥ 1.2× openraft 0.10", ratios[1] >= 1.2);
        }
        bench.sheet.push(line.note(&subjects.syncs(&rounds, &before)));
    }
    subjects.check();
}

fn single(rounds: &Rounds, subjects: &Subjects, before: &[(u64, u64)], place: &Place) -> Line {
    let ours = better(rounds, "ours");
    let text = format!("{} ({})", time(rounds.ns(&ours)), ours.trim_start_matches("ours, "));
    let (ratio, floor) = (rounds.ratio(&ours, FLOOR_OF_TWO), rounds.ns(FLOOR_OF_TWO));
    let mut line = Line::new(&format!("P3 durable, 1 client, {SIZE} B, p50"))
        .value(&text, rounds.ns(&ours), "ns")
        .floor(&format!("{FLOOR_OF_TWO} {}", time(floor)), ratio);
    for peer in [OPENRAFT09, OPENRAFT10] {
        let name = better(rounds, peer);
        line = line.peer(&name, &time(rounds.ns(&name)), rounds.ratio(&name, &ours));
    }
    // One alone is told, not judged: this device is now quicker and now ten times slower for it
    // than for three together.
    let one = format!("{FLOOR} alone {}", time(rounds.ns(FLOOR)));
    line.goal_at(floor < SLOW, "≤ 1.25× floor", ratio <= 1.25)
        .note(&one)
        .note(&subjects.syncs(rounds, before))
        .note(&place.device)
}
