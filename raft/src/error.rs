//! Every way an operation of this crate can be refused, and what the refusal left behind.

mod conf;

pub use conf::{ConfError, ConfInvalid};

use crate::{GroupId, LogId, LogIndex, Term};
use core::time::Duration;
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why bytes are not a block.
///
/// # Examples
/// ```
/// use quorate_raft::{Block, BlockError, Limits};
///
/// let e = Block::decode(bytes::Bytes::from_static(b"short"), &Limits::default()).unwrap_err();
/// assert_eq!(e, BlockError::Truncated { expected: 64, found: 5 });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Effect: none. Fewer bytes than the header or its length field ask for.
    #[error("block truncated: expected {expected} bytes, found {found}")]
    Truncated {
        /// Bytes needed.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// Effect: none. More bytes than one block.
    #[error("{bytes} bytes behind the block")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Effect: none. Not a block at all.
    #[error("block magic {found:#010x}, expected 0x31425251")]
    Magic {
        /// What stands in its place.
        found: u32,
    },
    /// Effect: none. Written by a version this one does not read.
    #[error("block version {found}, expected 1")]
    Version {
        /// What stands in its place.
        found: u8,
    },
    /// Effect: none. The header was altered.
    #[error("block header checksum: expected {expected:#010x}, found {found:#010x}")]
    HeaderCrc {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// Effect: none. The body was altered.
    #[error("block body checksum: expected {expected:#010x}, found {found:#010x}")]
    BodyCrc {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// Effect: none. A field has a value no writer produces.
    #[error("block field out of range: {what}")]
    Field {
        /// Which.
        what: &'static str,
    },
    /// Effect: none. An entry of a kind this version does not know.
    #[error("entry kind {found} is unknown to this version")]
    Kind {
        /// The kind.
        found: u8,
    },
    /// Effect: none. Header and body disagree.
    #[error("block says {expected} entries, holds {found}")]
    Count {
        /// In the header.
        expected: u32,
        /// In the body.
        found: u32,
    },
    /// Effect: none. Over the limit of this node.
    #[error("block or entry of {found} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Its size.
        found: u64,
        /// The limit.
        max: u64,
    },
}

/// Which queue or budget is full.
///
/// # Examples
/// ```
/// use quorate_raft::BusyWhy;
/// assert_eq!(BusyWhy::Uncommitted.to_string(), "uncommitted entries");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusyWhy {
    /// Effect: none, not appended. `uncommitted_bytes_max`: the quorum is slower than the
    /// proposers.
    #[error("uncommitted entries")]
    Uncommitted,
    /// Effect: none, not appended. The state machine is slower than the log.
    #[error("entries waiting for application")]
    Apply,
    /// Effect: none, not appended. `proposal_queue_max` or `proposal_queue_bytes_max`.
    #[error("proposal queue")]
    Queue,
}

