//! The hybrid clock: receive rule, refusals, ends of the range.

use quorate_clocks::*;
use std::num::NonZeroU16;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// 2023-11-14.
const START: u64 = 1_700_000_000 * SECOND;

pub(crate) fn manual() -> ManualClock {
    ManualClock::new(WallTime::from_nanos(START))
}

fn stamp(micros_after_start: i64, logical: u16) -> Timestamp {
    let micros = (START / 1_000).checked_add_signed(micros_after_start).unwrap();
    Timestamp::from_parts(micros, logical).unwrap()
}

#[test]
fn h01_a_receive_counts_on_from_the_remote_counter() {
    let hlc = Hlc::new(manual());
    assert_eq!(hlc.observe(stamp(5, 40)), Ok(stamp(5, 41)));
    assert_eq!(hlc.now(), stamp(5, 42));
    // Lower than the own: above the own.
    assert_eq!(hlc.observe(stamp(5, 7)), Ok(stamp(5, 43)));
    assert_eq!(hlc.observe(stamp(4, 4_095)), Ok(stamp(5, 44)));
}

#[test]
fn h02_equal_physical_times_count_up() {
    let hlc = Hlc::new(manual());
    assert_eq!([hlc.now(), hlc.now()], [stamp(0, 0), stamp(0, 1)]);
    assert_eq!(hlc.observe(stamp(0, 1)), Ok(stamp(0, 2)));
    let fresh = Hlc::new(manual());
    assert_eq!(fresh.observe(stamp(0, 0)), Ok(stamp(0, 1)));
}

#[test]
fn h03_a_standing_clock_carries_into_the_microseconds() {
    let clock = manual();
    let hlc = Hlc::new(clock.clone());
    let mut last = hlc.now();
    for _ in 0..10_000 {
        let next = hlc.now();
        assert_eq!(next.to_bits(), last.to_bits() + 1, "no gap, no repeat");
        last = next;
    }
    assert_eq!(last, stamp(2, 1_808));
    assert_eq!((hlc.stats().carried, hlc.stats().lead_max_us), (2, 2));
    assert_eq!(hlc.lead(), Duration::from_micros(2));
    // Back an hour: it goes on from where it was.
    clock.step_wall(-3_600_000_000_000);
    assert_eq!(hlc.now().to_bits(), last.to_bits() + 1);
    clock.advance(Duration::from_secs(3_601));
    assert_eq!(hlc.now(), stamp(1_000_000, 0));
}

#[test]
fn h04_old_stamps_are_never_refused() {
    let hlc = Hlc::new(manual());
    let now = hlc.now();
    for old in [Timestamp::MIN, stamp(-3_600_000_000, 0), stamp(-500_001, 0)] {
        assert!(hlc.observe(old).unwrap() > now);
    }
    assert_eq!(hlc.stats().rejected_ahead, 0);
}

#[test]
fn h05_a_clock_may_capture_its_own_skew() {
    let truth = manual();
    let nodes: Vec<Hlc<SkewedClock<ManualClock>>> = [-2_000, 0, 7_000]
        .map(|offset| Hlc::new(SkewedClock::new(truth.clone(), offset, 0)))
        .into();
    let stamps: Vec<Timestamp> = nodes.iter().map(Hlc::now).collect();
    assert_eq!(stamps, [stamp(-2, 0), stamp(0, 0), stamp(7, 0)]);
    let captured = 40_000;
    let wall = move || WallTime::from_nanos(START + captured);
    assert_eq!(Hlc::new(from_fn(wall, || Monotonic::ZERO)).now(), stamp(40, 0));
}

/// Refused before it is merged: nothing of it stays.
#[test]
fn h08_a_poisoned_stamp_is_refused_and_leaves_no_trace() {
    let hlc = Hlc::new(manual());
    let before = hlc.now();
    let poison = "4102444800.000000+0".parse::<Timestamp>().unwrap(); // 2100-01-01
    let Err(ObserveError::Ahead(skew)) = hlc.observe(poison) else { panic!("taken") };
    assert_eq!((skew.remote, skew.local), (poison, WallTime::from_nanos(START)));
    assert_eq!(skew.ahead, Duration::from_secs(4_102_444_800 - 1_700_000_000));
    assert_eq!(skew.limit, Duration::from_millis(500));
    assert_eq!(hlc.latest(), Some(before));
    // One microsecond on either side of the limit.
    assert!(hlc.observe(stamp(500_001, 0)).is_err());
    assert_eq!(hlc.latest(), Some(before));
    assert_eq!(hlc.observe(stamp(500_000, 9)), Ok(stamp(500_000, 10)));
    // A trusted stamp is not checked against the clock, but against what a clock can say.
    hlc.forward(poison).unwrap();
    assert!(hlc.now() > poison);
    let beyond = Timestamp::from_bits((Timestamp::LAST_MICROS + 1) << 12).unwrap();
    for refused in [hlc.forward(beyond), hlc.observe(beyond).map(drop)] {
        assert_eq!(refused, Err(ObserveError::OutOfRange { remote: beyond }));
    }
    assert_eq!((hlc.stats().rejected_ahead, hlc.stats().rejected_range), (2, 2));
}

struct Stale(ManualClock);

