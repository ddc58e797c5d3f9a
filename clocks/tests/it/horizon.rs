//! The restart floor.

use crate::hybrid::manual;
use quorate_clocks::*;
use std::time::Duration;

fn config() -> HlcConfig {
    HlcConfig::lan().build().unwrap()
}

/// Writes what is due; the horizon then stored.
fn persist<C: Clock>(hlc: &HorizonHlc<C>) -> Option<Timestamp> {
    let persist = hlc.poll_persist()?;
    let horizon = persist.horizon();
    hlc.persisted(persist);
    Some(horizon)
}

#[test]
fn h06_a_restart_behind_the_last_stamp_issues_nothing_twice() {
    let clock = manual();
    let hlc = HorizonHlc::recover(clock.clone(), config(), None).unwrap();
    let mut stored = persist(&hlc);
    let mut last = hlc.now().unwrap();
    for _ in 0..5 {
        clock.step_wall(-3_600_000_000_000);
        let hlc = HorizonHlc::recover(clock.clone(), config(), stored).unwrap();
        assert!(hlc.now().is_err(), "nothing before the first durable horizon");
        stored = persist(&hlc).or(stored);
        let next = hlc.now().unwrap();
        assert!(next > last, "{next} after {last}");
        last = next;
    }
}

/// A disk that stands still makes no crash: stamps are refused until it goes on.
#[test]
fn h07_a_slow_disk_gives_a_typed_error_and_a_retry() {
    let clock = manual();
    let hlc = HorizonHlc::recover(clock.clone(), config(), None).unwrap();
    let horizon = persist(&hlc).unwrap();
    clock.advance(Duration::from_secs(1));
    let behind = hlc.now().unwrap_err();
    assert_eq!(behind.durable, Some(horizon));
    assert!(behind.wanted > horizon);
    let asked = hlc.poll_persist().expect("a stamp was refused");
    // While it is being written nobody else is asked, and nothing is issued.
    assert_eq!(hlc.poll_persist(), None);
    let remote = hlc.latest().unwrap();
    let refused = hlc.observe(remote);
    assert!(matches!(refused, Err(ObserveError::HorizonBehind(_))), "{refused:?}");
    assert!(refused.unwrap_err().is_retryable());
    // The write fails and its answer is lost: it is asked for again, without a restart.
    drop(asked);
    clock.advance(Duration::from_millis(100));
    assert!(hlc.now().is_err() && hlc.poll_persist().is_none());
    clock.advance(Duration::from_millis(150));
    let again = persist(&hlc).expect("asked for again");
    assert!(hlc.now().unwrap() <= again);
}

/// The same while the wall clock is an hour behind the last horizon: nothing moves but monotonic
/// time.
#[test]
fn h07_a_lost_write_is_asked_for_again_though_the_wall_clock_is_behind() {
    let clock = manual();
    let stored = HorizonHlc::recover(clock.clone(), config(), None).unwrap();
    let stored = persist(&stored);
    clock.step_wall(-3_600_000_000_000);
    let hlc = HorizonHlc::recover(clock.clone(), config(), stored).unwrap();
    for _ in 0..5 {
        drop(hlc.poll_persist().expect("asked for again after a window"));
        assert!(hlc.now().is_err());
        clock.advance(config().horizon_window());
    }
    persist(&hlc).unwrap();
    hlc.now().unwrap();
}

/// A quick restart begins at most a window ahead, which peers must take.
#[test]
fn h24_a_restarted_node_is_not_refused_by_its_peers() {
    let clock = manual();
    let half = config().max_skew() / 2;
    let largest = HlcConfig::lan().horizon_window(half).build().unwrap();
    let hlc = HorizonHlc::recover(clock.clone(), largest, None).unwrap();
    let stored = persist(&hlc);
    hlc.now().unwrap();
    let hlc = HorizonHlc::recover(clock.clone(), largest, stored).unwrap();
    persist(&hlc);
    let sent = hlc.now().unwrap();
    // The peer's clock is as far behind as clocks may be for this promise.
    let peer = Hlc::new(SkewedClock::new(clock, -i64::try_from(half.as_nanos()).unwrap(), 0));
    assert!(sent.wall().since(peer.clock().wall()) > half);
    assert!(peer.observe(sent).is_ok());
    let above = half + Duration::from_nanos(1);
    let error = HlcConfig::lan().horizon_window(above).build().unwrap_err();
    assert_eq!(error.violations(), ["horizon_window: 1 ms to max_skew / 2"]);
}

