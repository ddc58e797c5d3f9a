//! Counters and gauges of a node.

use crate::core::{PeerStatus, Role};
use crate::{LogIndex, Term};
use quorate_transport::NodeId;

/// A snapshot of what a node did and where it stands. Counters count from its start.
///
/// # Examples
/// ```
/// use quorate_raft::Stats;
/// assert_eq!(Stats::default().proposals_applied, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What it does.
    pub role: Role,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: Term,
    /// First index in the log.
    pub first: LogIndex,
    /// Last index in the log.
    pub last: LogIndex,
    /// The commit index.
    pub commit: LogIndex,
    /// Applied to the machine.
    pub applied: LogIndex,
    /// Durable on the local disk.
    pub durable: LogIndex,
    /// Bytes of log in memory.
    pub cached_bytes: u64,
    /// Times that this follower stopped acknowledging appends because its machine lagged.
    pub apply_paused: u64,
    /// Batches of proposals, of any node's callers, that this leader refused because its machine
    /// lagged.
    pub apply_refusals: u64,
    /// Writes handed to the store and not durable yet.
    pub appends_pending: u64,
    /// Elections that this node began, pre-votes included.
    pub elections_started: u64,
    /// Times this node became leader.
    pub elections_won: u64,
    /// Times this node ceased to be leader.
    pub step_downs: u64,
    /// Blocks proposed as a leader.
    pub blocks_proposed: u64,
    /// Entries proposed as a leader.
    pub entries_proposed: u64,
    /// Proposals of this node's callers that were applied.
    pub proposals_applied: u64,
    /// Proposals of this node's callers that were refused.
    pub proposals_rejected: u64,
    /// Proposals of this node's callers whose outcome is unknown.
    pub proposals_unknown: u64,
    /// Sessions in the table, when the last batch was applied here.
    pub sessions: u64,
    /// Times that leadership was handed over because the disk stood still.
    pub disk_stalls: u64,
    /// Membership changes that came into force here.
    pub conf_changes: u64,
    /// Requests of sessions that were repeated and answered, not applied again.
    pub session_repeats: u64,
    /// Requests of sessions that were refused when they were to be applied.
    pub session_refusals: u64,
    /// Requests of this node's sessions that were handed over once more, their outcome unknown.
    pub session_retries: u64,
    /// Batches forwarded to a leader.
    pub forwards: u64,
    /// Reads confirmed.
    pub reads: u64,
    /// Lease reads served by this leader's own lease.
    pub lease_reads: u64,
    /// Lease reads that needed another's answer or a round, or whose lease ended under them.
    pub lease_refusals: u64,
    /// Reads that failed.
    pub reads_failed: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages that the transport did not take.
    pub messages_unsent: u64,
    /// Messages and calls that were refused: malformed, another group, not a member.
    pub messages_refused: u64,
    /// Loads of blocks from the store.
    pub loads: u64,
    /// Snapshots made.
    pub snapshots_made: u64,
    /// Snapshots that could not be made.
    pub snapshots_failed: u64,
    /// Times that a snapshot could not be sent yet: `snapshots_sending_max` were on their way.
    pub snapshots_postponed: u64,
    /// Snapshots sent in full.
    pub snapshots_sent: u64,
    /// Subscribers to what is applied here.
    pub subscribers: u64,
    /// Times that a subscriber was told that it missed entries.
    pub subscribers_lagged: u64,
    /// Snapshots taken in.
    pub snapshots_received: u64,
}

/// What a leader knows of one member. From `Node::peers`.
///
/// # Examples
/// ```
/// # use quorate_raft::PeerStats;
/// fn is_falling_behind(peer: &PeerStats) -> bool {
///     !peer.status.active || peer.lag_bytes > 64 << 20
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerStats {
    /// How it is fed, and how far it is.
    pub status: PeerStatus,
    /// Bytes of log that it lacks, in whole writes.
    pub lag_bytes: u64,
}
