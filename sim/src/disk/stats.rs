//! [`DiskStats`]: what a disk did, and which faults came true.

use std::time::Duration;

/// How often a fault was injected, and how often it then changed something (H3).
///
/// # Examples
/// ```
/// use quorate_sim::{DiskConfig, DiskFault, SimDisk};
/// let disk = SimDisk::new(1, DiskConfig::default());
/// disk.inject(DiskFault::ShortWrite);
/// let count = disk.stats().short_writes;
/// assert_eq!((count.injected, count.effective), (1, 0), "nobody wrote yet");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCount {
    /// Injected.
    pub injected: u64,
    /// Of these, those that changed something.
    pub effective: u64,
}

/// Counters of a disk, over all lives.
///
/// # Examples
/// ```
/// use quorate_sim::{CrashDisk, DiskConfig, SimDisk};
/// use quorate_wal::vfs::{OpenMode, Vfs};
/// let disk = SimDisk::new(1, DiskConfig::default());
/// disk.vfs().open("f".as_ref(), OpenMode::CreateNew)?.write_at(b"abc", 0)?;
/// disk.crash(CrashDisk::LoseUnsynced);
/// let stats = disk.stats();
/// assert_eq!((stats.writes, stats.bytes_written), (1, 3));
/// assert_eq!((stats.crashes.injected, stats.crashes.effective), (1, 1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskStats {
    /// Operations that changed something or made a change durable, also failed ones.
    pub changes: u64,
    /// Writes that succeeded.
    pub writes: u64,
    /// Bytes in them.
    pub bytes_written: u64,
    /// Reads that succeeded.
    pub reads: u64,
    /// Bytes in them.
    pub bytes_read: u64,
    /// Syncs of files and directories that answered `Ok`.
    pub syncs: u64,
    /// Time that all operations took.
    pub busy: Duration,
    /// Operations by a process that had ended (refused).
    pub after_death: u64,
    /// Faults that did not apply: no such file, no such place, or too many waiting.
    pub skipped: u64,
    /// Crashes; effective if something unsynced was lost.
    pub crashes: FaultCount,
    /// Crashes inside a handler; effective if the operation was reached.
    pub crashes_at_operation: FaultCount,
    /// `SyncError`; effective if a caller got the error.
    pub sync_errors: FaultCount,
    /// `LyingSync`; effective if the sync would have brought something to the medium.
    pub lying_syncs: FaultCount,
    /// `ReadError`; effective if a caller got the error.
    pub read_errors: FaultCount,
    /// `BitFlip`; effective if the bit was read.
    pub bit_flips: FaultCount,
    /// `ZeroSector`; effective if a byte of it was read.
    pub zero_sectors: FaultCount,
    /// `StaleSector`; effective if a byte of it was read.
    pub stale_sectors: FaultCount,
    /// `Misdirect`; effective if a write went astray.
    pub misdirects: FaultCount,
    /// `ShortWrite`; effective if a write was cut.
    pub short_writes: FaultCount,
    /// `NoSpace`; effective if a caller got the error.
    pub no_space: FaultCount,
    /// `Stall`; effective if an operation waited.
    pub stalls: FaultCount,
}
