//! Lanes P1 to P5, P8, P9, P11: clocks and stamps.

use hlc_gen::HlcGenerator;
use quorate_benches::{Candidate, Lane, Table, Target};
use quorate_clocks::{
    BoundedClock, Clock, CoarseClock, Hlc, HlcConfig, KernelNtp, KernelStatus, SystemClock,
    Timestamp,
};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub(crate) fn measure(table: &mut Table) {
    now(table);
    now_coarse(table);
    observe(table);
    observe_ahead(table);
    contended(table, 2);
    contended(table, 4);
    reserve(table);
    decode(table);
    monotonic(table);
    bounded(table);
}

fn now(table: &mut Table) {
    let (hlc, uhlc, generator) = (Hlc::system(), uhlc::HLC::default(), HlcGenerator::new(500));
    table.measure(Lane {
        name: "P1 `Hlc::now`",
        ours: Candidate::each("ours", || hlc.now()),
        floor: Candidate::each("SystemTime::now", SystemTime::now),
        peers: vec![
            Candidate::each("uhlc", || uhlc.new_timestamp()),
            Candidate::each("hlc-gen", || generator.next_timestamp()),
        ],
        targets: vec![Target::OfPeer(0.65), Target::OfFloor(1.25)],
    });
}

fn now_coarse(table: &mut Table) {
    let (hlc, uhlc) = (Hlc::new(CoarseClock::new()), uhlc::HLC::default());
    let (clock, word) = (CoarseClock::new(), AtomicU64::new(0));
    table.measure(Lane {
        name: "P2 `Hlc::now` over `CoarseClock`",
        ours: Candidate::each("ours", || hlc.now()),
        floor: Candidate::each("coarse read + fetch_add", || {
            (clock.wall(), word.fetch_add(1, Ordering::AcqRel))
        }),
        peers: vec![Candidate::each("uhlc", || uhlc.new_timestamp())],
        targets: vec![Target::OfPeer(0.25)],
    });
}

fn observe(table: &mut Table) {
    let (hlc, uhlc, generator) = (Hlc::system(), uhlc::HLC::default(), HlcGenerator::new(500));
    let (word, remote) = (AtomicU64::new(0), hlc.now());
    let (remote_uhlc, remote_gen) = (uhlc.new_timestamp(), generator.timestamp());
    table.measure(Lane {
        name: "P3 `Hlc::observe`",
        ours: Candidate::each("ours", || hlc.observe(remote).is_ok()),
        floor: Candidate::each("SystemTime::now + fetch_add", || {
            (SystemTime::now(), word.fetch_add(1, Ordering::AcqRel))
        }),
        peers: vec![
            Candidate::each("uhlc", || uhlc.update_with_timestamp(&remote_uhlc).is_ok()),
            Candidate::each("hlc-gen", || generator.update(&remote_gen).is_ok()),
        ],
        targets: vec![Target::OfPeer(0.65)],
    });
}

/// The compiler may not drop the work.
fn keep<T>(value: T) {
    let _ = std::hint::black_box(value);
}

/// A remote stamp ahead of the clock: what the counter, not the clock, answers.
fn observe_ahead(table: &mut Table) {
    let hour = Duration::from_secs(3_600);
    let config = HlcConfig::lan().max_skew(hour).build().expect("in range");
    let hlc = Hlc::with_config(SystemClock::new(), config);
    let uhlc = uhlc::HLCBuilder::new().with_max_delta(hour).build();
    let far = hour.as_micros() as u64 / 2;
    let remote = Timestamp::from_parts(hlc.now().micros() + far, 0).expect("in range");
    let time = *uhlc.new_timestamp().get_time() + uhlc::NTP64::from(hour / 2);
    let remote_uhlc = uhlc::Timestamp::new(time, *uhlc::HLC::default().get_id());
    let word = AtomicU64::new(0);
    table.measure(Lane {
        name: "P3 `Hlc::observe`, remote half an hour ahead",
        ours: Candidate::each("ours", || hlc.observe(remote).is_ok()),
        floor: Candidate::each("SystemTime::now + fetch_add", || {
            (SystemTime::now(), word.fetch_add(1, Ordering::AcqRel))
        }),
        peers: vec![Candidate::each("uhlc", || uhlc.update_with_timestamp(&remote_uhlc).is_ok())],
        targets: vec![Target::OfPeer(0.65)],
    });
}

