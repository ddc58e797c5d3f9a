//! Injected time: one source of monotonic and wall-clock time that is passed in, never reached for.
//!
//! **Is:** two newtypes for points in time ([`Monotonic`], [`WallTime`]), a stated rate error
//! ([`Drift`]), one trait to read them from ([`Clock`]), one trait to wait ([`Timer`]), a clock of
//! the operating system that keeps counting while the machine sleeps ([`SystemClock`]) and one that
//! moves only when told to ([`ManualClock`]).
//!
//! **Is not:** a time synchroniser (bring NTP or PTP), a calendar, a timer wheel or a scheduler.
//! Nothing here sleeps, spawns a thread or aborts. Hybrid logical clocks, version vectors, bounded
//! time and durable generations are planned for this crate and not in it yet.
//!
//! ```
//! use quorate_clocks::{Clock, Drift, ManualClock, Monotonic, WallTime};
//! use std::time::Duration;
//!
//! /// A lease holder that never asks the operating system what time it is.
//! fn expired(clock: &dyn Clock, granted: Monotonic, ttl: Duration) -> bool {
//!     clock.monotonic().since(granted) >= clock.drift().shrink(ttl)
//! }
//!
//! let clock = ManualClock::new(WallTime::from_nanos(1_700_000_000_000_000_000));
//! clock.set_drift(Drift::SLEWED);
//! let granted = clock.monotonic();
//! clock.advance(Duration::from_secs(5));
//! assert!(!expired(&clock, granted, Duration::from_secs(10)));
//! clock.advance(Duration::from_secs(4));
//! assert!(expired(&clock, granted, Duration::from_secs(10))); // 10 s less the clock's drift
//! ```
//!
//! # Guarantees
//!
//! | property | condition | test |
//! |---|---|---|
//! | `SystemClock::monotonic` never goes back, on any thread | Linux's own promise for `CLOCK_BOOTTIME`, std's for `Instant` | `system::never_goes_back_across_threads` |
//! | it counts the time the machine was suspended | `is_suspend_aware()` is true (64-bit Linux) | `system::says_what_it_is` |
//! | `shrink(d)` of local time never exceeds `d` of true time, `stretch(d)` is never less | the clock's rate is within `drift()` | `drift::shrink_and_stretch_bound_true_time` |
//! | arithmetic on points in time saturates, never wraps or panics | always | `time::arithmetic_saturates` |
//! | a wrapper (`&C`, `Box<C>`, `Arc<C>`) answers like the clock inside, method by method | always | `clock::h33_wrappers_forward_every_method` |
//!
//! # Limits
//!
//! `Monotonic` lasts 584 years from its origin, `WallTime` to the year 2554; both saturate there.
//!
//! # How to drive it
//!
//! Nothing needs driving: pass `Arc<dyn Clock>` to whatever needs time, and a [`ManualClock`] in
//! tests.
//!
//! # Failure model
//!
//! The wall clock may step either way at any time. The monotonic clock may run fast or slow within
//! [`Drift`]; on 64-bit Linux it is slewed by NTP, so the default bound is [`Drift::SLEWED`].
//!
//! # Features
//!
//! - `std` (default): [`SystemClock`] and conversions from and to `std::time::SystemTime`. Without
//!   it the crate is `no_std + alloc`.
//!
//! # Sources
//!
//! Joshi, *Patterns of Distributed Systems* (2023), "Lease" and "Generation Clock" (why time is
//! data); `clock_gettime(2)` (`CLOCK_BOOTTIME`); chrony's documentation of `maxslewrate` (83,333
//! ppm by default).

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
