//! Placement: which node owns a key, which nodes hold its copies, what has to move when the
//! cluster changes, and how to change over without losing a read.

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
mod error;
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
mod plant;
mod ranges;
mod rendezvous;
mod report;
mod ring;
mod rules;
#[cfg(feature = "serde")]
mod serialized;
mod shuffle;
mod siphash;
#[cfg(feature = "std")]
mod sync;
mod table;
mod topology;
mod width;

pub use assign::{Assign, Assignment, Primaries};
pub use cache::{CacheConfig, CacheStats, Learned, RangeCache};
pub use config::RingConfig;
pub use error::{
    AssignError, BuildError, DecodeError, RowFault, RulesError, TopologyError, TopologyViolation,
};
pub use hash::{KeyHash, SipKey};
pub use id::{Digest, Epoch, MoveId, NodeId, NodeIdx, Partition, RangeId, Weight};
pub use jump::jump;
#[cfg(feature = "std")]
pub use load::{BoundedLoad, LoadStats, Permit};
pub use maglev::{Maglev, MaglevConfig, MaglevEntry};
pub use placement::{Locate, Replicate, Segment, Segmented, Space};
pub use ranges::{KeyRange, RangeError, RangeMap, StaleRange};
pub use rendezvous::Rendezvous;
pub use report::{BalanceReport, NodeReport};
pub use ring::Ring;
pub use rules::{Relaxed, Rules};
pub use shuffle::{ShuffleSharder, overlap_probability};
pub use table::PartitionTable;
pub use topology::{Level, Node, Topology, TopologyBuilder};
