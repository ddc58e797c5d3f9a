//! What goes wrong with key ranges.

use super::KeyRange;
use crate::{Epoch, RangeId};
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

/// Why a [`RangeMap`](crate::RangeMap) was not changed, or a cache not made.
///
/// # Examples
/// ```
/// use quorate_hashring::{Epoch, NodeId, RangeError, RangeId, RangeMap};
///
/// let map = RangeMap::new(RangeId::new(1), &[NodeId::new(1)])?;
/// let refused = map.split(RangeId::new(1), Epoch::new(9), b"m", RangeId::new(2));
/// let have = map.locate(b"m").epoch;
/// assert_eq!(refused.unwrap_err(), RangeError::WrongEpoch { id: RangeId::new(1), have });
/// # Ok::<(), RangeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RangeError {
    /// Effect: none. No range has this id: it was merged away, or never was. Look the key up again.
    Unknown {
        /// The id asked for.
        id: RangeId,
    },
    /// Effect: none. The range changed meanwhile. Look at it again, then decide again.
    WrongEpoch {
        /// The range.
        id: RangeId,
        /// Its epoch.
        have: Epoch,
    },
    /// Effect: none. A split needs a key inside the range and behind its start.
    OutOfRange {
        /// The range.
        id: RangeId,
    },
    /// Effect: none. Another range has this id; ids are not used twice.
    IdInUse {
        /// The id wanted for the right half.
        id: RangeId,
    },
    /// Effect: none. The second range does not begin where the first one ends.
    NotAdjacent {
        /// The left one.
        left: RangeId,
        /// The right one.
        right: RangeId,
    },
    /// Effect: none. The ranges are on different nodes: [`reassign`](crate::RangeMap::reassign) one
    /// of them, let its data move, then merge (H41).
    ReplicasDiffer {
        /// The left one.
        left: RangeId,
        /// The right one.
        right: RangeId,
    },
    /// Effect: none. A node is named twice as replica of one range.
    DuplicateReplica {
        /// The range.
        id: RangeId,
    },
    /// Effect: none. The epoch of the range cannot rise any more: it was made up by somebody.
    EpochsExhausted {
        /// The range.
        id: RangeId,
    },
    /// Effect: none. A number is beyond its limit.
    Limit {
        /// Of what.
        name: &'static str,
        /// The number.
        value: u64,
        /// The least allowed.
        min: u64,
        /// The greatest allowed.
        max: u64,
    },
}

impl RangeError {
    /// Whether looking at the map again and deciding again can help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::WrongEpoch { .. })
    }

    /// An error if the number is beyond its limits.
    pub(crate) fn check(name: &'static str, value: usize, min: u64, max: u64) -> Result<(), Self> {
        let value = value as u64;
        if (min..=max).contains(&value) {
            return Ok(());
        }
        Err(Self::Limit { name, value, min, max })
    }
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { id } => write!(f, "no range has id {id}"),
            Self::WrongEpoch { id, have } => write!(f, "range {id} is at epoch {have}"),
            Self::OutOfRange { id } => {
                write!(f, "the key to split range {id} at is not inside it")
            }
            Self::IdInUse { id } => write!(f, "id {id} is in use by another range"),
            Self::NotAdjacent { left, right } => {
                write!(f, "range {right} does not begin where range {left} ends")
            }
            Self::ReplicasDiffer { left, right } => {
                write!(f, "ranges {left} and {right} are on different nodes")
            }
            Self::DuplicateReplica { id } => {
                write!(f, "a node is named twice as replica of range {id}")
            }
            Self::EpochsExhausted { id } => write!(f, "the epoch of range {id} cannot rise"),
            Self::Limit { name, value, min, max } => {
                write!(f, "{name} is {value}, not between {min} and {max}")
            }
        }
    }
}

impl Error for RangeError {}

/// The answer to a request that named a range as it is no more: what the client should learn.
///
/// # Examples
/// ```
/// use quorate_hashring::{NodeId, RangeError, RangeId, RangeMap};
///
/// let map = RangeMap::new(RangeId::new(1), &[NodeId::new(1)])?;
/// let old = map.locate(b"x").epoch;
/// let map = map.split(RangeId::new(1), old, b"m", RangeId::new(2))?;
/// let stale = map.check(b"x", RangeId::new(1), old).unwrap_err();
/// assert_eq!(stale.fresh.len(), 2); // both halves
/// # Ok::<(), RangeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaleRange {
    /// The range that holds the key, and those next to it that are newer than what the client
    /// knew, in key order; at least one and at most eight.
    pub fresh: Vec<KeyRange>,
}

impl fmt::Display for StaleRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the range changed, {} newer ones are attached", self.fresh.len())
    }
}

impl Error for StaleRange {}
