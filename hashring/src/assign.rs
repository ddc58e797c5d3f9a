//! Tables that are as fair as the rules allow, made with the fewest moves.

mod deal;
mod flow;
mod groups;
mod loads;
mod primary;
mod rounds;
mod search;
pub(crate) mod target;

use crate::error::{AssignError, BuildError};
use crate::report::BalanceReport;
use crate::rules::Caps;
use crate::table::{BITS_MAX, VACANT, without_vacant};
use crate::width::to_u32;
use crate::{KeyHash, Locate as _, NodeIdx, PartitionTable, Replicate as _, Rules, Topology};
use alloc::vec::Vec;
pub(crate) use groups::Groups;
use target::Interval;

const BITS_DEFAULT: u8 = 12;
const IMBALANCE_PPM_MAX: u32 = 500_000;
/// The search keeps a few words for each partition and ruled domain.
const STATES_MAX: u64 = 1 << 26;

/// Which replica of a row is its primary.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let before = table(a)?;
/// let kept = Assign::new(&topology, &Rules::new(1)).previous(&before).primaries(Primaries::Keep);
/// assert_eq!(kept.solve()?.moves(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Primaries {
    /// The first of each row, evened out over the nodes with the fewest changes.
    #[default]
    Balance,
    /// Positions never shift: what stays keeps its place in the row, what comes takes a vacated
    /// one. For erasure codes, where each position holds another shard. Rows cannot get shorter.
    Keep,
}

/// Assigns partitions to nodes: the fairest table the rules allow, reached from the previous one
/// with the fewest new placements.
///
/// # Guarantees
/// Each node holds the floor or the ceiling of its fair target (G5); no table with such loads
/// needs fewer new placements (G6); an unchanged problem moves nothing.
///
/// # Cost
/// Pure computation, single-threaded: for 1,024 partitions on 100 nodes one to three milliseconds
/// for one node more or less, see the benchmark record for larger ones. Memory: 12 bytes for each
/// partition and ruled domain.
///
/// # Examples
/// ```
/// use quorate_hashring::{Assign, Level, Node, NodeId, Rules, Topology};
///
/// let zone = |id| ["a", "b", "c"][id as usize % 3];
/// let mut nodes = Topology::builder();
/// for id in 1..=6 {
///     nodes = nodes.node(Node::new(NodeId::new(id)).at(Level::Zone, zone(id)));
/// }
/// let topology = nodes.build()?;
/// let rules = Rules::new(3).at_most(Level::Zone, 1);
/// let before = Assign::new(&topology, &rules).partition_bits(6).solve()?.into_table();
///
/// let more = topology.to_builder().node(Node::new(NodeId::new(7)).at(Level::Zone, "a")).build()?;
/// let after = Assign::new(&more, &rules).partition_bits(6).previous(&before).solve()?;
/// assert_eq!(after.moves(), 21); // its fair share of the 64 replicas in zone a, and no more
/// assert_eq!(after.moves(), after.load_bound());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
/// Fair targets: Fujishige 1980. First table: `McNaughton` 1959. Fewest moves: Ahuja, Magnanti,
/// Orlin, *Network Flows* (successive shortest paths).
#[derive(Clone, Debug)]
pub struct Assign<'a> {
    topology: &'a Topology,
    rules: Rules,
    bits: Option<u8>,
    key_hash: Option<KeyHash>,
    previous: Option<&'a PartitionTable>,
    imbalance_ppm: u32,
    moves_max: Option<u32>,
    primaries: Primaries,
}

impl<'a> Assign<'a> {
    /// A first table for this topology under these rules.
    #[must_use]
    pub const fn new(topology: &'a Topology, rules: &Rules) -> Self {
        Self {
            topology,
            rules: *rules,
            bits: None,
            key_hash: None,
            previous: None,
            imbalance_ppm: 0,
            moves_max: None,
            primaries: Primaries::Balance,
        }
    }

    /// How many bits of the hash name the partition. Default: those of the previous table, else
    /// 12 · range: 0 to 16 · too few: coarse balance (aim at ten rows per node or more) · too many:
    /// time to solve, size of views.
    #[must_use]
    pub const fn partition_bits(mut self, bits: u8) -> Self {
        self.bits = Some(bits);
        self
    }

