//! Range maps and caches: wrong changes and wrong bytes.

use crate::random::Random;
use quorate_hashring::{
    BuildError, CacheConfig, DecodeError, Epoch, KeyRange, Learned, NodeId, RangeCache, RangeError,
    RangeId, RangeMap,
};

const A: NodeId = NodeId::new(1);
const ONE: RangeId = RangeId::new(1);
const TWO: RangeId = RangeId::new(2);
const THREE: RangeId = RangeId::new(3);

fn map() -> RangeMap {
    let map = RangeMap::new(ONE, &[A]).unwrap();
    map.split(ONE, Epoch::new(1), b"m", TWO).unwrap()
}

#[test]
fn changes_that_make_no_sense() {
    let map = map();
    let now = Epoch::new(2);
    let before = map.clone();
    let refused = |result: Result<RangeMap, RangeError>| result.unwrap_err();

    for at in [&b"m"[..], b"z"] {
        let error = refused(map.split(ONE, now, at, THREE));
        assert_eq!(error, RangeError::OutOfRange { id: ONE });
    }
    assert_eq!(refused(map.split(ONE, now, b"", THREE)), RangeError::OutOfRange { id: ONE });
    assert_eq!(refused(map.split(TWO, now, b"a", THREE)), RangeError::OutOfRange { id: TWO });
    assert_eq!(refused(map.split(ONE, now, b"c", TWO)), RangeError::IdInUse { id: TWO });
    assert_eq!(refused(map.split(ONE, now, b"c", ONE)), RangeError::IdInUse { id: ONE });
    let have = now;
    let old = Epoch::new(1);
    assert_eq!(refused(map.split(ONE, old, b"c", THREE)), RangeError::WrongEpoch { id: ONE, have });
    assert_eq!(refused(map.reassign(TWO, old, &[A])), RangeError::WrongEpoch { id: TWO, have });
    assert_eq!(refused(map.reassign(THREE, now, &[A])), RangeError::Unknown { id: THREE });
    let not_adjacent = |left, right| RangeError::NotAdjacent { left, right };
    assert_eq!(refused(map.merge((TWO, now), (ONE, now))), not_adjacent(TWO, ONE));
    assert_eq!(refused(map.merge((ONE, now), (ONE, now))), not_adjacent(ONE, ONE));
    let other = map.reassign(TWO, now, &[NodeId::new(2)]).unwrap();
    let differ = RangeError::ReplicasDiffer { left: ONE, right: TWO };
    assert_eq!(refused(other.merge((ONE, now), (TWO, Epoch::new(3)))), differ);
    assert_eq!(map, before);
    assert!(refused(map.split(ONE, old, b"c", THREE)).is_retryable());
    assert!(!differ.is_retryable());
}

#[test]
fn rows_and_keys_beyond_their_limits() {
    let now = Epoch::new(2);
    let many: Vec<NodeId> = (1..=17).map(NodeId::new).collect();
    for row in [&[][..], &many] {
        let error = RangeMap::new(ONE, row).unwrap_err();
        let value = row.len() as u64;
        assert_eq!(error, RangeError::Limit { name: "replicas", value, min: 1, max: 16 });
        assert_eq!(map().reassign(ONE, now, row), Err(error));
    }
    assert_eq!(RangeMap::new(ONE, &[A, A]), Err(RangeError::DuplicateReplica { id: ONE }));
    let long = vec![b'z'; 65_536];
    let error = map().split(TWO, now, &long, THREE).unwrap_err();
    assert_eq!(error, RangeError::Limit { name: "key bytes", value: 65_536, min: 1, max: 65_535 });
    assert!(map().split(TWO, now, &long[1..], THREE).is_ok());
    assert_eq!(error.to_string(), "key bytes is 65536, not between 1 and 65535");
}

/// What is encoded fits into its envelope: keys too many and too long are refused when they come.
#[test]
fn maps_too_large_to_encode() {
    let mut map = RangeMap::new(RangeId::new(0), &[A]).unwrap();
    let mut key = vec![b'z'; 65_535];
    for id in 1..=u64::from(u16::MAX) {
        key[..8].copy_from_slice(&id.to_be_bytes());
        let last = map.locate(&key);
        match map.split(last.id, last.epoch, &key, RangeId::new(id)) {
            Ok(next) => map = next,
            Err(error) => {
                assert!(matches!(error, RangeError::Limit { name: "encoded bytes", .. }));
                let bytes = map.encode();
                assert!(bytes.len() <= 64 << 20);
                assert_eq!(RangeMap::decode(&bytes).unwrap(), map);
                return;
            }
        }
    }
    panic!("four gigabytes were accepted");
}

