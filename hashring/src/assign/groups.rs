//! The failure domains that rules speak of, as a tree over the nodes that may receive something.

use crate::rules::Caps;
use crate::width::to_u32;
use crate::{Level, Topology};
use alloc::vec::Vec;

/// The whole cluster, the root of the tree.
pub(crate) const ROOT: usize = 0;

/// A ruled domain, or the root.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The most replicas of one partition in it.
    pub(crate) cap: u8,
    pub(crate) parent: Option<usize>,
    pub(crate) children: Vec<usize>,
    /// Nodes for which this is the innermost group.
    pub(crate) members: Vec<usize>,
}

/// The tree. Only nodes with a weight are in it: the others receive nothing.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    list: Vec<Group>,
    /// The innermost group of each node.
    of_node: Vec<u32>,
}

impl Groups {
    pub(crate) fn new(topology: &Topology, caps: &Caps) -> Self {
        let nodes = topology.nodes().len();
        let root =
            Group { cap: caps.replicas, parent: None, children: Vec::new(), members: Vec::new() };
        let mut groups = Self { list: alloc::vec![root], of_node: alloc::vec![0; nodes] };
        for level in Level::ALL {
            let cap = caps.most[level.index()];
            if cap < caps.replicas {
                groups.add_level(topology, level, cap);
            }
        }
        for node in (0..nodes).filter(|&node| topology.weight_at(node) > 0) {
            let at = groups.of(node);
            groups.list[at].members.push(node);
        }
        groups
    }

    /// Adds the domains of a level that hold more than one node: a node alone is held to one
    /// replica anyway.
    fn add_level(&mut self, topology: &Topology, level: Level, cap: u8) {
        let domains = topology.domains_at(level);
        let mut sizes = alloc::vec![0_u32; usize::from(topology.domains(level))];
        let active = |node: &usize| topology.weight_at(*node) > 0;
        for node in (0..domains.len()).filter(active) {
            sizes[usize::from(domains[node])] += 1;
        }
        let mut group_of: Vec<Option<usize>> = alloc::vec![None; sizes.len()];
        for node in (0..domains.len()).filter(active) {
            let domain = usize::from(domains[node]);
            if sizes[domain] < 2 {
                continue;
            }
            // Domains nest: its nodes have the same group so far.
            let outer = self.of(node);
            let at = match group_of[domain] {
                Some(at) => at,
                None => {
                    let at = self.list.len();
                    self.list[outer].children.push(at);
                    let parent = Some(outer);
                    self.list.push(Group {
                        cap,
                        parent,
                        children: Vec::new(),
                        members: Vec::new(),
                    });
                    group_of[domain] = Some(at);
                    at
                }
            };
            self.of_node[node] = to_u32(at);
        }
    }

    /// How many groups there are, the root included.
    pub(crate) const fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn group(&self, at: usize) -> &Group {
        &self.list[at]
    }

    /// The innermost group of a node.
    pub(crate) fn of(&self, node: usize) -> usize {
        self.of_node[node] as usize
    }

    /// The groups that a node is in, from the innermost out; the root is the last.
    pub(crate) fn path(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        core::iter::successors(Some(self.of(node)), |&at| self.list[at].parent)
    }
}
