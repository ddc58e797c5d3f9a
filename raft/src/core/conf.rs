//! Membership changes (R16–R18). A change is an entry; it comes into force when it is applied, so
//! that its commit is counted in the membership before it. Thesis §4.

use super::{Proposed, Raft, Role};
use crate::conf_change::{ConfChange, ConfOp};
use crate::config::ConfRefusal;
use crate::error::{ConfError, ConfInvalid, StepError};
use crate::membership::Changed;
use crate::message::Body;
use crate::progress::{Progress, ProgressState};
use crate::{EntryBody, LogId, LogIndex, Membership, Proposal, Transition};
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;
use std::collections::VecDeque;

/// What a replica keeps about memberships besides the present one.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// No change is proposed before this is applied: as a leader, the last change it appended, or
    /// the end of the log it began with. // H18 H19
    pub(super) pending: LogIndex,
    /// Memberships before the present one that the log still reaches back to, oldest first.
    former: VecDeque<Membership>,
}

impl Raft {
    /// Appends a change of the membership if this node leads. It is in force, on each replica, once
    /// it is applied there; until then no other change is accepted.
    ///
    /// With `expect` it is refused unless the present membership is the one of that
    /// [`index`](Membership::index), from which the change was computed.
    ///
    /// # Errors
    /// [`ConfError`]: nothing was appended.
    pub fn propose_conf(
        &mut self,
        now: Monotonic,
        change: &ConfChange,
        expect: Option<LogIndex>,
    ) -> Result<Proposed, ConfError> {
        if self.observe(now).is_err() {
            return Err(ConfError::Stopped);
        }
        if self.role != Role::Leader {
            let leader = self.leader.filter(|_| self.role == Role::Follower);
            return match leader {
                Some(leader) if self.config.forward_in_core => {
                    self.send(leader, Body::Propose(Proposal::of_change(change)));
                    Ok(Proposed::Forwarded(leader))
                }
                leader => Err(ConfError::NotLeader { leader }),
            };
        }
        if self.peer_index(self.id).is_none() {
            return Err(ConfError::NotLeader { leader: None });
        }
        if let Some(to) = self.transferee {
            return Err(ConfError::Transferring { to });
        }
        let proposal = match self.check_change(change, expect) {
            Ok(()) => {
                self.changes.pending = self.log.last().index.next();
                Proposal::of_change(change)
            }
            Err(_) if self.config.conf_refusal == ConfRefusal::Noop => self.noop(),
            Err(refusal) => return Err(refusal), // H54
        };
        let range = self.append_own(proposal);
        self.broadcast_append();
        Ok(Proposed::Appended { term: self.term, range })
    }

    /// R16: why `change` cannot be appended now.
    fn check_change(&self, change: &ConfChange, expect: Option<LogIndex>) -> Result<(), ConfError> {
        if !self.config.conf_validation {
            return Ok(());
        }
        let index = self.changes.pending;
        // H18: of two changes under way the second might be decided by a membership that the first
        // has replaced already.
        if index > self.log.applied && !crate::plant::planted("two_changes") {
            return Err(ConfError::Pending { index });
        }
        if self.membership.is_joint() && !change.leaves_joint() {
            return Err(ConfError::Joint);
        }
        if !self.membership.is_joint() && change.leaves_joint() {
            return Err(ConfError::NotJoint);
        }
        let current = self.membership.index;
        if expect.is_some_and(|expected| expected != current) {
            return Err(ConfError::Conflict { current });
        }
        if !change.is_small_enough() {
            return Err(ConfError::Invalid { why: ConfInvalid::TooLarge });
        }
        self.membership.changed(change).map_err(|why| ConfError::Invalid { why })?;
        Ok(())
    }

    /// A change at `index` is reached by application: it is in force from here on. To be called in
    /// order, before [`applied`](Self::applied) says so. Again for an index that is in force
    /// already, it does nothing.
    ///
    /// # Errors
    /// [`ConfInvalid`]: no membership follows, on this and every other replica; nothing changed.
    pub fn activate(
        &mut self,
        now: Monotonic,
        index: LogIndex,
        change: &ConfChange,
    ) -> Result<&Membership, ConfInvalid> {
        if self.observe(now).is_ok() && index > self.membership.index {
            let mut changed = self.membership.changed(change)?;
            changed.membership.index = index;
            self.switch_to(changed);
        }
        Ok(&self.membership)
    }

    /// R18.
    fn switch_to(&mut self, changed: Changed) {
        let Changed { membership, fresh } = changed;
        self.tell_removed(&membership);
        let before = core::mem::replace(&mut self.membership, membership);
        self.changes.former.push_back(before);
        self.change_peers(&fresh);
        if !self.membership.is_voter(self.id) {
            // H22: a leader that was removed or demoted leads on only if it is told to; and a
            // candidate that learns of it from those it asks would win, and lead for ever.
            if self.config.step_down_on_removal && self.role != Role::Follower {
                self.become_follower(self.term, None);
            }
            return;
        }
        if self.role != Role::Leader {
            return;
        }
        if self.advance_commit() {
            self.broadcast_commit();
        } else {
            for i in self.others() {
                self.send_append(i, false);
            }
        }
        if self.transferee.is_some_and(|to| !self.membership.is_voter(to)) {
            self.transferee = None;
        }
        // A smaller quorum may have confirmed them already.
        self.confirm_reads();
    }

