//! [`CrashDisk`]: what a process or a power cut leaves of a disk.

use quorate_wal::vfs::CrashStates as Lefts;

use super::SimDisk;
use super::state::{Shared, State};

/// Whether an operation changes something or makes a change durable. Only these count for
/// [`SimDisk::crash_at_operation`]: a crash before a read leaves what a crash after it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Yes,
    No,
}

/// What a crash leaves of what was not synced. What was synced is always there.
///
/// # Examples
/// ```
/// use quorate_sim::{CrashDisk, DiskConfig, SimDisk};
/// use quorate_wal::vfs::{OpenMode, Vfs};
/// let disk = SimDisk::new(7, DiskConfig::default());
/// disk.vfs().open("f".as_ref(), OpenMode::CreateNew)?;
/// disk.crash(CrashDisk::KeepAll); // the process died, the machine did not
/// assert_eq!(disk.files().len(), 1);
/// disk.crash(CrashDisk::LoseUnsynced);
/// assert_eq!(disk.files().len(), 0, "the name was never synced");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashDisk {
    /// A power cut that leaves any subset the model allows, drawn from the disk's own stream.
    Random,
    /// A power cut that leaves nothing unsynced.
    LoseUnsynced,
    /// The death of the process: the system goes on, and what was not synced still is not.
    KeepAll,
    /// The power cut that [`SimDisk::crash_states`] has at this place, counted round if there are
    /// not so many; where they are too many to be numbered, one drawn from this number.
    State(u64),
}

/// What a crash did.
///
/// # Examples
/// ```
/// use quorate_sim::{CrashDisk, DiskConfig, SimDisk};
/// use quorate_wal::vfs::{OpenMode, Vfs};
/// let disk = SimDisk::new(7, DiskConfig::default());
/// disk.vfs().open("f".as_ref(), OpenMode::CreateNew)?.write_at(&[1; 1024], 0)?;
/// let report = disk.crash(CrashDisk::LoseUnsynced);
/// assert_eq!((report.units, report.lost), (5, 5), "a name, two sectors, two sizes");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashReport {
    /// How much was unsynced: each write of a sector, each size that a file took (one for each
    /// sector, where a write made it longer), each operation on a name.
    pub units: u64,
    /// How many of them are lost.
    pub lost: u64,
    /// The life that begins now, 2 after the first crash.
    pub life: u64,
}

/// The disks a power cut can leave, each made when it is asked for; from
/// [`SimDisk::crash_states`].
///
/// # Examples
/// ```
/// use quorate_sim::{DiskConfig, SimDisk};
/// use quorate_wal::vfs::{OpenMode, Vfs};
/// let disk = SimDisk::new(7, DiskConfig::default());
/// disk.vfs().open("f".as_ref(), OpenMode::CreateNew)?;
/// let states = disk.crash_states(100);
/// assert!(states.is_exhaustive());
/// assert_eq!(states.map(|disk| disk.files().len()).collect::<Vec<_>>(), [0, 1]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct CrashStates {
    lefts: Lefts,
    /// What every state has of the disk, beside its medium.
    base: State,
}

impl CrashStates {
    pub(super) fn of(state: &State, max: usize) -> Self {
        let lefts = state.medium.power_cut().states(max);
        Self { lefts, base: state.copied(quorate_wal::vfs::MemVfs::new()) }
    }

    /// Whether these are all states there can be.
    #[must_use]
    pub const fn is_exhaustive(&self) -> bool {
        self.lefts.is_exhaustive()
    }
}

impl Iterator for CrashStates {
    type Item = SimDisk;

    fn next(&mut self) -> Option<SimDisk> {
        let left = self.lefts.next()?;
        Some(SimDisk { shared: Shared::new(self.base.copied(left.disk)) })
    }
}

impl State {
    /// Ends the life of the process.
    pub(super) fn crash(&mut self, how: CrashDisk) -> CrashReport {
        let units;
        let (medium, lost) = if how == CrashDisk::KeepAll {
            units = self.medium.unsynced();
            (self.medium.kill(), 0)
        } else {
            let cut = self.medium.power_cut();
            units = cut.units();
            let left = match (how, cut.count()) {
                (CrashDisk::LoseUnsynced | CrashDisk::KeepAll, _) => cut.nothing_kept(),
                (CrashDisk::State(n), Some(count)) => {
                    cut.nth(n % count).unwrap_or_else(|| cut.nothing_kept())
                }
                (CrashDisk::State(n), None) => cut.seeded(n),
                (CrashDisk::Random, _) => cut.seeded(self.streams.crash.word()),
            };
            (left.disk, left.lost)
        };
        self.next_life(medium);
        self.stats.crashes.injected += 1;
        self.stats.crashes.effective += u64::from(lost > 0);
        self.trace.feed(units);
        self.trace.feed(lost);
        CrashReport { units, lost, life: self.life }
    }
}
