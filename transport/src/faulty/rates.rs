//! How often each fault strikes, and how often it did.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What can go wrong.
///
/// # Examples
/// ```
/// assert_eq!(quorate_transport::Fault::ALL.len(), 8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A frame, and those behind it on its lane, wait for a while.
    Delay = 0,
    /// The session ends after a frame, which may or may not arrive.
    Break = 1,
    /// All frames sent on a session vanish from here on; after a while the session ends.
    BlackHole = 2,
    /// A frame is refused as `Full`.
    Full = 3,
    /// A datagram vanishes.
    DatagramLoss = 4,
    /// A datagram comes twice.
    DatagramDuplication = 5,
    /// A bit of the packet is flipped.
    DatagramCorruption = 6,
    /// A datagram waits for a while, and others overtake it.
    DatagramDelay = 7,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Delay,
        Self::Break,
        Self::BlackHole,
        Self::Full,
        Self::DatagramLoss,
        Self::DatagramDuplication,
        Self::DatagramCorruption,
        Self::DatagramDelay,
    ];
}

/// How often each fault struck: a campaign checks that none is zero.
///
/// # Examples
/// ```
/// assert_eq!(quorate_transport::FaultyStats::default().breaks, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultyStats {
    /// Frames that drew a delay (those behind them wait too).
    pub delayed: u64,
    /// Sessions broken.
    pub breaks: u64,
    /// Black holes begun.
    pub black_holes: u64,
    /// Frames that vanished in one.
    pub swallowed: u64,
    /// Frames refused as `Full`.
    pub full: u64,
    /// Datagrams lost.
    pub datagrams_lost: u64,
    /// Datagrams sent twice.
    pub datagrams_duplicated: u64,
    /// Datagrams of which a bit was flipped.
    pub datagrams_corrupted: u64,
    /// Datagrams held back.
    pub datagrams_delayed: u64,
}

#[derive(Debug)]
pub(super) struct Rates {
    per_mille: [AtomicU16; 8],
    delay_min_ns: AtomicU64,
    delay_max_ns: AtomicU64,
    inner: Mutex<(u64, FaultyStats)>,
}

impl Rates {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            per_mille: Default::default(),
            delay_min_ns: AtomicU64::new(1_000_000),
            delay_max_ns: AtomicU64::new(20_000_000),
            // Xorshift stands still at zero.
            inner: Mutex::new((
                seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
                FaultyStats::default(),
            )),
        }
    }

    /// The next number of the sequence (xorshift64*).
    pub(super) fn next(&self) -> u64 {
        let state = &mut self.inner.lock().unwrap_or_else(PoisonError::into_inner).0;
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Draws only where the fault can strike, so that a fault that is off changes nothing.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let rate = self.per_mille[fault as usize].load(Ordering::Relaxed);
        rate > 0 && (self.next() >> 32) % 1_000 < u64::from(rate)
    }

    pub(super) fn delay(&self) -> Duration {
        let min = self.delay_min_ns.load(Ordering::Relaxed);
        let max = self.delay_max_ns.load(Ordering::Relaxed);
        let span = max.saturating_sub(min).saturating_add(1);
        Duration::from_nanos(min + self.next() % span)
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut FaultyStats)) {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner).1);
    }

    pub(super) fn stats(&self) -> FaultyStats {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// Sets the rates of a [`Faulty`](crate::Faulty), also while it runs; clones share it.
///
/// # Examples
/// ```
/// use quorate_transport::{Fault, FaultyControl};
/// use std::time::Duration;
/// fn rough(control: &FaultyControl) {
///     control.set(Fault::Delay, 200); // one frame in five
///     control.set_delay(Duration::from_millis(1), Duration::from_millis(50));
/// }
/// # let _ = rough;
/// ```
#[derive(Clone, Debug)]
pub struct FaultyControl(Arc<Rates>);

impl FaultyControl {
    pub(super) const fn new(rates: Arc<Rates>) -> Self {
        Self(rates)
    }

    /// How often, of a thousand times, a fault strikes; above 1,000 is 1,000. All begin at zero.
    pub fn set(&self, fault: Fault, per_mille: u16) {
        self.0.per_mille[fault as usize].store(per_mille.min(1_000), Ordering::Relaxed);
    }

    /// How long delays and black holes last. Default 1 ms to 20 ms; a `max` below `min` is `min`.
    pub fn set_delay(&self, min: Duration, max: Duration) {
        let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        self.0.delay_min_ns.store(ns(min), Ordering::Relaxed);
        self.0.delay_max_ns.store(ns(max.max(min)), Ordering::Relaxed);
    }

    /// All rates at zero. What is delayed is still delivered, black holes still end.
    pub fn calm(&self) {
        Fault::ALL.into_iter().for_each(|fault| self.set(fault, 0));
    }

    /// How often each fault struck.
    #[must_use]
    pub fn stats(&self) -> FaultyStats {
        self.0.stats()
    }
}
