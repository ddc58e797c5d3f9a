//! How many replicas make a read or a write count, and the counting.

use crate::error::RulesError;
use crate::plant::planted;
use crate::width::to_u8;
use crate::{NodeIdx, Rules};

/// The most nodes of a joint write set: two rows of sixteen.
const JOINT_NODES_MAX: usize = 32;

/// How many replicas of a row must answer a read, and how many a write. The two always meet in at
/// least one replica.
///
/// # Examples
/// ```
/// use quorate_hashring::{Quorum, Rules};
///
/// assert_eq!((Quorum::Majority.read(5), Quorum::Majority.write(5)), (3, 3));
/// let quick_reads = Quorum::fixed(1, 3);
/// assert!(quick_reads.validate(&Rules::new(3)).is_ok());
/// assert!(quick_reads.validate(&Rules::new(4)).is_err()); // 1 + 3 need not meet
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quorum {
    /// More than half, for both: a dead or slow minority blocks nothing.
    Majority,
    /// Fixed numbers, which a shorter row lowers to its length.
    Fixed {
        /// Replicas of a read.
        read: u8,
        /// Replicas of a write.
        write: u8,
    },
}

impl Quorum {
    /// Fixed numbers: `read + write` must exceed the replicas of a row.
    #[must_use]
    pub const fn fixed(read: u8, write: u8) -> Self {
        Self::Fixed { read, write }
    }

    /// Replicas that must answer a read of a row of `replicas`.
    #[must_use]
    pub const fn read(self, replicas: u8) -> u8 {
        match self {
            Self::Majority => replicas / 2 + 1,
            Self::Fixed { read, .. } if read > replicas => replicas,
            Self::Fixed { read, .. } => read,
        }
    }

    /// Replicas that must answer a write to a row of `replicas`.
    #[must_use]
    pub const fn write(self, replicas: u8) -> u8 {
        match self {
            Self::Majority => replicas / 2 + 1,
            Self::Fixed { write, .. } if write > replicas => replicas,
            Self::Fixed { write, .. } => write,
        }
    }

    /// How many replicas of a row of `replicas` must be fenced so that no read can succeed
    /// without one of them.
    pub(crate) const fn blocks_reads(self, replicas: u8) -> u8 {
        replicas.saturating_sub(self.read(replicas)) + 1
    }

    /// How many replicas of a row of `replicas` hold together every write that completed.
    pub(crate) const fn covers_writes(self, replicas: u8) -> u8 {
        replicas.saturating_sub(self.write(replicas)) + 1
    }

    /// Whether every read quorum meets every write quorum under these rules.
    ///
    /// # Errors
    /// [`RulesError::Quorum`] if they need not meet, or if one is zero or larger than a row.
    pub const fn validate(self, rules: &Rules) -> Result<(), RulesError> {
        self.validate_for(rules.replicas())
    }

    pub(crate) const fn validate_for(self, replicas: u8) -> Result<(), RulesError> {
        let Self::Fixed { read, write } = self else { return Ok(()) };
        let in_row = 1 <= read && read <= replicas && 1 <= write && write <= replicas;
        if in_row && read as u16 + write as u16 > replicas as u16 {
            return Ok(());
        }
        Err(RulesError::Quorum { read, write, replicas })
    }
}

/// Who receives a write: one row, or the rows before and after a change at once.
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
/// let route = view.route(b"key");
/// assert!(route.write.nodes().eq(route.read.iter().copied())); // nothing changes now
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteSet<'a> {
    /// The row before the change; empty where nothing changes.
    pub old: &'a [NodeIdx],
    /// The row, or the row after the change.
    pub new: &'a [NodeIdx],
}

impl<'a> WriteSet<'a> {
    pub(crate) const fn new(old: &'a [NodeIdx], new: &'a [NodeIdx]) -> Self {
        Self { old, new }
    }

    /// Everybody in it, each node once.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIdx> + 'a {
        let Self { old, new } = *self;
        new.iter().chain(old.iter().filter(|at| !new.contains(at))).copied()
    }

    /// Counts the answers to one write.
    ///
    /// # Cost
    /// No allocation: the tally is 32 positions and four masks.
    #[must_use]
    pub fn tally(&self, quorum: Quorum) -> Tally {
        let write = |row: &[NodeIdx]| if row.is_empty() { 0 } else { quorum.write(length(row)) };
        if planted("m23_majority_of_the_union_instead_of_joint") {
            let mut union = Tally::of(&[], &[], [0, 0]);
            self.nodes().for_each(|at| union.add(at, 1));
            union.need[1] = quorum.write(union.nodes_len);
            return union;
        }
        Tally::of(self.old, self.new, [write(self.old), write(self.new)])
    }
}

