//! The state under the lock of a disk, and the way every operation goes: refused or not, slowed
//! or not, done, noted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use quorate_wal::vfs::{MemVfs, OpKind, VfsFile, VfsLock};

use super::config::DiskConfig;
use super::crash::Change;
use super::faults::Faults;
use super::latency::{Cost, slowed};
use super::limit::DiskLimit;
use super::stats::DiskStats;
use super::trace::{About, Trace};
use crate::SimTime;
use crate::rng::Rng;

/// A mutex whose `lock` cannot fail: what a panic leaves of the state is whole.
#[derive(Debug)]
pub(super) struct Shared(Mutex<State>);

impl Shared {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Self(Mutex::new(state)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream for each purpose, so that one draw more does not move the others (H6).
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) latency: Rng,
    pub(super) crash: Rng,
    pub(super) entropy: Rng,
    pub(super) fault: Rng,
}

impl Streams {
    pub(super) fn new(seed: u64, node: u64) -> Self {
        let stream = |purpose| Rng::stream(seed, "disk", node, purpose);
        Self { latency: stream(0), crash: stream(1), entropy: stream(2), fault: stream(3) }
    }
}

/// A file that a process has open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: Arc<dyn VfsFile>,
    /// Which file, whatever its name is.
    pub(super) id: u64,
    pub(super) path: Arc<Path>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: DiskConfig,
    pub(super) medium: MemVfs,
    pub(super) streams: Streams,
    pub(super) faults: Faults,
    pub(super) stats: DiskStats,
    pub(super) trace: Trace,
    pub(super) limit: Option<DiskLimit>,
    /// Which process the disk belongs to now; handles of earlier ones are dead.
    pub(super) life: u64,
    /// What the process holds. Handles have numbers only, so that those of a dead process hold
    /// nothing (H29).
    pub(super) files: BTreeMap<u64, Open>,
    pub(super) locks: BTreeMap<u64, Box<dyn VfsLock>>,
    handles: u64,
    /// How many more changes until the process dies.
    pub(super) dies_in: Option<u64>,
    pub(super) dying: bool,
    /// Time of the operations since it was last asked for.
    pub(super) cost: Duration,
    /// Bytes stored at most: counted up with every write, counted anew at the limit.
    pub(super) stored_bound: u64,
    /// The time of the world, which operations move on as they take it.
    pub(super) now: Option<Arc<AtomicU64>>,
    /// Per cent of their time that operations take, on a slow node; stalls do not.
    pub(super) slow_percent: u32,
    /// Time that was waited for before: operations that take no longer do not move `now` on.
    pub(super) prepaid: Duration,
    /// The one thread that may use the disk, in a world.
    pub(super) owner: Option<ThreadId>,
    pub(super) foreign: Option<String>,
}

/// The answer to a process that has ended: it can do no harm any more (H7).
fn ended() -> io::Error {
    io::Error::other("the process that had this disk has ended")
}

impl State {
    pub(super) fn new(config: DiskConfig, medium: MemVfs, streams: Streams) -> Self {
        medium.dir_order(config.dir_model);
        medium.torn_sectors(config.torn_sectors);
        medium.stale_blocks(config.stale_blocks);
        let state = Self {
            config,
            medium,
            streams,
            faults: Faults::default(),
            stats: DiskStats::default(),
            trace: Trace::keeping(config.trace_operations_max),
            limit: None,
            life: 1,
            files: BTreeMap::new(),
            locks: BTreeMap::new(),
            handles: 0,
            dies_in: None,
            dying: false,
            cost: Duration::ZERO,
            stored_bound: 0,
            now: None,
            slow_percent: 100,
            prepaid: Duration::ZERO,
            owner: None,
            foreign: None,
        };
        state.set_capacity();
        state
    }

    /// A copy of its own on this medium, at which no process runs.
    pub(super) fn copied(&self, medium: MemVfs) -> Self {
        let mut copy = Self::new(self.config, medium, self.streams.clone());
        copy.faults = self.faults.clone();
        copy.stats = self.stats;
        copy.limit = self.limit;
        copy.stored_bound = self.stored_bound;
        copy.set_capacity();
        copy
    }

    /// Puts the capacity in force that is to be in force.
    pub(super) fn set_capacity(&self) {
        let bytes = match (self.faults.capacity, self.config.capacity_bytes) {
            (Some(fault), Some(config)) => Some(fault.min(config)),
            (fault, config) => fault.or(config),
        };
        self.medium.quota(bytes, self.config.delayed_allocation);
    }