impl Clock for Stale {
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
fn h09_a_stale_clock_allows_for_its_staleness() {
    let hlc = Hlc::with_config(Stale(manual()), HlcConfig::local().build().unwrap());
    assert!(hlc.observe(stamp(54_000, 0)).is_ok());
    let Err(ObserveError::Ahead(skew)) = hlc.observe(stamp(54_001, 0)) else { panic!("taken") };
    assert_eq!(skew.limit, Duration::from_millis(54));
}

/// Before 1970 the wall clock reads as 1970, and stamps count.
#[test]
fn h12_a_clock_before_1970_neither_panics_nor_stands() {
    let clock = ManualClock::new(WallTime::EPOCH);
    clock.step_wall(-SECOND.cast_signed());
    let hlc = Hlc::new(clock);
    assert_eq!([hlc.now().to_bits(), hlc.now().to_bits()], [1, 2]);
    assert_eq!(hlc.stats().before_epoch, 2);
    let range = hlc.reserve(NonZeroU16::new(2).unwrap());
    assert_eq!((range.first().to_bits(), range.last().to_bits()), (3, 4));
    let before = std::time::UNIX_EPOCH.checked_sub(Duration::from_secs(1)).unwrap();
    assert!(WallTime::try_from(before).is_err());
}

#[test]
fn h22_behind_the_last_microsecond_stamps_only_count() {
    let clock = ManualClock::new(WallTime::from_nanos(u64::MAX)); // the year 2554
    let hlc = Hlc::new(clock);
    let first = hlc.now();
    assert_eq!((first.micros(), first.logical()), (Timestamp::LAST_MICROS, 0));
    assert_eq!(first.to_string(), "4502500115.742720+0"); // 2112-09-05T06:28:35.742720Z
    for _ in 0..5_000 {
        hlc.now();
    }
    let later = hlc.now();
    assert_eq!((later.micros(), later.logical()), (Timestamp::LAST_MICROS + 1, 905));
    // What was issued has a text and bytes like any other stamp.
    assert_eq!(later.to_string().parse(), Ok(later));
    assert_eq!(Timestamp::from_bytes(later.to_bytes()), Some(later));
    // The last that may come from elsewhere, and the first that may not.
    let last = Timestamp::from_parts(Timestamp::LAST_MICROS, 4_095).unwrap();
    assert!(hlc.observe(last).is_ok());
    assert!(matches!(hlc.observe(later), Err(ObserveError::OutOfRange { .. })));
}

/// `fetch_max` is a loop on x86-64 that goes on when the word is past the value; and a loop of
/// compare-and-exchange is lock-free at best.
#[test]
fn h31_no_fetch_max_on_the_word_and_no_claim_beyond_lock_free() {
    let sources = [include_str!("../../src/hybrid.rs"), include_str!("../../src/lamport.rs")];
    for source in sources {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        assert!(!code.clone().any(|line| line.contains("fetch_max")));
        assert!(!source.contains("wait-free"));
    }
    let docs = [include_str!("../../README.md"), include_str!("../../src/lib.rs")];
    assert!(docs.iter().all(|text| !text.contains("wait-free")));
}

#[test]
fn reserved_stamps_are_consecutive_and_nobody_elses() {
    let clock = manual();
    let hlc = Hlc::new(clock.clone());
    let n = NonZeroU16::new(64).unwrap();
    let range = hlc.reserve(n);
    assert_eq!((range.first(), range.last(), range.count()), (stamp(0, 0), stamp(0, 63), n));
    assert_eq!(hlc.now(), stamp(0, 64));
    assert_eq!(hlc.reserve(n).first(), stamp(0, 65));
    clock.advance(Duration::from_micros(9));
    // What a reservation raised to is not handed out a second time.
    let range = hlc.reserve(NonZeroU16::new(1).unwrap());
    assert_eq!((range.first(), range.last()), (stamp(9, 0), stamp(9, 0)));
    assert_eq!(hlc.now(), stamp(9, 1));
    let all = hlc.reserve(NonZeroU16::MAX);
    assert_eq!(all.into_iter().count(), 65_535);
    assert_eq!(all.into_iter().last(), Some(all.last()));
    assert_eq!(hlc.stats().carried, 1);
}

#[test]
fn threads_get_distinct_stamps_in_order() {
    let hlc = Hlc::system();
    let mut all: Vec<Timestamp> = std::thread::scope(|scope| {
        let taken: Vec<_> = (0..4_u16)
            .map(|n| {
                let hlc = &hlc;
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for _ in 0..5_000 {
                        mine.push(hlc.now());
                        mine.extend(hlc.reserve(NonZeroU16::new(n + 1).unwrap()));
                    }
                    assert!(mine.is_sorted_by(|a, b| a < b));
                    mine
                })
            })
            .collect();
        taken.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn lead_and_latest_say_where_it_stands() {
    let clock = manual();
    let hlc = Hlc::new(clock.clone());
    assert_eq!((hlc.latest(), hlc.lead()), (None, Duration::ZERO));
    hlc.observe(stamp(300_000, 0)).unwrap();
    assert_eq!(hlc.lead(), Duration::from_millis(300));
    clock.advance(Duration::from_millis(200));
    assert_eq!(hlc.lead(), Duration::from_millis(100));
    assert_eq!(hlc.latest(), Some(stamp(300_000, 1)));
    assert!(format!("{hlc:?}").contains("300000+1"));
}
