//! [`Membership`]: who votes and who listens.

use quorate_transport::NodeId;

/// The members of a group. `outgoing`, `learners` and `learners_next` are part of the format and of
/// all quorum arithmetic; this version starts groups with voters and does not change them.
///
/// # Shape
/// Every list is sorted and without duplicates.
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
