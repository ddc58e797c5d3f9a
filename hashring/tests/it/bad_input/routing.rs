//! Maglev, rendezvous, bounded load, shuffle shards and the named modes: settings that cannot work.

use crate::contract::cluster;
use quorate_hashring::compat::{CompatError, EnvoyHash, envoy_maglev, envoy_ring_hash};
use quorate_hashring::{
    BoundedLoad, BuildError, KeyHash, Level, Maglev, MaglevConfig, MaglevEntry, Node, NodeId,
    NodeIdx, Rendezvous, Rules, RulesError, ShuffleSharder, Topology, Weight,
};

const fn out_of_range(name: &'static str, value: u64, min: u64, max: u64) -> BuildError {
    BuildError::OutOfRange { name, value, min, max }
}

#[test]
fn maglev_slots() {
    let topology = cluster(5);
    let build =
        |slots| Maglev::build(&topology, &MaglevConfig::default().slots(slots)).unwrap_err();
    for slots in [0, 1, 16_777_259] {
        assert_eq!(build(slots), out_of_range("slots", slots.into(), 2, 16_777_213));
    }
    for slots in [4, 65_536, 16_777_211] {
        assert_eq!(build(slots), BuildError::NotPrime { slots });
    }
    assert_eq!(build(3), out_of_range("slots", 3, 5, 16_777_213));
    // Nodes without a weight need no slot.
    let drained = topology.to_builder().reweigh(NodeId::new(1), Weight::ZERO);
    let drained = drained.reweigh(NodeId::new(2), Weight::ZERO).build().unwrap();
    assert!(Maglev::build(&drained, &MaglevConfig::default().slots(3)).is_ok());
    assert_eq!(build(4).to_string(), "4 slots: not a prime");
}

#[test]
fn maglev_entries() {
    let topology = cluster(2);
    let entry = |node, offset, skip| MaglevEntry::new(NodeId::new(node), offset, skip, Weight::ONE);
    let build = |entries: &[MaglevEntry]| {
        Maglev::from_entries(&topology, entries, 7, KeyHash::default()).unwrap_err()
    };
    assert_eq!(build(&[entry(3, 0, 1)]), BuildError::UnknownNode { node: 3 });
    assert_eq!(build(&[entry(1, 7, 1)]), out_of_range("offset", 7, 0, 6));
    assert_eq!(build(&[entry(1, 0, 0)]), out_of_range("skip", 0, 1, 6));
    assert_eq!(build(&[entry(1, 0, 7)]), out_of_range("skip", 7, 1, 6));
    let twice = BuildError::DuplicateNode { node: NodeId::new(1) };
    assert_eq!(build(&[entry(1, 0, 1), entry(2, 0, 1), entry(1, 0, 2)]), twice);
    assert_eq!(build(&[]), BuildError::Empty);
    let drained = MaglevEntry::new(NodeId::new(1), 0, 1, Weight::ZERO);
    assert_eq!(build(&[drained]), BuildError::Empty);
}

#[test]
fn rendezvous_rules_and_room() {
    let rendezvous = Rendezvous::new(&cluster(3), KeyHash::default());
    let mut out = [NodeIdx::new(7); 2];
    let mut into = |rules: Rules| rendezvous.replicas_into(1, &rules, &mut out).unwrap_err();
    let none = RulesError::Replicas { value: 0, max: 16 };
    assert_eq!(into(Rules::new(0)), BuildError::Rules(none));
    assert_eq!(into(Rules::new(4)), BuildError::TooFewNodes { have: 3, need: 4 });
    assert_eq!(into(Rules::new(3)), out_of_range("room", 2, 3, 16));
    assert_eq!(out, [NodeIdx::new(7); 2], "nothing was written");
    assert_eq!(rendezvous.top_at(1, &mut []), 0);
}

#[test]
fn factors_of_bounded_load() {
    for factor in [0, 1_000, 10_001, u32::MAX] {
        let rendezvous = Rendezvous::new(&cluster(3), KeyHash::default());
        let error = BoundedLoad::new(rendezvous, factor).unwrap_err();
        assert_eq!(error, out_of_range("factor_permille", factor.into(), 1_001, 10_000));
    }
}

