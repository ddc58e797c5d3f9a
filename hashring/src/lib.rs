//! Placement: which node owns a key, which nodes hold its copies, what has to move when the
//! cluster changes, and how to change over without losing a read.
//!
//! Balance is per table: the solver evens out one table at a time.

#![forbid(unsafe_code)]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod assign;
mod cache;
mod codec;
pub mod compat;
mod config;
mod crc;
mod diff;
mod error;
#[cfg(feature = "std")]
mod gate;
pub mod handover;
mod hash;
mod id;
mod jump;
#[cfg(feature = "std")]
mod load;
mod logtable;
#[cfg(all(test, loom))]
mod loom_load;
mod maglev;
#[cfg(feature = "ketama")]
mod md5;
mod placement;
mod plan;
mod plant;
mod quorum;
mod ranges;
mod rendezvous;
mod report;
mod ring;
mod rules;
#[cfg(feature = "serde")]
mod serialized;
#[cfg(feature = "std")]
mod shared;
mod shuffle;
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
pub use cache::{CacheConfig, CacheStats, Learned, RangeCache};
pub use config::RingConfig;
pub use diff::{Diff, DiffError, Dropped, Move, diff};
pub use error::{
    AssignError, BuildError, DecodeError, RowFault, RulesError, TopologyError, TopologyViolation,
};
#[cfg(feature = "std")]
pub use gate::{Gate, GateStats, InstallError, Installed, Pass, Reject};
pub use hash::{KeyHash, SipKey};
pub use id::{Digest, Epoch, MoveId, NodeId, NodeIdx, Partition, RangeId, Weight};
pub use jump::jump;
#[cfg(feature = "std")]
pub use load::{BoundedLoad, LoadStats, Permit};
pub use maglev::{Maglev, MaglevConfig, MaglevEntry};
pub use placement::{Locate, Replicate, Segment, Segmented, Space};
pub use plan::{NodeProgress, Order, PlanError, PlanLimits, Planner, Progress, Source};
pub use quorum::{Outcome, Quorum, Tally, WriteSet};
pub use ranges::{KeyRange, RangeError, RangeMap, StaleRange};
pub use rendezvous::Rendezvous;
pub use report::{BalanceReport, NodeReport};
pub use ring::Ring;
pub use rules::{Relaxed, Rules};
#[cfg(feature = "std")]
pub use shared::{Reader, Shared};
pub use shuffle::{ShuffleSharder, overlap_probability};
pub use table::PartitionTable;
pub use topology::{Level, Node, Topology, TopologyBuilder};
pub use transition::{Transition, TransitionError, Waiting};
pub use view::{Route, Stage, View, ViewError};
