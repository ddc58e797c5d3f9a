//! In which order moves run, how many at a time, and from whom each is copied.

mod error;
mod lanes;
mod limits;

pub use error::PlanError;
pub use limits::PlanLimits;

use crate::plant::planted;
use crate::width::{to_u8, to_u32};
use crate::{Diff, Move, MoveId, NodeId, Quorum};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use lanes::{Lane, Lanes};

/// Hands out the moves of a [`Diff`] under limits, the urgent ones first.
///
/// The order: moves that replace a dead or missing replica; those that empty a node without
/// weight; those of the sender with the most moves left; the lower id. A failed move goes behind
/// all others. Two moves of one segment never run at once, so no row is rebuilt in two places.
///
/// It has no clock: what pause a repetition needs is up to the caller.
///
/// # Cost
/// An order looks at each pair of sender and receiver with moves left, and at the first moves of
/// that pair whose segment is free. Only where the replaced replica is down or missing does it
/// look at all of them: other holders may have to stand in, and each move has its own.
///
/// # Examples
/// ```
/// use quorate_hashring::{KeyHash, Node, NodeId, PartitionTable, PlanLimits, Planner, Quorum};
/// use quorate_hashring::{Rules, Source, Topology, diff};
///
/// let [a, b] = [1, 2].map(NodeId::new);
/// let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// let table = |node| {
///     let rows = [vec![node]];
///     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &rows)
/// };
/// let moves = diff(&table(a)?, &table(b)?)?;
/// let mut planner = Planner::new(&moves, Quorum::Majority, PlanLimits::default())?;
/// assert_eq!(planner.poll_order(), None); // no source is ready
/// planner.source_ready(a); // a acknowledged the Copying epoch, or there is no need to wait
/// let order = planner.poll_order().expect("a move");
/// assert_eq!((order.what.to, order.source), (b, Source::Slot(a)));
/// planner.done(order.what.id)?;
/// assert!(planner.is_finished());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Planner<B> {
    moves: Vec<Entry<B>>,
    quorum: Quorum,
    limits: PlanLimits,
    /// Nodes that the new placement gives no weight, ids rising.
    drained: Vec<NodeId>,
    nodes: BTreeMap<NodeId, NodeState>,
    /// What waits, by sender and receiver.
    lanes: Lanes,
    /// Segments with a running move.
    busy: BTreeSet<u32>,
    running: u32,
    done: u32,
    stuck: Vec<MoveId>,
    failures: u64,
    repeated: u64,
}

#[derive(Clone, Debug)]
struct Entry<B> {
    what: Move<B>,
    /// The number of its segment: moves of one segment follow one another.
    segment: u32,
    state: State,
    /// The number of the failure that put it behind; 0: it never failed.
    tail: u64,
    attempts: u32,
    /// Who sends while it runs.
    senders: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Done,
    Stuck,
}

#[derive(Clone, Copy, Debug, Default)]
struct NodeState {
    is_down: bool,
    is_ready: bool,
    incoming: u16,
    outgoing: u16,
    /// Moves that replace this node and are not done.
    left: u32,
}

/// A move to run now. During a [`Transition`](crate::Transition) what was read is merged into the
/// store of the receiver behind its [`Gate`](crate::Gate), with the row's epoch of the `Copying`
/// view as the tag.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let moves = diff(&table(a)?, &table(b)?)?;
/// let mut planner = Planner::new(&moves, Quorum::Majority, PlanLimits::default())?;
/// planner.source_ready(a);
/// let order = planner.poll_order().expect("a move");
/// assert_eq!((order.what.to, order.attempt), (b, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Order<B> {
    /// What to copy, and where to.
    pub what: Move<B>,
    /// Where from.
    pub source: Source,
    /// How often it was tried before.
    pub attempt: u32,
}

/// Whom to copy from.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let moves = diff(&table(a)?, &table(b)?)?;
/// let mut planner = Planner::new(&moves, Quorum::Majority, PlanLimits::default())?;
/// planner.source_ready(a);
/// assert_eq!(planner.poll_order().expect("a move").source, Source::Slot(a));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The replica that is replaced: what a quorum holds, a quorum goes on holding.
    Slot(NodeId),
    /// Several replicas together. Any single other one could lack a write that a quorum without it
    /// acknowledged (H34).
    Quorum {
        /// Replicas that are up and ready.
        nodes: Vec<NodeId>,
        /// Of how many of them the contents must be merged.
        need: u8,
    },
}