/// Counts the answers to one operation.
///
/// The quorums of both rows are counted side by side, never as one larger quorum: with one of three
/// replicas moving, the two that stay are a quorum of the old row and of the new one (H21).
///
/// # Examples
/// ```
/// use quorate_hashring::{KeyHash, Node, NodeId, NodeIdx, Outcome, PartitionTable, Quorum};
/// use quorate_hashring::{Rules, Topology, View};
///
/// let ids = [1, 2, 3].map(NodeId::new);
/// let nodes = ids.iter().fold(Topology::builder(), |nodes, id| nodes.node(Node::new(*id)));
/// let row = [ids.to_vec()];
/// let rules = Rules::new(3);
/// let table = PartitionTable::from_rows(&nodes.build()?, &rules, KeyHash::default(), &row)?;
/// let view = View::initial(table);
///
/// let route = view.route(b"user/17");
/// let mut tally = route.write.tally(Quorum::Majority);
/// assert_eq!(tally.ack(NodeIdx::new(0)), Outcome::Pending);
/// assert_eq!(tally.fail(NodeIdx::new(1)), Outcome::Pending);
/// assert_eq!(tally.ack(NodeIdx::new(2)), Outcome::Reached);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    nodes: [NodeIdx; JOINT_NODES_MAX],
    nodes_len: u8,
    /// For the old and the new row, bit by bit of `nodes`, who is in it.
    members: [u32; 2],
    /// For the old and the new row, how many must answer.
    need: [u8; 2],
    acked: u32,
    failed: u32,
}

impl Tally {
    /// Counts `need[0]` answers of the old row and `need[1]` of the new one.
    pub(crate) fn of(old: &[NodeIdx], new: &[NodeIdx], need: [u8; 2]) -> Self {
        let nodes = [NodeIdx::new(u16::MAX); JOINT_NODES_MAX];
        let mut tally = Self { nodes, nodes_len: 0, members: [0; 2], need, acked: 0, failed: 0 };
        old.iter().for_each(|&at| tally.add(at, 0));
        new.iter().for_each(|&at| tally.add(at, 1));
        tally
    }

    /// A node that found no room would only make the quorum harder to reach.
    fn add(&mut self, at: NodeIdx, row: usize) {
        let index = self.index(at).or_else(|| {
            let index = usize::from(self.nodes_len);
            *self.nodes.get_mut(index)? = at;
            self.nodes_len += 1;
            Some(index)
        });
        if let Some(index) = index {
            self.members[row] |= 1 << index;
        }
    }

    fn index(&self, at: NodeIdx) -> Option<usize> {
        self.nodes[..usize::from(self.nodes_len)].iter().position(|&node| node == at)
    }

    /// A node did it. Of a node that is not asked, or that answered before, nothing counts; of a
    /// node that was given up, a late answer still does.
    pub fn ack(&mut self, node: NodeIdx) -> Outcome {
        if let Some(index) = self.index(node) {
            self.acked |= 1 << index;
            self.failed &= !(1 << index);
        }
        self.outcome()
    }

    /// A node refused or was given up: whether it did it is unknown, unless it refused.
    pub fn fail(&mut self, node: NodeIdx) -> Outcome {
        if let Some(index) = self.index(node) {
            self.failed |= (1 << index) & !self.acked;
        }
        self.outcome()
    }

    /// What the answers so far amount to.
    pub fn outcome(&self) -> Outcome {
        let count = |row: usize, mask: u32| (self.members[row] & mask).count_ones();
        let need = self.need.map(u32::from);
        // Side by side: a node of both rows counts in both. // H21
        if (0..2).all(|row| count(row, self.acked) >= need[row]) {
            Outcome::Reached
        } else if (0..2).any(|row| count(row, !self.failed) < need[row]) {
            Outcome::Lost
        } else {
            Outcome::Pending
        }
    }
}

/// What the answers to an operation amount to.
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
/// let mut tally = view.route(b"key").write.tally(Quorum::Majority);
/// assert_eq!(tally.outcome(), Outcome::Pending);
/// assert_eq!(tally.ack(NodeIdx::new(0)), Outcome::Reached);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Outcome {
    /// More answers are needed.
    Pending,
    /// Enough replicas did it.
    Reached,
    /// So many failed that it cannot succeed any more under this view. The result is unknown, not
    /// "did not happen": a replica may have done it, and a later read may see it.
    Lost,
}

/// The length of a row, which rules keep to sixteen; what is longer could not be reached anyway.
pub(crate) fn length(row: &[NodeIdx]) -> u8 {
    to_u8(row.len().min(usize::from(u8::MAX)))
}
