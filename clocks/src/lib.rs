//! Clocks of distributed systems: injected physical time, hybrid logical clocks, version vectors,
//! bounded time.
//!
//! **Is:** value types and small state machines. Physical time that is passed in ([`Clock`]), with
//! a stated rate error ([`Drift`]); a lock-free hybrid clock whose stamp is one `u64` ([`Hlc`]),
//! and that stays above its former life without waiting ([`HorizonHlc`]); exact causality
//! ([`VectorClock`], [`VersionVector`], [`DvvSet`], [`MatrixClock`]); generations that are durable
//! before they are used ([`GenerationClock`]); time with a known error ([`BoundedClock`]).
//!
//! **Is not:** a time synchroniser (bring NTP or PTP), a calendar, a UUID formatter, a timer wheel
//! or a scheduler. Nothing spawns a thread, sleeps (but for `commit_wait`), or aborts.
//!
//! ```
//! use quorate_clocks::{Clock, Hlc, ManualClock, SkewedClock, WallTime};
//!
//! let truth = ManualClock::new(WallTime::from_nanos(1_700_000_000_000_000_000));
//! let alice = Hlc::new(SkewedClock::new(truth.clone(), 40_000_000, 0)); // 40 ms ahead
//! let bob = Hlc::new(truth);
//!
//! let sent = alice.now();
//! let received = bob.observe(sent)?; // although Bob's clock says that it was sent in the future
//! assert!(received > sent && bob.now() > received);
//! # Ok::<(), quorate_clocks::ObserveError>(())
//! ```
//!
//! # Which clock do I need?
//!
//! | question | type |
//! |---|---|
//! | How long did it take? Has the lease run out? | [`Clock::monotonic`] with [`Drift`] |
//! | In which order did things happen, roughly when? | [`Hlc`]; two nodes never tie: [`Stamp`] |
//! | The same, over restarts with a wall clock that may go back? | [`HorizonHlc`] over a [`DurableMark`] |
//! | In which order, and time of day does not matter? | [`LamportClock`] |
//! | Did one cause the other, or were they concurrent? | [`VectorClock`] |
//! | Which updates does the other replica lack? | [`VersionVector`] |
//! | Which of several values written at once are still alive? | [`DvvSet`] |
//! | What has everybody seen, so that it can be forgotten? | [`MatrixClock`] |
//! | Is this leader's message from before the last election? | [`GenerationClock`] |
//! | Is this point in time certainly past, on every node? | [`BoundedClock`], [`CommitWait`] |
//! | Was my wall clock stepped? | [`ClockMonitor`] |
//! | Newest version first, in a sorted store? | [`VersionedKey`] |
//!
//! # Guarantees
//!
//! | | property | condition | shown by |
//! |---|---|---|---|
//! | G1 | stamps of an [`Hlc`] are distinct, and later calls return larger ones, on any thread | one `Hlc` per node and incarnation | `loom::*`, `hybrid::threads_…`, `execution` |
//! | G2 | `observe(r)` returns a stamp above `r` and above all before | as G1 | `execution`, `hybrid::h01_…` |
//! | G3 | a stamp is at least the physical reading of its call, and ahead of it by at most `max_skew`, staleness, steps back and 1 µs per 4,096 stamps of a standing clock | only `observe` merges remote stamps | `execution` |
//! | G4 | `now` never fails and never waits; a refused `observe` changes nothing | – | `hybrid::h03_…`, `h08_…`, `h12_…`, `h22_…` |
//! | G5 | [`HorizonHlc`] issues nothing at or below what it issued before a crash | the mark was durable when `persisted` was called | `execution`, `horizon::h06_…` |
//! | G6 | byte order is value order; one text and one byte form for each value, everything else is refused | – | `timestamp::*`, `format_mutations`, `key::*` |
//! | G7 | `interval()` contains true time, or says why not; `CommitWait` done means past on every correct clock | the source's stated assumption | `bounded::*`, `commit_wait::*`, `execution` |
//! | G8 | `compare` says exactly what set inclusion of the histories says | – | `model::*`, `causality::ten_thousand_…` |
//! | G9 | `DvvSet::sync` keeps exactly the values the other side's history does not cover | values went through `update` | `dvv_model::no_write_is_lost_…` |
//! | G10 | a generation is durable before it is used, and never falls | honest `fdatasync` | `generation::h21_…`, `mark::h26_…` |
//! | G11 | `shrink(d)` of local time is at most `d` of true time, `stretch(d)` at least | the clock's rate is within `drift()` | `drift::shrink_and_stretch_…` |
//! | G12 | `stable(members)` is below what every listed member has seen | members report through `receive` | `matrix::stable_…` |
//!
//! # Drift, slew and suspend
//!
//! | Linux clock | slewed by NTP | counts suspend | here |
//! |---|---|---|---|
//! | `CLOCK_MONOTONIC` | yes | no | – (std's `Instant`) |
//! | `CLOCK_BOOTTIME` | yes | yes | [`SystemClock::new`], [`Drift::SLEWED`] |
//! | `CLOCK_MONOTONIC_RAW` | no | no | `SystemClock::unslewed` adds the suspend, [`Drift::CRYSTAL`] |
//!
//! While NTP corrects a wall clock without stepping it, the slewed clocks run wrong on purpose: by
//! up to 83,333 ppm with chrony's default `maxslewrate`, and up to 10 % + 500 ppm by what the
//! kernel allows. A lease that allows for a crystal's 200 ppm on such a clock is not safe. Either
//! use the default ([`Drift::SLEWED`], 100,500 ppm), or `SystemClock::unslewed`, or set
//! `maxslewrate 1000` in chrony.conf on every node and state 1,500 ppm (`SystemClock::with_drift`).
//! Do not mix smeared and unsmeared leap seconds in one fleet.
//!
//! # Limits
//!
//! Stamps read physical time up to 2112-09-05 and only count afterwards. Readers take vectors of
//! 4,096 entries and sibling sets of 1,024 values; a matrix has 256 rows; keys have 64 KiB.
//! [`WallTime`] lasts to the year 2554, [`Monotonic`] 584 years; both saturate there. Targets need
//! 64-bit atomics.
//!
//! # How to drive it
//!
//! Pass `Arc<dyn Clock>` to whatever needs time, and a [`ManualClock`] in tests. [`ClockMonitor`]
//! and [`HorizonHlc`] are polled by you, from a thread or a task; the README shows both.
//!
//! # Failure model
//!
//! Wall clocks may step either way at any time, stand still, or be before 1970. Monotonic clocks
//! run wrong within [`Drift`]. Messages may carry anything. Files may be torn by a crash, one slot
//! may rot. Not covered: a wall clock years ahead that nobody watches (the horizon makes it
//! durable), a disk that lies about `fdatasync`, an actor id used by two lives (use [`Replica`]).
//!
//! # Features
//!
//! - `std` (default): what asks the operating system, [`ShivizLog`], conversions to `SystemTime`.
//!   Without it the crate is `no_std + alloc`.
//! - `serde`: stamps, times, generations and vectors; stamps and counters are text in
//!   human-readable formats, where numbers above 2⁵³ lose bits. Ids are the caller's own;
//!   [`Replica`] is text.
//! - `tokio`: `commit_wait`, the one function that waits.
//! - `clockbound`: a reader of a clock-bound daemon's shared memory.
//! - `metrics`: `record_metrics` on `Hlc` and `Interval`.
//!
//! # Sources
//!
//! Lamport 1978; Fidge 1988 and Mattern 1989 (vector clocks); Wuu & Bernstein 1984 (matrix clocks);
//! Kulkarni, Demirbas et al. 2014 (hybrid logical clocks); Preguiça et al. 2010 and Almeida et al.
//! 2014 (dotted version vectors); Corbett et al. 2012 (`TrueTime`, commit wait);
//! `clock_gettime(2)`, `adjtimex(2)`, chrony.conf(5); Joshi, *Patterns of
//! Distributed Systems*, 2023.

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

