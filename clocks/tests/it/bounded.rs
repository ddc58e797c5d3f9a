//! Intervals, and the sources that need no operating system.

use crate::support::{Rng, each_seed};
use quorate_clocks::{
    BoundedClock, Clock, ErrorCode, FixedError, Interval, ManualBounded, ManualClock, Monotonic,
    Quality, Unbounded, WallTime,
};
use std::sync::Arc;
use std::time::Duration;

const fn ns(n: u64) -> WallTime {
    WallTime::from_nanos(n)
}

#[test]
fn intervals_are_ordered_and_saturate() {
    assert!(Interval::new(ns(2), ns(1), Quality::Assumed).is_none());
    let point = Interval::new(ns(2), ns(2), Quality::FreeRunning).unwrap();
    assert_eq!((point.width(), point.quality()), (Duration::ZERO, Quality::FreeRunning));
    let year = Duration::from_secs(31_536_000);
    let low = Interval::around(ns(5), year, Quality::Assumed);
    assert_eq!((low.earliest(), low.contains(ns(0))), (WallTime::EPOCH, true));
    let high = Interval::around(ns(u64::MAX - 5), Duration::MAX, Quality::Assumed);
    assert_eq!((high.earliest(), high.latest()), (WallTime::EPOCH, ns(u64::MAX)));
    assert!(high.contains(ns(0)) && high.contains(ns(u64::MAX)));
}

/// True time is in every interval, as long as the clock keeps to what is said of it.
#[test]
fn an_interval_contains_true_time() {
    each_seed(50, "bounded::an_interval_contains_true_time", |seed| {
        let mut rng = Rng::new(seed);
        let error = rng.below(1_000_000);
        let time = ManualClock::new(ns(1_700_000_000_000_000_000));
        let mut truth = time.wall();
        let fixed = FixedError::new(time.clone(), Duration::from_nanos(error));
        let manual = ManualBounded::new(time.clone(), Duration::from_nanos(error));
        for _ in 0..200 {
            let step = Duration::from_nanos(rng.below(1_000_000_000));
            truth = truth.saturating_add(step);
            // The clock is wrong by at most `error`, either way.
            let off = i64::try_from(rng.below(2 * error + 1)).unwrap();
            time.set_wall(truth.saturating_step(off - i64::try_from(error).unwrap()));
            for interval in [fixed.interval().unwrap(), manual.interval().unwrap()] {
                assert!(interval.contains(truth), "{interval} without {truth}");
                assert_eq!(interval.width(), Duration::from_nanos(2 * error));
            }
        }
    });
}

/// A clock whose wall time may be old.
#[derive(Debug)]
struct Coarse;

impl Clock for Coarse {
    fn monotonic(&self) -> Monotonic {
        Monotonic::ZERO
    }
    fn wall(&self) -> WallTime {
        ns(1_000)
    }
    fn wall_staleness(&self) -> Duration {
        Duration::from_nanos(400)
    }
}

#[test]
fn a_stale_reading_widens_the_interval_forward() {
    let interval = FixedError::new(Coarse, Duration::from_nanos(10)).interval().unwrap();
    assert_eq!((interval.earliest(), interval.latest()), (ns(990), ns(1_410)));
    assert_eq!(interval.quality(), Quality::Assumed);
}

#[test]
fn a_manual_clock_loses_and_finds_its_bound() {
    let time = ManualClock::new(ns(1_000));
    let clock = ManualBounded::new(time.clone(), Duration::from_nanos(10));
    let handle: Arc<dyn BoundedClock> = Arc::new(clock.clone());
    assert_eq!(handle.interval().unwrap().quality(), Quality::Synchronized);
    clock.lose_sync();
    assert_eq!(handle.interval(), Err(Unbounded::Unsynchronized));
    clock.disrupt();
    assert_eq!(BoundedClock::interval(&&handle), Err(Unbounded::Disrupted));
    for quality in [Quality::FreeRunning, Quality::Assumed, Quality::Synchronized] {
        clock.set_quality(quality);
        assert_eq!(Box::new(handle.clone()).interval().unwrap().quality(), quality);
    }
    clock.set_error(Duration::from_nanos(25));
    time.advance(Duration::from_nanos(1));
    assert_eq!(handle.interval().unwrap().earliest(), ns(1_001 - 25));
}

#[test]
fn the_reasons_say_whether_to_ask_again() {
    let age = Duration::from_secs(3);
    let retryable = [
        Unbounded::Unsynchronized,
        Unbounded::Disrupted,
        Unbounded::Stale { age },
        Unbounded::Causality { by: age },
        Unbounded::Source(ErrorCode::Os(2)),
        Unbounded::Source(ErrorCode::Unstable),
    ];
    assert!(retryable.iter().all(|why| why.is_retryable() && !why.is_corruption()));
    assert!(!Unbounded::Source(ErrorCode::Unsupported).is_retryable());
    let malformed = Unbounded::Malformed("magic");
    assert!(malformed.is_corruption() && !malformed.is_retryable());
    assert_eq!(Unbounded::Stale { age }.to_string(), "the bound is 3s old");
    assert_eq!(malformed.to_string(), "malformed clock data: magic");
}
