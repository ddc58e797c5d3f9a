//! Deterministic simulation of your own distributed application: a faulty network, faulty disks
//! and wrong clocks around your code, checkers that judge it, and every failure back as a short
//! plan that replays.
//!
//! **Is:** a library for tests: single-threaded worlds, many of them in parallel; sans-IO nodes and
//! async ones, on stable Rust, with no `--cfg`, no patched dependency and no runtime to adopt; a
//! disk that can be tested without a world; a checker of linearizability, also as the tool
//! `qcheck`.
//! **Is not:** a model checker of all orders of events, an explorer of thread interleavings, a
//! network emulator for real processes, a predictor of performance.
//!
//! A campaign: two nodes beat at each other, through crashes, pauses and partitions.
//! ```
//! use quorate_sim::*;
//! use std::time::Duration;
//!
//! struct Beat(NodeId, Monotonic);
//! impl Node for Beat {
//!     fn on_message(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, _: Bytes) {
//!         ctx.reached("heard");
//!     }
//!     fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
//!         let _ = ctx.send(self.0, Lane::Control, ChannelId::new(16), "beat");
//!         self.1 = ctx.now().saturating_add(Duration::from_millis(100));
//!     }
//!     fn poll_timeout(&self) -> Option<Monotonic> {
//!         Some(self.1)
//!     }
//! }
//! struct Pair;
//! impl Workload for Pair {
//!     fn setup(&mut self, sim: &mut Sim) {
//!         sim.add(NodeId::new(1), |ctx| Beat(NodeId::new(2), ctx.now()));
//!         sim.add(NodeId::new(2), |ctx| Beat(NodeId::new(1), ctx.now()));
//!         sim.add_checker(Eventually::new("heard", Duration::from_secs(10)));
//!     }
//! }
//! let swarm = Swarm::quiet().only(&[Class::Crash, Class::Partition, Class::Pause]);
//! let report = Campaign::new("pair", |_seed| Pair).seeds(20).swarm(swarm).run()?;
//! println!("{report}");
//! # Ok::<(), Box<Failure>>(())
//! ```
//!
//! # Patterns
//! The home of none, the test bed of all: [`Node`] (sans-IO cores), [`Host`] (async drivers),
//! [`SimVfs`] (Write-Ahead Log), clocks per node (Hybrid Clock, Lease, Clock-Bound Wait),
//! [`AtMostOne`] (Generation Clock, Leader), [`Agreement`] (Replicated Log), [`linearizable`]
//! (Consistent Core).
//!
//! # Guarantees
//! Each with its condition and the suite in `tests/it` that shows it.
//! - G1: the same code, seed, configuration and plan give the same hash, in every process, if
//!   nodes keep the [rules](guide::simulating_your_node): `determinism`. On every platform, too,
//!   by construction: integers only, and no source of entropy; the tests ran on one.
//! - G2: no fault outside the classes that are on; each is counted, and counted again when it
//!   changed something: `links`, `campaign`.
//! - G3: within a session frames are delayed, never lost, doubled or reordered; one that breaks
//!   delivers a prefix; both ends learn, each in its own time: `links`, `conformance`.
//! - G4: a crash keeps what was synced, and of the rest a subset that the disk model allows;
//!   nothing
//!   a dead node does has an effect: `disk`, `hazards` h07 to h10.
//! - G5: every crash state that is allowed is reached; with at most 12 unsynced units
//!   [`SimDisk::crash_states`] has them all: `disk`.
//! - G6: a node's monotonic clock never goes back, its timers are never early, a bounded clock's
//!   interval holds true time unless [`Class::ClockBound`] is on: `clocks`.
//! - G7: [`Verdict::Linearizable`] comes with an order, [`Verdict::Illegal`] only if there is none,
//!   else [`Verdict::Undecided`]: `linearizable`, `recorded`.
//! - G8: the printed line replays a failure to the same hash; the shrunk plan fails with the same
//!   checker: `shrink`, `planted`.
//! - G9: a draw more in one part does not move the others: `hazards` h06.
//! - G10: a campaign that never made an enabled class effective, or never reached a required mark,
//!   fails as [`FailureKind::Vacuous`]: `campaign`.
//!
//! # Limits
//! 65,536 nodes; 100,000 steps in a plan; 16 Mi events to come; 1 Mi events waiting for one node;
//! 16 GiB a file and 1 GiB stored per disk; 1 Mi operations in a history; 50 M steps
//! ([`STEPS_MAX`]) for a verdict. Each stops the world with a [`Violation`], or is a typed answer.
//!
//! # How to drive it
//! [`guide::simulating_your_node`], [`guide::writing_a_checker`], [`guide::reading_a_failure`].
//! The async form needs `quorate-transport` (`Endpoint`, `sleep`) and `quorate-wal` (`Turn`,
//! `Driver`, `Vfs`) as further dev-dependencies; the methods of [`Ctx::disk`] need the latter.
//!
//! `QUORATE_SEEDS=N`, `QUORATE_SEED=K`, `QUORATE_REPLAY=file`, `QUORATE_TRACE=path` and
//! `QUORATE_JOBS=N` steer every [`Campaign`] from outside.
//!
//! # Failure model
//! What is and what is not modelled, plainly: [`guide::fidelity`].
//!
//! # Features
//! None.
//!
//! # Sources
//! Wing & Gong 1993, Lowe 2017, Horn & Kroening 2015 (linearizability); Zeller & Hildebrandt 2002
//! (delta debugging); Groce et al. 2012 (swarm testing); Pillai et al., OSDI'14 (crash states of
//! file
//! systems); Rebello et al., ATC'20 (failed syncs); Alagappan et al., FAST'18 (corruption and
//! crash);
//! Blackman & Vigna (xoshiro256++); the simulations of FoundationDB and TigerBeetle.

