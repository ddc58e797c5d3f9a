//! [`HorizonHlc`]: a hybrid clock that stays above its former life without waiting.

use crate::error::{HorizonBehind, ObserveError};
use crate::sync::{AtomicU64, Ordering};
use crate::{Clock, Hlc, HlcConfig, HlcStats, Monotonic, Timestamp, mutant};
use core::fmt;
use core::time::Duration;

/// How far a horizon is moved when stamps are ahead of the clock already: room for four million of
/// them. A window would be added again by each of a series of quick restarts. // H24
const STEP: u64 = 1_000 << 12;
/// The largest horizon to begin with: what is left of the word lasts for 2⁵¹ stamps.
const LARGEST: u64 = u64::MAX - (1 << 51);

/// A hybrid clock that never issues a stamp at or below one it issued before a crash, whatever the
/// wall clock says afterwards.
///
/// It issues stamps up to a horizon that is durable, and begins at the stored horizon after a
/// restart: no wait at the start, and no stamp is ever written one by one.
///
/// # How to drive it
/// Call [`poll_persist`](Self::poll_persist) after a [`HorizonBehind`] and every few milliseconds
/// otherwise; write what it returns durably (a [`FileMark`](crate::FileMark) does) and hand it to
/// [`persisted`](Self::persisted). If the write fails, try again with the same value, or drop it:
/// it is asked for again after a `horizon_window` of monotonic time. // H7
///
/// # Limits
/// A node that restarts at once begins up to `horizon_window` ahead of its wall clock, which peers
/// must tolerate: [`HlcConfig`] keeps the window below half of `max_skew`. Each further restart
/// within that time adds a millisecond. A wall clock that jumped years ahead makes that durable
/// (watch it with [`ClockMonitor`](crate::ClockMonitor)); the remedy is a new node id, never a
/// lower horizon. // H24, H35
///
/// # Examples
/// ```
/// use quorate_clocks::{HlcConfig, HorizonHlc, ManualClock, WallTime};
///
/// let clock = ManualClock::new(WallTime::from_nanos(9_000_000_000));
/// let hlc = HorizonHlc::recover(clock.clone(), HlcConfig::default(), None)?;
/// let persist = hlc.poll_persist().expect("nothing is durable yet");
/// let stored = persist.horizon(); // write it to disk here
/// hlc.persisted(persist);
/// let last = hlc.now()?;
///
/// // A crash, and a wall clock that lost an hour.
/// clock.set_wall(WallTime::EPOCH);
/// let hlc = HorizonHlc::recover(clock, HlcConfig::default(), Some(stored))?;
/// hlc.persisted(hlc.poll_persist().expect("a new window"));
/// assert!(hlc.now()? > last);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HorizonHlc<C> {
    hlc: Hlc<C>,
    /// The word of the durable horizon; 0: none.
    durable: AtomicU64,
    /// The word of the highest horizon that was asked for, and when by the monotonic clock.
    asked: AtomicU64,
    asked_at: AtomicU64,
    /// 1 after a stamp was wanted above the horizon.
    starved: AtomicU64,
}

/// A horizon to be made durable before it is handed to [`HorizonHlc::persisted`].
///
/// # Examples
/// ```
/// use quorate_clocks::{DurableMark, HorizonHlc, HlcConfig, MemoryMark, SystemClock};
/// let mut mark = MemoryMark::new(0);
/// let hlc = HorizonHlc::recover(SystemClock::new(), HlcConfig::default(), None)?;
/// if let Some(persist) = hlc.poll_persist() {
///     mark.raise(persist.horizon().to_bits())?;
///     hlc.persisted(persist);
/// }
/// assert!(hlc.now().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "no stamp is issued above the old horizon before this one is durable"]
pub struct Persist(Timestamp);

impl Persist {
    /// What to write.
    #[must_use]
    pub const fn horizon(&self) -> Timestamp {
        self.0
    }
}

impl<C: Clock> HorizonHlc<C> {
    /// From the horizon of the former life; `None` only for a node that never had one. Issues
    /// nothing before the first [`persisted`](Self::persisted).
    ///
    /// # Errors
    /// [`ObserveError::OutOfRange`] for a horizon near the end of the word, which no clock has
    /// made: the store holds something else.
    pub fn recover(
        clock: C,
        config: HlcConfig,
        stored: Option<Timestamp>,
    ) -> Result<Self, ObserveError> {
        let word = stored.map_or(0, Timestamp::to_bits);
        if let Some(remote) = stored.filter(|_| word > LARGEST) {
            return Err(ObserveError::OutOfRange { remote });
        }
        let hlc = Hlc::with_config(clock, config);
        hlc.begin_at(word);
        Ok(Self {
            hlc,
            durable: AtomicU64::new(word),
            asked: AtomicU64::new(word),
            asked_at: AtomicU64::new(0),
            starved: AtomicU64::new(1),
        })
    }

