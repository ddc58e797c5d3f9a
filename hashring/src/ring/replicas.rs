//! The replica lists of a ring, all of them in one lap around it.

use crate::rules::Caps;
use crate::width::to_u16;
use crate::{NodeIdx, Topology};
use alloc::vec::Vec;

const NONE: u16 = u16::MAX;

/// For each token the nodes that a walk from it clockwise meets, as far as the rules let them in.
///
/// The tokens are gone through backwards, and each brings its owner to the front of a list: so the
/// list always holds the nodes in the order in which a walk from here meets them for the first
/// time. It begins with the order that a walk from the first token meets.
///
/// Taking whoever is let in is enough: rules over nested domains are a matroid. // H7
pub(crate) fn replica_lists(topology: &Topology, caps: &Caps, owners: &[u16]) -> Vec<NodeIdx> {
    let replicas = usize::from(caps.replicas);
    let mut lists = alloc::vec![NodeIdx::new(NONE); owners.len() * replicas];
    let mut order = Recency::new(topology, owners);
    let mut row = Vec::with_capacity(replicas);
    for (token, &owner) in owners.iter().enumerate().rev() {
        order.bring_to_front(owner);
        row.clear();
        let lap_end = crate::plant::planted("m6_walk_stops_at_the_end");
        let reach = if lap_end { owners.len() - token } else { usize::MAX };
        for node in order.iter().take(reach) {
            let node = NodeIdx::new(node);
            if caps.admits(topology, &row, node) {
                row.push(node);
                if row.len() == replicas {
                    break;
                }
            }
        }
        for (slot, place) in lists[token * replicas..][..replicas].iter_mut().enumerate() {
            *place = row.get(slot).copied().unwrap_or(row[0]);
        }
    }
    lists
}

/// Nodes, the last one brought to the front first: a doubly linked list in two arrays.
struct Recency {
    first: u16,
    next: Vec<u16>,
    before: Vec<u16>,
}

impl Recency {
    /// The owners in the order of their first tokens. All are met long before the end.
    fn new(topology: &Topology, owners: &[u16]) -> Self {
        let nodes = topology.nodes().len();
        let mut order = Self {
            first: owners.first().copied().unwrap_or(NONE),
            next: alloc::vec![NONE; nodes],
            before: alloc::vec![NONE; nodes],
        };
        let mut listed = alloc::vec![false; nodes];
        let mut left = nodes; // fewer may own anything: then every token is looked at
        let mut last = NONE;
        for &owner in owners {
            let at = usize::from(owner);
            if core::mem::replace(&mut listed[at], true) {
                continue;
            }
            if last != NONE {
                order.next[usize::from(last)] = owner;
                order.before[at] = last;
            }
            last = owner;
            left -= 1;
            if left == 0 {
                break;
            }
        }
        order
    }

    fn bring_to_front(&mut self, node: u16) {
        if self.first == node {
            return;
        }
        let at = usize::from(node);
        let (before, next) = (self.before[at], self.next[at]);
        // It is listed and not the first, so another stands before it.
        self.next[usize::from(before)] = next;
        if next != NONE {
            self.before[usize::from(next)] = before;
        }
        self.next[at] = self.first;
        self.before[at] = NONE;
        if self.first != NONE {
            self.before[usize::from(self.first)] = node;
        }
        self.first = node;
    }

    fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        let some = |node: u16| (node != NONE).then_some(node);
        core::iter::successors(some(self.first), move |&at| some(self.next[usize::from(at)]))
    }
}

/// Walks a ring from a token, each node once.
pub(crate) struct Walk<'a> {
    owners: &'a [u16],
    at: usize,
    left: usize,
    seen: Vec<u64>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(owners: &'a [u16], at: usize, nodes: usize) -> Self {
        Self { owners, at, left: owners.len(), seen: alloc::vec![0; nodes.div_ceil(64)] }
    }
}

impl Iterator for Walk<'_> {
    type Item = NodeIdx;

    fn next(&mut self) -> Option<NodeIdx> {
        while self.left > 0 {
            let node = usize::from(self.owners[self.at]);
            self.left -= 1;
            self.at = if self.at + 1 == self.owners.len() { 0 } else { self.at + 1 };
            let (word, bit) = (node / 64, 1 << (node % 64));
            let distinct = self.seen[word] & bit == 0;
            self.seen[word] |= bit;
            if distinct || crate::plant::planted("m5_walk_without_distinctness") {
                return Some(NodeIdx::new(to_u16(node)));
            }
        }
        None
    }
}
