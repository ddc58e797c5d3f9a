//! The crash explorer: seeded scripts, power cuts and kills at every operation boundary, and the
//! invariants that must hold after each open.
//!
//! Logs are driven by hand, so a seed fixes everything: `QUORATE_SEED` replays one exactly.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate_wal::vfs::{DirOrder, MemVfs};
use quorate_wal::{
    Align, Batch, ConfigBuilder, Driver, Lsn, OpenError, Prealloc, ReadError, Tail, Wal,
};

pub(crate) use crate::model::History;
use crate::model::observe;
use crate::rig::{Replay, Rng, dir, open_with, seeds, segments, small};
pub(crate) use crate::script::Script;

/// Lives of a log, one crash after the other.
const DEPTH: usize = 4;
/// Crash states at each boundary.
const STATES: usize = 3;

/// Counted so that a campaign that stopped exploring fails.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) states: u64,
    clean: u64,
    torn: u64,
    unverifiable: u64,
    anchored: u64,
    resumed: u64,
    created: u64,
    rolls: u64,
    recycled: u64,
    unlinked: u64,
    carried: u64,
    reserves: u64,
    marks: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.states += other.states;
        self.clean += other.clean;
        self.torn += other.torn;
        self.unverifiable += other.unverifiable;
        self.anchored += other.anchored;
        self.resumed += other.resumed;
        self.created += other.created;
        self.rolls += other.rolls;
        self.recycled += other.recycled;
        self.unlinked += other.unlinked;
        self.carried += other.carried;
        self.reserves += other.reserves;
        self.marks += other.marks;
    }

    fn life(&mut self, wal: &Wal) {
        let stats = wal.stats();
        self.rolls += stats.rolls;
        self.recycled += stats.recycled;
        self.unlinked += stats.unlinked;
        self.carried += stats.carried;
        self.reserves += stats.reserve_uses;
        self.marks += stats.marks;
    }
}

/// Opens a crashed disk and checks everything; the history that is true from here on.
fn check_with(
    disk: &MemVfs,
    config: ConfigBuilder,
    history: &History,
    seen: &mut Seen,
    power_cut: bool,
) -> (Wal, History) {
    seen.states += 1;
    let (wal, report) = match open_with(disk, config) {
        Ok(opened) => opened,
        // I6 (G5): a crash alone is never corruption.
        Err(OpenError::Corruption(report)) => panic!("false corruption: {report:#?}"),
        Err(other) => panic!("open failed: {other}"),
    };
    match report.tail {
        Tail::Clean => seen.clean += 1,
        Tail::Torn { .. } => seen.torn += 1,
        Tail::Unverifiable { .. } => seen.unverifiable += 1,
        _ => {}
    }
    seen.anchored += u64::from(report.anchored_bytes > 0);
    seen.created += u64::from(report.created);
    seen.resumed += u64::from(!report.created && report.tail == Tail::Clean);
    // I1, I2, I3, I7, I8: the log equals the model of some prefix of what was staged, and that
    // prefix holds everything acknowledged. What an earlier recovery discarded (I4) is in no
    // prefix: the history was cut there, and every record has bytes of its own.
    let newest = report.durable.as_u64();
    assert!(newest >= history.acked, "lost: {newest} recovered, {} acknowledged", history.acked);
    let found = observe(&wal);
    let least = if power_cut { history.acked_batches } else { 0 };
    let Some(n) = history.prefix(&found, newest, least) else {
        panic!(
            "lost, invented or revived: no prefix of the history fits.\nreport {report:?}\n{}",
            history.explain(&found, least)
        );
    };
    let mut now = history.clone();
    now.staged.truncate(n);
    now.acked = newest;
    now.acked_batches = n;
    now.main_low = found.main_low;
    (wal, now)
}

/// One log and everything that may happen to it.
struct Explorer {
    seed: u64,
    config: ConfigBuilder,
    steps: u64,
    full: bool,
}

impl Explorer {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed ^ 0xc0f1);
        let align = [Align::Packed, Align::Packed, Align::Bytes512, Align::Bytes4096];
        let prealloc = [Prealloc::Zero, Prealloc::Zero, Prealloc::Reserve, Prealloc::Grow];
        let pick = |rng: &mut Rng| usize::try_from(rng.below(4)).unwrap();
        let mut config = small()
            .driver(Driver::manual(|| {}))
            .carry_live_percent_max(50)
            .align(align[pick(&mut rng)])
            .prealloc(prealloc[pick(&mut rng)]);
        if rng.below(2) == 0 {
            config = config.mark_idle(std::time::Duration::from_millis(1));
        }
        Self { seed, config, steps: 25 + rng.below(20), full: rng.below(3) == 0 }
    }

    /// A life on `disk` until `changes` operations were done, or the script ends.
    fn live(&self, disk: &MemVfs, history: &History, life: u64, seen: &mut Seen) -> History {
        let mut history = history.clone();
        if let Ok((wal, _)) = open_with(disk, self.config.clone()) {
            let rng = Rng(self.seed.wrapping_mul(31).wrapping_add(life));
            let (wal, batch) = (&wal, Batch::new());
            let mut script = Script { wal, rng, history: &mut history, batch };
            script.run(self.steps);
            if self.full {
                script.run_full(disk, self.steps / 2);
                script.run(self.steps / 2);
            }
            seen.life(wal);
        }
        history
    }
}

