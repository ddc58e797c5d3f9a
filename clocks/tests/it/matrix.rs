//! Matrix clocks: what everybody is known to have seen.

use crate::alloc::measure;
use crate::model::{History, events, relation};
use crate::support::{Rng, each_seed};
use quorate_clocks::{
    Causality, DecodeError, Dot, EncodeError, MatrixClock, MatrixFull, VersionVector,
};

#[test]
fn h30_unheard_members_make_it_empty_and_departed_ones_stall_it() {
    let mut clocks = [1_u16, 2, 3].map(MatrixClock::new);
    for round in 0..3_u64 {
        for at in 0..3 {
            clocks[at].tick();
            if round == 2 && at == 2 {
                break; // 3 departs
            }
            for to in 0..3 {
                let from = clocks[at].clone();
                clocks[to].receive(from.me(), &from).unwrap();
            }
        }
    }
    let [one, ..] = &mut clocks;
    assert_eq!(one.stable(&[1, 2, 3, 4]), VersionVector::new(), "4 was never heard of");
    assert_eq!(one.stable(&[]), VersionVector::new());
    let stalled = one.stable(&[1, 2, 3]);
    assert!(!stalled.is_empty());
    for _ in 0..5 {
        one.tick();
    }
    assert_eq!(one.stable(&[1, 2, 3]), stalled);
    // Without the departed member it goes on; its own updates are not lost.
    let ahead = one.stable(&[1]);
    assert_eq!((ahead.get(1), stalled.compare(&ahead)), (8, Causality::Before));
    assert!(one.remove(3).is_some());
    assert_eq!((one.row(3), one.stable(&[1, 2, 3]).len()), (None, 0));
    assert_eq!(one.row(1).unwrap().get(3), ahead.get(3));
    // Its own row is not for removal, nor one that is not there.
    assert_eq!((one.remove(1), one.remove(9)), (None, None));
    assert!(one.row(1).is_some());
}

#[test]
fn a_full_matrix_refuses_and_stays_as_it_is() {
    let mut clock = MatrixClock::new(0_u16);
    for member in 1..256 {
        let mut peer = MatrixClock::new(member);
        peer.tick();
        clock.receive(member, &peer).unwrap();
    }
    let before = clock.clone();
    let mut strangers = MatrixClock::new(300);
    strangers.receive(301, &MatrixClock::new(301)).unwrap();
    let full = clock.receive(300, &strangers).unwrap_err();
    assert_eq!((full.rows, full.limit), (258, 256));
    assert_eq!(full.to_string(), "258 rows, the limit is 256");
    let full: MatrixFull = clock.receive(302, &before).unwrap_err(); // the sender's row is missing
    assert_eq!(full.rows, 257);
    assert_eq!(clock.compare(&before), Causality::Equal);
    assert_eq!(clock.rows().len(), 256);
    // Those it knows may still come, and room can be made.
    clock.receive(7, &before).unwrap();
    assert!(clock.remove(8).is_some());
    clock.receive(302, &MatrixClock::new(302)).unwrap();
}

#[test]
fn matrices_compare_member_by_member() {
    let mut a = MatrixClock::new('a');
    let b = MatrixClock::new('b');
    assert_eq!(a.compare(&b), Causality::Equal, "rows without updates are no knowledge");
    a.tick();
    assert_eq!((a.compare(&b), b.compare(&a)), (Causality::After, Causality::Before));
    let mut later = a.clone();
    later.tick();
    let mut other = MatrixClock::new('b');
    other.receive('a', &a).unwrap();
    assert_eq!(a.compare(&other), Causality::Before, "b knows that b has it");
    assert_eq!(later.compare(&other), Causality::Concurrent);
}

