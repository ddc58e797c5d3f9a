//! Small clusters for tests: nodes are numbered from 1, and stand at the position before.

use quorate_hashring::{KeyHash, Node, NodeId, PartitionTable, Rules, Topology, View};

pub(crate) fn id(node: u64) -> NodeId {
    NodeId::new(node)
}

pub(crate) fn ids(nodes: &[u64]) -> Vec<NodeId> {
    nodes.iter().copied().map(id).collect()
}

/// Nodes 1 to `nodes`.
pub(crate) fn topology(nodes: u64) -> Topology {
    let all = (1..=nodes).fold(Topology::builder(), |all, node| all.node(Node::new(id(node))));
    all.build().unwrap()
}

/// A table with these rows, over nodes 1 to `nodes`; a row shorter than the longest makes short
/// rows allowed.
pub(crate) fn table(nodes: u64, rows: &[&[u64]]) -> PartitionTable {
    let longest = rows.iter().map(|row| row.len()).max().unwrap();
    let rules = Rules::new(u8::try_from(longest).unwrap());
    let is_short = rows.iter().any(|row| row.len() < longest);
    ruled(nodes, if is_short { rules.allow_short() } else { rules }, rows)
}

pub(crate) fn ruled(nodes: u64, rules: Rules, rows: &[&[u64]]) -> PartitionTable {
    let rows: Vec<Vec<NodeId>> = rows.iter().map(|row| ids(row)).collect();
    PartitionTable::from_rows(&topology(nodes), &rules, KeyHash::default(), &rows).unwrap()
}

pub(crate) fn view(nodes: u64, rows: &[&[u64]]) -> View {
    View::initial(table(nodes, rows))
}
