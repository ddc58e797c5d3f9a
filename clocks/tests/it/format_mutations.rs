//! Every decoder against bytes that were changed: refused, or written again just as they were.

use crate::alloc::measure;
use crate::support::{Rng, cases, each_seed};
use proptest::prelude::*;
use quorate_clocks::{
    ActorBytes, DvvSet, MatrixClock, Replica, Stamp, Timestamp, VectorClock, VersionVector,
    VersionedKey,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads bytes and, if that can be done, writes what was read.
type Decoder = fn(&[u8]) -> Option<Vec<u8>>;

fn clock<A: ActorBytes>(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bounded(bytes, |bytes| VectorClock::<A>::decode(bytes).ok())?.encode().unwrap())
}

fn version<A: ActorBytes>(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bounded(bytes, |bytes| VersionVector::<A>::decode(bytes).ok())?.encode().unwrap())
}

fn set<A: ActorBytes>(bytes: &[u8]) -> Option<Vec<u8>> {
    let decode = |bytes: &[u8]| DvvSet::<A, _>::decode_with(bytes, |v| Some(v.to_vec())).ok();
    Some(bounded(bytes, decode)?.encode_with(|v, out| out.extend_from_slice(v)).unwrap())
}

fn matrix<A: ActorBytes>(bytes: &[u8]) -> Option<Vec<u8>> {
    // At most 256 rows, each of which takes more room than it has bytes.
    let rows = 256 * size_of::<(A, VersionVector<A>)>();
    let decode = |bytes: &[u8]| MatrixClock::<A>::decode(bytes).ok();
    Some(within(rows, bytes, decode)?.encode().unwrap())
}

fn key(bytes: &[u8]) -> Option<Vec<u8>> {
    let split = |bytes: &[u8]| VersionedKey::split(bytes).ok().map(|(k, t)| (k.into_owned(), t));
    let (key, t) = bounded(bytes, split)?;
    let mut out = Vec::new();
    VersionedKey::encode_into(&key, t, &mut out).unwrap();
    Some(out)
}

fn stamp(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(Stamp::from_bytes(bytes.try_into().ok()?)?.to_bytes().to_vec())
}

fn time(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(Timestamp::from_bytes(bytes.try_into().ok()?)?.to_bytes().to_vec())
}

fn bounded<T>(bytes: &[u8], decode: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    within(4_096, bytes, decode)
}

fn within<T>(room: usize, bytes: &[u8], decode: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let (value, usage) = measure(|| decode(bytes));
    assert!(usage.bytes <= 2 * bytes.len() + room, "{usage:?} for {} bytes", bytes.len());
    value
}

const DECODERS: [Decoder; 12] = [
    clock::<u64>,
    clock::<u16>,
    clock::<[u8; 3]>,
    version::<Replica>,
    version::<u128>,
    set::<u64>,
    set::<u16>,
    key,
    stamp,
    time,
    matrix::<u64>,
    matrix::<u16>,
];

fn entries<A: ActorBytes>(rng: &mut Rng, actor: impl Fn(u64) -> A) -> Vec<(A, u64)> {
    let mut entry = || (actor(rng.below(500)), 1 + rng.below(4));
    (0..entry().1 * 3).map(|_| entry()).collect()
}

fn some_set<A: ActorBytes>(rng: &mut Rng, actor: impl Fn(u64) -> A) -> Vec<u8> {
    let context = VersionVector::from_entries(entries(rng, actor));
    let mut values = |most: u64| -> Vec<Vec<u8>> {
        (0..rng.below(most + 1).min(3)).map(|n| vec![7; usize::try_from(n * 3).unwrap()]).collect()
    };
    let parts: Vec<_> =
        context.iter().map(|dot| (dot.actor, dot.counter, values(dot.counter))).collect();
    let anonymous = values(2);
    let set = DvvSet::from_parts(parts, anonymous).unwrap();
    set.encode_with(|value, out| out.extend_from_slice(value)).unwrap()
}

fn some_matrix<A: ActorBytes>(rng: &mut Rng, actor: impl Fn(u64) -> A) -> Vec<u8> {
    let mut clocks: Vec<_> = (0..=rng.below(5)).map(|n| MatrixClock::new(actor(n * 3))).collect();
    for _ in 0..rng.below(20) {
        let sent = rng.pick(&clocks).clone();
        let to = usize::try_from(rng.below(clocks.len() as u64)).unwrap();
        clocks[to].receive(sent.me(), &sent).unwrap();
        clocks[to].tick();
    }
    rng.pick(&clocks).encode().unwrap()
}

