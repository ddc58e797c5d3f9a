//! [`Hlc`]: the hybrid logical clock.

use crate::error::{ClockSkew, ObserveError};
use crate::stats::{Counters, HlcStats};
use crate::sync::{AtomicU64, Ordering};
use crate::{Clock, HlcConfig, Timestamp, WallTime, mutant};
use core::fmt;
use core::iter::FusedIterator;
use core::num::NonZeroU16;
use core::time::Duration;

/// A clock whose stamps follow physical time and order cause before effect.
///
/// # Shape
/// One word of state; share it by `&` or `Arc`. [`now`](Self::now) for a local event or before a
/// message is sent, [`observe`](Self::observe) for a message that arrived.
///
/// # Guarantees
/// The stamps of one clock are distinct, and a call that starts after another returned (on any
/// thread) returns a larger one. `observe(r)` returns a stamp above `r`. A stamp is at least the
/// physical reading of its call. What other nodes need from this: one `Hlc` per node and
/// incarnation.
///
/// # Cost
/// One reading of the clock and one atomic read-modify-write when nobody else calls at the moment.
/// Lock-free; a retry happens only when another call succeeded.
///
/// # Examples
/// ```
/// use quorate_clocks::{Hlc, ManualClock, Timestamp, WallTime};
///
/// let clock = ManualClock::new(WallTime::from_nanos(1_700_000_000_000_000_000));
/// let hlc = Hlc::new(clock);
/// let sent = hlc.now();
/// assert_eq!(sent.to_string(), "1700000000.000000+0");
/// // A message from a node whose clock is 3 µs ahead.
/// let remote = Timestamp::from_parts(sent.micros() + 3, 9).unwrap();
/// assert_eq!(hlc.observe(remote)?.to_string(), "1700000000.000003+10");
/// assert!(hlc.now() > remote); // although the local clock is still behind
/// # Ok::<(), quorate_clocks::ObserveError>(())
/// ```
///
/// # Source
/// Kulkarni, Demirbas et al. 2014.
pub struct Hlc<C> {
    word: Word,
    clock: C,
    config: HlcConfig,
    /// The limit of the configuration, an hour at most.
    max_skew_nanos: u64,
    counters: Counters,
}

/// Alone on its cache lines: whoever reads the configuration does not wait for who takes stamps.
#[repr(align(128))]
struct Word(AtomicU64);

impl Word {
    /// Moves the word up to `to`. True iff this call did: then nobody else is given `to`.
    #[inline]
    fn raise(&self, to: u64) -> bool {
        // Not `fetch_max`: on x86-64 it goes on spinning when the word is past `to` already. // H31
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen < to {
            match self.0.compare_exchange_weak(seen, to, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Takes the next `n` values; the one before them.
    #[inline]
    fn take(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::AcqRel)
    }
}

#[cfg(feature = "std")]
impl Hlc<crate::SystemClock> {
    /// Over the clock of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self::new(crate::SystemClock::new())
    }
}

impl<C: Clock> Hlc<C> {
    /// Over `clock`, with the limits of [`HlcConfig::lan`].
    #[must_use]
    pub fn new(clock: C) -> Self {
        Self::with_config(clock, HlcConfig::DEFAULT)
    }

    /// Over `clock`.
    #[must_use]
    pub fn with_config(clock: C, config: HlcConfig) -> Self {
        let word = Word(AtomicU64::new(0));
        let max_skew_nanos = u64::try_from(config.max_skew.as_nanos()).unwrap_or(u64::MAX);
        Self { word, clock, config, max_skew_nanos, counters: Counters::new() }
    }

    /// Stamps begin above `word`, which is the own former life's and so not checked.
    pub(crate) fn begin_at(&self, word: u64) {
        self.word.raise(word);
    }

    /// The clock that is read.
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    pub(crate) const fn config(&self) -> &HlcConfig {
        &self.config
    }

