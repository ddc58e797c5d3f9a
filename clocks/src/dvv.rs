//! [`DvvSet`]: the concurrent versions of one value, with exactly the history that tells which of
//! them are still versions. Its algorithms are in `siblings.rs`, its byte form in `dvv_codec.rs`.

use crate::entries::{Entries, Entry, compare};
use crate::{Actor, Causality, Dot, VersionVector};
use alloc::vec::Vec;
use core::fmt;

/// The events `1..=counter` of `actor` are known; the newest `live` of them still have a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Known<A> {
    pub(crate) actor: A,
    pub(crate) counter: u64,
    pub(crate) live: usize,
}

impl<A> Known<A> {
    /// The last event whose value is gone.
    pub(crate) const fn floor(&self) -> u64 {
        // The number of values is never above the counter.
        self.counter.saturating_sub(self.live as u64)
    }
}

impl<A: Actor> Entry for Known<A> {
    type Actor = A;

    #[inline]
    fn dot(&self) -> Dot<A> {
        Dot { actor: self.actor, counter: self.counter }
    }
}

/// A dotted version vector set: the concurrent values (siblings) of one key, and the history that
/// decides which values of another replica are news.
///
/// A server keeps one for each key. A client reads [`values`](Self::values) and
/// [`context`](Self::context), makes one value of them, and sends it back
/// [`with_context`](Self::with_context); the server [`update`](Self::update)s. What the client had
/// read is replaced, what it had not read stays as a sibling. Replicas exchange sets and
/// [`sync`](Self::sync) them.
///
/// # Shape
/// For each actor the number `n` of its events that are known and the values of the newest of
/// them, newest first. Besides, *anonymous* values: writes that have no dot yet, because no server
/// has taken them.
///
/// # Cost
/// All values stand in one allocation; the history of up to four actors takes none.
///
/// # Limits
/// Siblings are not bounded by [`update`](Self::update); use [`try_update`](Self::try_update).
/// The byte form holds 4,096 actors, 1,024 values of 16 MiB each.
///
/// A context belongs to the key it was read from. One that belongs to another key claims to have
/// seen values that it has not, and they are gone. // H34
/// The set cannot tell: actors are servers, the same for all keys, and a context may well be ahead
/// of the server that takes the write, if it was read from another one. Where it must not be,
/// `client.context().missing_from(&server.context())` lists what the server has not seen.
///
/// # Examples
/// ```
/// use quorate_clocks::DvvSet;
///
/// // Two clients write to server 1 without having read: siblings.
/// let server = DvvSet::new("milk").update(None, 1_u64);
/// let server = DvvSet::new("eggs").update(Some(&server), 1);
/// assert_eq!(server.values().collect::<Vec<_>>(), [&"eggs", &"milk"]);
///
/// // A third one reads both and writes their union: the siblings are replaced.
/// let client = DvvSet::with_context(&server.context(), "milk, eggs");
/// let server = client.update(Some(&server), 1);
/// assert_eq!(server.values().collect::<Vec<_>>(), [&"milk, eggs"]);
/// ```
///
/// # Source
/// Preguiça, Baquero, Almeida et al. 2010 (arXiv 1011.5808); Almeida et al. 2014, "Scalable and
/// accurate causality tracking for eventually consistent stores" (the set form).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DvvSet<A, V> {
    pub(crate) known: Entries<Known<A>>,
    /// The values of the first actor, newest first, then of the second, …, then the anonymous.
    pub(crate) values: Vec<V>,
}

impl<A: Actor, V> DvvSet<A, V> {
    /// A value written by someone who has read nothing.
    #[must_use]
    pub fn new(value: V) -> Self {
        Self { known: Entries::new(), values: Vec::from([value]) }
    }

    /// A value written by someone who has read everything in `context`.
    #[must_use]
    pub fn with_context(context: &VersionVector<A>, value: V) -> Self {
        let mut known = Entries::with_capacity(context.len());
        for Dot { actor, counter } in context.iter() {
            known.push(Known { actor, counter, live: 0 });
        }
        Self { known, values: Vec::from([value]) }
    }

    /// From what [`parts`](Self::parts) shows, actors in any order: actor, number of its events,
    /// values of the newest of them (newest first); then the anonymous values.
    ///
    /// Entries with counter 0 and no values are dropped.
    ///
    /// # Errors
    /// [`DvvError`] if an actor stands there twice or has more values than events.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::{DvvError, DvvSet};
    ///
    /// let set = DvvSet::from_parts(vec![('b', 3, vec!["new", "old"])], vec!["fresh"])?;
    /// assert_eq!(set.len(), 3);
    /// assert_eq!(
    ///     DvvSet::from_parts(vec![('b', 1, vec!["new", "old"])], vec![]),
    ///     Err(DvvError::Values { position: 0, counter: 1, values: 2 })
    /// );
    /// # Ok::<(), DvvError>(())
    /// ```
    pub fn from_parts(entries: Vec<(A, u64, Vec<V>)>, anonymous: Vec<V>) -> Result<Self, DvvError> {
        for (position, (_, counter, values)) in entries.iter().enumerate() {
            if values.len() as u64 > *counter {
                let (counter, values) = (*counter, values.len());
                return Err(DvvError::Values { position, counter, values });
            }
        }
        let mut order: Vec<_> = entries.into_iter().enumerate().collect();
        order.sort_by_key(|(_, (actor, ..))| *actor);
        for pair in order.windows(2) {
            if let [(first, (one, ..)), (second, (other, ..))] = pair
                && one == other
            {
                return Err(DvvError::Duplicate { first: *first, second: *second });
            }
        }
        let (mut known, mut all) = (Entries::new(), Vec::new());
        for (_, (actor, counter, values)) in order.into_iter().filter(|(_, (_, n, _))| *n > 0) {
            known.push(Known { actor, counter, live: values.len() });
            all.extend(values);
        }
        all.extend(anonymous);
        Ok(Self { known, values: all })
    }

