//! What a power cut, or the death of the process, can leave of a [`MemVfs`].
//!
//! A write is cut into its 512-byte sectors; any subset of the unsynced sectors may have reached
//! the medium, in any order. Of the unsynced operations of a directory a prefix has, or any set
//! that is closed under what the operations need of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::MemVfs;
use super::memory::disk::{Dir, DirOp, Disk, Entry, Inode, SECTOR, Unit};
use crate::width::index;

/// Up to this many units every subset is tried.
const EXHAUSTIVE_UNITS: usize = 12;
/// Distinct samples are looked for so often, per state asked for.
const TRIES: usize = 4;

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

/// Everything unsynced, in one list: first the sectors and lengths of all files, then the
/// operations of all directories.
struct Pending<'a> {
    disk: &'a Disk,
    /// The units of each file.
    files: Vec<Vec<Unit>>,
    units: usize,
    ops: Vec<(&'a Path, &'a DirOp)>,
    /// For each operation the earlier ones without which it cannot be there.
    needs: Vec<Vec<usize>>,
}

impl MemVfs {
    /// Which orders of directory operations power cuts choose from; `Ordered` by default. The
    /// disks that [`crash`](Self::crash) and [`kill`](Self::kill) give have the same order.
    pub fn dir_order(&self, order: DirOrder) {
        self.disk.lock().order = order;
    }

    /// The disk after a power cut now; `seed` chooses what of the unsynced reached the medium.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let disk = self.disk.lock();
        let mut rng = seed ^ 0x5eed;
        let pending = Pending::of(&disk);
        let choice = pending.seeded(&mut rng);
        pending.build(&choice)
    }

    /// Disks a power cut now can leave, at most `max` and no two from the same choice: all of
    /// them if at most 12 sectors, lengths and names are unsynced (spread evenly, if `max` is
    /// less); else nothing, everything, only one, all but one, prefixes, and seeded samples.
    #[must_use]
    pub fn crash_states(&self, max: usize) -> Vec<Self> {
        let disk = self.disk.lock();
        let pending = Pending::of(&disk);
        let choices = if pending.len() <= EXHAUSTIVE_UNITS {
            spread(pending.all(), max)
        } else {
            pending.samples(max)
        };
        choices.iter().map(|choice| pending.build(choice)).collect()
    }

    /// The disk after the death of the process: nothing is lost, locks are free.
    #[must_use]
    pub fn kill(&self) -> Self {
        let disk = self.disk.lock();
        let entropy = disk.entropy ^ 0x6b69_6c6c;
        let mut killed = Disk::new(disk.inodes.clone(), disk.dirs.clone(), entropy);
        killed.order = disk.order;
        Self::from_disk(killed)
    }
}

/// At most `max` of them, the first and the last among these.
fn spread(all: Vec<Vec<bool>>, max: usize) -> Vec<Vec<bool>> {
    if all.len() <= max {
        return all;
    }
    let last = all.len() - 1;
    let steps = max.saturating_sub(1).max(1);
    (0..max).map(|i| all[i * last / steps].clone()).collect()
}

/// Cuts writes into sectors; lengths stay whole.
fn sectors(units: &[Unit]) -> Vec<Unit> {
    let mut out = Vec::new();
    for unit in units {
        match unit {
            Unit::Len(len) => out.push(Unit::Len(*len)),
            Unit::Write { at, data } => {
                let (mut at, mut rest) = (*at, data.clone());
                while !rest.is_empty() {
                    let n = rest.len().min(SECTOR - at % SECTOR);
                    out.push(Unit::Write { at, data: rest.split_to(n) });
                    at += n;
                }
            }
        }
    }
    out
}

impl<'a> Pending<'a> {
    fn of(disk: &'a Disk) -> Self {
        let files: Vec<Vec<Unit>> = disk.inodes.values().map(|i| sectors(&i.units)).collect();
        let mut ops: Vec<(&Path, &DirOp)> = Vec::new();
        let mut needs: Vec<Vec<usize>> = Vec::new();
        for (path, dir) in &disk.dirs {
            let begin = ops.len();
            for op in &dir.ops {
                let earlier = begin..ops.len();
                needs.push(match disk.order {
                    DirOrder::Ordered => earlier.last().into_iter().collect(),
                    DirOrder::Reordered => earlier.filter(|&i| ops[i].1.shares_name(op)).collect(),
                });
                ops.push((path, op));
            }
        }
        let units = files.iter().map(Vec::len).sum();
        Self { disk, files, units, ops, needs }
    }

