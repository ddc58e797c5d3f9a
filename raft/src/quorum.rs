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
    match voters {
        [] => None,
        [only] => Some(acked(*only)),
        [_, _] | [_, _, _] => Some(median::<3>(voters, acked, &MEDIAN_OF_3)),
        _ if voters.len() <= 5 => Some(median::<5>(voters, acked, &MEDIAN_OF_5)),
        _ if voters.len() <= 7 => Some(median::<7>(voters, acked, &MEDIAN_OF_7)),
        _ => Some(median_of_many(voters, acked)),
    }
}

/// Which two values to put into order, one pair after the other, so that the middle one is the
/// median at the end: no branch depends on the values. Knuth, TAOCP 3, 5.3.4; Devillard, *Fast
/// median search*, 1998.
const MEDIAN_OF_3: [(usize, usize); 3] = [(0, 1), (1, 2), (0, 1)];
const MEDIAN_OF_5: [(usize, usize); 7] = [(0, 1), (3, 4), (0, 3), (1, 4), (1, 2), (2, 3), (1, 2)];
#[rustfmt::skip]
const MEDIAN_OF_7: [(usize, usize); 13] = [
    (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6),
    (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4),
];

/// What a majority of N voters has reached is the median of their values; of one voter less, an
/// even number, it is the median of theirs and a zero.
#[inline(always)]
fn median<const N: usize>(
    voters: &[NodeId],
    acked: impl Fn(NodeId) -> u64,
    network: &[(usize, usize)],
) -> u64 {
    let mut values = [0_u64; N];
    for (slot, voter) in values.iter_mut().zip(voters) {
        *slot = acked(*voter);
    }
    // A majority is counted over sorted values. // H2
    if !crate::plant::planted("quorum_unsorted") {
        for (low, high) in network {
            let (a, b) = (values[*low], values[*high]);
            (values[*low], values[*high]) = (a.min(b), a.max(b));
        }
    }
    values[N / 2]
}

fn median_of_many(voters: &[NodeId], acked: impl Fn(NodeId) -> u64) -> u64 {
    let mut values = [0_u64; VOTERS_MAX];
    let values = &mut values[..voters.len()];
    for (slot, voter) in values.iter_mut().zip(voters) {
        *slot = acked(*voter);
    }
    if !crate::plant::planted("quorum_unsorted") {
        values.sort_unstable();
    }
    // n − (n/2 + 1) voters may be behind.
    values[(voters.len() - 1) / 2]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that sorts all zeros and ones sorts everything (Knuth, 5.3.4, theorem Z).
    #[test]
    fn every_size_counts_every_order_right() {
        for n in 1..=VOTERS_MAX {
            let voters: Vec<NodeId> = (1..=n as u64).map(NodeId::new).collect();
            for bits in 0..1_u64 << n {
                let ones = bits.count_ones() as usize;
                let expected = u64::from(ones > n / 2);
                let found = committed(&voters, &[], |id| bits >> (id.value() - 1) & 1);
                assert_eq!(found, Some(expected), "{n} voters, {bits:b}");
            }
        }
    }
}
