//! Moving leadership on purpose (R15). Thesis §3.10.

use super::{Raft, Role};
use crate::error::TransferError;
use crate::message::Body;
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;

impl Raft {
    /// Moves leadership to `to`, or (none) to the active voter whose log is longest. Proposals are
    /// refused meanwhile; after an election timeout without success leadership stays. Naming this
    /// node only aborts a transfer under way.
    ///
    /// # Errors
    /// [`TransferError`]: nothing changed.
    pub fn transfer(
        &mut self,
        now: Monotonic,
        to: Option<NodeId>,
    ) -> Result<NodeId, TransferError> {
        if self.observe(now).is_err() || self.role != Role::Leader {
            return Err(TransferError::NotLeader);
        }
        let to = to.or_else(|| self.best_successor()).ok_or(TransferError::NoTarget)?;
        let i = self.peer_index(to).ok_or(TransferError::Unknown)?;
        if self.peers[i].learner {
            return Err(TransferError::Learner);
        }
        if self.transferee == Some(to) {
            return Ok(to);
        }
        self.transferee = None;
        if to == self.id {
            return Ok(to);
        }
        self.election_start = self.now;
        self.transferee = Some(to);
        if self.peers[i].matched == self.log.last().index {
            self.send_timeout_now(to);
        } else {
            self.send_append(i, true);
        }
        Ok(to)
    }

    /// Who is to lead next, while leadership moves.
    #[must_use]
    pub const fn transferee(&self) -> Option<NodeId> {
        self.transferee
    }

    /// Stops leading: the others elect somebody, perhaps this node again. Does nothing on others.
    pub fn step_down(&mut self, now: Monotonic) {
        if self.observe(now).is_ok() && self.role == Role::Leader {
            self.become_follower(self.term, None);
        }
    }

    /// Asks `to` to campaign at once. Its lease ends with that: voters will break their promises.
    pub(super) fn send_timeout_now(&mut self, to: NodeId) {
        self.give_lease_away();
        self.send(to, Body::TimeoutNow);
    }

    fn best_successor(&self) -> Option<NodeId> {
        let candidates = self.others().filter(|i| self.peers[*i].active && !self.peers[*i].learner);
        candidates.max_by_key(|i| self.peers[*i].matched).map(|i| self.peers[i].id)
    }
}
