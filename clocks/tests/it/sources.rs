//! Clocks made of other clocks, and the monitor.

use crate::hybrid::manual;
use quorate_clocks::testing::{Sample, SuspendOffset};
use quorate_clocks::*;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// RAW stands still in a suspend; MONOTONIC too; BOOTTIME does not.
#[test]
fn h23_unslewed_time_includes_the_time_in_suspend() {
    let offset = SuspendOffset::new();
    let sample = |mono: u64, boot: u64| {
        move || Some(Sample { before: mono, boottime: boot, after: mono + 60 })
    };
    let read = |mono, boot, raw| offset.reading(sample(mono, boot), || Some(raw)).unwrap();
    // Slewed by 10 %, which RAW does not see; never suspended.
    assert_eq!(read(11 * SECOND, 11 * SECOND + 30, 10 * SECOND), 10 * SECOND);
    // A minute in suspend.
    let offset_ns = 60 * SECOND;
    let after = read(12 * SECOND, 72 * SECOND + 60, 11 * SECOND);
    assert_eq!(after, 11 * SECOND + offset_ns);
    // A sample that was interrupted for an hour says nothing, and the known offset stays.
    let torn = || Some(Sample { before: 0, boottime: 3_672 * SECOND, after: 3_600 * SECOND });
    assert_eq!(offset.reading(torn, || Some(12 * SECOND)), Some(12 * SECOND + offset_ns));
    // Nor does a smaller one: time does not go back.
    assert_eq!(read(14 * SECOND, 14 * SECOND, 13 * SECOND), 13 * SECOND + offset_ns);
    assert_eq!(offset.reading(|| None, || Some(1)), None);
}

#[test]
fn h23_each_clock_states_the_drift_of_what_it_reads() {
    let (slewed, unslewed) = (SystemClock::new(), SystemClock::unslewed());
    assert_eq!(slewed.drift(), Drift::SLEWED);
    if cfg!(all(target_os = "linux", target_pointer_width = "64")) {
        assert_eq!(unslewed.drift(), Drift::CRYSTAL);
        assert!(unslewed.is_suspend_aware());
        assert_eq!(slewed.source(), "CLOCK_BOOTTIME");
    }
    let mut last = unslewed.monotonic();
    for _ in 0..10_000 {
        let next = unslewed.monotonic();
        assert!(next >= last);
        last = next;
    }
    // What a fleet slewed by chrony's default needs, and what the kernel allows at most.
    assert!(Drift::SLEWED.as_ppm() >= 83_333 && Drift::SLEWED.as_ppm() >= 100_500);
}

#[test]
fn a_coarse_clock_is_never_ahead_of_a_fine_one() {
    let (coarse, fine) = (CoarseClock::new(), SystemClock::new());
    let stale = coarse.wall_staleness();
    assert!(stale <= Duration::from_millis(10));
    for _ in 0..1_000 {
        // The time of the last tick. How late a tick may come is the machine's business.
        let (seen, after) = (coarse.wall(), fine.wall());
        assert!(seen <= after, "{seen} is ahead of {after}");
    }
    assert_eq!(coarse.drift(), fine.drift());
    assert_eq!(coarse.is_suspend_aware(), fine.is_suspend_aware());
    assert!(coarse.monotonic() <= fine.monotonic());
}

#[test]
fn a_skewed_clock_is_wrong_by_exactly_what_it_was_told() {
    let truth = manual();
    truth.advance(Duration::from_secs(5));
    let fast = SkewedClock::new(truth.clone(), -3_000_000_000, 100_000_000);
    let start = fast.read();
    assert_eq!(truth.wall().since(start.wall), Duration::from_secs(3));
    truth.advance(Duration::from_secs(10));
    assert_eq!(fast.monotonic().since(start.monotonic), Duration::from_secs(11));
    assert_eq!(fast.wall().since(start.wall), Duration::from_secs(11));
    // A step of the inner clock shows; suspended time runs as wrong as the rest.
    truth.step_wall(-20_000_000_000);
    assert_eq!(start.wall.since(fast.wall()), Duration::from_secs(11));
    let slow = SkewedClock::new(truth.clone(), 0, -400_000_000);
    let before = slow.monotonic();
    truth.suspend(Duration::from_secs(10));
    assert_eq!(slow.monotonic().since(before), Duration::from_secs(6));
    assert_eq!(slow.drift().as_ppm(), 400_000);
    // A rate that no clock has is the largest that can be said.
    let wild = SkewedClock::new(truth, i64::MIN, i64::MIN);
    assert_eq!((wild.drift().as_ppm(), wild.wall()), (500_000, WallTime::EPOCH));
}

