//! Operations on a map of ranges, beside a map from starts: both take and refuse the same, hold the
//! same, and older versions stay as they were. A client's cache hears of some of it.
//!
//! Each four bytes: what to do, a key, and two numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_hashring::{
    CacheConfig, Epoch, NodeId, RangeCache, RangeError, RangeId, RangeMap, Segmented, diff,
};
use std::collections::BTreeMap;

/// By start: id, epoch and nodes.
type Model = BTreeMap<Vec<u8>, (u64, u64, Vec<NodeId>)>;

/// Keys that tie in their first eight bytes as often as not.
fn key(byte: u8) -> Vec<u8> {
    let stems: [&[u8]; 4] = [b"", b"a", b"user/000", b"\0\0\0\0\0\0\0\0\0"];
    let mut key = stems[usize::from(byte & 3)].to_vec();
    key.extend_from_slice(&[0, b'a', 0xFF, byte >> 4][..usize::from(byte >> 2 & 3)]);
    if byte & 0x80 != 0 {
        key.push(byte);
    }
    key
}

fn nodes(bits: u8) -> Vec<NodeId> {
    let set = (0..8_u64).filter(|bit| bits >> bit & 1 == 1).map(|bit| NodeId::new(bit + 1));
    let mut all: Vec<NodeId> = set.collect();
    if bits & 0x10 != 0 {
        all.reverse();
    }
    all
}

fn starts(model: &Model, key: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let start = model.range(..=key.to_vec()).next_back().expect("one begins with nothing").0;
    let next = model.range(start.clone()..).nth(1).map(|(next, _)| next.clone());
    (start.clone(), next)
}

fn split(
    map: &RangeMap,
    model: &mut Model,
    at: Vec<u8>,
    right: u64,
    epoch: u64,
) -> Option<RangeMap> {
    let (start, _) = starts(model, &at);
    let (id, have, row) = model[&start].clone();
    let split = map.split(RangeId::new(id), Epoch::new(epoch), &at, RangeId::new(right));
    let id_in_use = model.values().any(|(id, ..)| *id == right);
    if epoch != have {
        assert_eq!(
            split,
            Err(RangeError::WrongEpoch { id: RangeId::new(id), have: Epoch::new(have) })
        );
    } else if at == start {
        assert_eq!(split, Err(RangeError::OutOfRange { id: RangeId::new(id) }));
    } else if id_in_use {
        assert_eq!(split, Err(RangeError::IdInUse { id: RangeId::new(right) }));
    } else {
        model.insert(start, (id, have + 1, row.clone()));
        model.insert(at, (right, have + 1, row));
        return Some(split.expect("nothing against it"));
    }
    None
}

fn merge(map: &RangeMap, model: &mut Model, at: &[u8], other: &[u8]) -> Option<RangeMap> {
    let ((left, next), (right, _)) = (starts(model, at), starts(model, other));
    let [(a, a_epoch, a_row), (b, b_epoch, b_row)] =
        [&left, &right].map(|start| model[start].clone());
    let named = |id, epoch| (RangeId::new(id), Epoch::new(epoch));
    let merged = map.merge(named(a, a_epoch), named(b, b_epoch));
    let [mut a_set, mut b_set] = [a_row.clone(), b_row];
    a_set.sort_unstable();
    b_set.sort_unstable();
    let (left_id, right_id) = (RangeId::new(a), RangeId::new(b));
    if next.as_ref() != Some(&right) {
        assert_eq!(merged, Err(RangeError::NotAdjacent { left: left_id, right: right_id }));
    } else if a_set != b_set {
        assert_eq!(merged, Err(RangeError::ReplicasDiffer { left: left_id, right: right_id }));
    } else {
        model.remove(&right);
        model.insert(left, (a, a_epoch.max(b_epoch) + 1, a_row));
        return Some(merged.expect("nothing against it"));
    }
    None
}

fn reassign(map: &RangeMap, model: &mut Model, at: &[u8], row: Vec<NodeId>) -> Option<RangeMap> {
    let (start, _) = starts(model, at);
    let (id, epoch, _) = model[&start];
    let reassigned = map.reassign(RangeId::new(id), Epoch::new(epoch), &row);
    if row.is_empty() {
        assert!(matches!(reassigned, Err(RangeError::Limit { .. })));
        return None;
    }
    model.insert(start, (id, epoch + 1, row));
    Some(reassigned.expect("nothing against it"))
}

fn same(map: &RangeMap, model: &Model) {
    assert_eq!(map.len(), model.len());
    let ends = model.keys().skip(1).map(|end| Some(&**end)).chain([None]);
    for ((range, (start, (id, epoch, row))), end) in map.iter().zip(model).zip(ends) {
        assert_eq!((&*range.start, range.end.as_deref()), (&**start, end));
        assert_eq!(
            (range.id.value(), range.epoch.value(), &*range.replicas),
            (*id, *epoch, &**row)
        );
        assert_eq!(map.get(range.id), Some(range));
        assert_eq!(map.locate(start), range);
    }
    let segments = map.segments().map(|segment| segment.start);
    assert!(segments.eq(map.iter().map(|range| range.start.clone())));
}

fuzz_target!(|data: &[u8]| {
    let first = vec![NodeId::new(1)];
    let mut map = RangeMap::new(RangeId::new(0), &first).expect("one node");
    let mut model = Model::from([(Vec::new(), (0, 1, first))]);
    let (begin, begin_model) = (map.clone(), model.clone());
    let mut cache = RangeCache::new(CacheConfig::default().ranges_max(8)).expect("in range");
    for step in data.chunks_exact(4) {
        let (at, other) = (key(step[1]), key(step[2]));
        let next = match step[0] % 5 {
            0 | 1 => {
                let have = model[&starts(&model, &at).0].1;
                let epoch = if step[0] & 0x80 == 0 { have } else { u64::from(step[3]) };
                split(&map, &mut model, at, u64::from(step[2]), epoch)
            }
            2 => merge(&map, &mut model, &at, &other),
            3 => reassign(&map, &mut model, &at, nodes(step[3])),
            _ => {
                let known = cache.locate(&at).cloned();
                if let Some(known) = &known {
                    assert!(known.contains(&at) && known.epoch <= map.locate(&at).epoch);
                    if let Err(stale) = map.check(&at, known.id, known.epoch) {
                        for range in stale.fresh {
                            let _ = cache.learn(range);
                        }
                        assert_eq!(cache.locate(&at), Some(map.locate(&at)));
                    }
                } else {
                    let _ = cache.learn(map.locate(&at).clone());
                    assert_eq!(cache.locate(&at), Some(map.locate(&at)));
                }
                None
            }
        };
        map = next.unwrap_or(map);
    }
    same(&map, &model);
    same(&begin, &begin_model);
    let bytes = map.encode();
    let back = RangeMap::decode(&bytes).expect("we wrote it");
    assert_eq!((&back, back.encode()), (&map, bytes));
    assert!(diff(&map, &back).expect("one space").is_empty());
});