/// Every boundary of one life, some states at each, then on from one of them.
fn explore(seed: u64, seen: &mut Seen) {
    let _replay = Replay { test: "crash::", seed };
    let explorer = Explorer::new(seed);
    let mut rng = Rng(seed);
    let (mut disk, mut history) = (MemVfs::new(), History::new());
    if seed % 2 == 1 {
        // Operations of a directory that do not depend on each other survive in any combination.
        disk.dir_order(DirOrder::Reordered);
    }
    for life in 0..DEPTH {
        let power_cut = life % 2 == 0;
        let whole = disk.kill();
        let before = whole.changes();
        explorer.live(&whole, &history, life as u64, seen);
        let boundaries = whole.changes() - before;
        let go_on = rng.below(boundaries.max(1));
        let mut next = None;
        for boundary in 0..boundaries {
            let disk = disk.kill();
            disk.power_off_after(boundary);
            let lived = explorer.live(&disk, &history, life as u64, &mut Seen::default());
            let state = if power_cut { disk } else { disk.kill() };
            let chosen = usize::try_from(rng.below(STATES as u64)).unwrap();
            for (i, state) in states(&state, power_cut, &mut rng).into_iter().enumerate() {
                let after = explorer.judge(&state, &lived, seen);
                if boundary == go_on && (i == chosen || next.is_none()) {
                    next = Some(after);
                }
            }
        }
        match next {
            Some((state, now)) => (disk, history) = (state, now),
            None => return,
        }
    }
}

/// What a power cut may leave of the disk; or, for a killed process, the disk itself and what a
/// later power cut leaves of it.
fn states(disk: &MemVfs, power_cut: bool, rng: &mut Rng) -> Vec<MemVfs> {
    let mut states: Vec<MemVfs> = (1..STATES).map(|_| disk.crash(rng.next())).collect();
    let all = disk.crash_states(64);
    let pick = usize::try_from(rng.below(all.len() as u64)).unwrap();
    states.extend(all.into_iter().nth(pick));
    if !power_cut {
        states.push(disk.kill());
    }
    states
}

impl Explorer {
    /// Opens, checks, opens again; the disk and the history to go on with.
    fn judge(&self, state: &MemVfs, history: &History, seen: &mut Seen) -> (MemVfs, History) {
        let before = contents(state);
        // A kill keeps every byte, so this is the disk before the open.
        let image = seen.states.is_multiple_of(3).then(|| state.kill());
        let (wal, now) = check_with(state, self.config.clone(), history, seen, true);
        // I5: recovery changed no byte of a segment that was there, and a second open of the same
        // image answers the same; of every third, as it costs as much as the first one.
        for (path, bytes) in &before {
            if let Ok(after) = state.contents(path) {
                assert!(after == *bytes, "{} changed", path.display());
            }
        }
        if let Some(image) = image {
            let (again, _) = open_with(&image, self.config.clone()).unwrap();
            assert_eq!(again.marks(), wal.marks(), "a second open answers the same");
        }
        if history.clock.is_multiple_of(2) {
            // The next life begins behind a clean end.
            wal.shutdown().wait().unwrap();
        }
        (state.kill(), now)
    }
}

fn contents(disk: &MemVfs) -> Vec<(PathBuf, Vec<u8>)> {
    if disk.contents(&dir().join("MANIFEST")).is_err() {
        // The creation never finished; it begins again with other bytes.
        return Vec::new();
    }
    segments(disk).into_iter().map(|p| (p.clone(), disk.contents(&p).unwrap())).collect()
}

#[test]
fn explorer() {
    let seeds = Arc::new(seeds(34));
    let next = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (seeds, next) = (Arc::clone(&seeds), Arc::clone(&next));
            std::thread::spawn(move || {
                let mut seen = Seen::default();
                loop {
                    let i = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(&seed) = seeds.get(i) else { return seen };
                    explore(seed, &mut seen);
                }
            })
        })
        .collect();
    let mut seen = Seen::default();
    let mut broken = 0;
    for worker in workers {
        match worker.join() {
            Ok(part) => seen.add(&part),
            Err(_) => broken += 1,
        }
    }
    assert_eq!(broken, 0, "an invariant was broken; see above");
    // Written past the capture of the harness: a campaign says what it did.
    let _ = writeln!(
        std::io::stdout(),
        "crash states {}: clean {}, torn {}, unverifiable {}; lost 0, invented 0, revived 0, false \
         corruption 0\nin them: {seen:?}",
        seen.states,
        seen.clean,
        seen.torn,
        seen.unverifiable
    );
    if seeds.len() > 1 {
        let counts = [
            seen.clean,
            seen.torn,
            seen.unverifiable,
            seen.anchored,
            seen.resumed,
            seen.created,
            seen.rolls,
            seen.recycled,
            seen.unlinked,
            seen.carried,
            seen.reserves,
            seen.marks,
        ];
        assert!(counts.iter().all(|&n| n > 0), "vacuous: {seen:?}");
        assert!(seen.states >= 100_000, "{seen:?}");
    }
}

#[test]
fn reading_beyond_the_end_is_not_yet() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, small()).unwrap();
    assert!(matches!(wal.get(Lsn::new(1)), Err(ReadError::NotYet { .. })));
}