/// G11: what two wrong clocks in a row state covers what they do.
#[test]
fn drifts_of_wrapped_clocks_multiply() {
    let truth = manual();
    for (a, b) in [(100, 100), (-100, 100), (400, 400), (400, -400), (250, 499)] {
        let inner = SkewedClock::new(truth.clone(), 0, a * 1_000_000);
        let outer = SkewedClock::new(inner, 0, b * 1_000_000);
        let before = outer.monotonic();
        let passed = Duration::from_secs(10);
        truth.advance(passed);
        let seen = outer.monotonic().since(before);
        assert!(seen <= outer.drift().stretch(passed), "{a} {b}: {seen:?}");
        assert!(seen >= outer.drift().shrink(passed), "{a} {b}: {seen:?}");
    }
    let twice = SkewedClock::new(SkewedClock::new(truth, 0, 100_000_000), 0, 100_000_000);
    assert_eq!(twice.drift().as_ppm(), 210_000);
}

#[test]
fn the_monitor_tells_steps_from_slewing() {
    let clock = manual();
    let config = MonitorConfig::new(Duration::from_millis(250), Duration::from_millis(50)).unwrap();
    let mut monitor = ClockMonitor::new(config, clock.read());
    let mut after = |step_ms: i64| {
        clock.advance(Duration::from_secs(1));
        clock.step_wall(step_ms * 1_000_000);
        monitor.handle_reading(clock.read())
    };
    let ms = Duration::from_millis;
    assert_eq!(after(249), None);
    assert_eq!(after(250), Some(ClockEvent::SteppedForward { by: ms(250) }));
    assert_eq!(after(-50), None);
    assert_eq!(after(-51), Some(ClockEvent::SteppedBackward { by: ms(51) }));
    let (earlier, now) = (manual().read(), clock.read());
    let _ = monitor.handle_reading(now);
    let reversed = monitor.handle_reading(earlier);
    let by = now.monotonic.since(earlier.monotonic);
    assert_eq!(reversed, Some(ClockEvent::MonotonicReversed { by }));
}

/// A smeared leap second is slewing; an unsmeared one is a step back of a second. The two fleets
/// differ by up to a second meanwhile, and neither clock can see the other: the docs say so.
#[test]
fn h28_a_monitor_cannot_see_that_others_smear_leap_seconds() {
    let (smeared, unsmeared) = (manual(), manual());
    let config = MonitorConfig::for_skew(Duration::from_millis(500));
    let mut at_smeared = ClockMonitor::new(config, smeared.read());
    let mut at_unsmeared = ClockMonitor::new(config, unsmeared.read());
    let mut differed = Duration::ZERO;
    for second in 0..86_400 {
        for clock in [&smeared, &unsmeared] {
            clock.advance(Duration::from_secs(1));
        }
        smeared.step_wall(-11_574); // 11.6 ppm for a day: a second
        assert_eq!(at_smeared.handle_reading(smeared.read()), None);
        let leap = second == 43_200;
        if leap {
            unsmeared.step_wall(-1_000_000_000);
        }
        let event = at_unsmeared.handle_reading(unsmeared.read());
        assert_eq!(event.is_some(), leap, "only the step is seen, and only where it happens");
        let (a, b) = (smeared.wall(), unsmeared.wall());
        differed = differed.max(a.since(b)).max(b.since(a));
    }
    assert!(differed > Duration::from_millis(499), "{differed:?}");
    assert!(include_str!("../../src/monitor.rs").contains("smeared from unsmeared"));
}

#[test]
fn configurations_name_every_violation() {
    let hour = Duration::from_secs(3_601);
    let error = HlcConfig::lan().max_skew(hour).horizon_window(hour).build().unwrap_err();
    assert_eq!(
        error.violations(),
        ["max_skew: 1 ms to 1 h", "horizon_window: 1 ms to max_skew / 2"]
    );
    assert_eq!(
        MonitorConfig::new(Duration::ZERO, Duration::ZERO).unwrap_err().to_string(),
        "out of range: forward_limit: at least 1 ms; backward_limit: at least 1 ms"
    );
    for preset in [HlcConfig::local(), HlcConfig::lan(), HlcConfig::wan()] {
        preset.build().unwrap();
    }
    assert_eq!(HlcConfig::lan().build().unwrap(), HlcConfig::default());
}
