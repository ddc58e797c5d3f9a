//! Deterministic simulation of your own distributed application.

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
    Agreement, AtMostOne, Checker, Conserved, Dense, Durable, Eventually, Exclusive, Monotone,
    MonotoneDurable, Observation, Observed, View,
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
