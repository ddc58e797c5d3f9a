//! Laws of vectors, what they allocate, and what they refuse.

use crate::alloc::measure;
use crate::support::cases;
use proptest::prelude::*;
use quorate_clocks::{
    Causality, DecodeError, Dot, EncodeError, Gap, Replica, VectorClock, VersionVector,
};

fn clock() -> impl Strategy<Value = VectorClock<u16>> {
    // Up to eight actors: in place and on the heap.
    prop::collection::vec((0..10_u16, 0..5_u64), 0..8).prop_map(VectorClock::from_entries)
}

fn merged(a: &VectorClock<u16>, b: &VectorClock<u16>) -> VectorClock<u16> {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

fn met(a: &VectorClock<u16>, b: &VectorClock<u16>) -> VectorClock<u16> {
    let mut met = a.clone();
    met.meet(b);
    met
}

fn at_most(a: &VectorClock<u16>, b: &VectorClock<u16>) -> bool {
    matches!(a.compare(b), Causality::Before | Causality::Equal)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn merge_and_meet_make_a_lattice(a in clock(), b in clock(), c in clock()) {
        for join in [merged, met] {
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&a, &join(&b, &c)), join(&join(&a, &b), &c));
            prop_assert_eq!(&join(&a, &a), &a);
        }
        prop_assert_eq!(&met(&a, &merged(&a, &b)), &a);
        prop_assert_eq!(&merged(&a, &met(&a, &b)), &a);
        // They are the least above and the largest below.
        prop_assert!(at_most(&a, &merged(&a, &b)) && at_most(&met(&a, &b), &a));
        if at_most(&a, &c) && at_most(&b, &c) {
            prop_assert!(at_most(&merged(&a, &b), &c));
        }
    }

    #[test]
    fn compare_is_a_partial_order(a in clock(), b in clock(), c in clock()) {
        prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
        prop_assert_eq!(a.compare(&b) == Causality::Equal, a == b);
        if at_most(&a, &b) && at_most(&b, &c) {
            prop_assert!(at_most(&a, &c));
        }
        prop_assert_eq!(at_most(&a, &b), merged(&a, &b) == b);
    }

    #[test]
    fn order_and_repetition_of_entries_do_not_matter(
        mut entries in prop::collection::vec((0..10_u16, 0..5_u64), 0..12)
    ) {
        let built = VectorClock::from_entries(entries.iter().copied());
        entries.reverse();
        entries.extend(entries.clone());
        prop_assert_eq!(&VectorClock::from_entries(entries.iter().copied()), &built);
        for (actor, _) in &entries {
            let largest = entries.iter().filter(|(other, _)| other == actor).map(|(_, n)| *n).max();
            prop_assert_eq!(built.get(*actor), largest.unwrap());
        }
        let sorted: Vec<_> = built.iter().collect();
        prop_assert!(sorted.windows(2).all(|pair| pair[0].actor < pair[1].actor));
        prop_assert!(sorted.iter().all(|dot| dot.counter > 0));
    }
}

#[test]
fn merging_what_is_known_allocates_nothing() {
    for actors in 0..=64_u64 {
        let small = VectorClock::from_entries((0..actors).map(|actor| (actor * 3, 5)));
        let mut big = small.clone();
        for actor in 0..actors {
            big.tick(actor * 3);
        }
        let before = big.clone();
        let (changed, usage) = measure(|| big.merge(&small));
        assert_eq!((changed, usage.calls, &big), (false, 0, &before));
        // Nor do counters that rise, actors that fall away, or the first four actors.
        let mut behind = small.clone();
        let (changed, usage) = measure(|| behind.merge(&big));
        assert_eq!((changed, usage.calls, &behind), (actors > 0, 0, &big));
        let ((), usage) = measure(|| behind.meet(&small));
        assert_eq!((usage.calls, &behind), (0, &small));
        let mut empty = VectorClock::new();
        let (_, usage) = measure(|| empty.merge(&small));
        assert_eq!((usage.calls, &empty), (usize::from(actors > 4), &small));
        let (_, usage) = measure(|| small.compare(&big));
        assert_eq!(usage.calls, 0);
    }
}

#[test]
fn merging_strangers_keeps_the_order() {
    let mut clock = VectorClock::from_entries((0..20_u64).map(|n| (n * 4, n + 1)));
    let (changed, usage) =
        measure(|| clock.merge(&VectorClock::from_entries((0..3_u64).map(|n| (n * 4 + 1, 7)))));
    assert!(changed && usage.calls <= 1);
    assert_eq!(clock.len(), 23);
    let actors: Vec<u64> = clock.iter().map(|dot| dot.actor).collect();
    assert!(actors.is_sorted());
    assert_eq!((clock.get(5), clock.get(8), clock.get(76)), (7, 3, 20));
}

