//! The nodes that ranges are on, numbered in the order in which a map first heard of them, so that
//! the numbers in unchanged ranges stay right when one more comes.

use super::RangeError;
use crate::width::to_u16;
use crate::{NodeId, NodeIdx};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// 65,535 is never a position.
pub(super) const NODES_MAX: usize = 65_535;

/// A table of nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    ids: Vec<NodeId>,
    /// Positions in `ids`, in the order of ids.
    sorted: Vec<u16>,
}

impl Nodes {
    /// From ids that rise strictly.
    pub(super) fn from_sorted(ids: Vec<NodeId>) -> Self {
        debug_assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "the ids rise");
        let sorted = (0..to_u16(ids.len())).collect();
        Self { ids, sorted }
    }

    pub(super) fn ids(&self) -> &[NodeId] {
        &self.ids
    }

    fn rank(&self, node: NodeId) -> Result<usize, usize> {
        self.sorted.binary_search_by_key(&node, |&at| self.ids[usize::from(at)])
    }

    /// The positions of these nodes, if all are known.
    pub(super) fn row(&self, nodes: &[NodeId]) -> Option<Box<[NodeIdx]>> {
        let position = |&node| self.rank(node).ok().map(|rank| NodeIdx::new(self.sorted[rank]));
        nodes.iter().map(position).collect()
    }

    /// This table and, behind it, those of the nodes that it lacks.
    pub(super) fn with(&self, nodes: &[NodeId]) -> Result<Self, RangeError> {
        let mut all = self.clone();
        for &node in nodes {
            let Err(rank) = all.rank(node) else { continue };
            RangeError::check("nodes", all.ids.len() + 1, 1, NODES_MAX as u64)?;
            all.sorted.insert(rank, to_u16(all.ids.len()));
            all.ids.push(node);
        }
        Ok(all)
    }
}
