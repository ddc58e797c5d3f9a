//! Primaries: one replica of each row, evened out over the nodes, with the fewest changes. // H15
//!
//! Taking every replica for a fraction of a primary shows that each node can have between the
//! floor and the ceiling of its load divided by the replicas. The search is that of the flow, on
//! the graph partition → node of its row.

use super::search::{Residual, Search, State};
use super::target::Interval;
use crate::NodeIdx;
use crate::table::{VACANT, without_vacant};
use crate::width::{to_u16, to_u32};
use alloc::vec::Vec;

/// Brings the primary of each row to its front. `previous` holds the primary of each partition so
/// far, where there was one.
pub(crate) fn balance(
    rows: &mut [NodeIdx],
    width: usize,
    nodes: usize,
    previous: Option<&[NodeIdx]>,
) {
    if crate::plant::planted("m15_primaries_are_the_first_kept") {
        return;
    }
    let mut choice = Choice::new(rows, width, nodes, previous);
    choice.begin();
    let mut search = Search::new(choice.states());
    choice.complete(&mut search);
    let chosen = choice.chosen;
    for (row, primary) in rows.chunks_mut(width).zip(chosen) {
        if let Some(slot) = row.iter().position(|&at| at == primary) {
            row.swap(0, slot);
        }
    }
}

struct Choice<'a> {
    rows: &'a [NodeIdx],
    width: usize,
    previous: Option<&'a [NodeIdx]>,
    intervals: Vec<Interval>,
    /// The primary of each partition, or vacant.
    chosen: Vec<NodeIdx>,
    /// The partitions of each primary.
    led: Vec<Vec<u32>>,
    /// More than any path can cost: what it is worth that a node reaches its least.
    urgent: i32,
}

impl<'a> Choice<'a> {
    fn new(
        rows: &'a [NodeIdx],
        width: usize,
        nodes: usize,
        previous: Option<&'a [NodeIdx]>,
    ) -> Self {
        let replicas = to_u32(without_vacant(&rows[..width]).len());
        let mut loads = alloc::vec![0_u32; nodes];
        for at in rows.iter().filter(|&&at| at != VACANT) {
            loads[usize::from(at.value())] += 1;
        }
        let interval = |load: u32| Interval { low: load / replicas, high: load.div_ceil(replicas) };
        Self {
            rows,
            width,
            previous,
            intervals: loads.into_iter().map(interval).collect(),
            chosen: alloc::vec![VACANT; rows.len() / width],
            led: alloc::vec![Vec::new(); nodes],
            // A path visits a node at most once, and each visit costs at most one.
            urgent: to_u32(nodes).cast_signed() + 1,
        }
    }

    /// Keeps primaries up to the least of their nodes; where there were none, takes the replica
    /// whose node is furthest from its least. Nothing of this costs anything.
    fn begin(&mut self) {
        for partition in 0..self.chosen.len() {
            let lacks = |at: &&NodeIdx| {
                let node = usize::from(at.value());
                self.intervals[node].low.saturating_sub(to_u32(self.led[node].len()))
            };
            let row = self.row(partition);
            let free = row.iter().filter(|at| self.cost(partition, **at) == 0);
            let best = free.max_by_key(lacks).filter(|at| lacks(at) > 0).copied();
            if let Some(best) = best {
                self.choose(partition, best);
            }
        }
    }

    /// Chooses for every partition that is left, pushing others' choices on where that is cheapest.
    fn complete(&mut self, search: &mut Search) {
        for partition in 0..self.chosen.len() {
            if self.chosen[partition] != VACANT {
                continue;
            }
            let Some(path) = search.cheapest(self, &[to_u32(partition)], None) else {
                debug_assert!(false, "a fraction of a primary on each replica is a solution");
                return;
            };
            for step in path.windows(2) {
                if let Some(node) = self.node(step[1]) {
                    self.choose(step[0] as usize, NodeIdx::new(to_u16(node)));
                }
            }
        }
    }

    /// Makes a node the primary, in place of who is.
    fn choose(&mut self, partition: usize, node: NodeIdx) {
        let before = core::mem::replace(&mut self.chosen[partition], node);
        if before != VACANT {
            let led = &mut self.led[usize::from(before.value())];
            if let Some(at) = led.iter().position(|&other| other as usize == partition) {
                led.swap_remove(at);
            }
        }
        self.led[usize::from(node.value())].push(to_u32(partition));
    }

    fn row(&self, partition: usize) -> &[NodeIdx] {
        without_vacant(&self.rows[partition * self.width..][..self.width])
    }

    fn cost(&self, partition: usize, node: NodeIdx) -> i32 {
        self.previous.map_or(0, |previous| i32::from(previous[partition] != node))
    }

    fn states(&self) -> usize {
        self.chosen.len() + self.led.len()
    }

    fn node(&self, state: State) -> Option<usize> {
        (state as usize).checked_sub(self.chosen.len())
    }
}

impl Residual for Choice<'_> {
    fn steps(&self, from: State, visit: &mut impl FnMut(State, i32)) {
        match self.node(from) {
            None => {
                let partition = from as usize;
                for &at in self.row(partition) {
                    if at != self.chosen[partition] {
                        let state = to_u32(self.chosen.len() + usize::from(at.value()));
                        visit(state, self.cost(partition, at));
                    }
                }
            }
            Some(node) => {
                let index = NodeIdx::new(to_u16(node));
                for &partition in &self.led[node] {
                    visit(partition, -self.cost(partition as usize, index));
                }
            }
        }
    }

    fn stop(&self, at: State) -> Option<i32> {
        let node = self.node(at)?;
        let (load, interval) = (to_u32(self.led[node].len()), self.intervals[node]);
        match load {
            load if load < interval.low => Some(-self.urgent),
            load if load < interval.high => Some(0),
            _ => None,
        }
    }

    fn stops(&self) -> impl Iterator<Item = State> {
        let states = self.chosen.len()..self.states();
        states.map(to_u32).filter(|&at| self.stop(at).is_some())
    }
}
