//! The commit index (R14, 5.2) and what follows from application.

use super::{AppendToken, ApplyToken, Raft, Role};
use crate::{LogId, LogIndex, Term, quorum};
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;

impl Raft {
    /// R14: commits what a quorum holds, if it is of this term. // H1
    pub(super) fn advance_commit(&mut self) -> bool {
        let m = &self.membership;
        let counts_itself = crate::plant::planted("removed_leader_counts");
        let (find, last) = (self.peers_in_order(), self.log.last().index);
        let matched = move |id: NodeId| match find(id) {
            Some(p) => p.matched.value(),
            None if counts_itself => last.value(),
            None => 0,
        };
        // A leader that is no voter any more does not count itself. // H22
        let with_itself: Vec<NodeId>;
        let voters = if counts_itself {
            with_itself = [&m.voters[..], &[self.id]].concat();
            &with_itself
        } else {
            &m.voters
        };
        let joint =
            if crate::plant::planted("joint_counts_as_simple") { &[] } else { &m.outgoing[..] };
        let Some(index) = quorum::committed(voters, joint, matched) else {
            return false;
        };
        let index = LogIndex::new(index);
        let own_term =
            self.log.term(index) == Some(self.term) || crate::plant::planted("commit_older_term");
        if index <= self.log.commit || !own_term {
            return false;
        }
        self.log.commit = index;
        self.release_deferred_reads();
        true
    }

    pub(super) fn commit_to(&mut self, index: LogIndex) {
        debug_assert!(index <= self.log.last().index, "only entries that are held are committed");
        self.log.commit = self.log.commit.max(index.min(self.log.last().index));
    }

    /// A vote told that `id` is committed: it is here too if this log holds it. // H19
    pub(super) fn learn_commit(&mut self, id: LogId) {
        if id.term > Term::ZERO && self.log.contains(id) {
            self.commit_to(id.index);
        }
    }

    pub(super) fn committed_in_own_term(&self) -> bool {
        self.role == Role::Leader && self.log.term(self.log.commit) == Some(self.term)
    }

    /// A write of [`Append`](super::Append) is durable; in the order in which they were handed out.
    /// (R20)
    pub fn appended(&mut self, now: Monotonic, token: AppendToken) {
        if self.observe(now).is_err() {
            return;
        }
        // H6: entries of a token from an older term may have been replaced since, by entries that
        // only look the same; their own token will come.
        let ours = (token.term == self.term && self.log.contains(token.last))
            || crate::plant::planted("stale_token_counts");
        if ours {
            self.log.durable = self.log.durable.max(token.last.index.min(self.log.handed));
        }
        self.lease.written(token.promise);
        let installed = self.log.pending_snapshot.as_ref().map(|s| s.last.index);
        if let Some(snapshot) = token.snapshot
            && installed == Some(snapshot)
        {
            self.snapshot = self.log.pending_snapshot.take();
            self.log.applying = self.log.applying.max(snapshot);
            self.log.applied = self.log.applied.max(snapshot);
        }
        self.end_recovery();
        self.resume_acknowledging(); // a snapshot may have replaced what waited
        self.log.evict(self.config.log_cache_bytes);
    }

    /// A batch of [`Apply`](super::Apply) was applied; in the order in which they were handed out.
    pub fn applied(&mut self, now: Monotonic, token: ApplyToken) {
        if self.observe(now).is_err() {
            return;
        }
        self.log.applied = self.log.applied.max(token.to);
        self.out.applying_bytes = self.out.applying_bytes.saturating_sub(token.bytes);
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(token.charge);
        self.maybe_leave_joint();
        self.resume_acknowledging();
        self.log.evict(self.config.log_cache_bytes);
    }
}