#![forbid(unsafe_code)]

// The world.
mod calls;
mod campaign;
mod client;
mod clock;
mod config;
mod coverage;
mod error;
mod executor;
mod fault;
pub mod guide;
mod heap;
mod host;
mod machine;
mod net;
mod node;
mod panics;
mod plan;
mod replay;
mod rng;
mod runtime;
mod said;
mod shrink;
mod sim;
mod swarm;
mod time;
mod timers;
mod trace;
mod transport;
mod worker;
mod world;
// The disk.
mod disk;
// Judging.
mod check;
mod exhaust;
mod history;
mod linearizable;
mod plant;
pub mod specs;

pub use calls::{CallToken, InboundCall};
pub use campaign::{Campaign, Caught, Failure, FailureKind, NotCaught, Report, Workload};
pub use check::{
    Agreement, AtMostOne, Checker, Conserved, Dense, Durable, Eventually, Exclusive, Linearizable,
    Monotone, MonotoneDurable, Observation, Observed, View,
};
pub use client::{Answer, ClientWork, ClosedLoop};
pub use config::{ConfigError, LaneModel, SimConfig, SimConfigBuilder};
pub use coverage::{Class, Count, Coverage};
pub use disk::{
    Cost, CrashDisk, CrashReport, CrashStates, DiskConfig, DiskConfigBuilder, DiskConfigError,
    DiskFault, DiskLimit, DiskStats, FaultCount, SimDisk, SimVfs,
};
pub use error::Violation;
pub use exhaust::{Exhausted, Gen, exhaust};
pub use fault::{Fault, Plan, Plane, Shape};
pub use heap::Order;
pub use history::error::HistoryError;
pub use history::form::{Fields, Form, Value};
pub use history::recorder::Recorder;
pub use history::{Event, History, OpId, Operation, Outcome};
pub use host::Host;
pub use linearizable::{
    Counterexample, STEPS_MAX, Spec, Verdict, linearizable, linearizable_steps,
};
pub use machine::Traffic;
pub use node::{Ctx, Node};
pub use plan::PlanError;
pub use quorate_wal::vfs::{DirOrder as DirModel, FsyncFailure};
pub use rng::Rng;
pub use sim::Sim;
pub use swarm::Swarm;
pub use time::SimTime;
pub use timers::Timers;
pub use worker::Unpark;

// What every node needs of the crates below.
pub use bytes::Bytes;
pub use quorate_clocks::{Monotonic, WallTime};
pub use quorate_transport::{
    CallError, ChannelId, Incarnation, Lane, LinkEvent, NodeId, Peer, SendError,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
