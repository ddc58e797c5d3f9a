//! Placement: which node owns a key, which nodes hold its copies, what has to move when the
//! cluster changes, and how to change over without losing a read.

#![forbid(unsafe_code)]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod crc;
mod id;
mod plant;
mod siphash;
#[cfg(feature = "std")]
mod sync;
mod width;

pub use id::{Digest, Epoch, MoveId, NodeId, NodeIdx, Partition, RangeId, Weight};
