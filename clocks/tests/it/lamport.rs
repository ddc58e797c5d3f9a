//! The Lamport clock.

use quorate_clocks::{LamportClock, LamportTime};

#[test]
fn h25_a_remote_near_the_maximum_does_not_poison_the_counter() {
    let clock = LamportClock::starting_at(LamportTime::new(7)).unwrap();
    for poison in [(1 << 63) + 1, u64::MAX] {
        let error = clock.observe(LamportTime::new(poison)).unwrap_err();
        assert_eq!(error.remote.value(), poison);
        assert_eq!(clock.latest(), LamportTime::new(7));
    }
    let largest = clock.observe(LamportTime::REMOTE_MAX).unwrap();
    assert_eq!(largest.value(), (1 << 63) + 1);
    assert_eq!(clock.tick().value(), (1 << 63) + 2);
}

#[test]
fn h25_a_stored_time_near_the_end_of_the_word_is_refused() {
    assert!(LamportClock::starting_at(LamportTime::new(u64::MAX)).is_err());
    let own = LamportTime::new((1 << 63) + 9); // its own counting after such a remote
    assert_eq!(LamportClock::starting_at(own).unwrap().tick().value(), (1 << 63) + 10);
}

#[test]
fn it_counts_past_whatever_it_hears() {
    let clock = LamportClock::new();
    assert_eq!(clock.tick().value(), 1);
    assert_eq!(clock.observe(LamportTime::new(10)).unwrap().value(), 11);
    assert_eq!(clock.observe(LamportTime::new(3)).unwrap().value(), 12);
    assert_eq!(clock.observe(LamportTime::new(12)).unwrap().value(), 13);
    assert_eq!(clock.latest().value(), 13);
}

#[test]
fn threads_get_distinct_times_in_order() {
    let clock = LamportClock::new();
    let mut all: Vec<LamportTime> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let clock = &clock;
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for k in 0..5_000 {
                        mine.push(clock.tick());
                        mine.push(clock.observe(LamportTime::new(k * n)).unwrap());
                    }
                    assert!(mine.is_sorted_by(|a, b| a < b));
                    mine
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    all.sort_unstable();
    assert!(all.is_sorted_by(|a, b| a < b), "one was given twice");
}
