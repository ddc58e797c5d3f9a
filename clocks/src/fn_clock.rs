//! [`from_fn`]: a clock out of two closures.

use crate::{Clock, Monotonic, WallTime};
use core::fmt;

/// A clock that asks closures; they may capture what they like. // H5
///
/// # Examples
/// ```
/// use quorate_clocks::{Clock, Monotonic, WallTime, from_fn};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let ticks = AtomicU64::new(0);
/// let clock = from_fn(
///     || WallTime::from_nanos(1_000),
///     || Monotonic::from_nanos(ticks.fetch_add(1, Ordering::Relaxed)),
/// );
/// assert!(clock.monotonic() < clock.monotonic());
/// assert_eq!(clock.wall().as_nanos(), 1_000);
/// ```
pub const fn from_fn<W, M>(wall: W, monotonic: M) -> FnClock<W, M>
where
    W: Fn() -> WallTime + Send + Sync,
    M: Fn() -> Monotonic + Send + Sync,
{
    FnClock { wall, monotonic }
}

/// What [`from_fn`] makes.
///
/// # Examples
/// ```
/// use quorate_clocks::{Drift, Clock, Monotonic, WallTime, from_fn};
/// let clock = from_fn(|| WallTime::EPOCH, || Monotonic::ZERO);
/// assert_eq!(clock.drift(), Drift::SLEWED); // the trait's cautious defaults
/// ```
pub struct FnClock<W, M> {
    wall: W,
    monotonic: M,
}

impl<W, M> Clock for FnClock<W, M>
where
    W: Fn() -> WallTime + Send + Sync,
    M: Fn() -> Monotonic + Send + Sync,
{
    fn monotonic(&self) -> Monotonic {
        (self.monotonic)()
    }

    fn wall(&self) -> WallTime {
        (self.wall)()
    }
}

impl<W, M> fmt::Debug for FnClock<W, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnClock").finish_non_exhaustive()
    }
}
