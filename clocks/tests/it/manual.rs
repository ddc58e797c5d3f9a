//! The manual clock.

use quorate_clocks::{Clock, Drift, ManualClock, Monotonic, WallTime};
use std::time::Duration;

#[test]
fn clones_share_one_time() {
    let a = ManualClock::new(WallTime::from_nanos(100));
    let b = a.clone();
    a.advance(Duration::from_nanos(7));
    assert_eq!(b.monotonic(), Monotonic::from_nanos(7));
    assert_eq!(b.wall(), WallTime::from_nanos(107));
    b.suspend(Duration::from_nanos(3));
    assert_eq!(a.monotonic(), Monotonic::from_nanos(10));
}

#[test]
fn wall_steps_leave_monotonic_alone() {
    let clock = ManualClock::new(WallTime::from_nanos(100));
    clock.step_wall(50);
    assert_eq!(clock.wall(), WallTime::from_nanos(150));
    clock.step_wall(i64::MIN);
    assert_eq!(clock.wall(), WallTime::EPOCH);
    clock.set_wall(WallTime::from_nanos(9));
    assert_eq!(clock.wall(), WallTime::from_nanos(9));
    assert_eq!(clock.monotonic(), Monotonic::ZERO);
}

#[test]
fn drift_is_what_was_set() {
    let clock = ManualClock::new(WallTime::EPOCH);
    assert_eq!(clock.drift(), Drift::NONE);
    clock.set_drift(Drift::CRYSTAL);
    assert_eq!(clock.drift(), Drift::CRYSTAL);
    assert!(clock.is_suspend_aware());
}

#[test]
fn time_stops_at_the_end_instead_of_wrapping() {
    let clock = ManualClock::new(WallTime::from_nanos(u64::MAX - 1));
    clock.advance(Duration::MAX);
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.monotonic(), Monotonic::FAR_FUTURE);
    assert_eq!(clock.wall(), WallTime::from_nanos(u64::MAX));
}

#[test]
fn advancing_from_many_threads_loses_nothing() {
    let clock = ManualClock::new(WallTime::EPOCH);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    clock.advance(Duration::from_nanos(1));
                }
            });
        }
    });
    assert_eq!(clock.monotonic(), Monotonic::from_nanos(4_000));
    assert_eq!(clock.wall(), WallTime::from_nanos(4_000));
}