    /// Members that the change removes hear that it is committed, as far as they hold the log: the
    /// last they hear, so that they stop campaigning. // H22
    fn tell_removed(&mut self, next: &Membership) {
        if self.role != Role::Leader || self.config.conf_refusal == ConfRefusal::Noop {
            return; // not in the reference implementation
        }
        let commit = self.log.commit;
        for i in self.others() {
            let p = &self.peers[i];
            let (id, follows) = (p.id, p.state == ProgressState::Replicate);
            if follows && !next.contains(id) {
                self.send(id, Body::Commit { index: commit });
            }
        }
    }

    /// Members keep what is known of their logs; of new ones nothing is known.
    fn change_peers(&mut self, fresh: &[NodeId]) {
        let last = self.log.last().index;
        let mut former = core::mem::take(&mut self.peers);
        for id in self.membership.members() {
            let known = former.iter().position(|p| p.id == id && !fresh.contains(&id));
            let learner = !self.membership.is_voter(id);
            let mut peer = match known {
                Some(at) => former.swap_remove(at),
                None => {
                    let mut peer = Progress::new(id, last, learner, &self.config);
                    peer.next = last.max(LogIndex::new(1));
                    // As if heard from, or it would count as silent before it could answer.
                    peer.active = true;
                    peer
                }
            };
            peer.learner = learner;
            self.peers.push(peer);
        }
    }

    /// R18: ends a joint phase that is to end by itself, once the change that began it is applied.
    /// Tried again with each later application, and by whoever leads next. // H20
    pub(super) fn maybe_leave_joint(&mut self) {
        let m = &self.membership;
        let applied = self.log.applied >= self.changes.pending
            || crate::plant::planted("leave_joint_before_applied");
        let leads = self.role == Role::Leader && self.peer_index(self.id).is_some();
        if !(leads && m.is_joint() && m.auto_leave && applied && self.transferee.is_none()) {
            return;
        }
        self.changes.pending = self.log.last().index.next();
        self.append_own(Proposal::of_change(&ConfChange::leave()));
        self.broadcast_append();
    }

    /// Whether a change is committed and not applied: who votes is not known before. // H19
    pub(super) fn has_unapplied_change(&self) -> bool {
        self.log.may_have_change(self.log.applied, self.log.commit)
    }

    pub(super) fn noop(&self) -> Proposal {
        let mut noop = Proposal::new(&self.config.limits);
        let pushed = noop.push(EntryBody::Noop);
        debug_assert!(pushed.is_ok(), "an empty entry fits any block");
        noop
    }

    /// The change that promotes a learner which has caught up, as its promotion asks: at once if it
    /// only adds a voter, through a joint phase if it replaces one. None if there is nothing to
    /// promote, or not now.
    #[must_use]
    pub fn promotion_due(&self, caught_up: impl Fn(LogIndex) -> bool) -> Option<ConfChange> {
        let busy = self.changes.pending > self.log.applied || self.transferee.is_some();
        if self.role != Role::Leader || busy || self.membership.is_joint() {
            return None;
        }
        self.membership.promotions.iter().find_map(|(learner, replaces)| {
            let peer = &self.peers[self.peer_index(*learner)?];
            // Only who has answered is known to have anything.
            let follows = peer.active && peer.state == ProgressState::Replicate;
            if !follows || !caught_up(peer.matched) {
                return None;
            }
            let voter = ConfOp::Voter(*learner, None);
            let replaced = replaces.filter(|old| self.membership.is_voter(*old));
            let change = match replaced {
                Some(old) => ConfChange::new(vec![voter, ConfOp::Remove(old)])
                    .transition(Transition::JointAuto),
                None => ConfChange::new(vec![voter]),
            };
            // One that is refused must not stand in the way of the others.
            self.membership.changed(&change).is_ok().then_some(change)
        })
    }

    /// The members as of `index`, which is applied and not compacted away.
    #[must_use]
    pub fn membership_at(&self, index: LogIndex) -> &Membership {
        if self.membership.index <= index {
            return &self.membership;
        }
        let older = self.changes.former.iter().rev().find(|m| m.index <= index);
        // Older than anything kept: the oldest there is.
        older.or_else(|| self.changes.former.front()).unwrap_or(&self.membership)
    }

    /// The log starts behind `start` now: older memberships are not asked for any more.
    pub(super) fn forget_memberships(&mut self, start: LogIndex) {
        let former = &mut self.changes.former;
        while former.len() > 1 && former[1].index <= start {
            former.pop_front();
        }
        if former.len() == 1 && self.membership.index <= start {
            former.clear();
        }
    }

    /// The group begins, with these members: for a replica that was started without any, because
    /// their disks were not known yet. False, and nothing done, once there are members.
    pub fn found(&mut self, now: Monotonic, membership: Membership) -> bool {
        let blank = self.membership.members().is_empty() && self.log.last() == LogId::ZERO;
        if self.observe(now).is_err() || !blank {
            return false;
        }
        self.membership = membership;
        self.become_follower(self.term, None);
        true
    }

    /// Whether a message of `from` comes from the disk that is known of it; `fold` is what the
    /// message says of its sender's disk.
    ///
    /// # Errors
    /// [`StepError::ForeignStore`]: hand the message to nobody. // H23
    pub fn check_store(&self, from: NodeId, fold: u64) -> Result<(), StepError> {
        match self.membership.stores.get(&from) {
            Some(known) if known.fold() != fold && !crate::plant::planted("any_disk_will_do") => {
                Err(StepError::ForeignStore { from })
            }
            _ => Ok(()),
        }
    }

    /// A snapshot brought this membership.
    pub(super) fn adopt_membership(&mut self, membership: Membership) {
        self.membership = membership;
        self.changes.former.clear();
        self.rebuild_peers();
    }
}
