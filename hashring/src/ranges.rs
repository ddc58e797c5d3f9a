//! Key ranges: who holds which stretch of ordered keys, and how stretches are cut and joined.

mod chunk;
mod error;
mod format;
mod ids;
mod nodes;

pub use error::{RangeError, StaleRange};

use crate::plant::planted;
use crate::{Epoch, NodeId, NodeIdx, RangeId};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use chunk::{Chunks, Entry, Place};
use core::fmt;
use ids::Ids;
use nodes::Nodes;

/// Ranges in one map.
pub(crate) const RANGES_MAX: u64 = 1_048_576;
/// Bytes of a key that a range begins with.
pub(crate) const KEY_BYTES_MAX: u64 = 65_535;
/// Replicas of one range.
pub(crate) const REPLICAS_MAX: u64 = 16;
/// Ranges in one answer to a stale request.
const FRESH_MAX: usize = 8;

/// A stretch of keys, from `start` up to but not including `end`, and the nodes that hold it.
///
/// Keys are compared byte by byte, a prefix before what it begins; nothing else is a key order
/// here (H42).
///
/// # Examples
/// ```
/// use quorate_hashring::{Epoch, KeyRange, NodeId, RangeId};
///
/// let nodes = [NodeId::new(1), NodeId::new(2)];
/// let range = KeyRange::new(RangeId::new(7), Epoch::new(3), b"a", Some(b"m"), &nodes);
/// assert!(range.contains(b"a") && range.contains(b"lzz"));
/// assert!(!range.contains(b"m"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRange {
    /// Its name, for as long as it exists.
    pub id: RangeId,
    /// Rises with each change of its bounds or its nodes.
    pub epoch: Epoch,
    /// The first key in it.
    pub start: Arc<[u8]>,
    /// The first key behind it; none: it reaches the end of all keys.
    pub end: Option<Arc<[u8]>>,
    /// The nodes that hold it, in the order in which they were named.
    pub replicas: Arc<[NodeId]>,
}

impl KeyRange {
    /// A range from its parts, as a client learns it from an answer.
    #[must_use]
    pub fn new(
        id: RangeId,
        epoch: Epoch,
        start: &[u8],
        end: Option<&[u8]>,
        replicas: &[NodeId],
    ) -> Self {
        Self { id, epoch, start: start.into(), end: end.map(Into::into), replicas: replicas.into() }
    }

    /// Whether a key lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end.as_ref().is_none_or(|end| *key < **end)
    }
}

/// All keys, tiled by ranges: a value that never changes; each change gives a new map that shares
/// what stayed the same.
///
/// Every change names the epoch of the range that it was decided on and is refused if the range
/// has changed since. Keep the map in one place that orders changes (a replicated log, or a store
/// with compare-and-set), and hand snapshots out.
///
/// # Cost
/// `n` ranges: [`locate`](Self::locate) is two binary searches over arrays of eight-byte prefixes,
/// without allocation; a change copies one or two chunks of at most 256 ranges and the list of
/// `n / 256` chunks, as does `clone`.
///
/// # Examples
/// ```
/// use quorate_hashring::{NodeId, RangeError, RangeId, RangeMap};
///
/// let [a, b] = [NodeId::new(1), NodeId::new(2)];
/// let map = RangeMap::new(RangeId::new(1), &[a])?;
///
/// let whole = map.locate(b"kiwi");
/// let map = map.split(whole.id, whole.epoch, b"m", RangeId::new(2))?;
/// let right = map.locate(b"mango");
/// let map = map.reassign(right.id, right.epoch, &[b])?;
///
/// assert_eq!(*map.locate(b"kiwi").replicas, [a]);
/// assert_eq!(*map.locate(b"mango").replicas, [b]);
/// # Ok::<(), RangeError>(())
/// ```
#[derive(Clone)]
pub struct RangeMap {
    chunks: Chunks,
    ids: Ids,
    nodes: Arc<Nodes>,
    count: usize,
    /// What all ranges take when encoded.
    bytes: usize,
}