#[test]
fn a_skipped_update_is_refused_and_changes_nothing() {
    let mut held = VersionVector::from_entries([('a', 2)]);
    let before = held.clone();
    let error = held.record(Dot { actor: 'a', counter: 5 }).unwrap_err();
    assert_eq!((error.have, error.got), (2, 5));
    assert_eq!(error.to_string(), "update 5 follows 2: those between are missing");
    let error: Gap = held.record(Dot { actor: 'b', counter: 2 }).unwrap_err();
    assert_eq!((error.have, error.got), (0, 2));
    assert_eq!(held, before);
    assert_eq!(held.record(Dot { actor: 'a', counter: 2 }), Ok(false));
    assert_eq!(held.record(Dot { actor: 'a', counter: 3 }), Ok(true));
}

#[test]
fn counters_stay_at_the_largest_number() {
    let last = Dot { actor: 'a', counter: u64::MAX };
    let mut clock = VectorClock::from_entries([('a', u64::MAX)]);
    assert_eq!(clock.tick('a'), last);
    let mut held = VersionVector::from_entries([('a', u64::MAX)]);
    assert_eq!((held.next_dot('a'), held.record(last)), (last, Ok(false)));
    let none = held.record(Dot { actor: 'a', counter: 0 }).unwrap_err();
    assert_eq!((none.have, none.got, held.get('a')), (u64::MAX, 0, u64::MAX));
    assert!(held.contains(last));
    let all = held.missing_from(&VersionVector::new()).next().unwrap();
    assert_eq!(all.counters(), 1..=u64::MAX);
}

/// Each row of the table of bad input, with its place and numbers.
#[test]
fn bytes_that_are_no_vector_are_refused() {
    let good = [1, 2, 2, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    let vector = VersionVector::from_entries([(1_u16, 9), (5, 1)]);
    assert_eq!(VersionVector::decode(&good), Ok(vector));
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        VersionVector::<u16>::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 2), DecodeError::Version { offset: 0, found: 2 });
    assert_eq!(with(1, 8), DecodeError::Width { offset: 1, expected: 2, found: 8 });
    assert_eq!(with(2, 1), DecodeError::Trailing { offset: 14 });
    assert_eq!(with(2, 3), DecodeError::Short { offset: 24, needed: 34 });
    assert_eq!(with(6, 0), DecodeError::Zero { offset: 6 });
    assert_eq!(with(14, 1), DecodeError::Order { offset: 14 }); // twice the same
    assert_eq!(with(14, 0), DecodeError::Order { offset: 14 });
    let many = DecodeError::TooMany { offset: 2, count: 4_098, limit: 4_096 };
    assert_eq!(with(3, 16), many);
    assert_eq!(many.to_string(), "4098 at byte 2, the limit is 4096");
    for len in 0..good.len() {
        let (error, usage) = measure(|| VersionVector::<u16>::decode(&good[..len]).unwrap_err());
        assert!(matches!(error, DecodeError::Short { offset, .. } if offset == len));
        assert!(error.is_retryable() && error.offset() == len && usage.bytes == 0, "{usage:?}");
    }
    // A large number of entries that are not there makes no room.
    let (error, usage) = measure(|| VectorClock::<u16>::decode(&[1, 2, 0, 16, 0]).unwrap_err());
    assert_eq!(error, DecodeError::Short { offset: 5, needed: 40_964 });
    assert_eq!(usage.calls, 0);
}

/// Nor do entries that are out of order or zero make room, and longer lists say where they are.
#[test]
fn wrong_entries_are_refused_before_room_is_made() {
    let list = VectorClock::from_entries((1..=9_u16).map(|actor| (actor, 1)));
    for (at, wrong) in
        [(84, DecodeError::Order { offset: 84 }), (86, DecodeError::Zero { offset: 86 })]
    {
        let mut bytes = list.encode().unwrap();
        bytes[at] = 0;
        let (result, usage) = measure(|| VectorClock::<u16>::decode(&bytes));
        assert_eq!((result, usage.calls), (Err(wrong), 0));
    }
    let mut bytes = list.encode().unwrap();
    bytes[4 + 7 * 10] = 7;
    assert_eq!(VectorClock::<u16>::decode(&bytes), Err(DecodeError::Order { offset: 74 }));
}

#[test]
fn four_entries_are_read_in_place() {
    for actors in 0..=6_u64 {
        let vector = VersionVector::from_entries((0..actors).map(|actor| (actor, 7)));
        let bytes = vector.encode().unwrap();
        let (back, usage) = measure(|| VersionVector::decode(&bytes).unwrap());
        assert_eq!((back, usage.calls), (vector, usize::from(actors > 4)));
    }
}

#[test]
fn vectors_are_written_up_to_the_limit() {
    let vector = |n| VectorClock::from_entries((0..n).map(|node| (replica(node), node + 1)));
    let full = vector(4_096);
    let bytes = full.encode().unwrap();
    let (back, usage) = measure(|| VectorClock::decode(&bytes).unwrap());
    assert_eq!((back, usage.calls), (full, 1));
    assert!(usage.bytes <= 2 * bytes.len(), "{usage:?}");
    let mut out = vec![7];
    let error = vector(4_097).encode_into(&mut out).unwrap_err();
    assert_eq!(error, EncodeError::Entries { count: 4_097, limit: 4_096 });
    assert_eq!(out, [7]);
}

fn replica(node: u64) -> Replica {
    Replica { node, incarnation: 1 }
}
