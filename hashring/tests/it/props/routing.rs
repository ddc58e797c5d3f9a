//! Properties of Maglev, rendezvous, jump, bounded load and shuffle shards.

use crate::alloc::allocations;
use crate::random::{self, Random, seeds};
use quorate_hashring::{
    BoundedLoad, BuildError, KeyHash, Level, Locate, Maglev, MaglevConfig, MaglevEntry, Node,
    NodeId, NodeIdx, Permit, RangeId, RangeMap, Rendezvous, Rules, ShuffleSharder, Topology,
    Weight, jump, overlap_probability,
};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

const SHAPE: [usize; 4] = [0, 3, 2, 0];

fn nodes(count: u64, weight: impl Fn(u64) -> u16) -> Topology {
    let nodes = (1..=count).map(|id| Node::new(NodeId::new(id)).weight(Weight::units(weight(id))));
    nodes.fold(Topology::builder(), |all, node| all.node(node)).build().unwrap()
}

/// χ² of counts against shares, which have any common unit.
fn chi_squared(counts: &[u64], shares: &[u64]) -> f64 {
    let [total, sum] = [counts, shares].map(|all| all.iter().sum::<u64>() as f64);
    let expected = shares.iter().map(|share| *share as f64 * total / sum);
    let terms = counts.iter().zip(expected).filter(|(_, expected)| *expected > 0.0);
    terms.map(|(count, expected)| (*count as f64 - expected).powi(2) / expected).sum()
}

fn counts(total: usize, owners: impl Iterator<Item = usize>) -> Vec<u64> {
    let mut counts = vec![0; total];
    owners.for_each(|owner| counts[owner] += 1);
    counts
}

/// Uniform and by weight: χ² at 1 % with 9 degrees of freedom is 21.67.
#[test]
fn keys_spread_by_weight() {
    for (seed, weight) in [(1, 0), (2, 1)] {
        let topology = nodes(10, |id| 1 + weight * u16::try_from(id % 4).unwrap());
        let shares: Vec<u64> =
            topology.nodes().iter().map(|node| node.weight_of().raw().into()).collect();
        let mut random = Random::new(seed);
        let hashes: Vec<u64> = (0..100_000).map(|_| random.next()).collect();
        let rendezvous = Rendezvous::new(&topology, KeyHash::default());
        let owners = hashes.iter().map(|&hash| usize::from(rendezvous.owner_at(hash).value()));
        let found = chi_squared(&counts(10, owners), &shares);
        assert!(found < 21.67, "rendezvous: {found}");

        let maglev = Maglev::build(&topology, &MaglevConfig::default()).unwrap();
        let owners = hashes.iter().map(|&hash| usize::from(maglev.owner_at(hash).value()));
        let slots: Vec<u64> = (0..10).map(|at| maglev.entries(NodeIdx::new(at)).into()).collect();
        let found = chi_squared(&counts(10, owners), &slots);
        assert!(found < 21.67, "Maglev: {found}");
        for (slots, share) in slots.iter().zip(&shares) {
            let exact = *share as f64 * 65_537.0 / shares.iter().sum::<u64>() as f64;
            assert!((*slots as f64 - exact).abs() <= 1.0 + exact / 1000.0, "{slots} of {exact}");
        }
    }
    let ten = NonZeroU32::new(10).unwrap();
    let mut random = Random::new(3);
    let owners = (0..100_000).map(|_| jump(random.next(), ten) as usize);
    let found = chi_squared(&counts(10, owners), &[1; 10]);
    assert!(found < 21.67, "jump: {found}");
}

/// Sequential keys and nodes: what people number from one must spread as well as random ones.
#[test]
fn sequential_keys_spread_too() {
    let topology = nodes(10, |_| 1);
    let rendezvous = Rendezvous::new(&topology, KeyHash::default());
    let owners =
        (0..100_000_u32).map(|key| usize::from(rendezvous.owner(&key.to_le_bytes()).value()));
    assert!(chi_squared(&counts(10, owners), &[1; 10]) < 21.67);
}

