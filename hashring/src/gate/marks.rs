//! For each partition the epoch of its row at this node, readable without a lock.

use crate::sync::{AtomicU64, Ordering};
use crate::width::to_u16;
use crate::{Epoch, Locate, NodeId, Partition, View};
use alloc::boxed::Box;
use std::sync::OnceLock;

/// Levels 0 to 16: partition 0, then as many partitions as all levels before hold.
const LEVELS: usize = 17;

/// One word for each partition. Tables only grow, by doubling: each doubling adds a level, and
/// levels stay where they are, so that a reader needs no lock.
pub(super) struct Marks {
    levels: [OnceLock<Box<[AtomicU64]>>; LEVELS],
}

/// The epoch of a row, and whether this node is in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    /// Epochs stay below 2^62 (see the codec of views), so there is room for two bits.
    const fn new(epoch: Epoch, is_here: bool) -> Self {
        Self(epoch.value() << 1 | is_here as u64)
    }

    pub(super) const fn epoch(self) -> Epoch {
        Epoch::new(self.0 >> 1)
    }

    pub(super) const fn is_here(self) -> bool {
        self.0 & 1 == 1
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self { levels: [const { OnceLock::new() }; LEVELS] }
    }
}

impl Marks {
    /// The mark of a partition; none: no view had such a partition.
    #[inline]
    pub(super) fn get(&self, partition: Partition) -> Option<Mark> {
        let (level, at) = place(partition);
        let word = self.levels[level].get()?[at].load(Ordering::Acquire);
        (word != 0).then_some(Mark(word))
    }

    /// Writes the marks of a view. One caller at a time.
    pub(super) fn write(&self, me: NodeId, view: &View) {
        let me = view.table().topology().index_of(me);
        for at in 0..view.table().partitions() {
            let partition = Partition::new(to_u16(at as usize));
            let Some(route) = view.route_to(partition) else { continue };
            let is_here = me.is_some_and(|me| route.write.nodes().any(|at| at == me));
            self.set(partition, Mark::new(route.tag, is_here).0);
        }
        // Partitions of a larger table before, of which this one knows nothing.
        for at in view.table().partitions()..=u32::from(u16::MAX) {
            let partition = Partition::new(to_u16(at as usize));
            if self.levels[place(partition).0].get().is_none() {
                break;
            }
            self.set(partition, 0);
        }
    }

    fn set(&self, partition: Partition, word: u64) {
        let (level, at) = place(partition);
        let size = 1 << level.saturating_sub(1);
        let make = || (0..size).map(|_| AtomicU64::new(0)).collect();
        self.levels[level].get_or_init(make)[at].store(word, Ordering::Release);
    }
}

/// The level of a partition and its position there.
#[inline]
fn place(partition: Partition) -> (usize, usize) {
    let number = usize::from(partition.value());
    match number.checked_ilog2() {
        None => (0, 0),
        Some(bit) => (bit as usize + 1, number - (1 << bit)),
    }
}

#[cfg(test)]
mod tests {
    use super::{LEVELS, place};
    use crate::Partition;

    #[test]
    fn each_partition_has_a_place_of_its_own() {
        let mut sizes = [0_usize; LEVELS];
        for number in 0..=u16::MAX {
            let (level, at) = place(Partition::new(number));
            assert_eq!(at, sizes[level], "partition {number}");
            sizes[level] += 1;
        }
        assert_eq!(sizes[0], 1);
        assert!((1..LEVELS).all(|level| sizes[level] == 1 << (level - 1)));
    }
}
