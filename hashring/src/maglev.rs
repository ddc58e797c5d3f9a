//! Maglev (Eisenbud et al., NSDI 2016): a table of slots that nodes take in turn, each along a
//! permutation of its own.

use crate::hash::KeyHash;
use crate::plant::planted;
use crate::width::{to_u8, to_u16, to_u32};
use crate::{BuildError, Locate, NodeId, NodeIdx, Topology, Weight};
use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use xxhash_rust::xxh64::xxh64;

/// The greatest prime below 2²⁴.
const SLOTS_MAX: u32 = 16_777_213;
/// Stands in slots that nobody has taken yet.
const FREE: u16 = u16::MAX;

/// Settings of a [`Maglev`] table, checked when it is built.
///
/// # Examples
/// ```
/// use quorate_hashring::{KeyHash, MaglevConfig};
///
/// let config = MaglevConfig::default().slots(655_373).key_hash(KeyHash::xxh64(0));
/// assert_ne!(config, MaglevConfig::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaglevConfig {
    slots: u32,
    key_hash: KeyHash,
}

impl MaglevConfig {
    /// Default: 65,537 · unit: slots · range: a prime, at least one for each node with a weight, at
    /// most 16,777,213 · below a hundred times the nodes → uneven, and a change moves more keys ·
    /// too large → memory (1 or 2 bytes each), cache misses, slow to build.
    #[must_use]
    pub const fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// What turns keys into hashes. Default: `XXH3` with seed 0.
    #[must_use]
    pub const fn key_hash(mut self, key_hash: KeyHash) -> Self {
        self.key_hash = key_hash;
        self
    }
}

impl Default for MaglevConfig {
    fn default() -> Self {
        Self { slots: 65_537, key_hash: KeyHash::default() }
    }
}

/// A node and the permutation of slots that it goes along, for tables whose permutations come from
/// elsewhere ([`Maglev::from_entries`]).
///
/// # Examples
/// ```
/// use quorate_hashring::{MaglevEntry, NodeId, Weight};
///
/// let entry = MaglevEntry::new(NodeId::new(1), 3, 4, Weight::ONE);
/// assert_eq!(entry.skip, 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaglevEntry {
    /// The node.
    pub node: NodeId,
    /// The slot it asks for first, below the number of slots.
    pub offset: u32,
    /// How far it goes on from a slot that is taken: at least 1, below the number of slots.
    pub skip: u32,
    /// Its weight; with none it takes no slot.
    pub weight: Weight,
}

impl MaglevEntry {
    /// An entry from its parts.
    #[must_use]
    pub const fn new(node: NodeId, offset: u32, skip: u32, weight: Weight) -> Self {
        Self { node, offset, skip, weight }
    }
}

/// Who has which slot: one byte each while 255 nodes or fewer are numbered.
#[derive(Clone, PartialEq, Eq)]
enum Slots {
    Narrow(Box<[u8]>),
    Wide(Box<[u16]>),
}

/// A Maglev table: the most even of the stateless placements, for routing packets or requests.
///
/// A change of nodes also moves some keys between nodes that stay, the more the fewer slots there
/// are for each: about 3 % more than the least possible with 10 nodes and 65,537 slots, 61 % with
/// 100, several times it with 1000. Where that matters take a [`Ring`](crate::Ring) or
/// [`Rendezvous`](crate::Rendezvous).
///
/// # Shape
/// One slot is 1 byte (2 from 256 nodes on). A key's slot is its hash modulo the number of slots.
///
/// # Cost
/// A lookup hashes the key and loads one slot: no allocation, no lock. Building takes O(slots ·
/// ln slots) steps, times ln nodes if weights differ.
///
/// # Examples
/// ```
/// use quorate_hashring::{Locate, Maglev, MaglevConfig, Node, NodeId, Topology};
///
/// let topology = Topology::builder()
///     .node(Node::new(NodeId::new(1)))
///     .node(Node::new(NodeId::new(2)))
///     .build()?;
/// let maglev = Maglev::build(&topology, &MaglevConfig::default())?;
/// let owner = maglev.owner(b"10.0.0.7:41822");
/// assert!(topology.node(owner).is_some());
/// assert_eq!(maglev.entries(owner).abs_diff(65_537 / 2), u32::from(owner.value() == 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
/// Eisenbud et al., *Maglev: A Fast and Reliable Software Network Load Balancer*, NSDI 2016, §3.4.
#[derive(Clone)]
pub struct Maglev {
    topology: Topology,
    key_hash: KeyHash,
    count: u32,
    /// `floor((2⁶⁴ − 1) / count)`: turns the modulo of lookups into a product.
    reciprocal: u64,
    slots: Slots,
    /// Slots of each node.
    entries: Box<[u32]>,
    /// How many nodes hold any.
    holders: usize,
}

