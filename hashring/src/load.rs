//! Bounded load (Mirrokni, Thorup, Zadimoghaddam 2016): the owner while it has room, else another
//! node that every caller finds in the same order.

use crate::hash::{GOLDEN, mix};
use crate::plant::planted;
use crate::sync::{Arc, AtomicU32, AtomicU64, Ordering, spin_hint};
use crate::{BuildError, Locate, NodeId, NodeIdx, Topology};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// The least and the greatest factor, in thousandths of the fair share.
const FACTOR_RANGE: core::ops::RangeInclusive<u32> = 1_001..=10_000;
/// Random nodes tried before all are, one after the other.
const JUMPS: u64 = 31;

/// Wraps a placement so that no node carries more than its share of the requests in flight, times
/// a factor.
///
/// A [`Permit`] stands for a request: take one before it is sent, drop it when it is done. A key
/// goes to its owner unless that is full; then to the owner of another, derived hash (random jumps:
/// the overflow of a hot node spreads over all others), at last to any node with room.
///
/// The counts are those of this process only.
///
/// # Cost
/// `pick` allocates nothing and takes no lock: three atomic operations beside the lookup, three
/// when the permit is dropped.
///
/// # Examples
/// ```
/// use quorate_hashring::{BoundedLoad, KeyHash, Node, NodeId, Rendezvous, Topology};
///
/// let topology = Topology::builder()
///     .node(Node::new(NodeId::new(1)))
///     .node(Node::new(NodeId::new(2)))
///     .build()?;
/// let balanced = BoundedLoad::new(Rendezvous::new(&topology, KeyHash::default()), 1_250)?;
/// let permits: Vec<_> = (0..8).map(|_| balanced.pick(b"one hot key")).collect();
/// let loads = [1, 2].map(|id| balanced.load(NodeId::new(id)));
/// assert_eq!(loads.iter().sum::<u32>(), 8);
/// assert!(loads.into_iter().all(|load| load <= 5)); // ceil(1.25 · 8 / 2)
/// drop(permits);
/// assert_eq!(balanced.load(NodeId::new(1)), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
/// Mirrokni, Thorup, Zadimoghaddam: *Consistent Hashing with Bounded Loads*, arXiv 1608.01350;
/// random jumps: Chen, Coleman, Shrivastava, arXiv 1908.08762.
pub struct BoundedLoad<L> {
    placement: L,
    factor_permille: u32,
    /// A thousand times the sum of all weights.
    share: u64,
    weights: Box<[u32]>,
    /// Of each node of the topology.
    counters: Box<[Arc<Counter>]>,
    /// Of nodes that are gone, as long as somebody else can still count there.
    departed: Vec<Arc<Counter>>,
    totals: Arc<Totals>,
}

/// Requests in flight at a node.
struct Counter {
    node: NodeId,
    load: AtomicU32,
    totals: Arc<Totals>,
}

/// What all versions of a placement count together.
struct Totals {
    /// Permits given.
    picks: AtomicU64,
    /// Permits returned.
    returns: AtomicU64,
    overflows: AtomicU64,
    probes: AtomicU64,
    scans: AtomicU64,
}

/// What a [`BoundedLoad`] did, together with all it was [rebuilt](BoundedLoad::rebuilt) from and
/// to.
///
/// # Examples
/// ```
/// use quorate_hashring::{BoundedLoad, KeyHash, Node, NodeId, Rendezvous, Topology};
///
/// let topology = Topology::builder().node(Node::new(NodeId::new(1))).build()?;
/// let balanced = BoundedLoad::new(Rendezvous::new(&topology, KeyHash::default()), 1_250)?;
/// let permit = balanced.pick(b"key");
/// assert_eq!((balanced.stats().picks, balanced.stats().permits), (1, 1));
/// # drop(permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadStats {
    /// Permits given.
    pub picks: u64,
    /// Permits for the owner of the key itself.
    pub owner_hits: u64,
    /// Other nodes tried because those before were full.
    pub probes: u64,
    /// Times that all nodes were tried one after the other.
    pub scans: u64,
    /// Permits that are out now.
    pub permits: u64,
}

/// A request in flight at a node; dropped when it is done, however it ends.
///
/// It may outlive the [`BoundedLoad`] that gave it and be dropped on any thread.
///
/// # Examples
/// See [`BoundedLoad`].
#[must_use = "the node is loaded for as long as the permit is held"]
pub struct Permit {
    counter: Arc<Counter>,
}

