//! Why something could not be built, and what state that leaves.

use crate::{Digest, Level, NodeId, Partition};
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

/// Everything that is wrong with the nodes given to a [`TopologyBuilder`](crate::TopologyBuilder).
///
/// # Examples
/// ```
/// use quorate_hashring::{Node, NodeId, Topology, Weight};
///
/// let node = || Node::new(NodeId::new(1)).weight(Weight::ZERO);
/// let error = Topology::builder().node(node()).node(node()).build().unwrap_err();
/// assert_eq!(error.violations().len(), 2);
/// assert_eq!(error.to_string(), "node 1 given twice; no node has a weight above zero");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyError {
    violations: Vec<TopologyViolation>,
}

impl TopologyError {
    pub(crate) const fn new(violations: Vec<TopologyViolation>) -> Self {
        Self { violations }
    }

    /// All violations, not only the first.
    #[must_use]
    pub fn violations(&self) -> &[TopologyViolation] {
        &self.violations
    }
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, violation) in self.violations.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{violation}")?;
        }
        Ok(())
    }
}

impl Error for TopologyError {}

/// One thing that is wrong with a topology. Effect of each: nothing was built; a retry needs other
/// nodes.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// let error = Topology::builder().build().unwrap_err();
/// assert_eq!(error.violations(), [TopologyViolation::NoWeight]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopologyViolation {
    /// Effect: nothing was built. The same id was given twice.
    DuplicateNode {
        /// The id.
        node: NodeId,
    },
    /// Effect: nothing was built. A node that is not there was to be removed or re-weighted.
    UnknownNode {
        /// Its id.
        node: NodeId,
    },
    /// Effect: nothing was built. A topology holds at most 65,535 nodes.
    TooManyNodes {
        /// How many were given.
        have: usize,
        /// The limit.
        max: usize,
    },
    /// Effect: nothing was built. The name of a failure domain is too long.
    NameTooLong {
        /// Whose.
        node: NodeId,
        /// At which level.
        level: Level,
        /// Its length in bytes.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// Effect: nothing was built. Nobody could receive anything.
    NoWeight,
}

impl fmt::Display for TopologyViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateNode { node } => write!(f, "node {node} given twice"),
            Self::UnknownNode { node } => write!(f, "node {node} is not in the topology"),
            Self::TooManyNodes { have, max } => write!(f, "{have} nodes, limit {max}"),
            Self::NameTooLong { node, level, length, max } => {
                write!(f, "the {level} of node {node} has a name of {length} bytes, limit {max}")
            }
            Self::NoWeight => f.write_str("no node has a weight above zero"),
        }
    }
}

/// Why rules or a quorum cannot work.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// assert_eq!(Rules::new(0).validate(), Err(RulesError::Replicas { value: 0, max: 16 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RulesError {
    /// Effect: nothing was built. The number of replicas is not 1 to 16.
    Replicas {
        /// What was asked for.
        value: u8,
        /// The limit.
        max: u8,
    },
    /// Effect: nothing was built. A rule allows no replica at all in any domain of a level.
    Zero {
        /// The level.
        level: Level,
    },
    /// Effect: nothing was built. A read quorum and a write quorum need not meet, or one is zero
    /// or larger than the row.
    Quorum {
        /// The read quorum.
        read: u8,
        /// The write quorum.
        write: u8,
        /// The replicas of a row.
        replicas: u8,
    },
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas { value, max } => write!(f, "{value} replicas, expected 1 to {max}"),
            Self::Zero { level } => write!(f, "a rule allows 0 replicas in a {level}"),
            Self::Quorum { read, write, replicas } => {
                write!(f, "quorums of {read} to read and {write} to write of {replicas}")
            }
        }
    }
}

impl Error for RulesError {}

