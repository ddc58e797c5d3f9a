//! What [`DvvSet`]s do to one another: which values survive.

use crate::dvv::{Known, SiblingLimit};
use crate::entries::{Entries, compare_with};
use crate::{Actor, Causality, DvvSet, VersionVector, mutant};
use alloc::vec::Vec;

/// An entry with its values.
type Taken<'a, A, V> = (Known<A>, &'a [V]);

/// A set taken apart: entries, the values they own, and values without a dot.
struct Side<'a, A, V> {
    all: &'a Entries<Known<A>>,
    /// The entries that were not taken yet; `dotted` holds their values.
    left: &'a [Known<A>],
    dotted: &'a [V],
    anonymous: &'a [V],
}

impl<'a, A: Actor, V> Side<'a, A, V> {
    fn of(set: &'a DvvSet<A, V>) -> Self {
        let (dotted, anonymous) = set.values.split_at(set.dotted());
        Self { all: &set.known, left: set.known.as_slice(), dotted, anonymous }
    }

    /// Its entry for `actor` and the values of that; to be asked in the order of actors.
    #[inline]
    fn take(&mut self, actor: A) -> Option<Taken<'a, A, V>> {
        let entry = self.left.first().filter(|entry| entry.actor == actor)?;
        self.left = &self.left[1..];
        let values;
        (values, self.dotted) = self.dotted.split_at(entry.live);
        Some((*entry, values))
    }
}

impl<A: Actor, V: Clone + PartialEq> DvvSet<A, V> {
    /// What both sides together know: exactly the values that the other side's history does not
    /// cover.
    ///
    /// Of the anonymous values, which no history covers, those of the strictly newer side are kept,
    /// or those of both sides if neither is newer.
    ///
    /// Commutative and idempotent, up to the order and repetition of anonymous values; associative
    /// if no set holds anonymous values, which is so for all that went through
    /// [`update`](Self::update).
    ///
    /// # Cost
    /// One pass over both, one allocation for the values and one above four actors.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::DvvSet;
    ///
    /// let east = DvvSet::new("e1").update(None, 'e');
    /// let west = DvvSet::new("w1").update(None, 'w');
    /// let both = east.sync(&west);
    /// assert_eq!(both.len(), 2);
    ///
    /// // West replaces both. East's old value does not come back.
    /// let west = DvvSet::with_context(&both.context(), "w2").update(Some(&both), 'w');
    /// assert_eq!(east.sync(&west), west);
    /// ```
    #[must_use]
    pub fn sync(&self, other: &Self) -> Self {
        sync(Side::of(self), Side::of(other))
    }

    /// The server's set after it has taken this write: the values that the write's context covers
    /// are gone, those it does not cover stay, the written value is the newest event of `actor`.
    ///
    /// A write holds one anonymous value ([`new`](Self::new), [`with_context`](Self::with_context),
    /// [`reconcile`](Self::reconcile)). Without one this is [`sync`](Self::sync); of several, each
    /// gets a dot, the last one the newest.
    ///
    /// `actor` is the server (with its incarnation, see [`Replica`](crate::Replica)), and one
    /// server updates a key one write after another.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::{Dot, DvvSet};
    ///
    /// let server = DvvSet::new("x").update(None, 's');
    /// let read = server.context();
    /// let server = DvvSet::with_context(&read, "y").update(Some(&server), 's');
    /// // A slower client had read the same: its write does not hide the other.
    /// let server = DvvSet::with_context(&read, "z").update(Some(&server), 's');
    /// assert_eq!(server.values().collect::<Vec<_>>(), [&"z", &"y"]);
    /// assert!(server.context().contains(Dot { actor: 's', counter: 3 }));
    /// ```
    #[must_use]
    pub fn update(self, server: Option<&Self>, actor: A) -> Self {
        let taken = self.taken_by(server);
        self.write(taken, actor)
    }

    /// [`update`](Self::update), unless it would leave more than `siblings_max` values.
    ///
    /// # Errors
    /// [`SiblingLimit`] with this set unchanged.
    pub fn try_update(
        self,
        server: Option<&Self>,
        actor: A,
        siblings_max: usize,
    ) -> Result<Self, SiblingLimit<Self>> {
        let taken = self.taken_by(server);
        let siblings = taken.len() + (self.len() - self.dotted());
        if siblings > siblings_max {
            return Err(SiblingLimit { set: self, siblings, limit: siblings_max });
        }
        Ok(self.write(taken, actor))
    }

    /// The server's set with this one's history, but without its anonymous values.
    fn taken_by(&self, server: Option<&Self>) -> Self {
        let client = Side { anonymous: &[], ..Side::of(self) };
        match server {
            Some(server) => sync(client, Side::of(server)),
            None => Self { known: self.known.clone(), values: client.dotted.to_vec() },
        }
    }

    /// Gives the anonymous values of this set dots of `actor` in `taken`.
    fn write(mut self, mut taken: Self, actor: A) -> Self {
        let written = self.values.split_off(self.dotted());
        if written.is_empty() {
            return taken;
        }
        let at = taken.known.find(actor).unwrap_or_else(|at| {
            taken.known.insert(at, Known { actor, counter: 0, live: 0 });
            at
        });
        let newest: usize = taken.known.as_slice()[..at].iter().map(|known| known.live).sum();
        let known = &mut taken.known.as_mut_slice()[at];
        for value in written {
            // At the largest number the value replaces those before it: one dot, one value.
            if let Some(next) = known.counter.checked_add(1) {
                known.counter = next;
                known.live += 1;
                taken.values.insert(newest, value);
            } else {
                taken.values.drain(newest..newest + known.live);
                known.live = 1;
                taken.values.insert(newest, value);
            }
        }
        taken
    }
}