/// The owner is who the definition says: the least −log₂(u)/w, by a slow exact comparison of all
/// pairs with the same scores; here by checking that `top_at` sorts as repeated removal does.
#[test]
fn top_is_the_owner_again_and_again() {
    for seed in seeds(300) {
        let random = &mut Random::new(seed);
        let count = 1 + random.below(9);
        let weights: &[u16] = if seed % 2 == 0 { &[1] } else { &[0, 1, 2, 50] };
        let topology = random::topology(random, count, SHAPE, weights);
        let rendezvous = Rendezvous::new(&topology, KeyHash::default());
        for _ in 0..20 {
            let hash = random.next();
            let mut top = vec![NodeIdx::new(0); 12];
            let found = rendezvous.top_at(hash, &mut top);
            let top: Vec<NodeId> =
                top[..found].iter().map(|&at| topology.node(at).unwrap().id()).collect();
            let mut left = topology.clone();
            for (rank, &id) in top.iter().enumerate() {
                let smaller = Rendezvous::new(&left, KeyHash::default());
                let owner = left.node(smaller.owner_at(hash)).unwrap().id();
                assert_eq!(owner, id, "seed {seed}, rank {rank}");
                match left.to_builder().remove(id).build() {
                    Ok(next) => left = next,
                    Err(_) => assert_eq!(rank + 1, found),
                }
            }
            let mut few = [NodeIdx::new(0); 2];
            let some = rendezvous.top_at(hash, &mut few);
            let few: Vec<NodeId> =
                few[..some].iter().map(|&at| topology.node(at).unwrap().id()).collect();
            assert_eq!(few, top[..found.min(2)]);
        }
    }
}

/// G3: whatever happens to one node, keys move only to it or from it, and a replica set changes by
/// it and at most one other.
#[test]
fn rendezvous_moves_keys_of_the_changed_node_only() {
    for seed in seeds(300) {
        let random = &mut Random::new(seed);
        let weights: &[u16] = if seed % 3 == 0 { &[1] } else { &[0, 1, 2, 50] };
        let count = 2 + random.below(9);
        let before = random::topology(random, count, SHAPE, weights);
        let after = random::edited(random, &before, 1, SHAPE, weights);
        let changed: Vec<NodeId> = changed_nodes(&before, &after);
        assert!(changed.len() <= 1);
        let rules = Rules::new(2).at_most_soft(Level::Zone, 1).allow_short();
        let placements = [&before, &after].map(|t| Rendezvous::new(t, KeyHash::default()));
        for _ in 0..100 {
            let hash = random.next();
            let [old, new] = placements.each_ref().map(|p| id(p, p.owner_at(hash)));
            assert!(old == new || changed.contains(&old) || changed.contains(&new), "seed {seed}");
            let [old, new] = placements.each_ref().map(|p| replicas(p, hash, &rules));
            let (Some(old), Some(new)) = (old, new) else { continue };
            let lost = old.iter().filter(|node| !new.contains(node)).count();
            assert!(lost <= 1 || old.len() != new.len() || moved_zone(&before, &after), "{seed}");
        }
    }
}

fn id(placement: &impl Locate, at: NodeIdx) -> NodeId {
    placement.topology().node(at).unwrap().id()
}

fn replicas(placement: &Rendezvous, hash: u64, rules: &Rules) -> Option<Vec<NodeId>> {
    let mut out = [NodeIdx::new(0); 2];
    let count = placement.replicas_into(hash, rules, &mut out).ok()?;
    Some(out[..count].iter().map(|&at| id(placement, at)).collect())
}

fn changed_nodes(before: &Topology, after: &Topology) -> Vec<NodeId> {
    let all = |topology: &Topology| -> BTreeMap<NodeId, Node> {
        topology.nodes().iter().map(|node| (node.id(), node.clone())).collect()
    };
    let (before, after) = (all(before), all(after));
    let ids = before.keys().chain(after.keys()).copied().collect::<std::collections::BTreeSet<_>>();
    ids.into_iter().filter(|id| before.get(id) != after.get(id)).collect()
}