impl RangeMap {
    /// One range over all keys, at epoch 1.
    ///
    /// # Errors
    /// [`RangeError::Limit`] unless there are 1 to 16 replicas, [`RangeError::DuplicateReplica`].
    pub fn new(first: RangeId, replicas: &[NodeId]) -> Result<Self, RangeError> {
        check_replicas(first, replicas)?;
        Self::from_ranges(alloc::vec![KeyRange::new(first, Epoch::new(1), b"", None, replicas)])
    }

    /// From ranges that tile the space in order, each with valid replicas; fails if an id is there
    /// twice or the nodes are too many.
    fn from_ranges(ranges: Vec<KeyRange>) -> Result<Self, RangeError> {
        let mut used: Vec<NodeId> =
            ranges.iter().flat_map(|r| r.replicas.iter().copied()).collect();
        used.sort_unstable();
        used.dedup();
        RangeError::check("nodes", used.len(), 1, nodes::NODES_MAX as u64)?;
        let nodes = Nodes::from_sorted(used);
        let starts = ranges.iter().map(|range| (range.id, range.start.clone())).collect();
        let Some(ids) = Ids::from_pairs(starts) else {
            return Err(RangeError::IdInUse { id: twice(&ranges) });
        };
        let count = ranges.len();
        let bytes = ranges.iter().map(format::range_bytes).sum();
        let entries = ranges.into_iter().map(|range| {
            let row = nodes.row(&range.replicas).unwrap_or_default();
            Arc::new(Entry { range, row })
        });
        Ok(Self {
            chunks: Chunks::from_entries(entries),
            ids,
            nodes: Arc::new(nodes),
            count,
            bytes,
        })
    }

    /// How many ranges there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a range")]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// The range that holds a key.
    ///
    /// # Cost
    /// No allocation.
    #[must_use]
    #[inline]
    pub fn locate(&self, key: &[u8]) -> &KeyRange {
        &self.chunks.entry(self.chunks.place(key)).range
    }

    /// The range with an id.
    #[must_use]
    pub fn get(&self, id: RangeId) -> Option<&KeyRange> {
        Some(&self.chunks.entry(self.place_of(id)?).range)
    }

    fn place_of(&self, id: RangeId) -> Option<Place> {
        self.ids.start(id).map(|start| self.chunks.place(start))
    }

    /// All ranges in key order.
    pub fn iter(&self) -> impl Iterator<Item = &KeyRange> {
        self.chunks.iter().map(|entry| &entry.range)
    }

