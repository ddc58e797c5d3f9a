//! [`StateMachine`]: what the application replicates.

use crate::{Entry, EntryKind, LogIndex};
use bytes::Bytes;
use std::{fmt, io};

/// The application's state, changed only by the log.
///
/// # How to drive it
/// The driver calls it; implement it deterministically: the same entries in the same order must
/// give the same state and the same replies on every replica. No clock (an entry carries the
/// group's time), no randomness, no iteration over a hash map.
///
/// # Examples
/// ```
/// use quorate_raft::{Batch, Replies, SnapshotSource, StateMachine};
/// use std::io::{self, Read, Write};
///
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl StateMachine for Counter {
///     fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
///         for entry in batch {
///             self.0 += entry.data.len() as u64;
///             out.push(self.0.to_le_bytes().to_vec());
///         }
///     }
///     fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
///         let frozen = self.0.to_le_bytes();
///         Ok(Box::new(move |w: &mut dyn Write| w.write_all(&frozen)))
///     }
///     fn restore(&mut self, r: &mut dyn Read) -> io::Result<()> {
///         let mut bytes = [0; 8];
///         r.read_exact(&mut bytes)?;
///         self.0 = u64::from_le_bytes(bytes);
///         Ok(())
///     }
/// }
/// ```
pub trait StateMachine: Send + Sync + 'static {
    /// Applies entries in order and pushes exactly one reply per entry.
    ///
    /// # Panics
    /// A panic stops this replica (not the process); so does a wrong number of replies.
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies);

    /// A frozen view of the present state, to be written out while entries go on being applied.
    /// Must be cheap: it runs between two batches.
    ///
    /// # Errors
    /// The snapshot is abandoned and counted; the former one is kept.
    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>>;

    /// Replaces the state by what a [`SnapshotSource`] of this type wrote.
    ///
    /// # Errors
    /// This replica stops.
    fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()>;

    /// For machines that keep their state on disk themselves: the last entry it holds. Entries up
    /// to it are not applied again after a restart (they are read again, for what they say about
    /// sessions). Default: none, the log or a snapshot rebuilds the state.
    fn applied(&self) -> LogIndex {
        LogIndex::ZERO
    }
}

/// A frozen state that can be written out. Closures are.
///
/// # Examples
/// ```
/// use quorate_raft::SnapshotSource;
/// use std::io::Write;
///
/// let source: Box<dyn SnapshotSource> = Box::new(|w: &mut dyn Write| w.write_all(b"state"));
/// let mut out = Vec::new();
/// source.write_to(&mut out).unwrap();
/// assert_eq!(out, b"state");
/// ```
pub trait SnapshotSource: Send + 'static {
    /// Writes the whole state.
    ///
    /// # Errors
    /// Those of `w`, and the application's own.
    fn write_to(self: Box<Self>, w: &mut dyn io::Write) -> io::Result<()>;
}

impl<F> SnapshotSource for F
where
    F: FnOnce(&mut dyn io::Write) -> io::Result<()> + Send + 'static,
{
    fn write_to(self: Box<Self>, w: &mut dyn io::Write) -> io::Result<()> {
        (*self)(w)
    }
}

/// Entries to apply: data of the application only, in order. Requests of sessions that were applied
/// before are not among them.
///
/// # Examples
/// ```
/// use quorate_raft::{Batch, Replies};
///
/// /// The body of an `apply` that answers each entry with its length.
/// fn lengths(batch: Batch<'_>, out: &mut Replies) {
///     for entry in batch {
///         out.push(entry.data.len().to_string().into_bytes());
///     }
/// }
/// ```
pub struct Batch<'a> {
    entries: std::vec::IntoIter<Entry<'a>>,
}

impl<'a> Batch<'a> {
    /// The application's entries among `entries`: for those who drive the core themselves, and for
    /// tests of a state machine. Which requests of sessions to leave out, a
    /// [`SessionTable`](crate::SessionTable) says.
    ///
    /// # Examples
    /// ```
    /// use quorate_raft::{Batch, EntryBody, GroupId, Limits, LogId, Proposal, Term};
    ///
    /// let mut log = Proposal::new(&Limits::default());
    /// log.push(EntryBody::Normal(b"set a 1")).unwrap();
    /// let block = log.stamp(GroupId::new(1), Term::new(1), LogId::ZERO, 0);
    /// let entries: Vec<_> = block.iter().collect();
    /// assert_eq!(Batch::new(&entries).count(), 1);
    /// ```
    #[must_use]
    pub fn new(entries: &[Entry<'a>]) -> Self {
        let of_application =
            |e: &&Entry<'_>| matches!(e.kind, EntryKind::Normal | EntryKind::Session);
        let data = entries.iter().filter(of_application).copied();
        Self { entries: data.collect::<Vec<_>>().into_iter() }
    }
}

impl<'a> Batch<'a> {
    /// These entries, which are all the application's.
    pub(crate) fn of(entries: Vec<Entry<'a>>) -> Self {
        Self { entries: entries.into_iter() }
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.entries.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("left", &self.entries.len()).finish_non_exhaustive()
    }
}

impl ExactSizeIterator for Batch<'_> {}

/// Where a machine puts its replies, one per entry, in order.
///
/// # Examples
/// ```
/// use quorate_raft::Replies;
///
/// let mut replies = Replies::default();
/// replies.push("done");
/// replies.push(Vec::new()); // nothing to say
/// assert_eq!(replies.len(), 2);
/// assert_eq!(&replies.take()[0][..], b"done");
/// ```
#[derive(Debug, Default)]
pub struct Replies {
    replies: Vec<Bytes>,
}

impl Replies {
    /// Empty, with room for so many.
    pub(crate) fn with_capacity(replies: usize) -> Self {
        Self { replies: Vec::with_capacity(replies) }
    }

    /// The reply to the next entry; empty if there is nothing to say.
    pub fn push(&mut self, reply: impl Into<Bytes>) {
        self.replies.push(reply.into());
    }

    /// Replies so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.replies.len()
    }

    /// Whether there is none yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// Takes the replies out, in order.
    #[must_use]
    pub fn take(&mut self) -> Vec<Bytes> {
        core::mem::take(&mut self.replies)
    }
}
