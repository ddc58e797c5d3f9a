//! Hazards of routing: Maglev, rendezvous, bounded load, shuffle shards, the named modes.

use crate::contract::cluster;
use crate::random::Random;
use quorate_hashring::{
    BoundedLoad, KeyHash, Locate, Maglev, MaglevConfig, MaglevEntry, Node, NodeId, NodeIdx, Permit,
    Rendezvous, ShuffleSharder, Topology, Weight, overlap_probability,
};

fn with_weights(weights: &[Weight]) -> Topology {
    let nodes = (1_u64..).zip(weights);
    let nodes = nodes.map(|(id, weight)| Node::new(NodeId::new(id)).weight(*weight));
    nodes.fold(Topology::builder(), |all, node| all.node(node)).build().unwrap()
}

/// M30: two nodes of other weights must not trade keys because a third is re-weighted, not even in
/// near-ties. Weights of gigabytes make quotients of logarithms small, where rounding would show.
#[test]
fn h06_reweighting_makes_no_two_others_trade_keys() {
    let raw = |sizes: [u32; 4]| with_weights(&sizes.map(Weight::from_raw));
    let large = u32::MAX;
    let before = raw([large, large - 1, large / 2, large / 3]);
    let mut random = Random::new(1);
    let old = Rendezvous::new(&before, KeyHash::default());
    for weight in [large, large / 7, 1, 0] {
        let after = raw([large, large - 1, large / 2, weight]);
        let new = Rendezvous::new(&after, KeyHash::default());
        for _ in 0..20_000 {
            let hash = random.next();
            let (a, b) = (old.owner_at(hash), new.owner_at(hash));
            assert!(a == b || a.value() == 3 || b.value() == 3, "{hash:#x}");
        }
    }
    // The order is that of −log₂(u)/w, wherever a yardstick of floats can tell.
    let mut compared = 0;
    for _ in 0..200_000 {
        let hash = random.next();
        let mut top = [NodeIdx::new(0); 4];
        assert_eq!(old.top_at(hash, &mut top), 4);
        let scores = top.map(|at| score(&before, usize::from(at.value()), hash));
        for (better, worse) in scores.iter().zip(&scores[1..]) {
            assert!(*better < worse * (1.0 + 1e-6), "{hash:#x}: {scores:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 600_000);
}

/// −log₂(u)/w by floats: an independent yardstick.
fn score(topology: &Topology, at: usize, hash: u64) -> f64 {
    let node = &topology.nodes()[at];
    let mut x = hash ^ xxhash_rust::xxh3::xxh3_64(&node.id().value().to_le_bytes());
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 31;
    (64.0 - (x as f64).log2()) / f64::from(node.weight_of().raw())
}

/// Zero weights, one node, the smallest weight beside the largest, most nodes that there can be.
#[test]
fn h10_zero_small_and_many() {
    let topology = with_weights(&[Weight::from_raw(1), Weight::from_raw(u32::MAX), Weight::ZERO]);
    let maglev = Maglev::build(&topology, &MaglevConfig::default()).unwrap();
    assert_eq!([0, 1, 2].map(|at| maglev.entries(NodeIdx::new(at))), [1, 65_536, 0]);
    let rendezvous = Rendezvous::new(&topology, KeyHash::default());
    let mut top = [NodeIdx::new(9); 3];
    assert_eq!(rendezvous.top_at(1, &mut top), 2);
    let balanced = BoundedLoad::new(rendezvous, 1_001).unwrap();
    let permits: Vec<Permit> = (0..1_000).map(|hash| balanced.pick_at(hash)).collect();
    assert_eq!(balanced.load(NodeId::new(3)), 0, "a drained node gets nothing");
    assert!(balanced.load(NodeId::new(1)) <= 1, "ceil of nearly nothing");
    drop(permits);

    let alone = with_weights(&[Weight::from_raw(1)]);
    let maglev = Maglev::build(&alone, &MaglevConfig::default().slots(2)).unwrap();
    assert_eq!(maglev.owner(b"x"), NodeIdx::new(0));
    assert_eq!(Rendezvous::new(&alone, KeyHash::default()).owner(b"x"), NodeIdx::new(0));
    let balanced = BoundedLoad::new(maglev, 1_001).unwrap();
    let permits: Vec<Permit> = (0..100).map(|hash| balanced.pick_at(hash)).collect();
    assert_eq!(balanced.load(NodeId::new(1)), 100);
    drop(permits);

    let many = with_weights(&vec![Weight::ONE; 65_535]);
    let maglev = Maglev::build(&many, &MaglevConfig::default()).unwrap();
    let entries: Vec<u32> = (0..65_535).map(|at| maglev.entries(NodeIdx::new(at))).collect();
    assert!(entries.iter().all(|entries| (1..=2).contains(entries)));
}

/// Who is tried next when a node does not answer is another one.
#[test]
fn h24_candidates_are_distinct() {
    let topology = cluster(7);
    let maglev = Maglev::build(&topology, &MaglevConfig::default().slots(101)).unwrap();
    for hash in 0..1_000 {
        let mut out = [NodeIdx::new(0); 9];
        assert_eq!(maglev.candidates_at(hash, &mut out), 7);
        assert_eq!(out[0], maglev.owner_at(hash));
        assert!((1..7).all(|at| !out[..at].contains(&out[at])));
        assert_eq!(maglev.candidates_at(hash, &mut out[..3]), 3);
        assert_eq!(maglev.candidates_at(hash, &mut []), 0);
    }
}

/// M29: however a request ends, whatever became of its placement meanwhile, its permit comes back,
/// and a node that left and came back has the load that it has.
#[test]
fn h27_permits_survive_changes_of_membership() {
    let placement = |ids: &[u64]| {
        let nodes = ids.iter().map(|id| Node::new(NodeId::new(*id)));
        let topology = nodes.fold(Topology::builder(), |all, node| all.node(node)).build().unwrap();
        Rendezvous::new(&topology, KeyHash::default())
    };
    let first = BoundedLoad::new(placement(&[1, 2]), 2_000).unwrap();
    let mut permits: Vec<Permit> = (0..40).map(|hash| first.pick_at(hash)).collect();
    let on_one = first.load(NodeId::new(1));
    assert!(on_one > 0);

    let without = first.rebuilt(placement(&[2, 3]));
    assert_eq!(without.load(NodeId::new(1)), on_one, "still at work there");
    assert_eq!(without.stats().permits, 40, "and still counted");
    let again = without.rebuilt(placement(&[3, 4])).rebuilt(placement(&[1, 2, 3]));
    drop((first, without));
    assert_eq!(again.load(NodeId::new(1)), on_one);

    // New permits see the old load: none goes to a node that is full with old ones.
    permits.extend((0..20).map(|hash| again.pick_at(hash)));
    assert!(again.load(NodeId::new(1)) <= 40); // 2 · 60 / 3
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _permit = again.pick(b"key");
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panicked.is_err());
    let elsewhere = std::thread::spawn(move || drop(permits));
    elsewhere.join().unwrap();
    assert_eq!([1, 2, 3].map(|id| again.load(NodeId::new(id))), [0; 3]);
    assert_eq!(again.stats().permits, 0);
}

/// M28: with few permits the bound is rounded up; rounded down nobody could take the first.
#[test]
fn h27_the_first_permit_goes_to_the_owner() {
    let placement = Rendezvous::new(&cluster(5), KeyHash::default());
    let balanced = BoundedLoad::new(placement, 1_250).unwrap();
    for key in 0..100_u64 {
        let owner = balanced.placement().owner_at(key);
        let first = balanced.pick_at(key);
        assert_eq!(Some(first.node()), balanced.topology().node(owner).map(Node::id));
        // ceil(1.25 · 2 / 5) = 1: full. The second goes elsewhere.
        let second = balanced.pick_at(key);
        assert_ne!(second.node(), first.node());
    }
    let stats = balanced.stats();
    assert_eq!((stats.picks, stats.owner_hits), (200, 100));
    assert!(stats.probes >= 100);
}

/// M31: sizes that are not prime are refused; skips are never zero; a node without weight is not in
/// the way. Every small prime fills.
#[test]
fn h29_maglev_always_fills() {
    let mixed = [1, 2, 0, 3].map(Weight::units);
    for topology in [with_weights(&mixed), cluster(4)] {
        for slots in (4..300).filter(|n| (2..*n).all(|d| n % d != 0)) {
            let maglev = Maglev::build(&topology, &MaglevConfig::default().slots(slots)).unwrap();
            let sum: u32 = (0..4).map(|at| maglev.entries(NodeIdx::new(at))).sum();
            assert_eq!(sum, slots);
        }
    }
    // A skip as in the paper: one more than the hash modulo one less than the size.
    let topology = cluster(9);
    let entries = topology.nodes().iter().map(|node| {
        let hash = |seed| xxhash_rust::xxh64::xxh64(&node.id().value().to_le_bytes(), seed);
        let (offset, skip) = (hash(0) % 251, hash(1) % 250 + 1);
        let narrow = |number| u32::try_from(number).unwrap();
        MaglevEntry::new(node.id(), narrow(offset), narrow(skip), Weight::ONE)
    });
    let entries: Vec<MaglevEntry> = entries.collect();
    let ours = Maglev::build(&topology, &MaglevConfig::default().slots(251)).unwrap();
    let theirs = Maglev::from_entries(&topology, &entries, 251, KeyHash::default()).unwrap();
    assert_eq!(ours.changed(&theirs), Some(0));
    assert_eq!((0..251).find(|slot| ours.slot(*slot) != theirs.slot(*slot)), None);
}

/// M32: shards overlap as random ones do; neighbours on a list would share all but one.
#[test]
fn h24_shards_overlap_like_random_ones() {
    let sharder = ShuffleSharder::new(&cluster(12), 3, None, 0).unwrap();
    let shards: Vec<Vec<NodeIdx>> =
        (0..400_u32).map(|tenant| sharder.shard(&tenant.to_le_bytes())).collect();
    let mut distinct = shards.clone();
    for shard in &mut distinct {
        shard.sort_unstable();
    }
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 150, "of 220 combinations {} are used", distinct.len());
    let same = |a: &[NodeIdx], b: &[NodeIdx]| a.iter().all(|node| b.contains(node));
    let pairs = (1..400).flat_map(|a| (0..a).map(move |b| (a, b)));
    let all = pairs.filter(|&(a, b)| same(&shards[a], &shards[b])).count() as f64 / 79_800.0;
    let expected = overlap_probability(12, 3, 3);
    assert!((all / expected - 1.0).abs() < 0.3, "{all} against {expected}");
}

/// The ketama modes lose groups of points to rounding, and trade keys between old servers, as the
/// originals do. Nothing else here does.
#[cfg(feature = "ketama")]
#[test]
fn h30_ketama_loses_a_group_to_rounding() {
    use quorate_hashring::compat::{Ketama, Server, ketama};
    let points = |count: usize, mode| {
        let hosts: Vec<String> = (0..count).map(|i| format!("10.0.0.{i}")).collect();
        let servers: Vec<Server<'_>> =
            hosts.iter().map(|host| Server::new(host, 11_211, 1)).collect();
        ketama(&servers, mode).unwrap().points().len()
    };
    let short = |mode| (1..=100).filter(|&count| points(count, mode) < 160 * count).count();
    assert!(short(Ketama::Libketama) > 0);
    assert_eq!(short(Ketama::Spymemcached), 0);
    assert!((1..=100).all(|count| {
        let found = points(count, Ketama::Libketama);
        found == 160 * count || found == 156 * count // 40 or 39 groups of four
    }));
}

/// In the named ring modes a change of weights makes untouched servers trade keys; in rendezvous
/// with the same weights it does not.
#[cfg(feature = "ketama")]
#[test]
fn h01_named_modes_trade_keys_between_untouched_servers() {
    use quorate_hashring::compat::{EnvoyHash, Ketama, Server, envoy_ring_hash, ketama};
    let keys: Vec<String> = (0..20_000).map(|key| format!("key {key}")).collect();
    let ring = |last| {
        let servers = [("a", 100), ("b", 150), ("c", last)];
        let servers = servers.map(|(host, weight)| Server::new(host, 11_211, weight));
        ketama(&servers, Ketama::Libketama).unwrap()
    };
    let (before, after) = (ring(100), ring(400));
    let traded = |before: &dyn Fn(&[u8]) -> usize, after: &dyn Fn(&[u8]) -> usize| {
        let moved = keys.iter().map(|key| (before(key.as_bytes()), after(key.as_bytes())));
        moved.filter(|(old, new)| old != new && *old != 2 && *new != 2).count()
    };
    assert!(traded(&|key| before.host(key), &|key| after.host(key)) > 0);
    let envoy = |last| {
        envoy_ring_hash(&[("a", 100), ("b", 150), ("c", last)], 64, 1024, EnvoyHash::Xx).unwrap()
    };
    let (before, after) = (envoy(100), envoy(400));
    assert!(traded(&|key| before.host(key), &|key| after.host(key)) > 0);
}