#[test]
fn epochs_do_not_wrap() {
    let bytes = map().encode();
    // The epoch of the first range: behind header, one node, the number of ranges, the id.
    let bytes = resealed(&bytes, |body| body[2 + 8 + 4 + 8..][..8].fill(0xff));
    let map = RangeMap::decode(&bytes).unwrap();
    let last = map.locate(b"").epoch;
    let exhausted = RangeError::EpochsExhausted { id: ONE };
    assert_eq!(map.split(ONE, last, b"c", THREE), Err(exhausted));
    assert_eq!(map.merge((ONE, last), (TWO, Epoch::new(2))), Err(exhausted));
    assert_eq!(map.reassign(ONE, last, &[A]), Err(exhausted));
}

#[test]
fn caches_of_no_size_and_ranges_of_no_key() {
    for ranges_max in [0, 1_048_577] {
        let error = RangeCache::new(CacheConfig::default().ranges_max(ranges_max)).unwrap_err();
        let value = u64::from(ranges_max);
        let expected = BuildError::OutOfRange { name: "ranges_max", value, min: 1, max: 1_048_576 };
        assert_eq!(error, expected);
    }
    let mut cache = RangeCache::new(CacheConfig::default()).unwrap();
    for (start, end) in [(b"b", b"b"), (b"c", b"b")] {
        let range = KeyRange::new(ONE, Epoch::new(1), start, Some(end), &[A]);
        assert_eq!(cache.learn(range), Learned::Empty);
    }
    assert!(cache.is_empty());
}

/// Changes the body and seals it again, as somebody would who knows the format.
fn resealed(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = bytes[24..bytes.len() - 4].to_vec();
    change(&mut body);
    let mut digested = vec![bytes[4], bytes[5]];
    digested.extend_from_slice(&body);
    let mut out = bytes[..8].to_vec();
    out.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&digested).to_le_bytes());
    out.extend_from_slice(&body);
    let mut sum = u32::MAX;
    for byte in &out {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
        }
    }
    out.extend_from_slice(&(!sum).to_le_bytes());
    out
}

/// Bytes that were sealed rightly and break a rule of the format all the same.
#[test]
fn bodies_that_break_a_rule() {
    let bytes = map().encode();
    assert_eq!(RangeMap::decode(&resealed(&bytes, |_| ())).unwrap(), map());
    // Body: 0 nodes 1 · 2 node · 10 ranges 2 · 14 id, 22 epoch, 30 length 0, 32 replicas 1, 33 node
    // 35 id, 43 epoch, 51 length 1, 53 "m", 54 replicas, 55 node.
    let set = |at: usize, value: u8| resealed(&bytes, move |body| body[at] = value);
    let cases: [(Vec<u8>, &str, usize); 14] = [
        (set(2, 0), "node id", 2),
        (set(10, 0), "number of ranges", 10),
        (set(12, 0xff), "number of ranges", 10),
        (set(30, 1), "start of a range", 30),
        (set(32, 0), "number of replicas", 32),
        (set(32, 17), "number of replicas", 32),
        (set(33, 1), "replica", 33),
        (set(35, 1), "range id", 57),
        (set(51, 0), "start of a range", 51),
        (set(0, 2), "number of ranges", 18),
        (resealed(&bytes, |body| body.push(0)), "end of the body", 57),
        (resealed(&bytes, |body| body.truncate(56)), "length", 55),
        (resealed(&bytes, |body| body.truncate(1)), "length", 0),
        (
            resealed(&bytes, |body| {
                body[0] = 2;
                body.splice(10..10, 9_u64.to_le_bytes());
            }),
            "node without a range",
            65,
        ),
    ];
    for (bytes, what, offset) in cases {
        let expected = DecodeError::Invalid { what, offset: 24 + offset };
        assert_eq!(RangeMap::decode(&bytes), Err(expected));
    }
    let twice = resealed(&bytes, |body| {
        body[32] = 2;
        body.splice(35..35, [0, 0]);
    });
    let expected = DecodeError::Invalid { what: "replica", offset: 24 + 35 };
    assert_eq!(RangeMap::decode(&twice), Err(expected));
}

/// G16, M33: whatever bit is wrong and wherever the bytes end, decoding says so and does not panic.
#[test]
fn damaged_bytes() {
    let bytes = map().encode();
    for end in 0..bytes.len() {
        let error = RangeMap::decode(&bytes[..end]).unwrap_err();
        assert!(error.is_retryable(), "{end}: {error}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let (have, expected) = (longer.len(), bytes.len());
    assert_eq!(RangeMap::decode(&longer), Err(DecodeError::Trailing { have, expected }));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(RangeMap::decode(&damaged).is_err(), "bit {bit}");
    }
    // Sealed noise never panics, and what is accepted is canonical.
    let mut random = Random::new(1);
    for _ in 0..20_000 {
        let noisy = resealed(&bytes, |body| {
            for _ in 0..=random.below(3) {
                let at = random.below(body.len());
                body[at] = u8::try_from(random.below(256)).unwrap();
            }
        });
        if let Ok(map) = RangeMap::decode(&noisy) {
            assert_eq!(map.encode(), noisy);
        }
    }
}
