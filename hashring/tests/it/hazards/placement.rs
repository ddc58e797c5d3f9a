//! Hazards of topologies, rings and hashes.

use crate::contract::{cluster, ring, rows_are_right, rules, segments_tile, table};
use quorate_hashring::{
    Assign, BuildError, KeyHash, Level, Locate, Node, NodeId, NodeIdx, PartitionTable, Replicate,
    Ring, RingConfig, Rules, Segmented, SipKey, Topology, TopologyViolation, Weight,
};

fn ids(ring: &Ring) -> Vec<(u64, NodeId)> {
    let id = |at: NodeIdx| ring.topology().node(at).unwrap().id();
    ring.tokens().iter().copied().zip(ring.owners().map(id)).collect()
}

#[test]
fn h01_tokens_depend_on_the_nodes_own_weight_only() {
    let small = ring(&cluster(6));
    let heavy = cluster(30).to_builder().reweigh(NodeId::new(30), Weight::units(40)).build();
    let large = ids(&ring(&heavy.unwrap()));
    for point in ids(&small) {
        assert!(large.contains(&point), "{point:?} went away because others came");
    }
}

/// Tokens cut down to four bits collide all the time.
fn colliding(nodes: &[u64], topology: &Topology) -> Vec<(u64, NodeIdx)> {
    let mut points = Vec::new();
    for &id in nodes {
        let at = topology.index_of(NodeId::new(id)).unwrap();
        points.extend((0..6).map(|i| ((id * 7 + i * 5) % 16 * (u64::MAX / 15), at)));
    }
    points
}

#[test]
fn h02_colliding_tokens_are_kept_and_ordered() {
    let topology = cluster(6);
    let rules = Rules::new(2);
    let build = |points| Ring::from_points(&topology, &rules, KeyHash::default(), points).unwrap();
    let all = [1, 2, 3, 4, 5, 6];
    let one = build(colliding(&all, &topology));
    let mut other = colliding(&all, &topology);
    other.reverse();
    assert_eq!(one, build(other), "the order of points matters");
    assert_eq!(one.tokens().len(), 36, "a collision took a point away");
    rows_are_right(&one, (0..64).map(|i| i * (u64::MAX / 63)));
    segments_tile(&one);
    // Taking one node's points out leaves every point of the others.
    let fewer = build(colliding(&all[1..], &topology));
    let kept: Vec<_> = ids(&one).into_iter().filter(|(_, id)| id.value() != 1).collect();
    assert_eq!(ids(&fewer), kept);
    for bits in 0..16 {
        let hash = bits * (u64::MAX / 15);
        let before = one.topology().node(one.owner_at(hash)).unwrap().id().value();
        let after = fewer.topology().node(fewer.owner_at(hash)).unwrap().id().value();
        assert!(before == after || before == 1, "a key went from {before} to {after}");
    }
}

#[test]
fn h03_no_two_nodes_spell_the_same_token() {
    // "1" + "11" and "11" + "1".
    let topology = [1, 11, 111].map(|id| Node::new(NodeId::new(id)));
    let topology = topology.into_iter().fold(Topology::builder(), |all, node| all.node(node));
    let topology = topology.build().unwrap();
    let config = RingConfig::default().vnodes(4_096);
    let ring = Ring::build(&topology, &Rules::new(1), &config).unwrap();
    assert!(ring.tokens().windows(2).all(|pair| pair[0] < pair[1]), "two tokens are equal");
}

#[test]
fn h04_neither_list_order_nor_join_history_shows() {
    let at_once = cluster(9);
    let mut grown = cluster(3);
    for id in [9, 4, 7, 5, 8, 6] {
        let node = at_once.node(at_once.index_of(NodeId::new(id)).unwrap()).unwrap().clone();
        grown = grown.to_builder().node(node).build().unwrap();
    }
    assert_eq!(grown, at_once);
    assert_eq!(grown.digest(), at_once.digest());
    assert_eq!(ring(&grown), ring(&at_once));
    assert_eq!(ring(&cluster(3)).rebuild(&grown).unwrap(), ring(&at_once));
}

#[test]
fn h05_hashes_are_those_of_the_specifications() {
    // Published values of XXH3 and XXH64 of nothing, with seed 0.
    assert_eq!(KeyHash::xxh3(0).hash(b""), 0x2D06_8005_38D3_94C2);
    assert_eq!(KeyHash::xxh64(0).hash(b""), 0xEF46_DB37_51D8_E999);
    assert_eq!(KeyHash::default(), KeyHash::xxh3(0));
    let topology = cluster(3);
    let with = |hash| Ring::build(&topology, &rules(), &RingConfig::default().key_hash(hash));
    assert_ne!(with(KeyHash::xxh3(0)).unwrap(), with(KeyHash::xxh64(0)).unwrap());
}

