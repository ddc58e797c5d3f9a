//! Why a plan was not made, or a report not taken.

use crate::MoveId;
use crate::error::RulesError;
use core::error::Error;
use core::fmt;

/// Why a call on a [`Planner`](crate::Planner) did nothing.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let moves = diff(&table(a)?, &table(b)?)?;
/// let mut planner = Planner::new(&moves, Quorum::Majority, PlanLimits::default())?;
/// planner.source_ready(a);
/// assert!(matches!(planner.done(MoveId::new(9)), Err(PlanError::UnknownMove { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// Effect: nothing changed. There is no such move, or it does not run.
    UnknownMove {
        /// Its id.
        id: MoveId,
        /// How many moves there are.
        moves: usize,
    },
    /// Effect: nothing was made. A limit is out of its range.
    OutOfRange {
        /// The limit.
        name: &'static str,
        /// Its value.
        value: u16,
        /// The least.
        min: u16,
        /// The greatest.
        max: u16,
    },
    /// Effect: nothing was made. Read and write quorums need not meet.
    Quorum(RulesError),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMove { id, moves } => write!(f, "no running move {id} of {moves}"),
            Self::OutOfRange { name, value, min, max } => {
                write!(f, "{name} is {value}, expected {min} to {max}")
            }
            Self::Quorum(error) => error.fmt(f),
        }
    }
}

impl Error for PlanError {}

impl From<RulesError> for PlanError {
    fn from(error: RulesError) -> Self {
        Self::Quorum(error)
    }
}