    fn len(&self) -> usize {
        self.units + self.ops.len()
    }

    /// Takes out what cannot be there without something that is missing.
    fn close(&self, mut choice: Vec<bool>) -> Vec<bool> {
        for (i, needs) in self.needs.iter().enumerate() {
            choice[self.units + i] &= needs.iter().all(|&need| choice[self.units + need]);
        }
        choice
    }

    fn all(&self) -> Vec<Vec<bool>> {
        let n = self.len();
        (0..1_usize << n)
            .map(|bits| (0..n).map(|i| bits >> i & 1 == 1).collect::<Vec<_>>())
            .filter(|choice| self.close(choice.clone()) == *choice)
            .collect()
    }

    fn samples(&self, max: usize) -> Vec<Vec<bool>> {
        let n = self.len();
        let mut seen = BTreeSet::new();
        let mut out = Vec::new();
        let mut add = |choice: Vec<bool>| {
            let choice = self.close(choice);
            if out.len() < max && seen.insert(choice.clone()) {
                out.push(choice);
            }
            out.len() < max
        };
        add(vec![false; n]);
        add(vec![true; n]);
        // A quarter each for only one, all but one, prefixes; the rest is drawn.
        let share = (max / 4).clamp(1, n);
        for k in 0..share {
            let i = k * n / share;
            add((0..n).map(|j| j == i).collect());
            add((0..n).map(|j| j != i).collect());
            add((0..n).map(|j| j < i).collect());
        }
        let mut rng = 0x0005_a3b1;
        for _ in 0..max * TRIES {
            if !add(self.seeded(&mut rng)) {
                break;
            }
        }
        out
    }

    fn seeded(&self, rng: &mut u64) -> Vec<bool> {
        let mut choice = Vec::with_capacity(self.len());
        for n in self.files.iter().map(Vec::len) {
            let style = mix(rng) % 6;
            let pick = index(mix(rng) % (n as u64 + 1));
            choice.extend((0..n).map(|i| match style {
                0 => false,
                1 => true,
                2 => i < pick,
                3 => i != pick,
                4 => i == pick,
                _ => mix(rng) & 1 == 1,
            }));
        }
        for dir in self.disk.dirs.values() {
            let pick = index(mix(rng) % (dir.ops.len() as u64 + 1));
            // Independent draws would hardly ever leave a long prefix.
            let draw = self.disk.order == DirOrder::Reordered && mix(rng).is_multiple_of(2);
            choice.extend((0..dir.ops.len()).map(
                |i| {
                    if draw { mix(rng) & 1 == 1 } else { i < pick }
                },
            ));
        }
        self.close(choice)
    }

    fn build(&self, choice: &[bool]) -> MemVfs {
        let (units, ops) = choice.split_at(self.units);
        let disk = self.disk;
        let mut dirs: BTreeMap<PathBuf, Dir> = BTreeMap::new();
        for (path, dir) in &disk.dirs {
            if !reachable(path, &dirs) {
                continue;
            }
            let mut names: BTreeMap<OsString, Entry> = dir.durable.clone();
            for ((at, op), kept) in self.ops.iter().zip(ops) {
                if *kept && *at == path.as_path() {
                    op.apply(&mut names);
                }
            }
            let durable = names.clone();
            dirs.insert(path.clone(), Dir { names, durable, ops: Vec::new() });
        }
        let named: BTreeSet<u64> = dirs
            .values()
            .flat_map(|dir| dir.names.values())
            .filter_map(|entry| if let Entry::File(inode) = entry { Some(*inode) } else { None })
            .collect();
        let mut inodes = BTreeMap::new();
        let mut rest = units;
        for ((&number, inode), units) in disk.inodes.iter().zip(&self.files) {
            let (kept, after) = rest.split_at(units.len());
            rest = after;
            if !named.contains(&number) {
                continue;
            }
            let mut bytes = inode.durable.clone();
            for (unit, kept) in units.iter().zip(kept) {
                if *kept {
                    unit.apply(&mut bytes);
                }
            }
            inodes.insert(number, Inode::at_rest(bytes, inode.past.clone()));
        }
        let mut left = Disk::new(inodes, dirs, disk.entropy ^ 0x0070_6f77_6572);
        left.order = disk.order;
        MemVfs::from_disk(left)
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
