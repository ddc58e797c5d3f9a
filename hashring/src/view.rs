//! The layout that everybody goes by: a table, the stage of the change under way, and for each row
//! the epoch of its last change.

mod codec;
mod error;

pub use error::ViewError;

use crate::codec::{self as envelope, Kind};
use crate::error::BuildError;
use crate::plant::planted;
use crate::quorum::{Tally, length};
use crate::table::{VACANT, check_row, positions, without_vacant};
use crate::{
    Digest, Epoch, Locate, NodeIdx, Partition, PartitionTable, Quorum, Replicate, Topology,
    WriteSet,
};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU8;

/// A change takes four views; twice as many are kept for it.
const EPOCHS_OF_A_CHANGE: u64 = 8;

/// Where a change of the table stands.
///
/// | stage | reads go to | writes need |
/// |---|---|---|
/// | `Settled` | the row | a write quorum of the row |
/// | `Copying` | the old row | a write quorum of the old row and one of the new row |
/// | `Switched` | the new row | both |
/// | `Reverting` | the old row | both |
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let view = View::initial(table(a)?);
/// let mut transition = Transition::begin(&view, table(b)?, Quorum::Majority)?;
/// assert_eq!(view.stage(), Stage::Settled);
/// assert_eq!(transition.poll_view().map(|view| view.stage()), Some(Stage::Copying));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// No change is under way.
    Settled,
    /// New replicas are being filled.
    Copying,
    /// New replicas serve reads.
    Switched,
    /// The change was given up after it had switched.
    Reverting,
}

impl Stage {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Settled => 0,
            Self::Copying => 1,
            Self::Switched => 2,
            Self::Reverting => 3,
        }
    }

    /// Whether reads go to the rows after the change.
    pub(crate) const fn reads_new(self) -> bool {
        matches!(self, Self::Settled | Self::Switched)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Settled => "settled",
            Self::Copying => "copying",
            Self::Switched => "switched",
            Self::Reverting => "reverting",
        })
    }
}

/// A table as it is served: an immutable value, cheap to clone.
///
/// Views are made one from the other, by a [`Transition`](crate::Transition) or by
/// [`View::replace_rows`], each with the next epoch. The epoch orders them, the digest identifies
/// them (H18, H19). Each row has an epoch of its own, that of the view that changed it last; a
/// request carries it as its tag, and replicas accept exactly that ([`Gate`](crate::Gate)). So a
/// change concerns only requests for partitions that change.
///
/// # Cost
/// A lookup hashes the key and reads one row and its epoch: no allocation, no lock. Beside the
/// table 8 bytes a row. Making the next view copies what differs and hashes the encoding once.
///
/// # Examples
/// ```
/// use quorate_hashring::{Epoch, KeyHash, Node, NodeId, PartitionTable, Rules, Stage, Topology};
/// use quorate_hashring::View;
///
/// let (a, b) = (NodeId::new(1), NodeId::new(2));
/// let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// let rows = [vec![a], vec![b]];
/// let table = PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &rows)?;
///
/// let view = View::initial(table);
/// assert_eq!((view.epoch(), view.stage()), (Epoch::new(1), Stage::Settled));
/// let route = view.route(b"user/17");
/// assert_eq!((route.tag, route.read.len()), (Epoch::new(1), 1));
/// assert_eq!(View::decode(&view.encode(), None)?, view);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct View {
    inner: Arc<Inner>,
}

struct Inner {
    epoch: Epoch,
    /// The digest of the view it was made from; 0: it is the first.
    parent: Digest,
    stage: Stage,
    /// The rows, during a change those after it.
    table: PartitionTable,
    row_epochs: Vec<Epoch>,
    changed: Changed,
    digest: Digest,
}

/// The rows before the change under way. In a stage other than `Settled` these are exactly the
/// rows whose epoch is that of the view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Rising.
    partitions: Vec<Partition>,
    /// As wide as those of the table, one behind the other.
    rows: Vec<NodeIdx>,
}

/// Where the operations on a key go under one view. Positions are those of the topology of the
/// view's table.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let view = View::initial(table(a)?);
/// let route = view.route(b"key");
/// assert_eq!((route.partition, route.tag), (Partition::new(0), Epoch::new(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route<'a> {
    /// The partition of the key.
    pub partition: Partition,
    /// The epoch of its row: send it with each request.
    pub tag: Epoch,
    /// Who is read from; a read combines a read quorum of them by the newest version (O5).
    pub read: &'a [NodeIdx],
    /// Who is written to.
    pub write: WriteSet<'a>,
}