/// Whether a soft rule may have been relaxed differently: the zones with a weight are others.
fn moved_zone(before: &Topology, after: &Topology) -> bool {
    let zones = |topology: &Topology| -> std::collections::BTreeSet<String> {
        let weighted = topology.nodes().iter().filter(|node| !node.weight_of().is_zero());
        weighted.map(|node| node.location(Level::Zone).to_owned()).collect()
    };
    zones(before) != zones(after)
}

/// Rules are kept, and replicas are the owner and others, each once.
#[test]
fn rendezvous_replicas_keep_rules() {
    for seed in seeds(500) {
        let random = &mut Random::new(seed);
        let count = 3 + random.below(8);
        let topology = random::topology(random, count, SHAPE, &[0, 1, 2, 9]);
        let wanted = 1 + random.below(3);
        let rules = random::rules(random, wanted, SHAPE, false);
        let rendezvous = Rendezvous::new(&topology, KeyHash::default());
        let (hash, mut out) = (random.next(), [NodeIdx::new(0); 3]);
        let Ok(found) = rendezvous.replicas_into(hash, &rules, &mut out) else { continue };
        let row = &out[..found];
        assert_eq!(found, wanted);
        assert_eq!(row[0], rendezvous.owner_at(hash));
        for (at, node) in row.iter().enumerate() {
            assert!(!row[..at].contains(node));
            assert!(!topology.node(*node).unwrap().weight_of().is_zero());
            for level in Level::ALL {
                let Some((most, _)) = rules.cap(level) else { continue };
                let domain = |at: &NodeIdx| topology.domain(*at, level);
                let held = row.iter().filter(|other| domain(other) == domain(node)).count();
                assert!(held <= usize::from(most));
            }
        }
    }
}

/// The order in which entries and nodes come never matters, and entries as `build` makes them give
/// the same table: an oracle that fills round by round as the paper does.
#[test]
fn maglev_equals_a_plain_filling() {
    for seed in seeds(200) {
        let random = &mut Random::new(seed);
        let slots = *random.pick(&[2_u32, 3, 7, 13, 101, 251, 1_009]);
        let count = 1 + random.below(slots.min(9) as usize);
        let weights: &[u16] = if seed % 2 == 0 { &[1] } else { &[0, 1, 2, 3, 50] };
        let topology = random::topology(random, count, SHAPE, weights);
        let mut entries: Vec<MaglevEntry> = Vec::new();
        for node in topology.nodes() {
            let offset = u32::try_from(random.below(slots as usize)).unwrap();
            let skip = 1 + u32::try_from(random.below(slots as usize - 1)).unwrap();
            entries.push(MaglevEntry::new(node.id(), offset, skip, node.weight_of()));
        }
        let plain = plain_filling(&entries, slots);
        if random.once_in(2) {
            entries.reverse();
        }
        let maglev = Maglev::from_entries(&topology, &entries, slots, KeyHash::default()).unwrap();
        let found: Vec<NodeId> =
            (0..slots).map(|slot| id(&maglev, maglev.slot(slot).unwrap())).collect();
        assert_eq!(found, plain, "seed {seed}");
        assert_eq!(maglev.slot(slots), None);
        let sum: u32 = (0..count).map(|at| maglev.entries(index(at))).sum();
        assert_eq!(sum, slots);
        for _ in 0..20 {
            let hash = random.next();
            let slot = u32::try_from(hash % u64::from(slots)).unwrap();
            assert_eq!(Some(maglev.owner_at(hash)), maglev.slot(slot));
        }
        for hash in [0, u64::MAX, u64::MAX - 1, u64::from(slots), u64::from(slots) - 1] {
            let slot = u32::try_from(hash % u64::from(slots)).unwrap();
            assert_eq!(Some(maglev.owner_at(hash)), maglev.slot(slot), "H28");
        }
    }
}

fn index(at: usize) -> NodeIdx {
    NodeIdx::new(u16::try_from(at).unwrap())
}

