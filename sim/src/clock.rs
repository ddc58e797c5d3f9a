//! The clocks of one node: linear pieces over true time, exact to a nanosecond.

use crate::{Class, Rng, SimTime};
use quorate_clocks::{
    BoundedClock, Clock, Drift, Interval, Monotonic, Quality, Unbounded, WallTime,
};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// 2025-01-01T00:00:00Z, when every world begins.
const WALL_START: u64 = 1_735_689_600_000_000_000;
/// A rate is so many millionths; a reading is kept in millionths of a nanosecond, so that no change
/// of rate ever rounds.
const MILLION: u128 = 1_000_000;
/// How far a node's wall clock is off at first, at most.
const OFFSET_MAX: u64 = 500_000_000;
/// The rate error that honest clocks keep to.
const RATE_PPM_MAX: u64 = 200;
/// Clocks begin with an uptime of up to ten days.
const UPTIME_MAX: u64 = 10 * 24 * 3_600 * 1_000_000_000;

/// A time with one rate.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// True time at which it began.
    since: u64,
    /// The monotonic clock then, in millionths of a nanosecond.
    base: u128,
    /// Fast by so many millionths.
    ppm: i32,
}

impl Piece {
    fn rate(&self) -> u128 {
        // Never below one millionth: a clock that stands still has no inverse.
        u128::try_from(1_000_000 + i64::from(self.ppm)).unwrap_or(1).max(1)
    }

    fn reading(&self, at: u64) -> u128 {
        self.base + u128::from(at.saturating_sub(self.since)) * self.rate()
    }

    /// The first moment at which it reads `wanted` or more.
    fn when(&self, wanted: u128) -> u64 {
        let left = wanted.saturating_sub(self.base);
        self.since.saturating_add(narrow(left.div_ceil(self.rate())))
    }
}

/// What a node's clocks show at each moment of true time.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    piece: Piece,
    /// Until `piece` begins. A busy node has read its clock up to the moment when it is free: from
    /// there on it may have another rate, not earlier.
    before: Piece,
    /// The monotonic clock when the world began, in nanoseconds.
    first: u64,
    /// The wall clock is ahead of the monotonic one (counted from the beginning) by so much.
    offset: i64,
    /// The error interval is too narrow by so much.
    lie: u64,
    drift: Drift,
}

