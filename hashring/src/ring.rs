//! The hash ring: each node owns many tokens, a key belongs to the next token clockwise.

mod index;
mod replicas;

use crate::config::RingConfig;
use crate::error::BuildError;
use crate::placement::{Segment, Space};
use crate::rules::Caps;
use crate::width::to_u16;
use crate::{KeyHash, Locate, NodeId, NodeIdx, Replicate, Rules, Segmented, Topology};
use crate::{TopologyBuilder, Weight};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use index::Index;
use replicas::{Walk, replica_lists};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const TOKENS_MAX: u64 = 4_194_304;
/// A ring of tokens with precomputed replica lists: an immutable value, cheap to clone.
///
/// A token owns the hashes behind the previous token up to itself; those above the last token
/// belong to the first (H28). A node's tokens depend on its own id and weight only, so nobody
/// else's coming or going makes it trade keys with a third node (G3, H1).
///
/// # Cost
/// A lookup hashes the key and reads one bucket of an index: no allocation, no lock. A token takes
/// 10 bytes, 2 for each replica, and 16 to 32 in the index. Building sorts the tokens and walks
/// once around; where a rule leaves few nodes for the last replica (a zone of two nodes beside one
/// of thousands), each token's walk is as long as it takes to meet one of them: up to O(tokens ·
/// nodes).
///
/// # Examples
/// ```
/// use quorate_hashring::{Locate, Node, NodeId, Replicate, Ring, RingConfig, Rules, Topology};
///
/// let topology = Topology::builder()
///     .node(Node::new(NodeId::new(1)))
///     .node(Node::new(NodeId::new(2)))
///     .node(Node::new(NodeId::new(3)))
///     .build()?;
/// let ring = Ring::build(&topology, &Rules::new(2), &RingConfig::default())?;
/// assert_eq!(ring.replicas(b"session/9").len(), 2);
/// assert_eq!(ring.replicas(b"session/9")[0], ring.owner(b"session/9"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
/// Karger et al., STOC 1997.
#[derive(Clone)]
pub struct Ring {
    inner: Arc<Inner>,
}

struct Inner {
    topology: Topology,
    /// The nodes by the number of their points, if these were given.
    by_points: Option<Topology>,
    rules: Rules,
    key_hash: KeyHash,
    /// What the tokens were made by; none if they were given.
    config: Option<RingConfig>,
    /// Rising.
    tokens: Vec<u64>,
    owners: Vec<u16>,
    /// Nodes of each list.
    width: usize,
    replicas: Vec<NodeIdx>,
    index: Index,
}

/// A token with what orders it among equal ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    token: u64,
    owner: u16,
}

impl Ring {
    /// A ring of the nodes that have a weight.
    ///
    /// # Errors
    /// [`BuildError`]: rules that the topology cannot satisfy, settings out of range, more than
    /// 4,194,304 tokens. Nothing was built.
    pub fn build(
        topology: &Topology,
        rules: &Rules,
        config: &RingConfig,
    ) -> Result<Self, BuildError> {
        config.validate()?;
        check_tokens(topology, config)?;
        let every = |_: usize| true;
        let points = sorted(&made_points(topology, config, every));
        Self::from_sorted(topology, rules, config.hash(), Some(*config), points)
    }

    /// The ring that [`Ring::build`] gives for another topology, bit for bit, for less: tokens of
    /// nodes whose weight did not change are kept, the others merged in.
    ///
    /// # Errors
    /// As [`Ring::build`]; a ring of given points cannot be rebuilt ([`BuildError::Empty`]).
    pub fn rebuild(&self, topology: &Topology) -> Result<Self, BuildError> {
        let Some(config) = self.inner.config else { return Err(BuildError::Empty) };
        check_tokens(topology, &config)?;
        let old = &self.inner.topology;
        // Where each old node is now, if its tokens are still what they were.
        let kept: Vec<Option<u16>> = old
            .nodes()
            .iter()
            .map(|node| {
                let at = topology.index_of(node.id())?;
                let now = topology.node(at)?.weight_of();
                (config.tokens_of(now) == config.tokens_of(node.weight_of())).then_some(at.value())
            })
            .collect();
        let mut stays = alloc::vec![false; topology.nodes().len()];
        for at in kept.iter().flatten() {
            stays[usize::from(*at)] = true;
        }
        let new = sorted(&made_points(topology, &config, |node| !stays[node]));
        // Ids rise with positions, so kept points are still in order.
        let old_points = self.inner.tokens.iter().zip(&self.inner.owners);
        let old_points = old_points
            .filter_map(|(&token, &owner)| Some(Point { token, owner: kept[usize::from(owner)]? }));
        let points = merged(old_points, &new, self.inner.owners.len() + new.len());
        Self::from_sorted(topology, &self.inner.rules, config.hash(), Some(config), points)
    }

