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
    let tables = tables();
    let floor = || u64::from(by_tables(&tables, &bytes)) ^ xxh3_64(&bytes);
    let hardware = || u64::from(crc32fast::hash(&bytes)) ^ xxh3_64(&bytes);
    assert_eq!(by_tables(&tables, &bytes), crc32fast::hash(&bytes));
    let floor_name = "CRC-32 by tables, 16 bytes a step, and xxh3";
    let hardware_name = "CRC-32 by AVX-512 (crc32fast) and xxh3";
    lines.measure(Lane {
        name: &format!("P15 decode of a view of 65,536 rows, {} bytes", bytes.len()),
        ours: Candidate::each("ours", || View::decode(&bytes, None).expect("its own bytes")),
        floor: Candidate::each(floor_name, floor),
        peers: vec![Candidate::each(hardware_name, hardware)],
        targets: vec![Target::OfFloor(3.0)],
    });
    lines.measure(Lane {
        name: "P15 encode of the same",
        ours: Candidate::each("ours", || view.encode()),
        floor: Candidate::each(floor_name, floor),
        peers: vec![Candidate::each(hardware_name, hardware)],
        targets: vec![Target::OfFloor(3.0)],
    });
}

type Tables = [[u32; 256]; 16];

fn tables() -> Tables {
    let mut tables = [[0_u32; 256]; 16];
    for byte in 0..256_u32 {
        let bit = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
        tables[0][byte as usize] = (0..8).fold(byte, |sum, _| bit(sum));
    }
    for table in 1..16 {
        for byte in 0..256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
        }
    }
    tables
}

/// What a processor without instructions for it can do.
fn by_tables(tables: &Tables, bytes: &[u8]) -> u32 {
    let (steps, rest) = bytes.as_chunks::<16>();
    let mut sum = u32::MAX;
    for step in steps {
        let mut mixed = *step;
        for (byte, carried) in mixed.iter_mut().zip(sum.to_le_bytes()) {
            *byte ^= carried;
        }
        let entries = mixed.iter().zip(tables.iter().rev());
        sum = entries.fold(0, |sum, (&byte, table)| sum ^ table[usize::from(byte)]);
    }
    let rest = rest.iter();
    !rest.fold(sum, |sum, &byte| (sum >> 8) ^ tables[0][((sum ^ u32::from(byte)) & 0xFF) as usize])
}
