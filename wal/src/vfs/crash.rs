//! What a power cut, or the death of the process, can leave of a [`MemVfs`].
//!
//! A write is cut into its 512-byte sectors; any subset of the unsynced sectors may have reached
//! the medium, in any order. Of the unsynced operations of a directory a prefix has.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::MemVfs;
use super::memory::{Dir, Disk, Entry, Inode, Unit};
use crate::width::index;

const SECTOR: usize = 512;
/// Up to this many units every subset is tried.
const EXHAUSTIVE_UNITS: usize = 12;

/// splitmix64: a choice, not a secret.
pub(super) fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Which unsynced units reached the medium.
#[derive(Debug)]
struct Choice {
    /// For each unit, over all files in order.
    units: Vec<bool>,
    /// For each directory, how many operations.
    dir_ops: BTreeMap<PathBuf, usize>,
}

impl MemVfs {
    /// The disk after a power cut now; `seed` chooses what of the unsynced reached the medium.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let disk = self.disk.lock();
        let mut rng = seed ^ 0x5eed;
        let choice = seeded(&disk, &mut rng);
        build(&disk, &choice)
    }

    /// Disks a power cut now can leave, at most `max`: all of them if there are at most 12
    /// unsynced units; else nothing, everything, only one, all but one, and seeded samples.
    #[must_use]
    pub fn crash_states(&self, max: usize) -> Vec<Self> {
        let disk = self.disk.lock();
        let units: usize = disk.inodes.values().map(|i| sectors(&i.units).len()).sum();
        let mut states = Vec::new();
        let prefixes = dir_prefixes(&disk);
        let subsets = subsets(units, max);
        for dir_ops in &prefixes {
            for units in &subsets {
                if states.len() >= max {
                    return states;
                }
                let choice = Choice { units: units.clone(), dir_ops: dir_ops.clone() };
                states.push(build(&disk, &choice));
            }
        }
        let mut rng = 0x0005_a3b1;
        while units > EXHAUSTIVE_UNITS && states.len() < max {
            let choice = seeded(&disk, &mut rng);
            states.push(build(&disk, &choice));
        }
        states
    }

    /// The disk after the death of the process: nothing is lost, locks are free.
    #[must_use]
    pub fn kill(&self) -> Self {
        let disk = self.disk.lock();
        Self::from_parts(
            disk.inodes.clone(),
            disk.dirs.clone(),
            Self::entropy_seed(&disk) ^ 0x6b69_6c6c,
        )
    }
}

/// Cuts writes into sectors; lengths stay whole.
fn sectors(units: &[Unit]) -> Vec<Unit> {
    let mut out = Vec::new();
    for unit in units {
        match unit {
            Unit::Len(len) => out.push(Unit::Len(*len)),
            Unit::Write { at, data } => {
                let (mut at, mut rest) = (*at, data.as_slice());
                while !rest.is_empty() {
                    let n = rest.len().min(SECTOR - at % SECTOR);
                    out.push(Unit::Write { at, data: rest[..n].to_vec() });
                    rest = &rest[n..];
                    at += n;
                }
            }
        }
    }
    out
}

fn subsets(units: usize, max: usize) -> Vec<Vec<bool>> {
    if units <= EXHAUSTIVE_UNITS {
        return (0..1_usize << units)
            .map(|bits| (0..units).map(|i| bits >> i & 1 == 1).collect())
            .collect();
    }
    let mut out = vec![vec![false; units], vec![true; units]];
    for i in (0..units).take(max / 3) {
        let mut one = vec![false; units];
        one[i] = true;
        out.push(one.clone());
        out.push(one.iter().map(|kept| !kept).collect());
    }
    out
}

/// Combinations of prefixes: each directory none, half or all of its operations.
fn dir_prefixes(disk: &Disk) -> Vec<BTreeMap<PathBuf, usize>> {
    let all: BTreeMap<PathBuf, usize> =
        disk.dirs.iter().map(|(path, dir)| (path.clone(), dir.ops.len())).collect();
    let most = all.values().copied().max().unwrap_or(0);
    let mut out: Vec<_> = (0..=most)
        .map(|n| all.iter().map(|(path, len)| (path.clone(), (*len).min(n))).collect())
        .collect();
    out.reverse();
    out
}

fn seeded(disk: &Disk, rng: &mut u64) -> Choice {
    let mut units = Vec::new();
    for inode in disk.inodes.values() {
        let n = sectors(&inode.units).len();
        let style = mix(rng) % 6;
        let pick = index(mix(rng) % (n as u64 + 1));
        units.extend((0..n).map(|i| match style {
            0 => false,
            1 => true,
            2 => i < pick,
            3 => i != pick,
            4 => i == pick,
            _ => mix(rng) & 1 == 1,
        }));
    }
    let dir_ops = disk
        .dirs
        .iter()
        .map(|(path, dir)| (path.clone(), index(mix(rng) % (dir.ops.len() as u64 + 1))))
        .collect();
    Choice { units, dir_ops }
}

fn build(disk: &Disk, choice: &Choice) -> MemVfs {
    let mut inodes = BTreeMap::new();
    let mut kept = choice.units.iter();
    for (&number, inode) in &disk.inodes {
        let mut bytes = inode.durable.clone();
        for unit in sectors(&inode.units) {
            if kept.next() == Some(&true) {
                unit.apply(&mut bytes);
            }
        }
        inodes.insert(number, Inode::at_rest(bytes));
    }
    let mut dirs: BTreeMap<PathBuf, Dir> = BTreeMap::new();
    for (path, dir) in &disk.dirs {
        if !reachable(path, &dirs) {
            continue;
        }
        let mut names: BTreeMap<OsString, Entry> = dir.durable.clone();
        let prefix = choice.dir_ops.get(path).copied().unwrap_or(0);
        for op in dir.ops.iter().take(prefix) {
            op.apply(&mut names);
        }
        dirs.insert(path.clone(), Dir { names: names.clone(), durable: names, ops: Vec::new() });
    }
    let named: Vec<u64> = dirs
        .values()
        .flat_map(|dir| dir.names.values())
        .filter_map(|entry| if let Entry::File(inode) = entry { Some(*inode) } else { None })
        .collect();
    inodes.retain(|number, _| named.contains(number));
    MemVfs::from_parts(inodes, dirs, MemVfs::entropy_seed(disk) ^ 0x0070_6f77_6572)
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
