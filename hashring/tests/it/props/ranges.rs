//! Range maps against a model: a map from starts to ranges.

use crate::random::{Random, seeds};
use quorate_hashring::{
    CacheConfig, Epoch, KeyRange, Learned, NodeId, RangeCache, RangeError, RangeId, RangeMap,
    Segmented,
};
use std::collections::BTreeMap;

/// What the map should hold: by start, id, epoch and replicas.
type Model = BTreeMap<Vec<u8>, (u64, u64, Vec<NodeId>)>;

fn node(id: u64) -> NodeId {
    NodeId::new(id)
}

/// Keys that tie in their prefixes as often as not.
fn key(random: &mut Random) -> Vec<u8> {
    let stems: [&[u8]; 4] = [b"", b"user/0000", b"a", b"\0\0\0\0\0\0\0\0"];
    let mut key = random.pick(&stems).to_vec();
    for _ in 0..random.below(4) {
        key.push(*random.pick(b"\0\x01ab\xff"));
    }
    key
}

fn row(random: &mut Random) -> Vec<NodeId> {
    let mut row: Vec<NodeId> = Vec::new();
    for _ in 0..=random.below(3) {
        let next = node(1 + random.next() % 9);
        if !row.contains(&next) {
            row.push(next);
        }
    }
    row
}

/// The range of the model that holds a key: its start.
fn holder(model: &Model, key: &[u8]) -> Vec<u8> {
    model.range(..=key.to_vec()).next_back().unwrap().0.clone()
}

fn check(map: &RangeMap, model: &Model, random: &mut Random) {
    assert_eq!(map.len(), model.len());
    let ends = model.keys().skip(1).map(Some).chain([None]);
    for ((range, (start, (id, epoch, row))), end) in map.iter().zip(model).zip(ends) {
        assert_eq!(*range.start, **start);
        assert_eq!(range.end.as_deref(), end.map(Vec::as_slice));
        assert_eq!((range.id.value(), range.epoch.value()), (*id, *epoch));
        assert_eq!(*range.replicas, **row);
        assert_eq!(map.get(range.id), Some(range));
    }
    for _ in 0..8 {
        let probe = key(random);
        let located = map.locate(&probe);
        assert!(located.contains(&probe));
        assert_eq!(*located.start, *holder(model, &probe));
        let to = key(random);
        let scanned: Vec<&KeyRange> = map.range(&probe, Some(&to)).collect();
        let expected = map.iter().filter(|range| {
            probe < to && *range.start < *to && range.end.as_ref().is_none_or(|end| **end > *probe)
        });
        assert_eq!(scanned, expected.collect::<Vec<_>>());
    }
}

/// One operation on both; refusals must agree.
fn step(map: &RangeMap, model: &mut Model, random: &mut Random, next_id: &mut u64) -> RangeMap {
    let at = key(random);
    let start = holder(model, &at);
    let (id, epoch, nodes) = model[&start].clone();
    // Every eighth names an epoch that is gone.
    let asked = if random.below(8) == 0 { epoch.wrapping_sub(1) } else { epoch };
    let (range_id, range_epoch) = (RangeId::new(id), Epoch::new(asked));
    let stale = Err(RangeError::WrongEpoch { id: range_id, have: Epoch::new(epoch) });
    let result = match random.below(3) {
        0 => {
            let new = RangeId::new(*next_id);
            let result = map.split(range_id, range_epoch, &at, new);
            if asked == epoch && at == start {
                assert_eq!(result, Err(RangeError::OutOfRange { id: range_id }));
                return map.clone();
            }
            if asked == epoch {
                model.insert(start, (id, epoch + 1, nodes.clone()));
                model.insert(at, (*next_id, epoch + 1, nodes));
                *next_id += 1;
            }
            result
        }
        1 => {
            let next = model
                .range(start.clone()..)
                .nth(1)
                .map(|(key, value)| (key.clone(), value.clone()));
            let Some((next_start, (right, right_epoch, right_nodes))) = next else {
                return map.clone();
            };
            let right = (RangeId::new(right), Epoch::new(right_epoch));
            let result = map.merge((range_id, range_epoch), right);
            let (mut a, mut b) = (nodes.clone(), right_nodes);
            a.sort_unstable();
            b.sort_unstable();
            if asked == epoch && a != b {
                let refused = RangeError::ReplicasDiffer { left: range_id, right: right.0 };
                assert_eq!(result, Err(refused));
                return map.clone();
            }
            if asked == epoch {
                model.remove(&next_start);
                model.insert(start, (id, epoch.max(right_epoch) + 1, nodes));
            }
            result
        }
        _ => {
            let nodes = row(random);
            let result = map.reassign(range_id, range_epoch, &nodes);
            if asked == epoch {
                model.insert(start, (id, epoch + 1, nodes));
            }
            result
        }
    };
    if asked != epoch {
        assert_eq!(result, stale);
        return map.clone();
    }
    result.unwrap()
}

fn begin() -> (RangeMap, Model) {
    let map = RangeMap::new(RangeId::new(0), &[node(1)]).unwrap();
    let model = Model::from([(Vec::new(), (0, 1, vec![node(1)]))]);
    (map, model)
}

#[test]
fn two_thousand_sequences_against_a_model() {
    for seed in seeds(2_000) {
        let mut random = Random::new(seed);
        let ((mut map, mut model), mut next_id) = (begin(), 1);
        for _ in 0..40 {
            map = step(&map, &mut model, &mut random, &mut next_id);
        }
        check(&map, &model, &mut random);
        assert_eq!(RangeMap::decode(&map.encode()).unwrap(), map);
    }
}

