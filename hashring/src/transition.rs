//! The one authority's side of a change of table: which view comes next, and when it may.

mod error;

pub use error::TransitionError;

use crate::plant::planted;
use crate::quorum::length;
use crate::width::{to_u8, to_u16};
use crate::{
    Diff, Epoch, Locate, MoveId, NodeId, NodeIdx, Partition, PartitionTable, Quorum, Replicate,
    Stage, View, diff,
};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Carries quorum-replicated data from one table to the next without a read ever missing an
/// acknowledged write (see [`handover`](crate::handover)).
///
/// It decides nothing on its own: the application commits each view that
/// [`poll_view`](Transition::poll_view) offers in a store with one order (O1), has it installed on
/// the replicas, copies the [`moves`](Transition::moves), and reports what happened. Everything it
/// needs after a crash is in the committed view: [`resume`](Transition::resume) goes on from there
/// (H44).
///
/// | committed | next | allowed when |
/// |---|---|---|
/// | `Settled(A)` | `Copying(A, B)` | `begin` |
/// | `Copying(A, B)` | `Switched(A, B)` | every move was copied |
/// | | `Settled(A)` | aborted |
/// | `Switched(A, B)` | `Settled(B)` | A is read-blocked |
/// | | `Reverting(A, B)` | aborted |
/// | `Reverting(A, B)` | `Settled(A)` | B is read-blocked |
///
/// *X is read-blocked*: of each changed row of X so many replicas acknowledged the epoch of the
/// stage that no read quorum is left among the others.
///
/// # Cost
/// `poll_view` looks at each changed row once. The views it makes hash their encoding once.
///
/// # Examples
/// ```
/// use quorate_hashring::{KeyHash, Node, NodeId, PartitionTable, Quorum, Rules, Stage, Topology};
/// use quorate_hashring::{Transition, View};
///
/// let [a, b] = [1, 2].map(NodeId::new);
/// let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// let table = |node| {
///     let rows = [vec![node]];
///     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &rows)
/// };
/// let mut view = View::initial(table(a)?);
/// let mut transition = Transition::begin(&view, table(b)?, Quorum::Majority)?;
/// while !transition.is_finished() {
///     if let Some(next) = transition.poll_view() {
///         view = next; // commit it, have it installed
///         transition.committed(&view)?;
///     }
///     transition.handle_ack(a, view.epoch()); // from the gate of a
///     for moved in transition.moves().moves.clone() {
///         if view.stage() == Stage::Copying && transition.is_source_ready(a) {
///             transition.handle_copied(moved.id)?; // once b has what a holds
///         }
///     }
/// }
/// assert_eq!(view.stage(), Stage::Settled);
/// assert_eq!(view.table(), &table(b)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Transition {
    /// The newest view that is known to be committed.
    view: View,
    /// What the view before `view` became; only before the first view was committed.
    begin: Option<View>,
    /// The view that was offered and is not known to be committed.
    offered: Option<View>,
    old: PartitionTable,
    new: PartitionTable,
    /// The partitions that change.
    changed: Vec<Partition>,
    moves: Diff<u64>,
    copied: Vec<bool>,
    copied_again: u64,
    acks: BTreeMap<NodeId, Epoch>,
    quorum: Quorum,
    is_aborting: bool,
    is_finished: bool,
}

/// What keeps a transition from its next view.
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
/// assert_eq!(transition.waiting_for(), Waiting::Poll);
/// let copying = transition.poll_view().expect("the first view");
/// assert_eq!(transition.waiting_for(), Waiting::Commit { epoch: copying.epoch() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// [`Transition::poll_view`] has a view to offer.
    Poll,
    /// The offered view was not reported as committed.
    Commit {
        /// Its epoch.
        epoch: Epoch,
    },
    /// These moves were not reported as copied.
    Moves(Vec<MoveId>),
    /// Rows of these partitions can still be read under an older view.
    Acks {
        /// The partitions.
        partitions: Vec<Partition>,
        /// The nodes whose acknowledgement of the stage's epoch would help.
        nodes: Vec<NodeId>,
    },
    /// Nothing: the transition has finished.
    Nothing,
}

