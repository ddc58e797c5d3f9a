//! The kernel's bound: every row of its answer, and how long an answer is used.

use crate::support::{Rng, each_seed};
use quorate_clocks::{
    BoundedClock, Clock, CoarseClock, ErrorCode, KernelNtp, KernelStatus, ManualClock, Monotonic,
    Quality, Reading, SystemClock, Unbounded, WallTime,
};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const START: u64 = 1_700_000_000_000_000_000;
const SEC: Duration = Duration::from_secs(1);

fn status(code: i32, status: i32, maxerror_us: i64) -> KernelStatus {
    KernelStatus::new(code, status, maxerror_us)
}

/// H27: a saturated error and an unsynchronised clock are no bounds, in every combination.
#[test]
fn h27_an_unsynchronised_kernel_gives_no_bound() {
    let unsynchronised = Err(Unbounded::Unsynchronized);
    let rows = [
        (status(0, 0x40, 1_000), unsynchronised),
        (status(0, 0x2041, 1_000), unsynchronised),
        (status(5, 0x40, 1_000), unsynchronised),
        (status(5, 0, 1_000), unsynchronised),
        (status(0, 0, 16_000_000), unsynchronised),
        (status(0, 0, i64::MAX), unsynchronised),
        (status(5, 0x40, 16_000_000), unsynchronised),
        (status(5, 0x40, -1), unsynchronised),
        (status(0, 0, -1), Err(Unbounded::Malformed("maxerror is below zero"))),
        (status(0, 0, 15_999_999), Ok(Duration::from_micros(15_999_999 + 501))),
        (status(0, 0, 0), Ok(Duration::from_micros(501))),
        // Leap seconds to come, and other flags, say nothing about the error.
        (status(1, 0x2011, 7), Ok(Duration::from_micros(508))),
        (status(4, 0x2001, 7), Ok(Duration::from_micros(508))),
    ];
    for (answer, expected) in rows {
        assert_eq!(answer.bound(Duration::ZERO), expected, "{answer:?}");
        let ntp = KernelNtp::with_source(manual(), move || Ok(answer));
        let width = ntp.interval().map(|interval| interval.width());
        assert_eq!(width, expected.map(|half| half * 2), "{answer:?}");
    }
}

/// H16: the bound grows with the age of the answer, rounded up.
#[test]
fn h16_the_kernels_bound_grows_with_its_age() {
    let answer = status(0, 0, 0);
    let base = Duration::from_micros(501);
    let rows = [(1, 1), (2_000, 1), (2_001, 2), (1_000_000_000, 500_000)];
    for (age, growth) in rows {
        let expected = base + Duration::from_nanos(growth);
        assert_eq!(answer.bound(Duration::from_nanos(age)), Ok(expected), "{age} ns");
    }
    assert!(answer.bound(Duration::MAX).unwrap() > 9_000_000 * SEC);
    let time = manual();
    let ntp = KernelNtp::with_source(time.clone(), move || Ok(answer));
    assert_eq!(ntp.interval().unwrap().width(), 2 * base);
    time.advance(SEC / 2);
    let grown = base + Duration::from_micros(250);
    assert_eq!(ntp.interval().unwrap().width(), 2 * grown);
}

fn manual() -> ManualClock {
    ManualClock::new(WallTime::from_nanos(START))
}

/// A kernel of a test: its answer, and how often it was asked.
#[derive(Clone, Default)]
struct Kernel {
    asked: Arc<AtomicU64>,
    answer: Arc<Mutex<Option<Result<KernelStatus, Unbounded>>>>,
}