/// Every thread does its share of `count`.
fn on_threads(threads: u64, count: u64, op: impl Fn() + Sync) -> u64 {
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let share = count / threads + u64::from(thread < count % threads);
            let op = &op;
            scope.spawn(move || (0..share).for_each(|_| op()));
        }
    });
    count
}

fn contended(table: &mut Table, threads: u64) {
    let (hlc, uhlc, generator) = (Hlc::system(), uhlc::HLC::default(), HlcGenerator::new(500));
    let word = AtomicU64::new(0);
    table.measure(Lane {
        name: &format!("P4 `Hlc::now` on {threads} threads"),
        ours: Candidate::run("ours", |n| on_threads(threads, n, || keep(hlc.now()))),
        floor: Candidate::run("contended fetch_add", |n| {
            on_threads(threads, n, || keep(word.fetch_add(1, Ordering::AcqRel)))
        }),
        peers: vec![
            Candidate::run("SystemTime::now + contended fetch_add", |n| {
                on_threads(threads, n, || {
                    keep(SystemTime::now());
                    keep(word.fetch_add(1, Ordering::AcqRel));
                })
            }),
            Candidate::run("uhlc", |n| on_threads(threads, n, || keep(uhlc.new_timestamp()))),
            Candidate::run("hlc-gen", |n| {
                on_threads(threads, n, || keep(generator.next_timestamp()))
            }),
        ],
        targets: vec![Target::OfFloor(1.2)],
    });
}

fn reserve(table: &mut Table) {
    const EACH: u64 = 64;
    let (hlc, word) = (Hlc::system(), AtomicU64::new(0));
    let n = NonZeroU16::new(64).expect("not zero");
    table.measure(Lane {
        name: "P5 `reserve(64)`, one stamp",
        ours: Candidate::run("ours", |count| {
            (0..count.div_ceil(EACH)).for_each(|_| keep(hlc.reserve(n)));
            count
        }),
        floor: Candidate::run("fetch_add / 64", |count| {
            (0..count.div_ceil(EACH)).for_each(|_| {
                keep(word.fetch_add(EACH, Ordering::AcqRel));
            });
            count
        }),
        peers: vec![],
        targets: vec![Target::Nanos(1.0)],
    });
}

fn decode(table: &mut Table) {
    let hlc = Hlc::system();
    let bytes: Vec<[u8; 8]> = (0..1_024).map(|_| hlc.now().to_bytes()).collect();
    let (mut at, mut floor_at) = (0, 0);
    table.measure(Lane {
        name: "P8 decode a stamp",
        ours: Candidate::each("ours", || {
            at = (at + 1) % 1_024;
            Timestamp::from_bytes(bytes[at])
        }),
        floor: Candidate::each("8-byte load", || {
            floor_at = (floor_at + 1) % 1_024;
            u64::from_be_bytes(bytes[floor_at])
        }),
        peers: vec![],
        targets: vec![Target::Nanos(2.0)],
    });
}

fn monotonic(table: &mut Table) {
    let (slewed, unslewed) = (SystemClock::new(), SystemClock::unslewed());
    for (name, clock, max) in [
        ("P9 `SystemClock::monotonic`", slewed, 1.1),
        ("P9 `SystemClock::unslewed().monotonic`", unslewed, 5.0),
    ] {
        table.measure(Lane {
            name,
            ours: Candidate::each("ours", || clock.monotonic()),
            floor: Candidate::each("Instant::now", Instant::now),
            peers: vec![],
            targets: vec![Target::OfFloor(max)],
        });
    }
}

fn bounded(table: &mut Table) {
    let synchronized = || Ok(KernelStatus::new(0, 0, 2_000));
    let cached = KernelNtp::with_source(SystemClock::new(), synchronized);
    let clock = SystemClock::new();
    table.measure(Lane {
        name: "P11 `KernelNtp::interval`, cached",
        ours: Candidate::each("ours", || cached.interval().is_ok()),
        floor: Candidate::each("two clock reads", || clock.read()),
        peers: vec![],
        targets: vec![Target::Nanos(60.0)],
    });
    // Nothing is kept of an unsynchronised kernel: each call asks it.
    let asking = KernelNtp::with_source(SystemClock::new(), || {
        KernelStatus::read().and(Err(quorate_clocks::Unbounded::Unsynchronized))
    });
    table.measure(Lane {
        name: "P11 `KernelNtp::interval`, refreshed",
        ours: Candidate::each("ours", || asking.interval().is_err()),
        floor: Candidate::each("adjtimex", KernelStatus::read),
        peers: vec![],
        targets: vec![Target::OfFloor(1.3)],
    });
}