/// A node on its way through its permutation.
struct Player {
    node: u16,
    at: u32,
    skip: u32,
    weight: u32,
}

impl Maglev {
    /// The table of these nodes.
    ///
    /// # Errors
    /// [`BuildError::OutOfRange`] for too few slots or too many, [`BuildError::NotPrime`].
    pub fn build(topology: &Topology, config: &MaglevConfig) -> Result<Self, BuildError> {
        let slots = config.slots;
        check_slots(slots)?;
        let below = |hash: u64, bound: u32| {
            #[expect(clippy::cast_possible_truncation, reason = "below a bound of 32 bits")]
            let rest = (hash % u64::from(bound)) as u32;
            rest
        };
        let players = topology.nodes().iter().enumerate().map(|(at, node)| {
            let id = node.id().value().to_le_bytes();
            // H29: a skip of zero would ask for one slot for ever.
            let one = u32::from(!planted("m31_maglev_skip_without_one"));
            Player {
                node: to_u16(at),
                at: below(xxh64(&id, 0), slots),
                skip: below(xxh64(&id, 1), slots - 1) + one,
                weight: node.weight_of().raw(),
            }
        });
        Self::fill(topology, players.collect(), slots, config.key_hash)
    }

    /// The table of permutations that the caller chose, as another implementation hashes them. The
    /// order of the entries does not matter.
    ///
    /// # Errors
    /// As [`Maglev::build`], and [`BuildError::UnknownNode`], [`BuildError::DuplicateNode`],
    /// [`BuildError::OutOfRange`] for an offset or skip, [`BuildError::Empty`] if no entry has a
    /// weight.
    pub fn from_entries(
        topology: &Topology,
        entries: &[MaglevEntry],
        slots: u32,
        key_hash: KeyHash,
    ) -> Result<Self, BuildError> {
        check_slots(slots)?;
        let mut players = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(at) = topology.index_of(entry.node) else {
                return Err(BuildError::UnknownNode { node: entry.node.value() });
            };
            out_of_range("offset", entry.offset, 0, slots - 1)?;
            out_of_range("skip", entry.skip, 1, slots - 1)?; // H29
            let MaglevEntry { offset, skip, weight, .. } = *entry;
            players.push(Player { node: at.value(), at: offset, skip, weight: weight.raw() });
        }
        players.sort_by_key(|player| player.node); // H4
        if let Some(pair) = players.windows(2).find(|pair| pair[0].node == pair[1].node) {
            let node = topology.nodes()[usize::from(pair[0].node)].id();
            return Err(BuildError::DuplicateNode { node });
        }
        Self::fill(topology, players, slots, key_hash)
    }

    /// Lets the players take slots in turn. A round has them in the order of ids; who has less
    /// weight than the heaviest sits out some rounds.
    fn fill(
        topology: &Topology,
        mut players: Vec<Player>,
        count: u32,
        key_hash: KeyHash,
    ) -> Result<Self, BuildError> {
        players.retain(|player| player.weight > 0); // H29: they would take part in round 1
        if players.is_empty() {
            return Err(BuildError::Empty);
        }
        out_of_range("slots", count, to_u32(players.len()), SLOTS_MAX)?;
        let mut slots = vec![FREE; count as usize];
        let even = players.iter().all(|player| player.weight == players[0].weight);
        if even {
            take_in_turn(&mut players, &mut slots);
        } else {
            take_by_weight(&mut players, &mut slots);
        }
        let mut entries = vec![0_u32; topology.nodes().len()];
        for &node in &slots {
            entries[usize::from(node)] += 1;
        }
        let narrow = topology.nodes().len() <= usize::from(u8::MAX);
        let slots = if narrow {
            Slots::Narrow(slots.iter().map(|&node| to_u8(usize::from(node))).collect())
        } else {
            Slots::Wide(slots.into())
        };
        Ok(Self {
            topology: topology.clone(),
            key_hash,
            count,
            reciprocal: u64::MAX / u64::from(count),
            slots,
            holders: entries.iter().filter(|entries| **entries > 0).count(),
            entries: entries.into(),
        })
    }

    /// How many slots there are.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        self.count
    }

    /// Who has a slot.
    #[must_use]
    pub fn slot(&self, slot: u32) -> Option<NodeIdx> {
        (slot < self.count).then(|| self.holder(slot as usize))
    }

    /// How many slots a node has: at least one if it has a weight.
    #[must_use]
    pub fn entries(&self, node: NodeIdx) -> u32 {
        self.entries.get(usize::from(node.value())).copied().unwrap_or(0)
    }

    /// How many slots have another node in another table; none if that has another size.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Option<u32> {
        if self.count != other.count {
            return None;
        }
        let (ours, theirs) = (self.topology.nodes(), other.topology.nodes());
        let id = |nodes: &[crate::Node], at: NodeIdx| nodes[usize::from(at.value())].id();
        let differs =
            |slot: &usize| id(ours, self.holder(*slot)) != id(theirs, other.holder(*slot));
        Some(to_u32((0..self.count as usize).filter(differs).count()))
    }

    /// Writes the nodes of a hash's slot and of those behind it, each node once: whom to try, in
    /// that order, when the one before does not answer. Gives how many; the owner is the first.
    ///
    /// # Cost
    /// No allocation. Meant for a few: each one found is compared with those before it.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::{Locate, Maglev, MaglevConfig, Node, NodeId, NodeIdx, Topology};
    ///
    /// let topology = Topology::builder()
    ///     .node(Node::new(NodeId::new(1)))
    ///     .node(Node::new(NodeId::new(2)))
    ///     .build()?;
    /// let maglev = Maglev::build(&topology, &MaglevConfig::default())?;
    /// let mut candidates = [NodeIdx::new(0); 3];
    /// assert_eq!(maglev.candidates_at(17, &mut candidates), 2); // there are no more
    /// assert_eq!(candidates[0], maglev.owner_at(17));
    /// assert_ne!(candidates[0], candidates[1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn candidates_at(&self, hash: u64, out: &mut [NodeIdx]) -> usize {
        let wanted = out.len().min(self.holders);
        let mut found = 0;
        let mut slot = self.slot_of(hash);
        while found < wanted {
            let node = self.holder(slot);
            if !out[..found].contains(&node) {
                out[found] = node; // H24: nobody twice
                found += 1;
            }
            slot += 1;
            if slot == self.count as usize {
                slot = 0;
            }
        }
        found
    }

    #[inline]
    fn holder(&self, slot: usize) -> NodeIdx {
        match &self.slots {
            Slots::Narrow(slots) => NodeIdx::new(u16::from(slots[slot])),
            Slots::Wide(slots) => NodeIdx::new(slots[slot]),
        }
    }

    /// `hash mod count`. The product with the reciprocal is the quotient or one less.
    #[inline]
    fn slot_of(&self, hash: u64) -> usize {
        let count = u64::from(self.count);
        let quotient = ((u128::from(hash) * u128::from(self.reciprocal)) >> 64) as u64;
        let rest = hash - quotient * count;
        let rest = if rest >= count { rest - count } else { rest };
        debug_assert_eq!(rest, hash % count);
        #[expect(clippy::cast_possible_truncation, reason = "below `count`")]
        let slot = rest as usize;
        slot
    }
}

