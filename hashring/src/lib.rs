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
mod error;
mod hash;
mod id;
mod placement;
mod plant;
mod report;
mod ring;
mod rules;
#[cfg(feature = "serde")]
mod serialized;
mod siphash;
#[cfg(feature = "std")]
mod sync;
mod table;
mod topology;
mod width;

pub use assign::{Assign, Assignment, Primaries};
pub use config::RingConfig;
pub use error::{
    AssignError, BuildError, DecodeError, RowFault, RulesError, TopologyError, TopologyViolation,
};
pub use hash::{KeyHash, SipKey};
pub use id::{Digest, Epoch, MoveId, NodeId, NodeIdx, Partition, RangeId, Weight};
pub use placement::{Locate, Replicate, Segment, Segmented, Space};
pub use report::{BalanceReport, NodeReport};
pub use ring::Ring;
pub use rules::{Relaxed, Rules};
pub use table::PartitionTable;
pub use topology::{Level, Node, Topology, TopologyBuilder};
