//! Topologies, rules, rings, tables and their encodings.

use crate::contract::{cluster, rules, table};
use quorate_hashring::{
    Assign, AssignError, BuildError, DecodeError, KeyHash, Level, Node, NodeId, NodeIdx, Partition,
    PartitionTable, Primaries, Ring, RingConfig, RowFault, Rules, RulesError, SipKey, Topology,
    TopologyViolation, Weight,
};

#[test]
fn topologies_name_every_violation() {
    let long = "x".repeat(65);
    let error = Topology::builder()
        .node(Node::new(NodeId::new(3)).weight(Weight::ZERO).at(Level::Rack, &long))
        .node(Node::new(NodeId::new(3)).weight(Weight::ZERO))
        .remove(NodeId::new(8))
        .build()
        .unwrap_err();
    let node = NodeId::new(3);
    let expected = [
        TopologyViolation::UnknownNode { node: NodeId::new(8) },
        TopologyViolation::DuplicateNode { node },
        TopologyViolation::NoWeight,
        TopologyViolation::NameTooLong { node, level: Level::Rack, length: 65, max: 64 },
    ];
    assert_eq!(error.violations(), expected);
    let text = "node 8 is not in the topology; node 3 given twice; no node has a weight above \
                zero; the rack of node 3 has a name of 65 bytes, limit 64";
    assert_eq!(error.to_string(), text);
}

#[test]
fn rules_that_cannot_work_are_refused() {
    for replicas in [0, 17, 255] {
        let expected = RulesError::Replicas { value: replicas, max: 16 };
        assert_eq!(Rules::new(replicas).validate(), Err(expected));
        let error = Ring::build(&cluster(3), &Rules::new(replicas), &RingConfig::default());
        assert_eq!(error, Err(BuildError::Rules(expected)));
    }
    let zero = Rules::new(3).at_most(Level::Rack, 0);
    assert_eq!(zero.validate(), Err(RulesError::Zero { level: Level::Rack }));
    let error = Assign::new(&cluster(3), &zero).solve().unwrap_err();
    assert_eq!(error.to_string(), "a rule allows 0 replicas in a rack");
}

#[test]
fn infeasible_rules_say_what_is_missing() {
    let error = Ring::build(&cluster(2), &Rules::new(3), &RingConfig::default()).unwrap_err();
    assert_eq!(error, BuildError::TooFewNodes { have: 2, need: 3 });
    let rules = Rules::new(5).at_most(Level::Zone, 1);
    let error = Ring::build(&cluster(9), &rules, &RingConfig::default()).unwrap_err();
    assert_eq!(error, BuildError::TooFewDomains { level: Level::Zone, have: 3, need: 5 });
    let error = Assign::new(&cluster(9), &rules).solve().unwrap_err();
    assert_eq!(error.to_string(), "too few domains: 3 at level zone, the rules need 5");
}

#[test]
fn settings_out_of_range_are_refused() {
    let topology = cluster(3);
    for vnodes in [0, 4_097] {
        let error =
            Ring::build(&topology, &rules(), &RingConfig::default().vnodes(vnodes)).unwrap_err();
        let value = u64::from(vnodes);
        let expected = BuildError::OutOfRange { name: "vnodes", value, min: 1, max: 4_096 };
        assert_eq!(error, expected);
    }
    let heavy = topology.to_builder().reweigh(NodeId::new(1), Weight::units(60_000));
    let error = Ring::build(&heavy.build().unwrap(), &rules(), &RingConfig::default());
    let expected = BuildError::TooManyTokens { have: 9_600_320, max: 4_194_304 };
    assert_eq!(error.unwrap_err(), expected);
    let rules = rules();
    let assign = Assign::new(&topology, &rules);
    let refused = |assign: Assign<'_>, name, value, min, max| {
        let expected = BuildError::OutOfRange { name, value, min, max };
        assert_eq!(assign.solve().unwrap_err(), AssignError::Build(expected));
    };
    refused(assign.clone().partition_bits(17), "partition_bits", 17, 0, 16);
    refused(assign.clone().imbalance_ppm(500_001), "imbalance_ppm", 500_001, 0, 500_000);
    refused(assign.clone().moves_max(0), "moves_max", 0, 1, u64::from(u32::MAX));
    let largest = Assign::new(&topology, &rules).partition_bits(16).solve().unwrap().into_table();
    let expected = BuildError::OutOfRange { name: "partition_bits", value: 17, min: 0, max: 16 };
    assert_eq!(largest.doubled().unwrap_err(), expected);
}

