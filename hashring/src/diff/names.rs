//! Positions of two placements in one numbering, and the zones they stand in.

use crate::width::to_u32;
use crate::{Level, Node, NodeId, NodeIdx, Segmented, Topology};
use alloc::vec::Vec;

/// Translates the positions of both sides.
pub(super) struct Names<'a> {
    old: &'a [NodeId],
    new: &'a [NodeId],
    /// Whether both sides number the same nodes alike.
    alike: bool,
    /// For each position of a side a number that both sides share.
    common_old: Vec<u32>,
    common_new: Vec<u32>,
    /// For each position of a side the zone, numbered alike on both sides; empty if unknown.
    zones_old: Vec<u32>,
    zones_new: Vec<u32>,
    /// The topology of the new side.
    topology: Option<&'a Topology>,
}

impl<'a> Names<'a> {
    pub(super) fn new<P: Segmented, Q: Segmented>(old: &'a P, new: &'a Q) -> Self {
        let (old_ids, new_ids) = (old.node_ids(), new.node_ids());
        let union = union(old_ids, new_ids);
        let number = |id: &NodeId| to_u32(union.binary_search(id).unwrap_or(union.len()));
        let (zones_old, zones_new) = match (old.zones(), new.zones()) {
            (Some(a), Some(b)) => common_zones(a, b),
            _ => (Vec::new(), Vec::new()),
        };
        Self {
            old: old_ids,
            new: new_ids,
            alike: old_ids == new_ids,
            common_old: old_ids.iter().map(number).collect(),
            common_new: new_ids.iter().map(number).collect(),
            zones_old,
            zones_new,
            topology: new.zones(),
        }
    }

    /// Whether two rows name the same nodes in the same order.
    #[inline]
    pub(super) fn are_equal(&self, old: &[NodeIdx], new: &[NodeIdx]) -> bool {
        if self.alike {
            return old == new;
        }
        let common = |(a, b): (&NodeIdx, &NodeIdx)| {
            self.common_old[usize::from(a.value())] == self.common_new[usize::from(b.value())]
        };
        old.len() == new.len() && old.iter().zip(new).all(common)
    }

    /// The node at a position of the old side.
    pub(super) fn old(&self, at: NodeIdx) -> NodeId {
        self.old[usize::from(at.value())]
    }

    /// The node at a position of the new side.
    pub(super) fn new_id(&self, at: NodeIdx) -> NodeId {
        self.new[usize::from(at.value())]
    }

    /// Whether both stand in one zone, as far as that is known.
    pub(super) fn same_zone(&self, old: NodeIdx, new: NodeIdx) -> bool {
        let old = self.zones_old.get(usize::from(old.value()));
        old.is_some() && old == self.zones_new.get(usize::from(new.value()))
    }

    /// The nodes that should be emptied: without weight on the new side, or not there any more.
    pub(super) fn drained(&self) -> Vec<NodeId> {
        let Some(topology) = self.topology else { return Vec::new() };
        let emptied = |id: &&NodeId| {
            let node = topology.index_of(**id).and_then(|at| topology.node(at));
            node.is_none_or(|node| node.weight_of().is_zero())
        };
        let mut drained: Vec<NodeId> = self.old.iter().filter(emptied).copied().collect();
        drained.sort_unstable();
        drained
    }
}

/// The nodes of both sides, ids rising.
fn union(old: &[NodeId], new: &[NodeId]) -> Vec<NodeId> {
    let mut union = [old, new].concat();
    union.sort_unstable();
    union.dedup();
    union
}

/// The zones of both topologies in one numbering: a zone is its region and its name.
fn common_zones(old: &Topology, new: &Topology) -> (Vec<u32>, Vec<u32>) {
    fn path(node: &Node) -> (&str, &str) {
        (node.location(Level::Region), node.location(Level::Zone))
    }
    let mut paths: Vec<(&str, &str)> = old.nodes().iter().chain(new.nodes()).map(path).collect();
    paths.sort_unstable();
    paths.dedup();
    let number = |node: &Node| {
        let found = paths.binary_search_by(|&(region, zone)| (region, zone).cmp(&path(node)));
        to_u32(found.unwrap_or(paths.len()))
    };
    (old.nodes().iter().map(number).collect(), new.nodes().iter().map(number).collect())
}
