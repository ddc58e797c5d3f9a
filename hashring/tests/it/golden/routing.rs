//! G1: answers of the stateless placements. A change here moves keys of every user.

use crate::random::Random;
use quorate_hashring::{
    KeyHash, Level, Locate, Maglev, MaglevConfig, Node, NodeId, NodeIdx, Rendezvous, ShuffleSharder,
    SipKey, Topology, Weight, jump,
};
use std::num::NonZeroU32;
use xxhash_rust::xxh3::xxh3_64;

/// Eleven nodes in three zones, weights of one to three, one without.
fn topology(even: bool) -> Topology {
    let weight = |id: u64| if even { Weight::ONE } else { Weight::units(u16::try_from(id % 4).unwrap()) };
    let nodes = (1..=11_u64).map(|id| {
        let zone = ["a", "b", "c"][usize::try_from(id % 3).unwrap()];
        Node::new(NodeId::new(id * id)).weight(weight(id)).at(Level::Zone, zone)
    });
    nodes.fold(Topology::builder(), |all, node| all.node(node)).build().unwrap()
}

fn digest(answers: impl Iterator<Item = u32>) -> u64 {
    let bytes: Vec<u8> = answers.flat_map(u32::to_le_bytes).collect();
    xxh3_64(&bytes)
}

fn owners(placement: &impl Locate) -> u64 {
    let mut random = Random::new(1);
    digest((0..20_000).map(|_| placement.owner_at(random.next()).value().into()))
}

#[test]
fn maglev_tables() {
    let slots = |maglev: &Maglev| digest((0..maglev.slots()).map(|at| maglev.slot(at).unwrap().value().into()));
    let config = MaglevConfig::default();
    let even = Maglev::build(&topology(true), &config).unwrap();
    assert_eq!(slots(&even), 0);
    let weighted = Maglev::build(&topology(false), &config.slots(10_007)).unwrap();
    assert_eq!(slots(&weighted), 0);
    assert_eq!(owners(&weighted), 0);
    let small = Maglev::build(&topology(false), &config.slots(13)).unwrap();
    let small: Vec<u16> = (0..13).map(|at| small.slot(at).unwrap().value()).collect();
    assert_eq!(small, []);
}

#[test]
fn rendezvous_owners() {
    assert_eq!(owners(&Rendezvous::new(&topology(true), KeyHash::default())), 0);
    let weighted = Rendezvous::new(&topology(false), KeyHash::default());
    assert_eq!(owners(&weighted), 0);
    let mut top = [NodeIdx::new(0); 8];
    assert_eq!(weighted.top_at(7, &mut top), 8);
    assert_eq!(top.map(NodeIdx::value), [0; 8]);
}

/// Keys through each hash: bytes in, owners out.
#[test]
fn owners_of_keys() {
    let hashes = [
        KeyHash::xxh3(0),
        KeyHash::xxh3(9),
        KeyHash::xxh64(0),
        KeyHash::siphash13(SipKey::new(1, 2)),
    ];
    let owners = hashes.map(|hash| {
        let rendezvous = Rendezvous::new(&topology(true), hash);
        [&b""[..], b"a", b"user/17", b"a longer key than the others"].map(|key| rendezvous.owner(key).value())
    });
    assert_eq!(owners, [[0; 4]; 4]);
}

/// Two figures of the paper's algorithm that other implementations print too (Google's Guava and
/// Go's `jump` package test with them), and a digest.
#[test]
fn jumps() {
    let at = |hash, buckets| jump(hash, NonZeroU32::new(buckets).unwrap());
    let guava: Vec<u32> = [100, 1_000].into_iter().flat_map(|n| [10_863_919_174_838_991, 2_016_238_256_797_177_309].map(|h| at(h, n))).collect();
    println!("{guava:?}");
    let mut random = Random::new(2);
    let many = digest((1..20_000).map(|buckets| at(random.next(), buckets)));
    assert_eq!(many, 0);
}

#[test]
fn shards() {
    let shard = |spread| {
        let sharder = ShuffleSharder::new(&topology(false), 5, spread, 3).unwrap();
        let tenants = (0..500_u32).flat_map(|tenant| sharder.shard(&tenant.to_le_bytes()));
        digest(tenants.map(|node| node.value().into()))
    };
    assert_eq!([shard(None), shard(Some(Level::Zone)), shard(Some(Level::Host))], [0; 3]);
}