#[test]
fn points_and_rows_from_elsewhere_are_checked() {
    let topology = cluster(4);
    let points = |points| Ring::from_points(&topology, &Rules::new(1), KeyHash::default(), points);
    assert_eq!(points(Vec::new()).unwrap_err(), BuildError::Empty);
    let foreign = vec![(1, NodeIdx::new(4))];
    assert_eq!(points(foreign).unwrap_err(), BuildError::UnknownNode { node: 4 });
    let [a, b, c, d] = [1, 2, 3, 4].map(NodeId::new);
    let rules = Rules::new(2).at_most(Level::Zone, 1);
    let rows = |rows: &[Vec<NodeId>]| {
        PartitionTable::from_rows(&topology, &rules, KeyHash::default(), rows).unwrap_err()
    };
    assert_eq!(rows(&[]), BuildError::Empty);
    let three = [vec![a, b], vec![a, b], vec![a, b]];
    assert_eq!(rows(&three), BuildError::RowCount { have: 3 });
    let unknown = [vec![a, NodeId::new(9)]];
    assert_eq!(rows(&unknown), BuildError::UnknownNode { node: 9 });
    let row = |at, reason| BuildError::RowInvalid { partition: Partition::new(at), reason };
    let short = [vec![a, b], vec![a]];
    assert_eq!(rows(&short), row(1, RowFault::Length { have: 1, need: 2 }));
    let long = [vec![a, b, c]];
    assert_eq!(rows(&long), row(0, RowFault::Length { have: 3, need: 2 }));
    let twice = [vec![b, b]];
    assert_eq!(rows(&twice), row(0, RowFault::Duplicate { node: b }));
    // Nodes 1 and 4 share a zone.
    let crowded = RowFault::Crowded { level: Level::Zone, have: 2, max: 1 };
    assert_eq!(rows(&[vec![a, d]]), row(0, crowded));
    let text = "partition 0: 2 replicas in one zone, the rule allows 1";
    assert_eq!(rows(&[vec![a, d]]).to_string(), text);
}

#[test]
fn a_previous_table_of_another_shape_is_refused() {
    let topology = cluster(6);
    let rules = rules();
    let before = table(&topology);
    let assign = Assign::new(&topology, &rules).previous(&before);
    let mismatch = |assign: Assign<'_>, what, previous, wanted| {
        let expected = AssignError::Mismatch { what, previous, wanted };
        assert_eq!(assign.solve().unwrap_err(), expected);
    };
    mismatch(assign.clone().partition_bits(9), "partition bits", 8, 9);
    mismatch(assign.clone().key_hash(KeyHash::xxh64(0)), "hash function", 1, 2);
    mismatch(assign.clone().key_hash(KeyHash::xxh3(5)), "hash parameter", 0, 5);
    let two = Rules::new(2);
    mismatch(Assign::new(&topology, &two).previous(&before), "replicas", 3, 2);
    // Each row that may be moved needs more than one new placement.
    let swapped = topology
        .nodes()
        .iter()
        .zip(["a", "b", "c", "a", "b", "c"])
        .fold(Topology::builder(), |all, (node, zone)| {
            all.node(Node::new(node.id()).at(Level::Zone, zone))
        });
    let swapped = swapped.build().unwrap();
    let keep = Assign::new(&swapped, &rules).previous(&before).primaries(Primaries::Keep);
    assert_eq!(keep.solve().unwrap().moves(), 0, "the zones have other names only");
}

#[test]
fn a_round_that_fits_no_row_says_what_would() {
    // One partition, and two of its three replicas have to move.
    let topology = cluster(9);
    let rules = rules();
    let [a, b, c] = [1, 2, 3].map(NodeId::new);
    let rows = [vec![a, b, c]];
    let before = PartitionTable::from_rows(&topology, &rules, KeyHash::default(), &rows).unwrap();
    let drained = topology.to_builder().reweigh(a, Weight::ZERO).reweigh(b, Weight::ZERO);
    let drained = drained.build().unwrap();
    let assign = Assign::new(&drained, &rules).previous(&before).moves_max(1);
    assert_eq!(assign.solve().unwrap_err(), AssignError::BudgetTooSmall { least: 2 });
    // A node that is gone cannot wait for the next round.
    let gone = topology.to_builder().remove(a).remove(b).build().unwrap();
    let assign = Assign::new(&gone, &rules).previous(&before).moves_max(1);
    let error = assign.solve().unwrap_err();
    assert_eq!(error.to_string(), "no row moves with less than 2 moves");
}

