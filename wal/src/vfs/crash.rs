//! What a power cut, or the death of the process, can leave of a [`MemVfs`].
//!
//! A write is cut into its sectors of 512 bytes. Of each sector any version may be on the medium:
//! what was there, or what one of the unsynced writes made of it. How long a file is, is written
//! apart from what is in it: it has any of the sizes it took, and what was lost inside it reads as
//! zeros. Of the unsynced operations of a directory a prefix is there, or any set that is closed
//! under what the operations need of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use self::pending::Pending;
use super::MemVfs;
use super::memory::disk::{Dir, Disk, Entry};
use super::memory::inode::Inode;

mod dirs;
mod files;
mod pending;
mod states;

use states::Choices;
pub use states::CrashStates;

/// In which order the unsynced operations of a directory may reach the medium.
///
/// # Examples
/// ```
/// # use std::path::Path;
/// use quorate_wal::vfs::{DirOrder, MemVfs, OpenMode, Vfs};
/// let disk = MemVfs::new();
/// for name in ["a", "b"] {
///     disk.open(Path::new(name), OpenMode::CreateNew)?;
/// }
/// assert_eq!(disk.crash_states(99).len(), 3, "none, a, a and b");
/// disk.dir_order(DirOrder::Reordered);
/// assert_eq!(disk.crash_states(99).len(), 4, "also b alone");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirOrder {
    /// In the order in which they were made, each directory for itself: a journal.
    Ordered,
    /// Operations on different names in any order; those on one name in theirs.
    Reordered,
}

/// splitmix64: a choice, not a secret.
pub(super) fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A disk at the moment of a power cut, before it is known what of the unsynced is lost.
///
/// # Examples
/// ```
/// # use std::path::Path;
/// use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
/// let disk = MemVfs::new();
/// let file = disk.open(Path::new("f"), OpenMode::CreateNew)?;
/// disk.sync_dir(Path::new(""))?;
/// file.write_at(b"abc", 0)?;
/// let cut = disk.power_cut();
/// assert_eq!((cut.units(), cut.count()), (2, Some(3)), "a size and a sector");
/// assert_eq!(cut.nothing_kept().disk.contents(Path::new("f"))?, b"");
/// assert_eq!(cut.nth(1).map(|left| left.lost), Some(1), "the size came through");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct PowerCut {
    disk: Disk,
    pending: Pending,
}

/// What a power cut left.
///
/// # Examples
/// ```
/// use quorate_wal::vfs::{Left, MemVfs};
/// let left: Left = MemVfs::new().power_cut().seeded(7);
/// assert_eq!(left.lost, 0, "there was nothing to lose");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Left {
    /// The disk, on which everything is durable now.
    pub disk: MemVfs,
    /// How many of the [units](PowerCut::units) are not there.
    pub lost: u64,
}

impl MemVfs {
    /// Which orders of directory operations power cuts choose from; `Ordered` by default. The
    /// disks that [`crash`](Self::crash) and [`kill`](Self::kill) give have the same order, and
    /// what the next two say.
    pub fn dir_order(&self, order: DirOrder) {
        self.disk.lock().medium.order = order;
    }

    /// Whether power cuts tear sectors, of which pieces of 64 bytes are kept or lost then, as on
    /// devices without atomic writes of sectors. Not by default.
    pub fn torn_sectors(&self, on: bool) {
        self.disk.lock().medium.torn_sectors = on;
    }

