//! What a client remembers of a [`RangeMap`](crate::RangeMap): ranges, with holes between them.

use crate::plant::planted;
use crate::{BuildError, Epoch, KeyRange, RangeId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How much a [`RangeCache`] remembers.
///
/// # Examples
/// ```
/// use quorate_hashring::{CacheConfig, RangeCache};
///
/// assert!(RangeCache::new(CacheConfig::default().ranges_max(1000)).is_ok());
/// assert!(RangeCache::new(CacheConfig::default().ranges_max(0)).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    ranges_max: u32,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { ranges_max: 65_536 }
    }
}

impl CacheConfig {
    /// Default: 65,536 · unit: ranges · range: 1 to 1,048,576 · too small → ranges are forgotten
    /// (and counted) while they are of use, and asked for again; below 8 a whole stale answer does
    /// not fit, and the range asked for may be among what goes · too large → memory.
    #[must_use]
    pub const fn ranges_max(self, ranges_max: u32) -> Self {
        Self { ranges_max }
    }
}

/// What became of a range that a cache was told.
///
/// # Examples
/// See [`RangeCache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Learned {
    /// It is in the cache now.
    Fresh {
        /// How many ranges that it overlaps were older and went.
        replaced: u32,
    },
    /// It was in the cache already.
    Known,
    /// The cache knows something newer, or something else of the same age, about a part of it:
    /// nothing changed (H40).
    Refused {
        /// The epoch of what it knows.
        have: Epoch,
    },
    /// No key lies in it: nothing changed.
    Empty,
}

/// What a [`RangeCache`] did since it was made.
///
/// # Examples
/// ```
/// use quorate_hashring::{CacheConfig, RangeCache};
///
/// let cache = RangeCache::new(CacheConfig::default())?;
/// assert!(cache.locate(b"key").is_none());
/// assert_eq!(cache.stats().holes, 1);
/// # Ok::<(), quorate_hashring::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Lookups that found a range.
    pub hits: u64,
    /// Lookups that found none: ask the authority.
    pub holes: u64,
    /// Ranges taken up.
    pub learned: u64,
    /// Ranges refused because the cache knew better.
    pub refused: u64,
    /// Ranges that went: replaced, evicted by the caller, or for want of room.
    pub evicted: u64,
}

/// A range and when it was learned.
#[derive(Debug)]
struct Cached {
    range: KeyRange,
    turn: u64,
}

/// The ranges that a client knows. Ranges never overlap; there may be holes between them.
///
/// A client sends the id and the epoch of the range with each request. When the answer is
/// [`StaleRange`](crate::StaleRange), it [learns](Self::learn) the fresh ranges and tries again.
/// Answers arrive in any order: an older range never replaces a newer one.
///
/// # Cost
/// O(log n) per operation; [`locate`](Self::locate) allocates nothing.
///
/// # Examples
/// ```
/// use quorate_hashring::{CacheConfig, Learned, NodeId, RangeCache, RangeId, RangeMap};
///
/// let map = RangeMap::new(RangeId::new(1), &[NodeId::new(1)])?;
/// let mut cache = RangeCache::new(CacheConfig::default())?;
/// let whole = map.locate(b"x").clone();
/// assert_eq!(cache.learn(whole.clone()), Learned::Fresh { replaced: 0 });
///
/// let map = map.split(whole.id, whole.epoch, b"m", RangeId::new(2))?;
/// let known = cache.locate(b"x").unwrap();
/// let stale = map.check(b"x", known.id, known.epoch).unwrap_err();
/// for range in stale.fresh {
///     let _ = cache.learn(range);
/// }
/// assert_eq!(cache.locate(b"x").unwrap().id, RangeId::new(2));
/// assert!(matches!(cache.learn(whole), Learned::Refused { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RangeCache {
    ranges_max: usize,
    by_start: BTreeMap<Arc<[u8]>, Cached>,
    by_id: BTreeSet<(RangeId, Arc<[u8]>)>,
    by_turn: BTreeMap<u64, Arc<[u8]>>,
    turn: u64,
    stats: CacheStats,
    // Lookups only read, so that a cache can be shared under a lock for readers.
    hits: AtomicUsize,
    holes: AtomicUsize,
}