/// A proposal was not appended. Definite: it can never take effect.
///
/// # Examples
/// ```
/// use quorate_raft::ProposeError;
/// assert!(ProposeError::NoLeader.is_retryable());
/// assert!(!ProposeError::Stopped.is_retryable());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Effect: none, not appended. Retry once a leader is elected.
    #[error("no leader is known")]
    NoLeader,
    /// Effect: none, not appended here. Retry at the leader.
    #[error("not the leader: node {leader} is")]
    NotLeader {
        /// Who leads.
        leader: NodeId,
    },
    /// Effect: none, not appended. Retry after a pause.
    #[error("busy: {why}")]
    Busy {
        /// What is full.
        why: BusyWhy,
    },
    /// Effect: none, not appended. The leader's disk is full. Retry once there is space.
    #[error("no space left for the log")]
    NoSpace,
    /// Effect: none, not appended. A retry cannot help.
    #[error("proposal exceeds the limit of {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// Effect: none, not appended. Retry at the next leader.
    #[error("leadership is moving to node {to}")]
    Transferring {
        /// The next leader, if it takes over.
        to: NodeId,
    },
    /// Effect: none, not appended. This node is not a member.
    #[error("this node is not a member of the group")]
    Removed,
    /// Effect: the entry was appended once but another leader replaced it: it never takes effect.
    /// Retry.
    #[error("superseded: another leader committed {by} in its place")]
    Superseded {
        /// What stands in its place.
        by: LogId,
    },
    /// Effect: none, not appended. A change of the membership among the entries: it has a way of
    /// its own. A retry cannot help.
    #[error("a membership change is not proposed like an entry")]
    Conf,
    /// Effect: none, not appended. An empty proposal.
    #[error("a proposal needs at least one entry")]
    Empty,
    /// Effect: none, not applied. The session is unknown, was closed, was not used for its time to
    /// live, or made room for newer ones. A retry cannot help: open another session.
    #[error("the session has expired")]
    SessionExpired,
    /// Effect: none, not applied now. The session's client had said that it will never repeat this
    /// request. A retry cannot help.
    #[error("the request's number was acknowledged before")]
    SequenceReused,
    /// Effect: none, not applied. Too many requests of the session are under way. Retry when the
    /// oldest of them is answered.
    #[error("the session has {max} requests under way")]
    SessionWindow {
        /// How far a request may be ahead of the oldest that is not answered.
        max: u32,
    },
    /// Effect: none, not appended. A session's time to live must be 1 ms to `session_ttl_max`.
    #[error("a session lives 1 ms to {max:?}")]
    SessionTtl {
        /// The limit.
        max: Duration,
    },
    /// Effect: none, not appended. This node is shutting down or failed.
    #[error("the node has stopped")]
    Stopped,
}

impl ProposeError {
    /// Whether the same proposal may succeed later or elsewhere.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Self::TooLarge { .. }
                | Self::Removed
                | Self::Empty
                | Self::Conf
                | Self::SessionExpired
                | Self::SequenceReused
                | Self::SessionTtl { .. }
                | Self::Stopped
        )
    }
}

/// A read was not served; it has no effect in any case.
///
/// # Examples
/// ```
/// use quorate_raft::ReadError;
/// assert!(ReadError::LeaderChanged.is_retryable());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Effect: none. No leader is known, or it did not answer. Retry once there is one.
    #[error("no leader answered")]
    NoLeader,
    /// Effect: none. Leadership ended before the read was confirmed. Retry.
    #[error("the leader changed before the read was confirmed")]
    LeaderChanged,
    /// Effect: none; what was read is discarded. The leader's lease ended while the state was read
    /// (`Read::Lease`). Retry, or read linearizably.
    #[error("the lease ended before the state was read")]
    LeaseExpired,
    /// Effect: none. The local state is older than the read allows. Retry with a stronger mode.
    #[error("the local state is older than the read allows")]
    TooStale,
    /// Effect: none. `reads_pending_max` reads are waiting. Retry after a pause.
    #[error("too many reads are pending")]
    Busy,
    /// Effect: none. This node is shutting down or failed.
    #[error("the node has stopped")]
    Stopped,
}

impl ReadError {
    /// Whether the same read may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::Stopped)
    }
}

/// Leadership was not asked to move.
///
/// # Examples
/// ```
/// use quorate_raft::TransferError;
/// assert_eq!(TransferError::NoTarget.to_string(), "no voter is active and caught up");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// Effect: none. Only a leader can give leadership away.
    #[error("not the leader")]
    NotLeader,
    /// Effect: none. The target does not vote.
    #[error("the target is a learner")]
    Learner,
    /// Effect: none. The target is not a member.
    #[error("the target is not a member")]
    Unknown,
    /// Effect: none. Retry later.
    #[error("no voter is active and caught up")]
    NoTarget,
    /// Effect: leadership stays where it was. Retry later.
    #[error("the transfer took longer than an election timeout")]
    TimedOut,
}