impl Locate for Maglev {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn key_hash(&self) -> &KeyHash {
        &self.key_hash
    }

    #[inline]
    fn owner_at(&self, hash: u64) -> NodeIdx {
        self.holder(self.slot_of(hash))
    }
}

impl fmt::Debug for Maglev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maglev")
            .field("slots", &self.count)
            .field("topology", &self.topology.digest())
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

impl Player {
    /// Takes the next slot of the permutation that is free. There is one: the size is prime, so
    /// that any skip leads through all slots.
    fn take(&mut self, slots: &mut [u16]) {
        let count = to_u32(slots.len());
        for _ in 0..count {
            if slots[self.at as usize] == FREE {
                break;
            }
            self.at += self.skip;
            if self.at >= count {
                self.at -= count;
            }
        }
        slots[self.at as usize] = self.node;
    }
}

/// Equal weights: everybody plays in every round.
fn take_in_turn(players: &mut [Player], slots: &mut [u16]) {
    let mut free = slots.len();
    while free > 0 {
        for player in players.iter_mut().take(free) {
            player.take(slots);
        }
        free -= free.min(players.len());
    }
}

/// A player of weight w plays in round r if r · w has reached what it has taken so far, counted in
/// the heaviest weight: with w/max of the turns it gets that part of the slots.
///
/// Players wait in a heap for their next round, so that many light ones beside a heavy one cost
/// nothing in rounds that they sit out.
fn take_by_weight(players: &mut [Player], slots: &mut [u16]) {
    let most = u64::from(players.iter().map(|player| player.weight).max().unwrap_or(1));
    let mut taken = vec![0_u64; players.len()];
    let first_round = (0..players.len()).map(|at| Reverse((1_u64, at)));
    let mut waiting: BinaryHeap<Reverse<(u64, usize)>> = first_round.collect();
    for _ in 0..slots.len() {
        let Some(mut next) = waiting.peek_mut() else { break };
        let Reverse((round, at)) = *next;
        players[at].take(slots);
        taken[at] += most;
        let due = taken[at].div_ceil(u64::from(players[at].weight));
        *next = Reverse((due.max(round + 1), at));
    }
}