/// Each row of the table of bad input; nothing that is refused makes room.
#[test]
fn bytes_that_are_no_matrix_are_refused() {
    let (mut clock, mut peer) = (MatrixClock::new(5_u16), MatrixClock::new(7));
    clock.tick();
    peer.tick();
    clock.receive(7, &peer).unwrap();
    let good = clock.encode().unwrap();
    // Header 0, owner 4, row of 5: actor 6, count 8, entries 10 and 20; row of 7: 30, 32, 34.
    assert_eq!(good.len(), 44);
    let refused = |bytes: &[u8]| {
        let (error, usage) = measure(|| MatrixClock::<u16>::decode(bytes).unwrap_err());
        assert_eq!(usage.calls, 0, "{error}");
        error
    };
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        refused(&bytes)
    };
    assert_eq!(with(0, 2), DecodeError::Version { offset: 0, found: 2 });
    assert_eq!(with(1, 8), DecodeError::Width { offset: 1, expected: 2, found: 8 });
    assert_eq!(with(3, 1), DecodeError::TooMany { offset: 2, count: 258, limit: 256 });
    assert_eq!(with(2, 1), DecodeError::Trailing { offset: 30 });
    assert_eq!(with(2, 3), DecodeError::Short { offset: 44, needed: 46 });
    assert_eq!(with(4, 6), DecodeError::Value { offset: 4 }, "an owner without a row");
    assert_eq!(with(30, 5), DecodeError::Order { offset: 30 });
    assert_eq!(with(9, 17), DecodeError::TooMany { offset: 8, count: 4_354, limit: 4_096 });
    assert_eq!(with(33, 15), DecodeError::Short { offset: 44, needed: 34 + 3_841 * 10 });
    assert_eq!(with(20, 5), DecodeError::Order { offset: 20 });
    assert_eq!(with(36, 0), DecodeError::Zero { offset: 36 });
    assert_eq!(refused(&[1, 2, 0, 0, 5, 0]), DecodeError::Value { offset: 4 });
    for len in 0..good.len() {
        let error = refused(&good[..len]);
        assert!(matches!(error, DecodeError::Short { offset, .. } if offset == len), "{error}");
    }
    let mut longer = good;
    longer.push(0);
    assert_eq!(refused(&longer), DecodeError::Trailing { offset: 44 });
}

#[test]
fn matrices_are_written_up_to_the_limit() {
    let mut clock = MatrixClock::new(0_u16);
    for member in 1..256 {
        let mut peer = MatrixClock::new(member);
        peer.tick();
        clock.receive(member, &peer).unwrap();
    }
    let bytes = clock.encode().unwrap();
    let back = MatrixClock::decode(&bytes).unwrap();
    assert!(back.me() == 0 && back.rows().eq(clock.rows()));
    assert_eq!(back.encode(), Ok(bytes));
    // Departed members leave their counters in the row: one more than a reader takes.
    for member in 256..=4_097 {
        let mut peer = MatrixClock::new(member);
        peer.tick();
        clock.remove(member - 1);
        clock.receive(member, &peer).unwrap();
    }
    let mut out = vec![9];
    let error = clock.encode_into(&mut out).unwrap_err();
    assert_eq!(error, EncodeError::Entries { count: 4_097, limit: 4_096 });
    assert_eq!(out, [9]);
}

/// Rows against sets of updates: what a member really has seen, and what others believe of it.
#[test]
fn stable_is_below_what_every_member_has_seen() {
    each_seed(300, "matrix::stable_is_below_what_every_member_has_seen", |seed| {
        let mut rng = Rng::new(seed);
        let members: Vec<u16> = (0..2 + u16::try_from(rng.below(5)).unwrap()).collect();
        let mut clocks: Vec<_> = members.iter().map(|member| MatrixClock::new(*member)).collect();
        let mut seen = vec![History::new(); members.len()];
        for _ in 0..40 {
            let at = usize::from(*rng.pick(&members));
            if rng.one_in(2) {
                let Dot { actor, counter } = clocks[at].tick();
                assert!(seen[at].insert((actor, counter)));
            } else {
                let from = rng.pick(&members);
                let message = clocks[usize::from(*from)].clone();
                clocks[at].receive(*from, &message).unwrap();
                let news = seen[usize::from(*from)].clone();
                seen[at].extend(news);
            }
            let clock = &clocks[at];
            assert_eq!(events(clock.row(clock.me()).unwrap().iter()), seen[at]);
            let stable = events(clock.stable(&members).iter());
            let mut known = seen[at].clone();
            for member in &members {
                let row = clock.row(*member).map(|row| events(row.iter())).unwrap_or_default();
                let below = relation(&row, &seen[usize::from(*member)]);
                assert!(matches!(below, Causality::Before | Causality::Equal), "a row is a rumour");
                known = &known & &row;
            }
            assert_eq!(stable, known);
            assert!(seen.iter().all(|seen| stable.is_subset(seen)));
        }
    });
}