/// A campaign was not started.
///
/// # Examples
/// ```
/// use quorate_raft::CampaignError;
/// assert_eq!(CampaignError::NotVoter.to_string(), "not a voter");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CampaignError {
    /// Effect: none. Only voters are elected.
    #[error("not a voter")]
    NotVoter,
    /// Effect: none. Already leading.
    #[error("already the leader")]
    AlreadyLeader,
    /// Effect: none. A snapshot is being installed. Retry after it.
    #[error("a snapshot is being installed")]
    PendingSnapshot,
    /// Effect: none. This voter promised a leader to elect no other; a start counts as such a
    /// promise, too. Retry then.
    #[error("promised not to campaign before {until}")]
    Promise {
        /// Until when, by this node's monotonic clock.
        until: Monotonic,
    },
    /// Effect: none. A membership change is committed and not applied yet: who votes is not known
    /// before. Retry after it.
    #[error("a committed membership change is not applied yet")]
    PendingConf,
    /// Effect: none. Entries that this node may have acknowledged are lost: it campaigns again once
    /// a leader has brought its log past them.
    #[error("the log lost entries up to {to}, which a leader must bring first")]
    Recovering {
        /// The last one that may be lost.
        to: LogIndex,
    },
}

/// Who leads was not forgotten.
///
/// # Examples
/// ```
/// use quorate_raft::ForgetError;
/// assert_eq!(ForgetError::Leading.to_string(), "a leader cannot forget that it leads");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetError {
    /// Effect: none. This node leads.
    #[error("a leader cannot forget that it leads")]
    Leading,
    /// Effect: none. No leader is known: there is nothing to forget.
    #[error("no leader is known")]
    NoLeader,
    /// Effect: none. This voter promised its leader to elect no other. Retry then.
    #[error("promised to elect no other leader before {until}")]
    Promise {
        /// Until when, by this node's monotonic clock.
        until: Monotonic,
    },
}

/// A message was not accepted.
///
/// # Examples
/// ```
/// use quorate_raft::{GroupId, StepError};
///
/// let e = StepError::WrongGroup { expected: GroupId::new(1), found: GroupId::new(2) };
/// assert_eq!(e.to_string(), "message of group 2, expected 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// Effect: none. An answer from a node outside the membership.
    #[error("node {from} is not a member")]
    UnknownPeer {
        /// The sender.
        from: NodeId,
    },
    /// Effect: none. The sender's disk is not the one that the group knows of this node: it may
    /// have forgotten what the other one promised.
    #[error("node {from} speaks from another disk than the one it joined with")]
    ForeignStore {
        /// The sender.
        from: NodeId,
    },
    /// Effect: none. Routed to the wrong group.
    #[error("message of group {found}, expected {expected}")]
    WrongGroup {
        /// This group.
        expected: GroupId,
        /// The message's.
        found: GroupId,
    },
    /// Effect: none. Not a message of this protocol version, or altered.
    #[error("malformed message: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Effect: none. The blocks inside are malformed.
    #[error("malformed message: {0}")]
    Block(#[from] BlockError),
    /// Effect: none. A forwarded proposal that this node refuses.
    #[error("forwarded proposal refused: {0}")]
    Proposal(ProposeError),
    /// Effect: none. A forwarded membership change that this node refuses.
    #[error("forwarded membership change refused: {0}")]
    Conf(ConfError),
    /// Effect: none; the replica had stopped before.
    #[error("the replica has stopped")]
    Stopped,
}

