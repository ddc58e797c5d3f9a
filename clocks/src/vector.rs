//! [`VectorClock`]: the events of processes.

use crate::codec::{DecodeError, EncodeError, debug_map};
use crate::entries::{Entries, compare};
use crate::{Actor, ActorBytes, Causality, Dot};
use alloc::vec::Vec;
use core::fmt;

/// What a process has seen of every process's events, its own included.
///
/// Stamp each event with a copy of the clock: [`compare`](Self::compare) of two stamps then says
/// exactly whether one event could have caused the other. For replicas that count *updates* and
/// hand them on, use a [`VersionVector`](crate::VersionVector), which refuses gaps.
///
/// A process that is not in the clock and one with counter 0 are the same; only counters from 1 on
/// are kept. // H18
///
/// # Cost
/// Entries are sorted by actor; up to four stand in place, more take one allocation. `compare` is
/// one pass over both clocks; `merge` of a clock with nothing new writes and allocates nothing.
///
/// # Limits
/// Any number of entries in memory, 4,096 in the byte form. Nothing is pruned: a clock without an
/// entry it once had calls events concurrent that are not. // H20
/// A counter stays at `u64::MAX` once it got there.
///
/// With feature `serde`, ids are the caller's own and are written as their type is: a `u64` is a
/// bare number in JSON, where readers may lose bits above 2⁵³. Counters are text there, and so is
/// a [`Replica`](crate::Replica). // H29
///
/// # Examples
/// ```
/// use quorate_clocks::{Causality, VectorClock};
///
/// let (mut ada, mut bob) = (VectorClock::new(), VectorClock::new());
/// ada.tick("ada"); // sends a message with a copy of her clock
/// let message = ada.clone();
/// bob.tick("bob");
/// assert_eq!(bob.compare(&message), Causality::Concurrent);
/// let dot = bob.receive("bob", &message);
/// assert_eq!(dot.counter, 2);
/// assert_eq!(message.compare(&bob), Causality::Before);
/// ```
///
/// # Source
/// Fidge 1988; Mattern 1989.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VectorClock<A> {
    pub(crate) entries: Entries<Dot<A>>,
}

// Messages carry these: the size is part of the promise.
const _: () = assert!(size_of::<VectorClock<u64>>() <= 80);

impl<A: Actor> VectorClock<A> {
    /// The clock of a process that has seen nothing.
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

    /// How many events of `actor` were seen.
    #[must_use]
    pub fn get(&self, actor: A) -> u64 {
        self.entries.get(actor)
    }

    /// Counts an event of `actor` and names it.
    pub fn tick(&mut self, actor: A) -> Dot<A> {
        self.entries.tick(actor)
    }

    /// Merges what a message carried, then counts its arrival as an event of `actor`.
    pub fn receive(&mut self, actor: A, other: &Self) -> Dot<A> {
        self.merge(other);
        self.tick(actor)
    }

    /// Adds all that `other` has seen; whether that was news.
    ///
    /// # Cost
    /// One pass. Allocates only if an actor is new and there is no room for it.
    pub fn merge(&mut self, other: &Self) -> bool {
        self.entries.merge(&other.entries)
    }

    /// Keeps what both have seen.
    pub fn meet(&mut self, other: &Self) {
        self.entries.meet(&other.entries);
    }

    /// How the two histories stand to one another.
    ///
    /// # Cost
    /// One pass, left at the first proof of concurrency.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        compare(self.entries.as_slice(), other.entries.as_slice())
    }

    /// The last event seen of each process, by actor.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Dot<A>> + Clone {
        self.entries.as_slice().iter().copied()
    }

    /// How many processes have been heard of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<A: ActorBytes> VectorClock<A> {
    /// Its only byte form (`FORMAT.md`).
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

impl<A: Actor> Default for VectorClock<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: fmt::Debug> fmt::Debug for VectorClock<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_map(self.entries.as_slice(), f)
    }
}