impl RangeCache {
    /// A cache that knows nothing.
    ///
    /// # Errors
    /// [`BuildError::OutOfRange`] if the size is.
    pub fn new(config: CacheConfig) -> Result<Self, BuildError> {
        let (value, max) = (u64::from(config.ranges_max), crate::ranges::RANGES_MAX);
        if !(1..=max).contains(&value) {
            return Err(BuildError::OutOfRange { name: "ranges_max", value, min: 1, max });
        }
        let ranges_max = config.ranges_max as usize;
        Ok(Self {
            ranges_max,
            by_start: BTreeMap::new(),
            by_id: BTreeSet::new(),
            by_turn: BTreeMap::new(),
            turn: 0,
            stats: CacheStats::default(),
            hits: AtomicUsize::new(0),
            holes: AtomicUsize::new(0),
        })
    }

    /// The range that holds a key, as far as this cache knows.
    #[must_use]
    pub fn locate(&self, key: &[u8]) -> Option<&KeyRange> {
        let found = self.at_or_before(key).filter(|range| range.contains(key));
        let counter = if found.is_some() { &self.hits } else { &self.holes };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn at_or_before(&self, key: &[u8]) -> Option<&KeyRange> {
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Included(key));
        self.by_start.range::<[u8], _>(bounds).next_back().map(|(_, cached)| &cached.range)
    }

    /// Takes up a range, unless something newer is known about a part of it.
    pub fn learn(&mut self, range: KeyRange) -> Learned {
        if range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Learned::Empty;
        }
        let overlapped: Vec<Arc<[u8]>> =
            self.overlapping(&range).map(|r| r.start.clone()).collect();
        let newest = self.overlapping(&range).max_by_key(|known| known.epoch);
        if let Some(newest) = newest.filter(|known| known.epoch >= range.epoch) {
            if *newest == range {
                return Learned::Known;
            }
            // H40: answers overtake each other; of two different ranges of one age, the first
            // stays.
            if !planted("m35_cache_learns_older_ranges") {
                let have = newest.epoch;
                self.stats.refused += 1;
                return Learned::Refused { have };
            }
        }
        for start in &overlapped {
            self.remove(start);
        }
        if self.by_start.len() >= self.ranges_max {
            self.forget_oldest();
        }
        self.insert(range);
        let replaced = crate::width::to_u32(overlapped.len());
        Learned::Fresh { replaced }
    }

    /// The cached ranges that share a key with one that is not empty.
    fn overlapping<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a KeyRange> {
        let before = self.at_or_before(&range.start).filter(|known| known.contains(&range.start));
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Excluded(&range.start), end);
        let inside = self.by_start.range::<[u8], _>(bounds).map(|(_, cached)| &cached.range);
        before.into_iter().chain(inside)
    }

    fn insert(&mut self, range: KeyRange) {
        let start = range.start.clone();
        self.turn += 1;
        self.by_id.insert((range.id, start.clone()));
        self.by_turn.insert(self.turn, start.clone());
        self.by_start.insert(start, Cached { range, turn: self.turn });
        self.stats.learned += 1;
    }

    fn remove(&mut self, start: &Arc<[u8]>) {
        if let Some(cached) = self.by_start.remove(start) {
            self.by_turn.remove(&cached.turn);
            self.by_id.remove(&(cached.range.id, start.clone()));
            self.stats.evicted += 1;
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(start) = self.by_turn.first_key_value().map(|(_, start)| start.clone()) {
            self.remove(&start);
        }
    }

    /// Forgets the range with this id, unless what is known of it is newer than this epoch: for a
    /// client whose request failed without an answer that says what is right.
    pub fn evict(&mut self, id: RangeId, epoch: Epoch) -> bool {
        let first: (RangeId, Arc<[u8]>) = (id, Arc::from([]));
        let same_id = self.by_id.range(first..).take_while(|(other, _)| *other == id);
        let old = |start: &Arc<[u8]>| self.by_start[start].range.epoch <= epoch;
        let starts: Vec<Arc<[u8]>> = same_id.map(|(_, start)| start.clone()).filter(old).collect();
        for start in &starts {
            self.remove(start);
        }
        !starts.is_empty()
    }

    /// How many ranges it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_start.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// What it did since it was made.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as u64;
        CacheStats { hits: count(&self.hits), holes: count(&self.holes), ..self.stats }
    }
}
