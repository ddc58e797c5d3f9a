//! Lanes P8 and P15: comparing placements, and the bytes of a view.

use crate::keys::{cluster, table};
use quorate_benches::{Candidate, Lane, Table, Target};
use quorate_hashring::{Node, NodeId, Ring, RingConfig, Rules, View, diff};
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// P8: two rings of 100,000 tokens, one node more.
pub(crate) fn compare(lines: &mut Table) {
    let (small, large) = (cluster(100, 5), cluster(101, 5));
    let config = RingConfig::default().vnodes(1_000);
    let ring = |topology| Ring::build(topology, &Rules::new(3), &config).expect("feasible");
    let (old, new) = (ring(&small), ring(&large));
    // One pass over tokens and replica lists of both sides.
    let pass = || {
        let lists = |ring: &Ring| -> (Vec<u64>, Vec<u16>) {
            use quorate_hashring::Segmented as _;
            let rows = ring.segments().flat_map(|s| s.replicas.iter().map(|at| at.value()));
            (ring.tokens().to_vec(), rows.collect())
        };
        [lists(&old), lists(&new)]
    };
    let arrays = pass();
    lines.measure(Lane {
        name: "P8 diff of two rings, 100 k tokens, three replicas",
        ours: Candidate::each("ours", || diff(&old, &new).expect("one space")),
        floor: Candidate::each("one pass over both arrays", || {
            let sum = |(tokens, rows): &(Vec<u64>, Vec<u16>)| {
                let tokens = tokens.iter().fold(0_u64, |sum, token| sum ^ token);
                rows.iter().fold(tokens, |sum, row| sum.rotate_left(1) ^ u64::from(*row))
            };
            sum(&arrays[0]) ^ sum(&arrays[1])
        }),
        peers: Vec::new(),
        targets: vec![Target::OfFloor(4.0)],
    });
    coordinator(lines);
}

/// The peer takes minutes for rings of this size: 10,000 tokens, and once.
fn coordinator(lines: &mut Table) {
    let (small, large) = (cluster(100, 5), cluster(101, 5));
    let config = RingConfig::default().vnodes(100);
    let ring = |topology| Ring::build(topology, &Rules::new(3), &config).expect("feasible");
    let (old, new) = (ring(&small), ring(&large));
    let mut before = hashring_coordinator::HashRing::new(2, 100);
    before.batch_add((0..100_u16).collect());
    let mut after = before.clone();
    after.add(100);
    let all: Vec<u16> = (0..100).collect();
    let begun = Instant::now();
    let theirs = after.find_sources(&100, &before, &all);
    let theirs_took = begun.elapsed();
    assert!(!theirs.is_empty());
    let mut ours: Vec<_> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            assert!(!diff(&old, &new).expect("one space").moves.is_empty());
            begun.elapsed()
        })
        .collect();
    ours.sort();
    let ratio = theirs_took.as_secs_f64() / ours[2].as_secs_f64();
    lines.say(&format!(
        "P8 rings of 10 k tokens, one joins: ours {:?}, hashring_coordinator find_sources {:?}: \
         {ratio:.0} × (target: at least 100 ×: {})",
        ours[2],
        theirs_took,
        if ratio >= 100.0 { "met" } else { "missed" }
    ));
}

/// P15: a settled view of 65,536 rows of three.
pub(crate) fn bytes(lines: &mut Table) {
    let topology = cluster(100, 5).to_builder().node(Node::new(NodeId::new(900))).build();
    let view = View::initial(table(&topology.expect("distinct"), 16, 3));
    let bytes = view.encode();
    let sums = || u64::from(crc32fast::hash(&bytes)) ^ xxh3_64(&bytes);
    lines.measure(Lane {
        name: &format!("P15 decode of a view of 65,536 rows, {} bytes", bytes.len()),
        ours: Candidate::each("ours", || View::decode(&bytes, None).expect("its own bytes")),
        floor: Candidate::each("CRC-32 and xxh3 of the bytes", sums),
        peers: Vec::new(),
        targets: vec![Target::OfFloor(3.0)],
    });
    lines.measure(Lane {
        name: "P15 encode of the same",
        ours: Candidate::each("ours", || view.encode()),
        floor: Candidate::each("CRC-32 and xxh3 of the bytes", sums),
        peers: Vec::new(),
        targets: vec![Target::OfFloor(3.0)],
    });
}