    /// A ring of given tokens, for rings that others have laid out. Of equal tokens the node with
    /// the smaller id comes first; the later one owns nothing.
    ///
    /// # Errors
    /// [`BuildError`]: no point, too many, a node that is not in the topology, or rules that the
    /// nodes with points cannot satisfy. Nothing was built.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::{KeyHash, Locate, Node, NodeId, NodeIdx, Ring, Rules, Topology};
    ///
    /// let topology = Topology::builder()
    ///     .node(Node::new(NodeId::new(1)))
    ///     .node(Node::new(NodeId::new(2)))
    ///     .build()?;
    /// let points = vec![(100, NodeIdx::new(0)), (200, NodeIdx::new(1))];
    /// let ring = Ring::from_points(&topology, &Rules::new(1), KeyHash::default(), points)?;
    /// assert_eq!(ring.owner_at(100), NodeIdx::new(0));
    /// assert_eq!(ring.owner_at(101), NodeIdx::new(1));
    /// assert_eq!(ring.owner_at(201), NodeIdx::new(0)); // around the ring
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_points(
        topology: &Topology,
        rules: &Rules,
        key_hash: KeyHash,
        points: Vec<(u64, NodeIdx)>,
    ) -> Result<Self, BuildError> {
        if points.is_empty() {
            return Err(BuildError::Empty);
        }
        let have = points.len() as u64;
        if have > TOKENS_MAX {
            return Err(BuildError::TooManyTokens { have, max: TOKENS_MAX });
        }
        if let Some((_, node)) = points.iter().find(|(_, node)| topology.node(*node).is_none()) {
            return Err(BuildError::UnknownNode { node: u64::from(node.value()) });
        }
        let point = |(token, node): (u64, NodeIdx)| Point { token, owner: node.value() };
        let points: Vec<Point> = points.into_iter().map(point).collect();
        Self::from_sorted(topology, rules, key_hash, None, sorted(&points))
    }

    fn from_sorted(
        topology: &Topology,
        rules: &Rules,
        key_hash: KeyHash,
        config: Option<RingConfig>,
        mut points: Vec<Point>,
    ) -> Result<Self, BuildError> {
        let by_points = match config {
            Some(_) => None,
            None => Some(weighed_by_points(topology, &points)?),
        };
        let caps = Caps::resolve(by_points.as_ref().unwrap_or(topology), rules)?;
        if crate::plant::planted("m2_colliding_token_overwrites") {
            points.dedup_by_key(|point| point.token);
        }
        let tokens: Vec<u64> = points.iter().map(|point| point.token).collect();
        let owners: Vec<u16> = points.iter().map(|point| point.owner).collect();
        let width = usize::from(caps.replicas);
        let replicas = if width == 1 {
            owners.iter().map(|&owner| NodeIdx::new(owner)).collect()
        } else {
            replica_lists(topology, &caps, &owners)
        };
        let index = Index::new(&tokens, &owners);
        let (topology, rules) = (topology.clone(), *rules);
        let inner = Inner {
            topology,
            by_points,
            rules,
            key_hash,
            config,
            tokens,
            owners,
            width,
            replicas,
            index,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The tokens, rising.
    #[must_use]
    pub fn tokens(&self) -> &[u64] {
        &self.inner.tokens
    }

    /// The owner of each token.
    pub fn owners(&self) -> impl Iterator<Item = NodeIdx> + '_ {
        self.inner.owners.iter().map(|&owner| NodeIdx::new(owner))
    }

    /// Bytes that tokens, owners, replica lists and the index take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let inner = &*self.inner;
        inner.tokens.len() * 10 + inner.replicas.len() * 2 + inner.index.bytes()
    }

