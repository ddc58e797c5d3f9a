//! [`LogStore`]: where the log is kept. One trait for memory, the write-ahead log, and stores of
//! one's own.

#[cfg(any(feature = "tokio", feature = "wal"))]
mod mark;
mod memory;
#[cfg(feature = "wal")]
mod meta;
#[cfg(feature = "tokio")]
mod snapshots;
#[cfg(feature = "wal")]
mod wal;

pub use memory::MemoryLog;
#[cfg(feature = "tokio")]
pub use snapshots::{
    MemorySnapshots, SnapshotDir, SnapshotFile, SnapshotReceiver, SnapshotStore, SnapshotWriter,
    read_machine, read_sessions, write_snapshot, write_snapshot_with,
};
#[cfg(feature = "wal")]
pub use wal::WalLog;

use crate::error::StoreError;
use crate::{Block, GroupId, HardState, LogId, LogIndex, SnapshotMeta, StoreId, TermRun};
use core::fmt;
use quorate_transport::{ClusterId, NodeId};

/// Whose log it is. A store refuses to open the log of another.
///
/// # Examples
/// ```
/// use quorate_raft::Owner;
/// use quorate_transport::{ClusterId, NodeId};
///
/// let owner = Owner::new(ClusterId::new(7), NodeId::new(1));
/// assert_eq!(owner.node, NodeId::new(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// What the identity of a new log is drawn from; another for each start.
    pub seed: u64,
}

impl Owner {
    /// This node of this cluster.
    #[must_use]
    pub const fn new(cluster: ClusterId, node: NodeId) -> Self {
        Self { cluster, node, seed: 0 }
    }

    /// With a seed for the identity of a new log.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether both are the same node of the same cluster.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.cluster, self.node) == (other.cluster, other.node)
    }

    /// The identity of a new log: of this node, from this seed. Unique, not secret.
    pub(crate) fn draw_store_id(&self) -> StoreId {
        let mut rng = crate::rng::Rng::new(self.seed ^ self.node.value().rotate_left(48));
        StoreId::new(u128::from(rng.next()) << 64 | u128::from(rng.next()) | 1)
    }
}

/// What a store held when it was opened.
///
/// # Examples
/// ```
/// use quorate_raft::OpenLog;
/// assert!(OpenLog::default().mark.is_none());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpenLog {
    /// The identity drawn when this log was created.
    pub store: StoreId,
    /// As of the last durable write. If entries are lost that may have been acknowledged, its
    /// `lost` says up to where, and the log is given as empty behind `mark`. // H36
    pub hard: HardState,
    /// The log starts behind this snapshot; none: at the beginning.
    pub mark: Option<SnapshotMeta>,
    /// Terms of the entries there are.
    pub runs: Vec<TermRun>,
    /// The last entry.
    pub last: LogId,
    /// The newest blocks, ending at `last`, as many as are at hand.
    pub blocks: Vec<Block>,
}

/// One write: what must become durable together.
///
/// # Examples
/// ```
/// # use quorate_raft::AppendRequest;
/// fn is_cheap(r: &AppendRequest<'_>) -> bool { !r.sync && r.blocks.is_empty() }
/// assert!(is_cheap(&AppendRequest::default()));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AppendRequest<'a> {
    /// Durable no later than the blocks. // H37
    pub hard: Option<HardState>,
    /// Contiguous among themselves; a first index at or below the last replaces from there.
    pub blocks: &'a [Block],
    /// Empties the log first: it starts behind this snapshot.
    pub install: Option<&'a SnapshotMeta>,
    /// False: may stay in memory until the next write that must not.
    pub sync: bool,
}

impl<'a> AppendRequest<'a> {
    /// This write.
    #[must_use]
    pub const fn new(
        hard: Option<HardState>,
        blocks: &'a [Block],
        install: Option<&'a SnapshotMeta>,
        sync: bool,
    ) -> Self {
        Self { hard, blocks, install, sync }
    }
}

/// Answers an operation of a store exactly once; dropped unanswered it says `Closed`.
///
/// # Examples
/// ```
/// use quorate_raft::Completion;
/// let (tx, rx) = std::sync::mpsc::channel();
/// drop(Completion::<()>::new(move |result| tx.send(result.is_err()).unwrap()));
/// assert_eq!(rx.recv(), Ok(true));
/// ```
#[must_use = "the core waits for it"]
pub struct Completion<T>(Option<Answer<T>>);

type Answer<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

impl<T> Completion<T> {
    /// `answer` is called with the outcome, from any thread.
    pub fn new(answer: impl FnOnce(Result<T, StoreError>) + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }

    /// The outcome.
    pub fn complete(mut self, result: Result<T, StoreError>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(StoreError::Closed));
        }
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Completion").field(&self.0.is_some()).finish()
    }
}

/// A log on some medium. One object may hold the logs of many groups.
///
/// # How to drive it
/// The driver calls it from one task and never waits: `append` and `load` answer through their
/// [`Completion`]. Appends of a group complete in the order they were made; the first error of a
/// store is final.
///
/// # Examples
/// [`MemoryLog`] is the smallest; `WalLog` the durable one.
/// ```
/// use quorate_raft::{GroupId, LogStore, MemoryLog, Owner};
/// use quorate_transport::{ClusterId, NodeId};
///
/// let mut store = MemoryLog::new();
/// let log = store.open(GroupId::new(1), Owner::new(ClusterId::new(7), NodeId::new(1))).unwrap();
/// assert_eq!(log.last.index.value(), 0);
/// ```
pub trait LogStore: Send + 'static {
    /// Opens or creates the log of `group`.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] for the log of another owner; [`StoreError::HardStateLost`] if a
    /// vote may be lost; [`StoreError::Damaged`] if not even the beginning can be read. Nothing was
    /// changed.
    fn open(&mut self, group: GroupId, owner: Owner) -> Result<OpenLog, StoreError>;

    /// Writes. Never blocks on the medium; `done` is answered when the write is durable (at once if
    /// it need not be, but never before an earlier write of the group).
    fn append(&mut self, group: GroupId, request: AppendRequest<'_>, done: Completion<()>);

    /// Reads blocks of which the first contains `from`, stopping before `bytes_max` is exceeded but
    /// not before the first.
    fn load(
        &mut self,
        group: GroupId,
        from: LogIndex,
        bytes_max: u64,
        done: Completion<Vec<Block>>,
    );

    /// Forgets everything up to `mark.last`, which a durable snapshot holds.
    ///
    /// # Errors
    /// [`StoreError`]; the log then still starts where it did.
    fn compact(&mut self, group: GroupId, mark: &SnapshotMeta) -> Result<(), StoreError>;

    /// Bytes of the largest block it can take. Default: any.
    fn block_bytes_max(&self) -> u64 {
        u64::MAX
    }

    /// Bytes of the group's log.
    fn bytes(&self, group: GroupId) -> u64;

    /// Whether there is no space for more: appends then wait for space instead of failing, and the
    /// driver refuses proposals meanwhile.
    fn is_full(&self) -> bool {
        false
    }
}