impl Transition {
    /// Begins to change from the table of a settled view to `next`, which stands over the topology
    /// from here on.
    ///
    /// # Errors
    /// [`TransitionError`] if a change is under way, if `next` has other partitions, another hash
    /// or another number of replicas, if a row would shrink, if its topology lacks a node that
    /// rows still name (H43: drain it first), or if the quorum does not fit. Nothing has begun.
    pub fn begin(
        view: &View,
        next: PartitionTable,
        quorum: Quorum,
    ) -> Result<Self, TransitionError> {
        if view.stage() != Stage::Settled {
            return Err(TransitionError::Busy { stage: view.stage(), epoch: view.epoch() });
        }
        if !view.has_epochs_left() {
            return Err(TransitionError::EpochsExhausted { epoch: view.epoch() });
        }
        let table = view.table();
        expect_same("partition bits", u64::from(table.bits()), u64::from(next.bits()))?;
        let hash = |table: &PartitionTable| u64::from(table.key_hash().id());
        expect_same("hash", hash(table), hash(&next))?;
        let parameter = |table: &PartitionTable| table.key_hash().parameter();
        expect_same("hash parameter", parameter(table), parameter(&next))?;
        let replicas = |table: &PartitionTable| u64::from(table.rules().replicas());
        expect_same("replicas", replicas(table), replicas(&next))?;
        quorum.validate(next.rules())?;
        let old = table.rebased(next.topology())?; // H43
        expect_no_shorter(&old, &next)?;
        let copying = view.copying(&old, next);
        let mut transition = Self::over(copying.clone(), quorum);
        transition.view = view.clone();
        transition.begin = Some(copying);
        Ok(transition)
    }

    /// Goes on with the change that a committed view is in the middle of: after a crash, or in
    /// place of another authority (H44). Acknowledgements have to be reported again; moves that
    /// are not in `copied` have to be copied again, which does no harm.
    ///
    /// # Errors
    /// [`TransitionError::Finished`] if the view is settled, `UnknownMove`, or a quorum that does
    /// not fit.
    pub fn resume(view: &View, quorum: Quorum, copied: &[MoveId]) -> Result<Self, TransitionError> {
        if view.stage() == Stage::Settled {
            return Err(TransitionError::Finished { epoch: view.epoch() });
        }
        quorum.validate(view.table().rules())?;
        // Both tables are in the view, and moves are numbered by them alone. // H44
        let mut transition = Self::over(view.clone(), quorum);
        transition.is_aborting = view.stage() == Stage::Reverting;
        for id in copied {
            transition.mark_copied(*id)?;
        }
        Ok(transition)
    }

    /// With a view in the middle of a change.
    fn over(view: View, quorum: Quorum) -> Self {
        let (old, new) = (view.old_table(), view.table().clone());
        // Both tables hash alike, so they can be compared.
        let moves = diff(&old, &new).unwrap_or(Diff {
            moves: Vec::new(),
            drops: Vec::new(),
            drained: Vec::new(),
            widest: 0,
        });
        debug_assert!(moves.drops.is_empty(), "rows do not shrink");
        let copied = alloc::vec![false; moves.moves.len()];
        Self {
            changed: view.changed().to_vec(),
            view,
            begin: None,
            offered: None,
            old,
            new,
            moves,
            copied,
            copied_again: 0,
            acks: BTreeMap::new(),
            quorum,
            is_aborting: false,
            is_finished: false,
        }
    }

    /// What has to be copied, the same after each [`Transition::resume`].
    #[must_use]
    pub const fn moves(&self) -> &Diff<u64> {
        &self.moves
    }

    /// The newest view that is known to be committed.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// A replica reported [`Gate::acked`](crate::Gate::acked). Reports may come late, twice or out
    /// of order.
    ///
    /// A report ahead of the newest committed view is ignored: it is about a view that another
    /// authority offered and never committed, or it will be repeated once
    /// [`Transition::committed`] was called (H45).
    pub fn handle_ack(&mut self, node: NodeId, epoch: Epoch) {
        // H45
        if epoch > self.view.epoch() || self.new.topology().index_of(node).is_none() {
            return;
        }
        let acked = self.acks.entry(node).or_insert(epoch);
        *acked = (*acked).max(epoch);
    }

