//! Commit-wait: the rule, and the one function that waits.

use quorate_clocks::{
    BoundedClock, CommitWait, CommitWaitError, Interval, ManualBounded, ManualClock, Quality,
    Timestamp, Unbounded, Wait, WallTime, commit_wait,
};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

const START: u64 = 1_700_000_000_000_000_000;
const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(10);

const fn ns(n: u64) -> WallTime {
    WallTime::from_nanos(n)
}

fn around(wall: u64, error: u64) -> Interval {
    Interval::around(ns(wall), Duration::from_nanos(error), Quality::Synchronized)
}

#[test]
fn is_over_once_the_earliest_time_is_later() {
    let wait = CommitWait::new(ns(1_000));
    assert_eq!(wait.poll(&around(1_000, 5)), Wait::For(Duration::from_nanos(6)));
    assert_eq!(wait.poll(&around(1_005, 5)), Wait::For(Duration::from_nanos(1)));
    assert_eq!(wait.poll(&around(1_006, 5)), Wait::Done);
    assert_eq!(wait.poll(&around(5_000, 5_000)), Wait::For(Duration::from_nanos(1_001)));
    // What no clock can pass is never over, and nothing overflows.
    let never = CommitWait::new(ns(u64::MAX));
    assert_eq!(never.poll(&around(u64::MAX, 0)), Wait::For(Duration::from_nanos(1)));
    let Wait::For(left) = never.poll(&around(0, 0)) else { panic!() };
    assert_eq!(left, Duration::from_nanos(u64::MAX) + Duration::from_nanos(1));
}

#[test]
fn a_timestamp_is_past_with_its_whole_microsecond() {
    let stamp = Timestamp::from_parts(1, 4_095).unwrap();
    let wait = CommitWait::after(stamp);
    assert_eq!(wait.until(), ns(1_999));
    assert_eq!(wait.poll(&around(1_999, 0)), Wait::For(Duration::from_nanos(1)));
    assert_eq!(wait.poll(&around(2_000, 0)), Wait::Done);
}

/// A clock that follows tokio's paused time, with an error that a script gives for each reading;
/// the last one stays.
struct Scripted {
    start: Instant,
    errors: Mutex<Vec<Result<Duration, Unbounded>>>,
    readings: Mutex<u32>,
}

impl Scripted {
    fn new(mut errors: Vec<Result<Duration, Unbounded>>) -> Self {
        errors.reverse();
        Self { start: Instant::now(), errors: Mutex::new(errors), readings: Mutex::new(0) }
    }

    fn truth(&self) -> WallTime {
        ns(START).saturating_add(self.start.elapsed())
    }
}

impl BoundedClock for Scripted {
    fn interval(&self) -> Result<Interval, Unbounded> {
        *self.readings.lock().unwrap() += 1;
        let mut errors = self.errors.lock().unwrap();
        let error = if errors.len() > 1 { errors.pop().unwrap() } else { errors[0] };
        error.map(|error| Interval::around(self.truth(), error, Quality::Synchronized))
    }
}

/// H17: the error grows while the wait lasts, so one sleep is not enough.
#[tokio::test(start_paused = true)]
async fn h17_a_bound_that_grows_is_waited_for() {
    let clock = Scripted::new(vec![Ok(5 * MS), Ok(5 * MS), Ok(9 * MS), Ok(11 * MS)]);
    let stamp = clock.interval().unwrap().latest();
    commit_wait(&clock, stamp, LIMIT).await.unwrap();
    assert!(clock.interval().unwrap().earliest() > stamp, "{} shown too early", clock.truth());
    // 5 ms ahead of true time, and then 11 ms of doubt.
    assert_eq!(clock.start.elapsed().as_millis(), 16 + 1);
    assert!(*clock.readings.lock().unwrap() >= 5);
}

#[tokio::test(start_paused = true)]
async fn a_time_in_the_past_is_not_waited_for() {
    let clock = Scripted::new(vec![Ok(5 * MS)]);
    let stamp = clock.truth().saturating_sub(6 * MS);
    commit_wait(&clock, stamp, Duration::ZERO).await.unwrap();
    assert_eq!(clock.start.elapsed(), Duration::ZERO);
}

/// A wait that is longer than the limit is refused before it begins.
#[tokio::test(start_paused = true)]
async fn a_wait_over_its_limit_is_refused_at_once() {
    let clock = Scripted::new(vec![Ok(50 * MS)]);
    let stamp = clock.interval().unwrap().latest();
    let error = commit_wait(&clock, stamp, 100 * MS).await.unwrap_err();
    let left = 100 * MS + Duration::from_nanos(1);
    let expected = CommitWaitError::TooLong { left, waited: Duration::ZERO, limit: 100 * MS };
    assert_eq!(error, expected);
    assert!(error.is_retryable());
    assert_eq!(clock.start.elapsed(), Duration::ZERO);
    // The limit is for all sleeps together.
    let clock = Scripted::new(vec![Ok(5 * MS), Ok(20 * MS)]);
    let stamp = clock.truth();
    let error = commit_wait(&clock, stamp, 10 * MS).await.unwrap_err();
    let CommitWaitError::TooLong { waited, .. } = error else { panic!("{error}") };
    assert_eq!(waited.as_millis(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_lost_bound_ends_the_wait() {
    for why in [Unbounded::Disrupted, Unbounded::Malformed("status")] {
        let clock = Scripted::new(vec![Ok(5 * MS), Err(why)]);
        let stamp = clock.truth();
        let error = commit_wait(&clock, stamp, LIMIT).await.unwrap_err();
        assert_eq!(error, CommitWaitError::Unbounded(why));
        assert_eq!(error.is_retryable(), why.is_retryable());
        assert!(std::error::Error::source(&error).is_some());
    }
}

/// Dropped in the middle, another call waits for what is left.
#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_is_taken_up_again() {
    let clock = Scripted::new(vec![Ok(5 * MS)]);
    let stamp = clock.truth();
    let first = tokio::time::timeout(2 * MS, commit_wait(&clock, stamp, LIMIT)).await;
    assert!(first.is_err());
    let waited = clock.start.elapsed();
    commit_wait(&clock, stamp, LIMIT).await.unwrap();
    assert!(clock.interval().unwrap().earliest() > stamp);
    assert!(waited >= 2 * MS && clock.start.elapsed() < 9 * MS);
}

/// It can be spawned, and takes any source.
#[tokio::test(start_paused = true)]
async fn the_future_is_send_and_takes_a_dyn_clock() {
    fn send<T: Send>(future: T) -> T {
        future
    }
    let manual = ManualBounded::new(ManualClock::new(ns(START)), Duration::from_nanos(10));
    let clock: &dyn BoundedClock = &manual;
    send(commit_wait(clock, ns(START - 11), LIMIT)).await.unwrap();
    // Time that stands still is given up at the limit, not waited for.
    let error = commit_wait(clock, ns(START), 5 * MS).await.unwrap_err();
    assert!(matches!(error, CommitWaitError::TooLong { .. }), "{error}");
}
