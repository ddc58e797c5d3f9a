//! What became of a proposal, how to read, how a shutdown may fail.

use crate::error::ProposeError;
use crate::{LogId, LogIndex};
use bytes::Bytes;
use core::time::Duration;
use std::sync::Arc;

/// What became of a proposal.
///
/// # Examples
/// ```
/// use quorate_raft::{Outcome, ProposeError};
///
/// fn tell(outcome: Outcome) -> &'static str {
///     match outcome {
///         Outcome::Applied { .. } => "done",
///         Outcome::Rejected(_) => "not done, and never will be",
///         Outcome::Unknown { .. } => "may or may not have been done",
///         _ => "unknown",
///     }
/// }
/// assert_eq!(tell(Outcome::Rejected(ProposeError::NoLeader)), "not done, and never will be");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an unknown outcome is not a failure"]
#[non_exhaustive]
pub enum Outcome {
    /// Durable on a quorum and applied here.
    Applied {
        /// Where it stands in the log; where it stands again, if a session repeated it.
        id: LogId,
        /// What the machine answered.
        reply: Bytes,
    },
    /// A request of a session took effect, once. This is the answer to a repetition of it, and the
    /// reply was larger than the session keeps (`reply_bytes_max`).
    ReplyLost {
        /// Where the repetition stands in the log.
        id: LogId,
    },
    /// It can never take effect.
    Rejected(ProposeError),
    /// It may have taken effect, may yet take effect, or not.
    Unknown {
        /// Where it stands if it was appended, as far as that is known.
        at: Option<LogId>,
    },
}

/// How fresh a read must be.
///
/// # Examples
/// ```
/// use quorate_raft::Read;
/// use std::time::Duration;
/// let relaxed = Read::MaxStale(Duration::from_millis(200));
/// assert_ne!(relaxed, Read::Linearizable);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Read {
    /// Sees every write acknowledged before the call. At most one round of heartbeats, shared.
    Linearizable,
    /// Sees every write acknowledged before the call, like `Linearizable`, if no clock's rate is
    /// further off than it says. With [`ConfigDraft::lease`] the leader serves it without a message
    /// and without waiting, other members with one message to the leader; without a valid lease it
    /// is `Linearizable`. Fails with [`ReadError::LeaseExpired`] if the leader's lease ended while
    /// the state was read.
    ///
    /// [`ConfigDraft::lease`]: crate::ConfigDraft::lease
    /// [`ReadError::LeaseExpired`]: crate::ReadError::LeaseExpired
    Lease,
    /// Sees every write acknowledged this long before the call, or longer. No message if the last
    /// confirmed read of this node is recent enough, else like `Linearizable`.
    MaxStale(Duration),
    /// Sees the log up to this index, for instance that of one's own write.
    AtLeast(LogIndex),
    /// Sees what this node has applied, however old.
    Local,
}

/// A shutdown was not clean.
///
/// # Examples
/// ```
/// use quorate_raft::ShutdownError;
/// assert_eq!(ShutdownError::Failed("disk".into()).to_string(), "the replica had failed: disk");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// Effect: the replica had stopped before; what it acknowledged is on the quorum's disks.
    #[error("the replica had failed: {0}")]
    Failed(Arc<str>),
    /// Effect: the replica has stopped; this many writes were handed to the log and are not known
    /// to be durable (a full or stalled disk). Nothing acknowledged depends on them alone.
    #[error("{writes} writes were not durable in time")]
    NotDurable {
        /// How many.
        writes: usize,
    },
}