impl Kernel {
    fn answer(&self, answer: Result<KernelStatus, Unbounded>) {
        *self.answer.lock().unwrap() = Some(answer);
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn ntp<C: Clock>(&self, clock: C) -> KernelNtp<C> {
        let kernel = self.clone();
        KernelNtp::with_source(clock, move || {
            kernel.asked.fetch_add(1, Ordering::SeqCst);
            kernel.answer.lock().unwrap().unwrap_or(Ok(status(0, 0, 1_000)))
        })
    }
}

#[test]
fn the_kernel_is_asked_once_a_refresh() {
    let (time, kernel) = (manual(), Kernel::default());
    let ntp = kernel.ntp(time.clone()).refresh(100 * SEC / 1_000).unwrap();
    for _ in 0..1_000 {
        let interval = ntp.interval().unwrap();
        assert!(interval.contains(time.wall()) && interval.quality() == Quality::Synchronized);
        time.advance(SEC / 1_000);
    }
    assert_eq!(kernel.asked(), 10);
}

/// A step either way is noticed at the next call, and one that hides in the noise is in the bound.
#[test]
fn a_stepped_clock_is_asked_about_at_once() {
    let (time, kernel) = (manual(), Kernel::default());
    let ntp = kernel.ntp(time.clone());
    ntp.interval().unwrap();
    for (step, asked) in [(1_000, 1), (-1_000, 1), (1_001, 2), (-1_001, 3), (-5_000_000_000, 4)] {
        time.step_wall(step);
        assert!(ntp.interval().unwrap().contains(time.wall()));
        assert_eq!(kernel.asked(), asked, "after a step of {step} ns");
    }
    // Behind the monotonic clock, where the difference wraps.
    time.advance(100 * SEC);
    time.set_wall(WallTime::from_nanos(5));
    assert!(ntp.interval().unwrap().contains(time.wall()));
    time.step_wall(1_001);
    ntp.interval().unwrap();
    assert_eq!(kernel.asked(), 6);
    ntp.interval().unwrap();
    assert_eq!(kernel.asked(), 6);
}

/// After a failure the answer before it is not used again, also where it would still be fresh.
#[test]
fn a_failure_ends_the_answer_before_it() {
    let failures = [
        Err(Unbounded::Source(ErrorCode::Os(1))),
        Ok(status(5, 0x40, 16_000_000)),
        Ok(status(0, 0, -5)),
    ];
    for failure in failures {
        let (time, kernel) = (manual(), Kernel::default());
        let ntp = kernel.ntp(time.clone());
        ntp.interval().unwrap();
        kernel.answer(failure);
        time.step_wall(1_000_000);
        assert_eq!(ntp.interval().err(), failure.and_then(|s| s.bound(SEC)).err());
        time.step_wall(-1_000_000); // as it was when the first answer came
        assert!(ntp.interval().is_err());
        assert_eq!(kernel.asked(), 3);
        kernel.answer(Ok(status(0, 0, 2_000)));
        assert_eq!(ntp.interval().unwrap().width(), 2 * Duration::from_micros(2_501));
    }
}

/// A clock that reads what a script says, and then goes on from there by 10 ns a reading.
struct Scripted(Mutex<Script>);

#[derive(Default)]
struct Script {
    /// Wall, monotonic.
    left: VecDeque<(u64, u64)>,
    last: (u64, u64),
}

impl Scripted {
    fn new(readings: &[(u64, u64)]) -> Self {
        let left = readings.iter().copied().collect();
        Self(Mutex::new(Script { left, last: (0, 0) }))
    }
}

impl Clock for Scripted {
    fn monotonic(&self) -> Monotonic {
        self.read().monotonic
    }
    fn wall(&self) -> WallTime {
        self.read().wall
    }
    fn read(&self) -> Reading {
        let mut script = self.0.lock().unwrap();
        let (wall, mono) = script.last;
        let now = script.left.pop_front().unwrap_or((wall + 10, mono + 10));
        script.last = now;
        let manual = ManualClock::new(WallTime::from_nanos(0));
        manual.advance(Duration::from_nanos(now.1));
        manual.set_wall(WallTime::from_nanos(now.0));
        manual.read()
    }
}

/// A wall clock that is 4 ms old at most: true time may be that much later.
struct Coarse(ManualClock);

impl Clock for Coarse {
    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }
    fn wall(&self) -> WallTime {
        self.0.wall()
    }
    fn wall_staleness(&self) -> Duration {
        Duration::from_millis(4)
    }
}

#[test]
fn a_stale_reading_widens_the_interval() {
    let time = manual();
    let ntp = KernelNtp::with_source(Coarse(time.clone()), || Ok(status(0, 0, 0)));
    for _ in 0..2 {
        let now = ntp.interval().unwrap();
        assert_eq!(time.wall().since(now.earliest()), Duration::from_micros(4_501));
        assert_eq!(now.latest().since(time.wall()), Duration::from_micros(8_501));
    }
}

