//! The nodes of a cluster, their weights, and the failure domains they sit in.

use crate::codec::{self, Body, Kind};
use crate::error::{DecodeError, TopologyError, TopologyViolation};
use crate::width::to_u16;
use crate::{Digest, NodeId, NodeIdx, Weight};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// The most nodes of a topology.
pub(crate) const NODES_MAX: usize = 65_535;
/// The longest name of a failure domain, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// A kind of failure domain. They nest: a zone is a zone of its region, a rack one of its zone, so
/// that "rack 1" in two zones is two racks (H31).
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// assert!(Level::Region < Level::Host); // the outermost first
/// assert_eq!(Level::Zone.to_string(), "zone");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Level {
    /// The outermost: a site.
    Region,
    /// A data centre, or what fails on its own within a site.
    Zone,
    /// A rack: one switch, one power supply.
    Rack,
    /// The innermost: one machine, which may run several nodes.
    Host,
}

impl Level {
    /// All levels, the outermost first.
    pub const ALL: [Self; 4] = [Self::Region, Self::Zone, Self::Rack, Self::Host];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Region => 0,
            Self::Zone => 1,
            Self::Rack => 2,
            Self::Host => 3,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["region", "zone", "rack", "host"][self.index()])
    }
}

/// A node: its permanent id, its weight, and where it stands.
///
/// # Examples
/// ```
/// use quorate_hashring::{Level, Node, NodeId, Weight};
///
/// let node = Node::new(NodeId::new(4)).weight(Weight::units(2)).at(Level::Zone, "b");
/// assert_eq!(node.location(Level::Zone), "b");
/// assert_eq!(node.location(Level::Rack), "");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    id: NodeId,
    weight: Weight,
    places: [Box<str>; 4],
}

impl Node {
    /// A node of weight one that stands nowhere in particular.
    #[must_use]
    pub fn new(id: NodeId) -> Self {
        Self { id, weight: Weight::ONE, places: Default::default() }
    }

    /// The same node with another weight. Default: [`Weight::ONE`]; zero drains it.
    #[must_use]
    pub const fn weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// The same node in a failure domain of this name, at most 64 bytes long.
    ///
    /// An unset region, zone or rack is the shared domain `""`; a node without a host is a host of
    /// its own.
    #[must_use]
    pub fn at(mut self, level: Level, name: &str) -> Self {
        self.places[level.index()] = name.into();
        self
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Its weight.
    #[must_use]
    pub const fn weight_of(&self) -> Weight {
        self.weight
    }

    /// The name of the failure domain it stands in; empty if none was given.
    #[must_use]
    pub fn location(&self, level: Level) -> &str {
        &self.places[level.index()]
    }
}

/// The nodes of a cluster: an immutable value in canonical form, cheap to clone.
///
/// The order in which nodes were given never shows: they are sorted by id (H4), so equal clusters
/// are equal values with equal digests on every machine.
///
/// # Cost
/// `build` sorts: O(N log N). A clone counts a reference. `index_of` searches: O(log N).
///
/// # Examples
/// ```
/// use quorate_hashring::{Level, Node, NodeId, Topology, Weight};
///
/// let topology = Topology::builder()
///     .node(Node::new(NodeId::new(1)).at(Level::Zone, "a"))
///     .node(Node::new(NodeId::new(2)).at(Level::Zone, "b"))
///     .build()?;
/// let drained = topology.to_builder().reweigh(NodeId::new(2), Weight::ZERO).build()?;
/// assert_eq!(drained.domains(Level::Zone), 2);
/// assert_ne!(drained.digest(), topology.digest());
/// # Ok::<(), quorate_hashring::TopologyError>(())
/// ```
#[derive(Clone)]
pub struct Topology {
    inner: Arc<Inner>,
}

struct Inner {
    nodes: Vec<Node>,
    ids: Vec<NodeId>,
    /// For each level the domain of each node.
    domains: [Vec<u16>; 4],
    /// For each level how many domains it has.
    counts: [u16; 4],
    /// The nodes by (region, zone, rack, host, id): neighbours share as many domains as can be.
    by_place: Vec<NodeIdx>,
    digest: Digest,
}

impl Topology {
    /// Begins with no node.
    #[must_use]
    pub const fn builder() -> TopologyBuilder {
        TopologyBuilder { nodes: Vec::new(), unknown: Vec::new() }
    }

    /// Begins with the nodes of this topology.
    #[must_use]
    pub fn to_builder(&self) -> TopologyBuilder {
        TopologyBuilder { nodes: self.inner.nodes.clone(), unknown: Vec::new() }
    }