extern crate alloc;

mod bounded;
mod causality;
mod clock;
#[cfg(feature = "clockbound")]
mod clockbound;
#[cfg(all(feature = "clockbound", feature = "std"))]
mod clockbound_file;
mod codec;
mod commit_wait;
mod config;
mod drift;
mod dvv;
mod dvv_codec;
mod entries;
mod error;
#[cfg(feature = "std")]
mod file_mark;
mod fn_clock;
mod generation;
mod horizon;
mod hybrid;
mod interval;
mod key;
mod lamport;
mod manual;
mod mark;
#[cfg(feature = "std")]
mod mark_error;
mod matrix;
#[cfg(feature = "metrics")]
mod metrics;
mod monitor;
mod mutant;
#[cfg(feature = "std")]
mod ntp;
#[cfg(feature = "serde")]
mod numbers;
#[cfg(feature = "serde")]
mod serialized;
#[cfg(feature = "std")]
mod shiviz;
mod siblings;
mod skewed;
#[cfg(feature = "std")]
mod slots;
#[cfg(feature = "std")]
mod snapshot;
mod stats;
mod sync;
#[cfg(all(feature = "std", unix))]
#[expect(unsafe_code, reason = "the one door to clock_gettime, adjtimex and flock, not in std")]
mod sys;
#[cfg(feature = "std")]
mod system;
mod time;
mod timer;
mod timestamp;
#[cfg(feature = "std")]
mod unslewed;
mod vector;
mod version;

