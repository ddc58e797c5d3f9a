//! The unsynced part of one file: the sizes it took, and the versions of each atom.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::pending::Choice;
use crate::vfs::memory::inode::{Inode, Unit};
use crate::vfs::memory::pages::Pages;

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
    /// Whether every write lies within the size on the medium.
    within: bool,
    /// The directory whose operations decide whether the file has a name at all.
    pub(super) home: Option<usize>,
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
    pub(super) fn of(number: u64, inode: &Inode, atom: usize, stale: bool) -> Self {
        let len = inode.durable.len();
        let (pieces, slots) = (Vec::new(), Vec::new());
        let (within, home) = (true, None);
        let mut cut = Self { inode: number, len, pieces, sizes: 0, slots, atom, within, home };
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
                cut.within &= at + data.len() <= len;
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

    pub(super) fn radices(&self) -> impl Iterator<Item = u32> {
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
    /// could see them: each state has one choice. Whether there were any.
    pub(super) fn close(&self, digits: &mut [u32]) -> bool {
        if self.sizes == 0 && self.within {
            return false;
        }
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
        let mut changed = false;
        for ((digit, seen), slot) in slots.iter_mut().zip(seen).zip(&self.slots) {
            let shows_stale = *digit > slot.versions && slot.at < size;
            if !shows_stale && *digit != seen {
                *digit = seen;
                changed = true;
            }
        }
        changed
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
    pub(super) fn lost(&self, digits: &[u32]) -> u64 {
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
