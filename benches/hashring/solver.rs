//! Lane P9: the solver of partition tables, three replicas in different zones.

use crate::keys::cluster;
use quorate_benches::{Candidate, Lane, Table, Target};
use quorate_hashring::{
    Assign, Assignment, Level, Node, NodeId, PartitionTable, Rules, Topology, Weight,
};

/// Milliseconds as the table counts.
const MS: f64 = 1e6;

pub(crate) fn measure(lines: &mut Table) {
    size(lines, 10, 100, 5, [1.0, 10.0, 50.0]);
    size(lines, 14, 1_000, 10, [20.0, 500.0, 3_000.0]);
}

fn rules() -> Rules {
    Rules::new(3).at_most(Level::Zone, 1)
}

fn solve(topology: &Topology, bits: u8, previous: Option<&PartitionTable>) -> Assignment {
    let rules = rules();
    let assign = Assign::new(topology, &rules).partition_bits(bits);
    match previous {
        Some(table) => assign.previous(table).solve(),
        None => assign.solve(),
    }
    .expect("feasible")
}

fn size(lines: &mut Table, bits: u8, nodes: u64, zones: u64, most: [f64; 3]) {
    let topology = cluster(nodes, zones);
    let first = solve(&topology, bits, None).into_table();
    let one = NodeId::new(7);
    let in_zone = |id| Node::new(NodeId::new(id)).at(Level::Zone, &format!("zone {}", id % zones));
    let mut tenth = topology.to_builder();
    for id in nodes + 1..=nodes + nodes / 10 {
        tenth = tenth.node(in_zone(id));
    }
    let mut without = topology.to_builder();
    for id in (1..=nodes).filter(|id| id % zones == 0) {
        without = without.reweigh(NodeId::new(id), Weight::ZERO);
    }
    let edits = [
        ("first table", topology.to_builder(), most[0]),
        ("one node added", topology.to_builder().node(in_zone(nodes + 1)), most[1]),
        ("one drained", topology.to_builder().reweigh(one, Weight::ZERO), most[1]),
        ("one twice as heavy", topology.to_builder().reweigh(one, Weight::units(2)), most[1]),
        ("a tenth added", tenth, most[2]),
        ("a zone drained", without, most[2]),
    ];
    for (name, edited, most) in edits {
        let edited = edited.build().expect("distinct ids");
        let previous = (name != "first table").then_some(&first);
        let solved = solve(&edited, bits, previous);
        lines.measure(Lane {
            name: &format!("P9 {} partitions, {nodes} nodes, {zones} zones: {name}", 1_u32 << bits),
            ours: Candidate::each("ours", || solve(&edited, bits, previous)),
            floor: Candidate::each("reading and writing all rows", || touch(&first)),
            peers: Vec::new(),
            targets: vec![Target::Nanos(most * MS)],
        });
        let (moves, bound) = (solved.moves(), solved.load_bound());
        let worst = solved.report().worst();
        lines.say(&format!(
            "P9 {name}: {moves} moves, loads force {bound}, worst/target {worst:.4}"
        ));
    }
}

/// All rows, copied.
fn touch(table: &PartitionTable) -> Vec<u16> {
    let last = u16::try_from(table.partitions() - 1).expect("at most 65,536");
    let rows = (0..=last).map(|at| table.row(quorate_hashring::Partition::new(at)));
    rows.flatten().flatten().map(|node| node.value()).collect()
}
