//! Placement: which node owns a key, which nodes hold its copies, what has to move when the
//! cluster changes, and how to change over without losing a read.

#![forbid(unsafe_code)]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod cache;
mod crc;
mod id;
mod jump;
mod logtable;
mod plant;
mod ranges;
mod siphash;
#[cfg(feature = "std")]
mod sync;
mod width;

pub use cache::{CacheConfig, CacheStats, Learned, RangeCache};
pub use id::{Digest, Epoch, MoveId, NodeId, NodeIdx, Partition, RangeId, Weight};
pub use jump::jump;
pub use ranges::{KeyRange, RangeError, RangeMap, StaleRange};
