//! Rendezvous hashing (Thaler, Ravishankar 1998), with weights: every node scores every key, the
//! best score wins.

use crate::hash::{KeyHash, mix};
use crate::logtable::minus_log2;
use crate::plant::planted;
use crate::rules::{Caps, REPLICAS_MAX};
use crate::width::to_u16;
use crate::{BuildError, Locate, NodeIdx, Rules, Topology};
use alloc::boxed::Box;
use core::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// Placement without any state but the nodes: exactly fair in expectation by weight, and a change
/// of one node moves keys only to or from that node, re-weighting included.
///
/// # Cost
/// A lookup scores all nodes, about a nanosecond each: fine for tens of nodes; for hundreds take a
/// [`Ring`](crate::Ring) or a [`PartitionTable`](crate::PartitionTable). No allocation. Sixteen
/// bytes per node.
///
/// # Examples
/// ```
/// use quorate_hashring::{KeyHash, Locate, Node, NodeId, Rendezvous, Topology, Weight};
///
/// let topology = Topology::builder()
///     .node(Node::new(NodeId::new(1)))
///     .node(Node::new(NodeId::new(2)).weight(Weight::units(3)))
///     .build()?;
/// let rendezvous = Rendezvous::new(&topology, KeyHash::default());
/// let large = topology.index_of(NodeId::new(2)).unwrap();
/// let hits = (0..1000_u32).filter(|i| rendezvous.owner(&i.to_le_bytes()) == large).count();
/// assert!((700..800).contains(&hits));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
/// Thaler, Ravishankar: *Using name-based mappings to increase hit rates*, IEEE/ACM Transactions on
/// Networking 6 (1998). With weights the winner is who has the least `−ln(u) / weight`, u uniform
/// in (0, 1): the first of independent exponential clocks to ring, each at a rate of its weight.
#[derive(Clone)]
pub struct Rendezvous {
    topology: Topology,
    key_hash: KeyHash,
    scores: Scores,
}

impl Rendezvous {
    /// The placement on these nodes.
    #[must_use]
    pub fn new(topology: &Topology, key_hash: KeyHash) -> Self {
        Self { topology: topology.clone(), key_hash, scores: Scores::new(topology) }
    }

    /// Writes the best nodes of a hash, the owner first, and gives how many: all that have a weight
    /// or as many as there is room for.
    ///
    /// # Cost
    /// No allocation; O(N · ln room) for typical hashes.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::{KeyHash, Locate, Node, NodeId, NodeIdx, Rendezvous, Topology};
    ///
    /// let nodes = (1..=5).map(|id| Node::new(NodeId::new(id)));
    /// let topology = nodes.fold(Topology::builder(), |all, node| all.node(node)).build()?;
    /// let rendezvous = Rendezvous::new(&topology, KeyHash::default());
    /// let mut best = [NodeIdx::new(0); 3];
    /// assert_eq!(rendezvous.top_at(42, &mut best), 3);
    /// assert_eq!(best[0], rendezvous.owner_at(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn top_at(&self, hash: u64, out: &mut [NodeIdx]) -> usize {
        self.scores.top(hash, self.scores.all(), out)
    }

    /// Writes the holders of a hash under rules, the owner first, and gives how many: the best node
    /// again and again among those that the rules still admit.
    ///
    /// # Cost
    /// O(replicas · N), and the rules are compared with the topology each time, which allocates if
    /// a soft rule has to give way.
    ///
    /// # Errors
    /// [`BuildError`] if the rules cannot be kept on this topology, or there is less room than
    /// replicas; nothing was written.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::{KeyHash, Level, Node, NodeId, NodeIdx, Rendezvous, Rules, Topology};
    ///
    /// let node = |id, zone| Node::new(NodeId::new(id)).at(Level::Zone, zone);
    /// let topology = Topology::builder().node(node(1, "a")).node(node(2, "a")).node(node(3, "b"));
    /// let topology = topology.build()?;
    /// let rendezvous = Rendezvous::new(&topology, KeyHash::default());
    /// let mut holders = [NodeIdx::new(0); 2];
    /// let rules = Rules::new(2).at_most(Level::Zone, 1);
    /// assert_eq!(rendezvous.replicas_into(42, &rules, &mut holders)?, 2);
    /// let zone = |node| topology.domain(node, Level::Zone);
    /// assert_ne!(zone(holders[0]), zone(holders[1]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replicas_into(
        &self,
        hash: u64,
        rules: &Rules,
        out: &mut [NodeIdx],
    ) -> Result<usize, BuildError> {
        let caps = Caps::resolve(&self.topology, rules)?;
        let replicas = usize::from(caps.replicas);
        if out.len() < replicas {
            let (value, min) = (out.len() as u64, replicas as u64);
            let max = u64::from(REPLICAS_MAX);
            return Err(BuildError::OutOfRange { name: "room", value, min, max });
        }
        for chosen in 0..replicas {
            let (row, rest) = out.split_at_mut(chosen);
            let admitted = self
                .scores
                .all()
                .filter(|&node| caps.admits(&self.topology, row, NodeIdx::new(to_u16(node))));
            if let Some(best) = self.scores.best(hash, admitted) {
                rest[0] = NodeIdx::new(to_u16(best));
            }
        }
        Ok(replicas)
    }
}

impl Locate for Rendezvous {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn key_hash(&self) -> &KeyHash {
        &self.key_hash
    }

    #[inline]
    fn owner_at(&self, hash: u64) -> NodeIdx {
        NodeIdx::new(to_u16(self.scores.owner(hash)))
    }
}

