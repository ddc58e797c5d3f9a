//! A topology and a table, byte for byte.

use super::assert_in_format;
use quorate_hashring::{KeyHash, Level, Node, NodeId, PartitionTable, Rules, Topology, Weight};

fn topology() -> Topology {
    Topology::builder()
        .node(Node::new(NodeId::new(1)).at(Level::Zone, "a").at(Level::Host, "h1"))
        .node(Node::new(NodeId::new(2)).at(Level::Zone, "b").weight(Weight::units(2)))
        .build()
        .unwrap()
}

#[test]
fn golden_topology() {
    assert_in_format("Golden topology", &topology().encode());
}

#[test]
fn golden_table() {
    let rules = Rules::new(2).at_most(Level::Zone, 1).at_most_soft(Level::Host, 1).allow_short();
    let (one, two) = (NodeId::new(1), NodeId::new(2));
    let rows = [vec![one, two], vec![two]];
    let table = PartitionTable::from_rows(&topology(), &rules, KeyHash::xxh3(0), &rows).unwrap();
    assert_in_format("Golden table", &table.encode());
}