    /// What turns keys into hashes. Default: that of the previous table, else `XXH3` with seed 0.
    #[must_use]
    pub const fn key_hash(mut self, key_hash: KeyHash) -> Self {
        self.key_hash = Some(key_hash);
        self
    }

    /// The table to change as little as possible.
    #[must_use]
    pub const fn previous(mut self, table: &'a PartitionTable) -> Self {
        self.previous = Some(table);
        self
    }

    /// How far loads may be from their fair targets, in millionths. Default: 0 · range: 0 to
    /// 500,000 · greater: fewer moves, worse balance.
    #[must_use]
    pub const fn imbalance_ppm(mut self, ppm: u32) -> Self {
        self.imbalance_ppm = ppm;
        self
    }

    /// The most new placements of this round; solve again with its table for the next one. In
    /// total rounds cost nothing (G7). Default: no limit · range: at least 1. Rows change whole.
    #[must_use]
    pub const fn moves_max(mut self, moves: u32) -> Self {
        self.moves_max = Some(moves);
        self
    }

    /// Which replica of a row is its primary. Default: [`Primaries::Balance`].
    #[must_use]
    pub const fn primaries(mut self, primaries: Primaries) -> Self {
        self.primaries = primaries;
        self
    }

    /// Solves the problem.
    ///
    /// # Errors
    /// [`AssignError`]: rules that cannot be satisfied, settings out of range, a previous table of
    /// another shape, or a round too small for any row. Nothing was assigned.
    pub fn solve(&self) -> Result<Assignment, AssignError> {
        self.validate()?;
        let problem = self.problem()?;
        let (rows, moves, load_bound, complete) = match self.previous {
            None => {
                let rows = self.first(&problem);
                let all = problem.partitions * to_u32(problem.replicas());
                (rows, all, all, true)
            }
            Some(table) => self.change(&problem, table)?,
        };
        let table = PartitionTable::from_flat(self.topology.clone(), self.rules, self.hash(), rows);
        let report = BalanceReport::of_table(&table, &problem.caps, self.previous);
        Ok(Assignment { table, moves, load_bound, complete, report })
    }

    fn hash(&self) -> KeyHash {
        let previous = self.previous.map(|table| *table.key_hash());
        self.key_hash.or(previous).unwrap_or_default()
    }

    fn partition_bits_or_default(&self) -> u8 {
        let previous = || self.previous.map(PartitionTable::bits);
        self.bits.or_else(previous).unwrap_or(BITS_DEFAULT)
    }

    fn validate(&self) -> Result<(), AssignError> {
        self.rules.validate()?;
        let bits = self.partition_bits_or_default();
        within("partition_bits", u64::from(bits), 0, u64::from(BITS_MAX))?;
        let (ppm, max) = (u64::from(self.imbalance_ppm), u64::from(IMBALANCE_PPM_MAX));
        within("imbalance_ppm", ppm, 0, max)?;
        if let Some(moves) = self.moves_max {
            within("moves_max", u64::from(moves), 1, u64::from(u32::MAX))?;
        }
        let Some(previous) = self.previous else { return Ok(()) };
        let same = |what, previous: u64, wanted: u64| match previous == wanted {
            true => Ok(()),
            false => Err(AssignError::Mismatch { what, previous, wanted }),
        };
        same("partition bits", u64::from(previous.bits()), u64::from(bits))?;
        let replicas = previous.rules().replicas();
        same("replicas", u64::from(replicas), u64::from(self.rules.replicas()))?;
        let (before, hash) = (previous.key_hash(), self.hash());
        same("hash function", u64::from(before.id()), u64::from(hash.id()))?;
        same("hash parameter", before.parameter(), hash.parameter())
    }

