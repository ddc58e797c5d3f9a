//! Migrate: from a memcached client's ketama ring to a partition table. On the first day every key
//! stays where it is; then a plan moves what has to move.
//! Run: `cargo run -p quorate-hashring --features ketama --example migrate`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use quorate_hashring::compat::{Ketama, Server, ketama};
use quorate_hashring::{
    Assign, KeyHash, Locate, Node, NodeId, NodeIdx, PartitionTable, PlanLimits, Planner, Quorum,
    Ring, Rules, Topology, TopologyBuilder, Weight, diff,
};
use std::error::Error;

const WEIGHTS: [u32; 8] = [600, 300, 200, 350, 1_000, 800, 950, 100];
const KEYS: u32 = 50_000;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let hosts: Vec<String> = (1..=8).map(|at| format!("10.0.1.{at}")).collect();
    let servers = hosts.iter().zip(WEIGHTS).map(|(host, weight)| Server::new(host, 11_211, weight));
    let old = ketama(&servers.collect::<Vec<_>>(), Ketama::Libmemcached)?;

    // The same servers by number, and the same points. Ketama's have 32 bits, and own what is at or
    // below them: with all lower bits set they own exactly the hashes that begin with those.
    let node = |(id, weight)| Node::new(NodeId::new(id)).weight(Weight::from_raw(weight));
    let nodes = (1..).zip(WEIGHTS).map(node);
    let topology = nodes.fold(Topology::builder(), TopologyBuilder::node).build()?;
    let wide = |&(point, host): &(u64, u16)| (point << 32 | 0xFFFF_FFFF, NodeIdx::new(host));
    let points = old.points().iter().map(wide).collect();
    let (one, hash) = (Rules::new(1), KeyHash::default());
    let ring = Ring::from_points(&topology, &one, hash, points)?;

    // Clients go on hashing with MD5, as the ring of old does, and ask ours by that hash. So ring
    // and table are asked by `owner_at` only; the hash they were made with is never used.
    let at = |key: u32| old.point(key.to_string().as_bytes()) << 32;
    let as_before = |key: &u32| {
        usize::from(ring.owner_at(at(*key)).value()) == old.host(key.to_string().as_bytes())
    };
    let same = (0..KEYS).filter(as_before).count();
    println!("same answers: {same} of {KEYS} keys");

    // The table that is next to it: each partition where the ring has the middle of it.
    let nearest = |row: u64| {
        let owner = ring.owner_at(row << 52 | 1 << 51).value();
        vec![NodeId::new(u64::from(owner) + 1)]
    };
    let rows: Vec<Vec<NodeId>> = (0..4_096).map(nearest).collect();
    let near = PartitionTable::from_rows(&topology, &one, hash, &rows)?;
    let fair = Assign::new(&topology, &one).previous(&near).solve()?;
    println!("{}", fair.report());

    // From one to the other, key by key: who moved, and whether the plan knew.
    let moves = diff(&ring, fair.table())?;
    let planned = |hash: u64| {
        let after = moves.moves.partition_point(|one| one.start <= hash);
        let before = after.checked_sub(1).map(|at| &moves.moves[at]);
        before.filter(|one| one.end.is_none_or(|end| hash < end)).map(|one| one.to)
    };
    let (mut moved, mut wrong) = (0, 0);
    for hash in (0..KEYS).map(at) {
        let [from, to] = [ring.owner_at(hash), fair.table().owner_at(hash)];
        moved += u32::from(from != to);
        let expected = topology.node(to).filter(|_| from != to).map(Node::id);
        wrong += u32::from(planned(hash) != expected);
    }
    println!("{moved} of {KEYS} keys move, {wrong} of them otherwise than planned");

    let mut plan = Planner::new(&moves, Quorum::Majority, PlanLimits::default())?;
    topology.nodes().iter().for_each(|node| plan.source_ready(node.id()));
    println!("{} moves, to begin with:", moves.moves.len());
    while let Some(order) = plan.poll_order() {
        let (what, end) = (&order.what, order.what.end.unwrap_or(u64::MAX));
        println!("  {:016x} to {end:016x}: {:?} to {}", what.start, order.source, what.to);
    }
    if same == KEYS as usize && wrong == 0 { Ok(()) } else { Err("a key was elsewhere".into()) }
}