    /// The ranges that hold keys from `from` up to but not including `to`, in key order: what a
    /// scan visits. None if `to` is not behind `from`.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::{NodeId, RangeError, RangeId, RangeMap};
    ///
    /// let map = RangeMap::new(RangeId::new(1), &[NodeId::new(1)])?;
    /// let map = map.split(RangeId::new(1), map.locate(b"").epoch, b"m", RangeId::new(2))?;
    /// assert_eq!(map.range(b"a", Some(b"m")).count(), 1);
    /// assert_eq!(map.range(b"a", Some(b"ma")).count(), 2);
    /// assert_eq!(map.range(b"z", Some(b"a")).count(), 0);
    /// # Ok::<(), RangeError>(())
    /// ```
    pub fn range<'a>(
        &'a self,
        from: &[u8],
        to: Option<&'a [u8]>,
    ) -> impl Iterator<Item = &'a KeyRange> {
        let some = to.is_none_or(|to| from < to);
        let entries = self.chunks.starting_at(self.chunks.place(from)).map(|entry| &entry.range);
        let before_end = move |range: &&KeyRange| to.is_none_or(|to| *range.start < *to);
        entries.take_while(move |range| some && before_end(range))
    }

    /// What a node asks before it serves a request that names a range and its epoch.
    ///
    /// # Errors
    /// [`StaleRange`] unless the key lies in exactly this range at exactly this epoch: send it to
    /// the client, whose [`RangeCache`](crate::RangeCache) learns from it.
    pub fn check(&self, key: &[u8], id: RangeId, epoch: Epoch) -> Result<&KeyRange, StaleRange> {
        let place = self.chunks.place(key);
        let range = &self.chunks.entry(place).range;
        if range.id == id && range.epoch == epoch {
            return Ok(range);
        }
        Err(StaleRange { fresh: self.fresh(place, epoch) })
    }

    /// The range at a place and its neighbours newer than `known` on both sides: after a split both
    /// halves, so that the client does not ask again for the other one.
    fn fresh(&self, place: Place, known: Epoch) -> Vec<KeyRange> {
        let newer = |at: &Place| self.chunks.entry(*at).range.epoch > known;
        let (mut first, mut last) = (place, place);
        let mut count = 1;
        loop {
            let before = self.chunks.before(first).filter(newer).filter(|_| count < FRESH_MAX);
            if let Some(before) = before {
                first = before;
                count += 1;
            }
            let after = self.chunks.after(last).filter(newer).filter(|_| count < FRESH_MAX);
            if let Some(after) = after {
                last = after;
                count += 1;
            }
            if before.is_none() && after.is_none() {
                break;
            }
        }
        let fresh = self.chunks.starting_at(first).take(count);
        fresh.map(|entry| entry.range.clone()).collect()
    }

    /// Cuts a range in two: what is before `at` keeps the id, the rest gets `right`. Both halves
    /// are one epoch newer than the range was, on the same nodes.
    ///
    /// # Errors
    /// [`RangeError::Unknown`], [`RangeError::WrongEpoch`], [`RangeError::OutOfRange`] unless `at`
    /// is a key of the range other than its first, [`RangeError::IdInUse`], [`RangeError::Limit`].
    pub fn split(
        &self,
        id: RangeId,
        epoch: Epoch,
        at: &[u8],
        right: RangeId,
    ) -> Result<Self, RangeError> {
        let (place, old) = self.expect(id, epoch)?;
        if !old.range.contains(at) || *old.range.start == *at {
            return Err(RangeError::OutOfRange { id });
        }
        RangeError::check("key bytes", at.len(), 1, KEY_BYTES_MAX)?;
        if self.ids.start(right).is_some() {
            return Err(RangeError::IdInUse { id: right });
        }
        RangeError::check("ranges", self.count + 1, 1, RANGES_MAX)?;
        let next = next_epoch(id, epoch)?;
        let at: Arc<[u8]> = at.into();
        let left_epoch = if planted("m34_split_keeps_the_left_epoch") { epoch } else { next };
        let left = KeyRange { epoch: left_epoch, end: Some(at.clone()), ..old.range.clone() };
        let right_half =
            KeyRange { id: right, epoch: next, start: at.clone(), ..old.range.clone() };
        let mut map = self.clone();
        map.grow(0, format::range_bytes(&right_half))?;
        let halves = [left, right_half].map(|range| entry(range, &old.row));
        map.chunks.replace(place, halves);
        map.ids.insert(right, at);
        map.count += 1;
        Ok(map)
    }

    /// Joins two neighbours on the same nodes. The left one's id survives, one epoch newer than the
    /// newer of both.
    ///
    /// # Errors
    /// [`RangeError::Unknown`], [`RangeError::WrongEpoch`], [`RangeError::NotAdjacent`],
    /// [`RangeError::ReplicasDiffer`]: the same nodes in another order are the same nodes.
    pub fn merge(
        &self,
        left: (RangeId, Epoch),
        right: (RangeId, Epoch),
    ) -> Result<Self, RangeError> {
        let (left_place, left_old) = self.expect(left.0, left.1)?;
        let (right_place, right_old) = self.expect(right.0, right.1)?;
        let (left, right) = (left.0, right.0);
        if self.chunks.after(left_place) != Some(right_place) {
            return Err(RangeError::NotAdjacent { left, right });
        }
        // H41: joined under one list of replicas, the data of one half would be declared to be
        // where it is not.
        if !same_nodes(&left_old.range.replicas, &right_old.range.replicas) {
            return Err(RangeError::ReplicasDiffer { left, right });
        }
        let epoch = next_epoch(left, left_old.range.epoch.max(right_old.range.epoch))?;
        let end = right_old.range.end.clone();
        let joined = KeyRange { epoch, end, ..left_old.range.clone() };
        let mut map = self.clone();
        map.bytes -= format::range_bytes(&right_old.range);
        map.chunks.remove(right_place); // first: it is behind the other
        map.chunks.replace(left_place, [entry(joined, &left_old.row)]);
        map.ids.remove(right);
        map.count -= 1;
        Ok(map)
    }

    /// Puts a range on other nodes, one epoch newer. Its data is the caller's to move:
    /// [`diff`](crate::diff()) of the two maps says from where to where.
    ///
    /// # Errors
    /// [`RangeError::Unknown`], [`RangeError::WrongEpoch`], [`RangeError::DuplicateReplica`],
    /// [`RangeError::Limit`] unless there are 1 to 16 replicas, and not too many nodes in all.
    pub fn reassign(
        &self,
        id: RangeId,
        epoch: Epoch,
        replicas: &[NodeId],
    ) -> Result<Self, RangeError> {
        let (place, old) = self.expect(id, epoch)?;
        check_replicas(id, replicas)?;
        let epoch = next_epoch(id, epoch)?;
        let range = KeyRange { epoch, replicas: replicas.into(), ..old.range.clone() };
        let (mut map, row) = match self.nodes.row(replicas) {
            Some(row) => (self.clone(), row),
            None => self.with_nodes(replicas)?,
        };
        map.grow(format::range_bytes(&old.range), format::range_bytes(&range))?;
        map.chunks.replace(place, [entry(range, &row)]);
        Ok(map)
    }

    /// This map with a table that names these nodes too, and their positions there. A full table is
    /// made anew from the nodes that ranges are still on.
    fn with_nodes(&self, replicas: &[NodeId]) -> Result<(Self, Box<[NodeIdx]>), RangeError> {
        let mut map = self.clone();
        let nodes = match self.nodes.with(replicas) {
            Ok(nodes) => nodes,
            Err(_) => {
                map = Self::from_ranges(self.iter().cloned().collect())?;
                map.nodes.with(replicas)?
            }
        };
        let row = nodes.row(replicas).unwrap_or_default();
        map.nodes = Arc::new(nodes);
        Ok((map, row))
    }

    /// Exchanges what some range takes when encoded, if all still fit.
    fn grow(&mut self, old: usize, new: usize) -> Result<(), RangeError> {
        let bytes = self.bytes - old + new;
        RangeError::check("encoded bytes", bytes, 0, format::RANGES_BYTES_MAX)?;
        self.bytes = bytes;
        Ok(())
    }

    /// The range with this id, if it has this epoch.
    fn expect(&self, id: RangeId, epoch: Epoch) -> Result<(Place, &Entry), RangeError> {
        let place = self.place_of(id).ok_or(RangeError::Unknown { id })?;
        let entry = self.chunks.entry(place);
        if entry.range.epoch != epoch {
            return Err(RangeError::WrongEpoch { id, have: entry.range.epoch });
        }
        Ok((place, entry))
    }
}