    fn problem(&self) -> Result<Problem<'a>, AssignError> {
        let caps = Caps::resolve(self.topology, &self.rules)?;
        let groups = Groups::new(self.topology, &caps);
        let partitions = 1_u32 << self.partition_bits_or_default();
        let states = u64::from(partitions) * groups.len() as u64;
        within("partitions times ruled domains", states, 1, STATES_MAX)?;
        let targets = target::targets(self.topology, &groups, partitions);
        let interval = |&target| target::interval(target, self.imbalance_ppm, partitions);
        let intervals = targets.iter().map(interval).collect();
        let width = usize::from(self.rules.replicas());
        Ok(Problem { topology: self.topology, caps, groups, partitions, width, intervals })
    }

    /// A table where there was none.
    fn first(&self, problem: &Problem<'_>) -> Vec<NodeIdx> {
        let none = alloc::vec![0; problem.intervals.len()];
        let loads =
            loads::whole_loads(&problem.groups, problem.partitions, &problem.intervals, &none);
        let mut rows = deal::deal(problem, &loads);
        if self.primaries == Primaries::Balance {
            primary::balance(&mut rows, problem.width, loads.len(), None);
        }
        rows
    }

    /// A row cannot have a hole in it, so with positions kept it cannot get shorter either.
    fn check_positions(
        &self,
        problem: &Problem<'_>,
        table: &PartitionTable,
    ) -> Result<(), AssignError> {
        let rows = table.flat().chunks(problem.width);
        let longest = rows.map(|row| without_vacant(row).len()).max().unwrap_or(0);
        if self.primaries == Primaries::Keep && longest > problem.replicas() {
            let (have, possible) = (to_u32(longest), to_u32(problem.replicas()));
            return Err(AssignError::PositionsShift { have, possible });
        }
        Ok(())
    }

    /// The rows, their new placements, the bound on these, and whether that is the whole change.
    fn change(
        &self,
        problem: &Problem<'_>,
        table: &PartitionTable,
    ) -> Result<(Vec<NodeIdx>, u32, u32, bool), AssignError> {
        let before = Before::new(problem, table);
        self.check_positions(problem, table)?;
        let whole = |held| {
            loads::whole_loads(&problem.groups, problem.partitions, &problem.intervals, held)
        };
        let bound = whole(&before.held);
        let load_bound =
            bound.iter().zip(&before.held).map(|(&load, &held)| load.saturating_sub(held)).sum();
        let loads = whole(&before.keepable);
        let mut rows = flow::fewest_moves(problem, &before.rows, loads, load_bound);
        arrange(problem, &before.rows, &mut rows);
        if self.primaries == Primaries::Balance {
            let primaries: Vec<NodeIdx> =
                before.rows.chunks(problem.width).map(|row| row[0]).collect();
            let nodes = problem.intervals.len();
            primary::balance(&mut rows, problem.width, nodes, Some(&primaries));
        }
        let mut complete = true;
        if let Some(budget) = self.moves_max {
            let (previous, vanished) = (&before.rows[..], &before.vanished[..]);
            let change = rounds::Change { previous, vanished, solution: &rows };
            (rows, complete) = rounds::round(problem, &change, budget)?;
        }
        let moves = new_placements(&rows, &before.rows, problem.width);
        Ok((rows, moves, load_bound, complete))
    }
}

fn within(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), BuildError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(BuildError::OutOfRange { name, value, min, max })
    }
}

/// What is to be solved.
pub(crate) struct Problem<'a> {
    topology: &'a Topology,
    caps: Caps,
    groups: Groups,
    partitions: u32,
    /// Places of a row; fewer are filled if the cluster is too small for the rules.
    width: usize,
    intervals: Vec<Interval>,
}

impl Problem<'_> {
    /// Replicas of each row.
    const fn replicas(&self) -> usize {
        self.caps.replicas as usize
    }
}

/// The previous table as the new topology sees it.
struct Before {
    /// Vacant where a node has vanished.
    rows: Vec<NodeIdx>,
    vanished: Vec<bool>,
    /// Replicas on each node.
    held: Vec<u32>,
    /// Those that could stay if only the rules counted: a walk over the rows in order.
    keepable: Vec<u32>,
}