/// Where a plan stands.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let moves = diff(&table(a)?, &table(b)?)?;
/// let mut planner = Planner::new(&moves, Quorum::Majority, PlanLimits::default())?;
/// planner.source_ready(a);
/// assert_eq!((planner.progress().waiting, planner.progress().done), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Moves that were not ordered, or have to be ordered again.
    pub waiting: u32,
    /// Moves under way.
    pub running: u32,
    /// Moves that are done.
    pub done: u32,
    /// Moves that failed too often.
    pub stuck: u32,
    /// Attempts that failed.
    pub failures: u64,
    /// Reports of moves that were done already.
    pub repeated: u64,
    /// What each node sends and receives now, ids rising; idle ones are left out.
    pub nodes: Vec<NodeProgress>,
}

/// What a node sends and receives now.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let moves = diff(&table(a)?, &table(b)?)?;
/// let mut planner = Planner::new(&moves, Quorum::Majority, PlanLimits::default())?;
/// planner.source_ready(a);
/// planner.poll_order();
/// let busy = planner.progress().nodes;
/// assert_eq!((busy[0].node, busy[0].outgoing, busy[1].incoming), (a, 1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeProgress {
    /// The node.
    pub node: NodeId,
    /// Moves it receives.
    pub incoming: u16,
    /// Moves it sends.
    pub outgoing: u16,
}

impl<B: Clone + Ord> Planner<B> {
    /// A plan for the moves of a diff. All nodes count as up, and none as ready to be copied from:
    /// call [`Planner::source_ready`] for those that are, without a
    /// [`Transition`](crate::Transition) for all of them.
    ///
    /// # Errors
    /// [`PlanError`] for limits out of range, or a quorum that does not fit the rows.
    pub fn new(diff: &Diff<B>, quorum: Quorum, limits: PlanLimits) -> Result<Self, PlanError> {
        limits.validate()?;
        if diff.widest > 0 {
            // Rows may be short of what the quorum was made for, so only its shape is checked.
            let widest = to_u8(diff.widest.min(usize::from(u8::MAX)));
            quorum.validate_for(quorum_replicas(quorum, widest))?;
        }
        let mut planner = Self {
            moves: Vec::with_capacity(diff.moves.len()),
            quorum,
            limits,
            drained: diff.drained.clone(),
            nodes: BTreeMap::new(),
            lanes: Lanes::default(),
            busy: BTreeSet::new(),
            running: 0,
            done: 0,
            stuck: Vec::new(),
            failures: 0,
            repeated: 0,
        };
        for what in &diff.moves {
            planner.add(what.clone());
        }
        Ok(planner)
    }

    fn add(&mut self, what: Move<B>) {
        let segment = match self.moves.last() {
            Some(last) if last.what.start == what.start => last.segment,
            Some(last) => last.segment + 1,
            None => 0,
        };
        if let Some(from) = what.from {
            self.nodes.entry(from).or_default().left += 1;
        }
        self.lanes.push(Lane { from: what.from, to: what.to }, 0, what.id);
        let (state, senders) = (State::Waiting, Vec::new());
        self.moves.push(Entry { what, segment, state, tail: 0, attempts: 0, senders });
    }

    /// The next move to run, if one may. Report it by [`Planner::done`] or [`Planner::failed`].
    pub fn poll_order(&mut self) -> Option<Order<B>> {
        if self.running >= u32::from(self.limits.total_max()) {
            return None;
        }
        let mut best: Option<(Rank, MoveId, Source)> = None;
        for (lane, waiting) in self.lanes.iter() {
            let Some(rank) = self.rank(*lane) else { continue };
            // Of a sender that is up, everything in the lane is copied: if it has no room now,
            // nothing of the lane can run, and nothing of it is looked at.
            let sender = lane.from.filter(|from| self.is_live(*from));
            if sender.is_some_and(|from| !self.has_room(from)) {
                continue;
            }
            // Only a lane whose first entry beats the best so far is looked into.
            let beats = |tail: u64, id: MoveId, best: &Option<(Rank, MoveId, Source)>| {
                best.as_ref().is_none_or(|(than, of, _)| (rank.behind(tail), id) < (*than, *of))
            };
            for &(tail, id) in waiting {
                if !beats(tail, id, &best) {
                    break;
                }
                if let Some(source) = self.source(id) {
                    best = Some((rank.behind(tail), id, source));
                    break;
                }
            }
        }
        let (rank, id, source) = best?;
        Some(self.start(rank.tail, id, source))
    }