/// Section 3.4 of the paper, permutations written out, with the weights of the design.
fn plain_filling(entries: &[MaglevEntry], slots: u32) -> Vec<NodeId> {
    let active: Vec<&MaglevEntry> = entries.iter().filter(|e| !e.weight.is_zero()).collect();
    let most = active.iter().map(|e| u64::from(e.weight.raw())).max().unwrap();
    let mut permutations: Vec<_> = active
        .iter()
        .map(|e| {
            let (offset, skip, slots) = (e.offset as usize, e.skip as usize, slots as usize);
            (0..slots).map(move |j| (offset + j * skip) % slots)
        })
        .collect();
    let mut taken = vec![0_u64; active.len()];
    let mut table: Vec<Option<NodeId>> = vec![None; slots as usize];
    let mut round = 0;
    loop {
        round += 1;
        for (at, entry) in active.iter().enumerate() {
            if table.iter().all(Option::is_some) {
                return table.into_iter().flatten().collect();
            }
            if round * u64::from(entry.weight.raw()) < taken[at] {
                continue;
            }
            taken[at] += most;
            let free = permutations[at].find(|slot| table[*slot].is_none()).unwrap();
            table[free] = Some(entry.node);
        }
    }
}

/// Figures that the documentation gives: what a joining node moves, in times of the least.
#[test]
fn maglev_moves_little_more_than_it_must() {
    let build = |count| Maglev::build(&nodes(count, |_| 1), &MaglevConfig::default()).unwrap();
    for (count, most) in [(10, 1.1), (100, 1.8)] {
        let (before, after) = (build(count), build(count + 1));
        let moved = f64::from(before.changed(&after).unwrap());
        let least = 65_537.0 / (count as f64 + 1.0);
        assert!(moved / least < most, "{count} nodes: {}", moved / least);
        assert!(moved / least >= 0.99);
        assert_eq!(after.changed(&before), before.changed(&after));
    }
    let other = MaglevConfig::default().slots(65_539);
    let other = Maglev::build(&nodes(10, |_| 1), &other).unwrap();
    assert_eq!(build(10).changed(&other), None);
}

/// From 256 nodes on, slots are two bytes wide.
#[test]
fn maglev_with_many_nodes() {
    for count in [255, 256, 1_000] {
        let topology = nodes(count, |_| 1);
        let maglev = Maglev::build(&topology, &MaglevConfig::default()).unwrap();
        let (least, most) = (65_537 / count, 65_537_u64.div_ceil(count));
        for at in 0..usize::try_from(count).unwrap() {
            let entries = u64::from(maglev.entries(index(at)));
            assert!((least..=most).contains(&entries), "{entries}");
        }
    }
}

/// G14 in one thread: after each pick its node is within the bound, over random weights, factors,
/// picks and drops.
#[test]
fn loads_stay_within_their_bounds() {
    for seed in seeds(200) {
        let random = &mut Random::new(seed);
        let count = 1 + random.below(8);
        let topology = random::topology(random, count, SHAPE, &[0, 1, 2, 9]);
        let factor = *random.pick(&[1_001, 1_250, 2_000, 10_000]);
        let rendezvous = Rendezvous::new(&topology, KeyHash::default());
        let balanced = BoundedLoad::new(rendezvous, factor).unwrap();
        let weight = |node: &Node| u64::from(node.weight_of().raw());
        let sum: u64 = topology.nodes().iter().map(weight).sum();
        let mut permits: Vec<Permit> = Vec::new();
        for _ in 0..200 {
            if random.once_in(3) && !permits.is_empty() {
                drop(permits.swap_remove(random.below(permits.len())));
                continue;
            }
            let hash = random.next() % 3; // hot keys
            let before: Vec<u32> =
                topology.nodes().iter().map(|node| balanced.load(node.id())).collect();
            let permit = balanced.pick_at(hash);
            let out = permits.len() as u64 + 1;
            let bound = |node: &Node| {
                let exact = u128::from(factor) * u128::from(out) * u128::from(weight(node));
                exact.div_ceil(1_000 * u128::from(sum))
            };
            let node =
                &topology.nodes()[usize::from(topology.index_of(permit.node()).unwrap().value())];
            assert!(u128::from(balanced.load(permit.node())) <= bound(node), "seed {seed}");
            // The owner has it if it had room.
            let owner = balanced.placement().owner_at(hash);
            let owner_node = topology.node(owner).unwrap();
            if u128::from(before[usize::from(owner.value())]) < bound(owner_node) {
                assert_eq!(permit.node(), owner_node.id(), "seed {seed}");
            }
            permits.push(permit);
        }
        let sum: u32 = topology.nodes().iter().map(|node| balanced.load(node.id())).sum();
        assert_eq!(sum as usize, permits.len());
        assert_eq!(balanced.stats().permits, permits.len() as u64);
        drop(permits);
        assert!(topology.nodes().iter().all(|node| balanced.load(node.id()) == 0));
    }
}

