//! Everything unsynced, as independent choices: how much of it is on the medium.
//!
//! A [`Choice`] has one digit for each of them: for a file how many of its sizes, then for each
//! atom that was written which of its versions; for a directory how many of its operations, or,
//! if these may be reordered, for each of them whether.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::vfs::DirOrder;
use crate::vfs::memory::disk::{Dir, Disk};
use crate::vfs::memory::inode::{Inode, Unit};
use crate::vfs::memory::pages::Pages;

/// What is kept.
pub(super) type Choice = Vec<u32>;

/// One step of a file on its way to the medium.
#[derive(Debug)]
pub(super) enum Piece {
    /// The file gets this long. A write that makes it longer does so atom by atom.
    Size(usize),
    /// The `version`th content of an atom.
    Atom { slot: usize, version: u32, at: usize, data: Bytes },
}

/// An atom that was written, once or several times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    at: usize,
    versions: u32,
    /// Whether it may show what its block held before it was given to the file.
    stale: bool,
}

/// The unsynced part of one file.
#[derive(Debug)]
pub(super) struct FileCut {
    pub(super) inode: u64,
    /// The size on the medium.
    len: usize,
    pub(super) pieces: Vec<Piece>,
    pub(super) sizes: u32,
    pub(super) slots: Vec<Slot>,
    atom: usize,
}

/// The unsynced operations of one directory.
#[derive(Debug)]
pub(super) struct DirCut {
    pub(super) ops: u32,
    /// For each operation the earlier ones without which it cannot be there; none if what is
    /// there is always a prefix.
    pub(super) needs: Option<Vec<Vec<usize>>>,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) files: Vec<FileCut>,
    /// One for each directory of the disk, in their order.
    pub(super) dirs: Vec<DirCut>,
    /// How many answers each digit has.
    pub(super) radices: Vec<u32>,
    /// Atoms written, sizes taken, operations of directories.
    pub(super) units: u64,
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Cuts a write into its atoms.
fn atoms(at: usize, data: &Bytes, atom: usize) -> impl Iterator<Item = (usize, Bytes)> {
    let (mut at, mut rest) = (at, data.clone());
    std::iter::from_fn(move || {
        let n = rest.len().min(atom - at % atom);
        at += n;
        (n > 0).then(|| (at - n, rest.split_to(n)))
    })
}

impl Slot {
    /// The digit that keeps the last write.
    pub(super) const fn newest(self) -> u32 {
        self.versions
    }

    pub(super) fn radix(self) -> u32 {
        self.versions + 1 + u32::from(self.stale)
    }
}

impl FileCut {
    fn of(number: u64, inode: &Inode, atom: usize, stale: bool) -> Self {
        let len = inode.durable.len();
        let mut cut = Self { inode: number, len, pieces: vec![], sizes: 0, slots: vec![], atom };
        let mut places = BTreeMap::new();
        let mut size = len;
        for unit in &inode.units {
            let (at, data, grows) = match unit {
                Unit::Len(to) => {
                    if *to != size {
                        size = cut.size(*to);
                    }
                    continue;
                }
                Unit::Write { at, data } => (*at, data, true),
                Unit::Stray { at, data } => (*at, data, false),
            };
            for (at, data) in atoms(at, data, atom) {
                if grows && at + data.len() > size {
                    size = cut.size(at + data.len());
                }
                let begin = at - at % atom;
                let slot = *places.entry(begin).or_insert_with(|| cut.slot(begin, stale));
                cut.slots[slot].versions += 1;
                let version = cut.slots[slot].versions;
                cut.pieces.push(Piece::Atom { slot, version, at, data });
            }
        }
        cut
    }

    fn slot(&mut self, at: usize, stale: bool) -> usize {
        self.slots.push(Slot { at, versions: 0, stale: stale && at >= self.len });
        self.slots.len() - 1
    }

    fn size(&mut self, len: usize) -> usize {
        self.sizes += 1;
        self.pieces.push(Piece::Size(len));
        len
    }

    /// The digits of this file: one for the sizes, one for each slot.
    pub(super) const fn digits(&self) -> usize {
        1 + self.slots.len()
    }

    fn radices(&self) -> impl Iterator<Item = u32> {
        let slots = self.slots.iter().map(|slot| slot.radix());
        std::iter::once(self.sizes + 1).chain(slots)
    }

    /// The digits that keep the first `count` pieces.
    pub(super) fn prefix(&self, count: usize) -> Choice {
        let mut digits = vec![0; self.digits()];
        for piece in &self.pieces[..count] {
            match piece {
                Piece::Size(_) => digits[0] += 1,
                Piece::Atom { slot, version, .. } => digits[1 + slot] = *version,
            }
        }
        digits
    }

    /// Lowers the digits of versions that would lie beyond the end of the file, where nobody
    /// could see them: each state has one choice.
    fn close(&self, digits: &mut [u32]) {
        let (sizes, slots) = digits.split_at_mut(1);
        let mut seen = vec![0; slots.len()];
        let (mut size, mut taken) = (self.len, 0);
        for piece in &self.pieces {
            match piece {
                Piece::Size(len) if taken < sizes[0] => (size, taken) = (*len, taken + 1),
                Piece::Size(_) => {}
                Piece::Atom { slot, version, at, .. } => {
                    if *at < size && *version <= slots[*slot] {
                        seen[*slot] = *version;
                    }
                }
            }
        }
        for ((digit, seen), slot) in slots.iter_mut().zip(seen).zip(&self.slots) {
            let shows_stale = *digit > slot.versions && slot.at < size;
            if !shows_stale {
                *digit = seen;
            }
        }
    }

