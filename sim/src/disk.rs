//! [`SimDisk`]: a disk that loses, tears, delays and lies as disks do, on demand and by seed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quorate_wal::vfs::MemVfs;

use self::state::{Shared, State, Streams};

mod config;
mod crash;
mod faults;
mod inject;
mod latency;
mod limit;
mod seam;
mod state;
mod stats;
mod trace;
mod vfs;

pub use self::config::{DiskConfig, DiskConfigBuilder, DiskConfigError};
pub use self::crash::{CrashDisk, CrashReport, CrashStates};
pub use self::faults::DiskFault;
pub use self::latency::Cost;
pub(crate) use self::latency::slowed;
pub use self::limit::DiskLimit;
pub use self::stats::{DiskStats, FaultCount};
pub use self::vfs::SimVfs;

/// A disk in memory that knows what a power cut would leave of it, and fails as it is told.
///
/// It is `quorate-wal`'s `MemVfs` with seeds, times, faults, counters and processes that end. Use
/// it alone, or as the disk of a node in a world. Clones share the disk, also between threads;
/// then only its contents are deterministic, not its times.
///
/// # Examples
/// ```
/// use quorate_sim::{CrashDisk, DiskConfig, SimDisk};
/// use quorate_wal::vfs::{OpenMode, Vfs};
/// let disk = SimDisk::new(7, DiskConfig::default());
/// let vfs = disk.vfs();
/// let file = vfs.open("f".as_ref(), OpenMode::CreateNew)?;
/// file.write_at(b"acknowledged", 0)?;
/// file.sync_data()?; // and the name?
/// let lost = disk.crash_states(100).filter(|disk| disk.read_durable("f").is_err());
/// assert_eq!(lost.count(), 1);
/// vfs.sync_dir("".as_ref())?;
/// disk.crash(CrashDisk::Random);
/// assert_eq!(disk.read_durable("f")?, b"acknowledged");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        let mut text = f.debug_struct("SimDisk");
        text.field("life", &state.life).field("stats", &state.stats).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk. The same seed, the same operations: the same outcomes and times.
    #[must_use]
    pub fn new(seed: u64, config: DiskConfig) -> Self {
        Self { shared: Shared::new(State::new(config, MemVfs::new(), Streams::new(seed, 0))) }
    }

    /// The file system for the process that runs now, until the next crash.
    #[must_use]
    pub fn vfs(&self) -> SimVfs {
        let life = self.shared.lock().life;
        SimVfs::new(Arc::clone(&self.shared), life)
    }

    /// Ends the process, and the power if `how` says so; what runs on the old
    /// [`vfs`](Self::vfs) comes to nothing.
    ///
    /// # Cost
    /// Copies tables of pages, not bytes.
    #[expect(clippy::must_use_candidate, reason = "most callers do not mind what was lost")]
    pub fn crash(&self, how: CrashDisk) -> CrashReport {
        self.shared.lock().crash(how)
    }

    /// The process dies at its `n`th operation from now (1: the next; 0 as well) that changes
    /// something or makes a change durable: that one and everything later fails. Then
    /// [`crash`](Self::crash) it.
    ///
    /// # Examples
    /// ```
    /// use quorate_sim::{CrashDisk, DiskConfig, SimDisk};
    /// use quorate_wal::vfs::{OpenMode, Vfs};
    /// let disk = SimDisk::new(7, DiskConfig::default());
    /// disk.crash_at_operation(2);
    /// let file = disk.vfs().open("f".as_ref(), OpenMode::CreateNew)?;
    /// assert!(!disk.is_dying());
    /// assert!(file.write_at(b"abc", 0).is_err() && disk.is_dying());
    /// disk.crash(CrashDisk::KeepAll);
    /// assert!(!disk.is_dying());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn crash_at_operation(&self, n: u64) {
        let mut state = self.shared.lock();
        state.dies_in = Some(n.max(1));
        state.stats.crashes_at_operation.injected += 1;
    }

    /// Whether the operation of [`crash_at_operation`](Self::crash_at_operation) was reached.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        self.shared.lock().dying
    }

    /// Operations so far that changed something or made a change durable: a loop over them with
    /// [`crash_at_operation`](Self::crash_at_operation) tries every place to die at.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.shared.lock().stats.changes
    }

    /// The disks that a power cut now can leave, at most `max`: all of them if at most 12
    /// [units](CrashReport::units) are unsynced (spread evenly, if `max` is less); else the one
    /// that loses everything, the one that loses nothing, those that keep or lose just one thing,
    /// that stopped somewhere on the way, and drawn ones.
    ///
    /// This disk goes on as if nothing had happened.
    #[must_use]
    pub fn crash_states(&self, max: usize) -> CrashStates {
        CrashStates::of(&self.shared.lock(), max)
    }

    /// A copy of this disk, with everything unsynced; no process runs on it.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let state = self.shared.lock();
        Self { shared: Shared::new(state.copied(state.medium.kill())) }
    }

    /// What is on the medium of the file that has this name there: what is left of it after a
    /// power cut in any case.
    ///
    /// # Errors
    /// `NotFound` if the name is not durable.
    pub fn read_durable(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        self.shared.lock().medium.durable_contents(path.as_ref())
    }

    /// The names of all files and how long they are, as the process sees them.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.shared.lock().medium.files()
    }

    /// Counters, over all lives.
    #[must_use]
    pub fn stats(&self) -> DiskStats {
        self.shared.lock().stats
    }

    /// The first limit of the simulation that was exceeded.
    #[must_use]
    pub fn limit(&self) -> Option<DiskLimit> {
        self.shared.lock().limit
    }

    /// How long the operations took that were done since this was last asked, or since the process
    /// began.
    ///
    /// # Examples
    /// ```
    /// use quorate_sim::{DiskConfig, DiskFault, SimDisk};
    /// use quorate_wal::vfs::Vfs;
    /// use std::time::Duration;
    /// let disk = SimDisk::new(7, DiskConfig::default());
    /// disk.inject(DiskFault::Stall(Duration::from_secs(3)));
    /// disk.vfs().list("".as_ref())?;
    /// assert_eq!(disk.take_cost(), Duration::from_micros(3_000_020));
    /// assert_eq!(disk.take_cost(), Duration::ZERO);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use = "the time is not kept"]
    pub fn take_cost(&self) -> Duration {
        std::mem::take(&mut self.shared.lock().cost)
    }

    /// A number made of every operation so far, its place, what it wrote and how it ended. Two
    /// runs that did the same have the same.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.shared.lock().trace.hash()
    }

    /// The newest operations, a line each, oldest first.
    ///
    /// # Examples
    /// ```
    /// use quorate_sim::{DiskConfig, SimDisk};
    /// use quorate_wal::vfs::{OpenMode, Vfs};
    /// let disk = SimDisk::new(7, DiskConfig::default());
    /// let file = disk.vfs().open("f".as_ref(), OpenMode::CreateNew)?;
    /// file.write_at(b"abc", 9)?;
    /// assert_eq!(disk.trace_tail(1), "2 Write f 9+3 crc 352441c2\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn trace_tail(&self, operations: usize) -> String {
        self.shared.lock().trace.tail(operations)
    }

    /// Something goes wrong, now or at the next operation it applies to; whether it can.
    #[expect(clippy::must_use_candidate, reason = "skipped faults are counted as well")]
    pub fn inject(&self, fault: DiskFault) -> bool {
        self.shared.lock().inject(fault)
    }

    /// Takes back the faults that wait, a death that was not reached, and the capacity; damage
    /// stays.
    pub fn heal(&self) {
        let mut state = self.shared.lock();
        state.dies_in = None;
        state.faults.heal();
        state.set_capacity();
    }
}
