//! A write-ahead log on the disk, driven by hand: random faults, crashes and reopens, and nothing
//! that was acknowledged is ever lost.
//!
//! Of the faults those that the log promises to bear: power cuts with all the disk models, failed
//! syncs, short writes, full disks, deaths between any two operations. A disk that lies or rots
//! may lose acknowledged records; then the log says so, which its own tests show.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_sim::{
    CrashDisk, DirModel, DiskConfig, DiskFault, DiskStats, FsyncFailure, Rng, SimDisk,
};
use quorate_wal::{Align, Config, Driver, Lsn, OpenError, Prealloc, Tail, Turn, Wal, WriteError};

use super::seeds::{Replay, seeds};

const LIVES: u64 = 6;

/// What happened, so that a campaign in which nothing does fails.
#[derive(Debug, Default)]
struct Seen {
    opened: u64,
    refused: u64,
    acknowledged: u64,
    verified: u64,
    in_doubt: u64,
    full: u64,
    torn: u64,
    units_lost: u64,
    after_death: u64,
    crashes: u64,
    died_inside: u64,
    sync_errors: u64,
    short_writes: u64,
    no_space: u64,
    stalls: u64,
}

impl Seen {
    fn add(&mut self, stats: &DiskStats) {
        self.crashes += stats.crashes.effective;
        self.died_inside += stats.crashes_at_operation.effective;
        self.sync_errors += stats.sync_errors.effective;
        self.short_writes += stats.short_writes.effective;
        self.no_space += stats.no_space.effective;
        self.stalls += stats.stalls.effective;
        self.after_death += stats.after_death;
    }
}

/// A log, its disk, and what it said it would keep.
struct Run {
    disk: SimDisk,
    rng: Rng,
    torn: bool,
    /// Off: the log acknowledges what it did not sync.
    sync: bool,
    acknowledged: Vec<(Lsn, Vec<u8>)>,
}

impl Run {
    fn new(seed: u64, sync: bool) -> Self {
        let mut rng = Rng::stream(seed, "campaign", 0, 0);
        let torn = rng.flip();
        let model = if rng.flip() { DirModel::Ordered } else { DirModel::Reordered };
        let config = DiskConfig::ssd()
            .dir_model(model)
            .torn_sectors(torn)
            .stale_blocks(rng.flip())
            .delayed_allocation(rng.flip());
        let disk = SimDisk::new(seed, config.build().unwrap());
        Self { disk, rng, torn, sync, acknowledged: Vec::new() }
    }

    fn config(&mut self) -> Config {
        // Sectors that tear are nothing to write into twice.
        let aligned = [Align::Bytes512, Align::Bytes4096];
        let align = if self.torn { aligned[self.rng.index(2)] } else { Align::Packed };
        let prealloc = [Prealloc::Zero, Prealloc::Reserve, Prealloc::Grow];
        let config = Config::embedded()
            .segment_bytes(32 << 10)
            .batch_bytes_max(8 << 10)
            .staged_bytes_max(32 << 10)
            .frame_bytes(1 << 10)
            .mark_idle(Duration::ZERO)
            .align(align)
            .prealloc(prealloc[self.rng.index(3)])
            .driver(Driver::manual(|| {}));
        let config = if self.sync { config } else { config.sync_off_for_tests() };
        config.build().unwrap()
    }

    fn fault(&mut self) {
        let models = [FsyncFailure::MarkClean, FsyncFailure::DropPages, FsyncFailure::KeepDirty];
        let used: u64 = self.disk.files().iter().map(|(_, len)| len).sum();
        self.disk.inject(match self.rng.below(8) {
            0 => DiskFault::SyncError(models[self.rng.index(3)]),
            1 | 2 => DiskFault::NoSpace { capacity_bytes: used + self.rng.below(8 << 10) },
            3 => return self.disk.heal(),
            4 => DiskFault::Stall(Duration::from_millis(self.rng.between(1, 1_000))),
            _ => DiskFault::ShortWrite,
        });
    }

