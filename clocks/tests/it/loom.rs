//! Every interleaving of two or three threads, by loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p quorate-clocks --release --test it --target-dir
//! target/loom loom_`

use loom::sync::Arc;
use loom::thread;
use quorate_clocks::{
    FnClock, Hlc, HlcConfig, HorizonHlc, Monotonic, Timestamp, WallTime, from_fn,
};
use std::num::NonZeroU16;

fn clock(micros: u64) -> FnClock<impl Fn() -> WallTime + Send + Sync, fn() -> Monotonic> {
    from_fn(move || WallTime::from_nanos(micros * 1_000), || Monotonic::ZERO)
}

fn distinct(mut stamps: Vec<Timestamp>) {
    let count = stamps.len();
    stamps.sort_unstable();
    stamps.dedup();
    assert_eq!(stamps.len(), count, "one was given twice: {stamps:?}");
}

/// Three callers, one of them twice; the clock stands.
#[test]
fn loom_three_callers_get_distinct_stamps() {
    loom::model(|| {
        let hlc = Arc::new(Hlc::new(clock(7)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let hlc = hlc.clone();
                thread::spawn(move || hlc.now())
            })
            .collect();
        let mine = [hlc.now(), hlc.now()];
        assert!(mine[0] < mine[1]);
        let mut all = mine.to_vec();
        all.extend(threads.into_iter().map(|t| t.join().unwrap()));
        assert!(all.iter().all(|t| t.micros() >= 7));
        distinct(all);
    });
}

#[test]
fn loom_a_receive_beside_a_local_event() {
    loom::model(|| {
        let hlc = Arc::new(Hlc::new(clock(7)));
        let remote = Timestamp::from_parts(7, 3).unwrap();
        let other = thread::spawn({
            let hlc = hlc.clone();
            move || [hlc.now(), hlc.now()]
        });
        let received = hlc.observe(remote).unwrap();
        let after = hlc.now();
        assert!(received > remote && after > received);
        let other = other.join().unwrap();
        assert!(other[0] < other[1]);
        distinct(vec![received, after, other[0], other[1]]);
    });
}

#[test]
fn loom_a_reservation_beside_a_local_event() {
    loom::model(|| {
        let hlc = Arc::new(Hlc::new(clock(7)));
        let other = thread::spawn({
            let hlc = hlc.clone();
            move || [hlc.now(), hlc.now()]
        });
        let range = hlc.reserve(NonZeroU16::new(3).unwrap());
        let mut all: Vec<Timestamp> = range.into_iter().collect();
        all.extend(other.join().unwrap());
        assert!(all.iter().all(|t| t.micros() >= 7));
        distinct(all);
    });
}

#[test]
fn loom_a_trusted_stamp_is_handed_out_to_nobody() {
    loom::model(|| {
        let hlc = Arc::new(Hlc::new(clock(7)));
        let trusted = Timestamp::from_parts(7, 1).unwrap();
        let other = thread::spawn({
            let hlc = hlc.clone();
            move || hlc.now()
        });
        hlc.forward(trusted).unwrap();
        let mine = hlc.now();
        assert!(mine > trusted);
        distinct(vec![mine, other.join().unwrap()]);
    });
}

/// Whatever is issued is at most what was durable when the call ended.
#[test]
fn loom_nothing_is_issued_above_the_durable_horizon() {
    loom::model(|| {
        let hlc = Arc::new(HorizonHlc::recover(clock(7), HlcConfig::default(), None).unwrap());
        let other = thread::spawn({
            let hlc = hlc.clone();
            move || {
                let issued = [hlc.now().ok(), hlc.now().ok()];
                (issued, hlc.durable())
            }
        });
        let persist = hlc.poll_persist().unwrap();
        hlc.persisted(persist);
        let mine = hlc.now().ok();
        assert!(mine.is_some(), "its own write is durable");
        let (issued, durable) = other.join().unwrap();
        assert!(issued.iter().flatten().all(|stamp| Some(*stamp) <= durable));
        distinct(issued.into_iter().chain([mine]).flatten().collect());
    });
}

/// Two who poll: one of them writes.
#[test]
fn loom_one_of_two_is_asked_to_persist() {
    loom::model(|| {
        let hlc = Arc::new(HorizonHlc::recover(clock(7), HlcConfig::default(), None).unwrap());
        let other = thread::spawn({
            let hlc = hlc.clone();
            move || hlc.poll_persist()
        });
        let mine = hlc.poll_persist();
        let other = other.join().unwrap();
        assert!(mine.is_some() != other.is_some(), "{mine:?} {other:?}");
    });
}
