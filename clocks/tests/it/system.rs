//! The operating system's clock.

use quorate_clocks::{Clock, Drift, Monotonic, SystemClock, WallTime};
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn never_goes_back_across_threads() {
    let clock = SystemClock::new();
    let newest = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    // Seen before this reading, so this reading may not be smaller.
                    let before = newest.load(Ordering::SeqCst);
                    let now = clock.monotonic();
                    assert!(now >= Monotonic::from_nanos(before));
                    newest.fetch_max(now.as_nanos(), Ordering::SeqCst);
                }
            });
        }
    });
    assert!(newest.load(Ordering::SeqCst) > 0);
}

#[test]
fn two_clocks_share_one_origin() {
    let a = SystemClock::new().monotonic();
    let b = SystemClock::default().monotonic();
    let c = SystemClock::new().monotonic();
    assert!(a <= b && b <= c);
}

#[test]
fn says_what_it_is() {
    let clock = SystemClock::new();
    assert_eq!(clock.drift(), Drift::SLEWED);
    let linux = cfg!(all(target_os = "linux", target_pointer_width = "64"));
    assert_eq!(clock.is_suspend_aware(), linux);
}

/// On Linux the reading is the time since boot, suspended time included: `/proc/uptime` counts the
/// same.
#[cfg(target_os = "linux")]
#[test]
fn counts_from_boot_including_suspend() {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
    let clock = SystemClock::new();
    let now = std::time::Duration::from_nanos(clock.monotonic().as_nanos()).as_secs_f64();
    // A machine may offset its uptime in a time namespace, but never by less than what it shows.
    assert!((now - uptime).abs() < 60.0, "clock {now} s, uptime {uptime} s");
}

#[test]
fn wall_is_after_this_crate_was_written() {
    // 2024-01-01T00:00:00Z
    assert!(SystemClock::new().wall() > WallTime::from_nanos(1_704_067_200_000_000_000));
}
