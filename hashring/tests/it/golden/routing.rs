//! G1: answers of the stateless placements. A change here moves keys of every user.

use crate::random::Random;
use expect_test::expect;
use quorate_hashring::{
    KeyHash, Level, Locate, Maglev, MaglevConfig, Node, NodeId, NodeIdx, Rendezvous,
    ShuffleSharder, SipKey, Topology, Weight, jump,
};
use std::num::NonZeroU32;
use xxhash_rust::xxh3::xxh3_64;

/// Eleven nodes in three zones, weights of one to three, two without.
fn topology(even: bool) -> Topology {
    let nodes = (1..=11_u16).map(|id| {
        let weight = if even { Weight::ONE } else { Weight::units(id % 4) };
        let zone = ["a", "b", "c"][usize::from(id % 3)];
        Node::new(NodeId::new(u64::from(id * id))).weight(weight).at(Level::Zone, zone)
    });
    nodes.fold(Topology::builder(), |all, node| all.node(node)).build().unwrap()
}

fn digest(answers: impl Iterator<Item = u32>) -> String {
    let bytes: Vec<u8> = answers.flat_map(u32::to_le_bytes).collect();
    format!("{:016x}", xxh3_64(&bytes))
}

fn owners(placement: &impl Locate) -> String {
    let mut random = Random::new(1);
    digest((0..20_000).map(|_| placement.owner_at(random.next()).value().into()))
}

#[test]
fn golden_maglev() {
    let slot = |maglev: &Maglev, at| maglev.slot(at).unwrap().value();
    let slots = |maglev: &Maglev| digest((0..maglev.slots()).map(|at| slot(maglev, at).into()));
    let config = MaglevConfig::default();
    let even = Maglev::build(&topology(true), &config).unwrap();
    let weighted = Maglev::build(&topology(false), &config.slots(10_007)).unwrap();
    let small = Maglev::build(&topology(false), &config.slots(13)).unwrap();
    let small: Vec<u16> = (0..13).map(|at| slot(&small, at)).collect();
    let found = [slots(&even), slots(&weighted), owners(&weighted), format!("{small:?}")];
    expect![[r#"
        2610442cbdf2e07c
        7e210e1c4ecef575
        f7b9e7359a8ff365
        [10, 6, 1, 4, 8, 2, 2, 5, 9, 0, 6, 1, 5]"#]]
    .assert_eq(&found.join("\n"));
}

#[test]
fn golden_rendezvous() {
    let even = Rendezvous::new(&topology(true), KeyHash::default());
    let weighted = Rendezvous::new(&topology(false), KeyHash::default());
    let mut top = [NodeIdx::new(0); 11];
    assert_eq!(weighted.top_at(7, &mut top), 9);
    let top: Vec<u16> = top[..9].iter().map(|node| node.value()).collect();
    let found = [owners(&even), owners(&weighted), format!("{top:?}")];
    expect![[r#"
        bc0340f5ff630404
        1faa26b8374b3c65
        [0, 4, 5, 10, 9, 8, 6, 1, 2]"#]]
    .assert_eq(&found.join("\n"));
}

/// Keys through each hash: bytes in, owners out.
#[test]
fn golden_owners_of_keys() {
    let hashes = [
        KeyHash::xxh3(0),
        KeyHash::xxh3(9),
        KeyHash::xxh64(0),
        KeyHash::siphash13(SipKey::new(1, 2)),
    ];
    let keys = [&b""[..], b"a", b"user/17", b"a longer key than the others"];
    let owners = hashes.map(|hash| {
        let rendezvous = Rendezvous::new(&topology(true), hash);
        keys.map(|key| rendezvous.owner(key).value())
    });
    expect!["[[6, 10, 8, 1], [3, 6, 9, 4], [2, 4, 10, 2], [6, 10, 2, 3]]"]
        .assert_eq(&format!("{owners:?}"));
}

/// What other implementations of the paper's algorithm publish: `ClickHouse` (reference of its test
/// `00580_consistent_hashing_functions`) and Microsoft's Azure SDK for JavaScript (its jump hash's
/// test of stability).
#[test]
fn golden_jump() {
    let published = [
        (1, 1, 0),
        (42, 57, 43),
        (256, 1024, 520),
        (3_735_883_980, 1, 0),
        (3_735_883_980, 666, 361),
        (16_045_690_984_833_335_023, 255, 237),
        (10_863_919_174_838_991, 11, 6),
        (2_016_238_256_797_177_309, 11, 3),
    ];
    let at = |hash, buckets| jump(hash, NonZeroU32::new(buckets).unwrap());
    for (hash, buckets, bucket) in published {
        assert_eq!(at(hash, buckets), bucket, "{hash} of {buckets}");
    }
    let mut random = Random::new(2);
    let many = digest((1..20_000).map(|buckets| at(random.next(), buckets)));
    expect!["30346c9636a7fa87"].assert_eq(&many);
}

#[test]
fn golden_shards() {
    let shard = |spread| {
        let sharder = ShuffleSharder::new(&topology(false), 5, spread, 3).unwrap();
        let tenants = (0..500_u32).flat_map(|tenant| sharder.shard(&tenant.to_le_bytes()));
        digest(tenants.map(|node| node.value().into()))
    };
    let found = [None, Some(Level::Zone), Some(Level::Host)].map(shard);
    expect![[r#"
        b9982435ed3fc0b2
        1809d06f790d701c
        c1c4075176ca7aa7"#]]
    .assert_eq(&found.join("\n"));
}