/// A wall clock that ticks every 4 ms over a monotonic one that flows.
struct Ticking(ManualClock);

const TICK: u64 = 4_000_000;

impl Clock for Ticking {
    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }
    fn wall(&self) -> WallTime {
        let nanos = self.0.wall().as_nanos();
        WallTime::from_nanos(nanos - nanos % TICK)
    }
    fn wall_staleness(&self) -> Duration {
        Duration::from_nanos(TICK)
    }
}

/// Ticks are no steps: neither between the question and the reading nor between two calls.
#[test]
fn a_clock_that_ticks_is_not_stepped() {
    let (time, kernel) = (manual(), Kernel::default());
    // The question takes a while, in which the clock ticks.
    let (source, late) = (kernel.clone(), time.clone());
    let ntp = KernelNtp::with_source(Ticking(time.clone()), move || {
        source.asked.fetch_add(1, Ordering::SeqCst);
        late.advance(Duration::from_micros(1_300));
        Ok(status(0, 0, 0))
    });
    for call in 0..1_000 {
        let now = ntp.interval().unwrap_or_else(|why| panic!("call {call}: {why}"));
        assert!(now.contains(time.wall()), "call {call}");
        time.advance(Duration::from_micros(700));
    }
    assert_eq!(kernel.asked(), 1);
    // The clock of the operating system, which ticks where it is coarse.
    let spin = SystemClock::new();
    let ntp = KernelNtp::with_source(CoarseClock::new(), move || {
        let start = spin.monotonic();
        while spin.monotonic().since(start) < Duration::from_micros(20) {}
        Ok(status(0, 0, 1_000))
    });
    let ntp = ntp.refresh(Duration::from_millis(1)).unwrap();
    for call in 0..1_000 {
        ntp.interval().unwrap_or_else(|why| panic!("call {call}: {why}"));
    }
}

/// A step that hides in the ticks is in the interval; a larger one is noticed.
#[test]
fn a_step_that_hides_in_the_ticks_is_in_the_interval() {
    each_seed(20, "ntp::a_step_that_hides_in_the_ticks_is_in_the_interval", |seed| {
        let mut rng = Rng::new(seed);
        let (mut hidden, mut noticed) = (0, 0);
        for _ in 0..500 {
            let (time, kernel) = (manual(), Kernel::default());
            time.advance(Duration::from_nanos(rng.below(TICK)));
            kernel.answer(Ok(status(0, 0, 0)));
            let ntp = kernel.ntp(Ticking(time.clone()));
            ntp.interval().unwrap();
            time.advance(Duration::from_nanos(rng.below(3 * TICK)));
            let truth = time.wall();
            let step = i64::try_from(rng.below(6 * TICK)).unwrap() - 3 * 4_000_000;
            time.step_wall(step);
            let now = ntp.interval().unwrap();
            let is_noticed = kernel.asked() == 2;
            // The kernel speaks of the clock as it is now, or spoke of it as it was.
            let expected = if is_noticed { time.wall() } else { truth };
            assert!(now.contains(expected), "step of {step} ns, noticed: {is_noticed}");
            assert!(is_noticed || step.unsigned_abs() <= 2 * TICK + 1_000);
            hidden += u64::from(!is_noticed);
            noticed += u64::from(is_noticed);
        }
        assert!(hidden > 50 && noticed > 50, "{hidden} hidden, {noticed} noticed");
    });
}

/// A pause between the question and the reading makes the answer old.
#[test]
fn an_answer_that_a_pause_made_old_is_refused() {
    let pause = 4_000_000_001;
    let readings = [(START, 0), (START + pause, pause)];
    let ntp = KernelNtp::with_source(Scripted::new(&readings), || Ok(status(0, 0, 1_000)));
    let age = Duration::from_nanos(pause);
    assert_eq!(ntp.interval(), Err(Unbounded::Stale { age }));
    // A shorter one only widens the interval.
    let pause = 4_000_000_000;
    let readings = [(START, 0), (START + pause, pause)];
    let ntp = KernelNtp::with_source(Scripted::new(&readings), || Ok(status(0, 0, 1_000)));
    let half = Duration::from_micros(1_501 + 2_000);
    assert_eq!(ntp.interval().unwrap().width(), 2 * half);
}