    /// The stamp of a local event, or of a message about to be sent.
    ///
    /// Never fails and never waits, whatever the wall clock does: while it stands or goes back,
    /// stamps count on. // H2, H3
    #[inline]
    pub fn now(&self) -> Timestamp {
        let physical = Timestamp::physical(self.clock.wall());
        if self.word.raise(physical) {
            return issued(physical);
        }
        self.count_on(physical)
    }

    /// The next stamp, when the clock did not move.
    #[inline]
    fn count_on(&self, physical: u64) -> Timestamp {
        let mut stamp = self.word.take(1) + 1;
        if mutant::on("counter_wraps") && stamp & 0xFFF == 0 {
            stamp -= 4_096;
        }
        if stamp >> 12 != physical >> 12 || physical == 0 {
            self.account(stamp, 1, physical);
        }
        issued(stamp)
    }

    /// Statistics of `n` stamps up to `last` that the counter gave.
    #[cold]
    fn account(&self, last: u64, n: u64, physical: u64) {
        if last >> 12 > physical.max(last - n) >> 12 {
            self.counters.count_carry();
        }
        if physical == 0 {
            self.counters.count_before_epoch();
        }
        let lead = (last >> 12).saturating_sub(physical >> 12);
        if lead > 0 {
            self.counters.see_lead(lead);
        }
    }

    /// The stamp of the arrival of a message that carries `remote`: above `remote` and above every
    /// stamp this clock gave before.
    ///
    /// # Errors
    /// [`ObserveError::Ahead`] and [`ObserveError::OutOfRange`]; nothing is changed then. A stamp
    /// of the past is never refused. // H4, H8
    #[inline]
    pub fn observe(&self, remote: Timestamp) -> Result<Timestamp, ObserveError> {
        let wall = self.clock.wall();
        self.check_range(remote)?;
        if mutant::on("check_after_merge") {
            self.word.raise(remote.to_bits());
        }
        self.check_skew(remote, wall)?;
        let physical = Timestamp::physical(wall);
        let beyond = match () {
            () if mutant::on("remote_ignored") => 0,
            () if mutant::on("no_increment_on_equal") => remote.to_bits(),
            () => remote.to_bits() + 1, // in range, so far from the end of the word
        };
        let target = physical.max(beyond); // H1
        if self.word.raise(target) {
            let lead = (target >> 12).saturating_sub(physical >> 12);
            if lead > 0 {
                self.counters.see_lead(lead);
            }
            return Ok(issued(target));
        }
        Ok(self.count_on(physical))
    }

    /// Takes over a stamp that is trusted: from the own log, or a snapshot. Later stamps are above
    /// it. It is not checked against the clock.
    ///
    /// # Errors
    /// [`ObserveError::OutOfRange`]; nothing is changed then. // H8
    pub fn forward(&self, trusted: Timestamp) -> Result<(), ObserveError> {
        self.check_range(trusted)?;
        self.word.raise(trusted.to_bits());
        Ok(())
    }

    /// `n` consecutive stamps for the price of one.
    #[inline]
    pub fn reserve(&self, n: NonZeroU16) -> TimestampRange {
        let physical = Timestamp::physical(self.clock.wall());
        // One below, so that the first of the range may be the physical reading itself. A value
        // that was raised to here is handed out to nobody.
        self.word.raise(physical.saturating_sub(1));
        let count = u64::from(n.get());
        let first = self.word.take(count) + 1;
        self.account(first + count - 1, count, physical);
        TimestampRange { first: issued(first), count: n }
    }

    /// The last stamp that was given or taken over; `None` before the first.
    pub fn latest(&self) -> Option<Timestamp> {
        Timestamp::from_bits(self.word.0.load(Ordering::Acquire))
    }

    /// How far the last stamp is ahead of the wall clock: zero, as long as clocks agree and move.
    pub fn lead(&self) -> Duration {
        let wall = self.clock.wall();
        self.latest().map_or(Duration::ZERO, |latest| latest.wall().since(wall))
    }