/// Why a placement could not be built. Nothing was built and nothing changed.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let error = Ring::build(&topology, &Rules::new(3), &RingConfig::default()).unwrap_err();
/// assert_eq!(error, BuildError::TooFewNodes { have: 2, need: 3 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// Effect: nothing was built. The rules themselves cannot work.
    Rules(RulesError),
    /// Effect: nothing was built. Fewer nodes with a weight than replicas.
    TooFewNodes {
        /// Nodes with a weight above zero.
        have: u32,
        /// Replicas asked for.
        need: u32,
    },
    /// Effect: nothing was built. A hard rule needs more domains than there are.
    TooFewDomains {
        /// The level of the rule.
        level: Level,
        /// Domains with a node of weight above zero.
        have: u32,
        /// How many such domains would do.
        need: u32,
    },
    /// Effect: nothing was built. A setting is out of its range.
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// Effect: nothing was built. The size of a Maglev table must be prime (H29).
    NotPrime {
        /// The size.
        slots: u32,
    },
    /// Effect: nothing was built. A ring holds at most 4,194,304 tokens.
    TooManyTokens {
        /// How many it would hold.
        have: u64,
        /// The limit.
        max: u64,
    },
    /// Effect: nothing was built. A node is not in the topology.
    UnknownNode {
        /// Its id, or its position if only that was given.
        node: u64,
    },
    /// Effect: nothing was built. A node is there twice.
    DuplicateNode {
        /// Its id.
        node: NodeId,
    },
    /// Effect: nothing was built. There is nothing to place on.
    Empty,
    /// Effect: nothing was built. The number of rows is not a power of two up to 65,536.
    RowCount {
        /// How many were given.
        have: usize,
    },
    /// Effect: nothing was built. A row breaks a rule.
    RowInvalid {
        /// Which row.
        partition: Partition,
        /// What is wrong with it.
        reason: RowFault,
    },
    /// Effect: nothing was built. Rows name a node that the topology lacks (H43).
    NodeMissing {
        /// Its id.
        node: NodeId,
        /// How many rows name it.
        partitions: u32,
    },
}

/// What is wrong with a row.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let rows = [vec![a, a]];
/// let built = PartitionTable::from_rows(&topology, &Rules::new(2), KeyHash::default(), &rows);
/// let (partition, reason) = (Partition::new(0), RowFault::Duplicate { node: a });
/// assert_eq!(built.unwrap_err(), BuildError::RowInvalid { partition, reason });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowFault {
    /// Effect: nothing was built. It holds more or fewer nodes than the rules ask for.
    Length {
        /// How many it holds.
        have: usize,
        /// How many it should hold.
        need: usize,
    },
    /// Effect: nothing was built. It holds a node twice.
    Duplicate {
        /// The node.
        node: NodeId,
    },
    /// Effect: nothing was built. One domain holds more replicas than a hard rule allows.
    Crowded {
        /// The level of the rule.
        level: Level,
        /// How many it holds.
        have: usize,
        /// The rule.
        max: usize,
    },
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { have, need } => write!(f, "{have} nodes, expected {need}"),
            Self::Duplicate { node } => write!(f, "node {node} twice"),
            Self::Crowded { level, have, max } => {
                write!(f, "{have} replicas in one {level}, the rule allows {max}")
            }
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules(error) => error.fmt(f),
            Self::TooFewNodes { have, need } => {
                write!(f, "{have} nodes with weight, {need} replicas need as many")
            }
            Self::TooFewDomains { level, have, need } => {
                write!(f, "too few domains: {have} at level {level}, the rules need {need}")
            }
            Self::OutOfRange { name, value, min, max } => {
                write!(f, "{name} is {value}, expected {min} to {max}")
            }
            Self::NotPrime { slots } => write!(f, "{slots} slots: not a prime"),
            Self::TooManyTokens { have, max } => write!(f, "{have} tokens, limit {max}"),
            Self::UnknownNode { node } => write!(f, "node {node} is not in the topology"),
            Self::DuplicateNode { node } => write!(f, "node {node} given twice"),
            Self::Empty => f.write_str("nothing to place on"),
            Self::RowCount { have } => {
                write!(f, "{have} rows, expected a power of two up to 65536")
            }
            Self::RowInvalid { partition, reason } => write!(f, "partition {partition}: {reason}"),
            Self::NodeMissing { node, partitions } => {
                write!(f, "node {node} is not in the topology, but {partitions} rows name it")
            }
        }
    }
}

impl Error for BuildError {}

impl From<RulesError> for BuildError {
    fn from(error: RulesError) -> Self {
        Self::Rules(error)
    }
}

