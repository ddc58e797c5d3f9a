//! Why the next view could not be made.

use crate::error::BuildError;
use crate::{Epoch, Partition, Stage};
use core::error::Error;
use core::fmt;

/// Why [`View::replace_rows`](crate::View::replace_rows), [`View::doubled`](crate::View::doubled)
/// or [`View::rebased`](crate::View::rebased) made nothing. The view is as it was.
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
/// let rows = [(Partition::new(7), vec![b])];
/// assert!(matches!(view.replace_rows(&rows), Err(ViewError::UnknownPartition { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewError {
    /// Effect: nothing was made. A transition is under way; finish or abort it first.
    NotSettled {
        /// Where it stands.
        stage: Stage,
        /// The epoch of the view.
        epoch: Epoch,
    },
    /// Effect: nothing was made. The table has no such partition.
    UnknownPartition {
        /// The partition.
        partition: Partition,
        /// How many there are.
        partitions: u32,
    },
    /// Effect: nothing was made. Two rows were given for one partition.
    PartitionTwice {
        /// The partition.
        partition: Partition,
    },
    /// Effect: nothing was made. The epochs have come to their end, 2^62: the view was not made by
    /// counting up, and the store that it came from should be looked at.
    EpochsExhausted {
        /// The epoch of the view.
        epoch: Epoch,
    },
    /// Effect: nothing was made. The table cannot be built.
    Build(BuildError),
}

impl ViewError {
    /// Whether the same call can succeed once the transition under way has ended.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::NotSettled { .. })
    }
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSettled { stage, epoch } => {
                write!(f, "a change is under way: {stage} at epoch {epoch}")
            }
            Self::UnknownPartition { partition, partitions } => {
                write!(f, "partition {partition} of {partitions}")
            }
            Self::PartitionTwice { partition } => write!(f, "partition {partition} given twice"),
            Self::EpochsExhausted { epoch } => write!(f, "no epoch is left after {epoch}"),
            Self::Build(error) => error.fmt(f),
        }
    }
}

impl Error for ViewError {}

impl From<BuildError> for ViewError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}
