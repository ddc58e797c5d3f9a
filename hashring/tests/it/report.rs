//! What reports say, number by number.

use crate::contract::cluster;
use quorate_hashring::{
    Assign, BalanceReport, KeyHash, Level, Node, NodeId, NodeIdx, PartitionTable, Ring, Rules,
    Topology, Weight,
};

#[test]
fn unequal_zones_cost_what_spreading_demands() {
    // Zone a: one node, zone b: three. Two replicas in different zones: half of all in each zone.
    let mut nodes = Topology::builder().node(Node::new(NodeId::new(1)).at(Level::Zone, "a"));
    for id in 2..=4 {
        nodes = nodes.node(Node::new(NodeId::new(id)).at(Level::Zone, "b"));
    }
    let topology = nodes.build().unwrap();
    let rules = Rules::new(2).at_most(Level::Zone, 1);
    let solved = Assign::new(&topology, &rules).partition_bits(6).solve().unwrap();
    // Node 1 holds 64 instead of a quarter of 128.
    assert_eq!(solved.report().spread_overload_ppm(), 1_000_000);
    let free = Assign::new(&topology, &Rules::new(2)).partition_bits(6).solve().unwrap();
    assert_eq!(free.report().spread_overload_ppm(), 0);
}

#[test]
fn moves_in_and_out_are_those_of_the_change() {
    let topology = cluster(2);
    let [a, b] = [1, 2].map(NodeId::new);
    let rows = [vec![a], vec![a], vec![a], vec![b]];
    let rules = Rules::new(1);
    let before = PartitionTable::from_rows(&topology, &rules, KeyHash::default(), &rows).unwrap();
    let solved = Assign::new(&topology, &rules).previous(&before).solve().unwrap();
    let moved = |at: usize| {
        let node = &solved.report().nodes()[at];
        (node.load(), node.moved_in(), node.moved_out())
    };
    assert_eq!((moved(0), moved(1)), ((2, 0, 1), (2, 1, 0)));
}

/// A ring of given points goes by its points: weights of the nodes say nothing about it.
#[test]
fn rings_of_given_points_are_judged_by_their_points() {
    let mut builder = Topology::builder();
    for (id, weight) in [(1, 1), (2, 0), (3, 0), (4, 5)] {
        builder = builder.node(Node::new(NodeId::new(id)).weight(Weight::units(weight)));
    }
    let topology = builder.build().unwrap();
    let point = |token: u64, at| (token << 60, NodeIdx::new(at));
    let points = vec![point(3, 0), point(7, 1), point(11, 2), point(15, 1)];
    let rules = Rules::new(1).allow_short();
    let ring = Ring::from_points(&topology, &rules, KeyHash::default(), points).unwrap();
    let report = BalanceReport::of(&ring);
    assert_eq!(report.relaxed(), []);
    let fair = |at: usize| {
        let (num, den) = report.nodes()[at].target();
        (num / u128::from(den)) >> 60
    };
    assert_eq!([0, 1, 2, 3].map(fair), [4, 8, 4, 0]);
    assert!(report.worst() < 1.3, "{report}");
}