#[test]
fn rows_cannot_name_a_node_that_the_topology_lacks() {
    let before = table(&cluster(6));
    let held = before.held_by(NodeIdx::new(4)).count();
    let without = cluster(6).to_builder().remove(NodeId::new(5)).build().unwrap();
    let partitions = u32::try_from(held).unwrap();
    let expected = BuildError::NodeMissing { node: NodeId::new(5), partitions };
    assert_eq!(before.rebased(&without).unwrap_err(), expected);
}

#[test]
fn encodings_are_refused_for_what_is_wrong_with_them() {
    let topology = cluster(2);
    let good = topology.encode();
    let length = good.len();
    let decode = |bytes: &[u8]| Topology::decode(bytes).unwrap_err();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(decode(&good[..10]), DecodeError::Truncated { have: 10, need: 28 });
    let short = DecodeError::Truncated { have: length - 1, need: length };
    assert_eq!(decode(&good[..length - 1]), short);
    assert_eq!(decode(b""), DecodeError::Truncated { have: 0, need: 28 });
    let long = [good.as_slice(), &[0]].concat();
    let trailing = DecodeError::Trailing { have: length + 1, expected: length };
    assert_eq!(decode(&long), trailing);
    assert_eq!(decode(&with(0, b'X')), DecodeError::BadMagic);
    assert_eq!(decode(&with(4, 2)), DecodeError::Kind { expected: 1, found: 2 });
    let newer = DecodeError::UnsupportedVersion { found: 2, newest: 1 };
    assert_eq!(decode(&with(5, 2)), newer);
    let damaged = decode(&with(30, 0xEE));
    assert!(matches!(damaged, DecodeError::Checksum { .. }) && damaged.is_corruption());
    // Changed and sealed with a right checksum, but with the digest of what it was.
    let mut forged = with(30, 0xEE);
    let crc = crate::props::codec::crc32(&forged[..length - 4]);
    forged[length - 4..].copy_from_slice(&crc.to_le_bytes());
    let error = decode(&forged);
    assert!(matches!(error, DecodeError::Digest { .. }) && error.is_corruption());
    let huge = [&good[..8], &[0xFF; 4], &good[12..]].concat();
    assert_eq!(decode(&huge), DecodeError::Invalid { what: "body length", offset: 8 });
    let keyed = KeyHash::siphash13(SipKey::new(1, 2));
    let rules = Rules::new(1);
    let table = Assign::new(&topology, &rules).partition_bits(2).key_hash(keyed).solve().unwrap();
    let bytes = table.into_table().encode();
    assert_eq!(PartitionTable::decode(&bytes, None), Err(DecodeError::WrongKey));
    let other = Some(KeyHash::siphash13(SipKey::new(1, 3)));
    assert_eq!(PartitionTable::decode(&bytes, other), Err(DecodeError::WrongKey));
    let unkeyed = Some(KeyHash::default());
    assert_eq!(PartitionTable::decode(&bytes, unkeyed), Err(DecodeError::WrongKey));
}

#[test]
fn positions_cannot_be_kept_when_rows_get_shorter() {
    let rules = Rules::new(3).allow_short();
    let [a, b, c] = [1, 2, 3].map(NodeId::new);
    let rows = [vec![a, b, c]];
    let hash = KeyHash::default();
    let before = PartitionTable::from_rows(&cluster(3), &rules, hash, &rows).unwrap();
    let fewer = cluster(3).to_builder().reweigh(a, Weight::ZERO).build().unwrap();
    let assign = Assign::new(&fewer, &rules).previous(&before);
    let kept = assign.clone().primaries(Primaries::Keep).solve().unwrap_err();
    assert_eq!(kept, AssignError::PositionsShift { have: 3, possible: 2 });
    assert_eq!(kept.to_string(), "rows of 3 cannot keep their positions with 2 replicas");
    assert_eq!(assign.solve().unwrap().moves(), 0);
}

/// What the points were made by is not known, so there is nothing to make others by.
#[test]
fn a_ring_of_given_points_cannot_be_rebuilt() {
    let topology = cluster(3);
    let points = vec![(1, NodeIdx::new(0)), (2, NodeIdx::new(1))];
    let ring = Ring::from_points(&topology, &Rules::new(1), KeyHash::default(), points).unwrap();
    assert_eq!(ring.rebuild(&topology).unwrap_err(), BuildError::Empty);
    assert_eq!(ring.tokens(), [1, 2]);
}
