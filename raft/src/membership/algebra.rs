//! How a membership follows from another (R17). Thesis §4.1 (one at a time) and §4.3 (joint
//! majorities).

use super::{MEMBERS_MAX, Membership};
use crate::conf_change::{ConfChange, ConfOp};
use crate::error::ConfInvalid;
use crate::quorum::VOTERS_MAX;
use quorate_transport::NodeId;
use std::collections::BTreeSet;

/// A membership that follows from another.
///
/// # Examples
/// ```
/// use quorate_raft::{ConfOp, Membership};
/// use quorate_transport::NodeId;
///
/// let [a, b] = [NodeId::new(1), NodeId::new(2)];
/// let changed = Membership::of_voters(&[a]).simple(&[ConfOp::Voter(b, None)]).unwrap();
/// assert_eq!((changed.membership.voters, changed.fresh), (vec![a, b], vec![b]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changed {
    /// The membership after the change.
    pub membership: Membership,
    /// Members about whose logs nothing is known: new ones, and those that were removed and added
    /// by the same change. Ascending.
    pub fresh: Vec<NodeId>,
}

impl Membership {
    /// What `change` makes of this membership: a simple change, or one that enters or leaves the
    /// joint phase.
    ///
    /// # Errors
    /// [`ConfInvalid`]; the change has no effect.
    pub fn changed(&self, change: &ConfChange) -> Result<Changed, ConfInvalid> {
        if change.leaves_joint() {
            self.leave_joint()
        } else if let Some(auto_leave) = change.enters_joint() {
            self.enter_joint(&change.ops, auto_leave)
        } else {
            self.simple(&change.ops)
        }
    }

    /// Changes at most one voter, without a joint phase: any two majorities of the old and the new
    /// voters overlap.
    ///
    /// # Errors
    /// [`ConfInvalid`].
    pub fn simple(&self, ops: &[ConfOp]) -> Result<Changed, ConfInvalid> {
        if self.is_joint() {
            return Err(ConfInvalid::SimpleInJoint);
        }
        let next = self.with_ops(ops)?;
        let (old, new) = (&self.voters, &next.membership.voters);
        let gone = old.iter().filter(|id| !new.contains(id)).count();
        let come = new.iter().filter(|id| !old.contains(id)).count();
        if gone + come > 1 {
            return Err(ConfInvalid::SeveralVoters);
        }
        Ok(next)
    }

    /// Enters the joint phase: decisions need a majority of the present voters and one of those
    /// after `ops`.
    ///
    /// # Errors
    /// [`ConfInvalid`].
    pub fn enter_joint(&self, ops: &[ConfOp], auto_leave: bool) -> Result<Changed, ConfInvalid> {
        if self.is_joint() {
            return Err(ConfInvalid::AlreadyJoint);
        }
        if self.voters.is_empty() {
            return Err(ConfInvalid::JointWithoutVoters);
        }
        let mut joint = self.clone();
        joint.outgoing.clone_from(&self.voters);
        let mut next = joint.with_ops(ops)?;
        next.membership.auto_leave = auto_leave;
        Ok(next)
    }

    /// Leaves the joint phase: only the incoming half decides from here on.
    ///
    /// # Errors
    /// [`ConfInvalid`].
    pub fn leave_joint(&self) -> Result<Changed, ConfInvalid> {
        if !self.is_joint() {
            return Err(ConfInvalid::NotJoint);
        }
        let mut next = self.clone();
        next.outgoing.clear();
        for id in core::mem::take(&mut next.learners_next) {
            insert(&mut next.learners, id);
        }
        next.auto_leave = false;
        next.forget_strangers();
        Ok(Changed { membership: next, fresh: Vec::new() })
    }

    /// Applies `ops` one after the other to the incoming half.
    fn with_ops(&self, ops: &[ConfOp]) -> Result<Changed, ConfInvalid> {
        let mut next = self.clone();
        let mut fresh = BTreeSet::new();
        for op in ops {
            self.check_disk(*op)?;
            if let ConfOp::Promote { learner, .. } = op
                && !next.learners.contains(learner)
            {
                return Err(ConfInvalid::NotLearner);
            }
            let was_member = next.contains(op.node());
            next.apply(*op);
            let is_member = next.contains(op.node());
            if is_member && !was_member {
                fresh.insert(op.node());
            } else if !is_member {
                fresh.remove(&op.node());
            }
        }
        next.forget_strangers();
        if next.voters.is_empty() {
            return Err(ConfInvalid::NoVoters);
        }
        if next.voters.len() > VOTERS_MAX {
            return Err(ConfInvalid::TooManyVoters);
        }
        if next.members().len() > MEMBERS_MAX {
            return Err(ConfInvalid::TooManyMembers);
        }
        Ok(Changed { membership: next, fresh: fresh.into_iter().collect() })
    }

    /// A member keeps its disk, also if the change removes it and adds it again: what the first
    /// disk voted for and acknowledged was counted, and the other knows nothing of it. // H23
    fn check_disk(&self, op: ConfOp) -> Result<(), ConfInvalid> {
        let (ConfOp::Voter(id, Some(store)) | ConfOp::Learner(id, Some(store))) = op else {
            return Ok(());
        };
        match self.stores.get(&id) {
            Some(known) if *known != store => Err(ConfInvalid::OtherDisk),
            _ => Ok(()),
        }
    }

    fn apply(&mut self, op: ConfOp) {
        match op {
            ConfOp::Voter(id, store) => {
                remove(&mut self.learners, id);
                remove(&mut self.learners_next, id);
                insert(&mut self.voters, id);
                self.promotions.remove(&id);
                self.stores.extend(store.map(|store| (id, store)));
            }
            ConfOp::Learner(id, store) => {
                self.stores.extend(store.map(|store| (id, store)));
                if self.learners.contains(&id) {
                    return;
                }
                remove(&mut self.voters, id);
                // A voter of the outgoing half goes on voting there until the joint phase ends.
                if self.outgoing.contains(&id) {
                    insert(&mut self.learners_next, id);
                } else {
                    insert(&mut self.learners, id);
                }
            }
            ConfOp::Remove(id) => {
                remove(&mut self.voters, id);
                remove(&mut self.learners, id);
                remove(&mut self.learners_next, id);
            }
            ConfOp::Promote { learner, replaces } => {
                self.promotions.insert(learner, replaces);
            }
            ConfOp::Update(_) => {}
        }
    }

    /// What is kept about nodes is kept about members only.
    fn forget_strangers(&mut self) {
        let mut stores = core::mem::take(&mut self.stores);
        stores.retain(|id, _| self.contains(*id));
        self.stores = stores;
        let learners = &self.learners;
        self.promotions.retain(|id, _| learners.contains(id));
    }
}

fn insert(ids: &mut Vec<NodeId>, id: NodeId) {
    if let Err(at) = ids.binary_search(&id) {
        ids.insert(at, id);
    }
}

fn remove(ids: &mut Vec<NodeId>, id: NodeId) {
    if let Ok(at) = ids.binary_search(&id) {
        ids.remove(at);
    }
}