impl fmt::Debug for Rendezvous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendezvous").field("topology", &self.topology.digest()).finish()
    }
}

/// What scores are made of, by node.
#[derive(Clone, Debug)]
pub(crate) struct Scores {
    salts: Box<[u64]>,
    weights: Box<[u32]>,
    /// All weights are equal: the greatest draw wins.
    even: bool,
}

/// How well a node did on a hash. −log₂ of its draw, divided by its weight, decides; the division
/// is never carried out.
#[derive(Clone, Copy, Debug)]
struct Score {
    draw: u64,
    log: u64,
    weight: u32,
    node: usize,
}

impl Score {
    /// Whether this one wins: less log per weight, then the larger draw, then the smaller id.
    #[inline]
    fn beats(&self, other: &Self) -> bool {
        let (ours, theirs) = if planted("m30_log_compared_by_integer_division") {
            (
                u128::from(self.log / u64::from(self.weight)),
                u128::from(other.log / u64::from(other.weight)),
            )
        } else {
            // H6: exact, so that a third node never notices a change of weight.
            (
                u128::from(self.log) * u128::from(other.weight),
                u128::from(other.log) * u128::from(self.weight),
            )
        };
        (ours, other.draw, self.node) < (theirs, self.draw, other.node)
    }

    /// Whether a draw loses against this score without a look at its logarithm: that is never less
    /// than its tangent at 1, `log₂e · (1 − draw / 2⁶⁴)`; 23/16 is a little below log₂e.
    #[inline]
    fn surely_beats(&self, draw: u64, weight: u32) -> bool {
        let least = ((!draw >> 16) * 23) >> 4;
        u128::from(least) * u128::from(self.weight) > u128::from(self.log) * u128::from(weight)
    }
}

impl Scores {
    pub(crate) fn new(topology: &Topology) -> Self {
        let nodes = topology.nodes();
        let weights: Box<[u32]> = nodes.iter().map(|node| node.weight_of().raw()).collect();
        let salt = |id: u64| xxh3_64(&id.to_le_bytes());
        let even = weights[0] > 0 && weights.iter().all(|weight| *weight == weights[0]);
        let salts = nodes.iter().map(|node| salt(node.id().value())).collect();
        Self { salts, weights, even }
    }

    pub(crate) fn all(&self) -> core::ops::Range<usize> {
        0..self.salts.len()
    }

    #[inline]
    fn draw(&self, hash: u64, node: usize) -> u64 {
        mix(hash ^ self.salts[node])
    }

    fn score(&self, hash: u64, node: usize) -> Score {
        self.score_of(self.draw(hash, node), node)
    }

    fn score_of(&self, draw: u64, node: usize) -> Score {
        Score { draw, log: minus_log2(draw), weight: self.weights[node], node }
    }

    #[inline]
    fn owner(&self, hash: u64) -> usize {
        if self.even { self.greatest_draw(hash) } else { self.best(hash, self.all()).unwrap_or(0) }
    }

    /// With equal weights the logarithm is in the way: it falls as the draw rises, and between
    /// equal logarithms the draw decides.
    #[inline]
    fn greatest_draw(&self, hash: u64) -> usize {
        let mut best = (mix(hash ^ self.salts[0]), 0);
        for (node, salt) in self.salts.iter().enumerate().skip(1) {
            let draw = mix(hash ^ salt);
            if draw > best.0 {
                best = (draw, node);
            }
        }
        best.1
    }

    /// The best of these nodes that has a weight.
    fn best(&self, hash: u64, nodes: impl Iterator<Item = usize>) -> Option<usize> {
        let mut best: Option<Score> = None;
        for node in nodes {
            let (draw, weight) = (self.draw(hash, node), self.weights[node]);
            if weight == 0 || best.is_some_and(|best| best.surely_beats(draw, weight)) {
                continue;
            }
            let score = self.score_of(draw, node);
            if best.is_none_or(|best| score.beats(&best)) {
                best = Some(score);
            }
        }
        best.map(|best| best.node)
    }

    /// Writes the best of these nodes in order, as many as there is room for; gives how many.
    pub(crate) fn top(
        &self,
        hash: u64,
        nodes: impl Iterator<Item = usize>,
        out: &mut [NodeIdx],
    ) -> usize {
        let mut found = 0;
        let mut worst: Option<Score> = None; // of a full list
        for node in nodes {
            let (draw, weight) = (self.draw(hash, node), self.weights[node]);
            let lost = worst.is_some_and(|worst| worst.surely_beats(draw, weight));
            if weight == 0 || lost || out.is_empty() {
                continue;
            }
            let score = self.score_of(draw, node);
            if worst.is_some_and(|worst| !score.beats(&worst)) {
                continue;
            }
            let score_at = |at: &NodeIdx| self.score(hash, usize::from(at.value()));
            let rank = out[..found].partition_point(|at| score_at(at).beats(&score));
            found = (found + 1).min(out.len());
            out[rank..found].rotate_right(1);
            out[rank] = NodeIdx::new(to_u16(node));
            if found == out.len() {
                worst = Some(score_at(&out[found - 1]));
            }
        }
        found
    }

    /// Whether a node does better on a hash than another.
    pub(crate) fn is_better(&self, hash: u64, a: NodeIdx, b: NodeIdx) -> bool {
        let [a, b] = [a, b].map(|at| self.score(hash, usize::from(at.value())));
        a.beats(&b)
    }
}