    /// How urgent the moves of a lane are; none if its receiver can take none now.
    fn rank(&self, lane: Lane) -> Option<Rank> {
        let to = self.state(lane.to);
        if to.is_down || to.incoming >= self.limits.incoming_max() {
            return None;
        }
        let from = lane.from.map(|from| (from, self.state(from)));
        let class = match from {
            None => 0,
            Some((_, from)) if from.is_down => 0,
            Some((from, _)) if self.drained.binary_search(&from).is_ok() => 1,
            Some(_) => 2,
        };
        let fewer = from.map_or(u32::MAX, |(_, from)| u32::MAX - from.left);
        Some(Rank { tail: 0, class, fewer })
    }

    /// Where a move can be copied from now.
    fn source(&self, id: MoveId) -> Option<Source> {
        let entry = &self.moves[id.value() as usize];
        if self.busy.contains(&entry.segment) {
            return None;
        }
        let holders = &entry.what.holders;
        if let Some(from) = entry.what.from.filter(|from| self.is_live(*from)) {
            return self.has_room(from).then_some(Source::Slot(from));
        }
        let can_send = |node: &NodeId| self.is_live(*node) && self.has_room(*node);
        let nodes: Vec<NodeId> = holders.iter().copied().filter(can_send).collect();
        if planted("m18_copy_from_any_one_holder") {
            return nodes.first().map(|node| Source::Slot(*node));
        }
        let need = self.quorum.covers_writes(length_of(holders)); // H34
        (nodes.len() >= usize::from(need)).then_some(Source::Quorum { nodes, need })
    }

    fn has_room(&self, node: NodeId) -> bool {
        self.state(node).outgoing < self.limits.outgoing_max()
    }

    fn is_live(&self, node: NodeId) -> bool {
        let state = self.state(node);
        state.is_ready && !state.is_down
    }

    fn start(&mut self, tail: u64, id: MoveId, source: Source) -> Order<B> {
        let entry = &mut self.moves[id.value() as usize];
        let lane = Lane { from: entry.what.from, to: entry.what.to };
        entry.state = State::Running;
        entry.senders = match &source {
            Source::Slot(from) => alloc::vec![*from],
            Source::Quorum { nodes, .. } => nodes.clone(),
        };
        for sender in &entry.senders {
            self.nodes.entry(*sender).or_default().outgoing += 1;
        }
        self.nodes.entry(entry.what.to).or_default().incoming += 1;
        self.busy.insert(entry.segment);
        self.running += 1;
        let order = Order { what: entry.what.clone(), source, attempt: entry.attempts };
        self.lanes.remove(lane, tail, id);
        order
    }

    /// A running move ended, one way or the other: its nodes and its segment are free again.
    fn release(&mut self, id: MoveId) {
        let entry = &mut self.moves[id.value() as usize];
        for sender in core::mem::take(&mut entry.senders) {
            self.nodes.entry(sender).or_default().outgoing -= 1;
        }
        self.nodes.entry(entry.what.to).or_default().incoming -= 1;
        self.busy.remove(&entry.segment);
        self.running -= 1;
    }

    /// A move was copied. A second report is accepted and counted.
    ///
    /// # Errors
    /// [`PlanError::UnknownMove`].
    pub fn done(&mut self, id: MoveId) -> Result<(), PlanError> {
        let before = self.entry(id)?.state;
        match before {
            State::Done => {
                self.repeated += 1;
                return Ok(());
            }
            State::Running => self.release(id),
            State::Stuck => self.stuck.retain(|stuck| *stuck != id),
            State::Waiting => {
                let entry = &self.moves[id.value() as usize];
                let lane = Lane { from: entry.what.from, to: entry.what.to };
                self.lanes.remove(lane, entry.tail, id);
            }
        }
        let entry = &mut self.moves[id.value() as usize];
        entry.state = State::Done;
        if let Some(from) = entry.what.from {
            self.nodes.entry(from).or_default().left -= 1;
        }
        self.done += 1;
        Ok(())
    }