impl Before {
    fn new(problem: &Problem<'_>, table: &PartitionTable) -> Self {
        let topology = problem.topology;
        let ids = table.topology().ids();
        let moved: Vec<NodeIdx> =
            ids.iter().map(|&id| topology.index_of(id).unwrap_or(VACANT)).collect();
        let now = |at: &NodeIdx| match *at {
            VACANT => VACANT,
            at => moved[usize::from(at.value())],
        };
        let rows: Vec<NodeIdx> = table.flat().iter().map(now).collect();
        let gone = |(old, new): (&[NodeIdx], &[NodeIdx])| {
            old.iter().zip(new).any(|(&old, &new)| old != VACANT && new == VACANT)
        };
        let width = problem.width;
        let vanished = table.flat().chunks(width).zip(rows.chunks(width)).map(gone).collect();
        let mut held = alloc::vec![0; topology.nodes().len()];
        let mut keepable = held.clone();
        let mut row_kept: Vec<NodeIdx> = Vec::new();
        for row in rows.chunks(width) {
            row_kept.clear();
            for &at in row.iter().filter(|&&at| at != VACANT) {
                let node = usize::from(at.value());
                held[node] += 1;
                let fits = row_kept.len() < problem.replicas()
                    && topology.weight_at(node) > 0
                    && problem.caps.admits(topology, &row_kept, at);
                if fits {
                    keepable[node] += 1;
                    row_kept.push(at);
                }
            }
        }
        Self { rows, vanished, held, keepable }
    }
}

/// Brings what stayed to where it was, and what came to the places left, in order.
fn arrange(problem: &Problem<'_>, previous: &[NodeIdx], rows: &mut [NodeIdx]) {
    let (width, replicas) = (problem.width, problem.replicas());
    let mut arranged = alloc::vec![VACANT; width];
    for (old, row) in previous.chunks(width).zip(rows.chunks_mut(width)) {
        arranged.fill(VACANT);
        for (slot, at) in old.iter().enumerate().take(replicas) {
            if *at != VACANT && row.contains(at) {
                arranged[slot] = *at;
            }
        }
        for &at in row.iter().filter(|&&at| at != VACANT) {
            if arranged.contains(&at) {
                continue;
            }
            if let Some(slot) = arranged.iter().position(|&slot| slot == VACANT) {
                arranged[slot] = at;
            }
        }
        row.copy_from_slice(&arranged);
    }
}

/// How many nodes of new rows are not in the old ones.
fn new_placements(rows: &[NodeIdx], previous: &[NodeIdx], width: usize) -> u32 {
    let pairs = rows.chunks(width).zip(previous.chunks(width));
    let new = |(row, old): (&[NodeIdx], &[NodeIdx])| {
        without_holes(row).filter(|at| !old.contains(at)).count()
    };
    to_u32(pairs.map(new).sum())
}

fn without_holes(row: &[NodeIdx]) -> impl Iterator<Item = &NodeIdx> {
    row.iter().filter(|&&at| at != VACANT)
}

/// A table, and what it takes to get there.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let rules = Rules::new(1);
/// let assignment = Assign::new(&topology, &rules).partition_bits(4).solve()?;
/// assert!(assignment.is_complete());
/// assert_eq!(assignment.table().partitions(), 16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Assignment {
    table: PartitionTable,
    moves: u32,
    load_bound: u32,
    complete: bool,
    report: BalanceReport,
}

impl Assignment {
    /// The table.
    #[must_use]
    pub const fn table(&self) -> &PartitionTable {
        &self.table
    }

    /// The table alone.
    #[must_use]
    pub fn into_table(self) -> PartitionTable {
        self.table
    }

    /// Replicas that are where there was none of their partition before.
    #[must_use]
    pub const fn moves(&self) -> u32 {
        self.moves
    }

    /// The moves that fair loads alone force. Tight rules can force more; [`Assignment::moves`] of
    /// a whole change is never less.
    #[must_use]
    pub const fn load_bound(&self) -> u32 {
        self.load_bound
    }

    /// Whether the change is whole; if not, solve again with this table as the previous one.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// How even it is, and which rules had to be relaxed.
    #[must_use]
    pub const fn report(&self) -> &BalanceReport {
        &self.report
    }
}
