//! What every placement promises, checked by one generic module on each.

use crate::random::{self, Random};
use expect_test::expect;
use quorate_hashring::{
    Assign, KeyHash, Level, Locate, Node, NodeId, NodeIdx, PartitionTable, Replicate, Ring,
    RingConfig, Rules, Segmented, SipKey, Topology,
};

/// Nodes 1 to `count` in three zones of two racks.
pub(crate) fn cluster(count: u64) -> Topology {
    let mut builder = Topology::builder();
    for id in 1..=count {
        let (zone, rack) = (id % 3, id / 3 % 2);
        let node = Node::new(NodeId::new(id))
            .at(Level::Zone, &format!("zone {zone}"))
            .at(Level::Rack, &format!("rack {rack}"));
        builder = builder.node(node);
    }
    builder.build().unwrap()
}

pub(crate) fn rules() -> Rules {
    Rules::new(3).at_most(Level::Zone, 1)
}

pub(crate) fn table(topology: &Topology) -> PartitionTable {
    Assign::new(topology, &rules()).partition_bits(8).solve().unwrap().into_table()
}

pub(crate) fn ring(topology: &Topology) -> Ring {
    Ring::build(topology, &rules(), &RingConfig::default()).unwrap()
}

/// G4, H7, H8: distinct nodes, hard rules kept, the owner first.
pub(crate) fn rows_are_right<P: Replicate>(placement: &P, hashes: impl Iterator<Item = u64>) {
    let topology = placement.topology();
    let rules = placement.rules();
    for hash in hashes {
        let row = placement.replicas_at(hash);
        assert_eq!(row[0], placement.owner_at(hash), "H8: at {hash:#x}");
        assert!((1..row.len()).all(|at| !row[..at].contains(&row[at])), "H7: {row:?}");
        for level in Level::ALL {
            let Some((most, false)) = rules.cap(level) else { continue };
            for at in row {
                let domain = |at: &NodeIdx| topology.domain(*at, level);
                let held = row.iter().filter(|other| domain(other) == domain(at)).count();
                assert!(held <= usize::from(most), "{held} in one {level}: {row:?}");
            }
        }
        if !rules.is_short_allowed() {
            assert_eq!(row.len(), usize::from(rules.replicas()));
        }
    }
}

/// G8, H28: the segments tile the space exactly once, and lookups agree with them at each bound
/// and its neighbours.
pub(crate) fn segments_tile<P: Replicate + Segmented<Bound = u64>>(placement: &P) {
    let mut next = Some(0);
    for segment in placement.segments() {
        assert_eq!(Some(segment.start), next, "a gap or an overlap");
        assert!(segment.end.is_none_or(|end| end > segment.start), "an empty segment");
        let last = segment.end.map_or(u64::MAX, |end| end - 1);
        for hash in [segment.start, last, segment.start + (last - segment.start) / 2] {
            assert_eq!(placement.replicas_at(hash), segment.replicas, "at {hash:#x}");
        }
        next = segment.end;
    }
    assert_eq!(next, None, "the segments do not reach the end");
}

/// A digest over the owners of many keys: what a second machine must get, too.
fn fingerprint<P: Locate>(placement: &P) -> u64 {
    (0..10_000_u32).fold(0, |sum: u64, key| {
        let owner = placement.owner(format!("key {key}").as_bytes());
        let id = placement.topology().node(owner).unwrap().id().value();
        (sum ^ id).wrapping_mul(0x0100_0000_01B3).rotate_left(23)
    })
}

