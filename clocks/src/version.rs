//! [`VersionVector`]: the updates a replica holds, without gaps.

use crate::codec::{DecodeError, EncodeError, debug_map};
use crate::entries::{Entries, compare};
use crate::{Actor, ActorBytes, Causality, Dot};
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

/// Which updates a replica holds: of each actor, the first `n`.
///
/// Updates are recorded one after another: a dot that skips one is refused as a [`Gap`], because
/// the vector would claim an update that is not there.
///
/// # Cost
/// As of [`VectorClock`](crate::VectorClock): up to four entries in place, one pass for everything
/// that looks at two vectors.
///
/// # Limits
/// Any number of entries in memory, 4,096 in the byte form. Nothing is pruned. // H20
///
/// With feature `serde`, ids are the caller's own and are written as their type is: a `u64` is a
/// bare number in JSON, where readers may lose bits above 2⁵³. Counters are text there, and so is
/// a [`Replica`](crate::Replica). // H29
///
/// # Examples
/// ```
/// use quorate_clocks::{Dot, VersionVector};
///
/// let (mut here, mut there) = (VersionVector::new(), VersionVector::new());
/// for _ in 0..3 {
///     let dot = here.next_dot(1_u64); // name the update, make it durable, then
///     assert_eq!(here.record(dot), Ok(true));
/// }
/// let missing = here.missing_from(&there).next().unwrap();
/// assert_eq!((missing.actor, missing.counters()), (1, 1..=3));
/// for dot in missing.dots() {
///     there.record(dot)?;
/// }
/// assert_eq!(here, there);
/// assert!(there.record(Dot { actor: 1, counter: 9 }).is_err()); // 4 to 8 are not here
/// # Ok::<(), quorate_clocks::Gap>(())
/// ```
///
/// # Source
/// Parker et al. 1983; Joshi, *Patterns of Distributed Systems*, "Version Vector".
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VersionVector<A> {
    pub(crate) entries: Entries<Dot<A>>,
}

impl<A: Actor> VersionVector<A> {
    /// That of a replica without updates.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Entries::new() }
    }

    /// From actors and counters in any order: zero counters are dropped, of several for one actor
    /// the largest is kept.
    #[must_use]
    pub fn from_entries(entries: impl IntoIterator<Item = (A, u64)>) -> Self {
        Self { entries: Entries::from_unsorted(entries) }
    }

    /// How many updates of `actor` are held.
    #[must_use]
    pub fn get(&self, actor: A) -> u64 {
        self.entries.get(actor)
    }

    /// The name of the next update of `actor`; it counts once it is [`record`](Self::record)ed.
    #[must_use]
    pub fn next_dot(&self, actor: A) -> Dot<A> {
        Dot { actor, counter: self.get(actor).saturating_add(1) }
    }

    /// Counts an update as held; `false` if it was already.
    ///
    /// # Errors
    /// [`Gap`] if an update before it is missing, or with `got` 0 for a counter of 0, which names
    /// no update.
    pub fn record(&mut self, dot: Dot<A>) -> Result<bool, Gap> {
        let have = self.get(dot.actor);
        if self.contains(dot) {
            return Ok(false);
        }
        // A counter of 0 follows nothing, not even the largest number. // H18
        if have.checked_add(1) != Some(dot.counter) {
            return Err(Gap { have, got: dot.counter });
        }
        self.entries.raise(dot.actor, dot.counter);
        Ok(true)
    }

    /// Whether the update is held.
    #[must_use]
    pub fn contains(&self, dot: Dot<A>) -> bool {
        dot.counter != 0 && dot.counter <= self.get(dot.actor)
    }

    /// Adds all that `other` holds; whether that was news.
    ///
    /// # Cost
    /// One pass. Allocates only if an actor is new and there is no room for it.
    pub fn merge(&mut self, other: &Self) -> bool {
        self.entries.merge(&other.entries)
    }

    /// Keeps what both hold.
    pub fn meet(&mut self, other: &Self) {
        self.entries.meet(&other.entries);
    }

    /// How the two sets of updates stand to one another.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        compare(self.entries.as_slice(), other.entries.as_slice())
    }

    /// The updates held here that `other` does not hold: what to send it.
    ///
    /// # Cost
    /// One pass over both in all; no allocation.
    pub fn missing_from(&self, other: &Self) -> impl Iterator<Item = DotRange<A>> {
        let mut theirs = other.entries.as_slice();
        self.iter().filter_map(move |dot| {
            while let [first, rest @ ..] = theirs
                && first.actor < dot.actor
            {
                theirs = rest;
            }
            let known = theirs.first().filter(|first| first.actor == dot.actor);
            let known = known.map_or(0, |first| first.counter);
            (known < dot.counter).then(|| DotRange {
                actor: dot.actor,
                first: known + 1,
                last: dot.counter,
            })
        })
    }

    /// The last update held of each actor, by actor.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Dot<A>> + Clone {
        self.entries.as_slice().iter().copied()
    }

    /// How many actors have updates here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<A: ActorBytes> VersionVector<A> {
    /// Its only byte form (`FORMAT.md`), that of a [`VectorClock`](crate::VectorClock) too.
    ///
    /// # Errors
    /// [`EncodeError::Entries`] above 4,096 entries.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        self.encode_into(&mut out)?;
        Ok(out)
    }

    /// Appends its byte form.
    ///
    /// # Errors
    /// [`EncodeError::Entries`] above 4,096 entries; `out` is as it was.
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.entries.encode_into(out)
    }

    /// From its byte form, all of it.
    ///
    /// # Cost
    /// One allocation above four entries, at most twice as long as `bytes`; none for refused ones.
    ///
    /// # Errors
    /// [`DecodeError`] for anything but what [`encode`](Self::encode) writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Entries::decode(bytes).map(|entries| Self { entries })
    }
}

