//! Placement: which node owns a key, which nodes hold its copies, what has to move when the
//! cluster changes, and how to change over without a read ever missing an acknowledged write.
//!
//! # Which placement do I want?
//!
//! | you have | take | worst node / mean, 100 nodes | moved when one of N joins, beside the minimum | lookup |
//! |---|---|---|---|---|
//! | stored data, replicas, zones | [`PartitionTable`], made by [`Assign`] | one row above the mean | 1.00 × | hash + 1 load |
//! | ordered keys, scans | [`RangeMap`] | you split | only what you reassign | binary search |
//! | caches, sticky routing | [`Ring`] (160 tokens a node) | 1.21 (64 tokens 1.36, 512 tokens 1.11, 1,024 tokens 1.07) | 1.00 ×, only to the new node | hash + 1 bucket |
//! | packet or request balancing | [`Maglev`] (65,537 slots) | 1.02 | 1.52 × | hash + 1 load |
//! | few nodes, weights, no state | [`Rendezvous`] | 1.03 | 1.00 × | O(N) |
//! | numbered shards, only the last one goes | [`jump()`] | 1.03 | 1.00 × | O(log N) |
//!
//! Measured with a million keys; how evenly keys fall is part of it (1.03 of these is chance). The
//! figures are from `benches/records`, as are all ratios in these documents.
//!
//! **Is:** pure functions from a canonical [`Topology`] to immutable snapshots; a sans-IO authority
//! for changing over ([`Transition`], [`Gate`]); three small concurrent pieces ([`Shared`], `Gate`,
//! [`BoundedLoad`]). No task, clock, randomness or I/O.
//!
//! **Is not:** membership, agreement on who may change the layout (any store with compare-and-set
//! will do), copying of data, health checks, a distributed hash table. Hashes whose answer depends
//! on the *history* of changes are left out: two nodes that learned the same members in another
//! order must agree.
//!
//! ```
//! use quorate_hashring::{Assign, Level, Locate, Node, NodeId, Replicate, Rules, Topology, diff};
//!
//! let mut nodes = Topology::builder();
//! for (id, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")] {
//!     nodes = nodes.node(Node::new(NodeId::new(id)).at(Level::Zone, zone));
//! }
//! let topology = nodes.build()?;
//! let rules = Rules::new(3).at_most(Level::Zone, 1); // three copies, in three zones
//! let table = Assign::new(&topology, &rules).partition_bits(10).solve()?.into_table();
//! let (primary, copies) = (table.owner(b"user/17"), table.replicas(b"user/17"));
//! assert!(copies[0] == primary && copies.len() == 3);
//!
//! let larger = topology.to_builder().node(Node::new(NodeId::new(7)).at(Level::Zone, "a"));
//! let larger = larger.build()?;
//! let next = Assign::new(&larger, &rules).previous(&table).solve()?;
//! assert_eq!(next.moves(), 341); // a third of zone a's 1,024 copies: not one more than needed
//! let changes = diff(&table, next.table())?; // what to copy from where to where
//! assert_eq!(changes.moves.iter().filter(|m| m.to == NodeId::new(7)).count(),
//! changes.moves.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Patterns
//!
//! Fixed Partitions: [`PartitionTable`], [`Assign`]. Key-Range Partitions: [`RangeMap`],
//! [`RangeCache`]. Consistent hashing with virtual nodes: [`Ring`]. Hand-over with dual writes and
//! fencing by epoch: [`View`], [`Transition`], [`Gate`], explained in [`handover`]. Bounded load:
//! [`BoundedLoad`]. Shuffle sharding: [`ShuffleSharder`]. Fleets that already use another client's
//! ring switch node by node with [`compat`].
//!
//! # Guarantees
//!
//! | | property | condition | shown by |
//! |---|---|---|---|
//! | G1 | same inputs give the same bytes on every platform and in every later version; nothing two nodes must agree on uses a float ([`jump()`] and [`compat`] use IEEE arithmetic as their originals do) | – | `contract::answers_are_the_same_…`, `golden::*` |
//! | G2 | the order in which nodes were listed, and how a topology came about, never matters | [`Assign`] takes the previous table explicitly | `contract::the_order_of_nodes_…`, `hazards::h04_…`, `h09_…` |
//! | G3 | ring, rendezvous: a change of node X moves keys only to or from X; a replica set changes by X and at most one other | no rule had to be relaxed for it | `contract::rings_move_keys_…`, `hazards::h06_…` |
//! | G4 | a replica set holds distinct nodes and keeps every hard rule, or building fails with the reason; the owner is its first | – | `props::placement::rules_hold_…`, `hazards::h07_…`, `h08_…` |
//! | G5 | each node holds the floor or the ceiling of its *fair target*: no node's load per weight can fall without one that is as high rising | `imbalance_ppm = 0` | `props::placement::fair_targets_…`, `hazards::h37_…` |
//! | G6 | the number of new placements is the least possible for any table with such loads under the rules; an unchanged problem moves nothing | – | `solver::*`, `hazards::h17_…` |
//! | G7 | rounds ([`Assign::moves_max`]) cost no extra move in total | the goal stays the same | `solver::solver`, `hazards::h46_…` |
//! | G8 | segments tile the key space exactly once; applying a diff gives the new placement | – | `contract::tables_and_rings_tile_…`, `props::*` |
//! | G9 | a read that begins after a write completed returns it or a newer one, whatever is stale, lost, delayed or restarted | O1 to O5 of [`handover`] | `model`, `campaign` |
//! | G10 | a change rejects no request for a partition that does not move | – | `campaign` |
//! | G11 | one epoch never has two contents on a node | – | `hazards::h18_…` |
//! | G12 | a dead minority of a row blocks neither its operations nor a change | [`Quorum::Majority`] | `hazards::h21_…`, `campaign` |
//! | G13 | lookups allocate nothing and take no lock; a [`Reader`] sees a published snapshot at its next `get` | – | `alloc::*`, `hazards::h20_…`, `loom_*` |
//! | G14 | a [`Permit`]'s node has at most ceil(factor · m · w / W) permits, m those out at a moment of the call | factor above 1 | `props::routing::*`, `hazards::h27_…`, `loom_*` |
//! | G15 | a shard changes by at most one member per node added or removed, and is spread over domains to within one | no domain runs short | `props::routing::*` |
//! | G16 | no input panics; no length is trusted before it is checked | – | `bad_input::*`, `props::codec::*`, fuzzing |
//!
//! # Limits
//!
//! 65,535 nodes · names of 64 bytes · 16 replicas · 2^16 partitions · 4,194,304 tokens on a ring ·
//! 1,048,576 key ranges with bounds of 65,535 bytes · encoded values of 64 MiB · joint write sets
//! of 32 nodes. Beyond a limit: a typed error, and nothing was built.
//!
//! A row never gets fewer replicas by a transition. [`Assign`] evens out one table at a time: the
//! odd replicas of several tables may fall on the same nodes (H16).
//!
//! # How to drive it
//!
//! Keep one snapshot per process in a [`Shared`] and give each thread a [`Reader`]. Decide on
//! changes in one place: `Assign` with the previous table, [`diff()`] and [`Planner`] for what to
//! copy, `Transition` for when to route where. A node's id stands for its data: a machine whose
//! disk was replaced is a new node (H32). Drain a node (weight zero) before it leaves.
//!
//! # Failure model
//!
//! Messages may be lost, delayed, doubled; nodes may crash and restart with what they made
//! durable; coordinators may be stale for ever. Bytes may be anything. Not covered: a store for
//! views that forgets, disks that lie, nodes that answer wrongly on purpose. Strangers who choose
//! keys can aim at one node unless keys are hashed with a secret ([`KeyHash::SipHash13`], H26).
//!
//! # Features
//!
//! - `std` (default): [`Shared`], [`Gate`], [`BoundedLoad`]. Without it the crate is
//!   `no_std + alloc`.
//! - `serde`: readable forms of [`Topology`], [`Rules`], [`BalanceReport`]; not the wire form.
//! - `ketama`: the named modes of the ketama clients in [`compat`] (they need MD5).
//!
//! # Sources
//!
//! Karger et al., STOC 1997; Thaler & Ravishankar 1998 (rendezvous); Lamping & Veach 2014 (jump);
//! Eisenbud et al., NSDI 2016 (Maglev); Mirrokni, Thorup & Zadimoghaddam 2016 and Chen, Coleman &
//! Shrivastava 2019 (bounded loads); Fujishige 1980 (fair targets); Ahuja, Magnanti & Orlin,
//! *Network Flows*; Weil et al., SC 2006 (CRUSH); Ongaro 2014 §4.3 (joint quorums);
//! `MacCárthaigh`, *Shuffle sharding*; Joshi, *Patterns of Distributed Systems*, 2023.

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

#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
