//! Hazards of key ranges.

use quorate_hashring::{
    CacheConfig, Epoch, KeyRange, Learned, NodeId, RangeCache, RangeError, RangeId, RangeMap,
};

const A: NodeId = NodeId::new(1);
const B: NodeId = NodeId::new(2);

fn halves() -> (RangeMap, KeyRange, KeyRange) {
    let map = RangeMap::new(RangeId::new(1), &[A, B]).unwrap();
    let map = map.split(RangeId::new(1), Epoch::new(1), b"m", RangeId::new(2)).unwrap();
    let (left, right) = (map.locate(b"a").clone(), map.locate(b"z").clone());
    (map, left, right)
}

/// M34: a client that knows the whole range must notice at either half that it is gone.
#[test]
fn h40_split_makes_both_halves_newer() {
    let whole = Epoch::new(1);
    let (map, left, right) = halves();
    assert_eq!((left.epoch, right.epoch), (Epoch::new(2), Epoch::new(2)));
    for key in [b"a", b"z"] {
        let stale = map.check(key, RangeId::new(1), whole).unwrap_err();
        assert_eq!(stale.fresh, [left.clone(), right.clone()]);
    }
    assert_eq!(map.check(b"a", left.id, left.epoch), Ok(&left));
}

/// M35: answers overtake each other on the way.
#[test]
fn h40_late_answer_does_not_replace_a_newer_one() {
    let whole = RangeMap::new(RangeId::new(1), &[A, B]).unwrap().locate(b"").clone();
    let (map, left, right) = halves();
    let mut cache = RangeCache::new(CacheConfig::default()).unwrap();
    assert_eq!(cache.learn(right.clone()), Learned::Fresh { replaced: 0 });
    assert_eq!(cache.learn(whole.clone()), Learned::Refused { have: Epoch::new(2) });
    assert_eq!(cache.locate(b"a"), None);
    assert_eq!(cache.locate(b"z"), Some(&right));

    // A merge is newer than both halves, whichever of them comes late.
    let _ = cache.learn(left.clone());
    let merged = map.merge((left.id, left.epoch), (right.id, right.epoch)).unwrap();
    let joined = merged.locate(b"a").clone();
    assert_eq!(cache.learn(joined.clone()), Learned::Fresh { replaced: 2 });
    for late in [left, right, whole] {
        assert_eq!(cache.learn(late), Learned::Refused { have: Epoch::new(3) });
    }
    assert_eq!(cache.locate(b"z"), Some(&joined));
    assert_eq!(cache.learn(joined), Learned::Known);
    assert_eq!(cache.stats().refused, 4);
}

/// Of two different ranges with one epoch the cache cannot tell which is right: the first stays.
#[test]
fn h40_equal_epoch_with_other_content_is_refused() {
    let range =
        |nodes: &[NodeId]| KeyRange::new(RangeId::new(1), Epoch::new(5), b"a", Some(b"c"), nodes);
    let mut cache = RangeCache::new(CacheConfig::default()).unwrap();
    let _ = cache.learn(range(&[A]));
    assert_eq!(cache.learn(range(&[B])), Learned::Refused { have: Epoch::new(5) });
    assert_eq!(*cache.locate(b"b").unwrap().replicas, [A]);
}

/// A merged range has one list of replicas; data that lies elsewhere would be lost to readers.
#[test]
fn h41_ranges_on_different_nodes_do_not_merge() {
    let (map, left, right) = halves();
    let map = map.reassign(right.id, right.epoch, &[B, NodeId::new(3)]).unwrap();
    let right = map.locate(b"z").clone();
    let refused = map.merge((left.id, left.epoch), (right.id, right.epoch));
    assert_eq!(refused, Err(RangeError::ReplicasDiffer { left: left.id, right: right.id }));
    let map = map.reassign(right.id, right.epoch, &[B, A]).unwrap();
    let right = map.locate(b"z").clone();
    let map = map.merge((left.id, left.epoch), (right.id, right.epoch)).unwrap();
    assert_eq!(map.locate(b"z").epoch, Epoch::new(5)); // the newer half was at 4
    assert_eq!(*map.locate(b"z").replicas, [A, B]); // the left one's order
}

