//! [`Progress`]: what a leader knows of one member's log, and how eagerly it sends.

use crate::inflight::Inflights;
use crate::{Config, LogIndex};
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;

/// How a leader feeds a member.
///
/// # Examples
/// ```
/// use quorate_raft::ProgressState;
/// assert_ne!(ProgressState::Probe, ProgressState::Replicate);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProgressState {
    /// One append at a time until the logs are known to agree somewhere.
    Probe,
    /// A stream of appends, bounded by the in-flight limits.
    Replicate,
    /// Nothing: a snapshot is on its way.
    Snapshot,
}

#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) id: NodeId,
    pub(crate) matched: LogIndex,
    pub(crate) next: LogIndex,
    pub(crate) state: ProgressState,
    pub(crate) pending_snapshot: LogIndex,
    /// Heard from since the last check for a quorum.
    pub(crate) active: bool,
    pub(crate) paused: bool,
    /// When it was last probed, or sent to because it answered a heartbeat.
    pub(crate) nudged_at: Monotonic,
    pub(crate) inflights: Inflights,
    /// Highest commit index this member was told.
    pub(crate) sent_commit: LogIndex,
    /// Highest read position this member echoed in this term.
    pub(crate) read: u64,
    /// Until when, by the leader's clock, this member has promised it not to vote; zero: never.
    pub(crate) promised_until: Monotonic,
    /// A load of blocks from the store is under way for this member.
    pub(crate) load: Option<u64>,
    pub(crate) learner: bool,
}

impl Progress {
    /// A member as a new leader sees it: nothing known, probing from the end of its own log.
    pub(crate) fn new(id: NodeId, last: LogIndex, learner: bool, config: &Config) -> Self {
        Self {
            id,
            matched: LogIndex::ZERO,
            next: last.next(),
            state: ProgressState::Probe,
            pending_snapshot: LogIndex::ZERO,
            active: false,
            paused: false,
            nudged_at: Monotonic::ZERO,
            inflights: Inflights::new(config.inflight_messages_max, config.inflight_bytes_max),
            sent_commit: LogIndex::ZERO,
            read: 0,
            promised_until: Monotonic::ZERO,
            load: None,
            learner,
        }
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.paused || matches!(self.state, ProgressState::Snapshot) || self.load.is_some()
    }

    fn set_state(&mut self, state: ProgressState) {
        self.paused = false;
        self.pending_snapshot = LogIndex::ZERO;
        self.state = state;
        self.inflights.clear();
        self.load = None;
    }

    pub(crate) fn become_probe(&mut self) {
        // A snapshot that arrived moves the next index behind it even if its acknowledgement was
        // lost.
        let next = if self.state == ProgressState::Snapshot {
            self.matched.next().max(self.pending_snapshot.next())
        } else {
            self.matched.next()
        };
        self.set_state(ProgressState::Probe);
        self.next = next;
        self.sent_commit = self.sent_commit.min(next.prev());
    }

    pub(crate) fn become_replicate(&mut self) {
        self.set_state(ProgressState::Replicate);
        self.next = self.matched.next();
    }

    pub(crate) fn become_snapshot(&mut self, index: LogIndex) {
        self.set_state(ProgressState::Snapshot);
        self.pending_snapshot = index;
        self.next = index.next();
        self.sent_commit = index;
    }

    /// An append with `last` as its last entry (none: empty) and `bytes` of blocks went out.
    pub(crate) fn sent(&mut self, last: Option<LogIndex>, bytes: u64) {
        match self.state {
            ProgressState::Replicate => {
                if let Some(last) = last {
                    self.next = last.next();
                    self.inflights.add(last, bytes);
                }
                self.paused = self.inflights.is_full();
            }
            ProgressState::Probe => self.paused |= last.is_some(),
            ProgressState::Snapshot => debug_assert!(false, "nothing is sent beside a snapshot"),
        }
    }

    /// The member holds everything up to `index`. True if that is news.
    pub(crate) fn advance(&mut self, index: LogIndex) -> bool {
        if index <= self.matched {
            return false;
        }
        self.matched = index;
        self.next = self.next.max(index.next());
        self.paused = false;
        true
    }

    /// The member refused an append after `rejected`; `probe` is where to try next. False if the
    /// refusal is stale. (R11) // H3 H7
    pub(crate) fn reject(&mut self, rejected: LogIndex, probe: LogIndex) -> bool {
        if self.state == ProgressState::Replicate {
            if rejected <= self.matched && !crate::plant::planted("stale_refusal_counts") {
                return false;
            }
            self.next = self.matched.next();
        } else {
            if self.next.prev() != rejected {
                return false;
            }
            self.next = rejected.min(probe.next()).max(self.matched.next());
            self.paused = false;
            self.load = None;
        }
        self.sent_commit = self.sent_commit.min(self.next.prev());
        true
    }
}