    pub(super) const fn handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }

    fn refuse_foreign(&mut self) -> io::Result<()> {
        let Some(owner) = self.owner else { return Ok(()) };
        let thread = std::thread::current();
        if thread.id() == owner {
            return Ok(());
        }
        // H21 of the world: it is told at the end of the handler.
        let name = thread.name().unwrap_or("without a name").to_owned();
        let text = format!("the disk belongs to a world, not to thread {name}");
        self.foreign.get_or_insert(name);
        Err(io::Error::other(text))
    }

    /// Whether a process of this life may do this now.
    pub(super) fn begin(&mut self, life: u64, change: Change) -> io::Result<()> {
        self.refuse_foreign()?;
        if life != self.life {
            // H7: destructors of a dead process come to nothing.
            self.stats.after_death += 1;
            return Err(ended());
        }
        if change == Change::Yes && !self.dying {
            self.stats.changes += 1;
            if let Some(left) = &mut self.dies_in {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    // H8: a crash in the middle of what a handler does.
                    self.dying = true;
                    self.stats.crashes_at_operation.effective += 1;
                }
            }
        }
        if self.dying {
            self.stats.after_death += 1;
            return Err(ended());
        }
        Ok(())
    }

    /// How long this takes now; only a sync draws.
    pub(super) fn time(&mut self, cost: Cost) -> Duration {
        slowed(self.config.time(cost, &mut self.streams.latency), self.slow_percent)
    }

    /// A sync lies: that has an effect if an honest one would have brought something to the medium.
    pub(super) fn lie(&mut self, sync: impl FnOnce(&MemVfs) -> io::Result<()>) {
        let honest = self.medium.kill(); // a copy, which nobody else sees
        let before = honest.unsynced();
        let would = sync(&honest).is_ok() && honest.unsynced() < before;
        self.stats.lying_syncs.effective += u64::from(would);
    }

    /// The operation takes its time.
    pub(super) fn charge(&mut self, cost: Cost) {
        let time = self.time(cost).saturating_add(self.take_stall());
        self.cost = self.cost.saturating_add(time);
        self.stats.busy = self.stats.busy.saturating_add(time);
        let beyond = time.saturating_sub(self.prepaid);
        self.prepaid = self.prepaid.saturating_sub(time);
        if let Some(now) = &self.now {
            // At once: the next line of the node may look at a clock.
            let at = SimTime::from_nanos(now.load(Ordering::Relaxed)).saturating_add(beyond);
            now.store(at.as_nanos(), Ordering::Relaxed);
        }
    }

    /// The stall that waits: whoever takes it waits so long.
    pub(super) fn take_stall(&mut self) -> Duration {
        let (stall, faults) = std::mem::take(&mut self.faults.stall);
        self.stats.stalls.effective += faults;
        stall
    }

    /// The operation is over.
    pub(super) fn end<T>(&mut self, about: About<'_>, outcome: &io::Result<T>) {
        let error = outcome.as_ref().err().map(io::Error::kind);
        if error == Some(io::ErrorKind::StorageFull)
            && self.faults.capacity.is_some()
            && !std::mem::replace(&mut self.faults.capacity_met, true)
        {
            self.stats.no_space.effective += 1;
        }
        self.trace.note(about, error);
    }

    /// An operation on names, from the beginning to the end.
    pub(super) fn on_name<T>(
        &mut self,
        life: u64,
        (kind, path): (OpKind, &Path),
        (change, cost): (Change, Cost),
        work: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        self.begin(life, change)?;
        self.charge(cost);
        let outcome = work(self);
        let subject = super::trace::named(path);
        let path = if self.trace.keeps() { path.into() } else { Arc::from(Path::new("")) };
        let about = About { kind, path: &path, subject, offset: 0, bytes: 0, crc: 0 };
        self.end(about, &outcome);
        outcome
    }

    /// Refuses what does not fit the simulation; `end` is how long the file would be, of which
    /// `bytes` are written.
    pub(super) fn check_limits(&mut self, end: u64, bytes: u64) -> io::Result<()> {
        let max = self.config.file_bytes_max;
        if end > max {
            return self.exceed(DiskLimit::File { found: end, max });
        }
        // Pages are 4 KiB: the first and the last may be held for a byte each.
        self.stored_bound = self.stored_bound.saturating_add(bytes + 8192);
        let max = self.config.stored_bytes_max;
        if self.stored_bound > max {
            self.stored_bound = self.medium.stored() + bytes;
        }
        if self.stored_bound > max {
            return self.exceed(DiskLimit::Stored { found: self.stored_bound, max });
        }
        Ok(())
    }

    fn exceed(&mut self, limit: DiskLimit) -> io::Result<()> {
        self.limit.get_or_insert(limit);
        let kind = match limit {
            DiskLimit::File { .. } => io::ErrorKind::FileTooLarge,
            DiskLimit::Stored { .. } => io::ErrorKind::StorageFull,
        };
        Err(io::Error::new(kind, limit))
    }

    /// The process ends and leaves this medium to the next one.
    pub(super) fn next_life(&mut self, medium: MemVfs) {
        self.files.clear();
        self.locks.clear();
        self.medium = medium;
        self.life += 1;
        self.dies_in = None;
        self.dying = false;
        self.cost = Duration::ZERO;
        self.set_capacity();
        if self.faults.spots() > 0 {
            let files = self.medium.files().into_iter();
            let ids = files.filter_map(|(path, _)| self.medium.file_id(&path).ok());
            let ids: BTreeSet<u64> = ids.collect();
            self.faults.forget_all_but(|id| ids.contains(&id));
        }
    }
}
