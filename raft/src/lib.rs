//! Raft consensus: one replicated, durable, linearizable log, as a pure state machine and as a
//! driver that runs it.
//!
//! **Is:** elections with pre-votes, a check for a quorum and stickiness; replication with
//! byte and message flow control over asynchronous disks; membership changes, simple and joint;
//! linearizable, lease, bounded-staleness and local reads on any member; sessions, whose requests
//! take effect at most once however often they are repeated (`Session`); chunked, resumable
//! snapshots; leadership transfer; outcomes that never call "failed" what may have happened
//! (`Outcome`). The core ([`Raft`]) has no clock, randomness, thread or I/O; the driver (`Node`)
//! runs it over any [`Transport`](quorate_transport::Transport), in memory and over TCP.
//!
//! **Is not:** a database, a service, a Byzantine protocol, discovery, transactions over several
//! groups, or flexible quorums. It never looks into the user's bytes.
//!
//! **Not yet:** several groups on one endpoint, adaptive pipelining, witnesses, single-decree
//! Paxos. They are designed; nothing here pretends to do them.
//!
//! ```
//! # #[cfg(feature = "tokio")] {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # use std::io;
//! # #[derive(Default)] struct Counter(u64);
//! # impl quorate_raft::StateMachine for Counter {
//! #     fn apply(
//! #         &mut self,
//! #         batch: quorate_raft::Batch<'_>,
//! #         out: &mut quorate_raft::Replies,
//! #     ) {
//! #         for e in batch {
//! #             self.0 += e.data.len() as u64;
//! #             out.push(self.0.to_string().into_bytes());
//! #         }
//! #     }
//! #     fn snapshot(&self) -> io::Result<Box<dyn quorate_raft::SnapshotSource>> {
//! #         let n = self.0;
//! #         Ok(Box::new(move |w: &mut dyn io::Write| w.write_all(&n.to_le_bytes())))
//! #     }
//! #     fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()> {
//! #         let mut b = [0; 8];
//! #         r.read_exact(&mut b)?;
//! #         self.0 = u64::from_le_bytes(b);
//! #         Ok(())
//! #     }
//! # }
//! use quorate_raft::*;
//! use quorate_transport::*;
//!
//! let (network, ids) = (MemoryNetwork::new(), [1, 2, 3].map(NodeId::new));
//! let mut nodes = Vec::new();
//! for id in ids {
//!     let me = Identity::new(ClusterId::new(7), id, Incarnation::new(1));
//!     let endpoint = Endpoint::start(network.node(me), EndpointConfig::default())?;
//!     let builder = Node::<Counter>::builder(&endpoint)
//!         .founders(&ids)
//!         .log(MemoryLog::new()) // durable: WalLog
//!         .snapshots(MemorySnapshots::new()) // durable: SnapshotDir
//!         .config(Config::local().build()?);
//!     nodes.push(builder.start(Counter::default()).await?); // your StateMachine
//! }
//! let Outcome::Applied { reply, .. } = nodes[0].propose("hello").await else { panic!() };
//! assert_eq!(&reply[..], b"5");
//! assert_eq!(nodes[2].read(Read::Linearizable, |counter| counter.0).await?, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap() }
//! ```
//!
//! # Patterns
//!
//! | *Patterns of Distributed Systems* | type |
//! |---|---|
//! | Leader and Followers | [`Raft`], [`Role`] |
//! | Replicated Log | [`Raft`], [`Block`], [`LogStore`] |
//! | Majority Quorum | [`quorum::committed`], [`quorum::vote`], [`Membership`], [`ConfChange`] |
//! | Generation Clock | [`Term`] in [`HardState`] |
//! | Heartbeat | [`Body::Heartbeat`] |
//! | High-Water Mark | the commit index: [`HardState::commit`] |
//! | Low-Water Mark | [`LogStore::compact`] |
//! | Lease | `Read::Lease`, [`Raft::lease_valid`] |
//! | Follower Reads | `Read` on any node |
//! | Idempotent Receiver | `Session`, [`SessionTable`] |
//! | State Watch | `Watch` (who leads, how far the log is) |
//! | Singular Update Queue | the task that owns the core: DESIGN.md |
//! | Request Pipeline, Request Batch | in-flight windows; one [`Block`] per turn of the driver |
//!
//! # Guarantees
//!
//! Tests are those of `tests/it`; `sim` is the seeded simulation, which checks after every step.
//!
//! | # | property | condition | test |
//! |---|---|---|---|
//! | G1 | at most one leader per term | votes are durable before they are sent, the own before leading; no node id is used with another disk (G12) | `sim`, `hazards::elections::h11_…` |
//! | G2 | one entry per index, the same everywhere, applied in order, once in a life of a machine in memory and never at or below [`StateMachine::applied`] | G1; the [`LogStore`] keeps its contract | `sim`, `hazards::h01_…` to `h10_…`, `store` |
//! | G3 | `Outcome::Applied` only after the entry is durable on a quorum and applied here | the disks' sync is honest | `sim`, `hazards::h34_…`, mutant `ack_before_durable` |
//! | G4 | `Outcome::Rejected` can never take effect; all else that did not end is `Outcome::Unknown` | always | `sim` (refused, never seen), `hazards::running::h41_…`, `h48_…` |
//! | G5 | `Read::Linearizable` sees every write acknowledged before the call, on any member | always; no clocks | `sim`, `hazards::h25_…`, `h26_…`, `h31_…`, `running::h32_…` |
//! | G6 | `Read::Lease` likewise, on the leader without a message | each clock's rate is off by no more than its [`Clock::drift`](quorate_clocks::Clock::drift) says, and goes on in a suspend; survives restarts, suspends, transfers, members with other settings; else it is G5 | `sim`, `hazards::leases::h27_…` to `h63_…`, `hazards::lease_nodes::h30_…`, `props::a_lease_ends_…` |
//! | G7 | `Read::MaxStale``(d)` sees every write acknowledged `d` or longer before the call; no synchronized clocks | always: without a recent confirmation it is a linearizable read | `hazards::running::h47_…` |
//! | G8 | a session's request takes effect at most once and its reply is given again when it is repeated; sessions expire alike on every replica | at most `session_window` under way, replies up to `reply_bytes_max` (else `Outcome::ReplyLost`); an expired session is refused ([`ProposeError::SessionExpired`]), nothing is applied | `sessions`, `hazards::sessions::h40_…`, `h41_…`, `requests_take_effect_once_…`, `lives::h41_…`, mutants `session_…` |
//! | G9 | damage is not taken for absence: a replica that lost entries it may have acknowledged does not vote before a leader has brought its log past them | the log tells damage from a torn end, as `WalLog` does; of one that is just shorter than it was, only what was known as committed is missed | `sim`, `hazards::damage::h36_…`, `hazards::h35_…`, mutant `damage_taken_for_absence` |
//! | G10 | memory is bounded by named limits; what exceeds them is refused before it is appended | [`Config`] | `cluster::what_is_too_large_…`, `bad_input::proposals_…`, `reads_…`, `backlog` |
//! | G11 | a disk that failed one sync is not trusted again in this life: the replica stops | – | `hazards::disks::h33_…`, `running::h33_…` |
//! | G12 | a node answers only for the disk it joined with: another or an empty one under its id is refused until the membership changes | the founders heard each other once | `hazards::identities::h23_…`, mutant `any_disk_will_do` |
//! | G13 | with a majority connected a leader serves again soon after a crash; rejoining and lagging nodes depose nobody | pre-votes and the check for a quorum on (default) | `sim` (serves after faults), `hazards::elections::h13_…`, `h16_…` |
//! | G14 | the membership moves from any set to any other without a moment of two quorums that do not overlap; a change that a crash interrupts is finished by the next leader | one change at a time, which is enforced | `sim`, the scripts, `hazards::membership::h17_…` to `h24_…`, `members`, mutants `two_changes`, `joint_…`, `removed_…` |
//! | G15 | dropping a future loses no acknowledged work; `Node::shutdown` waits for what was handed to the store | – | `cluster::a_dropped_proposal_…`, `cluster::a_clean_shutdown_…` |
//!
//! # Limits
//!
//! 15 voters and 64 members; 64 operations and 64 KiB of context a membership change, 64 changes
//! waiting at a node; 4,096 read ids a message; 4,096 waiting questions of
//! `Node::replicated`; 64 forwarded batches under way; 1,024 inputs of each kind a turn; one
//! snapshot chunk in flight per member; 256 subscribers of a node, who may lag 16,384 entries or
//! 16 MiB of blocks behind; everything else is a setting of [`ConfigDraft`] with its
//! default and what happens at its ends. The replies a session may keep are `session_window` ×
//! `reply_bytes_max`, in theory for each of `sessions_max` sessions: clients that acknowledge, as
//! `Session` does with every request, keep as many as they have under way. A log that is full
//! refuses proposals ([`ProposeError::NoSpace`]) and goes on serving reads.
//!
//! # How to drive it
//!
//! With a `Node`: start an endpoint, name its peers, choose a [`LogStore`] and a
//! [`SnapshotStore`], write a [`StateMachine`], propose and read. Without: hand [`Raft`] messages,
//! time and completions, and do what its [`Output`] says; its example is the whole loop, [`wire`]
//! the encoding, [`Raft::check_invariants`] for your tests.
//!
//! Pages, in the module `guide`: which read do I need, what an outcome means, running it, writing a
//! `LogStore`.
//!
//! # Failure model
//!
//! Nodes crash and come back with what their disk had synced; messages are lost, doubled, delayed
//! and reordered; the network is cut in any way, also one way. Bytes are altered by accident only
//! (CRC-32). Clocks may be wrong in any way without leases; with [leases](ConfigDraft::lease) their
//! rate must keep within what they say of themselves. A node that comes back on
//! another disk is refused: remove the member and add it anew. Damage inside a log is told from a
//! torn end: with `WalLog::salvaged` the replica takes what it lost from its leader, and does not
//! vote before; where a vote may be lost it refuses to start ([`StoreError::HardStateLost`]).
//!
//! # Features
//!
//! - `tokio` (default): `Node` and its builder. Without it: the core, formats and stores, for
//!   drivers of one's own.
//! - `wal` (default): `WalLog`, the log in a `quorate-wal`.
//!
//! # Sources
//!
//! Ongaro & Ousterhout 2014 (*In Search of an Understandable Consensus Algorithm*); Ongaro 2014
//! (thesis: §3.6–3.10, §5, §6.2–6.4, §9.6, §10.2.1); Gray & Cheriton 1989 (leases); Alagappan et
//! al. 2018 (protocol-aware recovery); Joshi 2023 (*Patterns of Distributed Systems*). Studied: the
//! designs of etcd-io/raft, raft-rs, openraft, hashicorp/raft, dragonboat. Byte tables: FORMAT.md;
//! rules, hazards and decisions: DESIGN.md.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod block;
mod conf_change;
mod config;
mod core;
#[cfg(feature = "tokio")]
mod driver;
mod entry;
mod error;
#[cfg(all(feature = "tokio", feature = "wal"))]
pub mod guide;
#[cfg(feature = "tokio")]
mod histogram;
mod ids;
mod inflight;
mod log_view;
#[cfg(feature = "tokio")]
mod machine;
mod membership;
mod message;
mod plant;
mod progress;
pub mod quorum;
mod rng;
mod session;
#[cfg(feature = "tokio")]
mod stats;
mod store;
mod sync;
pub mod wire;