impl Model {
    /// Offset, rate and uptime as the stream says.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let first = rng.below(UPTIME_MAX);
        let (ppm, offset) = (rng.below(2 * RATE_PPM_MAX + 1), rng.below(2 * OFFSET_MAX + 1));
        let base = u128::from(first) * MILLION;
        let piece = Piece { since: 0, base, ppm: i32::try_from(ppm).unwrap_or(0) - 200 };
        Self {
            piece,
            before: piece,
            first,
            offset: i64::try_from(offset).unwrap_or(0) - 500_000_000,
            lie: 0,
            drift: Drift::CRYSTAL,
        }
    }

    fn reading(&self, at: SimTime) -> u128 {
        let at = at.as_nanos();
        let piece = if at < self.piece.since { &self.before } else { &self.piece };
        piece.reading(at)
    }

    pub(crate) fn monotonic(&self, at: SimTime) -> Monotonic {
        Monotonic::from_nanos(narrow(self.reading(at) / MILLION))
    }

    /// The first moment at which the monotonic clock shows `deadline` or more.
    pub(crate) fn when(&self, deadline: Monotonic) -> SimTime {
        let wanted = u128::from(deadline.as_nanos()) * MILLION;
        let piece = if wanted < self.piece.base { &self.before } else { &self.piece };
        SimTime::from_nanos(piece.when(wanted))
    }

    pub(crate) fn wall(&self, at: SimTime) -> WallTime {
        let shown = self.monotonic(at).as_nanos().saturating_sub(self.first);
        let steady = WALL_START.saturating_add(shown);
        WallTime::from_nanos(steady.saturating_add_signed(self.offset))
    }

    /// What the wall clock should show.
    pub(crate) fn true_wall(at: SimTime) -> WallTime {
        WallTime::from_nanos(WALL_START.saturating_add(at.as_nanos()))
    }

    /// Holds the true wall time, unless it was told to lie.
    pub(crate) fn interval(&self, at: SimTime) -> Interval {
        let wall = self.wall(at);
        let error = wall.as_nanos().abs_diff(Self::true_wall(at).as_nanos());
        let bound = error.saturating_add(error / 10).saturating_add(10_000);
        let bound = Duration::from_nanos(bound.saturating_sub(self.lie));
        Interval::around(wall, bound, Quality::Synchronized)
    }

    pub(crate) fn step(&mut self, by_ns: i64) {
        self.offset = self.offset.saturating_add(by_ns);
    }

    /// A new rate from `at` on, which is no earlier than any moment at which the clock was read.
    /// The clock does not jump: the reading is carried over unrounded. // H16
    pub(crate) fn set_rate(&mut self, at: SimTime, ppm: i32) {
        let since = at.as_nanos().max(self.piece.since);
        let base = self.piece.reading(since);
        if since > self.piece.since {
            self.before = self.piece;
        }
        self.piece = Piece { since, base, ppm: ppm.clamp(-999_999, 1_000_000_000) };
    }

    pub(crate) const fn set_lie(&mut self, ns: u64) {
        self.lie = ns; // H17
    }

    /// What [`Clock::drift`] answers from now on.
    pub(crate) const fn set_drift(&mut self, drift: Drift) {
        self.drift = drift;
    }

    pub(crate) const fn drift(&self) -> Drift {
        self.drift
    }

    pub(crate) const fn lie(&self) -> u64 {
        self.lie
    }

    pub(crate) const fn ppm(&self) -> i32 {
        self.piece.ppm
    }
}

fn narrow(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}

/// Which clock was read. Each shows what the ones before it show, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reading {
    Monotonic = 1,
    Wall = 2,
    Interval = 3,
}

impl Reading {
    /// Whether a fault of this class shows in such a reading. A step shows in any, as the design
    /// has it, though it moves the wall clock alone.
    pub(crate) fn shows(self, class: Class) -> bool {
        match class {
            Class::ClockBound => self == Self::Interval,
            _ => true,
        }
    }
}

/// The clocks of one node as its code holds them: of any thread, for as long as it likes.
#[derive(Debug)]
pub(crate) struct NodeClock {
    /// True time, as far as the world has come.
    now: Arc<AtomicU64>,
    model: Mutex<Model>,
    /// The most that the monotonic clock has shown: a worker may run while a task of its node is
    /// said to be busy, and must not see less than what that task has seen.
    shown: AtomicU64,
    /// A hash of everything that was read, for the hash of the world.
    read: AtomicU64,
    /// The most that was read of it: a [`Reading`], 0 if nothing was.
    most: AtomicU8,
}

impl NodeClock {
    pub(crate) fn new(now: Arc<AtomicU64>, model: Model) -> Self {
        let (shown, read, most) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU8::new(0));
        Self { now, model: Mutex::new(model), shown, read, most }
    }

    /// The world changed the clock.
    pub(crate) fn set(&self, model: &Model) {
        self.model().clone_from(model);
    }

    /// What was read since the last time, as one word, and the most telling clock of it.
    pub(crate) fn take_read(&self) -> Option<(u64, Reading)> {
        let most = match self.most.swap(0, Ordering::Relaxed) {
            0 => return None,
            1 => Reading::Monotonic,
            2 => Reading::Wall,
            _ => Reading::Interval,
        };
        Some((self.read.swap(0, Ordering::Relaxed), most))
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> SimTime {
        SimTime::from_nanos(self.now.load(Ordering::Relaxed))
    }

    fn note(&self, shown: u64, of: Reading) {
        self.most.fetch_max(of as u8, Ordering::Relaxed);
        let read = self.read.load(Ordering::Relaxed);
        self.read.store(crate::trace::mix(read, shown), Ordering::Relaxed);
    }
}

