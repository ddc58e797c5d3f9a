//! What a replica will do next, as a hash: the model checker (`tests/it/model.rs`) takes two
//! replicas that hash alike for the same.

use super::Raft;
use crate::SnapshotMeta;
use crate::progress::Progress;
use core::hash::{Hash, Hasher};
use quorate_clocks::Monotonic;

impl Raft {
    /// For model checking: hashes everything that decides what this replica does next. To be asked
    /// when nothing is to be drained. Leases must be off: what was promised is left out.
    ///
    /// Every field is named, so that a new one is a decision: leaving out what has an influence
    /// would hide states from the model checker.
    #[doc(hidden)]
    pub fn hash_behaviour<H: Hasher>(&self, into: &mut H) {
        debug_assert!(!self.has_output(), "what waits to be drained is not hashed");
        let Self {
            // The same for all replicas of a model, or shown by which of them it is.
            config: _,
            id: _,
            group: _,
            // Only how long the next election timeout is: in a model, any time.
            rng: _,
            randomized: _,
            // Only group time, which sessions alone look at.
            appended_at: _,
            // Off.
            lease: _,
            // Drained.
            out: _,
            // Below, as differences: a clock that is read later behaves the same.
            now: _,
            election_start,
            heartbeat_start,
            term,
            vote,
            role,
            leader,
            log,
            membership,
            peers,
            votes,
            transferee,
            changes,
            uncommitted_bytes,
            lost,
            verified,
            backlog,
            reads,
            snapshot,
            stopped,
        } = self;
        (term, vote, role, leader, votes, transferee, uncommitted_bytes, verified).hash(into);
        (lost, stopped.is_some(), backlog.withholds()).hash(into);
        log.hash_behaviour(into);
        (membership.index, &membership.voters, &membership.outgoing).hash(into);
        (&membership.learners, &membership.learners_next, membership.auto_leave).hash(into);
        membership.promotions.hash(into);
        changes.pending.hash(into);
        reads.hash_behaviour(into);
        snapshot.as_ref().map(place).hash(into);
        let t = self.config.election_timeout;
        self.since(*election_start, t).hash(into);
        self.since(*heartbeat_start, self.config.heartbeat_interval).hash(into);
        for peer in peers {
            self.hash_peer(peer, into);
        }
    }

    fn hash_peer<H: Hasher>(&self, peer: &Progress, into: &mut H) {
        let Progress {
            id,
            matched,
            next,
            state,
            pending_snapshot,
            active,
            paused,
            nudged_at,
            inflights,
            sent_commit,
            read,
            load,
            learner,
            // Off.
            promised_until: _,
        } = peer;
        (id, matched, next, state, pending_snapshot, active, paused).hash(into);
        (inflights, sent_commit, read, load, learner).hash(into);
        self.since(*nudged_at, self.config.heartbeat_interval).hash(into);
    }

    /// How long ago; beyond `limit` nobody cares.
    fn since(&self, then: Monotonic, limit: core::time::Duration) -> core::time::Duration {
        self.now.since(then).min(limit)
    }
}

const fn place(meta: &SnapshotMeta) -> (crate::LogId, crate::LogIndex) {
    (meta.last, meta.membership.index)
}