    /// A move was copied from ready sources, and the receiver has it in its store, merged behind
    /// its gate with the tag of the `Copying` view: without, it could delete the copy again as long
    /// as it goes by the view before (H35). Twice is as good as once.
    ///
    /// # Errors
    /// [`TransitionError::UnknownMove`], or [`TransitionError::NotCopying`] before the `Copying`
    /// view was committed, because no source can have been ready.
    pub fn handle_copied(&mut self, id: MoveId) -> Result<(), TransitionError> {
        if self.begin.is_some() {
            return Err(TransitionError::NotCopying { epoch: self.view.epoch() });
        }
        self.mark_copied(id)
    }

    fn mark_copied(&mut self, id: MoveId) -> Result<(), TransitionError> {
        let Some(copied) = self.copied.get_mut(id.value() as usize) else {
            let moves = self.copied.len();
            return Err(TransitionError::UnknownMove { id, moves });
        };
        self.copied_again += u64::from(*copied);
        *copied = true;
        Ok(())
    }

    /// How many moves were reported as copied more than once.
    #[must_use]
    pub const fn copied_again(&self) -> u64 {
        self.copied_again
    }

    /// Whether a node may be copied from: it acknowledged the `Copying` epoch, so whatever it
    /// accepted under an older tag is in its store. A copy taken earlier would lack what was
    /// admitted before and is applied after (H33, H35).
    #[must_use]
    pub fn is_source_ready(&self, node: NodeId) -> bool {
        if planted("m17_copy_before_the_source_acked") {
            return self.view.stage() == Stage::Copying;
        }
        self.view.stage() == Stage::Copying && self.has_acked(node)
    }

    /// Whether a node acknowledged the epoch of the committed stage.
    fn has_acked(&self, node: NodeId) -> bool {
        self.acks.get(&node).is_some_and(|epoch| *epoch >= self.view.epoch())
    }

    /// The next view, if there may be one: commit it in a store with one order, on the condition
    /// that the view it was made from is the newest there (O1), then call
    /// [`Transition::committed`]. The same view is offered until then.
    ///
    /// If the store holds another view by now, another authority has taken over: drop this
    /// transition and [`Transition::resume`] from what is committed.
    #[must_use]
    pub fn poll_view(&mut self) -> Option<View> {
        if self.offered.is_none() {
            self.offered = self.next_view();
        }
        self.offered.clone()
    }

    /// The offered view was committed: it may be shown to everybody.
    ///
    /// # Errors
    /// [`TransitionError::NotOffered`] for any other view; nothing changed.
    pub fn committed(&mut self, view: &View) -> Result<(), TransitionError> {
        match self.offered.take_if(|offered| offered.digest() == view.digest()) {
            None => Err(TransitionError::NotOffered { epoch: view.epoch(), digest: view.digest() }),
            Some(offered) => {
                self.begin = None;
                self.is_finished = offered.stage() == Stage::Settled;
                self.view = offered;
                Ok(())
            }
        }
    }

    /// Gives the change up: the rows hold the nodes that they held before. The order within rows
    /// whose nodes did not change stays that of the given up table: during a change it means
    /// nothing, since coordinators of either view may be at work under one tag. Before anything was
    /// switched that is at once; behind it, reads go back first. A receiver that died is answered
    /// this way, and by another table.
    ///
    /// A view that was offered before has to be committed still, because it may have been. A new
    /// authority that resumes has to abort again. Calling it twice changes nothing.
    ///
    /// # Errors
    /// [`TransitionError::Finished`] if the last view was offered or committed already.
    pub fn abort(&mut self) -> Result<(), TransitionError> {
        let is_last = |view: &View| view.stage() == Stage::Settled;
        if self.is_finished || self.offered.as_ref().is_some_and(is_last) {
            return Err(TransitionError::Finished { epoch: self.view.epoch() });
        }
        self.is_aborting = true;
        // Nothing was offered: nobody can know of the change.
        self.is_finished = self.begin.is_some() && self.offered.is_none();
        Ok(())
    }