    /// Whether lost sectors, where a file has grown, may read as what a file held that was
    /// removed or cut before, instead of zeros. Not by default.
    ///
    /// # Examples
    /// ```
    /// # use std::path::Path;
    /// use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
    /// let disk = MemVfs::new();
    /// disk.stale_blocks(true);
    /// disk.open(Path::new("old"), OpenMode::CreateNew)?.write_at(b"old", 0)?;
    /// disk.remove(Path::new("old"))?;
    /// let file = disk.open(Path::new("f"), OpenMode::CreateNew)?;
    /// disk.sync_dir(Path::new(""))?;
    /// file.write_at(b"new", 0)?;
    /// let states = disk.crash_states(9);
    /// let texts: Vec<_> = states.iter().map(|d| d.contents(Path::new("f")).unwrap()).collect();
    /// assert_eq!(texts, [&b""[..], &[0; 3], b"new", b"old"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stale_blocks(&self, on: bool) {
        self.disk.lock().medium.stale_blocks = on;
    }

    /// The disk after a power cut now; `seed` chooses what of the unsynced reached the medium.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let disk = self.disk.lock();
        let pending = Pending::of(&disk);
        let choice = pending.seeded(&mut (seed ^ 0x5eed));
        pending.build(&disk, &choice)
    }

    /// Disks a power cut now can leave, at most `max` and no two from the same choice: all of
    /// them if at most 12 [units](PowerCut::units) are unsynced (spread evenly, if `max` is
    /// less); else nothing, everything, only one, all but one, prefixes, and seeded samples.
    #[must_use]
    pub fn crash_states(&self, max: usize) -> Vec<Self> {
        let disk = self.disk.lock();
        let pending = Pending::of(&disk);
        let mut choices = Choices::of(&pending, max);
        std::iter::from_fn(|| choices.next(&pending))
            .map(|choice| pending.build(&disk, &choice))
            .collect()
    }

    /// A power cut now, to look at what it can leave.
    ///
    /// # Cost
    /// Copies the disk, in pages that are shared until one writes.
    #[must_use]
    pub fn power_cut(&self) -> PowerCut {
        let disk = self.disk.lock();
        PowerCut { pending: Pending::of(&disk), disk: disk.copied(0) }
    }

    /// How many [units](PowerCut::units) a power cut now could lose.
    #[must_use]
    pub fn unsynced(&self) -> u64 {
        Pending::of(&self.disk.lock()).units
    }

    /// The disk after the death of the process: nothing is lost, locks are free.
    #[must_use]
    pub fn kill(&self) -> Self {
        Self::from_disk(self.disk.lock().copied(0x6b69_6c6c))
    }
}

impl PowerCut {
    /// How much was unsynced: each write of a sector, each size a file took, each operation of a
    /// directory. A write that makes a file longer does so sector by sector.
    #[must_use]
    pub const fn units(&self) -> u64 {
        self.pending.units
    }

    /// How many states there are, if there are few enough to try all of them: always with 12
    /// units.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        self.pending.count()
    }

    /// The `n`th state of all, if there are so many; the first one keeps nothing.
    #[must_use]
    pub fn nth(&self, n: u64) -> Option<Left> {
        self.pending.count().filter(|count| n < *count)?;
        let choice = self.pending.advance(&mut 0, &mut 0, n)?;
        Some(self.build(&choice))
    }

    /// Nothing reached the medium but what was synced.
    #[must_use]
    pub fn nothing_kept(&self) -> Left {
        self.build(&self.pending.numbered(0))
    }

    /// A state drawn from all of them.
    #[must_use]
    pub fn seeded(&self, seed: u64) -> Left {
        self.build(&self.pending.seeded(&mut (seed ^ 0x5eed)))
    }

    /// The states one after the other, as [`MemVfs::crash_states`] has them.
    #[must_use]
    pub fn states(self, max: usize) -> CrashStates {
        CrashStates::new(self, max)
    }

    fn build(&self, choice: &[u32]) -> Left {
        let disk = self.pending.build(&self.disk, choice);
        Left { disk, lost: self.pending.lost(choice) }
    }
}

impl Pending {
    fn build(&self, disk: &Disk, choice: &[u32]) -> MemVfs {
        let mut at = 0;
        let mut cut = |n: usize| {
            at += n;
            &choice[at - n..at]
        };
        let files: Vec<_> = self.files.iter().map(|file| (file, cut(file.digits()))).collect();
        let mut dirs: BTreeMap<PathBuf, Dir> = BTreeMap::new();
        for ((path, dir), ops) in disk.dirs.iter().zip(&self.dirs) {
            let digits = cut(ops.digits());
            if !reachable(path, &dirs) {
                continue;
            }
            let mut names: BTreeMap<OsString, Entry> = dir.durable.clone();
            for (i, op) in dir.ops.iter().enumerate() {
                if ops.keeps(i, digits) {
                    op.apply(&mut names);
                }
            }
            dirs.insert(path.clone(), Dir::at_rest(names));
        }
        let named: BTreeSet<u64> = dirs.values().flat_map(Dir::files_on_medium).collect();
        let mut inodes = BTreeMap::new();
        for number in named {
            let Some(inode) = disk.inodes.get(&number) else { continue };
            let bytes = match files.binary_search_by_key(&number, |(file, _)| file.inode) {
                Ok(i) => files[i].0.build(&inode.durable, files[i].1, &disk.medium.given_up),
                Err(_) => inode.durable.clone(),
            };
            inodes.insert(number, Inode::at_rest(bytes, inode.past.clone()));
        }
        MemVfs::from_disk(disk.reborn(inodes, dirs, 0x0070_6f77_6572))
    }
}

/// Whether the directory's own name survived; parents come first in path order.
fn reachable(path: &Path, built: &BTreeMap<PathBuf, Dir>) -> bool {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            built.get(parent).is_some_and(|d| d.names.get(name) == Some(&Entry::Dir))
        }
        _ => true,
    }
}