/// A crash loop: each life begins at the horizon of the one before, and peers take all of them.
#[test]
fn h24_quick_restarts_do_not_add_up() {
    let clock = manual();
    let peer = Hlc::new(clock.clone());
    let mut stored = None;
    for life in 1..=20 {
        let hlc = HorizonHlc::recover(clock.clone(), config(), stored).unwrap();
        stored = persist(&hlc).or(stored);
        let sent = hlc.now().unwrap();
        let lead = sent.wall().since(clock.wall());
        let bound = config().horizon_window() + Duration::from_millis(life);
        assert!(lead <= bound, "life {life} leads by {lead:?}");
        peer.observe(sent).unwrap();
    }
}

/// Nobody has made such a horizon, and there would be no stamps above it.
#[test]
fn h22_a_horizon_at_the_end_of_the_word_is_refused() {
    let stored = Timestamp::from_bits(u64::MAX);
    let refused = HorizonHlc::recover(manual(), config(), stored).map(drop);
    assert_eq!(refused, Err(ObserveError::OutOfRange { remote: stored.unwrap() }));
    let largest = Timestamp::from_bits(u64::MAX - (1 << 51));
    let hlc = HorizonHlc::recover(manual(), config(), largest).unwrap();
    persist(&hlc).unwrap();
    assert!(Some(hlc.now().unwrap()) > largest);
}

/// The own wall clock jumps years ahead: stamps follow, the horizon makes it durable, and the
/// monitor says so at its first reading.
#[test]
fn h35_a_jump_of_the_own_clock_is_reported_at_the_first_reading() {
    let clock = manual();
    let mut monitor = ClockMonitor::new(MonitorConfig::for_skew(config().max_skew()), clock.read());
    let hlc = HorizonHlc::recover(clock.clone(), config(), None).unwrap();
    persist(&hlc);
    let year = Duration::from_secs(365 * 86_400);
    clock.step_wall(i64::try_from(year.as_nanos()).unwrap());
    assert_eq!(monitor.handle_reading(clock.read()), Some(ClockEvent::SteppedForward { by: year }));
    let _ = hlc.now();
    let stored = persist(&hlc);
    // Corrected, and restarted: it stays ahead. A lower horizon would break the promise.
    clock.step_wall(-i64::try_from(year.as_nanos()).unwrap());
    let hlc = HorizonHlc::recover(clock, config(), stored).unwrap();
    persist(&hlc);
    assert!(hlc.lead() >= year);
}

#[test]
fn an_idle_node_writes_nothing() {
    let clock = manual();
    let hlc = HorizonHlc::recover(clock.clone(), config(), None).unwrap();
    persist(&hlc).unwrap();
    for _ in 0..1_000 {
        clock.advance(Duration::from_secs(1));
        assert_eq!(hlc.poll_persist(), None);
    }
    assert!(hlc.now().is_err(), "the first stamp after a long time costs a write");
    assert!(persist(&hlc).is_some());
    assert!(hlc.now().is_ok());
}

/// A busy node writes about once in half a window, not once in a stamp.
#[test]
fn a_busy_node_writes_twice_in_a_window() {
    let clock = manual();
    let hlc = HorizonHlc::recover(clock.clone(), config(), None).unwrap();
    let mut writes = 0;
    for _ in 0..10_000 {
        writes += u32::from(persist(&hlc).is_some());
        hlc.now().unwrap();
        clock.advance(Duration::from_millis(1));
    }
    assert!((60..=100).contains(&writes), "{writes} writes in 10 s with a window of 250 ms");
}

#[test]
fn a_file_mark_keeps_the_horizon_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("horizon");
    let clock = manual();
    let mut last = None;
    for _ in 0..3 {
        let mut mark = FileMark::open_or_create(&path, MarkKind::Horizon).unwrap();
        let stored = Timestamp::from_bits(mark.get());
        let hlc = HorizonHlc::recover(clock.clone(), config(), stored).unwrap();
        let persist = hlc.poll_persist().unwrap();
        mark.raise(persist.horizon().to_bits()).unwrap();
        hlc.persisted(persist);
        let next = hlc.now().unwrap();
        assert!(last.is_none_or(|last| next > last));
        last = Some(next);
        clock.step_wall(-1_000_000_000);
    }
}