    /// Opens the log and looks for everything that was acknowledged; says what is lost.
    fn open(&mut self, seen: &mut Seen) -> Result<Option<Wal>, String> {
        let (vfs, config) = (Arc::new(self.disk.vfs()), self.config());
        let (wal, report) = match Wal::open_on(vfs, Path::new("log"), config, None) {
            Ok(opened) => opened,
            Err(OpenError::Corruption(report)) => {
                return Err(format!("a crash taken for damage: {report:#?}"));
            }
            Err(_) => {
                seen.refused += 1;
                return Ok(None);
            }
        };
        seen.opened += 1;
        seen.torn += u64::from(!matches!(report.tail, Tail::Clean));
        for (lsn, bytes) in &self.acknowledged {
            match wal.get(*lsn) {
                Ok(found) if found[..] == bytes[..] => {}
                Ok(_) => return Err(format!("{lsn:?} is another record now")),
                // It died while the log was opened, at something the log can do without.
                Err(_) if self.disk.is_dying() => {
                    seen.refused += 1;
                    return Ok(None);
                }
                Err(error) => return Err(format!("{lsn:?} was acknowledged: {error}")),
            }
            seen.verified += 1;
        }
        Ok(Some(wal))
    }

    /// Appends until something ends it.
    fn live(&mut self, wal: &Wal, seen: &mut Seen) {
        for _ in 0..self.rng.below(30) {
            if self.rng.chance(150_000) {
                self.fault();
            }
            let bytes = vec![self.rng.word().to_le_bytes()[0]; self.rng.index(3_000)];
            match wal.append_blocking(&bytes) {
                Ok(lsn) => self.acknowledged.push((lsn, bytes)),
                Err(quorate_wal::AppendError::Refused(WriteError::NoSpace { .. })) => {
                    seen.full += 1;
                    self.disk.heal();
                }
                Err(_) => {
                    seen.in_doubt += 1;
                    return;
                }
            }
            while self.rng.flip() && wal.turn() == Turn::Again {}
        }
    }

    fn crash(&mut self) -> u64 {
        let how = [CrashDisk::Random, CrashDisk::LoseUnsynced, CrashDisk::KeepAll];
        self.disk.crash(how[self.rng.index(3)]).lost
    }
}

fn run(seed: u64, sync: bool, seen: &mut Seen) -> Result<(), String> {
    let mut run = Run::new(seed, sync);
    for life in 0..LIVES {
        if life + 1 == LIVES {
            // The last one has nothing to fear, so it must open.
            run.disk.heal();
        } else if run.rng.flip() {
            let n = run.rng.log_uniform(1, 200);
            run.disk.crash_at_operation(n);
        }
        let wal = run.open(seen)?;
        if let Some(wal) = &wal {
            run.live(wal, seen);
        } else {
            assert!(life + 1 < LIVES, "a healthy disk and no log");
        }
        seen.units_lost += run.crash();
        // The log is dropped after its death: what it still wants to write comes to nothing.
        drop(wal);
    }
    assert_eq!(run.disk.limit(), None);
    seen.acknowledged += run.acknowledged.len() as u64;
    seen.add(&run.disk.stats());
    Ok(())
}

/// The campaign can fail: a log that does not sync is caught.
#[test]
fn a_log_that_does_not_sync_loses_what_it_acknowledged() {
    let caught = (0..50).find(|seed| run(*seed, false, &mut Seen::default()).is_err());
    assert!(caught.is_some(), "50 seeds and nothing was lost");
}

#[test]
fn a_log_keeps_what_it_acknowledged() {
    let seeds = seeds(400);
    let mut seen = Seen::default();
    for seed in &seeds {
        let _replay = Replay { test: "disk::campaign::a_log_keeps", seed: *seed };
        run(*seed, true, &mut seen).unwrap();
    }
    println!("{} runs: {seen:?}", seeds.len());
    if seeds.len() >= 100 {
        let happened = [
            seen.refused,
            seen.in_doubt,
            seen.full,
            seen.torn,
            seen.units_lost,
            seen.after_death,
            seen.crashes,
            seen.died_inside,
            seen.sync_errors,
            seen.short_writes,
            seen.no_space,
            seen.stalls,
        ];
        assert!(happened.iter().all(|n| *n >= 10), "vacuous: {seen:?}");
        assert!(seen.verified > seen.acknowledged && seen.opened > 2 * seen.refused, "{seen:?}");
    }
}
