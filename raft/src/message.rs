//! What replicas say to each other. Encoding: `wire.rs`.

use crate::{Block, GroupId, LogId, LogIndex, Membership, Proposal, ReadId, StoreId, Term};
use core::time::Duration;
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;

/// A message and where it goes. May be addressed to the sender itself, when it waits for
/// durability.
///
/// # Examples
/// ```
/// use quorate_raft::{Body, Envelope, GroupId, Message, Term};
/// use quorate_transport::NodeId;
///
/// let m = Message::new(GroupId::new(1), Term::new(2), Body::TimeoutNow);
/// let e = Envelope::new(NodeId::new(3), m);
/// assert_eq!(e.to, NodeId::new(3));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Envelope {
    /// The receiver.
    pub to: NodeId,
    /// What it is told.
    pub message: Message,
}

impl Envelope {
    /// `message` for `to`.
    #[must_use]
    pub const fn new(to: NodeId, message: Message) -> Self {
        Self { to, message }
    }
}

/// One message of the protocol.
///
/// # Examples
/// ```
/// use quorate_raft::{Body, GroupId, LogIndex, Message, Term};
///
/// let m = Message::new(GroupId::new(1), Term::new(2), Body::Commit { index: LogIndex::new(9) });
/// assert!(!m.body.is_response());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// The log it is about.
    pub group: GroupId,
    /// The sender's term; for votes the term campaigned for. Zero for `Propose` and `ReadIndex`.
    pub term: Term,
    /// The content.
    pub body: Body,
}

impl Message {
    /// A message of `group` in `term`.
    #[must_use]
    pub const fn new(group: GroupId, term: Term, body: Body) -> Self {
        Self { group, term, body }
    }
}

/// The content of a message.
///
/// # Examples
/// ```
/// use quorate_raft::{Body, LogIndex, ReadId};
///
/// let answer = Body::ReadIndexResp { index: LogIndex::new(4), ids: vec![ReadId::new(1)] };
/// assert!(answer.is_response());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Body {
    /// Leader → member: these blocks follow `prev`.
    Append {
        /// The entry before the first block; the receiver must hold it.
        prev: LogId,
        /// The leader's commit index.
        commit: LogIndex,
        /// Contiguous, possibly none.
        blocks: Vec<Block>,
    },
    /// The receiver holds the leader's log up to `index`, durably.
    Accepted {
        /// Last index that agrees.
        index: LogIndex,
    },
    /// The receiver does not hold `index` with the leader's term.
    Rejected {
        /// The `prev` index that was refused.
        index: LogIndex,
        /// Where the receiver's log may agree; term 0 if it no longer knows.
        hint: LogId,
    },
    /// Answer to an append: the receiver can only take a snapshot, because it does not know the
    /// group's membership, or has lost a part of its log.
    SnapshotRequest {
        /// Last index the receiver holds for certain.
        have: LogIndex,
    },
    /// Would you vote for me?
    PreVote(Ballot),
    /// Vote for me.
    Vote(Ballot),
    /// Answer to `PreVote`.
    PreVoteResp {
        /// Yes or no.
        granted: bool,
        /// What the voter knows to be committed.
        commit: LogId,
    },
    /// Answer to `Vote`.
    VoteResp {
        /// Yes or no.
        granted: bool,
        /// What the voter knows to be committed.
        commit: LogId,
    },
    /// Leader → member: I lead.
    Heartbeat {
        /// min(match of the receiver, commit index).
        commit: LogIndex,
        /// Reads asked of the leader in this term up to now.
        read: u64,
        /// The leader's clock when it was sent; zero if it wants no promise.
        stamp: Monotonic,
    },
    /// Answer to `Heartbeat`.
    HeartbeatResp {
        /// The position of the heartbeat, returned.
        read: u64,
        /// Its stamp, returned.
        stamp: Monotonic,
        /// For how long after the heartbeat arrived, in true time, the member grants no vote; zero
        /// if it promises nothing.
        promise: Duration,
    },
    /// Leader → member: the commit index moved. Not answered.
    Commit {
        /// The leader's commit index.
        index: LogIndex,
    },
    /// Leader → member: campaign now, without waiting.
    TimeoutNow,
    /// Leader → member: this state replaces your log. Never on the wire: the driver transfers the
    /// content first and then hands this to the receiving core. Boxed: it is rare, and all others
    /// would be as large.
    Snapshot(Box<SnapshotMeta>),
    /// Member → leader: confirm that you lead and tell me the commit index.
    ReadIndex {
        /// The reads that wait.
        ids: Vec<ReadId>,
        /// The leader may answer from its lease, without confirmation.
        lease: bool,
    },
    /// Answer to `ReadIndex`.
    ReadIndexResp {
        /// Serve the reads once this index is applied.
        index: LogIndex,
        /// Which.
        ids: Vec<ReadId>,
    },
    /// Member → leader: append these. Only with `Config::reference`; drivers forward by calls.
    Propose(Proposal),
}

impl Body {
    /// Whether it answers something, so that a non-member has no business sending it.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        matches!(
            self,
            Self::Accepted { .. }
                | Self::Rejected { .. }
                | Self::SnapshotRequest { .. }
                | Self::PreVoteResp { .. }
                | Self::VoteResp { .. }
                | Self::HeartbeatResp { .. }
                | Self::ReadIndexResp { .. }
        )
    }

    /// Whether it may leave only after everything appended before it is durable (R19).
    #[must_use]
    pub(crate) const fn is_gated(&self) -> bool {
        matches!(
            self,
            Self::Accepted { .. }
                | Self::Rejected { .. }
                | Self::PreVoteResp { .. }
                | Self::VoteResp { .. }
        )
    }
}

/// What a candidate tells of its log.
///
/// # Examples
/// ```
/// use quorate_raft::Ballot;
/// assert!(!Ballot::default().force);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ballot {
    /// The candidate's last entry.
    pub last: LogId,
    /// What the candidate knows to be committed.
    pub commit: LogId,
    /// The leader asked for this election: grant it although you hear from that leader.
    pub force: bool,
}

/// Which state a snapshot holds.
///
/// # Examples
/// ```
/// use quorate_raft::{LogId, Membership, SnapshotMeta};
/// use quorate_transport::NodeId;
///
/// let m = SnapshotMeta::new(LogId::new(2, 100), Membership::of_voters(&[NodeId::new(1)]));
/// assert_eq!(m.last.index.value(), 100);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotMeta {
    /// The last entry it contains.
    pub last: LogId,
    /// The members as of that entry.
    pub membership: Membership,
    /// Group time of that entry, in milliseconds.
    pub time_ms: u64,
    /// The disk on which it was made: the same index made elsewhere is another snapshot. // H50
    pub maker: StoreId,
}

impl SnapshotMeta {
    /// The state up to `last`.
    #[must_use]
    pub const fn new(last: LogId, membership: Membership) -> Self {
        Self { last, membership, time_ms: 0, maker: StoreId::ZERO }
    }
}
