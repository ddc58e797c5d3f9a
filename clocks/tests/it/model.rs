//! Vector clocks against causal histories kept as sets of events.

use crate::support::{Rng, each_seed};
use quorate_clocks::{Causality, Dot, VectorClock, VersionVector};
use std::collections::BTreeSet;

pub(crate) type History = BTreeSet<(u16, u64)>;

/// Set inclusion: the definition.
pub(crate) fn relation(left: &History, right: &History) -> Causality {
    match (left.is_subset(right), right.is_subset(left)) {
        (true, true) => Causality::Equal,
        (true, false) => Causality::Before,
        (false, true) => Causality::After,
        (false, false) => Causality::Concurrent,
    }
}

pub(crate) fn events(dots: impl Iterator<Item = Dot<u16>>) -> History {
    dots.flat_map(|dot| (1..=dot.counter).map(move |counter| (dot.actor, counter))).collect()
}

/// Up to 40 events of up to 6 processes: the clock and the history of each.
fn execution(rng: &mut Rng) -> Vec<(VectorClock<u16>, History)> {
    let actors = 2 + rng.below(5);
    let mut processes =
        vec![(VectorClock::new(), History::new()); usize::try_from(actors).unwrap()];
    let mut events: Vec<(VectorClock<u16>, History)> = Vec::new();
    for _ in 0..=rng.below(40) {
        let actor = u16::try_from(rng.below(actors)).unwrap();
        let (clock, history) = &mut processes[usize::from(actor)];
        let dot = if !events.is_empty() && rng.one_in(2) {
            // Any event before may have sent the message that arrives.
            let (sent, seen) = rng.pick(&events);
            history.extend(seen);
            clock.receive(actor, sent)
        } else {
            clock.tick(actor)
        };
        assert!(history.insert((dot.actor, dot.counter)), "{dot:?} names two events");
        events.push((clock.clone(), history.clone()));
    }
    events
}

#[test]
fn vector_clocks_match_causal_histories() {
    each_seed(300, "model::vector_clocks_match_causal_histories", |seed| {
        let events = execution(&mut Rng::new(seed));
        for (left, left_history) in &events {
            assert_eq!(self::events(left.iter()), *left_history);
            for (right, right_history) in &events {
                assert_eq!(left.compare(right), relation(left_history, right_history));
                let (mut merged, mut met) = (left.clone(), left.clone());
                merged.merge(right);
                met.meet(right);
                assert_eq!(self::events(merged.iter()), left_history | right_history);
                assert_eq!(self::events(met.iter()), left_history & right_history);
            }
        }
    });
}

#[test]
fn version_vectors_match_sets_of_updates() {
    each_seed(300, "model::version_vectors_match_sets_of_updates", |seed| {
        let mut rng = Rng::new(seed);
        let mut replicas = vec![(VersionVector::new(), History::new()); 3];
        for _ in 0..40 {
            let dot = Dot { actor: u16::try_from(rng.below(6)).unwrap(), counter: rng.below(8) };
            let (vector, held) = &mut replicas[usize::try_from(rng.below(3)).unwrap()];
            let next = vector.next_dot(dot.actor).counter;
            assert_eq!(vector.contains(dot), held.contains(&(dot.actor, dot.counter)));
            match vector.record(dot) {
                Ok(new) => {
                    assert_eq!(new, dot.counter == next);
                    assert!((1..=next).contains(&dot.counter));
                    held.extend([(dot.actor, dot.counter)]);
                }
                Err(gap) => assert_eq!((gap.have + 1, gap.got), (next, dot.counter)),
            }
            assert_eq!(events(vector.iter()), *held);
        }
        for (left, have) in &replicas {
            for (right, lack) in &replicas {
                let ranges: Vec<_> = left.missing_from(right).collect();
                let missing = ranges.iter().flat_map(|range| range.dots());
                let missing: Vec<_> = missing.map(|dot| (dot.actor, dot.counter)).collect();
                assert_eq!(missing, (have - lack).into_iter().collect::<Vec<_>>());
                // Sent in this order, they are recorded without a gap.
                let mut caught_up = right.clone();
                for dot in ranges.iter().flat_map(|range| range.dots()) {
                    assert_eq!(caught_up.record(dot), Ok(true));
                }
                let mut merged = right.clone();
                merged.merge(left);
                assert_eq!(caught_up, merged);
            }
        }
    });
}
