//! What differs between two placements: which stretches of the key space go from whom to whom.

mod names;

use crate::plant::planted;
use crate::width::to_u32;
use crate::{MoveId, NodeId, NodeIdx, Segmented, Space};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::error::Error;
use core::fmt;
use names::Names;

/// What has to move to come from one placement to another, over the same key space.
///
/// Adjacent segments with the same change are one entry, so that a whole stretch is copied at
/// once. The moves of one segment share its bounds; otherwise no two entries overlap.
///
/// # Examples
/// ```
/// use quorate_hashring::{KeyHash, Node, NodeId, PartitionTable, Rules, Topology, diff};
///
/// let [a, b, c] = [1, 2, 3].map(NodeId::new);
/// let nodes = Topology::builder().node(Node::new(a)).node(Node::new(b)).node(Node::new(c));
/// let topology = nodes.build()?;
/// let table = |rows: &[Vec<NodeId>]| {
///     PartitionTable::from_rows(&topology, &Rules::new(2), KeyHash::default(), rows)
/// };
/// let old = table(&[vec![a, b], vec![a, b]])?;
/// let new = table(&[vec![a, c], vec![a, c]])?;
///
/// let diff = diff(&old, &new)?;
/// assert_eq!(diff.moves.len(), 1); // both partitions at once
/// assert_eq!((diff.moves[0].from, diff.moves[0].to), (Some(b), c));
/// assert_eq!(diff.moves[0].holders, [a, b]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diff<B> {
    /// What has to be copied, in the order of the key space; the id of a move is its position.
    pub moves: Vec<Move<B>>,
    /// Replicas that go without a successor.
    pub drops: Vec<Dropped<B>>,
    /// Nodes that the new placement gives no weight, ids rising: a plan empties them first.
    pub(crate) drained: Vec<NodeId>,
    /// Nodes of the longest old row with a change.
    pub(crate) widest: usize,
}

impl<B> Diff<B> {
    /// Whether nothing changes hands.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.drops.is_empty()
    }
}

/// One replica of a stretch of the key space that a node receives.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let moved = &diff(&table(a)?, &table(b)?)?.moves[0];
/// assert_eq!((moved.from, moved.to), (Some(a), b));
/// assert_eq!((moved.start, moved.end), (0, None)); // the whole key space
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Move<B> {
    /// Its position among the moves.
    pub id: MoveId,
    /// The first point that moves.
    pub start: B,
    /// The first point behind it; none: it reaches the end of the space.
    pub end: Option<B>,
    /// The replica it replaces, of the same zone if there was one; none: the row grows.
    pub from: Option<NodeId>,
    /// The node that receives.
    pub to: NodeId,
    /// All replicas of the old placement, in the order of the old row.
    pub holders: Vec<NodeId>,
}

/// One replica of a stretch of the key space that nobody takes over: the row gets shorter.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let one = RangeMap::new(RangeId::new(1), &[b])?;
/// let two = RangeMap::new(RangeId::new(1), &[a, b])?;
/// assert_eq!(diff(&two, &one)?.drops[0].node, a);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped<B> {
    /// The first point it held.
    pub start: B,
    /// The first point behind it; none: it reached the end of the space.
    pub end: Option<B>,
    /// The node that held it.
    pub node: NodeId,
}

/// Why two placements cannot be compared.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let ranges = RangeMap::new(RangeId::new(1), &[a])?;
/// let other = RingConfig::default().key_hash(KeyHash::xxh64(0));
/// let ring = Ring::build(&topology, &Rules::new(1), &other)?;
/// assert!(matches!(diff(&table(a)?, &ring), Err(DiffError::Space { .. })));
/// # drop(ranges);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiffError {
    /// Effect: nothing was compared. A point of one space is none of the other.
    Space {
        /// What the bounds of the old placement are.
        old: Space,
        /// What the bounds of the new one are.
        new: Space,
    },
}

impl fmt::Display for DiffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Space { old, new } => write!(f, "placements over {old} and over {new}"),
        }
    }
}

impl Error for DiffError {}

/// Compares two placements: rings, tables or range maps, each with its own kind.
///
/// Per segment, nodes that only the old row names are paired with nodes that only the new row
/// names, of the same zone first where topologies are known, then in the order of the rows. A row
/// in another order is no change.
///
/// # Cost
/// One pass over both; allocates for what changed only.
///
/// # Errors
/// [`DiffError::Space`] if keys are hashed or ordered differently.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// assert!(diff(&table(a)?, &table(a)?)?.is_empty());
/// assert_eq!(diff(&table(a)?, &table(b)?)?.moves.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn diff<P, Q>(old: &P, new: &Q) -> Result<Diff<P::Bound>, DiffError>
where
    P: Segmented,
    Q: Segmented<Bound = P::Bound>,
{
    if old.space() != new.space() {
        return Err(DiffError::Space { old: old.space(), new: new.space() });
    }
    let mut walk = Walk::new(Names::new(old, new));
    let (mut olds, mut news) = (old.segments(), new.segments());
    let (mut left, mut right) = (olds.next(), news.next());
    while let (Some(a), Some(b)) = (&left, &right) {
        let order = compare_ends(a.end.as_ref(), b.end.as_ref());
        let start = if a.start > b.start { &a.start } else { &b.start };
        let end = if order == Ordering::Greater { &b.end } else { &a.end };
        if !walk.names.are_equal(a.replicas, b.replicas) {
            walk.step(start, end.as_ref(), a.replicas, b.replicas);
        } else if walk.run.is_some() && !is_empty(start, end.as_ref()) {
            walk.close();
        }
        if order != Ordering::Greater {
            left = olds.next();
        }
        if order != Ordering::Less {
            right = news.next();
        }
    }
    walk.close();
    Ok(walk.diff)
}