pub use crate::core::{
    Append, AppendToken, Apply, ApplyToken, Boot, Event, HardState, Load, LoadId, Output,
    PeerStatus, Progression, Proposed, Raft, ReadDone, Role, SoftState, Status,
};
pub use block::{Block, Limits, Proposal, TooLarge};
pub use conf_change::{CONTEXT_MAX, ConfChange, ConfOp, OPS_MAX, Transition};
pub use config::{CommitNotify, ConfRefusal, Config, ConfigDraft, ConfigError};
#[cfg(feature = "tokio")]
pub use driver::{
    Applied, AppliedEntry, Lagged, Members, Node, NodeBuilder, NodeState, Outcome, Read, Session,
    ShutdownError, StartError, SubscribeError, Watch,
};
pub use entry::{Entry, EntryBody, EntryKind};
pub use error::{
    BlockError, BootError, BusyWhy, CampaignError, ConfError, ConfInvalid, ForgetError, Invariant,
    ProposeError, ReadError, StepError, StoreError, TransferError,
};
#[cfg(feature = "tokio")]
pub use histogram::{Histogram, Latencies};
pub use ids::{GroupId, LogId, LogIndex, ReadId, SessionId, StoreId, Term};
pub use log_view::TermRun;
#[cfg(feature = "tokio")]
pub use machine::{Batch, Replies, SnapshotSource, StateMachine};
pub use membership::{Changed, MEMBERS_MAX, Membership};
pub use message::{Ballot, Body, Envelope, Message, SnapshotMeta};
pub use progress::ProgressState;
pub use session::{FrozenSessions, SessionLimits, SessionTable, SessionVerdict};
#[cfg(feature = "tokio")]
pub use stats::{PeerStats, Stats};
#[cfg(feature = "wal")]
pub use store::WalLog;
pub use store::{AppendRequest, Completion, LogStore, MemoryLog, OpenLog, Owner};
#[cfg(feature = "tokio")]
pub use store::{
    MemorySnapshots, SnapshotDir, SnapshotFile, SnapshotReceiver, SnapshotStore, SnapshotWriter,
    read_machine, read_sessions, write_snapshot, write_snapshot_with,
};

#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

/// What fuzzing reaches beside the public interface.
#[cfg(all(fuzzing, feature = "tokio"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::driver::check_call;
}