    /// Everything in it: for each actor the number of its events and the values of the newest of
    /// them, newest first; and the anonymous values.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::DvvSet;
    ///
    /// let set = DvvSet::new("x").update(None, 'a');
    /// let (entries, anonymous) = set.parts();
    /// assert_eq!(entries.collect::<Vec<_>>(), [('a', 1, &["x"][..])]);
    /// assert!(anonymous.is_empty());
    /// ```
    pub fn parts(&self) -> (impl Iterator<Item = (A, u64, &[V])>, &[V]) {
        let (mut rest, anonymous) = self.values.split_at(self.dotted());
        let entries = self.known.as_slice().iter().map(move |known| {
            let values;
            (values, rest) = rest.split_at(known.live);
            (known.actor, known.counter, values)
        });
        (entries, anonymous)
    }

    /// The history: what someone who read this set has seen.
    #[must_use]
    pub fn context(&self) -> VersionVector<A> {
        let mut entries = Entries::with_capacity(self.known.len());
        for known in self.known.as_slice() {
            entries.push(known.dot());
        }
        VersionVector { entries }
    }

    /// How the two histories stand to one another. Anonymous values have none yet.
    #[must_use]
    pub fn causality(&self, other: &Self) -> Causality {
        compare(self.known.as_slice(), other.known.as_slice())
    }

    /// The siblings: by actor, newest first, then the anonymous ones.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.values.iter()
    }

    /// How many siblings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value. The history may still know of some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Who is in the history, in order.
    pub fn actors(&self) -> impl ExactSizeIterator<Item = A> {
        self.known.as_slice().iter().map(|known| known.actor)
    }

    /// The same history with other values.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::DvvSet;
    /// let lengths = DvvSet::new("four").update(None, 'a').map(str::len);
    /// assert_eq!(lengths.values().collect::<Vec<_>>(), [&4]);
    /// ```
    #[must_use]
    pub fn map<U>(self, f: impl FnMut(V) -> U) -> DvvSet<A, U> {
        DvvSet { known: self.known, values: self.values.into_iter().map(f).collect() }
    }

    /// How many values have a dot.
    pub(crate) fn dotted(&self) -> usize {
        self.known.as_slice().iter().map(|known| known.live).sum()
    }
}

impl<A: Actor, V: fmt::Debug> fmt::Debug for DvvSet<A, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, anonymous) = self.parts();
        let entries: Vec<_> = entries.collect();
        f.debug_struct("DvvSet").field("entries", &entries).field("anonymous", &anonymous).finish()
    }
}

/// Why parts are not a [`DvvSet`].
///
/// # Examples
/// ```
/// use quorate_clocks::{DvvError, DvvSet};
///
/// let twice = vec![('a', 1, vec!["x"]), ('b', 1, vec![]), ('a', 2, vec![])];
/// let error = DvvSet::from_parts(twice, vec![]).unwrap_err();
/// assert_eq!(error, DvvError::Duplicate { first: 0, second: 2 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DvvError {
    /// Effect: nothing was built. One actor stands at two positions; a retry fails again.
    Duplicate {
        /// Where it stands first.
        first: usize,
        /// Where it stands again.
        second: usize,
    },
    /// Effect: nothing was built. An actor has more values than events; a retry fails again.
    Values {
        /// Where it stands.
        position: usize,
        /// Its events.
        counter: u64,
        /// Its values.
        values: usize,
    },
}

impl fmt::Display for DvvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Duplicate { first, second } => {
                write!(f, "the actor of entry {first} stands again in entry {second}")
            }
            Self::Values { position, counter, values } => {
                write!(f, "entry {position} has {values} values of {counter} events")
            }
        }
    }
}

impl core::error::Error for DvvError {}

/// [`DvvSet::try_update`] would have left more siblings than are allowed.
///
/// Effect: nothing was written; the client's set is in here as it was. A retry can help once the
/// client has read the siblings and written what it makes of them.
///
/// # Examples
/// ```
/// use quorate_clocks::DvvSet;
///
/// let server = DvvSet::new("x").update(None, 1_u16);
/// let refused = DvvSet::new("y").try_update(Some(&server), 1, 1).unwrap_err();
/// assert_eq!((refused.siblings, refused.limit), (2, 1));
/// let again = DvvSet::with_context(&server.context(), "x and y");
/// assert!(again.try_update(Some(&server), 1, 1).is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiblingLimit<S> {
    /// The set that was to be written, unchanged.
    pub set: S,
    /// How many siblings there would have been.
    pub siblings: usize,
    /// How many there may be.
    pub limit: usize,
}

impl<S> fmt::Display for SiblingLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} siblings, the limit is {}", self.siblings, self.limit)
    }
}

impl<S: fmt::Debug> core::error::Error for SiblingLimit<S> {}