impl Route<'_> {
    /// Counts the answers to a read, as [`WriteSet::tally`] does for writes.
    #[must_use]
    pub fn read_tally(&self, quorum: Quorum) -> Tally {
        Tally::of(&[], self.read, [0, quorum.read(length(self.read))])
    }
}

impl View {
    /// The first view of a cluster, with epoch 1.
    #[must_use]
    pub fn initial(table: PartitionTable) -> Self {
        let epoch = Epoch::new(1);
        let row_epochs = alloc::vec![epoch; table.partitions() as usize];
        let (parent, stage) = (Digest::new(0), Stage::Settled);
        Self::seal(epoch, parent, stage, table, row_epochs, Changed::default())
    }

    /// Orders the views of a cluster.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.inner.epoch
    }

    /// Where the change under way stands.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.inner.stage
    }

    /// Identifies the content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// The digest of the view it was made from; none: it is the first.
    #[must_use]
    pub fn parent(&self) -> Option<Digest> {
        Some(self.inner.parent).filter(|digest| digest.value() != 0)
    }

    /// One byte that tells most views apart, never zero. Put it into requests that need no fence
    /// (caches): a node that holds another view answers with its own.
    #[must_use]
    pub fn hint(&self) -> NonZeroU8 {
        NonZeroU8::new(self.inner.digest.value().to_le_bytes()[0]).unwrap_or(NonZeroU8::MAX)
    }

    /// The table; during a change the one after it.
    #[must_use]
    pub fn table(&self) -> &PartitionTable {
        &self.inner.table
    }

    /// The partitions that the change under way concerns, rising; empty when settled.
    #[must_use]
    pub fn changed(&self) -> &[Partition] {
        &self.inner.changed.partitions
    }

    /// The epoch of a row: that of the view that changed it last.
    #[inline]
    #[must_use]
    pub fn partition_epoch(&self, partition: Partition) -> Option<Epoch> {
        self.inner.row_epochs.get(usize::from(partition.value())).copied()
    }

    /// Where the operations on a key go.
    #[inline]
    #[must_use]
    pub fn route(&self, key: &[u8]) -> Route<'_> {
        self.route_at(self.inner.table.key_hash().hash(key))
    }

    /// Where the operations on a hash go.
    #[inline]
    #[must_use]
    pub fn route_at(&self, hash: u64) -> Route<'_> {
        self.route_row(self.inner.table.partition_at(hash))
    }

    /// Where the operations on a partition go.
    #[must_use]
    pub fn route_to(&self, partition: Partition) -> Option<Route<'_>> {
        let known = usize::from(partition.value()) < self.inner.row_epochs.len();
        known.then(|| self.route_row(partition))
    }

    /// The partition is one of the table's.
    #[inline]
    fn route_row(&self, partition: Partition) -> Route<'_> {
        let at = usize::from(partition.value());
        let (tag, new) = (self.inner.row_epochs[at], self.inner.table.row_at(at));
        let old = self.old_row(partition).unwrap_or_default();
        let read = if old.is_empty() || self.inner.stage.reads_new() { new } else { old };
        Route { partition, tag, read, write: WriteSet::new(old, new) }
    }

    /// The row before the change under way, of a partition that it concerns.
    #[inline]
    pub(crate) fn old_row(&self, partition: Partition) -> Option<&[NodeIdx]> {
        let Inner { stage, row_epochs, epoch, changed, table, .. } = &*self.inner;
        // One comparison tells almost all partitions, without a search.
        if *stage == Stage::Settled || row_epochs[usize::from(partition.value())] != *epoch {
            return None;
        }
        let at = changed.partitions.binary_search(&partition).ok()?;
        Some(without_vacant(&changed.rows[at * table.width()..][..table.width()]))
    }

    /// The view that publishes what consensus groups decided about their members on their own: the
    /// given rows replace those of their partitions, at once.
    ///
    /// Only for data that hands itself over; for data without a log of its own take a
    /// [`Transition`](crate::Transition).
    ///
    /// # Errors
    /// [`ViewError`] if a change is under way, a partition is given twice or does not exist, or a
    /// row breaks a rule. Nothing was made.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::{Epoch, KeyHash, Node, NodeId, Partition, PartitionTable, Rules};
    /// use quorate_hashring::{Topology, View};
    ///
    /// let (a, b) = (NodeId::new(1), NodeId::new(2));
    /// let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
    /// let rows = [vec![a], vec![a]];
    /// let rules = Rules::new(1);
    /// let table = PartitionTable::from_rows(&topology, &rules, KeyHash::default(), &rows)?;
    /// let view = View::initial(table).replace_rows(&[(Partition::new(1), vec![b])])?;
    /// assert_eq!(view.partition_epoch(Partition::new(0)), Some(Epoch::new(1)));
    /// assert_eq!(view.partition_epoch(Partition::new(1)), Some(Epoch::new(2)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace_rows(
        &self,
        rows: &[(Partition, Vec<crate::NodeId>)],
    ) -> Result<Self, ViewError> {
        self.expect_settled()?;
        let table = &self.inner.table;
        let (topology, rules) = (table.topology(), table.rules());
        let mut flat = table.flat().to_vec();
        let mut row_epochs = self.inner.row_epochs.clone();
        let epoch = self.next_epoch();
        for (partition, ids) in rows {
            let (partition, at) = (*partition, usize::from(partition.value()));
            let Some(row_epoch) = row_epochs.get_mut(at) else {
                let partitions = table.partitions();
                return Err(ViewError::UnknownPartition { partition, partitions });
            };
            if *row_epoch == epoch {
                return Err(ViewError::PartitionTwice { partition });
            }
            *row_epoch = epoch;
            let row = positions(topology, ids)?;
            check_row(topology, rules, &row)
                .map_err(|reason| BuildError::RowInvalid { partition, reason })?;
            let place = &mut flat[at * table.width()..][..table.width()];
            place.fill(VACANT);
            place[..row.len()].copy_from_slice(&row);
        }
        let table = PartitionTable::from_flat(topology.clone(), *rules, *table.key_hash(), flat);
        Ok(self.successor(Stage::Settled, table, row_epochs, Changed::default()))
    }

    /// The view with twice the partitions. Every row gets the new epoch, because a request under
    /// way names a partition by its old number (H39).
    ///
    /// # Errors
    /// [`ViewError`] if a change is under way, or if there are 2^16 partitions already.
    pub fn doubled(&self) -> Result<Self, ViewError> {
        self.expect_settled()?;
        let table = self.inner.table.doubled()?;
        let row_epochs = alloc::vec![self.next_epoch(); table.partitions() as usize]; // H39
        Ok(self.successor(Stage::Settled, table, row_epochs, Changed::default()))
    }

    /// The view with the same rows over another topology: nodes that came, weights that changed.
    /// No row gets a new epoch, so no request is refused.
    ///
    /// # Errors
    /// [`ViewError`] if a change is under way, or if the topology lacks a node that rows name
    /// (H43).
    pub fn rebased(&self, topology: &Topology) -> Result<Self, ViewError> {
        self.expect_settled()?;
        let table = self.inner.table.rebased(topology)?;
        let row_epochs = self.inner.row_epochs.clone();
        Ok(self.successor(Stage::Settled, table, row_epochs, Changed::default()))
    }

    /// Whether there are epochs left for a whole change: views beyond the last could be made, but
    /// nobody would read them.
    pub(crate) fn has_epochs_left(&self) -> bool {
        self.inner.epoch.value() < codec::EPOCH_MAX - EPOCHS_OF_A_CHANGE
    }

    fn expect_settled(&self) -> Result<(), ViewError> {
        match self.inner.stage {
            Stage::Settled if !self.has_epochs_left() => {
                Err(ViewError::EpochsExhausted { epoch: self.inner.epoch })
            }
            Stage::Settled => Ok(()),
            stage => Err(ViewError::NotSettled { stage, epoch: self.inner.epoch }),
        }
    }

    /// The first view of a change to `next`: the rows that differ keep what they were. The old
    /// table stands over the topology of the new one.
    pub(crate) fn copying(&self, old: &PartitionTable, next: PartitionTable) -> Self {
        let mut changed = Changed::default();
        for at in 0..next.partitions() {
            let partition = Partition::new(crate::width::to_u16(at as usize));
            let (before, after) = (old.row_at(at as usize), next.row_at(at as usize));
            if !is_same_set(before, after) {
                changed.push(partition, before, next.width());
            }
        }
        let row_epochs = self.touched(&changed);
        self.successor(Stage::Copying, next, row_epochs, changed)
    }

    /// The same change in another stage.
    pub(crate) fn in_stage(&self, stage: Stage) -> Self {
        let Inner { changed, table, .. } = &*self.inner;
        self.successor(stage, table.clone(), self.touched(changed), changed.clone())
    }

    /// The end of the change, with this table.
    pub(crate) fn settled(&self, table: PartitionTable) -> Self {
        let row_epochs = self.touched(&self.inner.changed);
        self.successor(Stage::Settled, table, row_epochs, Changed::default())
    }

    /// The table before the change under way, over the topology of the one after it.
    pub(crate) fn old_table(&self) -> PartitionTable {
        let Inner { changed, table, .. } = &*self.inner;
        if changed.partitions.is_empty() {
            return table.clone();
        }
        let (width, mut flat) = (table.width(), table.flat().to_vec());
        for (partition, row) in changed.partitions.iter().zip(changed.rows.chunks(width)) {
            flat[usize::from(partition.value()) * width..][..width].copy_from_slice(row);
        }
        let topology = table.topology().clone();
        PartitionTable::from_flat(topology, *table.rules(), *table.key_hash(), flat)
    }

    /// The row epochs of the next view, if it touches these rows and no other.
    fn touched(&self, changed: &Changed) -> Vec<Epoch> {
        let epoch = self.next_epoch();
        let mut row_epochs = self.inner.row_epochs.clone();
        if planted("m27_all_row_epochs_bumped_by_a_transition") {
            row_epochs.fill(epoch);
        }
        for partition in &changed.partitions {
            row_epochs[usize::from(partition.value())] = epoch;
        }
        row_epochs
    }

    /// No change begins without epochs for all of it.
    fn next_epoch(&self) -> Epoch {
        Epoch::new(self.inner.epoch.value() + 1)
    }

    fn successor(
        &self,
        stage: Stage,
        table: PartitionTable,
        row_epochs: Vec<Epoch>,
        changed: Changed,
    ) -> Self {
        let (epoch, parent) = (self.next_epoch(), self.inner.digest);
        Self::seal(epoch, parent, stage, table, row_epochs, changed)
    }

    fn seal(
        epoch: Epoch,
        parent: Digest,
        stage: Stage,
        table: PartitionTable,
        row_epochs: Vec<Epoch>,
        changed: Changed,
    ) -> Self {
        let digest = Digest::new(0);
        let mut inner = Inner { epoch, parent, stage, table, row_epochs, changed, digest };
        let mut body = Vec::new();
        codec::encode_body(&inner, &mut body);
        inner.digest = envelope::digest(Kind::View, &body);
        Self { inner: Arc::new(inner) }
    }
}

impl Changed {
    /// The next row; `width` is that of the table.
    fn push(&mut self, partition: Partition, row: &[NodeIdx], width: usize) {
        self.partitions.push(partition);
        self.rows.extend_from_slice(row);
        self.rows.resize(self.partitions.len() * width, VACANT);
    }
}

/// Whether two rows name the same nodes, in whatever order. Nodes of a row are distinct.
fn is_same_set(a: &[NodeIdx], b: &[NodeIdx]) -> bool {
    a == b || (a.len() == b.len() && a.iter().all(|at| b.contains(at)))
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&*self.inner, &*other.inner);
        Arc::ptr_eq(&self.inner, &other.inner)
            || ((a.epoch, a.parent, a.stage, a.digest) == (b.epoch, b.parent, b.stage, b.digest)
                && a.table == b.table
                && a.row_epochs == b.row_epochs
                && a.changed == b.changed)
    }
}

impl Eq for View {}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("epoch", &self.inner.epoch)
            .field("stage", &self.inner.stage)
            .field("digest", &self.inner.digest)
            .field("changed", &self.inner.changed.partitions.len())
            .field("table", &self.inner.table)
            .finish_non_exhaustive()
    }
}
