//! [`LamportClock`]: cause before effect, without physical time.

use crate::error::LamportOutOfRange;
use crate::sync::{AtomicU64, Ordering};
use core::fmt;

/// The largest a clock may begin with: above what it takes from others, far from the word's end.
const STORED_MAX: u64 = (1 << 63) + (1 << 62);

/// A reading of a Lamport clock; 0 is before every event.
///
/// # Examples
/// ```
/// use quorate_clocks::LamportTime;
/// assert!(LamportTime::new(1) > LamportTime::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LamportTime(u64);

impl LamportTime {
    /// Before every event.
    pub const ZERO: Self = Self(0);

    /// The largest that is taken from a remote: counting never gets there, and what is left of the
    /// word lasts for as many events again. A clock that took this one is above it, and refused by
    /// the others from then on: such a value is a sign of a broken sender.
    pub const REMOTE_MAX: Self = Self(1 << 63);

    /// From its number.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Its number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LamportTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts events, and past every event it hears of.
///
/// If one event can have caused another, its time is smaller; the reverse does not follow. For
/// times that also say *when*, use [`Hlc`](crate::Hlc).
///
/// # Cost
/// One atomic read-modify-write; lock-free.
///
/// # Examples
/// ```
/// use quorate_clocks::{LamportClock, LamportTime};
/// let (a, b) = (LamportClock::new(), LamportClock::new());
/// let sent = a.tick();
/// let received = b.observe(sent)?;
/// assert!(received > sent);
/// assert_eq!(b.latest(), LamportTime::new(2));
/// # Ok::<(), quorate_clocks::LamportOutOfRange>(())
/// ```
///
/// # Source
/// Lamport 1978.
#[derive(Debug)]
pub struct LamportClock(AtomicU64);

impl LamportClock {
    /// Nothing has happened.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// After a restart: the largest time that was stored.
    ///
    /// # Errors
    /// [`LamportOutOfRange`] if it is so large that counting could come to the end of the word.
    pub fn starting_at(time: LamportTime) -> Result<Self, LamportOutOfRange> {
        if time.0 > STORED_MAX {
            return Err(LamportOutOfRange { remote: time });
        }
        Ok(Self(AtomicU64::new(time.0)))
    }

    /// The time of a local event, or of a message about to be sent.
    pub fn tick(&self) -> LamportTime {
        LamportTime(self.0.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The time of the arrival of a message that carries `remote`: above it, and above every time
    /// before.
    ///
    /// # Errors
    /// [`LamportOutOfRange`] above [`LamportTime::REMOTE_MAX`]; nothing is changed then.
    pub fn observe(&self, remote: LamportTime) -> Result<LamportTime, LamportOutOfRange> {
        if remote > LamportTime::REMOTE_MAX {
            return Err(LamportOutOfRange { remote });
        }
        let target = remote.0 + 1;
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen < target {
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            match self.0.compare_exchange_weak(seen, target, success, failure) {
                Ok(_) => return Ok(LamportTime(target)),
                Err(now) => seen = now,
            }
        }
        Ok(self.tick())
    }

    /// The time of the last event.
    pub fn latest(&self) -> LamportTime {
        LamportTime(self.0.load(Ordering::Acquire))
    }
}

impl Default for LamportClock {
    fn default() -> Self {
        Self::new()
    }
}
