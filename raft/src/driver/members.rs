//! [`Members`]: who belongs to the group, and changes of that, from any node.

use super::changes::Asked;
use super::watch::NodeState;
use super::{Command, Node};
use crate::conf_change::{ConfChange, ConfOp};
use crate::error::{ConfError, ConfInvalid};
use crate::machine::StateMachine;
use crate::{LogIndex, Membership, StoreId};
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;
use std::sync::Arc;
use tokio::sync::oneshot;

const ALREADY_VOTES: ConfError = ConfError::Invalid { why: ConfInvalid::AlreadyVotes };
const NOT_VOTER: ConfError = ConfError::Invalid { why: ConfInvalid::NotVoter };
const NOT_LEARNER: ConfError = ConfError::Invalid { why: ConfInvalid::NotLearner };

/// The members of a group. From [`Node::members`].
///
/// A change that was accepted goes on even if the node that asked for it is gone: whoever leads
/// promotes learners that are to be promoted, and ends joint phases that are to end by themselves.
///
/// # Examples
/// ```
/// # use quorate_raft::{ConfError, Node, StateMachine};
/// # use quorate_transport::NodeId;
/// /// The disk of `broken` is gone; a new machine takes its place without a gap in availability.
/// async fn repair<M: StateMachine>(node: &Node<M>, broken: NodeId) -> Result<(), ConfError> {
///     node.members().replace(broken, NodeId::new(4)).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Members<'a, M> {
    node: &'a Node<M>,
}

impl<M> Clone for Members<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Members<'_, M> {}

impl<M: StateMachine> Node<M> {
    /// The members, and changes of them.
    #[must_use]
    pub const fn members(&self) -> Members<'_, M> {
        Members { node: self }
    }
}

