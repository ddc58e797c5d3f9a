//! A look inside for operators, tests and scripts.

use super::{Raft, Role};
use crate::progress::{Progress, ProgressState};
use crate::{HardState, LogId, LogIndex};
use quorate_transport::NodeId;

/// A replica at one moment.
///
/// # Examples
/// ```
/// use quorate_clocks::Monotonic;
/// use quorate_raft::{Boot, Config, GroupId, Membership, Raft, Role};
/// use quorate_transport::NodeId;
///
/// let members = Membership::of_voters(&[NodeId::new(1), NodeId::new(2)]);
/// let boot = Boot::fresh(NodeId::new(1), GroupId::new(1), members);
/// let raft = Raft::new(Config::lan().build().unwrap(), boot, Monotonic::ZERO, 7).unwrap();
/// let status = raft.status();
/// assert_eq!((status.role, status.commit.value()), (Role::Follower, 0));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// What it does.
    pub role: Role,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Term, vote, commit index.
    pub hard: HardState,
    /// The commit index.
    pub commit: LogIndex,
    /// Applied by the machine.
    pub applied: LogIndex,
    /// Handed out for application.
    pub applying: LogIndex,
    /// Durable on the local disk.
    pub durable: LogIndex,
    /// First index still in the log.
    pub first: LogIndex,
    /// The last entry.
    pub last: LogId,
    /// Bytes of log in memory.
    pub cached_bytes: u64,
    /// What a leader knows of each member, ascending; empty on others.
    pub peers: Vec<PeerStatus>,
}

/// How far a replica is.
///
/// # Examples
/// ```
/// use quorate_clocks::Monotonic;
/// use quorate_raft::{Boot, Config, GroupId, Membership, Raft};
/// use quorate_transport::NodeId;
///
/// let members = Membership::of_voters(&[NodeId::new(1), NodeId::new(2)]);
/// let boot = Boot::fresh(NodeId::new(1), GroupId::new(1), members);
/// let raft = Raft::new(Config::lan().build().unwrap(), boot, Monotonic::ZERO, 7).unwrap();
/// let progress = raft.progress();
/// assert!(progress.applied <= progress.commit && progress.commit <= progress.last);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progression {
    /// The term.
    pub term: crate::Term,
    /// First index still in the log.
    pub first: LogIndex,
    /// The last index.
    pub last: LogIndex,
    /// The commit index.
    pub commit: LogIndex,
    /// Applied by the machine.
    pub applied: LogIndex,
    /// Durable on the local disk.
    pub durable: LogIndex,
    /// Bytes of log in memory.
    pub cached_bytes: u64,
    /// Times that it stopped acknowledging appends because its machine lagged.
    pub apply_paused: u64,
}

/// What a leader knows of one member.
///
/// # Examples
/// ```
/// # use quorate_raft::PeerStatus;
/// fn lags(p: &PeerStatus, last: quorate_raft::LogIndex) -> bool {
///     p.matched < last
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The member.
    pub id: NodeId,
    /// How it is fed.
    pub state: ProgressState,
    /// Last index it is known to hold durably.
    pub matched: LogIndex,
    /// Next index to send.
    pub next: LogIndex,
    /// Receives the log without voting.
    pub learner: bool,
    /// Nothing more is sent before it answers.
    pub paused: bool,
    /// The snapshot on its way, or zero.
    pub pending_snapshot: LogIndex,
    /// Heard from lately.
    pub active: bool,
    /// Appends on their way.
    pub inflight: usize,
    /// The in-flight window is full.
    pub inflight_full: bool,
}

impl Raft {
    /// A look inside.
    #[must_use]
    pub fn status(&self) -> Status {
        let leads = self.role == Role::Leader;
        Status {
            id: self.id,
            role: self.role,
            leader: self.leader,
            hard: self.hard_state(),
            commit: self.log.commit,
            applied: self.log.applied,
            applying: self.log.applying,
            durable: self.log.durable,
            first: self.log.first_index(),
            last: self.log.last(),
            cached_bytes: self.log.cached_bytes(),
            peers: if leads { self.peers.iter().map(peer_status).collect() } else { Vec::new() },
        }
    }

    /// The numbers of [`status`](Self::status) without the members: no allocation.
    #[must_use]
    pub const fn progress(&self) -> Progression {
        Progression {
            term: self.term,
            first: self.log.first_index(),
            last: self.log.last().index,
            commit: self.log.commit,
            applied: self.log.applied,
            durable: self.log.durable,
            cached_bytes: self.log.cached_bytes(),
            apply_paused: self.backlog.pauses(),
        }
    }

    /// Up to where a leader knows `member` to hold the log durably; none on others.
    #[must_use]
    pub fn matched(&self, member: NodeId) -> Option<LogIndex> {
        let matched = self.leading_peer(member).map(|i| self.peers[i].matched);
        // Its own log counts in full for the commit rule, which needs an entry of its own term;
        // what is durable may be less just after an election.
        matched.map(|m| if member == self.id { m.min(self.log.durable) } else { m })
    }

    /// The last index, without making a whole [`Status`].
    #[must_use]
    pub const fn last(&self) -> LogId {
        self.log.last()
    }

    /// The commit index.
    #[must_use]
    pub const fn commit(&self) -> LogIndex {
        self.log.commit
    }

    /// The term of the entry at `index`, if the log still has it.
    #[must_use]
    pub fn term_of(&self, index: LogIndex) -> Option<crate::Term> {
        self.log.term(index)
    }
}

fn peer_status(p: &Progress) -> PeerStatus {
    PeerStatus {
        id: p.id,
        state: p.state,
        matched: p.matched,
        next: p.next,
        learner: p.learner,
        paused: p.is_paused(),
        pending_snapshot: p.pending_snapshot,
        active: p.active,
        inflight: p.inflights.len(),
        inflight_full: p.inflights.is_full(),
    }
}
