//! Quorum arithmetic: majorities, and the pair of majorities of a joint configuration.

use quorate_transport::NodeId;

/// Most voters of one half: the arithmetic works on the stack.
pub const VOTERS_MAX: usize = 15;

/// The outcome of counting votes.
///
/// # Examples
/// ```
/// use quorate_raft::quorum::{self, VoteResult};
/// use quorate_transport::NodeId;
///
/// let voters = [NodeId::new(1), NodeId::new(2), NodeId::new(3)];
/// let only_one_yes = |id: NodeId| (id.value() == 1).then_some(true);
/// assert_eq!(quorum::vote(&voters, &[], only_one_yes), VoteResult::Pending);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VoteResult {
    /// Enough yes in each half.
    Won,
    /// Undecided: answers are missing.
    Pending,
    /// One half cannot win any more.
    Lost,
}

/// The largest value that a majority of `incoming`, and of `outgoing` if it is not empty, has
/// reached. `None` if both halves are empty: every value is committed.
///
/// # Cost
/// At most [`VOTERS_MAX`] reads a half, sorted on the stack; no allocation.
///
/// # Panics
/// If a half has more than [`VOTERS_MAX`] voters; membership does not admit them.
///
/// # Examples
/// ```
/// use quorate_raft::quorum;
/// use quorate_transport::NodeId;
///
/// let voters = [NodeId::new(1), NodeId::new(2), NodeId::new(3)];
/// let acknowledged = |id: NodeId| [12, 10, 11][id.value() as usize - 1];
/// assert_eq!(quorum::committed(&voters, &[], acknowledged), Some(11));
/// ```
#[must_use]
pub fn committed(
    incoming: &[NodeId],
    outgoing: &[NodeId],
    acked: impl Fn(NodeId) -> u64,
) -> Option<u64> {
    match (half_committed(incoming, &acked), half_committed(outgoing, &acked)) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Counts votes: `voted` says yes, no, or nothing yet. Joint: won if both halves are won, lost if
/// one is.
///
/// # Examples
/// ```
/// use quorate_raft::quorum::{self, VoteResult};
/// use quorate_transport::NodeId;
///
/// let old = [NodeId::new(1)];
/// let new = [NodeId::new(2)];
/// assert_eq!(quorum::vote(&new, &old, |id| Some(id.value() == 1)), VoteResult::Lost);
/// ```
#[must_use]
pub fn vote(
    incoming: &[NodeId],
    outgoing: &[NodeId],
    voted: impl Fn(NodeId) -> Option<bool>,
) -> VoteResult {
    match (half_vote(incoming, &voted), half_vote(outgoing, &voted)) {
        (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
        (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
        _ => VoteResult::Pending,
    }
}

fn half_committed(voters: &[NodeId], acked: impl Fn(NodeId) -> u64) -> Option<u64> {
    let mut values = [0_u64; VOTERS_MAX];
    let values = &mut values[..voters.len()];
    for (slot, voter) in values.iter_mut().zip(voters) {
        *slot = acked(*voter);
    }
    // A majority is counted over sorted values. // H2
    if !crate::plant::planted("quorum_unsorted") {
        values.sort_unstable();
    }
    // n − (n/2 + 1) voters may be behind.
    let behind_allowed = (voters.len().checked_sub(1)?) / 2;
    values.get(behind_allowed).copied()
}

fn half_vote(voters: &[NodeId], voted: impl Fn(NodeId) -> Option<bool>) -> VoteResult {
    if voters.is_empty() {
        return VoteResult::Won; // so that a joint quorum with an empty half is a simple one
    }
    let quorum = voters.len() / 2 + 1;
    let yes = voters.iter().filter(|v| voted(**v) == Some(true)).count();
    let no = voters.iter().filter(|v| voted(**v) == Some(false)).count();
    if yes >= quorum {
        VoteResult::Won
    } else if voters.len() - no >= quorum {
        VoteResult::Pending
    } else {
        VoteResult::Lost
    }
}