    /// The file with these digits.
    pub(super) fn build(&self, durable: &Pages, digits: &[u32], given_up: &Pages) -> Pages {
        let (sizes, slots) = (digits[0], &digits[1..]);
        let mut bytes = durable.clone();
        let mut taken = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Size(len) if taken < sizes => {
                    bytes.resize(*len);
                    taken += 1;
                }
                Piece::Size(_) => {}
                Piece::Atom { slot, version, at, data } => {
                    let kept = slots[*slot];
                    if *version <= kept && kept <= self.slots[*slot].versions {
                        bytes.write_within(*at, data);
                    }
                }
            }
        }
        for (slot, _) in self.slots.iter().zip(slots).filter(|(s, kept)| **kept > s.versions) {
            bytes.write_within(slot.at, &stale(given_up, slot.at, self.atom));
        }
        bytes
    }

    /// How many units the digits lose.
    fn lost(&self, digits: &[u32]) -> u64 {
        let slots = self.slots.iter().zip(&digits[1..]);
        let atoms = slots.map(|(slot, kept)| match slot.versions.checked_sub(*kept) {
            Some(lost) => u64::from(lost),
            None => u64::from(slot.versions),
        });
        u64::from(self.sizes - digits[0]) + atoms.sum::<u64>()
    }
}

/// What a block at `at` held before: bytes of what was given up.
fn stale(given_up: &Pages, at: usize, atom: usize) -> Vec<u8> {
    let from = at % given_up.len().max(1);
    given_up.slice(from..given_up.len().min(from + atom))
}

impl DirCut {
    fn of(dir: &Dir, order: DirOrder) -> Self {
        let needs = match order {
            DirOrder::Ordered => None,
            DirOrder::Reordered => Some(
                dir.ops
                    .iter()
                    .enumerate()
                    .map(|(i, op)| (0..i).filter(|&j| dir.ops[j].shares_name(op)).collect())
                    .collect(),
            ),
        };
        Self { ops: count(dir.ops.len()), needs }
    }

    pub(super) fn digits(&self) -> usize {
        match &self.needs {
            Some(needs) => needs.len(),
            None => usize::from(self.ops > 0),
        }
    }

    pub(super) fn radices(&self) -> impl Iterator<Item = u32> {
        let radix = if self.needs.is_some() { 2 } else { self.ops + 1 };
        std::iter::repeat_n(radix, self.digits())
    }

    /// Takes out what cannot be there without something that is missing.
    fn close(&self, digits: &mut [u32]) {
        for (i, needs) in self.needs.iter().flatten().enumerate() {
            if needs.iter().any(|&need| digits[need] == 0) {
                digits[i] = 0;
            }
        }
    }

    /// Whether the `i`th operation is kept.
    pub(super) fn keeps(&self, i: usize, digits: &[u32]) -> bool {
        if self.needs.is_some() { digits[i] == 1 } else { count(i) < digits[0] }
    }

    fn lost(&self, digits: &[u32]) -> u64 {
        u64::from(self.ops - digits.iter().sum::<u32>())
    }
}

impl Pending {
    pub(super) fn of(disk: &Disk) -> Self {
        let (atom, stale) = (disk.medium.atom(), disk.medium.given_up.len() > 0);
        let unsynced = disk.inodes.iter().filter(|(_, inode)| !inode.units.is_empty());
        let nameable: BTreeSet<u64> = disk.dirs.values().flat_map(Dir::files_on_medium).collect();
        let files: Vec<FileCut> = unsynced
            .filter(|(number, _)| nameable.contains(number))
            .map(|(&number, inode)| FileCut::of(number, inode, atom, stale))
            .collect();
        let order = disk.medium.order;
        let dirs: Vec<DirCut> = disk.dirs.values().map(|dir| DirCut::of(dir, order)).collect();
        let radices = files.iter().flat_map(FileCut::radices);
        let radices = radices.chain(dirs.iter().flat_map(DirCut::radices)).collect();
        let units = files.iter().map(|file| file.pieces.len() as u64).sum::<u64>();
        let ops = dirs.iter().map(|dir| u64::from(dir.ops)).sum::<u64>();
        Self { files, dirs, radices, units: units + ops }
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

    /// The digits of each file and of each directory, in their order.
    fn split<'a>(&self, choice: &'a mut [u32]) -> (Vec<&'a mut [u32]>, Vec<&'a mut [u32]>) {
        let mut rest = choice;
        let mut cut = |n: usize| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(n);
            rest = later;
            now
        };
        let files = self.files.iter().map(|file| cut(file.digits())).collect();
        let dirs = self.dirs.iter().map(|dir| cut(dir.digits())).collect();
        (files, dirs)
    }

    /// The allowed choice next to this one: what makes no sense without something that is
    /// missing is taken out.
    pub(super) fn close(&self, mut choice: Choice) -> Choice {
        let (files, dirs) = self.split(&mut choice);
        self.files.iter().zip(files).for_each(|(file, digits)| file.close(digits));
        self.dirs.iter().zip(dirs).for_each(|(dir, digits)| dir.close(digits));
        choice
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
