//! [`HorizonHlc`]: a hybrid clock that stays above its former life without waiting.

use crate::error::{HorizonBehind, ObserveError};
use crate::sync::{AtomicU64, Ordering};
use crate::{Clock, Hlc, HlcConfig, Timestamp, mutant};
use core::fmt;

/// A hybrid clock that never issues a stamp at or below one it issued before a crash, whatever the
/// wall clock says afterwards.
///
/// It issues stamps up to a horizon that is durable, and begins at the stored horizon after a
/// restart: no wait at the start, and no stamp is ever written one by one.
///
/// # How to drive it
/// Call [`poll_persist`](Self::poll_persist) after a [`HorizonBehind`] and every few milliseconds
/// otherwise; write what it returns durably (a [`FileMark`](crate::FileMark) does) and hand it to
/// [`persisted`](Self::persisted). If the write fails, try again with the same value; nothing is
/// lost but time, and it is asked for again by itself. // H7
///
/// # Limits
/// A node that restarts at once begins up to `horizon_window` ahead of its wall clock, which peers
/// must tolerate: [`HlcConfig`] keeps the window below half of `max_skew`. A wall clock that jumped
/// years ahead makes that durable (watch it with [`ClockMonitor`](crate::ClockMonitor)); the remedy
/// is a new node id, never a lower horizon. // H24, H35
///
/// # Examples
/// ```
/// use quorate_clocks::{HlcConfig, HorizonHlc, ManualClock, WallTime};
///
/// let clock = ManualClock::new(WallTime::from_nanos(9_000_000_000));
/// let hlc = HorizonHlc::recover(clock.clone(), HlcConfig::default(), None);
/// let persist = hlc.poll_persist().expect("nothing is durable yet");
/// let stored = persist.horizon(); // write it to disk here
/// hlc.persisted(persist);
/// let last = hlc.now()?;
///
/// // A crash, and a wall clock that lost an hour.
/// clock.set_wall(WallTime::EPOCH);
/// let hlc = HorizonHlc::recover(clock, HlcConfig::default(), Some(stored));
/// hlc.persisted(hlc.poll_persist().expect("a new window"));
/// assert!(hlc.now()? > last);
/// # Ok::<(), quorate_clocks::HorizonBehind>(())
/// ```
pub struct HorizonHlc<C> {
    hlc: Hlc<C>,
    /// The word of the durable horizon; 0: none.
    durable: AtomicU64,
    /// The word of the highest horizon that was asked for.
    asked: AtomicU64,
    /// 1 after a stamp was wanted above the horizon.
    starved: AtomicU64,
}

/// A horizon to be made durable before it is handed to [`HorizonHlc::persisted`].
///
/// # Examples
/// ```
/// use quorate_clocks::{DurableMark, HorizonHlc, HlcConfig, MemoryMark, SystemClock};
/// let mut mark = MemoryMark::new(0);
/// let hlc = HorizonHlc::recover(SystemClock::new(), HlcConfig::default(), None);
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
    pub fn recover(clock: C, config: HlcConfig, stored: Option<Timestamp>) -> Self {
        let word = stored.map_or(0, Timestamp::to_bits);
        let hlc = Hlc::with_config(clock, config);
        hlc.begin_at(word);
        Self {
            hlc,
            durable: AtomicU64::new(word),
            asked: AtomicU64::new(word),
            starved: AtomicU64::new(1),
        }
    }

    /// A horizon to be made durable now, if one is due: a stamp was refused, or half of the window
    /// is used up. One caller is given it; others go on.
    pub fn poll_persist(&self) -> Option<Persist> {
        let window = micros(self.hlc.config().horizon_window());
        let durable = self.durable.load(Ordering::Acquire);
        let asked = self.asked.load(Ordering::Acquire);
        let latest = self.hlc.latest().map_or(0, Timestamp::to_bits);
        let needed = latest + ((window / 2) << 12);
        let due = self.starved.load(Ordering::Acquire) != 0 || needed > durable;
        // An answer that never comes must not be waited for: time uses its window up as well.
        let under_way = asked > durable && needed <= asked;
        if !due || under_way {
            return None;
        }
        let physical = Timestamp::physical(self.hlc.clock().wall());
        let target = latest.max(physical).saturating_add(window << 12);
        let order = Ordering::AcqRel;
        self.asked.compare_exchange(asked, target.max(asked), order, Ordering::Relaxed).ok()?;
        if mutant::on("horizon_before_write") {
            self.durable.fetch_max(target, Ordering::AcqRel);
        }
        Timestamp::from_bits(target.max(asked)).map(Persist)
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

    /// The clock within: statistics, and how far it leads.
    pub const fn hlc(&self) -> &Hlc<C> {
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

/// At most an hour, so never near the end of the word.
fn micros(d: core::time::Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX >> 24)
}

impl<C: fmt::Debug> fmt::Debug for HorizonHlc<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let durable = Timestamp::from_bits(self.durable.load(Ordering::Relaxed));
        f.debug_struct("HorizonHlc").field("hlc", &self.hlc).field("durable", &durable).finish()
    }
}
