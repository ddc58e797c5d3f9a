//! Balance: the worst node, and what moves when a node joins, for every placement.
//! Run: `cargo run --release -p quorate-hashring --example balance -- 100` (the number of nodes).

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use quorate_hashring::{
    Assign, KeyHash, Locate, Maglev, MaglevConfig, Node, NodeId, Rendezvous, Ring, RingConfig,
    Rules, Topology, jump,
};
use std::{error::Error, num::NonZeroU32};

/// Hashes at even distances: what shows is the placement, not the sample.
const HASHES: u32 = 1 << 20;

fn hashes() -> impl Iterator<Item = u64> {
    (0..HASHES).map(|number| u64::from(number) << 44)
}

fn cluster(nodes: u32) -> Result<Topology, Box<dyn Error>> {
    let all = (1..=u64::from(nodes)).map(|id| Node::new(NodeId::new(id)));
    Ok(all.fold(Topology::builder(), |all, node| all.node(node)).build()?)
}

fn owners(placement: &impl Locate) -> Vec<u32> {
    hashes().map(|hash| placement.owner_at(hash).value().into()).collect()
}

fn jumped(nodes: u32) -> Result<Vec<u32>, Box<dyn Error>> {
    let shards = NonZeroU32::new(nodes).ok_or("no node")?;
    // It draws its steps from the hash itself, which had better look random then.
    let hash = |even: u64| KeyHash::default().hash(&even.to_le_bytes());
    Ok(hashes().map(|even| jump(hash(even), shards)).collect())
}

/// One line, from the owners among some nodes and the owners among one more, which is the last.
fn line(name: &str, nodes: u32, [before, after]: [Vec<u32>; 2]) {
    let mut loads = vec![0_u32; nodes as usize];
    before.iter().for_each(|&node| loads[node as usize] += 1);
    let most = loads.into_iter().max().unwrap_or(0);
    let worst = f64::from(most) * f64::from(nodes) / f64::from(HASHES);
    // What the newcomer has now had to move in any case.
    let least = after.iter().filter(|&&node| node == nodes).count();
    let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
    let moved = moved as f64 / least.max(1) as f64;
    println!("{name:<34} {worst:>10.3} {moved:>13.2}");
}

/// Prints a line for each placement of so many nodes.
pub(crate) fn print(nodes: u32) -> Result<(), Box<dyn Error>> {
    let (one, both) = (Rules::new(1), [cluster(nodes)?, cluster(nodes + 1)?]);
    println!("{nodes:>4} nodes, one joins               worst/mean moved/minimum");

    let bits = if nodes <= 400 { 12 } else { 16 };
    let table = Assign::new(&both[0], &one).partition_bits(bits).solve()?;
    let next = Assign::new(&both[1], &one).previous(table.table()).solve()?;
    let most = table.report().nodes().iter().map(|node| node.load()).max().unwrap_or(0);
    let rows = table.table().partitions();
    let mean = f64::from(rows) / f64::from(nodes);
    let name = format!("PartitionTable, {most} rows of {mean:.2}");
    line(&name, nodes, [table.table(), next.table()].map(owners));
    let [ring, next] = both.each_ref().map(|all| Ring::build(all, &one, &RingConfig::default()));
    line("Ring, 160 vnodes", nodes, [ring?, next?].each_ref().map(owners));
    let [maglev, next] = both.each_ref().map(|all| Maglev::build(all, &MaglevConfig::default()));
    line("Maglev, 65,537 slots", nodes, [maglev?, next?].each_ref().map(owners));
    let rendezvous = both.each_ref().map(|all| Rendezvous::new(all, KeyHash::default()));
    line("Rendezvous", nodes, rendezvous.each_ref().map(owners));
    line("jump", nodes, [jumped(nodes)?, jumped(nodes + 1)?]);

    let fair = most <= u128::from(rows.div_ceil(nodes));
    if fair { Ok(()) } else { Err("a node has more than one row above the mean".into()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    print(std::env::args().nth(1).map_or(Ok(100), |nodes| nodes.parse())?)
}