/// G14 between threads: bounds are checked against the most permits that can have been out.
#[test]
fn loads_stay_within_their_bounds_between_threads() {
    let topology = nodes(4, |_| 1);
    let rendezvous = Rendezvous::new(&topology, KeyHash::default());
    let balanced = BoundedLoad::new(rendezvous, 1_250).unwrap();
    let churn = |seed| {
        let mut random = Random::new(seed);
        for _ in 0..5_000 {
            let permits: Vec<Permit> =
                (0..random.below(8)).map(|_| balanced.pick_at(random.next() % 2)).collect();
            // At most 28 are out: ceil(1.25 · 28 / 4) = 9.
            assert!(permits.iter().all(|permit| balanced.load(permit.node()) <= 9));
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|seed| drop(scope.spawn(move || churn(seed))));
    });
    assert_eq!(balanced.stats().permits, 0);
    assert!((1..=4).all(|id| balanced.load(NodeId::new(id)) == 0));
}

/// G15: one node more or less changes one member at most; members are spread within one.
#[test]
fn shards_change_by_one_member() {
    for seed in seeds(300) {
        let random = &mut Random::new(seed);
        let count = 12 + random.below(10);
        let shape = [0, 3, 0, 0];
        let before = random::topology(random, count, shape, &[1, 2]);
        let after = random::edited(random, &before, 1, shape, &[1, 2]);
        let spread = *random.pick(&[None, Some(Level::Zone)]);
        let changed = changed_nodes(&before, &after);
        let came_or_went =
            changed.iter().any(|&id| before.index_of(id).is_none() || after.index_of(id).is_none());
        let least = |topology: &Topology| {
            let mut sizes = BTreeMap::new();
            for node in topology.nodes() {
                *sizes.entry(node.location(Level::Zone)).or_insert(0) += 1;
            }
            (sizes.len(), sizes.into_values().min().unwrap())
        };
        let (zones, smallest) = least(&before);
        let same_zones = least(&after).0 == zones && zones == 3;
        let none_short = smallest.min(least(&after).1) >= 3;
        if !came_or_went || (spread.is_some() && !(same_zones && none_short)) {
            continue;
        }
        let sharders = [&before, &after].map(|t| ShuffleSharder::new(t, 5, spread, seed).unwrap());
        for tenant in 0..50_u32 {
            let [old, new] = [0, 1].map(|at| {
                let topology = [&before, &after][at];
                let shard = sharders[at].shard(&tenant.to_le_bytes());
                let ids = shard.iter().map(|&at| topology.node(at).unwrap().id());
                let ids: Vec<NodeId> = ids.collect();
                if spread.is_some() {
                    spread_within_one(topology, &shard);
                }
                ids
            });
            assert_eq!((old.len(), new.len()), (5, 5));
            assert!((1..5).all(|at| !new[..at].contains(&new[at])));
            let lost = old.iter().filter(|node| !new.contains(node)).count();
            assert!(lost <= 1, "seed {seed}, tenant {tenant}: {old:?} {new:?}");
        }
    }
}

fn spread_within_one(topology: &Topology, shard: &[NodeIdx]) {
    let zones = usize::from(topology.domains(Level::Zone));
    let zone = |at: &NodeIdx| usize::from(topology.domain(*at, Level::Zone).unwrap());
    let members = counts(zones, shard.iter().map(zone));
    let (least, most) = (members.iter().min().unwrap(), members.iter().max().unwrap());
    assert!(most - least <= 1, "{members:?}");
}

