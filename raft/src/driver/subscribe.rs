//! [`Applied`]: what the machine was given, for those who follow it from outside: caches, indexes,
//! change streams. One ring a node holds the newest entries; a subscriber is a position in it, so
//! that none of them can hold up application or fill the memory.

use crate::sync::lock;
use crate::{Block, Entry, EntryKind, LogId, LogIndex};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Most subscribers of a group at a time.
const SUBSCRIBERS_MAX: usize = 256;
/// Entries that a subscriber may lag behind.
const RECENT_ENTRIES_MAX: usize = 16_384;
/// Bytes of blocks that a subscriber may lag behind; one block more may be held.
const RECENT_BYTES_MAX: usize = 16 << 20;

/// An entry that the state machine was given.
///
/// # Examples
/// ```
/// # use quorate_raft::AppliedEntry;
/// fn line(entry: &AppliedEntry) -> String {
///     format!("{}: {} bytes at {} ms", entry.id, entry.data.len(), entry.time_ms)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppliedEntry {
    /// Term and index.
    pub id: LogId,
    /// `Normal`, or `Session` for a request of a session.
    pub kind: EntryKind,
    /// Group time in milliseconds.
    pub time_ms: u64,
    /// The application's data. A slice of the block it came in, which stays in memory as long as
    /// this does: copy what is to be kept.
    pub data: Bytes,
}

/// Entries before `next` are not to be had from this subscription any more: they were applied
/// before it began, faster than it was read, or they came with a snapshot. It goes on with `next`.
///
/// # Examples
/// ```
/// use quorate_raft::{Lagged, LogIndex};
/// let lagged = Lagged { next: LogIndex::new(8) };
/// assert_eq!(lagged.to_string(), "entries before 8 are gone");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entries before {next} are gone")]
#[expect(clippy::exhaustive_structs, reason = "a position is all there is to say")]
pub struct Lagged {
    /// The next index that the subscription can give. The state up to there: `Node::read`.
    pub next: LogIndex,
}

/// Why `Node::subscribe` was refused.
///
/// # Examples
/// ```
/// use quorate_raft::SubscribeError;
/// let e = SubscribeError::TooMany { max: 256 };
/// assert_eq!(e.to_string(), "256 subscribers already");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Effect: none. So many subscribers exist; each counts until it is dropped.
    #[error("{max} subscribers already")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// Effect: none. The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// A subscription: the entries that the state machine of this node is given, in order, each once.
/// Made by [`Node::subscribe`](crate::Node::subscribe). It does not keep the node running.
///
/// # Examples
/// ```
/// use quorate_raft::{Applied, LogIndex};
///
/// /// Feeds an index; says where to start over when it fell behind.
/// async fn follow(mut entries: Applied, mut index: impl FnMut(&[u8])) -> Option<LogIndex> {
///     while let Some(entry) = entries.next().await {
///         match entry {
///             Ok(entry) => index(&entry.data),
///             Err(lagged) => return Some(lagged.next),
///         }
///     }
///     None // the node has stopped
/// }
/// ```
#[derive(Debug)]
pub struct Applied {
    feed: Feed,
    moved: watch::Receiver<()>,
    next: LogIndex,
}

impl Applied {
    /// The next entry; `None` once the node has stopped and everything was given.
    ///
    /// # Errors
    /// [`Lagged`]: some are missing. The call after it gives what follows.
    ///
    /// # Cancel safety
    /// Dropping the future misses nothing.
    pub async fn next(&mut self) -> Option<Result<AppliedEntry, Lagged>> {
        loop {
            // Before the look: what comes after it wakes.
            self.moved.borrow_and_update();
            let ended = {
                let mut ring = lock(&self.feed.ring);
                if self.next < ring.begins {
                    self.next = ring.begins;
                    ring.lagged += 1;
                    return Some(Err(Lagged { next: self.next }));
                }
                if let Some(entry) = ring.first_from(self.next) {
                    self.next = entry.id.index.next();
                    return Some(Ok(entry));
                }
                ring.ended
            };
            if ended || self.moved.changed().await.is_err() {
                return None;
            }
        }
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        let mut ring = lock(&self.feed.ring);
        ring.subscribers = ring.subscribers.saturating_sub(1);
        if ring.subscribers == 0 {
            ring.clear();
        }
    }
}