    /// All nodes in the order in which a walk from this hash meets them, each once: whom to try
    /// next when the owner does not answer (H24). Rules do not count.
    ///
    /// # Cost
    /// One bit of memory per node; each step reads tokens until it meets another node.
    pub fn walk_at(&self, hash: u64) -> impl Iterator<Item = NodeIdx> + '_ {
        let nodes = self.inner.topology.nodes().len();
        Walk::new(&self.inner.owners, self.inner.token_for(hash), nodes)
    }
}

impl Inner {
    /// The first token at or above a hash, around the ring.
    #[inline]
    fn token_for(&self, hash: u64) -> usize {
        self.index.token(hash, &self.tokens)
    }

    #[inline]
    fn list(&self, token: usize) -> &[NodeIdx] {
        &self.replicas[token * self.width..][..self.width]
    }
}

/// The same nodes, each weighing as much as it has points.
fn weighed_by_points(topology: &Topology, points: &[Point]) -> Result<Topology, BuildError> {
    let mut counts = alloc::vec![0_u32; topology.nodes().len()];
    for point in points {
        counts[usize::from(point.owner)] += 1;
    }
    let nodes = topology.nodes().iter().zip(counts);
    let weighed = nodes.map(|(node, count)| node.clone().weight(Weight::from_raw(count)));
    let builder = weighed.fold(Topology::builder(), TopologyBuilder::node);
    builder.build().map_err(|_| BuildError::Empty)
}

fn check_tokens(topology: &Topology, config: &RingConfig) -> Result<(), BuildError> {
    let tokens = topology.nodes().iter().map(|node| config.tokens_of(node.weight_of()));
    let have: u64 = tokens.sum();
    if have > TOKENS_MAX {
        return Err(BuildError::TooManyTokens { have, max: TOKENS_MAX });
    }
    Ok(())
}

/// The points of the nodes at positions for which `wanted` holds.
fn made_points(
    topology: &Topology,
    config: &RingConfig,
    wanted: impl Fn(usize) -> bool,
) -> Vec<Point> {
    let mut points = Vec::new();
    let total: u64 = (0..topology.nodes().len()).map(|node| topology.weight_at(node)).sum();
    for (at, node) in topology.nodes().iter().enumerate().filter(|(at, _)| wanted(*at)) {
        let owner = to_u16(at);
        let mut count = config.tokens_of(node.weight_of());
        if crate::plant::planted("m1_vnodes_scaled_by_total_weight") {
            count = count * topology.nodes().len() as u64 * 65_536 / total;
        }
        for number in 0..count {
            let token = token(node.id(), number, config.token_seed());
            points.push(Point { token, owner });
        }
    }
    points
}

/// Token `number` of a node: a hash over twelve bytes of fixed shape, so that no two nodes can
/// spell the same text (H3). Ids give distinct inputs: nobody has to choose tokens (H22).
fn token(node: NodeId, number: u64, seed: u64) -> u64 {
    if crate::plant::planted("m3_decimal_concatenation_in_tokens") {
        return xxh3_64_with_seed(alloc::format!("{node}{number}").as_bytes(), seed);
    }
    let mut text = [0; 12];
    text[..8].copy_from_slice(&node.value().to_le_bytes());
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    text[8..].copy_from_slice(&number.to_le_bytes());
    xxh3_64_with_seed(&text, seed)
}

