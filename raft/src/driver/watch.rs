//! [`Watch`]: who leads, and how far the log is.

use crate::core::{Raft, Role};
use crate::{LogIndex, Membership, Term};
use quorate_transport::NodeId;
use std::sync::Arc;
use tokio::sync::watch;

/// A replica as its watchers see it.
///
/// # Examples
/// ```
/// use quorate_raft::NodeState;
/// assert_eq!(NodeState::default().leader, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeState {
    /// What it does.
    pub role: Role,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: Term,
    /// The commit index.
    pub commit: LogIndex,
    /// Applied to the machine.
    pub applied: LogIndex,
    /// The members, as of the last entry that is applied.
    pub membership: Arc<Membership>,
    /// Entries up to here may have been acknowledged by this node and are lost: it does not vote
    /// before a leader has brought its log past them.
    pub lost: Option<LogIndex>,
    /// Why it stopped, if it did.
    pub stopped: Option<Arc<str>>,
}

impl NodeState {
    /// As it starts.
    pub(super) fn of(raft: &Raft) -> Self {
        let membership = Arc::new(raft.membership().clone());
        Self { membership, ..Self::default() }
    }
}

/// Follows the state of a replica. Sees the newest state, not every one.
///
/// # Examples
/// ```
/// # use quorate_raft::Watch;
/// async fn leader(mut watch: Watch) -> Option<quorate_transport::NodeId> {
///     loop {
///         let state = watch.state();
///         if state.leader.is_some() || !watch.changed().await {
///             return state.leader;
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Watch {
    state: watch::Receiver<NodeState>,
}

impl Watch {
    pub(super) fn new(mut state: watch::Receiver<NodeState>) -> Self {
        // Changes that nobody waited for were not counted.
        state.mark_changed();
        Self { state }
    }

    /// The newest state; [`changed`](Self::changed) waits for another one.
    pub fn state(&mut self) -> NodeState {
        self.state.borrow_and_update().clone()
    }

    /// Waits for a state that was not seen yet; false once the replica is gone.
    ///
    /// # Cancel safety
    /// Dropping the future misses nothing.
    pub async fn changed(&mut self) -> bool {
        self.state.changed().await.is_ok()
    }

    /// Waits until `wanted` holds; `None` if the replica stops first.
    ///
    /// # Cancel safety
    /// Dropping the future misses nothing.
    pub async fn wait_for(&mut self, wanted: impl FnMut(&NodeState) -> bool) -> Option<NodeState> {
        self.state.wait_for(wanted).await.ok().map(|state| state.clone())
    }
}
