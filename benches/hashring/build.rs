//! Lanes P5 and P6: building a Maglev table, building and rebuilding a ring.

use crate::keys::{Keys, cluster};
use quorate_benches::count::counted;
use quorate_benches::{Candidate, Lane, Table, Target};
use quorate_hashring::{
    KeyHash, Locate, Maglev, MaglevConfig, Node, NodeId, Ring, RingConfig, Rules,
};
use std::hint::black_box;
use xxhash_rust::xxh3::xxh3_64;

const SLOTS: usize = 65_537;

/// P5: 65,537 slots, 100 nodes.
pub(crate) fn maglev(lines: &mut Table) {
    use maglev::ConsistentHasher as _;
    let topology = cluster(100, 1);
    let config = MaglevConfig::default();
    let build = || Maglev::build(&topology, &config).expect("prime, large enough");
    let theirs = || maglev::Maglev::with_capacity(0..100_u16, SLOTS);
    let other = || maglev_hash::MaglevTable::with_capacity((0..100_u16).collect(), SLOTS);
    assert_eq!(theirs().capacity(), SLOTS);
    let memory = |name: &str, peak: i64, live: i64| {
        format!("P5 memory of {name}: {peak} bytes at most while building, {live} after")
    };
    let (built, ours) = counted(build);
    lines.say(&memory("quorate", ours.peak, ours.live));
    let (_peer, counted_peer) = counted(theirs);
    lines.say(&memory("maglev", counted_peer.peak, counted_peer.live));
    let (_other, counted_other) = counted(other);
    lines.say(&memory("maglev-hash", counted_other.peak, counted_other.live));
    let ratio = counted_peer.peak as f64 / ours.peak as f64;
    lines.say(&format!("P5 memory: 1/{ratio:.0} of maglev (target: at most 1/100)"));
    let slots = write_order();
    let mut floor = vec![0_u8; SLOTS];
    lines.measure(Lane {
        name: "P5 Maglev build, 65,537 slots, 100 nodes",
        ours: Candidate::each("ours", build),
        floor: Candidate::each("one random write per slot", || {
            slots.iter().for_each(|&slot| floor[slot as usize] = slot as u8);
            black_box(&mut floor)[0]
        }),
        peers: vec![Candidate::each("maglev", theirs), Candidate::each("maglev-hash", other)],
        targets: vec![Target::Of(0, 0.2)],
    });
    let (mut a, mut b, mut c) = (Keys::new(), Keys::new(), Keys::new());
    let peer = theirs();
    lines.measure(Lane {
        name: "P5 Maglev lookup",
        ours: Candidate::each("ours", || built.owner(a.next())),
        floor: Candidate::each("xxh3 of the key", || xxh3_64(b.next())),
        peers: vec![Candidate::each("maglev", || peer.get(c.next()).copied())],
        targets: vec![Target::OfFloor(1.5)],
    });
}

/// All slots in an order that no cache foresees.
fn write_order() -> Vec<u32> {
    let step = 40_503; // no common factor with a prime
    (0..SLOTS).map(|i| (i * step % SLOTS) as u32).collect()
}

/// P6: 100 nodes of 160 tokens, three replicas.
pub(crate) fn ring(lines: &mut Table) {
    let topology = cluster(100, 5);
    let rules = Rules::new(3);
    let config = RingConfig::default();
    let build = || Ring::build(&topology, &rules, &config).expect("feasible");
    let ring = build();
    // The pairs in the order in which they are made: by node.
    let mut pairs: Vec<(u64, u16)> =
        ring.tokens().iter().copied().zip(ring.owners().map(|at| at.value())).collect();
    pairs.sort_by_key(|&(token, owner)| (owner, token.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let sort = || {
        let mut pairs = pairs.clone();
        pairs.sort_unstable();
        pairs
    };
    lines.measure(Lane {
        name: "P6 ring build, 100 × 160, three replicas",
        ours: Candidate::each("ours", build),
        floor: Candidate::each("sort of the pairs", sort),
        peers: vec![Candidate::each("hashring", || crate::rings::hashring(100))],
        targets: vec![Target::OfFloor(3.0)],
    });
    let more = topology.to_builder().node(Node::new(NodeId::new(101))).build().expect("distinct");
    lines.measure(Lane {
        name: "P6 ring rebuild after one join",
        ours: Candidate::each("ours", || ring.rebuild(&more).expect("feasible")),
        floor: Candidate::each("build", build),
        peers: Vec::new(),
        targets: vec![Target::OfFloor(0.6)],
    });
    assert_eq!(ring.key_hash(), &KeyHash::default());
}