    /// What happened so far.
    pub fn stats(&self) -> HlcStats {
        self.counters.snapshot()
    }

    fn check_range(&self, remote: Timestamp) -> Result<(), ObserveError> {
        if remote.micros() > Timestamp::LAST_MICROS {
            self.counters.reject_range();
            return Err(ObserveError::OutOfRange { remote });
        }
        Ok(())
    }

    #[inline]
    fn check_skew(&self, remote: Timestamp, local: WallTime) -> Result<(), ObserveError> {
        // Zero for stamps of the past.
        let mut ahead = remote.wall().as_nanos().saturating_sub(local.as_nanos());
        if mutant::on("skew_abs") && ahead == 0 {
            ahead = local.as_nanos().saturating_sub(remote.wall().as_nanos());
        }
        if ahead <= self.max_skew_nanos {
            return Ok(());
        }
        self.check_stale_skew(remote, local, Duration::from_nanos(ahead))
    }

    /// Perhaps the local reading is only old. // H9
    #[cold]
    fn check_stale_skew(
        &self,
        remote: Timestamp,
        local: WallTime,
        ahead: Duration,
    ) -> Result<(), ObserveError> {
        let mut limit = self.config.max_skew;
        if !mutant::on("staleness_forgotten") {
            limit = limit.saturating_add(self.clock.wall_staleness());
        }
        if ahead <= limit {
            return Ok(());
        }
        self.counters.reject_ahead();
        Err(ObserveError::Ahead(ClockSkew { remote, local, ahead, limit }))
    }
}

/// A word that was raised to, or counted up to, is never 0.
#[inline]
fn issued(word: u64) -> Timestamp {
    Timestamp::from_bits(word).unwrap_or(Timestamp::MIN)
}

impl<C: fmt::Debug> fmt::Debug for Hlc<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latest = Timestamp::from_bits(self.word.0.load(Ordering::Relaxed));
        f.debug_struct("Hlc").field("latest", &latest).field("clock", &self.clock).finish()
    }
}

/// Consecutive stamps, all of them the caller's.
///
/// # Examples
/// ```
/// use quorate_clocks::{Hlc, ManualClock, WallTime};
/// use std::num::NonZeroU16;
///
/// let hlc = Hlc::new(ManualClock::new(WallTime::from_nanos(5_000)));
/// let range = hlc.reserve(NonZeroU16::new(3).unwrap());
/// let texts: Vec<String> = range.into_iter().map(|t| t.to_string()).collect();
/// assert_eq!(texts, ["0.000005+0", "0.000005+1", "0.000005+2"]);
/// assert!(hlc.now() > range.last());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampRange {
    first: Timestamp,
    count: NonZeroU16,
}

impl TimestampRange {
    /// The smallest.
    #[must_use]
    pub const fn first(&self) -> Timestamp {
        self.first
    }

    /// The largest.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        issued(self.first.to_bits() + u64::from(self.count.get()) - 1)
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> NonZeroU16 {
        self.count
    }
}

impl IntoIterator for TimestampRange {
    type Item = Timestamp;
    type IntoIter = TimestampRangeIter;

    fn into_iter(self) -> TimestampRangeIter {
        let first = self.first.to_bits();
        TimestampRangeIter { words: first..first + u64::from(self.count.get()) }
    }
}

/// Goes through a [`TimestampRange`].
///
/// # Examples
/// ```
/// use quorate_clocks::Hlc;
/// use std::num::NonZeroU16;
/// let stamps = Hlc::system().reserve(NonZeroU16::new(64).unwrap()).into_iter();
/// assert!(stamps.is_sorted());
/// ```
#[derive(Clone, Debug)]
pub struct TimestampRangeIter {
    words: core::ops::Range<u64>,
}

impl Iterator for TimestampRangeIter {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        self.words.next().map(issued)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.words.size_hint()
    }
}

impl FusedIterator for TimestampRangeIter {}
