//! Relations of vectors, their hazards, and the same operations done by another crate.

use crate::support::{Rng, at_least};
use crdts::{CmRDT, CvRDT, VClock};
use quorate_clocks::{ActorBytes, Causality, Dot, Replica, VectorClock, VersionVector};
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn clock(entries: &[(u64, u64)]) -> VectorClock<u64> {
    VectorClock::from_entries(entries.iter().copied())
}

#[test]
fn h18_zero_and_missing_entries_are_one_value() {
    let zero = clock(&[(1, 0), (2, 5), (3, 0)]);
    let missing = clock(&[(2, 5)]);
    assert_eq!(zero, missing);
    assert_eq!(hash(&zero), hash(&missing));
    assert_eq!(zero.compare(&missing), Causality::Equal);
    assert_eq!((zero.len(), zero.get(1)), (1, 0));
    assert_eq!(VersionVector::from_entries([('a', 0)]), VersionVector::new());
    assert_eq!(hash(&VersionVector::from_entries([('a', 0)])), hash(&VersionVector::<char>::new()));
    // A minimum of zero is no entry either.
    let mut meet = clock(&[(1, 3), (2, 5)]);
    meet.meet(&clock(&[(2, 4), (3, 9)]));
    assert_eq!(meet, clock(&[(2, 4)]));
    assert_eq!(hash(&meet), hash(&clock(&[(2, 4)])));
    meet.meet(&clock(&[(9, 9)]));
    assert_eq!((meet.len(), meet.is_empty()), (0, true));
    assert_eq!(hash(&meet), hash(&VectorClock::<u64>::new()));
    // A dot without a number is no event.
    let mut held = VersionVector::from_entries([('a', 2)]);
    assert!(!held.contains(Dot { actor: 'a', counter: 0 }));
    for (actor, have) in [('a', 2), ('b', 0)] {
        let none = held.record(Dot { actor, counter: 0 }).unwrap_err();
        assert_eq!((none.have, none.got), (have, 0));
        assert_eq!(none.to_string(), format!("update 0 after {have}: counters begin at 1"));
    }
    assert_eq!(held.len(), 1);
}

#[test]
fn h18_length_says_nothing_and_nothing_is_concurrent_with_itself() {
    let one = clock(&[(1, 9)]);
    let three = clock(&[(1, 1), (2, 1), (3, 1)]);
    assert_eq!(one.compare(&three), Causality::Concurrent);
    assert_eq!(three.compare(&one), Causality::Concurrent);
    assert_eq!(clock(&[(1, 1)]).compare(&three), Causality::Before);
    assert_eq!(clock(&[(4, 1)]).compare(&three), Causality::Concurrent);
    for clock in [VectorClock::new(), one, three] {
        assert_eq!(clock.compare(&clock.clone()), Causality::Equal);
    }
    for relation in [Causality::Equal, Causality::Concurrent] {
        assert_eq!(relation.reverse(), relation);
    }
    assert_eq!(Causality::After.reverse(), Causality::Before);
}

#[test]
fn h19_an_id_used_by_two_lives_loses_writes() {
    // A server that lost its last write counts on from an older state.
    let mut peer = VersionVector::from_entries([(7_u64, 3)]);
    let restarted = VersionVector::from_entries([(7, 2)]);
    let again = restarted.next_dot(7);
    assert!(peer.contains(again), "the peer takes the new write for an old one");
    assert_eq!(peer.record(again), Ok(false));
    // With an incarnation it is nobody's old write.
    let [before, after] = [1, 2].map(|incarnation| Replica { node: 7, incarnation });
    let mut peer = VersionVector::from_entries([(before, 3)]);
    let fresh = VersionVector::from_entries([(before, 2)]).next_dot(after);
    assert!(!peer.contains(fresh));
    assert_eq!(peer.record(fresh), Ok(true));
    assert!(before < after, "later lives sort behind earlier ones of a node");
}

#[test]
fn h20_nothing_is_pruned_since_a_pruned_clock_lies() {
    let mut old = VectorClock::new();
    for actor in 0..10_000_u64 {
        old.tick(actor);
    }
    let mut new = old.clone();
    new.tick(0);
    assert_eq!((new.len(), old.compare(&new)), (10_000, Causality::Before));
    new.merge(&old);
    new.receive(1, &old);
    assert_eq!(new.len(), 10_000);
    // What pruning would do: the later clock seems concurrent.
    let pruned = VectorClock::from_entries(new.iter().skip(1).map(|dot| (dot.actor, dot.counter)));
    assert_eq!(old.compare(&pruned), Causality::Concurrent);
}

#[test]
fn actors_have_fixed_widths() {
    fn check<A: ActorBytes>(actor: A, expected: &[u8]) {
        let mut bytes = Vec::new();
        actor.write_to(&mut bytes);
        assert_eq!(bytes, expected);
        assert_eq!(usize::from(A::WIDTH), bytes.len());
        assert_eq!(A::read_from(&bytes), Some(actor));
        assert_eq!(A::read_from(&bytes[1..]), None);
        bytes.push(0);
        assert_eq!(A::read_from(&bytes), None);
    }
    check(0x0102_u16, &[2, 1]);
    check(0x0102_0304_u32, &[4, 3, 2, 1]);
    check(1_u64, &[1, 0, 0, 0, 0, 0, 0, 0]);
    check(1_u128 << 120, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    check(*b"key", b"key");
    let replica = Replica { node: 1, incarnation: 2 };
    check(replica, &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
}

/// One clock twice: ours and that of `crdts`.
#[derive(Clone, Debug)]
struct Twin {
    ours: VectorClock<u64>,
    theirs: VClock<u64>,
}

impl Twin {
    fn check(&self, other: &Self) {
        let relation = match self.theirs.partial_cmp(&other.theirs) {
            Some(Ordering::Equal) => Causality::Equal,
            Some(Ordering::Less) => Causality::Before,
            Some(Ordering::Greater) => Causality::After,
            None => Causality::Concurrent,
        };
        assert_eq!(self.ours.compare(&other.ours), relation, "{self:?} {other:?}");
        let entries: Vec<_> = self.ours.iter().map(|dot| (dot.actor, dot.counter)).collect();
        let expected: Vec<_> = self.theirs.iter().map(|dot| (*dot.actor, dot.counter)).collect();
        assert_eq!(entries, expected);
    }
}

#[test]
fn ten_thousand_sequences_agree_with_crdts() {
    at_least(10_000, "causality::ten_thousand_sequences_agree_with_crdts", |seed| {
        let mut rng = Rng::new(seed);
        let actors = 1 + rng.below(9);
        let mut twins = vec![Twin { ours: VectorClock::new(), theirs: VClock::new() }; 3];
        for _ in 0..20 {
            let [to, from] = [0, 1].map(|_| usize::try_from(rng.below(3)).unwrap());
            let source = twins[from].clone();
            let twin = &mut twins[to];
            match rng.below(8) {
                0..5 => {
                    let actor = rng.below(actors);
                    let dot = twin.theirs.inc(actor);
                    assert_eq!(twin.ours.tick(actor).counter, dot.counter);
                    twin.theirs.apply(dot);
                }
                5..7 => {
                    let before = twin.ours.clone();
                    let changed = twin.ours.merge(&source.ours);
                    assert_eq!(changed, before != twin.ours);
                    twin.theirs.merge(source.theirs);
                }
                _ => {
                    twin.ours.meet(&source.ours);
                    twin.theirs.glb(&source.theirs);
                }
            }
            twins[to].check(&twins[from]);
        }
    });
}
