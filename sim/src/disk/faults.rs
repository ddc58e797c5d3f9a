//! [`DiskFault`]: what can be made to go wrong, and what waits to go wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use quorate_wal::vfs::FsyncFailure;

use super::stats::{DiskStats, FaultCount};

/// More faults than this do not wait; the rest is skipped.
const WAITING_MAX: usize = 1024;

/// Something that goes wrong on a [`SimDisk`](crate::SimDisk). Faults of an operation wait for
/// the next one they apply to, in the order in which they were injected, also over a crash.
///
/// # Examples
/// ```
/// use quorate_sim::{DiskConfig, DiskFault, FsyncFailure, SimDisk};
/// use quorate_wal::vfs::{OpenMode, Vfs};
/// let disk = SimDisk::new(1, DiskConfig::default());
/// let file = disk.vfs().open("f".as_ref(), OpenMode::CreateNew)?;
/// disk.inject(DiskFault::SyncError(FsyncFailure::DropPages));
/// file.write_at(b"abc", 0)?;
/// assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5), "EIO");
/// assert_eq!(file.len()?, 0, "the pages were dropped");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskFault {
    /// The next sync of a file fails with EIO and leaves what this model leaves.
    SyncError(FsyncFailure),
    /// Reads of this part fail with EIO, until it is written again.
    ReadError {
        /// The file.
        file: PathBuf,
        /// Which bytes.
        range: Range<u64>,
    },
    /// A bit flips, on the medium and in the cache.
    BitFlip {
        /// The file.
        file: PathBuf,
        /// Which bit, counted from its beginning.
        bit: u64,
    },
    /// A sector of some file, chosen by the disk, is zero.
    ZeroSector,
    /// A sector of some file, chosen by the disk, holds what it held before the last write: that
    /// write was lost.
    StaleSector,
    /// The next write reaches the medium at another place of its file, beyond its end not at all.
    /// The cache has it right, so that it shows after a crash or `drop_cache`.
    Misdirect {
        /// How far from its place; back, if negative.
        sectors: i32,
    },
    /// The next write of more than one byte writes only some of them.
    ShortWrite,
    /// From now on the disk has this capacity, until it heals or is given another one.
    NoSpace {
        /// Bytes in all files.
        capacity_bytes: u64,
    },
    /// The next sync, of a file or a directory, answers `Ok` and does nothing.
    LyingSync,
    /// The next operation takes so much longer.
    Stall(Duration),
}

/// How a sync goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum SyncFault {
    Error(FsyncFailure),
    Lie,
}

/// How a write goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum WriteFault {
    Astray(i32),
    Short,
}

/// What is wrong with a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Unreadable,
    Flipped,
    Zeroed,
    Stale,
}

impl Damage {
    pub(super) const fn count(self, stats: &mut DiskStats) -> &mut FaultCount {
        match self {
            Self::Unreadable => &mut stats.read_errors,
            Self::Flipped => &mut stats.bit_flips,
            Self::Zeroed => &mut stats.zero_sectors,
            Self::Stale => &mut stats.stale_sectors,
        }
    }
}

#[derive(Clone, Debug)]
struct Spot {
    range: Range<u64>,
    damage: Damage,
    /// The number of the fault: a spot that was overwritten in the middle is two.
    fault: u64,
}

/// What waits to go wrong, and what is wrong already.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) syncs: VecDeque<SyncFault>,
    pub(super) writes: VecDeque<WriteFault>,
    /// How long the next operation waits, and how many faults made it so long.
    pub(super) stall: (Duration, u64),
    pub(super) capacity: Option<u64>,
    /// Whether somebody has met the end of the disk since.
    pub(super) capacity_met: bool,
    /// By the number of the file.
    spots: BTreeMap<u64, Vec<Spot>>,
    /// Faults of places so far, and which of them were noticed.
    placed: u64,
    noticed: BTreeSet<u64>,
}

impl Faults {
    pub(super) fn is_full(&self) -> bool {
        self.syncs.len() + self.writes.len() >= WAITING_MAX
    }

    /// Takes back what waits; damage stays.
    pub(super) fn heal(&mut self) {
        self.syncs.clear();
        self.writes.clear();
        self.stall = (Duration::ZERO, 0);
        self.capacity = None;
    }

    pub(super) fn place(&mut self, file: u64, range: Range<u64>, damage: Damage) {
        self.placed += 1;
        let spot = Spot { range, damage, fault: self.placed };
        self.spots.entry(file).or_default().push(spot);
    }

    pub(super) fn spots(&self) -> usize {
        self.spots.values().map(Vec::len).sum()
    }

    /// Damage of files that are gone is forgotten (H29).
    pub(super) fn forget_all_but(&mut self, exists: impl Fn(u64) -> bool) {
        self.spots.retain(|file, _| exists(*file));
    }

    /// Whether the read fails; counts the damage that it meets for the first time.
    pub(super) fn read(&mut self, file: u64, range: &Range<u64>, stats: &mut DiskStats) -> bool {
        let mut unreadable = false;
        for spot in self.spots.get(&file).into_iter().flatten() {
            if spot.range.start < range.end && range.start < spot.range.end {
                unreadable |= spot.damage == Damage::Unreadable;
                if self.noticed.insert(spot.fault) {
                    spot.damage.count(stats).effective += 1;
                }
            }
        }
        unreadable
    }

    /// What is written again is whole again.
    pub(super) fn written(&mut self, file: u64, range: &Range<u64>) {
        let Some(spots) = self.spots.get_mut(&file) else { return };
        let parts = |spot: Spot| {
            let left = spot.range.start..spot.range.end.min(range.start);
            let right = spot.range.start.max(range.end)..spot.range.end;
            let cut = [left, right].into_iter().filter(|part| part.start < part.end);
            cut.map(|range| Spot { range, ..spot }).collect::<Vec<_>>()
        };
        *spots = std::mem::take(spots).into_iter().flat_map(parts).collect();
        if spots.is_empty() {
            self.spots.remove(&file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_counted_once_and_gone_when_it_is_written() {
        let (mut faults, mut stats) = (Faults::default(), DiskStats::default());
        faults.place(3, 100..200, Damage::Unreadable);
        faults.place(3, 150..151, Damage::Flipped);
        assert!(!faults.read(3, &(0..100), &mut stats) && !faults.read(4, &(0..999), &mut stats));
        assert_eq!(stats, DiskStats::default());
        assert!(faults.read(3, &(0..101), &mut stats) && faults.read(3, &(0..999), &mut stats));
        assert_eq!((stats.read_errors.effective, stats.bit_flips.effective), (1, 1));
        faults.written(3, &(120..180));
        assert!(!faults.read(3, &(120..180), &mut stats));
        assert!(faults.read(3, &(119..120), &mut stats) && faults.read(3, &(180..999), &mut stats));
        assert_eq!((stats.read_errors.effective, faults.spots()), (1, 2));
        faults.written(3, &(0..150));
        faults.forget_all_but(|file| file != 3);
        assert_eq!(faults.spots(), 0);
    }
}