    /// The nodes, ids rising.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.inner.nodes
    }

    /// The node at a position; none if the position is from another, larger topology.
    #[must_use]
    pub fn node(&self, at: NodeIdx) -> Option<&Node> {
        self.inner.nodes.get(usize::from(at.value()))
    }

    /// The position of a node.
    #[must_use]
    pub fn index_of(&self, node: NodeId) -> Option<NodeIdx> {
        self.inner.ids.binary_search(&node).ok().map(|at| NodeIdx::new(to_u16(at)))
    }

    /// The number of the domain in which a node stands, below [`Topology::domains`].
    #[must_use]
    pub fn domain(&self, at: NodeIdx, level: Level) -> Option<u16> {
        self.inner.domains[level.index()].get(usize::from(at.value())).copied()
    }

    /// How many domains a level has. They are numbered in the order of their names from the
    /// outermost level in.
    #[must_use]
    pub fn domains(&self, level: Level) -> u16 {
        self.inner.counts[level.index()]
    }

    /// Identifies the content: equal topologies have equal digests, on every platform.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// The topology in the form of FORMAT.md, kind 1.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::{Node, NodeId, Topology};
    ///
    /// let topology = Topology::builder().node(Node::new(NodeId::new(1))).build()?;
    /// assert_eq!(Topology::decode(&topology.encode())?, topology);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.encode_body(&mut body);
        codec::seal(Kind::Topology, &body)
    }

    /// Reads what [`Topology::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where; nothing was built.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut body = codec::open(Kind::Topology, bytes)?;
        let topology = Self::decode_body(&mut body)?;
        body.finish()?;
        Ok(topology)
    }

    pub(crate) fn ids(&self) -> &[NodeId] {
        &self.inner.ids
    }

    /// The nodes by (region, zone, rack, host, id).
    pub(crate) fn by_place(&self) -> &[NodeIdx] {
        &self.inner.by_place
    }

    /// For each node its domain at a level.
    pub(crate) fn domains_at(&self, level: Level) -> &[u16] {
        &self.inner.domains[level.index()]
    }

    /// For each node the 16.16 weight.
    pub(crate) fn weight_at(&self, node: usize) -> u64 {
        u64::from(self.inner.nodes[node].weight.raw())
    }

    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        encode_nodes(&self.inner.nodes, out);
    }

    pub(crate) fn decode_body(body: &mut Body<'_>) -> Result<Self, DecodeError> {
        let count = usize::from(body.u16()?);
        // The shortest node has sixteen bytes: no room is made for nodes that cannot be there.
        let mut nodes: Vec<Node> = Vec::with_capacity(count.min(body.left() / 16));
        for _ in 0..count {
            let offset = body.offset();
            let id = NodeId::try_new(body.u64()?);
            let rises = |id: &NodeId| nodes.last().is_none_or(|before| before.id < *id);
            let Some(id) = id.filter(rises) else {
                return Err(DecodeError::Invalid { what: "node id", offset });
            };
            let mut node = Node::new(id).weight(Weight::from_raw(body.u32()?));
            for level in Level::ALL {
                node = node.at(level, body.name(NAME_BYTES_MAX)?);
            }
            nodes.push(node);
        }
        if nodes.iter().all(|node| node.weight.is_zero()) {
            return Err(DecodeError::Invalid {
                what: "no node with weight",
                offset: body.offset(),
            });
        }
        Ok(Self::canonical(nodes))
    }

    /// From nodes that are sorted, distinct and within the limits.
    fn canonical(nodes: Vec<Node>) -> Self {
        let ids = nodes.iter().map(|node| node.id).collect();
        let by_place = sorted_by_place(&nodes);
        let (domains, counts) = numbered_domains(&nodes, &by_place);
        let mut body = Vec::new();
        encode_nodes(&nodes, &mut body);
        let digest = codec::digest(Kind::Topology, &body);
        Self { inner: Arc::new(Inner { nodes, ids, domains, counts, by_place, digest }) }
    }
}

impl PartialEq for Topology {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || self.inner.nodes == other.inner.nodes
    }
}

impl Eq for Topology {}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topology")
            .field("nodes", &self.inner.nodes)
            .field("digest", &self.inner.digest)
            .finish()
    }
}

fn encode_nodes(nodes: &[Node], out: &mut Vec<u8>) {
    out.extend_from_slice(&to_u16(nodes.len()).to_le_bytes());
    for node in nodes {
        out.extend_from_slice(&node.id.value().to_le_bytes());
        out.extend_from_slice(&node.weight.raw().to_le_bytes());
        for place in &node.places {
            out.push(crate::width::to_u8(place.len()));
            out.extend_from_slice(place.as_bytes());
        }
    }
}

