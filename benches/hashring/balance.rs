//! Lane P10: how even each placement is, and how much it moves: a table of facts, not of times.

use crate::keys::cluster;
use quorate_benches::Table;
use quorate_hashring::{
    Assign, KeyHash, Locate, Maglev, MaglevConfig, Node, NodeId, Rendezvous, Ring, RingConfig,
    Rules, Topology, jump,
};
use std::num::NonZeroU32;

const KEYS: u32 = 1_000_000;
const NODES: u64 = 100;

/// The owner of each key, by the node's number.
type Owners = Vec<u64>;

pub(crate) fn measure(lines: &mut Table) {
    lines.say(&format!(
        "P10, {KEYS} keys, {NODES} nodes | worst node/mean | moved/minimum, one joins | one leaves"
    ));
    lines.say("---|---|---|---");
    let before = cluster(NODES, 1);
    let joined = before.to_builder().node(Node::new(NodeId::new(NODES + 1))).build();
    // The last one leaves: the only one that a bucket function can do without.
    let left = before.to_builder().remove(NodeId::new(NODES)).build();
    let (joined, left) = (joined.expect("distinct"), left.expect("it was there"));
    ours(lines, &before, &joined, &left);
    peers(lines);
}

fn keys() -> impl Iterator<Item = [u8; 8]> {
    (0..KEYS).map(|key| u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
}

fn owners<P: Locate>(placement: &P) -> Owners {
    let id = |at| placement.topology().node(at).map_or(0, |node| node.id().value());
    keys().map(|key| id(placement.owner(&key))).collect()
}

fn ours(lines: &mut Table, before: &Topology, joined: &Topology, left: &Topology) {
    let one = Rules::new(1);
    let table = |topology: &Topology, previous| {
        let assign = Assign::new(topology, &one);
        let assign = match previous {
            Some(table) => assign.previous(table),
            None => assign,
        };
        assign.solve().expect("feasible").into_table()
    };
    let first = table(before, None);
    let changed = |topology| owners(&table(topology, Some(&first)));
    line(lines, "PartitionTable, 4,096 rows", owners(&first), changed(joined), changed(left));
    for vnodes in [16, 64, 160, 512, 1_024] {
        let config = RingConfig::default().vnodes(vnodes);
        let ring = |topology| owners(&Ring::build(topology, &one, &config).expect("feasible"));
        line(lines, &format!("Ring, {vnodes} vnodes"), ring(before), ring(joined), ring(left));
    }
    let config = MaglevConfig::default();
    let maglev = |topology| owners(&Maglev::build(topology, &config).expect("prime"));
    line(lines, "Maglev, 65,537 slots", maglev(before), maglev(joined), maglev(left));
    let rendezvous = |topology| owners(&Rendezvous::new(topology, KeyHash::default()));
    line(lines, "Rendezvous", rendezvous(before), rendezvous(joined), rendezvous(left));
    let hash = KeyHash::default();
    let jump = |buckets| -> Owners {
        let buckets = NonZeroU32::new(buckets).expect("not zero");
        keys().map(|key| u64::from(jump(hash.hash(&key), buckets)) + 1).collect()
    };
    line(lines, "jump", jump(100), jump(101), jump(99));
}

fn peers(lines: &mut Table) {
    let hashring = |nodes| -> Owners {
        let ring = crate::rings::hashring(nodes);
        keys().map(|key| ring.get(&key).map_or(0, |(node, _)| u64::from(*node) + 1)).collect()
    };
    line(lines, "hashring, 160 entries", hashring(100), hashring(101), hashring(99));
    let maglev = |nodes: u16| -> Owners {
        use maglev::ConsistentHasher as _;
        let table = maglev::Maglev::with_capacity(0..nodes, 65_537);
        keys().map(|key| table.get(&key).map_or(0, |node| u64::from(*node) + 1)).collect()
    };
    line(lines, "maglev, 65,537 slots", maglev(100), maglev(101), maglev(99));
    let other = |nodes: u16| -> Owners {
        let table = maglev_hash::MaglevTable::with_capacity((0..nodes).collect(), 65_537);
        keys().map(|key| table.get(&key).map_or(0, |node| u64::from(*node) + 1)).collect()
    };
    line(lines, "maglev-hash, 65,537 slots", other(100), other(101), other(99));
    let consistent = |nodes: u16| -> Owners {
        let nodes = (0..nodes).map(|id| consistent_hash::Node::new(id).quantity(160));
        let ring = consistent_hash::StaticHashRing::new(consistent_hash::DefaultHash, nodes);
        let owner = |key: [u8; 8]| ring.calc_candidates(&key).next().map_or(0, |node| node.key);
        keys().map(|key| u64::from(owner(key)) + 1).collect()
    };
    line(lines, "consistent_hash, 160", consistent(100), consistent(101), consistent(99));
    let probing = |nodes: u16| -> Owners {
        let ring = mpchash::HashRing::new();
        (0..nodes).for_each(|id| ring.add(id));
        keys().map(|key| ring.node(&key).map_or(0, |token| u64::from(*token.node()) + 1)).collect()
    };
    line(lines, "mpchash, 23 probes", probing(100), probing(101), probing(99));
}

/// One line: the worst node, and keys moved beside the fewest that had to.
fn line(lines: &mut Table, name: &str, before: Owners, joined: Owners, left: Owners) {
    let mut loads = vec![0_u32; NODES as usize + 2];
    before.iter().for_each(|&node| loads[node as usize] += 1);
    let worst = f64::from(*loads.iter().max().expect("nodes")) * NODES as f64 / f64::from(KEYS);
    let moved = |after: &Owners| before.iter().zip(after).filter(|(a, b)| a != b).count() as f64;
    // What the newcomer has now, and what the leaver had, must move in any case.
    let to_new = joined.iter().filter(|&&node| node == NODES + 1).count() as f64;
    let of_old = before.iter().filter(|&&node| node == NODES).count() as f64;
    let (join, leave) = (moved(&joined) / to_new, moved(&left) / of_old);
    lines.say(&format!("{name} | {worst:.3} | {join:.2} | {leave:.2}"));
}