#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

pub use bounded::{BoundedClock, ErrorCode, FixedError, ManualBounded, Unbounded};
pub use causality::{Actor, ActorBytes, Causality, Dot, Replica};
pub use clock::{Clock, Reading};
#[cfg(feature = "clockbound")]
pub use clockbound::ClockBoundSegment;
#[cfg(all(feature = "clockbound", feature = "std"))]
pub use clockbound_file::ClockBoundFile;
pub use codec::{DecodeError, EncodeError};
pub use commit_wait::{CommitWait, Wait};
#[cfg(feature = "tokio")]
pub use commit_wait::{CommitWaitError, commit_wait};
pub use config::{ConfigError, HlcConfig, HlcConfigBuilder, MonitorConfig};
pub use drift::Drift;
pub use dvv::{DvvError, DvvSet, SiblingLimit};
pub use error::{ClockSkew, HorizonBehind, LamportOutOfRange, ObserveError};
#[cfg(feature = "std")]
pub use file_mark::FileMark;
pub use fn_clock::{FnClock, from_fn};
pub use generation::{Generation, GenerationClock, StaleGeneration};
pub use horizon::{HorizonHlc, Persist};
pub use hybrid::{Hlc, TimestampRange, TimestampRangeIter};
pub use interval::{Interval, Quality};
pub use key::{KeyError, VersionedKey};
pub use lamport::{LamportClock, LamportTime};
pub use manual::ManualClock;
pub use mark::{DurableMark, MarkFalls, MemoryMark};
#[cfg(feature = "std")]
pub use mark::{MarkKind, MarkStats};
#[cfg(feature = "std")]
pub use mark_error::{MarkDamage, MarkError, MarkOp, SlotError};
pub use matrix::{MatrixClock, MatrixFull};
pub use monitor::{ClockEvent, ClockMonitor};
#[cfg(feature = "std")]
pub use ntp::{KernelNtp, KernelStatus, RefreshOutOfRange};
#[cfg(feature = "std")]
pub use shiviz::{HostId, ShivizLog, TraceError, TraceProcess, TraceStamp};
pub use skewed::SkewedClock;
pub use stats::HlcStats;
#[cfg(feature = "std")]
pub use system::{CoarseClock, SystemClock};
pub use time::{Monotonic, WallTime};
pub use timer::Timer;
pub use timestamp::{ParseTimestampError, Stamp, Timestamp};
pub use vector::VectorClock;
pub use version::{DotRange, Gap, VersionVector};

#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