#[test]
fn sizes_of_shards() {
    let topology = cluster(5).to_builder().reweigh(NodeId::new(1), Weight::ZERO).build().unwrap();
    let new = |size| ShuffleSharder::new(&topology, size, Some(Level::Zone), 0).map(|_| ());
    assert_eq!(new(0), Err(out_of_range("size", 0, 1, 65_535)));
    assert_eq!(new(5), Err(BuildError::TooFewNodes { have: 4, need: 5 }));
    assert_eq!(new(4), Ok(()));
    let sharder = ShuffleSharder::new(&topology, 4, None, 0).unwrap();
    let mut out = [NodeIdx::new(7); 3];
    assert_eq!(sharder.shard_into(b"tenant", &mut out), 0);
    assert_eq!(out, [NodeIdx::new(7); 3], "nothing was written");
}

/// Weights at their limits do not overflow.
#[test]
fn the_largest_weights() {
    let nodes = (1..=65_535_u64).map(|id| {
        Node::new(NodeId::new(id)).weight(Weight::from_raw(u32::MAX - u32::from(id == 1)))
    });
    let topology = nodes.fold(Topology::builder(), |all, node| all.node(node)).build().unwrap();
    let maglev = Maglev::build(&topology, &MaglevConfig::default()).unwrap();
    assert_eq!((0..65_535).map(|at| maglev.entries(NodeIdx::new(at))).sum::<u32>(), 65_537);
    let balanced = BoundedLoad::new(maglev, 10_000).unwrap();
    drop((0..10).map(|hash| balanced.pick_at(hash)).collect::<Vec<_>>());
    assert_eq!(balanced.stats().permits, 0);
}

#[test]
fn hosts_of_named_modes() {
    let ring = |hosts: &[(&str, u32)]| envoy_ring_hash(hosts, 8, 64, EnvoyHash::Xx).unwrap_err();
    let maglev = |hosts: &[(&str, u32)]| envoy_maglev(hosts, 7).unwrap_err();
    for build in [ring, maglev] {
        assert_eq!(build(&[]), CompatError::NoHost);
        let twice = CompatError::DuplicateHost { position: 2 };
        assert_eq!(build(&[("a", 1), ("b", 1), ("a", 2)]), twice);
        assert_eq!(build(&[("a", 0)]), CompatError::Weights { sum: 0 });
        let sum = u64::from(u32::MAX) + 1;
        assert_eq!(build(&[("a", u32::MAX), ("b", 1)]), CompatError::Weights { sum });
        let names: Vec<String> = (0..65_536).map(|i| i.to_string()).collect();
        let many: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let error = CompatError::TooManyHosts { have: 65_536, max: 65_535 };
        assert_eq!(build(&many), error);
    }
    for (size_min, size_max) in [(0, 8), (9, 8), (1, 8_388_609)] {
        let error = envoy_ring_hash(&[("a", 1)], size_min, size_max, EnvoyHash::Xx).unwrap_err();
        assert_eq!(error, CompatError::Sizes { size_min, size_max, max: 8_388_608 });
    }
    for size in [0, 1, 8, 5_000_017, u64::MAX] {
        assert_eq!(envoy_maglev(&[("a", 1)], size), Err(CompatError::NotPrime { size }));
    }
    // The lightest and the heaviest that pass together.
    assert!(envoy_ring_hash(&[("a", u32::MAX - 1), ("b", 1)], 1, 1024, EnvoyHash::Xx).is_ok());
    let table = envoy_maglev(&[("a", u32::MAX - 1), ("b", 1)], 101).unwrap();
    assert_eq!(table.slots().iter().filter(|slot| **slot == 1).count(), 1);
}

#[cfg(feature = "ketama")]
#[test]
fn servers_of_ketama() {
    use quorate_hashring::compat::{Ketama, Server, ketama};
    let server = |host, port, weight| Server::new(host, port, weight);
    let build = |servers: &[Server<'_>]| ketama(servers, Ketama::Libketama).map(|_| ());
    assert_eq!(build(&[]), Err(CompatError::NoHost));
    let twice = [server("a", 1, 1), server("a", 2, 1), server("a", 1, 5)];
    assert_eq!(build(&twice), Err(CompatError::DuplicateHost { position: 2 }));
    assert_eq!(build(&[server("a", 1, 0)]), Err(CompatError::Weights { sum: 0 }));
    let sum = u64::from(u32::MAX) * 2;
    let heavy = [server("a", 1, u32::MAX), server("b", 1, u32::MAX)];
    assert_eq!(build(&heavy), Err(CompatError::Weights { sum }));
}