    /// A running move failed: it goes behind all others, or is stuck after
    /// [`PlanLimits::attempts_max`] failures.
    ///
    /// # Errors
    /// [`PlanError::UnknownMove`] for a move that does not run.
    pub fn failed(&mut self, id: MoveId) -> Result<(), PlanError> {
        if self.entry(id)?.state != State::Running {
            return Err(PlanError::UnknownMove { id, moves: self.moves.len() });
        }
        self.release(id);
        self.failures += 1;
        let tail = self.failures;
        let entry = &mut self.moves[id.value() as usize];
        entry.attempts += 1;
        if entry.attempts >= u32::from(self.limits.attempts()) {
            entry.state = State::Stuck;
            self.stuck.push(id);
        } else {
            entry.state = State::Waiting;
            entry.tail = tail;
            self.lanes.push(Lane { from: entry.what.from, to: entry.what.to }, tail, id);
        }
        Ok(())
    }

    /// A node is down: nothing is ordered from it or to it. Running moves of it are the caller's
    /// to report.
    pub fn node_down(&mut self, node: NodeId) {
        self.nodes.entry(node).or_default().is_down = true;
    }

    /// A node is up again.
    pub fn node_up(&mut self, node: NodeId) {
        self.nodes.entry(node).or_default().is_down = false;
    }

    /// A node may be copied from: during a transition once
    /// [`Transition::is_source_ready`](crate::Transition::is_source_ready) says so (H35).
    pub fn source_ready(&mut self, node: NodeId) {
        self.nodes.entry(node).or_default().is_ready = true;
    }

    /// Where the plan stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let stuck = to_u32(self.stuck.len());
        let is_busy = |state: &NodeState| state.incoming > 0 || state.outgoing > 0;
        let nodes = self.nodes.iter().filter(|(_, state)| is_busy(state));
        Progress {
            waiting: to_u32(self.moves.len()) - self.running - self.done - stuck,
            running: self.running,
            done: self.done,
            stuck,
            failures: self.failures,
            repeated: self.repeated,
            nodes: nodes
                .map(|(node, state)| NodeProgress {
                    node: *node,
                    incoming: state.incoming,
                    outgoing: state.outgoing,
                })
                .collect(),
        }
    }

    /// Whether every move is done.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.done as usize == self.moves.len()
    }

    /// The moves that failed too often, if any: they are not ordered again. Copy them some other
    /// way and report them as done, or abort.
    #[must_use]
    pub fn is_stuck(&self) -> Option<&[MoveId]> {
        Some(&*self.stuck).filter(|stuck| !stuck.is_empty())
    }

    fn entry(&self, id: MoveId) -> Result<&Entry<B>, PlanError> {
        let moves = self.moves.len();
        self.moves.get(id.value() as usize).ok_or(PlanError::UnknownMove { id, moves })
    }

    fn state(&self, node: NodeId) -> NodeState {
        self.nodes.get(&node).copied().unwrap_or_default()
    }
}

/// What goes before what: the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// The number of the failure that put it behind; 0: never failed.
    tail: u64,
    /// 0 replaces a dead or missing replica, 1 one without weight, 2 any other.
    class: u8,
    /// Less, the more moves the sender has left.
    fewer: u32,
}

impl Rank {
    const fn behind(self, tail: u64) -> Self {
        Self { tail, ..self }
    }
}

/// The replicas that a fixed quorum can at least have been made for.
fn quorum_replicas(quorum: Quorum, widest: u8) -> u8 {
    match quorum {
        Quorum::Majority => widest,
        Quorum::Fixed { read, write } => widest.max(read).max(write),
    }
}

fn length_of(holders: &[NodeId]) -> u8 {
    to_u8(holders.len().min(usize::from(u8::MAX)))
}