/// Thousands of ranges, so that chunks are cut in two, emptied and joined; versions before a change
/// stay as they were.
#[test]
fn many_chunks_and_old_versions() {
    let mut random = Random::new(7);
    let (mut map, mut model) = begin();
    for id in 1..4_000_u64 {
        let at = format!("key/{:016x}", random.next()).into_bytes();
        let start = holder(&model, &at);
        let (left, epoch, nodes) = model[&start].clone();
        map = map.split(RangeId::new(left), Epoch::new(epoch), &at, RangeId::new(id)).unwrap();
        model.insert(start, (left, epoch + 1, nodes.clone()));
        model.insert(at, (id, epoch + 1, nodes));
    }
    check(&map, &model, &mut random);
    for probe in (0..10_000).map(|_| format!("key/{:016x}", random.next()).into_bytes()) {
        assert_eq!(*map.locate(&probe).start, *holder(&model, &probe));
    }
    let (grown, grown_model) = (map.clone(), model.clone());
    while model.len() > 3 {
        let at = format!("key/{:016x}", random.next()).into_bytes();
        let start = holder(&model, &at);
        let Some((next, right)) = model.range(start.clone()..).nth(1) else { continue };
        let (next, (right, right_epoch, _)) = (next.clone(), right.clone());
        let (left, epoch, nodes) = model[&start].clone();
        let halves = [(left, epoch), (right, right_epoch)];
        let [a, b] = halves.map(|(id, epoch)| (RangeId::new(id), Epoch::new(epoch)));
        map = map.merge(a, b).unwrap();
        model.remove(&next);
        model.insert(start, (left, epoch.max(right_epoch) + 1, nodes));
        if model.len() % 500 == 0 {
            check(&map, &model, &mut random);
        }
    }
    check(&map, &model, &mut random);
    check(&grown, &grown_model, &mut random);
    assert_eq!(RangeMap::decode(&grown.encode()).unwrap(), grown);
}

/// G8 of range maps: segments tile the key space and name the nodes of their ranges, also after
/// nodes came in an order that is not that of their ids.
#[test]
fn segments_tile_the_space() {
    let mut random = Random::new(3);
    let ((mut map, mut model), mut next_id) = (begin(), 1);
    for _ in 0..300 {
        map = step(&map, &mut model, &mut random, &mut next_id);
        let mut expected_start: Option<std::sync::Arc<[u8]>> = Some(std::sync::Arc::from([]));
        for (segment, range) in map.segments().zip(map.iter()) {
            assert_eq!(Some(segment.start.clone()), expected_start);
            let nodes = map.node_ids();
            let row = segment.replicas.iter().map(|at| nodes[usize::from(at.value())]);
            assert_eq!(row.collect::<Vec<_>>(), *range.replicas);
            expected_start = segment.end;
        }
        assert_eq!(expected_start, None);
    }
}

/// A table of nodes that has seen 65,535 of them is made anew from those still in use.
#[test]
fn nodes_may_come_and_go_for_ever() {
    let (mut map, _) = begin();
    for id in 2..70_000 {
        let range = map.locate(b"");
        map = map.reassign(range.id, range.epoch, &[node(id)]).unwrap();
    }
    assert_eq!(*map.locate(b"").replicas, [node(69_999)]);
    assert!(map.node_ids().len() <= 65_535);
    assert_eq!(RangeMap::decode(&map.encode()).unwrap().node_ids(), [node(69_999)]);
}

/// A client that learns in any order never replaces what it knows by something older: a range that
/// is taken up is newer than all that it knew of its keys, and a refusal changes nothing.
#[test]
fn a_cache_never_goes_back() {
    for seed in seeds(200) {
        let mut random = Random::new(seed);
        let ((mut map, mut model), mut next_id) = (begin(), 1);
        let mut told: Vec<KeyRange> = map.iter().cloned().collect();
        for _ in 0..40 {
            map = step(&map, &mut model, &mut random, &mut next_id);
            told.extend(map.iter().cloned());
        }
        let mut cache = RangeCache::new(CacheConfig::default()).unwrap();
        let probes: Vec<Vec<u8>> = (0..50).map(|_| key(&mut random)).collect();
        let known = |cache: &RangeCache| -> Vec<Option<Epoch>> {
            probes.iter().map(|probe| cache.locate(probe).map(|range| range.epoch)).collect()
        };
        for _ in 0..200 {
            let range = random.pick(&told).clone();
            let before = known(&cache);
            let learned = cache.learn(range.clone());
            let after = known(&cache);
            for ((probe, before), after) in probes.iter().zip(before).zip(after) {
                match learned {
                    Learned::Fresh { .. } if range.contains(probe) => {
                        assert!(before < Some(range.epoch), "seed {seed}: went back");
                        assert_eq!(after, Some(range.epoch));
                    }
                    // Ranges that overlapped the new one are gone as a whole.
                    Learned::Fresh { replaced: 1.. } => assert!(after == before || after.is_none()),
                    _ => assert_eq!(after, before, "seed {seed}"),
                }
            }
        }
        for range in map.iter() {
            let _ = cache.learn(range.clone());
        }
        assert!(probes.iter().all(|probe| cache.locate(probe) == Some(map.locate(probe))));
    }
}
