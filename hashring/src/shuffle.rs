//! Shuffle sharding: every tenant gets a few nodes of its own choice, so that hardly two tenants
//! share all of theirs and one that breaks its nodes takes few others down.

use crate::hash::{KeyHash, mix};
use crate::plant::planted;
use crate::rendezvous::Scores;
use crate::width::{to_u16, to_u32};
use crate::{BuildError, Level, NodeIdx, Topology};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64_with_seed};

/// Chooses a shard of nodes for each tenant.
///
/// A shard is the best nodes of the tenant by [rendezvous](crate::Rendezvous), so that adding or
/// removing a node changes at most one member of any shard. Spread over failure domains, each
/// domain gives as many members as the others or one more; which ones give more depends on the
/// tenant. That still changes one member at most, as long as the domains stay the same and none
/// has fewer nodes than it should give.
///
/// # Cost
/// O(N) per shard; [`shard_into`](Self::shard_into) allocates nothing.
///
/// # Examples
/// ```
/// use quorate_hashring::{Level, Node, NodeId, ShuffleSharder, Topology};
///
/// let zone = |id: u64| if id % 2 == 0 { "a" } else { "b" };
/// let nodes = (1..=12).map(|id| Node::new(NodeId::new(id)).at(Level::Zone, zone(id)));
/// let topology = nodes.fold(Topology::builder(), |all, node| all.node(node)).build()?;
/// let sharder = ShuffleSharder::new(&topology, 4, Some(Level::Zone), 0)?;
/// let shard = sharder.shard(b"tenant-7");
/// let in_a = shard.iter().filter(|node| topology.domain(**node, Level::Zone) == Some(0)).count();
/// assert_eq!((shard.len(), in_a), (4, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
/// C. `MacCárthaigh`, *Shuffle Sharding: Massive and Magical Fault Isolation*, AWS blog, 2014.
#[derive(Clone, Debug)]
pub struct ShuffleSharder {
    scores: Scores,
    size: usize,
    hash: KeyHash,
    spread: Option<Spread>,
}

/// The nodes by domain, and how many members each domain gives.
#[derive(Clone, Debug)]
struct Spread {
    domains: Vec<Domain>,
    /// Nodes with a weight, neighbours by domain.
    nodes: Box<[NodeIdx]>,
    /// Every domain gives this many, or all it has.
    each: usize,
    /// So many domains that have more nodes give one more.
    more: usize,
}

#[derive(Clone, Debug)]
struct Domain {
    salt: u64,
    nodes: Range<usize>,
}

impl ShuffleSharder {
    /// A sharder for these nodes: shards of `size` nodes, spread over the domains of a level if one
    /// is given. Another seed chooses other shards.
    ///
    /// # Errors
    /// [`BuildError::OutOfRange`] for a size of zero, [`BuildError::TooFewNodes`] if fewer nodes
    /// have a weight.
    pub fn new(
        topology: &Topology,
        size: u16,
        spread: Option<Level>,
        seed: u64,
    ) -> Result<Self, BuildError> {
        let weighted = topology.nodes().iter().filter(|node| !node.weight_of().is_zero()).count();
        let max = u64::from(u16::MAX);
        if size == 0 {
            return Err(BuildError::OutOfRange { name: "size", value: 0, min: 1, max });
        }
        let size = usize::from(size);
        if size > weighted {
            let (have, need) = (to_u32(weighted), to_u32(size));
            return Err(BuildError::TooFewNodes { have, need });
        }
        let spread = spread.map(|level| Spread::new(topology, level, size));
        Ok(Self { scores: Scores::new(topology), size, hash: KeyHash::xxh3(seed), spread })
    }

    /// The nodes of a tenant, the best first.
    #[must_use]
    pub fn shard(&self, tenant: &[u8]) -> Vec<NodeIdx> {
        let mut shard = vec![NodeIdx::new(0); self.size];
        let written = self.shard_into(tenant, &mut shard);
        shard.truncate(written);
        shard
    }

    /// Writes the nodes of a tenant, the best first, and gives how many: the size of a shard, or
    /// none if there is less room than that.
    ///
    /// # Cost
    /// No allocation.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::{Node, NodeId, NodeIdx, ShuffleSharder, Topology};
    ///
    /// let nodes = (1..=9).map(|id| Node::new(NodeId::new(id)));
    /// let topology = nodes.fold(Topology::builder(), |all, node| all.node(node)).build()?;
    /// let sharder = ShuffleSharder::new(&topology, 3, None, 0)?;
    /// let mut shard = [NodeIdx::new(0); 3];
    /// assert_eq!(sharder.shard_into(b"tenant-7", &mut shard), 3);
    /// assert_eq!(sharder.shard(b"tenant-7"), shard);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn shard_into(&self, tenant: &[u8], out: &mut [NodeIdx]) -> usize {
        let Some(out) = out.get_mut(..self.size) else { return 0 };
        let hash = self.hash.hash(tenant);
        if planted("m32_shards_by_modulo") {
            let count = self.scores.all().len() as u64;
            for (node, at) in out.iter_mut().zip(0_u64..) {
                let next = usize::try_from((hash % count + at) % count).unwrap_or(0);
                *node = NodeIdx::new(to_u16(next));
            }
            return self.size;
        }
        match &self.spread {
            None => self.scores.top(hash, self.scores.all(), out),
            Some(spread) => spread.shard(&self.scores, hash, out),
        }
    }
}

