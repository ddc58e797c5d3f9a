//! Points in time.

use quorate_clocks::{Monotonic, WallTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn arithmetic_saturates() {
    let t = Monotonic::from_nanos(10);
    assert_eq!(t.saturating_sub(Duration::from_secs(1)), Monotonic::ZERO);
    assert_eq!(t.saturating_add(Duration::MAX), Monotonic::FAR_FUTURE);
    assert_eq!(t.checked_add(Duration::MAX), None);
    assert_eq!(Monotonic::FAR_FUTURE.checked_add(Duration::from_nanos(1)), None);
    assert_eq!(t.checked_add(Duration::from_nanos(5)), Some(Monotonic::from_nanos(15)));
    assert_eq!(Monotonic::ZERO.since(t), Duration::ZERO);
    assert_eq!(t.since(Monotonic::ZERO), Duration::from_nanos(10));
    let w = WallTime::from_nanos(10);
    assert_eq!(w.saturating_sub(Duration::from_secs(1)), WallTime::EPOCH);
    assert_eq!(w.saturating_add(Duration::MAX), WallTime::from_nanos(u64::MAX));
    assert_eq!(w.saturating_step(-11), WallTime::EPOCH);
    assert_eq!(w.saturating_step(1), WallTime::from_nanos(11));
    assert_eq!(w.since(WallTime::from_nanos(4)), Duration::from_nanos(6));
}

#[test]
fn text_forms() {
    assert_eq!(WallTime::from_nanos(1_700_000_000_000_000_001).to_string(), "1700000000.000000001");
    assert_eq!(Monotonic::from_nanos(1_500_000_000).to_string(), "1.500000000s");
    assert_eq!(WallTime::from_nanos(1_999_999).as_millis(), 1);
}

#[test]
fn system_time_conversions() {
    let t = WallTime::from_nanos(1_700_000_000_123_456_789);
    assert_eq!(WallTime::try_from(SystemTime::from(t)).unwrap(), t);
    assert!(WallTime::try_from(UNIX_EPOCH - Duration::from_secs(1)).is_err());
    let far = UNIX_EPOCH + Duration::from_secs(u64::MAX / 1_000_000_000 + 10);
    assert_eq!(WallTime::try_from(far).unwrap(), WallTime::from_nanos(u64::MAX));
}
