//! Placement: which node owns a key, which nodes hold its copies, what has to move when the
//! cluster changes, and how to change over without losing a read.

#![forbid(unsafe_code)]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod assign;
mod codec;
mod config;
mod crc;
mod diff;
mod error;
#[cfg(feature = "std")]
mod gate;
pub mod handover;
mod hash;
mod id;
mod placement;
mod plan;
mod plant;
mod quorum;
mod report;
mod ring;
mod rules;
#[cfg(feature = "serde")]
mod serialized;
#[cfg(feature = "std")]
mod shared;
mod siphash;
#[cfg(feature = "std")]
mod sync;
mod table;
mod topology;
mod transition;
mod view;
mod width;

#[cfg(all(test, loom))]
mod loom_handover;

pub use assign::{Assign, Assignment, Primaries};
pub use config::RingConfig;
pub use diff::{Diff, DiffError, Dropped, Move, diff};
pub use error::{
    AssignError, BuildError, DecodeError, RowFault, RulesError, TopologyError, TopologyViolation,
};
#[cfg(feature = "std")]
pub use gate::{Gate, GateStats, InstallError, Installed, Pass, Reject};
pub use hash::{KeyHash, SipKey};
pub use id::{Digest, Epoch, MoveId, NodeId, NodeIdx, Partition, RangeId, Weight};
pub use placement::{Locate, Replicate, Segment, Segmented, Space};
pub use plan::{NodeProgress, Order, PlanError, PlanLimits, Planner, Progress, Source};
pub use quorum::{Outcome, Quorum, Tally, WriteSet};
pub use report::{BalanceReport, NodeReport};
pub use ring::Ring;
pub use rules::{Relaxed, Rules};
#[cfg(feature = "std")]
pub use shared::{Reader, Shared};
pub use table::PartitionTable;
pub use topology::{Level, Node, Topology, TopologyBuilder};
pub use transition::{Transition, TransitionError, Waiting};
pub use view::{Route, Stage, View, ViewError};