impl<L: Locate> BoundedLoad<L> {
    /// Bounds the load of a placement's nodes to `factor_permille` thousandths of their fair share.
    /// Usual: 1,250 · range: 1,001 to 10,000 · lower: evener, more keys away from their owner.
    ///
    /// # Errors
    /// [`BuildError::OutOfRange`] for the factor.
    pub fn new(placement: L, factor_permille: u32) -> Result<Self, BuildError> {
        if !FACTOR_RANGE.contains(&factor_permille) {
            let [value, min, max] =
                [factor_permille, *FACTOR_RANGE.start(), *FACTOR_RANGE.end()].map(u64::from);
            return Err(BuildError::OutOfRange { name: "factor_permille", value, min, max });
        }
        let totals = Arc::new(Totals {
            picks: AtomicU64::new(0),
            returns: AtomicU64::new(0),
            overflows: AtomicU64::new(0),
            probes: AtomicU64::new(0),
            scans: AtomicU64::new(0),
        });
        Ok(Self::with_counters(placement, factor_permille, totals, &[]))
    }

    /// The same over another placement, for when nodes come, go or get another weight. Counters go
    /// on by node: permits that are out count in both, and the old one may still be used while the
    /// new one spreads.
    #[must_use]
    pub fn rebuilt<M: Locate>(&self, placement: M) -> BoundedLoad<M> {
        // Of nodes that went earlier, those where an older placement or a permit can still count.
        let lingering = self.departed.iter().filter(|counter| Arc::strong_count(counter) > 1);
        let mut known: Vec<Arc<Counter>> = self.counters.iter().chain(lingering).cloned().collect();
        known.sort_unstable_by_key(|counter| counter.node);
        BoundedLoad::with_counters(placement, self.factor_permille, self.totals.clone(), &known)
    }

    /// With the counters known from before, in the order of ids.
    fn with_counters(
        placement: L,
        factor_permille: u32,
        totals: Arc<Totals>,
        known: &[Arc<Counter>],
    ) -> Self {
        let nodes = placement.topology().nodes();
        let known_at = |node: NodeId| known.binary_search_by_key(&node, |counter| counter.node);
        let counter = |node: NodeId| match known_at(node) {
            // H27: who comes and goes keeps its count.
            Ok(at) if !planted("m29_permit_lost_on_rebuilt") => known[at].clone(),
            _ => {
                let load = AtomicU32::new(0);
                Arc::new(Counter { node, load, totals: totals.clone() })
            }
        };
        let counters = nodes.iter().map(|node| counter(node.id())).collect();
        let weights: Box<[u32]> = nodes.iter().map(|node| node.weight_of().raw()).collect();
        let sum: u64 = weights.iter().copied().map(u64::from).sum();
        // Nodes that just went keep their counter too: they may come back while permits are out.
        let is_gone =
            |counter: &&Arc<Counter>| placement.topology().index_of(counter.node).is_none();
        let departed = known.iter().filter(is_gone).cloned().collect();
        let share = sum * 1000;
        Self { placement, factor_permille, share, weights, counters, departed, totals }
    }

    /// The placement.
    pub const fn placement(&self) -> &L {
        &self.placement
    }

    /// A permit for a key's request.
    pub fn pick(&self, key: &[u8]) -> Permit {
        self.pick_at(self.placement.key_hash().hash(key))
    }

    /// A permit for the request of a key with this hash.
    ///
    /// # Cost
    /// One lookup if the owner has room; at most 32, then a look at every node.
    pub fn pick_at(&self, hash: u64) -> Permit {
        let totals = &*self.totals;
        // Counted before the node is: the loads never add up to more than the permits.
        let picks = totals.picks.fetch_add(1, Ordering::Acquire) + 1;
        let mut permits = totals.permits_out(picks).max(1);
        let owner = usize::from(self.placement.owner_at(hash).value());
        if let Some(permit) = self.take(owner, permits) {
            return permit;
        }
        totals.overflows.fetch_add(1, Ordering::Relaxed);
        loop {
            if let Some(permit) = self.pick_other(hash, permits) {
                return permit;
            }
            // The bounds add up to more than the permits there were: that all were full means that
            // another call took a place meanwhile.
            if planted("m28_cap_by_floor") {
                self.counters[owner].load.fetch_add(1, Ordering::Relaxed);
                return Permit { counter: self.counters[owner].clone() };
            }
            spin_hint();
            permits = totals.permits_out(totals.picks.load(Ordering::Acquire)).max(1);
        }
    }