impl Spread {
    fn new(topology: &Topology, level: Level, size: usize) -> Self {
        let weighted = |at: &&NodeIdx| topology.weight_at(usize::from(at.value())) > 0;
        let nodes: Box<[NodeIdx]> = topology.by_place().iter().filter(weighted).copied().collect();
        let mut domains: Vec<Domain> = Vec::new();
        for (position, &at) in nodes.iter().enumerate() {
            let same =
                |before: &NodeIdx| topology.domain(*before, level) == topology.domain(at, level);
            match domains.last_mut() {
                Some(domain) if same(&nodes[position - 1]) => domain.nodes.end += 1,
                _ => domains.push(Domain {
                    salt: name_hash(topology, at, level),
                    nodes: position..position + 1,
                }),
            }
        }
        let given = |each: usize| -> usize {
            domains.iter().map(|domain| domain.nodes.len().min(each)).sum()
        };
        // floor(size / domains), or more where short domains hand on what they cannot give.
        let mut each = size / domains.len();
        // There are enough nodes, so that this ends: at the latest when every domain gives all.
        while given(each) < size && given(each + 1) <= size {
            each += 1;
        }
        let more = size - given(each);
        Self { each, more, domains, nodes }
    }

    /// No allocation: the room for the shard first holds the domains that give one more, of which
    /// only the worst has to be remembered.
    fn shard(&self, scores: &Scores, hash: u64, out: &mut [NodeIdx]) -> usize {
        let last_with_more = self.last_with_more(hash, &mut out[..self.more]);
        let mut written = 0;
        for domain in &self.domains {
            let has_more = domain.nodes.len() > self.each
                && last_with_more.is_some_and(|last| domain.rank(hash) <= last);
            let quota = (self.each + usize::from(has_more)).min(domain.nodes.len());
            let nodes = self.nodes[domain.nodes.clone()].iter().map(|at| usize::from(at.value()));
            written += scores.top(hash, nodes, &mut out[written..written + quota]);
        }
        out.sort_unstable_by(|&a, &b| {
            if a == b {
                return core::cmp::Ordering::Equal;
            }
            if scores.is_better(hash, a, b) {
                core::cmp::Ordering::Less
            } else {
                core::cmp::Ordering::Greater
            }
        });
        written
    }

    /// The rank of the worst of the domains that give one more.
    fn last_with_more(&self, hash: u64, scratch: &mut [NodeIdx]) -> Option<(u64, usize)> {
        let rank_at = |at: &NodeIdx| self.domains[usize::from(at.value())].rank(hash);
        let mut found = 0;
        for (number, domain) in self.domains.iter().enumerate() {
            if domain.nodes.len() <= self.each || scratch.is_empty() {
                continue;
            }
            let rank = domain.rank(hash);
            let place = scratch[..found].partition_point(|at| rank_at(at) < rank);
            if place == scratch.len() {
                continue;
            }
            found = (found + 1).min(scratch.len());
            scratch[place..found].rotate_right(1);
            scratch[place] = NodeIdx::new(to_u16(number));
        }
        scratch[..found].last().map(rank_at)
    }
}

impl Domain {
    /// Less is better: by the draw of its name; where two draws are equal, by place.
    fn rank(&self, hash: u64) -> (u64, usize) {
        (!mix(hash ^ self.salt), self.nodes.start)
    }
}

/// Stands for a domain, whatever others there are: a hash of its names from the region inwards, or
/// of the node that is a host of its own.
fn name_hash(topology: &Topology, at: NodeIdx, level: Level) -> u64 {
    let node = &topology.nodes()[usize::from(at.value())];
    if level == Level::Host && node.location(level).is_empty() {
        return xxh3_64_with_seed(&node.id().value().to_le_bytes(), 1);
    }
    let mut sum = Xxh3Default::new();
    for outer in Level::ALL.into_iter().take_while(|outer| *outer <= level) {
        let name = node.location(outer);
        sum.update(&[crate::width::to_u8(name.len())]); // H3: where names end
        sum.update(name.as_bytes());
    }
    sum.digest()
}

/// How likely it is that two shards of `shard` nodes out of `nodes` have exactly `common` nodes in
/// common, if both are random: `C(k, i) · C(n − k, k − i) / C(n, k)`.
///
/// For reports: nothing is placed by it.
///
/// # Examples
/// ```
/// use quorate_hashring::overlap_probability;
///
/// // Eight nodes, shards of two: one pair of tenants in 28 shares both nodes.
/// assert!((overlap_probability(8, 2, 2) - 1.0 / 28.0).abs() < 1e-12);
/// assert!(overlap_probability(100, 5, 5) < 1e-7);
/// assert_eq!(overlap_probability(4, 3, 1), 0.0); // at least two are common
/// ```
#[must_use]
pub fn overlap_probability(nodes: u32, shard: u32, common: u32) -> f64 {
    let (n, k, i) = (u64::from(nodes), u64::from(shard), u64::from(common));
    if k > n || i > k || k - i > n - k {
        return 0.0;
    }
    // Each a product of j = 1, 2, … of (top + j) / j, all factors at least one.
    let mut rising = fractions(k - i, i).chain(fractions(n - k - (k - i), k - i));
    let mut falling = fractions(n - k, k);
    let mut probability = 1.0;
    loop {
        // Taken by turns, so that neither product overflows on its own.
        let next = if probability >= 1.0 { falling.next().map(f64::recip) } else { rising.next() };
        let Some(factor) =
            next.or_else(|| rising.next()).or_else(|| falling.next().map(f64::recip))
        else {
            return probability;
        };
        probability *= factor;
    }
}

/// The factors of C(top + count, count).
fn fractions(top: u64, count: u64) -> impl Iterator<Item = f64> {
    #[expect(clippy::cast_precision_loss, reason = "below 2³³")]
    (1..=count).map(move |j| (top + j) as f64 / j as f64)
}
