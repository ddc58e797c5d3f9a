//! The list that all vectors share: sorted by actor, counters at least 1, up to four in place.

use crate::{Actor, Causality, Dot, mutant};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::hash::{Hash, Hasher};

/// How many entries need no allocation.
const INLINE: usize = 4;

/// Something counted for an actor.
pub(crate) trait Entry: Copy {
    type Actor: Actor;
    fn dot(&self) -> Dot<Self::Actor>;
}

impl<A: Actor> Entry for Dot<A> {
    type Actor = A;

    #[inline]
    fn dot(&self) -> Self {
        *self
    }
}

/// Unused slots repeat an entry that was there, so that no slot is uninitialised and the type of
/// actors needs no default value. An empty list is an empty `Vec`, which has not allocated.
#[derive(Clone)]
pub(crate) enum Entries<T> {
    Inline { len: u8, slots: [T; INLINE] },
    Heap(Vec<T>),
}

impl<T> Entries<T> {
    pub(crate) const fn new() -> Self {
        Self::Heap(Vec::new())
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::Inline { len, slots } => &slots[..usize::from(*len)],
            Self::Heap(entries) => entries,
        }
    }

    #[inline]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::Inline { len, slots } => &mut slots[..usize::from(*len)],
            Self::Heap(entries) => entries,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }
}

impl<T: Copy> Entries<T> {
    /// Room for `count` entries in one allocation, or none for up to four.
    pub(crate) fn with_capacity(count: usize) -> Self {
        if count <= INLINE { Self::new() } else { Self::Heap(Vec::with_capacity(count)) }
    }

    /// Appends; the caller keeps the order.
    #[inline]
    pub(crate) fn push(&mut self, entry: T) {
        match self {
            Self::Heap(entries) if entries.capacity() == 0 => {
                *self = Self::Inline { len: 1, slots: [entry; INLINE] };
            }
            Self::Heap(entries) => entries.push(entry),
            Self::Inline { len, slots } if usize::from(*len) < INLINE => {
                slots[usize::from(*len)] = entry;
                *len += 1;
            }
            Self::Inline { slots, .. } => {
                let mut entries = Vec::with_capacity(2 * INLINE);
                entries.extend_from_slice(slots);
                entries.push(entry);
                *self = Self::Heap(entries);
            }
        }
    }

    /// Appends `count` copies of `filler`, to be overwritten.
    fn extend(&mut self, count: usize, filler: T) {
        if let (Self::Inline { .. }, len) = (&*self, self.len())
            && len + count > INLINE
        {
            let mut entries = Vec::with_capacity((len + count).max(2 * INLINE));
            entries.extend_from_slice(self.as_slice());
            *self = Self::Heap(entries);
        } else if let Self::Heap(entries) = self
            && (entries.capacity() > 0 || count > INLINE)
        {
            entries.reserve(count);
        }
        for _ in 0..count {
            self.push(filler);
        }
    }

    pub(crate) fn insert(&mut self, at: usize, entry: T) {
        self.extend(1, entry);
        self.as_mut_slice()[at..].rotate_right(1);
    }

    /// Keeps the first `count`.
    fn truncate(&mut self, count: usize) {
        match self {
            // Never above the number that was there, so it fits.
            Self::Inline { len, .. } => *len = u8::try_from(count).unwrap_or(*len).min(*len),
            Self::Heap(entries) => entries.truncate(count),
        }
    }
}

impl<T: Entry> Entries<T> {
    /// Where the actor stands, or where it would.
    #[inline]
    pub(crate) fn find(&self, actor: T::Actor) -> Result<usize, usize> {
        self.as_slice().binary_search_by(|entry| entry.dot().actor.cmp(&actor))
    }

    /// The counter of `actor`, 0 if it has none.
    #[inline]
    pub(crate) fn get(&self, actor: T::Actor) -> u64 {
        self.find(actor).map_or(0, |at| self.as_slice()[at].dot().counter)
    }

    /// Takes over the entries of `other` whose actors are new.
    pub(crate) fn adopt(&mut self, other: &[T]) {
        let mut mine = self.as_slice().iter().map(|entry| entry.dot().actor).peekable();
        let new = other.iter().filter(|entry| {
            let actor = entry.dot().actor;
            while mine.next_if(|mine| *mine < actor).is_some() {}
            mine.peek() != Some(&actor)
        });
        let missing = new.count();
        if missing > 0 {
            self.splice(other, missing);
        }
    }

    /// Takes over the `missing` entries of `other` whose actors are new, from the end on, so that
    /// each entry moves once.
    fn splice(&mut self, other: &[T], missing: usize) {
        let Some(filler) = other.first() else { return };
        let (mut mine, mut theirs) = (self.len(), other.len());
        self.extend(missing, *filler);
        let all = self.as_mut_slice();
        let mut end = all.len();
        // As long as `end > mine`, an entry of `other` is to be placed.
        while end > mine {
            end -= 1;
            let new = other[theirs - 1];
            match all[..mine]
                .last()
                .map_or(Ordering::Less, |last| last.dot().actor.cmp(&new.dot().actor))
            {
                Ordering::Less => {
                    all[end] = new;
                    theirs -= 1;
                }
                order => {
                    mine -= 1;
                    all[end] = all[mine];
                    theirs -= usize::from(order == Ordering::Equal);
                }
            }
        }
    }
}