impl<A: Actor> Default for VersionVector<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: fmt::Debug> fmt::Debug for VersionVector<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_map(self.entries.as_slice(), f)
    }
}

/// Updates of one actor that follow one another.
///
/// # Examples
/// ```
/// use quorate_clocks::VersionVector;
///
/// let ours = VersionVector::from_entries([('a', 5)]);
/// let theirs = VersionVector::from_entries([('a', 3), ('b', 1)]);
/// let range = ours.missing_from(&theirs).next().unwrap();
/// assert_eq!(range.counters(), 4..=5);
/// assert_eq!(range.dots().count(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DotRange<A> {
    /// Whose.
    pub actor: A,
    /// The first, at least 1.
    pub first: u64,
    /// The last, not below the first.
    pub last: u64,
}

impl<A: Actor> DotRange<A> {
    /// Their counters.
    #[must_use]
    pub const fn counters(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }

    /// Each of them.
    pub fn dots(&self) -> impl Iterator<Item = Dot<A>> {
        let actor = self.actor;
        self.counters().map(move |counter| Dot { actor, counter })
    }
}

/// An update was to be recorded before one that comes earlier, or a dot that names none.
///
/// Effect: the vector is as it was. Fetch the updates `have + 1` to `got - 1`, record them, and try
/// again. If `got` is 0 a retry fails again: counters begin at 1.
///
/// # Examples
/// ```
/// use quorate_clocks::{Dot, VersionVector};
///
/// let mut held = VersionVector::from_entries([('a', 2)]);
/// let gap = held.record(Dot { actor: 'a', counter: 4 }).unwrap_err();
/// assert_eq!((gap.have, gap.got), (2, 4));
/// assert_eq!(held.get('a'), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The last update that is held.
    pub have: u64,
    /// The one that was to be recorded.
    pub got: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.got {
            0 => write!(f, "update 0 after {}: counters begin at 1", self.have),
            got => write!(f, "update {got} follows {}: those between are missing", self.have),
        }
    }
}

impl core::error::Error for Gap {}