/// Something that the protocol proves impossible happened: the replica stops, its log is kept as
/// evidence.
///
/// # Examples
/// ```
/// use quorate_raft::{Invariant, LogIndex};
///
/// let i = Invariant::CommittedConflict { at: LogIndex::new(4), commit: LogIndex::new(9) };
/// assert_eq!(i.to_string(), "an append conflicts at index 4, which is committed (commit 9)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invariant {
    /// Effect: nothing truncated; the replica stops. A leader's append contradicts a committed
    /// entry.
    #[error("an append conflicts at index {at}, which is committed (commit {commit})")]
    CommittedConflict {
        /// The first differing index.
        at: LogIndex,
        /// The commit index.
        commit: LogIndex,
    },
    /// Effect: the replica stops. Indexes that must be ordered are not.
    #[error("order of indexes broken: {what} ({low} > {high})")]
    Order {
        /// Which pair.
        what: &'static str,
        /// The one that must not be greater.
        low: LogIndex,
        /// The other.
        high: LogIndex,
    },
    /// Effect: the replica stops. A leader's view of a peer is impossible.
    #[error("progress of node {peer}: next {next} is not above match {matched}")]
    Progress {
        /// The peer.
        peer: NodeId,
        /// Its match index.
        matched: LogIndex,
        /// Its next index.
        next: LogIndex,
    },
    /// Effect: the replica stops. Two membership changes are in the log and not committed.
    #[error("membership changes at {first} and {second} are both uncommitted")]
    TwoChanges {
        /// The earlier one.
        first: LogIndex,
        /// The later one.
        second: LogIndex,
    },
    /// Effect: the replica stops. Role and leader disagree.
    #[error("role and leader disagree in term {term}")]
    Role {
        /// The term.
        term: Term,
    },
}

/// A replica cannot start on what its store holds.
///
/// # Examples
/// ```
/// use quorate_raft::BootError;
/// assert_eq!(BootError::Membership.to_string(), "a group needs 1 to 15 distinct voters");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// Effect: none. The machine says it applied what the log does not know to be committed.
    #[error("machine applied {applied}, outside of the log's {first}..={commit}")]
    Applied {
        /// What the machine says.
        applied: LogIndex,
        /// First index it may have applied up to.
        first: LogIndex,
        /// Last index it may have applied up to.
        commit: LogIndex,
    },
    /// Effect: none. Voters missing or too many.
    #[error("a group needs 1 to 15 distinct voters")]
    Membership,
}

/// A log store refused or failed.
///
/// # Examples
/// ```
/// use quorate_raft::StoreError;
/// assert!(!StoreError::Closed.is_retryable());
/// assert!(StoreError::NoSpace.is_retryable());
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Effect: the write may or may not be durable, the store takes no more. Restart the process.
    #[error("store poisoned by an earlier failure: {cause}")]
    Poisoned {
        /// The first failure.
        cause: Arc<str>,
    },
    /// Effect: nothing was written. Proposals are refused until space returns; reads go on.
    #[error("no space left for the log")]
    NoSpace,
    /// Effect: none. The entries asked for were compacted away; a snapshot replaces them.
    #[error("compacted up to {to}")]
    Compacted {
        /// Last index that is gone.
        to: LogIndex,
    },
    /// Effect: none, evidence kept. Records that were acknowledged cannot be read.
    #[error("log damaged: {what}")]
    Damaged {
        /// Which file, offset and records.
        what: Arc<str>,
    },
    /// Effect: none, evidence kept. Records were lost behind the last one that can be read, and
    /// with them perhaps a vote: this member cannot know what it promised. Remove it from the group
    /// and add it anew, with an empty disk.
    #[error("hard state lost: {what}")]
    HardStateLost {
        /// What is damaged.
        what: Arc<str>,
    },
    /// Effect: none. The folder belongs to another cluster, node or group.
    #[error("{path}: {what} is {found}, expected {expected}")]
    Foreign {
        /// Which folder or group.
        path: Arc<str>,
        /// Which of the ids differs.
        what: &'static str,
        /// The id asked for.
        expected: Arc<str>,
        /// The id found.
        found: Arc<str>,
    },
    /// Effect: none beyond what the error says. The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its error.
        source: Arc<io::Error>,
    },
    /// Effect: none. The store was shut down.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same operation may succeed later without a restart.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::NoSpace)
    }

    /// Whether data that was written is unreadable.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::HardStateLost { .. })
    }
}
