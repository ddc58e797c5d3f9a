//! Everything unsynced, as independent choices: how much of it is on the medium.
//!
//! A [`Choice`] has one digit for each of them: for a file how many of its sizes, then for each
//! atom that was written which of its versions; for a directory how many of its operations, or,
//! if these may be reordered, for each of them whether.

use std::collections::{BTreeMap, BTreeSet};

use super::dirs::{DirCut, Names};
use super::files::FileCut;
use crate::vfs::memory::disk::Disk;

/// What is kept.
pub(super) type Choice = Vec<u32>;

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) files: Vec<FileCut>,
    /// One for each directory of the disk, in their order.
    pub(super) dirs: Vec<DirCut>,
    /// At which digit each directory begins, after those of the files. There is always a root.
    dirs_at: Vec<usize>,
    /// How many answers each digit has.
    pub(super) radices: Vec<u32>,
    /// Atoms written, sizes taken, operations of directories.
    pub(super) units: u64,
}

impl Pending {
    pub(super) fn of(disk: &Disk) -> Self {
        let (atom, stale) = (disk.medium.atom(), disk.medium.given_up.len() > 0);
        let order = disk.medium.order;
        let mut dirs: Vec<DirCut> = disk.dirs.values().map(|dir| DirCut::of(dir, order)).collect();
        let mut homes = BTreeMap::new();
        for (i, dir) in disk.dirs.values().enumerate() {
            homes.extend(dir.files_on_medium().map(|file| (file, i)));
        }
        let mut files = Vec::new();
        for (&number, inode) in &disk.inodes {
            let (false, Some(&home)) = (inode.units.is_empty(), homes.get(&number)) else {
                continue;
            };
            let mut file = FileCut::of(number, inode, atom, stale);
            file.home = (dirs[home].ops > 0).then_some(home);
            files.push(file);
        }
        let decided: BTreeSet<u64> =
            files.iter().filter(|f| f.home.is_some()).map(|f| f.inode).collect();
        for (cut, dir) in dirs.iter_mut().zip(disk.dirs.values()) {
            cut.names = Names::of(dir, &decided);
        }
        let mut at: usize = files.iter().map(FileCut::digits).sum();
        let dirs_at = dirs.iter().map(|dir| {
            at += dir.digits();
            at - dir.digits()
        });
        let dirs_at = dirs_at.collect();
        let radices = files.iter().flat_map(FileCut::radices);
        let radices = radices.chain(dirs.iter().flat_map(DirCut::radices)).collect();
        let units = files.iter().map(|file| file.pieces.len() as u64).sum::<u64>();
        let ops = dirs.iter().map(|dir| u64::from(dir.ops)).sum::<u64>();
        Self { files, dirs, dirs_at, radices, units: units + ops }
    }

    /// How many choices there are, allowed or not.
    pub(super) fn product(&self) -> u64 {
        self.radices.iter().fold(1, |n: u64, &radix| n.saturating_mul(u64::from(radix)))
    }

    /// The `k`th choice, allowed or not, counted from the one that loses everything.
    pub(super) fn numbered(&self, mut k: u64) -> Choice {
        let digit = |&radix: &u32| {
            let digit = k % u64::from(radix);
            k /= u64::from(radix);
            u32::try_from(digit).unwrap_or(0)
        };
        self.radices.iter().map(digit).collect()
    }

    /// Makes it the allowed choice next to this one: what makes no sense without something that is
    /// missing is taken out. Whether that changed it.
    pub(super) fn close(&self, choice: &mut [u32]) -> bool {
        let (mut files, names) = choice.split_at_mut(self.dirs_at[0]);
        let place = |dir: usize| {
            let at = self.dirs_at[dir] - self.dirs_at[0];
            at..at + self.dirs[dir].digits()
        };
        let mut changed = false;
        for (i, dir) in self.dirs.iter().enumerate() {
            changed |= dir.close(&mut names[place(i)]);
        }
        for file in &self.files {
            let (digits, later) = files.split_at_mut(file.digits());
            files = later;
            changed |= match file.home {
                // Without a name nobody sees what is in it.
                Some(home) if !self.dirs[home].has(file.inode, &names[place(home)]) => {
                    let kept = digits.iter().any(|digit| *digit > 0);
                    digits.fill(0);
                    kept
                }
                _ => file.close(digits),
            };
        }
        changed
    }

    /// How many units the choice loses.
    pub(super) fn lost(&self, choice: &[u32]) -> u64 {
        let mut at = 0;
        let mut cut = |n: usize| {
            at += n;
            &choice[at - n..at]
        };
        let files: u64 = self.files.iter().map(|file| file.lost(cut(file.digits()))).sum();
        files + self.dirs.iter().map(|dir| dir.lost(cut(dir.digits()))).sum::<u64>()
    }
}
