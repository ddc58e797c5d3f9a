//! The trait: defaults and forwarding.

use quorate_clocks::{Clock, Drift, Monotonic, Reading, WallTime};
use std::sync::Arc;
use std::time::Duration;

/// Overrides every default, so that a method that is not forwarded shows.
struct Odd;

impl Clock for Odd {
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(1)
    }
    fn wall(&self) -> WallTime {
        WallTime::from_nanos(2)
    }
    fn read(&self) -> Reading {
        let mut reading = Plain.read();
        reading.wall = WallTime::from_nanos(77);
        reading
    }
    fn wall_staleness(&self) -> Duration {
        Duration::from_millis(4)
    }
    fn drift(&self) -> Drift {
        Drift::CRYSTAL
    }
    fn is_suspend_aware(&self) -> bool {
        false
    }
}

struct Plain;

impl Clock for Plain {
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(5)
    }
    fn wall(&self) -> WallTime {
        WallTime::from_nanos(6)
    }
}

fn assert_odd(clock: &impl Clock) {
    assert_eq!(clock.monotonic(), Monotonic::from_nanos(1));
    assert_eq!(clock.wall(), WallTime::from_nanos(2));
    assert_eq!(clock.read().wall, WallTime::from_nanos(77));
    assert_eq!(clock.wall_staleness(), Duration::from_millis(4));
    assert_eq!(clock.drift(), Drift::CRYSTAL);
    assert!(!clock.is_suspend_aware());
}

/// H33: a wrapper that misses a method answers with the trait's default instead of the clock's own.
#[test]
fn h33_wrappers_forward_every_method() {
    assert_odd(&Odd);
    assert_odd(&&Odd);
    assert_odd(&Box::new(Odd));
    assert_odd(&Arc::new(Odd));
    let boxed: Box<dyn Clock> = Box::new(Odd);
    assert_odd(&boxed);
    let shared: Arc<dyn Clock> = Arc::new(Odd);
    assert_odd(&shared);
    assert_odd(&&shared);
}

#[test]
fn defaults_are_the_careful_ones() {
    assert_eq!(Plain.drift(), Drift::SLEWED);
    assert_eq!(Plain.wall_staleness(), Duration::ZERO);
    assert!(Plain.is_suspend_aware());
    assert_eq!(Plain.read().wall, WallTime::from_nanos(6));
    assert_eq!(Plain.read().monotonic, Monotonic::from_nanos(5));
}

/// H14: the wall clock is read first, so that a pause in between ages the wall reading only.
#[test]
fn h14_wall_is_read_before_monotonic() {
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Counting(AtomicU64);
    impl Clock for Counting {
        fn monotonic(&self) -> Monotonic {
            Monotonic::from_nanos(self.0.fetch_add(1, Ordering::SeqCst))
        }
        fn wall(&self) -> WallTime {
            WallTime::from_nanos(self.0.fetch_add(1, Ordering::SeqCst))
        }
    }
    let reading = Counting::default().read();
    assert_eq!((reading.wall.as_nanos(), reading.monotonic.as_nanos()), (0, 1));
}