/// A zone with too few nodes gives all it has; the others share the rest within one.
#[test]
fn short_domains_hand_on() {
    let node = |id: u64| {
        let zone = if id == 1 { "small" } else { ["b", "c"][usize::try_from(id % 2).unwrap()] };
        Node::new(NodeId::new(id)).at(Level::Zone, zone)
    };
    let topology =
        (1..=15).map(node).fold(Topology::builder(), |all, node| all.node(node)).build().unwrap();
    let sharder = ShuffleSharder::new(&topology, 8, Some(Level::Zone), 0).unwrap();
    for tenant in 0..200_u32 {
        let shard = sharder.shard(&tenant.to_le_bytes());
        let zone = |at: &NodeIdx| usize::from(topology.domain(*at, Level::Zone).unwrap());
        let mut members = counts(3, shard.iter().map(zone));
        members.sort_unstable();
        assert_eq!(members, [1, 3, 4]);
    }
}

/// What is computed agrees with what is counted, and adds up to one.
#[test]
fn overlap_of_shards() {
    let sharder = ShuffleSharder::new(&nodes(20, |_| 1), 4, None, 0).unwrap();
    let shards: Vec<Vec<NodeIdx>> =
        (0..600_u32).map(|tenant| sharder.shard(&tenant.to_le_bytes())).collect();
    let mut common = [0_u64; 5];
    let mut pairs = 0.0;
    for (at, a) in shards.iter().enumerate() {
        for b in &shards[..at] {
            common[a.iter().filter(|node| b.contains(node)).count()] += 1;
            pairs += 1.0;
        }
    }
    for (count, found) in common.iter().enumerate() {
        let expected = overlap_probability(20, 4, u32::try_from(count).unwrap());
        assert!((*found as f64 / pairs - expected).abs() < 0.01, "{count} in common");
    }
    for (nodes, shard) in [(1, 1), (20, 4), (5_000, 300), (100_000, 50_000)] {
        let sum: f64 = (0..=shard)
            .step_by(if shard > 9_999 { 50_000 } else { 1 })
            .map(|common| overlap_probability(nodes, shard, common))
            .sum();
        assert!(shard > 9_999 || (sum - 1.0).abs() < 1e-9, "{nodes} and {shard}: {sum}");
    }
    assert_eq!(overlap_probability(3, 4, 1), 0.0);
    assert_eq!(overlap_probability(10, 4, 5), 0.0);
    assert_eq!(overlap_probability(0, 0, 0), 1.0);
}

#[test]
fn routing_allocates_nothing() -> Result<(), BuildError> {
    let topology = nodes(12, |id| 1 + u16::try_from(id % 3).unwrap());
    let rendezvous = Rendezvous::new(&topology, KeyHash::default());
    let maglev = Maglev::build(&topology, &MaglevConfig::default())?;
    let balanced = BoundedLoad::new(maglev.clone(), 1_001)?;
    let sharder = ShuffleSharder::new(&topology, 5, Some(Level::Host), 0)?;
    let rules = Rules::new(3).at_most(Level::Host, 1);
    let mut ranges = RangeMap::new(RangeId::new(0), &[NodeId::new(1)]).unwrap();
    for id in 1..1_000_u64 {
        let at = (id * 7919 % 1000).to_be_bytes();
        let range = ranges.locate(&at);
        if *range.start != at {
            ranges = ranges.split(range.id, range.epoch, &at, RangeId::new(id)).unwrap();
        }
    }
    let rebuilt = balanced.rebuilt(maglev.clone());
    let mut out = [NodeIdx::new(0); 8];
    let allocated = allocations(|| {
        for key in 0..300_u64 {
            let key = key.to_be_bytes();
            let _ = (rendezvous.owner(&key), maglev.owner(&key), ranges.locate(&key).id);
            let _ = (rendezvous.top_at(7, &mut out), maglev.candidates_at(7, &mut out));
            let _ =
                (rendezvous.replicas_into(9, &rules, &mut out), sharder.shard_into(&key, &mut out));
            let _ = ranges.range(&key, None).take(3).count();
            let permits = [0; 9].map(|_| balanced.pick(b"hot"));
            drop((permits, rebuilt.pick(&key)));
        }
    });
    assert_eq!(allocated, 0);
    Ok(())
}