fn check_slots(slots: u32) -> Result<(), BuildError> {
    out_of_range("slots", slots, 2, SLOTS_MAX)?;
    if is_prime(slots) { Ok(()) } else { Err(BuildError::NotPrime { slots }) } // H29
}

fn out_of_range(name: &'static str, value: u32, min: u32, max: u32) -> Result<(), BuildError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let (value, min, max) = (u64::from(value), u64::from(min), u64::from(max));
    Err(BuildError::OutOfRange { name, value, min, max })
}

/// By trial division: sizes are below 2²⁴, so at most 4096 divisions.
pub(crate) fn is_prime(number: u32) -> bool {
    let divides = |divisor: u32| number.is_multiple_of(divisor);
    let small = |divisor: &u32| u64::from(*divisor).pow(2) <= u64::from(number);
    number >= 2 && !(2..).take_while(small).any(divides)
}

#[cfg(test)]
mod tests {
    use super::is_prime;

    #[test]
    fn primes() {
        let first: Vec<u32> = (0..40).filter(|&n| is_prime(n)).collect();
        assert_eq!(first, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]);
        assert!(is_prime(65_537) && is_prime(16_777_213) && is_prime(4_294_967_291));
        assert!(!is_prime(65_536) && !is_prime(16_777_215) && !is_prime(u32::MAX));
        assert!(!(16_777_214..=16_777_216).any(is_prime)); // 16,777,213 is the last below 2²⁴
    }
}
