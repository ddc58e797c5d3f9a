//! The family under one name: each component is a crate of its own, re-exported here by a feature.
//!
//! **Is:** a convenience for applications that compose several components. **Is not:** needed: each
//! crate works alone, and depends on no sibling but those below it.
//!
//! | feature | module | crate |
//! |---|---|---|
//! | `clocks` | [`clocks`] | `quorate-clocks`: injected time |
//! | `hashring` | [`hashring`] | `quorate-hashring`: placement and hand-over |
//! | `transport` | [`transport`] | `quorate-transport`: frames, calls and lanes over memory and TCP |
//! | `wal` | [`wal`] | `quorate-wal`: segmented write-ahead log |
//! | `sim` | `sim` | `quorate-sim`: deterministic simulation, for tests |
//! | `raft` | [`raft`] | `quorate-raft`: consensus |
//!
//! All are on by default but `sim`.
//!
//! ```
//! use quorate::clocks::{Clock, ManualClock, WallTime};
//! use std::time::Duration;
//!
//! let clock = ManualClock::new(WallTime::EPOCH);
//! clock.advance(Duration::from_secs(1));
//! assert_eq!(clock.monotonic().as_nanos(), 1_000_000_000);
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "clocks")]
#[doc(inline)]
pub use quorate_clocks as clocks;
#[cfg(feature = "hashring")]
#[doc(inline)]
pub use quorate_hashring as hashring;
#[cfg(feature = "raft")]
#[doc(inline)]
pub use quorate_raft as raft;
#[cfg(feature = "sim")]
#[doc(inline)]
pub use quorate_sim as sim;
#[cfg(feature = "transport")]
#[doc(inline)]
pub use quorate_transport as transport;
#[cfg(feature = "wal")]
#[doc(inline)]
pub use quorate_wal as wal;

#[cfg(all(doctest, feature = "raft"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