/// No end is the greatest.
fn compare_ends<B: Ord>(a: Option<&B>, b: Option<&B>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// Whether a segment holds no key, as a ring has them between equal tokens.
fn is_empty<B: Ord>(start: &B, end: Option<&B>) -> bool {
    end.is_some_and(|end| end <= start)
}

/// What happens to one row.
#[derive(Default, PartialEq, Eq)]
struct Change {
    holders: Vec<NodeId>,
    /// Who is replaced by whom.
    moves: Vec<(Option<NodeId>, NodeId)>,
    drops: Vec<NodeId>,
}

/// Goes through the segments of both sides, and collects runs of segments with one change.
struct Walk<'a, B> {
    names: Names<'a>,
    diff: Diff<B>,
    /// Where the open run begins and ends so far; none: no run is open.
    run: Option<(B, Option<B>)>,
    /// The change of the open run.
    change: Change,
    /// The change of the segment at hand. Its space is used again, as is that of the next two.
    next: Change,
    going: Vec<NodeIdx>,
    coming: Vec<NodeIdx>,
}

impl<'a, B: Clone + Ord> Walk<'a, B> {
    fn new(names: Names<'a>) -> Self {
        let drained = names.drained();
        Self {
            names,
            diff: Diff { moves: Vec::new(), drops: Vec::new(), drained, widest: 0 },
            run: None,
            change: Change::default(),
            next: Change::default(),
            going: Vec::new(),
            coming: Vec::new(),
        }
    }

    /// The next segment of both placements, with rows that are not equal.
    fn step(&mut self, start: &B, end: Option<&B>, old: &[NodeIdx], new: &[NodeIdx]) {
        if is_empty(start, end) {
            return;
        }
        if planted("m16_diff_skips_rows_of_unequal_length") && old.len() != new.len() {
            self.close();
            return;
        }
        self.find_change(old, new);
        if self.next.moves.is_empty() && self.next.drops.is_empty() {
            self.close(); // only the order of the row is another one
            return;
        }
        match &mut self.run {
            Some((_, run_end)) if self.next == self.change => *run_end = end.cloned(),
            _ => {
                self.close();
                core::mem::swap(&mut self.change, &mut self.next);
                self.run = Some((start.clone(), end.cloned()));
            }
        }
    }

    /// Pairs who goes with who comes.
    fn find_change(&mut self, old: &[NodeIdx], new: &[NodeIdx]) {
        let Self { names, next, going, coming, .. } = self;
        let is_same = |a: NodeIdx, b: NodeIdx| names.old(a) == names.new_id(b);
        going.clear();
        going.extend(old.iter().filter(|a| !new.iter().any(|b| is_same(**a, *b))));
        coming.clear();
        coming.extend(new.iter().filter(|b| !old.iter().any(|a| is_same(*a, **b))));
        next.holders.clear();
        next.holders.extend(old.iter().map(|at| names.old(*at)));
        // The same zone first, so that a copy need not cross one; then whoever is left, in order.
        next.moves.clear();
        next.moves.extend(coming.iter().map(|to| {
            let near = going.iter().position(|from| names.same_zone(*from, *to));
            (near.map(|at| names.old(going.remove(at))), names.new_id(*to))
        }));
        let mut left = going.iter().map(|at| names.old(*at));
        for (from, _) in &mut next.moves {
            *from = from.take().or_else(|| left.next());
        }
        next.drops.clear();
        next.drops.extend(left);
    }

    /// Ends the run, if one is open.
    #[inline]
    fn close(&mut self) {
        if let Some((start, end)) = self.run.take() {
            self.write(&start, end.as_ref());
        }
    }

    fn write(&mut self, start: &B, end: Option<&B>) {
        let Self { diff, change, .. } = self;
        diff.widest = diff.widest.max(change.holders.len());
        for &(from, to) in &change.moves {
            let id = MoveId::new(to_u32(diff.moves.len()));
            let (start, end, holders) = (start.clone(), end.cloned(), change.holders.clone());
            diff.moves.push(Move { id, start, end, from, to, holders });
        }
        for &node in &change.drops {
            diff.drops.push(Dropped { start: start.clone(), end: end.cloned(), node });
        }
    }
}
