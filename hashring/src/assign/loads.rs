//! How many replicas each node gets: whole numbers within the intervals that leave as many as
//! possible where they are.

use super::groups::{Groups, ROOT};
use super::target::Interval;
use alloc::vec::Vec;

/// Loads that sum to `partitions · replicas`, never more in a group than its rule allows. A unit
/// goes to a node that holds one already before any node that does not.
///
/// Taking whatever is allowed, the preferred first, is exact: the loads that groups allow are the
/// bases of a polymatroid.
pub(crate) fn whole_loads(
    groups: &Groups,
    partitions: u32,
    intervals: &[Interval],
    held: &[u32],
) -> Vec<u32> {
    let mut spread = Spread::new(groups, partitions, intervals);
    let kept: Vec<u32> = intervals.iter().zip(held).map(|(i, &held)| i.high.min(held)).collect();
    spread.raise_to(&kept);
    let high: Vec<u32> = intervals.iter().map(|interval| interval.high).collect();
    spread.raise_to(&high);
    debug_assert_eq!(spread.room[ROOT], 0, "the rules allow what the targets ask for");
    spread.loads
}

struct Spread<'a> {
    groups: &'a Groups,
    loads: Vec<u32>,
    /// What each group can still take.
    room: Vec<u64>,
}

impl<'a> Spread<'a> {
    fn new(groups: &'a Groups, partitions: u32, intervals: &[Interval]) -> Self {
        let cap = |at| u64::from(partitions) * u64::from(groups.group(at).cap);
        let mut room: Vec<u64> = (0..groups.len()).map(cap).collect();
        let loads: Vec<u32> = intervals.iter().map(|interval| interval.low).collect();
        for (node, &load) in loads.iter().enumerate() {
            for at in groups.path(node) {
                room[at] -= u64::from(load);
            }
        }
        Self { groups, loads, room }
    }

    /// One unit at a time in the order of the nodes, again and again, up to each node's limit.
    fn raise_to(&mut self, limits: &[u32]) {
        let mut changed = true;
        while changed && self.room[ROOT] > 0 {
            changed = false;
            for (node, &limit) in limits.iter().enumerate() {
                let fits = |at: usize| self.room[at] > 0;
                if self.loads[node] >= limit || !self.groups.path(node).all(fits) {
                    continue;
                }
                self.loads[node] += 1;
                changed = true;
                for at in self.groups.path(node) {
                    self.room[at] -= 1;
                }
            }
        }
    }
}
