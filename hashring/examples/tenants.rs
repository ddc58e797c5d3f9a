//! Shuffle shards: one tenant breaks all its nodes; how many others lose all of theirs?
//! Run: `cargo run -p quorate-hashring --example tenants`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use quorate_hashring::{
    Level, Node, NodeId, NodeIdx, ShuffleSharder, Topology, overlap_probability,
};
use std::error::Error;

const NODES: u32 = 30;
const SHARD: u16 = 4;
const TENANTS: u32 = 5_000;

fn node(id: u32) -> Node {
    let zone = ["a", "b", "c"][id as usize % 3];
    Node::new(NodeId::new(u64::from(id))).at(Level::Zone, zone)
}

fn common(a: &[NodeIdx], b: &[NodeIdx]) -> usize {
    a.iter().filter(|node| b.contains(node)).count()
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let nodes = (1..=NODES).map(node);
    let topology = nodes.fold(Topology::builder(), |all, node| all.node(node)).build()?;
    let sharder = ShuffleSharder::new(&topology, SHARD, None, 0)?;
    let name = |tenant: u32| format!("tenant {tenant}").into_bytes();
    let shard = |tenant| sharder.shard(&name(tenant));

    let broken = shard(0);
    let ids = broken.iter().filter_map(|&at| topology.node(at)).map(Node::id);
    println!("{TENANTS} tenants, {NODES} nodes; tenant 0 has {:?}", ids.collect::<Vec<_>>());
    let mut affected = [0_u32; SHARD as usize + 1];
    for tenant in 1..TENANTS {
        affected[common(&broken, &shard(tenant))] += 1;
    }
    println!("in common   tenants   expected");
    for (count, tenants) in (0_u32..).zip(affected) {
        let share = overlap_probability(NODES, SHARD.into(), count);
        println!("{count:>9} {tenants:>9} {:>10.1}", share * f64::from(TENANTS - 1));
    }

    // Spread over three zones, none has more than two of the four.
    let spread = ShuffleSharder::new(&topology, SHARD, Some(Level::Zone), 0)?;
    let in_one_zone = |shard: &[NodeIdx]| {
        let zone = |at: &NodeIdx| topology.domain(*at, Level::Zone);
        let same = |at| shard.iter().filter(|other| zone(other) == zone(at)).count();
        shard.iter().map(same).max()
    };
    let worst = (0..TENANTS).map(|tenant| in_one_zone(&spread.shard(&name(tenant)))).max();
    println!("spread over zones, the most in one zone: {}", worst.flatten().unwrap_or(0));

    // A node joins: at most one member of any shard changes. Its id is the greatest, so that the
    // positions of the others stay.
    let larger = topology.to_builder().node(node(NODES + 1)).build()?;
    let larger = ShuffleSharder::new(&larger, SHARD, None, 0)?;
    let kept = (0..TENANTS).map(|tenant| common(&shard(tenant), &larger.shard(&name(tenant))));
    let kept: Vec<usize> = kept.collect();
    assert!(kept.iter().all(|&kept| kept >= usize::from(SHARD) - 1));
    let changed = kept.iter().filter(|&&kept| kept < usize::from(SHARD)).count();
    println!("a node joins: {changed} of {TENANTS} tenants have one other node");
    Ok(())
}