/// Why no assignment was made. The previous table is as it was.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let before = table(a)?;
/// let assign = Assign::new(&topology, &Rules::new(1)).previous(&before).partition_bits(4);
/// assert!(matches!(assign.solve(), Err(AssignError::Mismatch { previous: 0, wanted: 4, .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssignError {
    /// Effect: nothing was assigned. The rules, the settings or the topology cannot work.
    Build(BuildError),
    /// Effect: nothing was assigned. The previous table was made with other settings.
    Mismatch {
        /// Which setting.
        what: &'static str,
        /// What the previous table has.
        previous: u64,
        /// What was asked for.
        wanted: u64,
    },
    /// Effect: nothing was assigned. Positions are to be kept, but the cluster is too small for
    /// rows as long as they are: what stands behind a vacated position would have to move up.
    PositionsShift {
        /// Replicas of the longest row so far.
        have: u32,
        /// Replicas that are possible.
        possible: u32,
    },
    /// Effect: nothing was assigned. Rows move whole, and no row fits the budget (H46).
    BudgetTooSmall {
        /// The least `moves_max` with which anything could move.
        least: u32,
    },
}

impl fmt::Display for AssignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::Mismatch { what, previous, wanted } => {
                write!(f, "the previous table has {what} {previous}, wanted {wanted}")
            }
            Self::PositionsShift { have, possible } => {
                write!(f, "rows of {have} cannot keep their positions with {possible} replicas")
            }
            Self::BudgetTooSmall { least } => {
                write!(f, "no row moves with less than {least} moves")
            }
        }
    }
}

impl Error for AssignError {}

impl From<BuildError> for AssignError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<RulesError> for AssignError {
    fn from(error: RulesError) -> Self {
        Self::Build(BuildError::Rules(error))
    }
}

/// Why bytes are not the value they should be: each value has exactly one encoding, everything
/// else is refused.
///
/// # Examples
/// ```
/// use quorate_hashring::{DecodeError, Topology};
///
/// assert_eq!(Topology::decode(b"JSON"), Err(DecodeError::BadMagic));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Effect: nothing was built. The bytes end too early; the rest may be still to come.
    Truncated {
        /// How many there are.
        have: usize,
        /// How many there should be, as far as that can be told.
        need: usize,
    },
    /// Effect: nothing was built. Bytes follow behind the value.
    Trailing {
        /// How many there are.
        have: usize,
        /// How many the value has.
        expected: usize,
    },
    /// Effect: nothing was built. The bytes are of another format.
    BadMagic,
    /// Effect: nothing was built. The bytes hold another kind of value.
    Kind {
        /// The kind asked for: 1 topology, 2 table, 3 view, 4 range map.
        expected: u8,
        /// The kind found.
        found: u8,
    },
    /// Effect: nothing was built. A newer version wrote them; it is never guessed at.
    UnsupportedVersion {
        /// Their version.
        found: u8,
        /// The newest that can be read.
        newest: u8,
    },
    /// Effect: nothing was built. The bytes were damaged.
    Checksum {
        /// The checksum they carry.
        expected: u32,
        /// The checksum they have.
        found: u32,
    },
    /// Effect: nothing was built. The body is not the one that was sealed.
    Digest {
        /// The digest they carry.
        expected: Digest,
        /// The digest they have.
        found: Digest,
    },
    /// Effect: nothing was built. A field breaks a rule of the format.
    Invalid {
        /// Which field, or which rule.
        what: &'static str,
        /// Where, counted from the first byte.
        offset: usize,
    },
    /// Effect: nothing was built. The table hashes keys with a secret, and none or another one was
    /// given.
    WrongKey,
}

impl DecodeError {
    /// Whether the bytes were right once and have changed since.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        matches!(self, Self::Checksum { .. } | Self::Digest { .. })
    }

    /// Whether more bytes of the same value can help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Truncated { .. })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { have, need } => write!(f, "{have} bytes, at least {need} needed"),
            Self::Trailing { have, expected } => write!(f, "{have} bytes, expected {expected}"),
            Self::BadMagic => f.write_str("the bytes do not begin with QHR1"),
            Self::Kind { expected, found } => write!(f, "kind {found}, expected {expected}"),
            Self::UnsupportedVersion { found, newest } => {
                write!(f, "version {found}, the newest known is {newest}")
            }
            Self::Checksum { expected, found } => {
                write!(f, "checksum {found:#010x}, expected {expected:#010x}")
            }
            Self::Digest { expected, found } => write!(f, "digest {found}, expected {expected}"),
            Self::Invalid { what, offset } => write!(f, "invalid {what} at offset {offset}"),
            Self::WrongKey => f.write_str("the secret key of the hash is missing or another one"),
        }
    }
}

impl Error for DecodeError {}