fn sync<A: Actor, V: Clone + PartialEq>(
    mut left: Side<'_, A, V>,
    mut right: Side<'_, A, V>,
) -> DvvSet<A, V> {
    let (mut left_buries, mut right_buries) = (false, false);
    let newer = compare_with(left.left, right.left, |mine, theirs| {
        left_buries |= mine.floor() > theirs.floor();
        right_buries |= mine.floor() < theirs.floor();
    });
    // Mostly one side knows all that the other does, values that died included: then its entries
    // stay as they are.
    let stays = match newer {
        Causality::Before => (!left_buries).then_some(&right),
        Causality::Equal | Causality::After => (!right_buries).then_some(&left),
        Causality::Concurrent => None,
    };
    if let Some(stays) = stays {
        return finish(stays.all.clone(), stays.dotted.to_vec(), newer, &left, &right);
    }
    let mut known = left.all.clone();
    known.adopt(right.left);
    let mut values = Vec::with_capacity(left.dotted.len() + right.dotted.len());
    for entry in known.as_mut_slice() {
        let survive = match (left.take(entry.actor), right.take(entry.actor)) {
            (Some(mine), Some(theirs)) => survivors(mine, theirs),
            (Some(alone), None) | (None, Some(alone)) => alone,
            (None, None) => continue,
        };
        *entry = survive.0;
        for value in survive.1 {
            values.push(value.clone());
        }
    }
    finish(known, values, newer, &left, &right)
}

/// Adds the anonymous values that are to be kept.
#[inline]
fn finish<A: Actor, V: Clone + PartialEq>(
    known: Entries<Known<A>>,
    mut values: Vec<V>,
    newer: Causality,
    left: &Side<'_, A, V>,
    right: &Side<'_, A, V>,
) -> DvvSet<A, V> {
    let (left, right) = match newer {
        Causality::Before => (&[][..], right.anonymous),
        Causality::After => (left.anonymous, &[][..]),
        Causality::Equal | Causality::Concurrent => (left.anonymous, right.anonymous),
    };
    let first = values.len();
    for value in left.iter().chain(right) {
        if !values[first..].contains(value) {
            values.push(value.clone());
        }
    }
    DvvSet { known, values }
}

/// Of one actor: what the one side knows and has no value for is dead on both.
#[inline]
fn survivors<'a, A: Actor, V>(mine: Taken<'a, A, V>, theirs: Taken<'a, A, V>) -> Taken<'a, A, V> {
    let floor = mine.0.floor().max(theirs.0.floor());
    let longest = if mutant::on("dvv_keeps_by_list_length") {
        mine.1.len() >= theirs.1.len()
    } else {
        mine.0.counter >= theirs.0.counter
    };
    let (mut entry, values) = if longest { mine } else { theirs };
    // The dead floor is at least this side's own, so not more than it has.
    let live = usize::try_from(entry.counter.saturating_sub(floor)).unwrap_or(usize::MAX);
    entry.live = live.min(values.len());
    (entry, &values[..entry.live])
}

impl<A: Actor, V> DvvSet<A, V> {
    /// One value made of all of them, as a write that has seen them: to be
    /// [`update`](Self::update)d into the server's set.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::DvvSet;
    ///
    /// let server = DvvSet::new(3).update(None, 'a');
    /// let server = DvvSet::new(4).update(Some(&server), 'a');
    /// let sum = server.clone().reconcile(|values| values.iter().sum());
    /// let server = sum.update(Some(&server), 'a');
    /// assert_eq!(server.values().collect::<Vec<_>>(), [&7]);
    /// ```
    #[must_use]
    pub fn reconcile(self, f: impl FnOnce(Vec<V>) -> V) -> Self {
        let context: VersionVector<A> = self.context();
        Self::with_context(&context, f(self.values))
    }

    /// The winner among the newest value of each actor and the anonymous values; of two, the later
    /// one wins if `le(earlier, later)`. `None` if there is no value.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::DvvSet;
    ///
    /// let server = DvvSet::new(5).update(None, 'a');
    /// let server = DvvSet::new(4).update(Some(&server), 'b');
    /// assert_eq!(server.newest(|a, b| a <= b), Some(&5));
    /// ```
    pub fn newest(&self, le: impl FnMut(&V, &V) -> bool) -> Option<&V> {
        self.winner(le).and_then(|winner| self.values.get(winner.at))
    }

    /// The winner of [`newest`](Self::newest) alone, in its place; the history stays as it is.
    #[must_use]
    pub fn last_writer_wins(mut self, le: impl FnMut(&V, &V) -> bool) -> Self {
        let Some(winner) = self.winner(le) else { return self };
        for (index, known) in self.known.as_mut_slice().iter_mut().enumerate() {
            known.live = usize::from(winner.entry == Some(index));
        }
        self.values.swap(0, winner.at);
        self.values.truncate(1);
        self
    }

    fn winner(&self, mut le: impl FnMut(&V, &V) -> bool) -> Option<Winner> {
        let mut at = 0;
        let mut heads: Vec<Winner> = Vec::new();
        for (index, known) in self.known.as_slice().iter().enumerate() {
            if known.live > 0 {
                heads.push(Winner { entry: Some(index), at });
            }
            at += known.live;
        }
        heads.extend((at..self.values.len()).map(|at| Winner { entry: None, at }));
        heads.into_iter().reduce(|best, next| {
            if le(&self.values[best.at], &self.values[next.at]) { next } else { best }
        })
    }
}

/// A value and the entry it belongs to, if any.
#[derive(Clone, Copy, Debug)]
struct Winner {
    entry: Option<usize>,
    at: usize,
}
