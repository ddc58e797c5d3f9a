//! The unsynced operations of one directory: which of them can be there without which.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use crate::vfs::DirOrder;
use crate::vfs::memory::disk::{Dir, DirOp, Entry};

/// The unsynced operations of one directory.
#[derive(Debug)]
pub(super) struct DirCut {
    pub(super) ops: u32,
    /// For each operation the earlier ones without which it cannot be there; none if what is
    /// there is always a prefix.
    pub(super) needs: Option<Vec<Vec<usize>>>,
    pub(super) names: Names,
}

/// What is needed of a directory to know which unsynced files have a name.
#[derive(Debug, Default)]
pub(super) struct Names {
    durable: BTreeMap<OsString, Entry>,
    ops: Vec<DirOp>,
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Names {
    /// The operations, and of the names those that they or these files are about.
    pub(super) fn of(dir: &Dir, files: &BTreeSet<u64>) -> Self {
        if dir.ops.is_empty() || files.is_empty() {
            return Self::default();
        }
        let about = |(name, entry): &(&OsString, &Entry)| {
            let file = matches!(entry, Entry::File(number) if files.contains(number));
            file || dir.ops.iter().any(|op| op.is_about(name))
        };
        let durable = dir.durable.iter().filter(about).map(|(n, e)| (n.clone(), *e)).collect();
        Self { durable, ops: dir.ops.clone() }
    }
}

impl DirCut {
    pub(super) fn of(dir: &Dir, order: DirOrder) -> Self {
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
        Self { ops: count(dir.ops.len()), needs, names: Names::default() }
    }

    /// Whether a file has a name with these digits.
    pub(super) fn has(&self, inode: u64, digits: &[u32]) -> bool {
        let mut names = self.names.durable.clone();
        for (i, op) in self.names.ops.iter().enumerate() {
            if self.keeps(i, digits) {
                op.apply(&mut names);
            }
        }
        names.values().any(|entry| *entry == Entry::File(inode))
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

    /// Takes out what cannot be there without something that is missing; whether there was any.
    pub(super) fn close(&self, digits: &mut [u32]) -> bool {
        let mut changed = false;
        for (i, needs) in self.needs.iter().flatten().enumerate() {
            if digits[i] == 1 && needs.iter().any(|&need| digits[need] == 0) {
                digits[i] = 0;
                changed = true;
            }
        }
        changed
    }

    /// Whether the `i`th operation is kept.
    pub(super) fn keeps(&self, i: usize, digits: &[u32]) -> bool {
        if self.needs.is_some() { digits[i] == 1 } else { count(i) < digits[0] }
    }

    pub(super) fn lost(&self, digits: &[u32]) -> u64 {
        u64::from(self.ops - digits.iter().sum::<u32>())
    }
}
