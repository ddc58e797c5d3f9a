//! Why a transition did not begin or go on.

use crate::error::{BuildError, RulesError};
use crate::{Digest, Epoch, MoveId, Partition, Stage};
use core::error::Error;
use core::fmt;

/// Why a call on a [`Transition`](crate::Transition) did nothing.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let view = View::initial(table(a)?);
/// let mut transition = Transition::begin(&view, table(b)?, Quorum::Majority)?;
/// let copying = transition.poll_view().expect("the first view");
/// let again = Transition::begin(&copying, table(b)?, Quorum::Majority);
/// assert!(matches!(again, Err(TransitionError::Busy { stage: Stage::Copying, .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransitionError {
    /// Effect: nothing has begun. Another change is under way: resume, finish or abort it first.
    Busy {
        /// Where it stands.
        stage: Stage,
        /// The epoch of the view.
        epoch: Epoch,
    },
    /// Effect: nothing has begun. The epochs have come to their end, 2^62.
    EpochsExhausted {
        /// The epoch of the view.
        epoch: Epoch,
    },
    /// Effect: nothing has begun. A row would get shorter: it could miss writes of the longer one.
    RowShrinks {
        /// The partition.
        partition: Partition,
    },
    /// Effect: nothing has begun. The two tables do not fit together.
    Mismatch {
        /// In what.
        what: &'static str,
        /// What the view has.
        have: u64,
        /// What the next table has.
        wanted: u64,
    },
    /// Effect: nothing changed. The transition has finished, or its last view was offered.
    Finished {
        /// The epoch of the newest committed view.
        epoch: Epoch,
    },
    /// Effect: nothing changed. The view is not the one that was offered.
    NotOffered {
        /// Its epoch.
        epoch: Epoch,
        /// Its digest.
        digest: Digest,
    },
    /// Effect: nothing changed. There is no such move.
    UnknownMove {
        /// Its id.
        id: MoveId,
        /// How many moves there are.
        moves: usize,
    },
    /// Effect: nothing changed. Nothing can have been copied yet: no `Copying` view was committed.
    NotCopying {
        /// The epoch of the newest committed view.
        epoch: Epoch,
    },
    /// Effect: nothing has begun. The old rows cannot stand over the new topology.
    Build(BuildError),
    /// Effect: nothing has begun. Read and write quorums need not meet.
    Quorum(RulesError),
}

impl TransitionError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::NotCopying { .. })
    }
}

impl fmt::Display for TransitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { stage, epoch } => write!(f, "a change is {stage} at epoch {epoch}"),
            Self::EpochsExhausted { epoch } => write!(f, "no epoch is left after {epoch}"),
            Self::RowShrinks { partition } => write!(f, "the row of partition {partition} shrinks"),
            Self::Mismatch { what, have, wanted } => {
                write!(f, "the view has {what} {have}, the next table {wanted}")
            }
            Self::Finished { epoch } => write!(f, "the transition ended at epoch {epoch}"),
            Self::NotOffered { epoch, digest } => {
                write!(f, "view {epoch} ({digest}) was not offered")
            }
            Self::UnknownMove { id, moves } => write!(f, "move {id} of {moves}"),
            Self::NotCopying { epoch } => {
                write!(f, "no copying at epoch {epoch}")
            }
            Self::Build(error) => error.fmt(f),
            Self::Quorum(error) => error.fmt(f),
        }
    }
}

impl Error for TransitionError {}

impl From<BuildError> for TransitionError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<RulesError> for TransitionError {
    fn from(error: RulesError) -> Self {
        Self::Quorum(error)
    }
}