    /// Whether the last view was committed, or the change was given up before the first.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// What the next view waits for.
    #[must_use]
    pub fn waiting_for(&self) -> Waiting {
        if self.is_finished {
            Waiting::Nothing
        } else if let Some(offered) = &self.offered {
            Waiting::Commit { epoch: offered.epoch() }
        } else if self.next_view().is_some() {
            Waiting::Poll
        } else if self.view.stage() == Stage::Copying {
            let left = self.moves.moves.iter().zip(&self.copied);
            Waiting::Moves(left.filter(|(_, copied)| !**copied).map(|(of, _)| of.id).collect())
        } else {
            self.missing_acks()
        }
    }

    /// The view that may follow, by the table above.
    fn next_view(&self) -> Option<View> {
        if self.is_finished {
            return None;
        }
        if let Some(copying) = &self.begin {
            return Some(copying.clone());
        }
        match (self.view.stage(), self.is_aborting) {
            (Stage::Copying, true) => Some(self.view.settled(self.old.clone())),
            (Stage::Copying, false) => {
                self.is_copied().then(|| self.view.in_stage(Stage::Switched))
            }
            (Stage::Switched, true) => Some(self.view.in_stage(Stage::Reverting)),
            (Stage::Switched, false) => {
                self.is_read_blocked(&self.old).then(|| self.view.settled(self.new.clone()))
            }
            (Stage::Reverting, _) => {
                self.is_read_blocked(&self.new).then(|| self.view.settled(self.old.clone()))
            }
            (Stage::Settled, _) => None,
        }
    }

    fn is_copied(&self) -> bool {
        if planted("m19_switched_before_the_last_copy") {
            return self.copied.iter().filter(|copied| !**copied).count() <= 1;
        }
        self.copied.iter().all(|copied| *copied)
    }

    /// Whether no quorum can serve a read of any changed row of `table` under an older stage.
    fn is_read_blocked(&self, table: &PartitionTable) -> bool {
        if planted("m20_settled_without_read_blocking") {
            return true;
        }
        self.changed.iter().all(|partition| self.is_row_blocked(table, *partition))
    }

    fn is_row_blocked(&self, table: &PartitionTable, partition: Partition) -> bool {
        let row = table.row(partition).unwrap_or_default();
        let acked = row.iter().filter(|at| self.has_acked(id_of(table, **at))).count();
        if planted("m21_read_blocking_by_one_replica") {
            return acked >= 1;
        }
        to_u8(acked) >= self.quorum.blocks_reads(length(row))
    }

    fn missing_acks(&self) -> Waiting {
        let reverting = self.view.stage() == Stage::Reverting;
        let table = if reverting { &self.new } else { &self.old };
        let open = |partition: &&Partition| !self.is_row_blocked(table, **partition);
        let partitions: Vec<Partition> = self.changed.iter().filter(open).copied().collect();
        let rows = partitions.iter().filter_map(|partition| table.row(*partition));
        let mut nodes: Vec<NodeId> = rows.flatten().map(|at| id_of(table, *at)).collect();
        nodes.retain(|node| !self.has_acked(*node));
        nodes.sort_unstable();
        nodes.dedup();
        Waiting::Acks { partitions, nodes }
    }
}

fn id_of(table: &PartitionTable, at: NodeIdx) -> NodeId {
    table.topology().ids()[usize::from(at.value())]
}

fn expect_same(what: &'static str, have: u64, wanted: u64) -> Result<(), TransitionError> {
    if have == wanted {
        return Ok(());
    }
    Err(TransitionError::Mismatch { what, have, wanted })
}

/// A smaller row could miss writes of the larger; and where rows are still short, the rules that
/// hold from here on must allow it.
fn expect_no_shorter(old: &PartitionTable, new: &PartitionTable) -> Result<(), TransitionError> {
    let full = usize::from(new.rules().replicas());
    for at in 0..old.partitions() {
        let (before, after) = (old.row_at(at as usize).len(), new.row_at(at as usize).len());
        if after < before {
            let partition = Partition::new(to_u16(at as usize));
            return Err(TransitionError::RowShrinks { partition });
        }
        if before < full && !new.rules().is_short_allowed() {
            return Err(TransitionError::Mismatch { what: "short rows", have: 1, wanted: 0 });
        }
    }
    Ok(())
}
