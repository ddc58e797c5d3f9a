//! Why a view was not installed, or a request not admitted.

use crate::{Digest, Epoch};
use core::error::Error;
use core::fmt;

/// Why a request was not let in. Nothing happened to the store.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let gate = Gate::new(b, View::initial(table(a)?));
/// let here = gate.admit(Partition::new(0), Epoch::new(1)).unwrap_err();
/// assert_eq!(here, Reject::NotHere { have: Epoch::new(1) });
/// let ahead = gate.admit(Partition::new(0), Epoch::new(2)).unwrap_err();
/// assert_eq!(ahead, Reject::Ahead { have: Epoch::new(1) });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reject {
    /// Effect: nothing happened. The coordinator goes by an older row: it needs a view of at least
    /// this epoch, and may try again with it.
    Stale {
        /// The epoch of the row here.
        have: Epoch,
    },
    /// Effect: nothing happened. This node goes by an older row: it should fetch the view of the
    /// coordinator or a newer one, and the same request may be tried again then.
    Ahead {
        /// The epoch of the row here.
        have: Epoch,
    },
    /// Effect: nothing happened. The row of this epoch does not name this node: the request went
    /// to the wrong one.
    NotHere {
        /// The epoch of the row here.
        have: Epoch,
    },
}

impl Reject {
    /// Whether the same operation can succeed once the one who is behind has a newer view.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Stale { .. } | Self::Ahead { .. })
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { have } => write!(f, "the request is older than epoch {have} of the row"),
            Self::Ahead { have } => write!(f, "the request is newer than epoch {have} of the row"),
            Self::NotHere { have } => write!(f, "the row of epoch {have} does not name this node"),
        }
    }
}

impl Error for Reject {}

/// Why a view was not installed. The installed one stays.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let old = View::initial(table(a)?);
/// let gate = Gate::new(a, old.doubled()?);
/// let (have, given) = (Epoch::new(2), Epoch::new(1));
/// assert_eq!(gate.install(old).unwrap_err(), InstallError::Stale { have, given });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstallError {
    /// Effect: nothing changed. The view is older than the installed one; drop it.
    Stale {
        /// The epoch here.
        have: Epoch,
        /// The epoch of the view.
        given: Epoch,
    },
    /// Effect: nothing changed. One epoch has two contents: views were published that were not
    /// committed in one order (O1). An operator has to find out which one is right (H18).
    Conflict {
        /// The epoch.
        epoch: Epoch,
        /// The digest here.
        have: Digest,
        /// The digest of the view.
        given: Digest,
    },
    /// Effect: nothing changed. The view follows by number and was made from another one: as for
    /// `Conflict`, an operator has to find out why.
    Fork {
        /// The epoch of the view.
        epoch: Epoch,
        /// The digest here.
        have: Digest,
        /// What the view was made from.
        parent: Option<Digest>,
    },
}

impl InstallError {
    /// Whether an operator is needed: views contradict each other.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Fork { .. })
    }
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { have, given } => write!(f, "view {given} is older than {have}"),
            Self::Conflict { epoch, have, given } => {
                write!(f, "view {epoch} is {have} here, another one is {given}")
            }
            Self::Fork { epoch, have, parent: Some(parent) } => {
                write!(f, "view {epoch} was made from {parent}, here is {have}")
            }
            Self::Fork { epoch, have, parent: None } => {
                write!(f, "view {epoch} was made from nothing, here is {have}")
            }
        }
    }
}

impl Error for InstallError {}