/// A step between the question and the reading: the answer is not about this clock.
#[test]
fn an_answer_that_a_step_fell_into_is_asked_for_again() {
    let kernel = Kernel::default();
    let readings = [(START, 0), (START + 9_000, 10)];
    kernel.ntp(Scripted::new(&readings)).interval().unwrap();
    assert_eq!(kernel.asked(), 2);
    // A clock that is stepped all the time.
    let wild: Vec<_> = (0..100).map(|i| (START + i * 9_000, i)).collect();
    let unstable = Err(Unbounded::Source(ErrorCode::Unstable));
    assert_eq!(kernel.ntp(Scripted::new(&wild)).interval(), unstable);
}

#[test]
fn a_refresh_out_of_range_is_refused() {
    let ms = Duration::from_millis(1);
    for bad in [Duration::ZERO, ms - Duration::from_nanos(1), 16 * SEC + ms, Duration::MAX] {
        let error = KernelNtp::new().refresh(bad).unwrap_err();
        assert_eq!((error.asked, error.min, error.max), (bad, ms, 16 * SEC));
    }
    for good in [ms, 16 * SEC] {
        KernelNtp::new().refresh(good).unwrap();
    }
}

/// Threads that share one source while the clock is stepped: the kernel's error tells of which
/// reading it is, and each interval is from one answer, never from parts of two.
#[test]
fn threads_never_see_half_an_answer() {
    each_seed(3, "ntp::threads_never_see_half_an_answer", |seed| {
        let mut rng = Rng::new(seed);
        let error_us = |wall: u64| 1_000 + (wall / 1_000_000) % 1_000;
        let time = manual();
        let kernel = time.clone();
        let ntp = KernelNtp::with_source(time.clone(), move || {
            let us = error_us(kernel.wall().as_nanos());
            Ok(status(0, 0, i64::try_from(us).unwrap()))
        });
        let read = || {
            let mut bounded = 0;
            for _ in 0..30_000 {
                match ntp.interval() {
                    Ok(now) => {
                        let wall = now.earliest().saturating_add(now.width() / 2).as_nanos();
                        let half = Duration::from_micros(error_us(wall) + 501);
                        assert_eq!(now.width(), 2 * half, "around {wall}");
                        bounded += 1;
                    }
                    Err(why) => assert_eq!(why, Unbounded::Source(ErrorCode::Unstable)),
                }
            }
            bounded
        };
        std::thread::scope(|scope| {
            let readers = [scope.spawn(read), scope.spawn(read)];
            while readers.iter().any(|reader| !reader.is_finished()) {
                // Never back: a clock that was stepped there and back looks unstepped.
                time.step_wall(1_000_000 * i64::try_from(1 + rng.below(5)).unwrap());
                for _ in 0..rng.below(200) {
                    std::hint::spin_loop();
                }
            }
            for reader in readers {
                assert!(reader.join().unwrap() > 0);
            }
        });
    });
}

/// Whatever this machine's kernel says, it is said in terms of this crate.
#[test]
fn the_kernel_of_this_machine_answers() {
    let answer = KernelStatus::read();
    let interval = KernelNtp::new().interval();
    println!("kernel: {answer:?}, interval: {interval:?}");
    if cfg!(not(all(target_os = "linux", target_pointer_width = "64"))) {
        assert_eq!(answer, Err(Unbounded::Source(ErrorCode::Unsupported)));
        return;
    }
    match answer {
        Ok(answer) => assert!((0..=5).contains(&answer.code) && answer.maxerror_us >= 0),
        // Containers may forbid the call.
        Err(why) => assert!(matches!(why, Unbounded::Source(ErrorCode::Os(_))), "{why}"),
    }
    if let Ok(interval) = interval {
        assert!(interval.width() >= Duration::from_micros(1_002));
        let wall = SystemClock::new().wall();
        assert!(interval.earliest() <= wall);
    }
}
