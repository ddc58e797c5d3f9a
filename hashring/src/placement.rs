//! What every placement can be asked: who owns a hash, who holds its copies, and how the whole
//! key space is cut into segments.

use crate::{KeyHash, NodeId, NodeIdx, Rules, Topology};
use core::fmt::Debug;

/// A placement that names one owner for each hash.
///
/// # Cost
/// No allocation and no lock in any implementation.
///
/// # Examples
/// ```
/// use quorate_hashring::{Locate, Node, NodeId, Ring, RingConfig, Rules, Topology};
///
/// let topology = Topology::builder()
///     .node(Node::new(NodeId::new(1)))
///     .node(Node::new(NodeId::new(2)))
///     .build()?;
/// let ring = Ring::build(&topology, &Rules::new(1), &RingConfig::default())?;
/// let owner = ring.owner(b"user/17");
/// assert!(ring.topology().node(owner).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Locate {
    /// The topology that the answers are positions in.
    fn topology(&self) -> &Topology;

    /// What turns a key into a hash.
    fn key_hash(&self) -> &KeyHash;

    /// The owner of a hash.
    fn owner_at(&self, hash: u64) -> NodeIdx;

    /// The owner of a key.
    #[inline]
    fn owner(&self, key: &[u8]) -> NodeIdx {
        self.owner_at(self.key_hash().hash(key))
    }
}

/// A placement that names the holders of all copies.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let table = table(a)?;
/// assert_eq!(table.replicas(b"key"), [table.owner(b"key")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Replicate: Locate {
    /// The rules that the rows were made by.
    fn rules(&self) -> &Rules;

    /// The topology whose weights the rows were made by: a ring of given points goes by its points
    /// and not by the weights of their nodes.
    fn weighed_by(&self) -> &Topology {
        self.topology()
    }

    /// The holders of a hash, the owner first; never empty, each node once.
    fn replicas_at(&self, hash: u64) -> &[NodeIdx];

    /// The holders of a key.
    #[inline]
    fn replicas(&self, key: &[u8]) -> &[NodeIdx] {
        self.replicas_at(self.key_hash().hash(key))
    }
}

/// A placement whose whole key space can be listed, so that two of them can be compared by
/// [`diff`](crate::diff()).
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let doubled = table(a)?.doubled()?;
/// let starts: Vec<u64> = doubled.segments().map(|segment| segment.start).collect();
/// assert_eq!(starts, [0, 1 << 63]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Segmented {
    /// Where a segment begins: a hash, or a key.
    type Bound: Clone + Ord + Debug;

    /// The nodes that the positions in segments stand for.
    fn node_ids(&self) -> &[NodeId];

    /// What the bounds are.
    fn space(&self) -> Space;

    /// The segments in order: they tile the space, each point lies in exactly one.
    fn segments(&self) -> impl Iterator<Item = Segment<'_, Self::Bound>>;

    /// The topology, where one is known: a diff pairs who leaves and who comes by zone.
    fn zones(&self) -> Option<&Topology> {
        None
    }
}

/// A stretch of the key space with one row of replicas.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// let segment = Segment::new(5_u64, None, &[]);
/// assert_eq!((segment.start, segment.end), (5, None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment<'a, B> {
    /// The first point in it.
    pub start: B,
    /// The first point behind it; none: it reaches the end of the space.
    pub end: Option<B>,
    /// The holders, positions in [`Segmented::node_ids`].
    pub replicas: &'a [NodeIdx],
}

impl<'a, B> Segment<'a, B> {
    /// A segment from its parts.
    pub const fn new(start: B, end: Option<B>, replicas: &'a [NodeIdx]) -> Self {
        Self { start, end, replicas }
    }
}

/// What the bounds of segments are. Placements over different spaces cannot be compared.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// assert_eq!(table(a)?.space(), Space::Hash { id: 1, parameter: 0 });
/// assert_eq!(RangeMap::new(RangeId::new(1), &[a])?.space(), Space::Bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Space {
    /// Hashes of keys, as this function gives them.
    Hash {
        /// Which function, see [`KeyHash::id`].
        id: u16,
        /// Its seed; of a keyed function a check of the key, never the key.
        parameter: u64,
    },
    /// Keys, compared byte by byte, a prefix before what it begins.
    Bytes,
}

impl core::fmt::Display for Space {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Hash { id, parameter } => write!(f, "hash {id} with {parameter:#x}"),
            Self::Bytes => f.write_str("keys in byte order"),
        }
    }
}