/// One order everywhere: bytes, a prefix before what it begins. Bounds of any length, with zeros
/// and with 0xff, are compared that way by the map, by its index of prefixes and by the cache.
#[test]
fn h42_bounds_are_compared_in_one_order() {
    let bounds: [&[u8]; 9] = [
        b"\0",
        b"\0\0",
        b"\0\0\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\0\0\0",
        b"a",
        b"a\0",
        b"ab",
        b"\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    let mut map = RangeMap::new(RangeId::new(100), &[A]).unwrap();
    for (id, bound) in (0_u64..).zip(bounds) {
        let range = map.locate(bound);
        map = map.split(range.id, range.epoch, bound, RangeId::new(id)).unwrap();
    }
    let starts: Vec<&[u8]> = map.iter().map(|range| &*range.start).collect();
    assert_eq!(starts[1..], bounds);
    let mut cache = RangeCache::new(CacheConfig::default()).unwrap();
    for range in map.iter() {
        assert_eq!(cache.learn(range.clone()), Learned::Fresh { replaced: 0 });
    }
    for (at, bound) in bounds.iter().enumerate() {
        let mut before = bound.to_vec();
        let last = before.pop().unwrap();
        if last > 0 {
            before.extend([last - 1, 0xff, 0xff]);
        }
        let mut behind = bound.to_vec();
        behind.push(0);
        for probe in [before.as_slice(), bound, behind.as_slice()] {
            let expected = bounds.iter().rposition(|bound| *bound <= probe);
            let start = expected.map_or(&b""[..], |at| bounds[at]);
            assert_eq!(&*map.locate(probe).start, start, "{probe:?} at {at}");
            assert_eq!(cache.locate(probe), Some(map.locate(probe)));
        }
    }
}

/// Eight fresh ranges at most, however many are newer.
#[test]
fn h40_answers_to_stale_requests_are_bounded() {
    let mut map = RangeMap::new(RangeId::new(1), &[A]).unwrap();
    for at in b'b'..b'z' {
        let range = map.locate(&[at]);
        map = map.split(range.id, range.epoch, &[at], RangeId::new(at.into())).unwrap();
    }
    let stale = map.check(b"m", RangeId::new(1), Epoch::new(1)).unwrap_err();
    assert_eq!(stale.fresh.len(), 8);
    assert!(stale.fresh.iter().any(|range| range.contains(b"m")));
    assert!(stale.fresh.windows(2).all(|pair| pair[0].end == Some(pair[1].start.clone())));
}

/// A full cache forgets what it learned longest ago, and nothing newer is lost by evicting the old.
#[test]
fn h40_full_cache_and_eviction() {
    let range = |id: u64, start: &[u8], end: &[u8], epoch| {
        KeyRange::new(RangeId::new(id), Epoch::new(epoch), start, Some(end), &[A])
    };
    let mut cache = RangeCache::new(CacheConfig::default().ranges_max(2)).unwrap();
    let _ = cache.learn(range(1, b"a", b"b", 1));
    let _ = cache.learn(range(2, b"b", b"c", 1));
    let _ = cache.learn(range(3, b"c", b"d", 4));
    assert_eq!(cache.len(), 2);
    assert_eq!(cache.locate(b"a"), None);
    assert!(!cache.evict(RangeId::new(3), Epoch::new(3)), "what is known is newer");
    assert!(cache.evict(RangeId::new(3), Epoch::new(4)));
    assert!(!cache.evict(RangeId::new(3), Epoch::new(4)));
    let stats = cache.stats();
    assert_eq!((stats.learned, stats.evicted, stats.holes), (3, 2, 1));
}