/// Something that the decoder takes.
fn good(which: usize, rng: &mut Rng) -> Vec<u8> {
    let small = |n: u64| u16::try_from(n).unwrap();
    let three = |n: u64| [1, 2, u8::try_from(n % 250).unwrap()];
    let replica = |n: u64| Replica { node: n / 4, incarnation: n % 4 };
    match which {
        0 => VectorClock::from_entries(entries(rng, |n| n)).encode().unwrap(),
        1 => VectorClock::from_entries(entries(rng, small)).encode().unwrap(),
        2 => VectorClock::from_entries(entries(rng, three)).encode().unwrap(),
        3 => VersionVector::from_entries(entries(rng, replica)).encode().unwrap(),
        4 => VersionVector::from_entries(entries(rng, u128::from)).encode().unwrap(),
        5 => some_set(rng, |n| n),
        6 => some_set(rng, small),
        7 => {
            let key: Vec<u8> = (0..rng.below(9)).map(|_| *rng.pick(&[0, 0, 1, 97, 255])).collect();
            let mut out = Vec::new();
            let t = Timestamp::from_bits(1 + rng.below(1 << 40)).unwrap();
            VersionedKey::encode_into(&key, t, &mut out).unwrap();
            out
        }
        8 => Stamp { time: Timestamp::MIN, node: rng.below(3) }.to_bytes().to_vec(),
        9 => Timestamp::MIN.to_bytes().to_vec(),
        10 => some_matrix(rng, |n| n),
        _ => some_matrix(rng, small),
    }
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = |rng: &mut Rng, len: usize| usize::try_from(rng.below(len.max(1) as u64)).unwrap();
    let byte = *rng.pick(&[0, 1, 2, 8, 16, 0x7F, 0xFE, 0xFF]);
    let place = at(rng, bytes.len());
    let run = at(rng, 20);
    match rng.below(8) {
        _ if bytes.is_empty() => bytes.push(byte),
        0 => bytes[place] ^= 1 << rng.below(8),
        1 => bytes[place] = byte,
        2 => bytes.truncate(place),
        3 => bytes.push(byte),
        4 => bytes.insert(place, byte),
        5 => {
            let end = (place + run).min(bytes.len());
            bytes[place..end].fill(byte);
        }
        6 => {
            let other = at(rng, bytes.len());
            bytes.swap(place, other);
        }
        _ => {
            let end = (place + run).min(bytes.len());
            let piece = bytes[place..end].to_vec();
            let to = at(rng, bytes.len());
            bytes.splice(to..to, piece);
        }
    }
}

#[test]
fn two_hundred_thousand_mutations_are_refused_or_round_trip() {
    let (refused, taken) = (AtomicU64::new(0), AtomicU64::new(0));
    let test = "format_mutations::two_hundred_thousand_mutations_are_refused_or_round_trip";
    each_seed(20, test, |seed| {
        let mut rng = Rng::new(seed);
        for round in 0..10_000 {
            let which = round % DECODERS.len();
            let mut bytes = good(which, &mut rng);
            assert_eq!(DECODERS[which](&bytes).as_ref(), Some(&bytes), "decoder {which}");
            for _ in 0..=rng.below(3) {
                mutate(&mut rng, &mut bytes);
            }
            match DECODERS[which](&bytes) {
                None => refused.fetch_add(1, Ordering::Relaxed),
                Some(again) => {
                    assert_eq!(again, bytes, "decoder {which} takes two forms of one value");
                    taken.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    });
    let (refused, taken) = (refused.into_inner(), taken.into_inner());
    crate::support::say(format_args!(
        "mutations: {refused} refused, {taken} written again as they were"
    ));
    assert!(refused > 0 && taken > 0);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn vectors_come_back(entries in prop::collection::vec((any::<u64>(), any::<u64>()), 0..12)) {
        let clock = VectorClock::from_entries(entries);
        let bytes = clock.encode().unwrap();
        prop_assert_eq!(bytes.len(), 4 + 16 * clock.len());
        prop_assert_eq!(VectorClock::decode(&bytes), Ok(clock));
    }

    #[test]
    fn sets_come_back(
        entries in prop::collection::btree_map(any::<u32>(), (0..4_u64, any::<u32>()), 0..8),
        values in prop::collection::vec(any::<Vec<u8>>(), 3),
    ) {
        let entries = entries.into_iter().map(|(actor, (live, more))| {
            let live = usize::try_from(live).unwrap();
            (actor, live as u64 + u64::from(more), values[..live].to_vec())
        });
        let set = DvvSet::from_parts(entries.collect(), values.clone()).unwrap();
        let bytes = set.encode_with(|value, out| out.extend_from_slice(value)).unwrap();
        prop_assert_eq!(DvvSet::decode_with(&bytes, |value| Some(value.to_vec())), Ok(set));
    }

    #[test]
    fn any_bytes_are_refused_or_round_trip(bytes in any::<Vec<u8>>(), version in any::<bool>()) {
        let mut bytes = bytes;
        if version && bytes.len() > 1 {
            bytes[..2].copy_from_slice(&[1, 8]);
        }
        for decoder in DECODERS {
            if let Some(again) = decoder(&bytes) {
                prop_assert_eq!(&again, &bytes);
            }
        }
    }
}