#[test]
fn answers_are_the_same_on_every_platform_and_in_every_version() {
    let topology = cluster(12);
    let found = format!(
        "topology {}\ntable {} {:016x}\nring {:016x}\n",
        topology.digest(),
        table(&topology).digest(),
        fingerprint(&table(&topology)),
        fingerprint(&ring(&topology)),
    );
    expect![[r#"
        topology f22eda5057272c8a
        table b1c692e6c08f671e b50b348e4d887e3d
        ring 172f4444c154a4d7
    "#]]
    .assert_eq(&found);
}

#[test]
fn the_order_of_nodes_never_matters() {
    for seed in 0..50 {
        let random = &mut Random::new(seed);
        let count = 3 + random.below(10);
        let topology = random::topology(random, count, [0, 3, 2, 0], &[1, 2]);
        let mut nodes = topology.nodes().to_vec();
        for at in (1..nodes.len()).rev() {
            nodes.swap(at, random.below(at + 1));
        }
        let shuffled = nodes.into_iter().fold(Topology::builder(), |all, node| all.node(node));
        let shuffled = shuffled.build().unwrap();
        assert_eq!(shuffled.digest(), topology.digest(), "seed {seed}");
        let rules = Rules::new(2);
        let tables = [&topology, &shuffled]
            .map(|t| Assign::new(t, &rules).partition_bits(5).solve().unwrap().into_table());
        assert_eq!(tables[0].digest(), tables[1].digest());
        let rings =
            [&topology, &shuffled].map(|t| Ring::build(t, &rules, &RingConfig::default()).unwrap());
        assert_eq!(rings[0], rings[1]);
    }
}

#[test]
fn tables_and_rings_keep_their_rules() {
    let random = &mut Random::new(1);
    for count in [3, 7, 20] {
        let topology = cluster(count);
        let hashes: Vec<u64> = (0..2_000).map(|_| random.next()).collect();
        rows_are_right(&table(&topology), hashes.iter().copied());
        rows_are_right(&ring(&topology), hashes.iter().copied());
    }
}

#[test]
fn tables_and_rings_tile_the_key_space() {
    for count in [3, 7, 20] {
        let topology = cluster(count);
        segments_tile(&table(&topology));
        segments_tile(&ring(&topology));
    }
    let one = cluster(3);
    for bits in [0, 1, 16] {
        let rules = Rules::new(1);
        segments_tile(
            &Assign::new(&one, &rules).partition_bits(bits).solve().unwrap().into_table(),
        );
    }
}

/// χ² of keys over equal parts of the hash space, at 1 %.
#[test]
fn every_hash_is_uniform() {
    let hashes = [
        KeyHash::xxh3(0),
        KeyHash::xxh3(7),
        KeyHash::xxh64(0),
        KeyHash::siphash13(SipKey::new(1, 2)),
    ];
    for hash in hashes {
        let mut counts = [0_u32; 256];
        for key in 0..256_000_u32 {
            let hash = hash.hash(format!("user/{key}").as_bytes());
            counts[usize::try_from(hash >> 56).unwrap()] += 1;
        }
        let off = |&count: &u32| (f64::from(count) - 1_000.0).powi(2) / 1_000.0;
        let chi: f64 = counts.iter().map(off).sum();
        assert!(chi < 310.5, "{hash:?}: {chi}"); // 255 degrees of freedom
    }
}

/// G3: a change of node X moves keys to or from X alone, and changes a replica set by X and at
/// most one other.
#[test]
fn rings_move_keys_only_to_or_from_the_node_that_changed() {
    for seed in 0..60 {
        let random = &mut Random::new(seed);
        let shape = *random.pick(&[[0, 0, 0, 0], [0, 4, 0, 0], [0, 4, 3, 0]]);
        let count = 5 + random.below(8);
        let before = random::topology(random, count, shape, &[1, 2, 3]);
        let rules = random::rules(random, 3, shape, false);
        let after = random::edited(random, &before, 1, shape, &[1, 2, 5]);
        let config = RingConfig::default().vnodes(20);
        let rings = [&before, &after].map(|topology| Ring::build(topology, &rules, &config));
        let [Ok(old), Ok(new)] = rings else { continue };
        let changed: Vec<u64> = changed_nodes(&before, &after);
        assert!(changed.len() <= 1);
        for _ in 0..500 {
            let hash = random.next();
            let ids = |ring: &Ring| -> Vec<u64> {
                let id = |at: &NodeIdx| ring.topology().node(*at).unwrap().id().value();
                ring.replicas_at(hash).iter().map(id).collect()
            };
            let (old, new) = (ids(&old), ids(&new));
            assert!(
                old[0] == new[0] || changed.contains(&old[0]) || changed.contains(&new[0]),
                "seed {seed}: a key went from {} to {}, changed {changed:?}",
                old[0],
                new[0]
            );
            let gone = old.iter().filter(|id| !new.contains(id) && !changed.contains(id)).count();
            let come = new.iter().filter(|id| !old.contains(id) && !changed.contains(id)).count();
            assert!(gone <= 1 && come <= 1, "seed {seed}: {old:?} {new:?} {changed:?}");
        }
    }
}

fn changed_nodes(before: &Topology, after: &Topology) -> Vec<u64> {
    let differs = |node: &&Node, other: &Topology| {
        other.index_of(node.id()).and_then(|at| other.node(at)) != Some(*node)
    };
    let gone = before.nodes().iter().filter(|node| differs(node, after));
    let come = after.nodes().iter().filter(|node| differs(node, before));
    let mut ids: Vec<u64> = gone.chain(come).map(|node| node.id().value()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The ends of the hash space and both sides of its middle, and many others.
fn probes() -> impl Iterator<Item = u64> {
    let mut random = Random::new(11);
    let ends = [0, 1, (1 << 63) - 1, 1 << 63, u64::MAX - 1, u64::MAX];
    ends.into_iter().chain((0..2_000).map(move |_| random.next()))
}

/// H10, H28, G2: each answer is a node with a weight, whatever the hash; the same nodes listed in
/// any order give the same answers; keys are asked by their hash.
fn is_sound<P: Locate>(name: &str, build: impl Fn(&Topology) -> P) {
    let nodes = (1..=9_u16).map(|id| {
        let weight = quorate_hashring::Weight::units(id % 3);
        Node::new(NodeId::new(u64::from(id))).weight(weight).at(Level::Zone, &format!("{}", id % 2))
    });
    let forth = nodes.clone().fold(Topology::builder(), |all, node| all.node(node));
    let back = nodes.rev().fold(Topology::builder(), |all, node| all.node(node));
    let [forth, back] = [forth, back].map(|all| build(&all.build().unwrap()));
    for hash in probes() {
        let owner = forth.owner_at(hash);
        let node = forth.topology().node(owner).unwrap();
        assert!(!node.weight_of().is_zero(), "{name} at {hash:#x}: {node:?}");
        assert_eq!(owner, back.owner_at(hash), "{name} at {hash:#x}");
        let key = hash.to_le_bytes();
        assert_eq!(forth.owner(&key), forth.owner_at(forth.key_hash().hash(&key)), "{name}");
    }
}

#[test]
fn every_placement_is_sound_at_every_hash() {
    use quorate_hashring::{Maglev, MaglevConfig, Rendezvous};
    let rules = Rules::new(2).at_most(Level::Zone, 1);
    is_sound("table", |all| {
        Assign::new(all, &rules).partition_bits(7).solve().unwrap().into_table()
    });
    is_sound("ring", |all| Ring::build(all, &rules, &RingConfig::default()).unwrap());
    is_sound("Maglev", |all| Maglev::build(all, &MaglevConfig::default().slots(1_009)).unwrap());
    for hash in [KeyHash::default(), KeyHash::siphash13(SipKey::new(3, 4))] {
        is_sound("rendezvous", |all| Rendezvous::new(all, hash));
    }
}

/// Keys reach each node of a ring or a table as often as its share of the hash space says: χ² at
/// 1 % with 11 degrees of freedom. (Maglev, rendezvous and jump: `props::routing`.)
#[test]
fn owners_get_their_share_of_keys() {
    fn check<P: Replicate + Segmented<Bound = u64>>(placement: &P) {
        let mut shares = [0.0_f64; 12];
        for segment in placement.segments() {
            let end = segment.end.map_or(1_u128 << 64, u128::from);
            let share = (end - u128::from(segment.start)) as f64 / (1_u128 << 64) as f64;
            shares[usize::from(segment.replicas[0].value())] += share;
        }
        let mut counts = [0_u32; 12];
        for key in 0..100_000_u32 {
            counts[usize::from(placement.owner(format!("key {key}").as_bytes()).value())] += 1;
        }
        let off = |(count, share): (&u32, f64)| {
            let expected = share * 100_000.0;
            (f64::from(*count) - expected).powi(2) / expected
        };
        let chi: f64 = counts.iter().zip(shares).map(off).sum();
        assert!(chi < 24.72, "{chi}: {counts:?}");
    }
    let topology = cluster(12);
    check(&table(&topology));
    check(&ring(&topology));
}