fn entry(range: KeyRange, row: &[NodeIdx]) -> Arc<Entry> {
    Arc::new(Entry { range, row: row.into() })
}

fn next_epoch(id: RangeId, epoch: Epoch) -> Result<Epoch, RangeError> {
    epoch.value().checked_add(1).map(Epoch::new).ok_or(RangeError::EpochsExhausted { id })
}

fn check_replicas(id: RangeId, replicas: &[NodeId]) -> Result<(), RangeError> {
    RangeError::check("replicas", replicas.len(), 1, REPLICAS_MAX)?;
    let twice = (1..replicas.len()).any(|i| replicas[..i].contains(&replicas[i]));
    if twice { Err(RangeError::DuplicateReplica { id }) } else { Ok(()) }
}

/// Whether two rows without duplicates name the same nodes.
fn same_nodes(a: &[NodeId], b: &[NodeId]) -> bool {
    a.len() == b.len() && a.iter().all(|node| b.contains(node))
}

/// An id that two of these have.
fn twice(ranges: &[KeyRange]) -> RangeId {
    let mut ids: Vec<RangeId> = ranges.iter().map(|range| range.id).collect();
    ids.sort_unstable();
    let pair = ids.windows(2).find(|pair| pair[0] == pair[1]);
    pair.map_or(RangeId::new(0), |pair| pair[0])
}

/// The same ranges; how the maps came about does not matter.
impl PartialEq for RangeMap {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for RangeMap {}

impl fmt::Debug for RangeMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
