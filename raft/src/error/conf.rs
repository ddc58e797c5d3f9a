//! Why a membership does not change.

use crate::{LogId, LogIndex};
use quorate_transport::NodeId;
use std::sync::Arc;

/// A membership that cannot follow from the present one.
///
/// # Examples
/// ```
/// use quorate_raft::{ConfInvalid, Membership};
/// use quorate_transport::NodeId;
///
/// let alone = Membership::of_voters(&[NodeId::new(1)]);
/// assert_eq!(alone.leave_joint().unwrap_err(), ConfInvalid::NotJoint);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ConfInvalid {
    /// Effect: none. A group without voters could never decide anything again.
    #[error("removes all voters")]
    NoVoters,
    /// Effect: none. Majorities of the old and the new voters might not overlap: go through a joint
    /// phase.
    #[error("changes more than one voter without a joint phase")]
    SeveralVoters,
    /// Effect: none. End the joint phase first.
    #[error("a simple change within a joint phase")]
    SimpleInJoint,
    /// Effect: none. End the joint phase first.
    #[error("already in a joint phase")]
    AlreadyJoint,
    /// Effect: none. There is nobody who could decide it.
    #[error("a joint phase of a group without voters")]
    JointWithoutVoters,
    /// Effect: none. There is no joint phase to end.
    #[error("not in a joint phase")]
    NotJoint,
    /// Effect: none. More than 15 voters.
    #[error("more than 15 voters")]
    TooManyVoters,
    /// Effect: none. More than 64 members.
    #[error("more than 64 members")]
    TooManyMembers,
    /// Effect: none. More than 64 operations, or 64 KiB of context.
    #[error("more than 64 operations or 64 KiB of context")]
    TooLarge,
    /// Effect: none. Only a learner can be promoted: add it first.
    #[error("promotes a node that is no learner")]
    NotLearner,
    /// Effect: none. A member cannot go on with another disk, for the votes and entries of the
    /// first would count as the second's: remove it, and add it anew with a later change.
    #[error("gives a member another disk")]
    OtherDisk,
    /// Effect: none. It votes already; to demote it, ask for that by
    /// [`ConfOp::Learner`](crate::ConfOp).
    #[error("adds a voter as a learner")]
    AlreadyVotes,
    /// Effect: none. Only a voter can be replaced.
    #[error("replaces a node that does not vote")]
    NotVoter,
}

/// A membership change was not accepted.
///
/// # Examples
/// ```
/// use quorate_raft::{ConfError, LogIndex};
///
/// let e = ConfError::Pending { index: LogIndex::new(7) };
/// assert!(e.is_retryable());
/// assert_eq!(e.to_string(), "the change at index 7 is not applied yet");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfError {
    /// Effect: none, not appended. Retry at the leader, if one is known.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, as far as is known.
        leader: Option<NodeId>,
    },
    /// Effect: none, not appended. Another change, or the log of the leaders before, is not applied
    /// yet. Retry after it.
    #[error("the change at index {index} is not applied yet")]
    Pending {
        /// Retry once it is applied.
        index: LogIndex,
    },
    /// Effect: none, not appended. A joint phase must end first. Retry after it.
    #[error("the group is in a joint phase")]
    Joint,
    /// Effect: none, not appended. There is no joint phase to end.
    #[error("the group is not in a joint phase")]
    NotJoint,
    /// Effect: none, not appended. The membership is not the one the change was computed from.
    /// Compute it anew.
    #[error("the membership is of index {current} by now")]
    Conflict {
        /// [`Membership::index`](crate::Membership::index) of the present one.
        current: LogIndex,
    },
    /// Effect: none, not appended. No membership follows. A retry cannot help.
    #[error("the change {why}")]
    Invalid {
        /// Why not.
        why: ConfInvalid,
    },
    /// Effect: none, not appended. Retry at the next leader.
    #[error("leadership is moving to node {to}")]
    Transferring {
        /// The next leader, if it takes over.
        to: NodeId,
    },
    /// Effect: none, not appended. The node named does not answer, or is no fresh or former member.
    #[error("node {node} cannot be added: {why}")]
    Unreachable {
        /// Which.
        node: NodeId,
        /// What is in the way.
        why: Arc<str>,
    },
    /// Effect: none; another leader replaced the change before it was committed. Retry.
    #[error("superseded: another leader committed {by} in its place")]
    Superseded {
        /// What stands in its place.
        by: LogId,
    },
    /// Effect: none, not appended. 64 changes wait at this node already. Retry after a pause.
    #[error("too many membership changes wait")]
    Busy,
    /// Effect: unknown: the change may have been or may yet be committed. Look at the membership.
    #[error("the outcome is not known")]
    Unknown,
    /// Effect: a step of the change was committed and goes on by itself; it had not ended in time.
    #[error("the change goes on, but had not ended in time")]
    TimedOut,
    /// Effect: none, not appended. This node is shutting down or failed.
    #[error("the node has stopped")]
    Stopped,
}

impl ConfError {
    /// Whether the same change may succeed later or elsewhere.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::NotLeader { .. }
                | Self::Pending { .. }
                | Self::Joint
                | Self::Transferring { .. }
                | Self::Unreachable { .. }
                | Self::Busy
                | Self::Superseded { .. }
        )
    }
}
