//! [`ManualClock`]: time that moves only when told to.

use crate::{Clock, Drift, Monotonic, WallTime};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

/// A clock for tests and simulations; clones share one time.
///
/// # Shape
/// Starts at [`Monotonic::ZERO`] with the wall time given; [`Drift::NONE`] until
/// [`set_drift`](Self::set_drift). Shared between threads, each call is atomic on its own.
///
/// # Examples
/// ```
/// use quorate_clocks::{Clock, ManualClock, WallTime};
/// use std::time::Duration;
///
/// let clock = ManualClock::new(WallTime::from_nanos(1_000));
/// let handle = clock.clone();
/// handle.advance(Duration::from_nanos(5));
/// assert_eq!(clock.monotonic().as_nanos(), 5);
/// clock.step_wall(-1_000); // an operator sets the clock back
/// assert_eq!(clock.wall(), WallTime::from_nanos(5));
/// assert_eq!(clock.monotonic().as_nanos(), 5);
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    monotonic: AtomicU64,
    wall: AtomicU64,
    drift_ppm: AtomicU32,
}

impl ManualClock {
    /// A clock at the monotonic origin and the given wall time.
    #[must_use]
    pub fn new(wall: WallTime) -> Self {
        Self {
            shared: Arc::new(Shared {
                monotonic: AtomicU64::new(0),
                wall: AtomicU64::new(wall.as_nanos()),
                drift_ppm: AtomicU32::new(Drift::NONE.as_ppm()),
            }),
        }
    }

    /// Lets `d` pass on both clocks.
    pub fn advance(&self, d: Duration) {
        update(&self.shared.monotonic, |nanos| {
            Monotonic::from_nanos(nanos).saturating_add(d).as_nanos()
        });
        update(&self.shared.wall, |nanos| WallTime::from_nanos(nanos).saturating_add(d).as_nanos());
    }

    /// Lets `d` pass while "the machine sleeps". This clock is suspend-aware, so it is
    /// [`advance`](Self::advance) under the name of the event a test means.
    pub fn suspend(&self, d: Duration) {
        self.advance(d);
    }

    /// Sets the wall clock; the monotonic clock does not notice.
    pub fn set_wall(&self, wall: WallTime) {
        self.shared.wall.store(wall.as_nanos(), Ordering::SeqCst);
    }

    /// Steps the wall clock by `nanos` either way; the monotonic clock does not notice.
    pub fn step_wall(&self, nanos: i64) {
        update(&self.shared.wall, |now| {
            WallTime::from_nanos(now).saturating_step(nanos).as_nanos()
        });
    }

    /// Sets what [`Clock::drift`] claims.
    pub fn set_drift(&self, drift: Drift) {
        self.shared.drift_ppm.store(drift.as_ppm(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(self.shared.monotonic.load(Ordering::SeqCst))
    }

    fn wall(&self) -> WallTime {
        WallTime::from_nanos(self.shared.wall.load(Ordering::SeqCst))
    }

    fn drift(&self) -> Drift {
        Drift::from_ppm(self.shared.drift_ppm.load(Ordering::SeqCst)).unwrap_or(Drift::SLEWED)
    }
}

fn update(cell: &AtomicU64, f: impl Fn(u64) -> u64) {
    let mut now = cell.load(Ordering::SeqCst);
    while let Err(seen) =
        cell.compare_exchange_weak(now, f(now), Ordering::SeqCst, Ordering::SeqCst)
    {
        now = seen;
    }
}