#[test]
fn h07_replica_lists_hold_distinct_nodes_also_around_the_end() {
    // Two nodes on one host, and the last tokens of the ring all of one node.
    let mut builder = Topology::builder();
    for id in 1..=6 {
        builder = builder.node(Node::new(NodeId::new(id)).at(Level::Host, &(id / 2).to_string()));
    }
    let topology = builder.build().unwrap();
    let rules = Rules::new(3).at_most(Level::Host, 1);
    let mut points: Vec<_> = (0..6).map(|at| (u64::from(at) * 100, NodeIdx::new(at))).collect();
    points.extend((0..10).map(|i| (u64::MAX - i, NodeIdx::new(5))));
    let ring = Ring::from_points(&topology, &rules, KeyHash::default(), points).unwrap();
    let tokens = ring.tokens().to_vec();
    rows_are_right(&ring, tokens.iter().copied());
    rows_are_right(&ring, [0, 1, 550, u64::MAX - 20, u64::MAX].into_iter());
}

#[test]
fn h08_the_owner_is_the_first_replica() {
    let topology = cluster(12);
    let hashes = || (0..5_000_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    rows_are_right(&ring(&topology), hashes());
    rows_are_right(&table(&topology), hashes());
    for key in 0..1_000_u32 {
        let key = key.to_le_bytes();
        assert_eq!(ring(&topology).owner(&key), ring(&topology).replicas(&key)[0]);
    }
}

#[test]
fn h09_positions_come_from_sorted_ids() {
    let topology = cluster(9);
    let shuffled = topology.nodes().iter().rev().cloned();
    let shuffled = shuffled.fold(Topology::builder(), |all, node| all.node(node)).build().unwrap();
    for id in 1..=9 {
        let at = topology.index_of(NodeId::new(id)).unwrap();
        assert_eq!(u64::from(at.value()), id - 1);
        assert_eq!(shuffled.index_of(NodeId::new(id)), Some(at));
    }
    // Taking a node out and putting it back gives everyone the position it had.
    let without = topology.to_builder().remove(NodeId::new(4)).build().unwrap();
    let node = topology.node(NodeIdx::new(3)).unwrap().clone();
    assert_eq!(without.to_builder().node(node).build().unwrap(), topology);
}

#[test]
fn h10_zero_and_tiny_weights_and_too_many_nodes() {
    let zero = Node::new(NodeId::new(1)).weight(Weight::ZERO);
    let error = Topology::builder().node(zero).build().unwrap_err();
    assert_eq!(error.violations(), [TopologyViolation::NoWeight]);
    assert!(Topology::builder().build().is_err(), "no node at all");
    let many =
        (1..=65_536).fold(Topology::builder(), |all, id| all.node(Node::new(NodeId::new(id))));
    let error = many.build().unwrap_err();
    assert_eq!(error.violations(), [TopologyViolation::TooManyNodes { have: 65_536, max: 65_535 }]);
    // The smallest weight there is still gets a token.
    let small = cluster(3).to_builder().reweigh(NodeId::new(2), Weight::from_raw(1));
    let ring =
        Ring::build(&small.build().unwrap(), &Rules::new(1), &RingConfig::default()).unwrap();
    assert_eq!(ring.owners().filter(|at| at.value() == 1).count(), 1);
    // A drained node gets nothing.
    let drained = cluster(4).to_builder().reweigh(NodeId::new(2), Weight::ZERO).build().unwrap();
    let ring = Ring::build(&drained, &Rules::new(1), &RingConfig::default()).unwrap();
    assert!(ring.owners().all(|at| at.value() != 1));
    let table = Assign::new(&drained, &Rules::new(2)).solve().unwrap().into_table();
    assert_eq!(table.held_by(NodeIdx::new(1)).count(), 0);
}

#[test]
fn h22_simultaneous_joiners_have_tokens_of_their_own() {
    // Two nodes join without knowing of each other: each computes its tokens from its own id.
    let base = cluster(6);
    let joined = |id: u64, base: &Topology| {
        base.to_builder()
            .node(Node::new(NodeId::new(id)).at(Level::Zone, "zone 0"))
            .build()
            .unwrap()
    };
    let (a, b) = (ring(&joined(7, &base)), ring(&joined(8, &base)));
    let both = ring(&joined(8, &joined(7, &base)));
    let mut merged: Vec<_> = ids(&a).into_iter().chain(ids(&b)).collect();
    merged.sort_unstable();
    merged.dedup();
    assert_eq!(ids(&both), merged);
    assert!(both.tokens().windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn h24_a_walk_meets_each_node_once() {
    let topology = cluster(9);
    let ring = ring(&topology);
    for hash in [0, 1 << 40, u64::MAX / 3, u64::MAX] {
        let order: Vec<NodeIdx> = ring.walk_at(hash).collect();
        assert_eq!(order.len(), 9, "every node is tried");
        assert!((1..9).all(|at| !order[..at].contains(&order[at])), "a retry picks {order:?}");
        assert_eq!(order[0], ring.owner_at(hash));
    }
}

#[test]
fn h25_doubling_moves_no_key_because_partitions_are_top_bits() {
    let table = table(&cluster(9));
    let doubled = table.doubled().unwrap();
    assert_eq!(doubled.partitions(), 2 * table.partitions());
    for i in 0..10_000_u64 {
        let hash = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        assert_eq!(doubled.replicas_at(hash), table.replicas_at(hash));
        assert_eq!(doubled.partition_at(hash).value() >> 1, table.partition_at(hash).value());
        // The low bits say nothing about the partition.
        assert_eq!(table.partition_at(hash), table.partition_at(hash ^ 0xFFFF_FFFF));
    }
}

#[test]
fn h26_the_secret_of_a_keyed_hash_shows_nowhere() {
    let (low, high) = (0x0123_4567_89AB_CDEF_u64, 0xFEDC_BA98_7654_3210_u64);
    let hash = KeyHash::siphash13(SipKey::new(low, high));
    let debug = format!("{hash:?} {:?}", SipKey::new(low, high));
    for half in [low, high] {
        assert!(!debug.contains(&half.to_string()) && !debug.contains(&format!("{half:x}")));
    }
    let topology = cluster(3);
    let table = Assign::new(&topology, &rules()).partition_bits(4).key_hash(hash).solve();
    let bytes = table.unwrap().into_table().encode();
    for half in [low, high] {
        assert!(!crate::contains(&bytes, &half.to_le_bytes()), "the encoding holds the key");
        assert!(!crate::contains(&bytes, &half.to_be_bytes()), "the encoding holds the key");
    }
    assert!(PartitionTable::decode(&bytes, None).is_err());
    let other = KeyHash::siphash13(SipKey::new(low, high ^ 1));
    assert!(PartitionTable::decode(&bytes, Some(other)).is_err());
    assert!(PartitionTable::decode(&bytes, Some(hash)).is_ok());
    // With the key the placement is another one than without: nobody can aim.
    assert_ne!(hash.hash(b"key"), KeyHash::default().hash(b"key"));
}

#[test]
fn h28_bounds_and_their_neighbours() {
    let ring = ring(&cluster(7));
    let (tokens, owners): (Vec<u64>, Vec<NodeIdx>) =
        (ring.tokens().to_vec(), ring.owners().collect());
    let next = |hash: u64| tokens.iter().position(|&token| token >= hash).unwrap_or(0);
    let near = tokens.iter().flat_map(|&t| [t.wrapping_sub(1), t, t.wrapping_add(1)]);
    for hash in near.chain([0, 1, u64::MAX - 1, u64::MAX]) {
        assert_eq!(ring.owner_at(hash), owners[next(hash)], "at {hash:#x}");
    }
    let ends = [(0, 0), (u64::MAX, 1)].map(|(token, at)| (token, NodeIdx::new(at)));
    let ends = Ring::from_points(&cluster(3), &Rules::new(1), KeyHash::default(), ends.to_vec());
    let ends = ends.unwrap();
    assert_eq!(ends.owner_at(0).value(), 0);
    assert_eq!(ends.owner_at(1).value(), 1);
    assert_eq!(ends.owner_at(u64::MAX).value(), 1);
    segments_tile(&ends);
    let table = table(&cluster(3));
    for at in 0..table.partitions() {
        let start = u64::from(at) << (64 - table.bits());
        assert_eq!(u32::from(table.partition_at(start).value()), at);
        let before = start.wrapping_sub(1);
        let expected = at.checked_sub(1).unwrap_or_else(|| table.partitions() - 1);
        assert_eq!(u32::from(table.partition_at(before).value()), expected);
    }
}

#[test]
fn h31_equal_names_under_different_parents_are_different_domains() {
    let mut builder = Topology::builder();
    for (id, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        let node = Node::new(NodeId::new(id)).at(Level::Zone, zone).at(Level::Rack, "rack 1");
        builder = builder.node(node);
    }
    let topology = builder.build().unwrap();
    assert_eq!(topology.domains(Level::Rack), 2);
    // One replica per rack: possible, since there are two racks of this name.
    let rules = Rules::new(2).at_most(Level::Rack, 1);
    let table = Assign::new(&topology, &rules).partition_bits(4).solve().unwrap().into_table();
    rows_are_right(&table, (0..16).map(|row| row << 60));
    let three = Rules::new(3).at_most(Level::Rack, 1);
    let error = Ring::build(&topology, &three, &RingConfig::default()).unwrap_err();
    assert_eq!(error, BuildError::TooFewDomains { level: Level::Rack, have: 2, need: 3 });
}

/// A row names an id as holder of its data. A machine that comes back empty must take another id:
/// with the old one nothing would be copied.
#[test]
fn h32_a_reused_id_counts_as_a_holder_and_a_new_one_does_not() {
    let before = table(&cluster(6));
    let same_id = Assign::new(&cluster(6), &rules()).previous(&before).solve().unwrap();
    assert_eq!(same_id.moves(), 0, "an id is a promise to hold the data");
    let held = before.held_by(NodeIdx::new(5)).count();
    let new_id = cluster(6).to_builder().remove(NodeId::new(6));
    let new_id = new_id.node(Node::new(NodeId::new(60)).at(Level::Zone, "zone 0")).build().unwrap();
    let assignment = Assign::new(&new_id, &rules()).previous(&before).solve().unwrap();
    assert_eq!(assignment.moves() as usize, held);
    assert_eq!(assignment.table().node_ids().last(), Some(&NodeId::new(60)));
}