/// Points in order. Tokens are hashes: dealt into buckets by their top bits, hardly two meet, and
/// what is left to sort is short. Tokens that are no hashes meet in few buckets, and are sorted
/// there as anywhere.
fn sorted(points: &[Point]) -> Vec<Point> {
    let (Some(&first), bits) = (points.first(), bucket_bits(points.len())) else {
        return Vec::new();
    };
    let bucket = |point: &Point| usize::try_from(point.token >> (64 - bits)).unwrap_or(0);
    let mut starts = alloc::vec![0_u32; (1 << bits) + 1];
    for point in points {
        starts[bucket(point) + 1] += 1;
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    let mut dealt = alloc::vec![first; points.len()];
    let mut next = starts.clone();
    for point in points {
        let place = &mut next[bucket(point)];
        dealt[*place as usize] = *point;
        *place += 1;
    }
    for ends in starts.windows(2).filter(|ends| ends[1] - ends[0] > 1) {
        dealt[ends[0] as usize..ends[1] as usize].sort_unstable();
    }
    dealt
}

/// Enough bits to tell as many buckets as there are tokens.
fn bucket_bits(tokens: usize) -> u32 {
    tokens.next_power_of_two().trailing_zeros().max(1)
}

/// Two sorted lists as one.
fn merged(old: impl Iterator<Item = Point>, new: &[Point], room: usize) -> Vec<Point> {
    let mut all = Vec::with_capacity(room);
    let mut next = new.iter().copied().peekable();
    for point in old {
        while let Some(other) = next.next_if(|other| *other < point) {
            all.push(other);
        }
        all.push(point);
    }
    all.extend(next);
    all
}

impl Locate for Ring {
    fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    fn key_hash(&self) -> &KeyHash {
        &self.inner.key_hash
    }

    #[inline]
    fn owner_at(&self, hash: u64) -> NodeIdx {
        let inner = &*self.inner;
        NodeIdx::new(inner.index.owner(hash, &inner.tokens, &inner.owners))
    }
}

impl Replicate for Ring {
    fn rules(&self) -> &Rules {
        &self.inner.rules
    }

    fn weighed_by(&self) -> &Topology {
        self.inner.by_points.as_ref().unwrap_or(&self.inner.topology)
    }

    #[inline]
    fn replicas_at(&self, hash: u64) -> &[NodeIdx] {
        self.inner.list(self.inner.token_for(hash))
    }
}

impl Segmented for Ring {
    type Bound = u64;

    fn node_ids(&self) -> &[NodeId] {
        self.inner.topology.ids()
    }

    fn space(&self) -> Space {
        let hash = self.inner.key_hash;
        Space::Hash { id: hash.id(), parameter: hash.parameter() }
    }

    /// The first token yields two segments: what lies below it, and what lies above the last.
    /// Tokens that own nothing yield none.
    fn segments(&self) -> impl Iterator<Item = Segment<'_, u64>> {
        let inner = &*self.inner;
        let tokens = &inner.tokens;
        let start = |at: usize| match at {
            0 => Some(0),
            at if tokens[at] == tokens[at - 1] => None, // an empty range // H2
            at => Some(tokens[at - 1] + 1),
        };
        let owned = (0..tokens.len()).filter_map(move |at| {
            let end = tokens[at].checked_add(1);
            Some(Segment::new(start(at)?, end, inner.list(at)))
        });
        let last = tokens.last().copied().unwrap_or(u64::MAX);
        let wrapped =
            last.checked_add(1).filter(|_| !crate::plant::planted("m8_lost_wrap_segment"));
        let wrapped = wrapped.map(|start| Segment::new(start, None, inner.list(0)));
        owned.chain(wrapped)
    }

    fn zones(&self) -> Option<&Topology> {
        Some(&self.inner.topology)
    }
}

impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&*self.inner, &*other.inner);
        a.topology == b.topology
            && a.rules == b.rules
            && a.key_hash == b.key_hash
            && a.tokens == b.tokens
            && a.owners == b.owners
            && a.replicas == b.replicas
            && a.index == b.index
    }
}

impl Eq for Ring {}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("nodes", &self.inner.topology.nodes().len())
            .field("tokens", &self.inner.owners.len())
            .field("rules", &self.inner.rules)
            .field("key_hash", &self.inner.key_hash)
            .finish_non_exhaustive()
    }
}