/// The ring and who waits for it. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    ring: Arc<Mutex<Ring>>,
    moved: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Only filled while there are subscribers.
    entries: VecDeque<Held>,
    /// Nothing before this is here: it was dropped, or never seen.
    begins: LogIndex,
    bytes: usize,
    /// The newest block that was counted.
    block: Option<LogIndex>,
    subscribers: usize,
    lagged: u64,
    ended: bool,
}

#[derive(Debug)]
struct Held {
    entry: AppliedEntry,
    /// What it is counted for: the first entry of a block for the whole of it, which it keeps in
    /// memory; the others for nothing.
    bytes: usize,
}

impl Ring {
    fn first_from(&self, index: LogIndex) -> Option<AppliedEntry> {
        let at = self.entries.partition_point(|held| held.entry.id.index < index);
        self.entries.get(at).map(|held| held.entry.clone())
    }

    fn push(&mut self, entry: &Entry<'_>, block: &Block) {
        let is_new = self.block.replace(block.first()) != Some(block.first());
        let bytes = if is_new { block.as_bytes().len() } else { 0 };
        let data = block.as_bytes().slice_ref(entry.data);
        let Entry { id, kind, time_ms, .. } = *entry;
        self.entries.push_back(Held { entry: AppliedEntry { id, kind, time_ms, data }, bytes });
        self.bytes += bytes;
        let full = |ring: &Self| {
            ring.entries.len() > RECENT_ENTRIES_MAX
                || (ring.bytes > RECENT_BYTES_MAX && ring.entries.len() > 1)
        };
        while full(self) {
            let Some(old) = self.entries.pop_front() else { break };
            self.bytes -= old.bytes;
            self.begins = old.entry.id.index.next();
        }
    }

    fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.bytes = 0;
        self.block = None;
    }
}

impl Feed {
    pub(super) fn new() -> Self {
        Self { ring: Arc::default(), moved: watch::Sender::new(()) }
    }

    /// A subscription from `from` on, while the machine stands at `applied` and cannot move.
    pub(super) fn subscribe(
        &self,
        from: LogIndex,
        applied: LogIndex,
    ) -> Result<Applied, SubscribeError> {
        let mut ring = lock(&self.ring);
        if ring.ended {
            return Err(SubscribeError::Stopped);
        }
        if ring.subscribers >= SUBSCRIBERS_MAX {
            return Err(SubscribeError::TooMany { max: SUBSCRIBERS_MAX });
        }
        if ring.subscribers == 0 {
            // Nothing was kept until now.
            ring.clear();
            ring.begins = applied.next();
        }
        ring.subscribers += 1;
        drop(ring);
        let next = from.max(LogIndex::new(1));
        Ok(Applied { feed: self.clone(), moved: self.moved.subscribe(), next })
    }

    /// Whether anyone is there to be told.
    pub(super) fn is_wanted(&self) -> bool {
        lock(&self.ring).subscribers > 0
    }

    /// The machine was given the entries at `given`, which are among `entries`, which `blocks`
    /// hold.
    pub(super) fn applied(&self, blocks: &[Block], entries: &[Entry<'_>], given: &[LogIndex]) {
        if given.is_empty() {
            return;
        }
        let mut ring = lock(&self.ring);
        if ring.subscribers == 0 {
            return;
        }
        let mut given = given.iter().peekable();
        for entry in entries {
            if given.next_if(|index| **index == entry.id.index).is_none() {
                continue;
            }
            let holder = blocks.partition_point(|b| b.last().index < entry.id.index);
            if let Some(block) = blocks.get(holder) {
                ring.push(entry, block);
            }
        }
        drop(ring);
        self.moved.send_replace(());
    }

    /// The machine became the state of a snapshot: what led there is in no entry.
    pub(super) fn restored(&self, last: LogIndex) {
        let mut ring = lock(&self.ring);
        ring.clear();
        ring.begins = last.next();
        drop(ring);
        self.moved.send_replace(());
    }

    /// How many subscribers there are, and how often one of them lagged.
    pub(super) fn counts(&self) -> (u64, u64) {
        let ring = lock(&self.ring);
        (ring.subscribers as u64, ring.lagged)
    }
}

/// Ends the subscriptions when it is dropped: nothing is applied any more.
pub(super) struct Ending(pub(super) Feed);

impl Drop for Ending {
    fn drop(&mut self) {
        lock(&self.0.ring).ended = true;
        self.0.moved.send_replace(());
    }
}