impl<A: Actor> Entries<Dot<A>> {
    /// In any order; zero counters are dropped, of several for one actor the largest counts.
    pub(crate) fn from_unsorted(entries: impl IntoIterator<Item = (A, u64)>) -> Self {
        let mut list = Self::new();
        for (actor, counter) in entries {
            list.raise(actor, counter);
        }
        list
    }

    /// Raises the counter of `actor` to `counter` if it is below.
    pub(crate) fn raise(&mut self, actor: A, counter: u64) {
        match self.find(actor) {
            Ok(at) => {
                let entry = &mut self.as_mut_slice()[at];
                entry.counter = entry.counter.max(counter);
            }
            // A zero entry and a missing one are one value: only one of them is stored. // H18
            Err(_) if counter == 0 && !mutant::on("zero_entries_kept") => {}
            Err(at) => self.insert(at, Dot { actor, counter }),
        }
    }

    /// Counts one more event; stays at the largest number.
    pub(crate) fn tick(&mut self, actor: A) -> Dot<A> {
        match self.find(actor) {
            Ok(at) => {
                let entry = &mut self.as_mut_slice()[at];
                entry.counter = entry.counter.saturating_add(1);
                *entry
            }
            Err(at) => {
                let dot = Dot { actor, counter: 1 };
                self.insert(at, dot);
                dot
            }
        }
    }

    /// The larger of both for each actor; whether that changed anything. Allocates only if an
    /// actor is new and there is no room for it.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        let (missing, changed) = raise_all(self.as_mut_slice(), other.as_slice());
        if missing > 0 {
            self.splice(other.as_slice(), missing);
        }
        changed || missing > 0
    }

    /// The smaller of both for each actor.
    pub(crate) fn meet(&mut self, other: &Self) {
        let other = other.as_slice();
        let all = self.as_mut_slice();
        let (mut kept, mut theirs) = (0, 0);
        for at in 0..all.len() {
            let mine = all[at];
            while theirs < other.len() && other[theirs].actor < mine.actor {
                theirs += 1;
            }
            let counter = match other.get(theirs) {
                Some(entry) if entry.actor == mine.actor => entry.counter.min(mine.counter),
                _ => 0,
            };
            if counter > 0 || mutant::on("zero_entries_kept") {
                all[kept] = Dot { actor: mine.actor, counter };
                kept += 1;
            }
        }
        self.truncate(kept);
    }
}

/// Raises each counter of `ours` to that of `theirs`, writing only where it is below. Gives the
/// number of actors that `ours` does not have, and whether a counter rose.
#[inline]
fn raise_all<A: Actor>(ours: &mut [Dot<A>], theirs: &[Dot<A>]) -> (usize, bool) {
    let (mut mine, mut other) = (0, 0);
    let (mut missing, mut changed) = (0, false);
    while mine < ours.len() && other < theirs.len() {
        let (entry, new) = (&mut ours[mine], theirs[other]);
        if entry.actor == new.actor {
            if entry.counter < new.counter {
                entry.counter = new.counter;
                changed = true;
            }
            mine += 1;
            other += 1;
        } else if entry.actor < new.actor {
            mine += 1;
        } else {
            missing += 1;
            other += 1;
        }
    }
    (missing + (theirs.len() - other), changed)
}

/// One pass over both: an entry the other side has not is news of its side. Stops at the first
/// proof that both have news. // H18
#[inline]
pub(crate) fn compare<T: Entry>(left: &[T], right: &[T]) -> Causality {
    compare_with(left, right, |_, _| {})
}

/// [`compare`], showing both entries of each actor that both have, up to where it stops.
#[inline]
pub(crate) fn compare_with<T: Entry>(
    left: &[T],
    right: &[T],
    mut shared: impl FnMut(&T, &T),
) -> Causality {
    if mutant::on("compare_by_length") && left.len() != right.len() {
        return Causality::of(left.len() > right.len(), left.len() < right.len());
    }
    let (mut left_only, mut right_only) = (false, false);
    // Mostly both know the same actors, at least the first ones: no search, only counters.
    let mut same = 0;
    for (l, r) in left.iter().zip(right) {
        let (mine, other) = (l.dot(), r.dot());
        if mine.actor != other.actor {
            break;
        }
        shared(l, r);
        left_only |= mine.counter > other.counter;
        right_only |= mine.counter < other.counter;
        if left_only & right_only {
            return Causality::Concurrent;
        }
        same += 1;
    }
    let (mut left, mut right) = (&left[same..], &right[same..]);
    while let ([l, left_rest @ ..], [r, right_rest @ ..]) = (left, right) {
        let (mine, other) = (l.dot(), r.dot());
        let order = mine.actor.cmp(&other.actor);
        if order.is_eq() {
            shared(l, r);
        }
        left_only |= order.is_lt() | (order.is_eq() & (mine.counter > other.counter));
        right_only |= order.is_gt() | (order.is_eq() & (mine.counter < other.counter));
        if left_only & right_only {
            return Causality::Concurrent;
        }
        if order.is_le() {
            left = left_rest;
        }
        if order.is_ge() {
            right = right_rest;
        }
    }
    Causality::of(left_only | !left.is_empty(), right_only | !right.is_empty())
}

impl<T: PartialEq> PartialEq for Entries<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Eq> Eq for Entries<T> {}

impl<T: Hash> Hash for Entries<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}