fn sorted_by_place(nodes: &[Node]) -> Vec<NodeIdx> {
    let mut order: Vec<NodeIdx> = (0..nodes.len()).map(|at| NodeIdx::new(to_u16(at))).collect();
    let node = |at: &NodeIdx| &nodes[usize::from(at.value())];
    order.sort_by(|a, b| (&node(a).places, node(a).id).cmp(&(&node(b).places, node(b).id)));
    order
}

/// Numbers the domains of each level in the order of their first nodes by place. A domain is its
/// whole path from the region inwards. // H31
fn numbered_domains(nodes: &[Node], by_place: &[NodeIdx]) -> ([Vec<u16>; 4], [u16; 4]) {
    let mut domains = [(); 4].map(|()| alloc::vec![0; nodes.len()]);
    let mut counts = [0_u16; 4];
    let mut before: Option<&Node> = None;
    for &at in by_place {
        let at = usize::from(at.value());
        let node = &nodes[at];
        for level in Level::ALL.map(Level::index) {
            let alone = level == Level::Host.index() && node.places[level].is_empty();
            let same = before.is_some_and(|b| b.places[..=level] == node.places[..=level]);
            if !same || alone {
                counts[level] += 1;
            }
            domains[level][at] = counts[level] - 1;
        }
        before = Some(node);
    }
    (domains, counts)
}

/// Collects nodes for a [`Topology`].
///
/// # Cost
/// Adding a node is O(1); removing or re-weighting one looks through all: for many changes at once
/// begin anew with [`Topology::builder`].
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let fewer = topology.to_builder().remove(b).reweigh(a, Weight::units(2)).build()?;
/// assert_eq!(fewer.nodes().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TopologyBuilder {
    nodes: Vec<Node>,
    /// Nodes that were to be removed or re-weighted and are not there.
    unknown: Vec<NodeId>,
}

impl TopologyBuilder {
    /// Adds a node. The same id twice is a violation that `build` reports.
    #[must_use]
    pub fn node(mut self, node: Node) -> Self {
        self.nodes.push(node);
        self
    }

    /// Takes a node out. Drain it first ([`Weight::ZERO`]) where rows still name it (H43).
    #[must_use]
    pub fn remove(mut self, id: NodeId) -> Self {
        let before = self.nodes.len();
        self.nodes.retain(|node| node.id != id);
        if self.nodes.len() == before {
            self.unknown.push(id);
        }
        self
    }

    /// Gives a node another weight.
    #[must_use]
    pub fn reweigh(mut self, id: NodeId, weight: Weight) -> Self {
        match self.nodes.iter_mut().find(|node| node.id == id) {
            Some(node) => node.weight = weight,
            None => self.unknown.push(id),
        }
        self
    }

    /// The topology.
    ///
    /// # Errors
    /// [`TopologyError`] with every violation; nothing was built.
    pub fn build(self) -> Result<Topology, TopologyError> {
        let mut nodes = self.nodes;
        if !crate::plant::planted("m4_nodes_unsorted") {
            nodes.sort_by_key(Node::id); // H4
        }
        let mut violations: Vec<TopologyViolation> =
            self.unknown.into_iter().map(|node| TopologyViolation::UnknownNode { node }).collect();
        let twice = nodes.windows(2).filter(|pair| pair[0].id == pair[1].id);
        violations.extend(twice.map(|pair| TopologyViolation::DuplicateNode { node: pair[0].id }));
        violations.dedup();
        if nodes.len() > NODES_MAX {
            violations.push(TopologyViolation::TooManyNodes { have: nodes.len(), max: NODES_MAX });
        }
        if nodes.iter().all(|node| node.weight.is_zero()) {
            violations.push(TopologyViolation::NoWeight); // H10
        }
        violations.extend(nodes.iter().flat_map(long_names));
        if violations.is_empty() {
            Ok(Topology::canonical(nodes))
        } else {
            Err(TopologyError::new(violations))
        }
    }
}

fn long_names(node: &Node) -> impl Iterator<Item = TopologyViolation> + '_ {
    Level::ALL.into_iter().filter_map(|level| {
        let length = node.location(level).len();
        let node = node.id;
        let max = NAME_BYTES_MAX;
        (length > max).then_some(TopologyViolation::NameTooLong { node, level, length, max })
    })
}
