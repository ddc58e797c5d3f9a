//! Lanes P1 and P2: who owns a key, who holds its copies.

use crate::keys::{Keys, cluster, table};
use crate::rings;
use quorate_benches::count::here;
use quorate_benches::{Candidate, Lane, Table, Target};
use quorate_hashring::{Locate, Replicate};
use xxhash_rust::xxh3::xxh3_64;

/// P1: the owner in a table of 4,096 partitions.
pub(crate) fn owner(table: &mut Table) {
    for nodes in [10, 100, 1_000] {
        let topology = cluster(nodes, 1);
        let ours = crate::keys::table(&topology, 12, 1);
        let (mut a, mut b, mut c) = (Keys::new(), Keys::new(), Keys::new());
        let peer = rings::hashring(nodes);
        table.measure(Lane {
            name: &format!("P1 owner of a key, {nodes} nodes"),
            ours: Candidate::each("ours", || ours.owner(a.next())),
            floor: Candidate::each("xxh3 of the key", || xxh3_64(b.next())),
            peers: vec![Candidate::each("hashring", || peer.get(c.next()).copied())],
            targets: vec![Target::OfFloor(1.5), Target::OfPeer(0.125)],
        });
        let array: Vec<u16> = (0..4_096).map(|row| row % 10).collect();
        let (mut a, mut b) = (Keys::new(), Keys::new());
        table.measure(Lane {
            name: &format!("P1 owner of a hash, {nodes} nodes"),
            ours: Candidate::each("ours", || ours.owner_at(a.next_hash())),
            floor: Candidate::each("one load of 4,096", || array[(b.next_hash() >> 52) as usize]),
            peers: Vec::new(),
            targets: vec![Target::OfFloor(1.5)],
        });
    }
}

/// P2: three replicas, 100 nodes of 160 entries where there are entries.
pub(crate) fn replicas(lines: &mut Table) {
    let topology = cluster(100, 1);
    let ours = table(&topology, 12, 3);
    let mut keys = Keys::new();
    let before = here();
    let ((), counted) = quorate_benches::count::counted(|| {
        for _ in 0..1_000 {
            std::hint::black_box(ours.replicas(keys.next()));
        }
    });
    assert_eq!((here() - before, counted.allocations), (0, 0), "a lookup allocates");
    let mut all: Vec<Keys> = (0..5).map(|_| Keys::new()).collect();
    let [a, b, c, d, e] = &mut all[..] else { unreachable!("five") };
    let maglev = maglev_hash::MaglevTable::new((0..100_u16).collect());
    let nodes = (0..100_u16).map(|id| consistent_hash::Node::new(id).quantity(160));
    let consistent = consistent_hash::StaticHashRing::new(consistent_hash::DefaultHash, nodes);
    let hashring = rings::hashring(100);
    let floor = table(&topology, 12, 3);
    lines.measure(Lane {
        name: "P2 three replicas, 100 nodes (0 allocations)",
        ours: Candidate::each("ours", || ours.replicas(a.next())),
        floor: Candidate::each("owner (P1)", || floor.owner(b.next())),
        peers: vec![
            Candidate::each("maglev-hash", || maglev.get_top_k(c.next(), 3)),
            Candidate::each("consistent_hash", || {
                let nodes = consistent.calc_candidates(d.next()).take(3);
                nodes.map(|node| node.key).collect::<Vec<u16>>()
            }),
            Candidate::each("hashring", || hashring.get_with_replicas(e.next(), 2)),
        ],
        targets: vec![
            Target::OfFloor(1.2),
            Target::Of(0, 0.05),
            Target::Of(1, 0.02),
            Target::Of(2, 0.001),
        ],
    });
}
