//! A cache client: a ring that loses a node, with bounded load. Who tries the next node of the walk
//! finds keys where the ring will put them. Run: `cargo run -p quorate-hashring --example cache`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use quorate_hashring::{
    BoundedLoad, Locate, Node, NodeId, NodeIdx, Permit, Ring, RingConfig, Rules, Topology,
};
use std::error::Error;

const KEYS: u32 = 10_000;

fn id(ring: &Ring, at: NodeIdx) -> Option<NodeId> {
    ring.topology().node(at).map(Node::id)
}

/// The first node of the walk that answers: a retry never meets the same node again.
fn answering(ring: &Ring, key: &[u8], dead: NodeId) -> Option<NodeId> {
    let walk = ring.walk_at(ring.key_hash().hash(key));
    walk.filter_map(|at| id(ring, at)).find(|node| *node != dead)
}

/// How many permits each node has.
fn loads(permits: &[Permit], nodes: &[Node]) -> Vec<usize> {
    let count = |node: &Node| permits.iter().filter(|permit| permit.node() == node.id()).count();
    nodes.iter().map(count).collect()
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let nodes = (1..=5).map(|id| Node::new(NodeId::new(id)));
    let five = nodes.fold(Topology::builder(), |all, node| all.node(node)).build()?;
    let dead = NodeId::new(3);
    let four = five.to_builder().remove(dead).build()?;

    // Before anybody has removed node 3 from the configuration, clients try the next node.
    let ring = Ring::build(&five, &Rules::new(1), &RingConfig::default())?;
    let without = ring.rebuild(&four)?;
    let (mut of_dead, mut moved, mut warm) = (0, 0, 0);
    for key in (0..KEYS).map(u32::to_le_bytes) {
        let owners = [&ring, &without].map(|ring| id(ring, ring.owner(&key)));
        of_dead += u32::from(owners[0] == Some(dead));
        moved += u32::from(owners[0] != owners[1]);
        warm += u32::from(answering(&ring, &key, dead) == owners[1]);
    }
    println!("{KEYS} keys on 5 nodes, {of_dead} of them on node 3");
    println!("node 3 is gone: {moved} keys move, {warm} are where the retries have put them");
    if moved != of_dead || warm != KEYS {
        return Err("a key of another node moved".into());
    }

    // One hot key: a hundred requests at once, none of them at a node with over 125 % of its share.
    let balanced = BoundedLoad::new(ring, 1_250)?;
    let mut permits: Vec<Permit> = (0..100).map(|_| balanced.pick(b"hot")).collect();
    println!("100 requests for one key: {:?} at a time", loads(&permits, five.nodes()));
    // The ring changes; requests in flight count on, those to the dead node end.
    let balanced = balanced.rebuilt(without);
    permits.retain(|permit| permit.node() != dead);
    permits.extend((permits.len()..100).map(|_| balanced.pick(b"hot")));
    println!("without node 3: {:?}", loads(&permits, five.nodes()));
    let most = loads(&permits, five.nodes()).into_iter().max().unwrap_or(0);
    println!("at most {most} of 100 at one of 4 nodes, the owner of the key included");
    drop(permits); // however a request ends, its permit comes back
    println!("{:?}", balanced.stats());
    if most > 32 || balanced.stats().permits > 0 { Err("overloaded".into()) } else { Ok(()) }
}