    #[cold]
    fn pick_other(&self, hash: u64, permits: u64) -> Option<Permit> {
        let jumps = (1..=JUMPS).map(|jump| {
            let other = mix(hash.wrapping_add(jump.wrapping_mul(GOLDEN)));
            usize::from(self.placement.owner_at(other).value())
        });
        let mut probes = 0;
        let mut found = jumps.inspect(|_| probes += 1).find_map(|node| self.take(node, permits));
        if found.is_none() {
            self.totals.scans.fetch_add(1, Ordering::Relaxed);
            let count = self.counters.len();
            #[expect(clippy::cast_possible_truncation, reason = "below the number of nodes")]
            let first = (mix(hash) % count as u64) as usize;
            let nodes = (first..count).chain(0..first);
            found = nodes.inspect(|_| probes += 1).find_map(|node| self.take(node, permits));
        }
        self.totals.probes.fetch_add(probes, Ordering::Relaxed);
        found
    }

    /// A permit for this node, if its load is below its bound among so many permits.
    #[inline]
    fn take(&self, node: usize, permits: u64) -> Option<Permit> {
        let counter = &self.counters[node];
        let mut load = counter.load.load(Ordering::Relaxed);
        while self.has_room(node, load, permits) {
            let taken = counter.load.compare_exchange_weak(
                load,
                load + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match taken {
                Ok(_) => return Some(Permit { counter: counter.clone() }),
                Err(now) => load = now,
            }
        }
        None
    }

    /// `load < ceil(factor · permits · weight / (1000 · Σ weights))`, without the division: a whole
    /// number is below the ceiling exactly if it is below the fraction.
    #[inline]
    fn has_room(&self, node: usize, load: u32, permits: u64) -> bool {
        let bound =
            u128::from(u64::from(self.factor_permille) * permits) * u128::from(self.weights[node]);
        if planted("m28_cap_by_floor") {
            return (u128::from(load) + 1) * u128::from(self.share) <= bound;
        }
        u128::from(load) * u128::from(self.share) < bound
    }

    /// Requests in flight at a node; 0 for one that was never there.
    #[must_use]
    pub fn load(&self, node: NodeId) -> u32 {
        let here = self.placement.topology().index_of(node);
        let counter = match here {
            Some(at) => self.counters.get(usize::from(at.value())),
            None => self.departed.iter().find(|counter| counter.node == node),
        };
        counter.map_or(0, |counter| counter.load.load(Ordering::Relaxed))
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> LoadStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let overflows = read(&self.totals.overflows);
        let picks = read(&self.totals.picks);
        LoadStats {
            picks,
            owner_hits: picks.saturating_sub(overflows),
            probes: read(&self.totals.probes),
            scans: read(&self.totals.scans),
            permits: self.totals.permits_out(picks),
        }
    }
}

/// Locates without regard to load.
impl<L: Locate> Locate for BoundedLoad<L> {
    fn topology(&self) -> &Topology {
        self.placement.topology()
    }

    fn key_hash(&self) -> &crate::KeyHash {
        self.placement.key_hash()
    }

    fn owner_at(&self, hash: u64) -> NodeIdx {
        self.placement.owner_at(hash)
    }
}

impl Totals {
    /// Permits that are out, when so many had been given: those returned are read later, so that
    /// this is never more than there were at that moment.
    fn permits_out(&self, picks: u64) -> u64 {
        picks.saturating_sub(self.returns.load(Ordering::Acquire))
    }
}

impl Permit {
    /// Where the request goes.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.counter.node
    }
}

// H27: whatever path drops the permit returns it, whichever version of the placement gave it.
impl Drop for Permit {
    fn drop(&mut self) {
        // The node first: the loads never add up to more than the permits.
        self.counter.load.fetch_sub(1, Ordering::Release);
        self.counter.totals.returns.fetch_add(1, Ordering::Release);
    }
}

impl<L: Locate + fmt::Debug> fmt::Debug for BoundedLoad<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedLoad")
            .field("placement", &self.placement)
            .field("factor_permille", &self.factor_permille)
            .field("permits", &self.stats().permits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("node", &self.counter.node).finish()
    }
}
