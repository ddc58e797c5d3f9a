//! [`Membership`]: who votes and who listens. How it changes: `membership/algebra.rs`.

mod algebra;

use crate::{LogIndex, StoreId};
use quorate_transport::NodeId;
use std::collections::BTreeMap;

pub use algebra::Changed;

/// Most members of a group, learners included.
pub const MEMBERS_MAX: usize = 64;

/// The members of a group, as of one entry of its log.
///
/// # Shape
/// Every list is sorted and without duplicates. `learners` and the two halves are disjoint;
/// `learners_next` is a part of `outgoing`.
///
/// # Examples
/// ```
/// use quorate_raft::Membership;
/// use quorate_transport::NodeId;
///
/// let m = Membership::of_voters(&[NodeId::new(3), NodeId::new(1), NodeId::new(3)]);
/// assert_eq!(m.voters, [NodeId::new(1), NodeId::new(3)]);
/// assert!(m.is_voter(NodeId::new(3)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Membership {
    /// The entry that made it; zero for the founders.
    pub index: LogIndex,
    /// Voters of the incoming half.
    pub voters: Vec<NodeId>,
    /// Voters of the outgoing half while a change is joint, else empty.
    pub outgoing: Vec<NodeId>,
    /// Members that receive the log and do not vote.
    pub learners: Vec<NodeId>,
    /// Voters of the outgoing half that become learners when the joint phase ends.
    pub learners_next: Vec<NodeId>,
    /// The joint phase ends by itself.
    pub auto_leave: bool,
    /// Learners that whoever leads promotes once they have caught up, and whom each replaces.
    pub promotions: BTreeMap<NodeId, Option<NodeId>>,
    /// The disks of members that are known: a message from another one is refused. // H23
    pub stores: BTreeMap<NodeId, StoreId>,
}

impl Membership {
    /// A group of these voters.
    #[must_use]
    pub fn of_voters(voters: &[NodeId]) -> Self {
        Self { voters: sorted(voters), ..Self::default() }
    }

    /// The same group with these learners.
    #[must_use]
    pub fn with_learners(mut self, learners: &[NodeId]) -> Self {
        self.learners = sorted(learners);
        self
    }

    /// The same group with these disks.
    #[must_use]
    pub fn with_stores(mut self, stores: impl IntoIterator<Item = (NodeId, StoreId)>) -> Self {
        self.stores = stores.into_iter().collect();
        self
    }

    /// Whether `id` votes in either half.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether `id` receives the log.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Whether a change is in its joint phase: two majorities decide.
    #[must_use]
    pub const fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether nobody is a member.
    pub(crate) const fn is_empty(&self) -> bool {
        self.voters.is_empty() && self.outgoing.is_empty() && self.learners.is_empty()
    }

    /// Every member once, ascending.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        let lists = [&self.voters, &self.outgoing, &self.learners];
        sorted(&lists.into_iter().flatten().copied().collect::<Vec<_>>())
    }

    /// Every voter of either half once, ascending.
    #[must_use]
    pub fn all_voters(&self) -> Vec<NodeId> {
        sorted(&[&self.voters[..], &self.outgoing[..]].concat())
    }
}

fn sorted(ids: &[NodeId]) -> Vec<NodeId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}