    /// A horizon to be made durable now, if one is due: a stamp was refused, or half of the window
    /// is used up. One caller is given it; others go on.
    #[must_use = "it is asked for once in a window"]
    pub fn poll_persist(&self) -> Option<Persist> {
        let now = self.hlc.clock().read();
        let window = words(self.hlc.config().horizon_window());
        let physical = Timestamp::physical(now.wall);
        let durable = self.durable.load(Ordering::Acquire);
        let asked = self.asked.load(Ordering::Acquire);
        let latest = self.hlc.latest().map_or(0, Timestamp::to_bits);
        let needed = (physical + window / 2).max(latest + STEP / 2).min(latest + window / 2);
        let due = self.starved.load(Ordering::Acquire) != 0 || needed > durable;
        if !due || (asked > durable && needed <= asked && !self.is_overdue(now.monotonic)) {
            return None;
        }
        // Above what was asked before, so that of two who ask at a time one has asked.
        let target = (physical + window).max(latest + STEP).max(asked + 1);
        self.asked.compare_exchange(asked, target, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        self.asked_at.store(now.monotonic.as_nanos(), Ordering::Release);
        if mutant::on("horizon_before_write") {
            self.durable.fetch_max(target, Ordering::AcqRel);
        }
        Timestamp::from_bits(target).map(Persist)
    }

    /// Whether what was asked for should have come back: the write failed, and whoever made it
    /// forgot.
    fn is_overdue(&self, now: Monotonic) -> bool {
        let asked_at = Monotonic::from_nanos(self.asked_at.load(Ordering::Acquire));
        now.since(asked_at) >= self.hlc.config().horizon_window()
    }

    /// The horizon is durable: stamps up to it are issued.
    #[expect(clippy::needless_pass_by_value, reason = "used up: it was written once")]
    pub fn persisted(&self, done: Persist) {
        self.durable.fetch_max(done.0.to_bits(), Ordering::AcqRel);
        self.starved.store(0, Ordering::Release);
    }

    /// The stamp of a local event, or of a message about to be sent.
    ///
    /// # Errors
    /// [`HorizonBehind`] until the next [`persisted`](Self::persisted): the wanted stamp is
    /// dropped, nothing was issued.
    pub fn now(&self) -> Result<Timestamp, HorizonBehind> {
        self.within_horizon(self.hlc.now())
    }

    /// The stamp of the arrival of a message that carries `remote`.
    ///
    /// # Errors
    /// As [`Hlc::observe`]; and [`ObserveError::HorizonBehind`], after which the clock is past
    /// `remote` but nothing was issued.
    pub fn observe(&self, remote: Timestamp) -> Result<Timestamp, ObserveError> {
        let stamp = self.hlc.observe(remote)?;
        self.within_horizon(stamp).map_err(ObserveError::HorizonBehind)
    }

    /// No stamp above this one was issued; `None` before the first.
    pub fn latest(&self) -> Option<Timestamp> {
        self.hlc.latest()
    }

    /// The durable horizon; `None` before the first.
    pub fn durable(&self) -> Option<Timestamp> {
        Timestamp::from_bits(self.durable.load(Ordering::Acquire))
    }

    /// How far the last stamp is ahead of the wall clock.
    pub fn lead(&self) -> Duration {
        self.hlc.lead()
    }

    /// What happened so far.
    pub fn stats(&self) -> HlcStats {
        self.hlc.stats()
    }

    /// The clock that is read.
    pub const fn clock(&self) -> &C {
        self.hlc.clock()
    }

    #[cfg(feature = "metrics")]
    pub(crate) const fn hlc(&self) -> &Hlc<C> {
        &self.hlc
    }

    fn within_horizon(&self, wanted: Timestamp) -> Result<Timestamp, HorizonBehind> {
        let durable = self.durable();
        if durable.is_some_and(|durable| wanted <= durable) {
            return Ok(wanted);
        }
        self.starved.store(1, Ordering::Release);
        Err(HorizonBehind { wanted, durable })
    }
}

/// A window, which is an hour at most, in units of the word.
fn words(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX >> 24) << 12
}

impl<C: fmt::Debug> fmt::Debug for HorizonHlc<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let durable = Timestamp::from_bits(self.durable.load(Ordering::Relaxed));
        f.debug_struct("HorizonHlc").field("hlc", &self.hlc).field("durable", &durable).finish()
    }
}