impl Clock for NodeClock {
    fn monotonic(&self) -> Monotonic {
        let due = self.model().monotonic(self.now());
        let before = self.shown.fetch_max(due.as_nanos(), Ordering::Relaxed);
        let shown = due.max(Monotonic::from_nanos(before));
        self.note(shown.as_nanos(), Reading::Monotonic);
        shown
    }

    fn wall(&self) -> WallTime {
        let shown = self.model().wall(self.now());
        self.note(shown.as_nanos(), Reading::Wall);
        shown
    }

    fn drift(&self) -> Drift {
        self.model().drift()
    }
}

impl BoundedClock for NodeClock {
    fn interval(&self) -> Result<Interval, Unbounded> {
        let shown = self.model().interval(self.now());
        let word = shown.earliest().as_nanos() ^ shown.latest().as_nanos().rotate_left(32);
        self.note(word, Reading::Interval);
        Ok(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> SimTime {
        SimTime::from_nanos(nanos)
    }

    #[test]
    fn the_inverse_is_exact_through_changes_of_rate() {
        let mut rng = Rng::stream(1, "clock", 1, 0);
        for _ in 0..200 {
            let mut model = Model::draw(&mut rng);
            let mut now = 0;
            for _ in 0..50 {
                now += rng.log_uniform(1, 10_000_000_000);
                let ppm = i32::try_from(rng.below(200_001)).unwrap() - 100_000;
                let before = model.monotonic(at(now));
                model.set_rate(at(now), ppm);
                assert_eq!(model.monotonic(at(now)), before, "no jump");
                let wait = Duration::from_nanos(rng.log_uniform(1, 100_000_000_000));
                let deadline = before.saturating_add(wait);
                let due = model.when(deadline);
                assert!(model.monotonic(due) >= deadline, "never early");
                let earlier = at(due.as_nanos() - 1);
                assert!(due == at(now) || model.monotonic(earlier) < deadline, "never late");
            }
        }
    }

    /// H16: who has read ahead, because it was busy, does not see its clock go back.
    #[test]
    fn a_rate_that_changes_later_leaves_what_was_read() {
        let mut model = Model::draw(&mut Rng::stream(4, "clock", 1, 0));
        model.set_rate(at(1_000), 100_000);
        let untouched = model.clone();
        model.set_rate(at(9_000), -100_000);
        model.set_rate(at(9_000), -50_000);
        let mut last = model.monotonic(at(1_000));
        for nanos in 1_001..20_000 {
            let shown = model.monotonic(at(nanos));
            assert!(shown >= last, "it went back at {nanos}");
            if nanos <= 9_000 {
                assert_eq!(shown, untouched.monotonic(at(nanos)));
            }
            assert!(model.monotonic(model.when(shown)) >= shown, "never early");
            assert!(model.when(shown) <= at(nanos), "never late");
            last = shown;
        }
    }

    #[test]
    fn the_interval_holds_true_time_until_it_is_told_to_lie() {
        let mut rng = Rng::stream(2, "clock", 1, 0);
        for _ in 0..200 {
            let mut model = Model::draw(&mut rng);
            model.step(i64::try_from(rng.below(3_600_000_000_000)).unwrap());
            let now = at(rng.below(86_400_000_000_000));
            assert!(model.interval(now).contains(Model::true_wall(now)));
            let error = model.wall(now).as_nanos().abs_diff(Model::true_wall(now).as_nanos());
            model.set_lie(error / 10 + 10_000 + 1);
            assert_eq!(model.interval(now).contains(Model::true_wall(now)), error == 0);
        }
    }

    #[test]
    fn a_step_moves_the_wall_clock_alone() {
        let mut model = Model::draw(&mut Rng::stream(3, "clock", 1, 0));
        let (now, wall) = (model.monotonic(at(5)), model.wall(at(5)));
        model.step(-3_600_000_000_000);
        assert_eq!(model.monotonic(at(5)), now);
        assert_eq!(wall.since(model.wall(at(5))), Duration::from_secs(3_600));
    }
}