impl<M: StateMachine> Members<'_, M> {
    /// The members, as of the last entry that is applied here.
    #[must_use]
    pub fn now(self) -> Arc<Membership> {
        Arc::clone(&self.node.shared.state.borrow().membership)
    }

    /// Adds `node` as a learner: it receives the log and does not vote. It must be running, as a
    /// node without founders, and answer: its disk is recorded, and from then on it is the only one
    /// it may come back with. One that is a learner already stays what it is.
    ///
    /// # Errors
    /// [`ConfError`]; [`ConfError::Unreachable`] if it does not answer; [`ConfError::Invalid`] if
    /// it votes: [`change`](Self::change) can demote it.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the change done.
    pub async fn add_learner(self, node: NodeId) -> Result<LogIndex, ConfError> {
        let store = self.disk_of(node).await?;
        let learner = ConfChange::new(vec![ConfOp::Learner(node, Some(store))]);
        self.insist(|m| if m.is_voter(node) { Err(ALREADY_VOTES) } else { Ok(learner.clone()) })
            .await
    }

    /// Makes the learner `node` a voter, once its log lacks less than `promote_lag`. Waits for that
    /// for `conf_timeout`. One that votes already stays what it is.
    ///
    /// # Errors
    /// [`ConfError`]; [`ConfError::Invalid`] if it is no member; after [`ConfError::TimedOut`] it
    /// is still promoted when it has caught up.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the promotion to whoever leads.
    pub async fn promote(self, node: NodeId) -> Result<LogIndex, ConfError> {
        let promote = ConfChange::new(vec![ConfOp::Promote { learner: node, replaces: None }]);
        match self.insist(|_| Ok(promote.clone())).await {
            Ok(_) => {}
            // As an earlier call wanted.
            Err(NOT_LEARNER) if self.now().voters.contains(&node) => {}
            Err(refusal) => return Err(refusal),
        }
        self.until(|m| m.voters.contains(&node) && !m.is_joint()).await
    }

    /// Removes `node`, whether it votes or not.
    ///
    /// # Errors
    /// [`ConfError`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave the change done.
    pub async fn remove(self, node: NodeId) -> Result<LogIndex, ConfError> {
        let remove = ConfChange::new(vec![ConfOp::Remove(node)]);
        self.insist(|_| Ok(remove.clone())).await
    }

    /// Puts `new` in the place of the voter `old`: it becomes a learner, catches up, and takes over
    /// in a joint phase, so that at no time fewer voters are there than before. Waits for
    /// `conf_timeout`.
    ///
    /// # Errors
    /// [`ConfError`]; [`ConfError::Invalid`] if `old` does not vote; after [`ConfError::TimedOut`]
    /// it goes on by itself.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest to whoever leads.
    pub async fn replace(self, old: NodeId, new: NodeId) -> Result<LogIndex, ConfError> {
        if self.now().voters.contains(&new) {
            return self.remove(old).await; // an earlier call has come so far
        }
        let store = self.disk_of(new).await?;
        let learner = ConfOp::Learner(new, Some(store));
        let promote = ConfOp::Promote { learner: new, replaces: Some(old) };
        let change = ConfChange::new(vec![learner, promote]);
        let plan = |m: &Membership| match (m.is_voter(old), m.is_voter(new)) {
            (_, true) => Err(ALREADY_VOTES),
            (false, _) => Err(NOT_VOTER),
            (true, false) => Ok(change.clone()),
        };
        self.insist(plan).await?;
        let done = |m: &Membership| m.voters.contains(&new) && !m.is_voter(old) && !m.is_joint();
        self.until(done).await
    }

    /// Any change. With `expect` it is refused unless the membership is the one of that
    /// [`index`](Membership::index). Returns where the change stands, which is the index of the new
    /// membership, once it is in force here; the end of a joint phase may follow.
    ///
    /// # Errors
    /// [`ConfError`]. After [`ConfError::Unknown`] look at [`now`](Self::now).
    ///
    /// # Cancel safety
    /// Dropping the future may leave the change done.
    pub async fn change(
        self,
        change: ConfChange,
        expect: Option<LogIndex>,
    ) -> Result<LogIndex, ConfError> {
        let (answer, outcome) = oneshot::channel();
        let deadline = self.node.deadline();
        let asked = Asked { change, expect, deadline, answer };
        let sent = self.node.shared.commands.send(Command::Change(asked)).await;
        sent.map_err(|_| ConfError::Stopped)?;
        // Dropped while the leader was being asked: it may have been appended.
        outcome.await.unwrap_or(Err(ConfError::Unknown))
    }

    /// Asks until the change is accepted or refused for good: other changes may be under way, and
    /// leadership may be moving. What is planned from the members as they are here is accepted only
    /// if they are the same where it is decided; else it is planned anew.
    async fn insist(
        self,
        plan: impl Fn(&Membership) -> Result<ConfChange, ConfError>,
    ) -> Result<LogIndex, ConfError> {
        let deadline = self.node.deadline();
        loop {
            let now = self.now();
            let refusal = match self.change(plan(&now)?, Some(now.index)).await {
                Err(ConfError::Conflict { current }) => ConfError::Conflict { current },
                Err(refusal) if refusal.is_retryable() => refusal,
                outcome => return outcome,
            };
            if self.node.runtime().now() >= deadline {
                return Err(refusal);
            }
            match refusal {
                ConfError::Joint => self.wait(deadline, |s| !s.membership.is_joint()).await,
                ConfError::Pending { index } | ConfError::Conflict { current: index } => {
                    self.wait(deadline, |s| s.applied >= index).await;
                }
                _ => self.pause().await,
            }
        }
    }

    /// Waits until the members here are as wanted.
    async fn until(self, wanted: impl Fn(&Membership) -> bool) -> Result<LogIndex, ConfError> {
        let limit = self.node.shared.config.conf_timeout;
        let deadline = self.node.runtime().now().saturating_add(limit);
        self.wait(deadline, |s| wanted(&s.membership)).await;
        let state = self.node.state();
        if wanted(&state.membership) {
            return Ok(state.membership.index);
        }
        Err(if state.stopped.is_some() { ConfError::Stopped } else { ConfError::TimedOut })
    }

    async fn wait(self, deadline: Monotonic, wanted: impl Fn(&NodeState) -> bool) {
        let mut state = self.node.shared.state.clone();
        let limit = deadline.since(self.node.runtime().now());
        let reached = state.wait_for(|s| wanted(s) || s.stopped.is_some());
        // In time or not: whoever waits looks again.
        let _ = quorate_transport::timeout(&**self.node.runtime(), limit, reached).await;
        // What is in force here may not be yet where the change is decided.
        self.pause().await;
    }

    async fn pause(self) {
        let interval = self.node.shared.config.heartbeat_interval;
        quorate_transport::sleep(&**self.node.runtime(), interval).await;
    }

    async fn disk_of(self, node: NodeId) -> Result<StoreId, ConfError> {
        let (answer, outcome) = oneshot::channel();
        let command = Command::DiskOf { node, answer };
        let sent = self.node.shared.commands.send(command).await;
        sent.map_err(|_| ConfError::Stopped)?;
        let known: Result<StoreId, Arc<str>> = outcome.await.map_err(|_| ConfError::Stopped)?;
        known.map_err(|why| ConfError::Unreachable { node, why })
    }
}
