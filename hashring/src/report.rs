//! How even a placement is, node by node, in exact numbers until they are printed.

use crate::assign::Groups;
use crate::assign::target::{Fraction, targets};
use crate::rules::{Caps, Relaxed};
use crate::table::BITS_MAX;
use crate::width::to_u32;
use crate::{Locate as _, NodeId, NodeIdx, PartitionTable, Replicate, Segmented, Topology};
use alloc::vec::Vec;
use core::fmt;

/// A table has at most so many rows; loads of others are printed as parts of the key space.
const ROWS_MAX: u128 = 1 << BITS_MAX;

/// How even a placement is.
///
/// # Units
/// Loads of a table are counted in rows, those of a ring in 2⁻⁶⁴ of the key space (printed as a
/// percentage).
///
/// # Examples
/// ```
/// use quorate_hashring::{Assign, Node, NodeId, Rules, Topology};
///
/// let topology = Topology::builder()
///     .node(Node::new(NodeId::new(1)))
///     .node(Node::new(NodeId::new(2)))
///     .build()?;
/// let assignment = Assign::new(&topology, &Rules::new(1)).partition_bits(4).solve()?;
/// let report = assignment.report();
/// assert_eq!(report.nodes()[0].load(), 8);
/// assert_eq!(report.worst(), 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BalanceReport {
    nodes: Vec<NodeReport>,
    /// What all keys once come to: the rows of a table, 2^64 of a ring.
    whole: u128,
    spread_overload_ppm: u64,
    unusable_weight: u64,
    relaxed: Vec<Relaxed>,
}

/// What one node has, and what would be fair.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let assignment = Assign::new(&topology, &Rules::new(1)).partition_bits(4).solve()?;
/// let node = assignment.report().nodes()[0];
/// assert_eq!((node.node(), node.load(), node.relative()), (a, 8, Some(1.0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NodeReport {
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialized::node_id"))]
    node: NodeId,
    target: (u128, u64),
    load: u128,
    primaries: u128,
    peers: u32,
    moved_in: u32,
    moved_out: u32,
}

impl NodeReport {
    /// The node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Its fair load under the rules: numerator and denominator.
    #[must_use]
    pub const fn target(&self) -> (u128, u64) {
        self.target
    }

    /// What it holds.
    #[must_use]
    pub const fn load(&self) -> u128 {
        self.load
    }

    /// What it holds as the first of the row.
    #[must_use]
    pub const fn primaries(&self) -> u128 {
        self.primaries
    }

    /// With how many other nodes it shares something: who takes over when it dies.
    #[must_use]
    pub const fn peers(&self) -> u32 {
        self.peers
    }

    /// Replicas that came to it with this change.
    #[must_use]
    pub const fn moved_in(&self) -> u32 {
        self.moved_in
    }

    /// Replicas that left it with this change.
    #[must_use]
    pub const fn moved_out(&self) -> u32 {
        self.moved_out
    }

    /// Its load as a multiple of its target; none if it should have nothing.
    #[must_use]
    pub fn relative(&self) -> Option<f64> {
        let (num, den) = self.target;
        (num > 0).then(|| to_f64(self.load) * to_f64(u128::from(den)) / to_f64(num))
    }
}

#[expect(clippy::cast_precision_loss, reason = "for printing; nothing is decided by it")]
fn to_f64(value: u128) -> f64 {
    value as f64
}

impl BalanceReport {
    /// The report of a placement with replicas.
    #[must_use]
    pub fn of<P: Replicate + Segmented<Bound = u64>>(placement: &P) -> Self {
        let topology = placement.weighed_by();
        let mut tally = Tally::new(topology.nodes().len());
        let unit = equal_length(placement);
        for segment in placement.segments() {
            let end = segment.end.map_or(1_u128 << 64, u128::from);
            tally.add(segment.replicas, (end - u128::from(segment.start)) / unit);
        }
        let whole = (1_u128 << 64) / unit;
        let caps = Caps::resolve(topology, placement.rules());
        // Without weights that keep the rules there is no fair load to compare with.
        let fair = caps.as_ref().ok().map(|caps| Fair::new(topology, caps));
        let relaxed = caps.map(|caps| caps.relaxed).unwrap_or_default();
        let none = alloc::vec![0; topology.nodes().len()];
        tally.report(topology, fair.as_ref(), whole, relaxed, &none, &none)
    }

    /// The report of a solved table, with what moved.
    pub(crate) fn of_table(
        table: &PartitionTable,
        caps: &Caps,
        previous: Option<&PartitionTable>,
    ) -> Self {
        let topology = table.topology();
        let mut tally = Tally::new(topology.nodes().len());
        for row in 0..table.partitions() as usize {
            tally.add(table.row_at(row), 1);
        }
        let (moved_in, moved_out) = moved(table, previous);
        let fair = Fair::new(topology, caps);
        let whole = u128::from(table.partitions());
        tally.report(topology, Some(&fair), whole, caps.relaxed.clone(), &moved_in, &moved_out)
    }

    /// The nodes, ids rising.
    #[must_use]
    pub fn nodes(&self) -> &[NodeReport] {
        &self.nodes
    }

    /// The largest load as a multiple of its node's fair target.
    #[must_use]
    pub fn worst(&self) -> f64 {
        self.relative().fold(0.0, f64::max)
    }

    /// The standard deviation of loads as multiples of their targets.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        let count = to_f64(self.relative().count() as u128);
        if count == 0.0 {
            return 0.0;
        }
        let mean = self.relative().sum::<f64>() / count;
        let squares: f64 = self.relative().map(|load| (load - mean) * (load - mean)).sum();
        square_root(squares / count)
    }

    /// How much more than without rules over domains some node must hold, in millionths: the price
    /// of spreading over zones of unequal weight.
    #[must_use]
    pub const fn spread_overload_ppm(&self) -> u64 {
        self.spread_overload_ppm
    }

    /// Weight that the rules leave idle, in raw 16.16 units: nodes that would hold a partition
    /// twice, zones that would hold more replicas than allowed (H14).
    #[must_use]
    pub const fn unusable_weight(&self) -> u64 {
        self.unusable_weight
    }

    /// Rules that could not be kept.
    #[must_use]
    pub fn relaxed(&self) -> &[Relaxed] {
        &self.relaxed
    }

    fn relative(&self) -> impl Iterator<Item = f64> + '_ {
        self.nodes.iter().filter_map(NodeReport::relative)
    }
}

impl fmt::Display for BalanceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let (num, den) = node.target;
            let target = to_f64(num) / to_f64(u128::from(den));
            let (load, primaries) = (node.load, node.primaries);
            write!(f, "node {}: ", node.node)?;
            if self.whole <= ROWS_MAX {
                write!(f, "target {target:.2}, load {load}, primaries {primaries}")?;
            } else {
                let percent = |part: f64| 100.0 * part / to_f64(self.whole);
                let (load, primaries) = (percent(to_f64(load)), percent(to_f64(primaries)));
                let target = percent(target);
                write!(f, "target {target:.2} %, load {load:.2} %, primaries {primaries:.2} %")?;
            }
            writeln!(f, ", in {}, out {}", node.moved_in, node.moved_out)?;
        }
        write!(f, "worst/target {:.4}, deviation {:.4}", self.worst(), self.deviation())?;
        for relaxed in &self.relaxed {
            write!(f, ", {relaxed}")?;
        }
        Ok(())
    }
}

/// The common length of all segments; one if they differ.
fn equal_length<P: Segmented<Bound = u64>>(placement: &P) -> u128 {
    let length =
        |start: u64, end: Option<u64>| end.map_or(1_u128 << 64, u128::from) - u128::from(start);
    let mut lengths = placement.segments().map(|segment| length(segment.start, segment.end));
    let first = lengths.next().unwrap_or(1);
    if lengths.all(|other| other == first) { first } else { 1 }
}

/// Fair shares of one whole, with the rules and without those over domains.
struct Fair {
    ruled: Vec<Fraction>,
    free: Vec<Fraction>,
}

impl Fair {
    fn new(topology: &Topology, caps: &Caps) -> Self {
        let free = Caps { most: [caps.replicas; 4], ..caps.clone() };
        let shares = |caps: &Caps| targets(topology, &Groups::new(topology, caps), 1);
        Self { ruled: shares(caps), free: shares(&free) }
    }

    fn spread_overload_ppm(&self) -> u64 {
        let ratio = |(ruled, free): (&Fraction, &Fraction)| {
            let num = u128::from(ruled.num) * u128::from(free.den) * 1_000_000;
            num.checked_div(u128::from(ruled.den) * u128::from(free.num)).unwrap_or(0)
        };
        let worst = self.ruled.iter().zip(&self.free).map(ratio).max().unwrap_or(0);
        u64::try_from(worst.saturating_sub(1_000_000)).unwrap_or(u64::MAX)
    }

    /// What nodes have beyond the weight that their targets need, at the load per weight of the
    /// node that has the most.
    fn unusable_weight(&self, topology: &Topology) -> u64 {
        let weight = |node: usize| u128::from(topology.weight_at(node));
        let active = || (0..self.ruled.len()).filter(|&node| weight(node) > 0);
        // Load per weight as a fraction; compared crosswise.
        let level = |node: usize| {
            let target = self.ruled[node];
            (u128::from(target.num), u128::from(target.den) * weight(node))
        };
        let highest = active().map(level).max_by(|a, b| ratio_cmp(*a, *b));
        let Some((num, den)) = highest.filter(|(num, _)| *num > 0) else { return 0 };
        let usable = |node: usize| {
            let (load, per) = (u128::from(self.ruled[node].num), u128::from(self.ruled[node].den));
            // load/per divided by num/den, in steps that stay within 128 bits.
            (load * (den / gcd(den, num))).div_ceil(per * (num / gcd(den, num)))
        };
        let idle = active().map(|node| weight(node).saturating_sub(usable(node))).sum::<u128>();
        u64::try_from(idle).unwrap_or(u64::MAX)
    }
}

fn ratio_cmp(a: (u128, u128), b: (u128, u128)) -> core::cmp::Ordering {
    // Numerators are below 2^57, denominators below 2^81: reduce before multiplying.
    let reduce = |(num, den): (u128, u128)| {
        let by = gcd(den, num).max(1);
        (num / by, den / by)
    };
    let (a, b) = (reduce(a), reduce(b));
    match (a.0.checked_mul(b.1), b.0.checked_mul(a.1)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => to_ratio(a).total_cmp(&to_ratio(b)),
    }
}

fn to_ratio((num, den): (u128, u128)) -> f64 {
    to_f64(num) / to_f64(den)
}

const fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Loads, primaries and who shares rows with whom.
struct Tally {
    loads: Vec<u128>,
    primaries: Vec<u128>,
    /// Rows one behind the other, and where each begins.
    rows: Vec<NodeIdx>,
    starts: Vec<u32>,
}

impl Tally {
    fn new(nodes: usize) -> Self {
        let zeros = || alloc::vec![0; nodes];
        let (rows, starts) = (Vec::new(), alloc::vec![0]);
        Self { loads: zeros(), primaries: zeros(), rows, starts }
    }

    fn add(&mut self, row: &[NodeIdx], load: u128) {
        for at in row {
            self.loads[usize::from(at.value())] += load;
        }
        if let Some(first) = row.first() {
            self.primaries[usize::from(first.value())] += load;
        }
        self.rows.extend_from_slice(row);
        self.starts.push(to_u32(self.rows.len()));
    }

    fn report(
        &self,
        topology: &Topology,
        fair: Option<&Fair>,
        whole: u128,
        relaxed: Vec<Relaxed>,
        moved_in: &[u32],
        moved_out: &[u32],
    ) -> BalanceReport {
        let peers = self.peers(topology.nodes().len());
        let target = |node: usize| match fair {
            Some(fair) => {
                let Fraction { num, den } = fair.ruled[node];
                (u128::from(num) * whole, den)
            }
            None => (0, 1),
        };
        let nodes = topology.ids().iter().enumerate().map(|(at, &node)| NodeReport {
            node,
            target: target(at),
            load: self.loads[at],
            primaries: self.primaries[at],
            peers: peers[at],
            moved_in: moved_in[at],
            moved_out: moved_out[at],
        });
        BalanceReport {
            nodes: nodes.collect(),
            whole,
            spread_overload_ppm: fair.map_or(0, Fair::spread_overload_ppm),
            unusable_weight: fair.map_or(0, |fair| fair.unusable_weight(topology)),
            relaxed,
        }
    }

    /// For each node with how many others it shares a row.
    fn peers(&self, nodes: usize) -> Vec<u32> {
        let row = |at: usize| &self.rows[self.starts[at] as usize..self.starts[at + 1] as usize];
        let mut held: Vec<Vec<u32>> = alloc::vec![Vec::new(); nodes];
        for at in 0..self.starts.len() - 1 {
            for node in row(at) {
                held[usize::from(node.value())].push(to_u32(at));
            }
        }
        let mut seen_by = alloc::vec![u32::MAX; nodes];
        let count = |(node, rows): (usize, &Vec<u32>)| {
            seen_by[node] = to_u32(node);
            let mut peers = 0;
            for other in rows.iter().flat_map(|&at| row(at as usize)) {
                let seen = &mut seen_by[usize::from(other.value())];
                peers += u32::from(*seen != to_u32(node));
                *seen = to_u32(node);
            }
            peers
        };
        held.iter().enumerate().map(count).collect()
    }
}

/// Replicas that came to each node and that left it.
fn moved(table: &PartitionTable, previous: Option<&PartitionTable>) -> (Vec<u32>, Vec<u32>) {
    let (ids, topology) = (table.topology().ids(), table.topology());
    let (mut came, mut left) = (alloc::vec![0; ids.len()], alloc::vec![0; ids.len()]);
    let before = previous.map(|table| table.topology().ids());
    for row in 0..table.partitions() as usize {
        let new = table.row_at(row);
        let old = previous.map_or(&[][..], |table| table.row_at(row));
        let old_id = |at: &NodeIdx| before.map(|ids| ids[usize::from(at.value())]);
        for at in new {
            let id = Some(ids[usize::from(at.value())]);
            came[usize::from(at.value())] += u32::from(!old.iter().any(|at| old_id(at) == id));
        }
        for at in old.iter().filter_map(|at| topology.index_of(old_id(at)?)) {
            left[usize::from(at.value())] += u32::from(!new.contains(&at));
        }
    }
    (came, left)
}

/// Newton's method: `core` has no square root.
fn square_root(square: f64) -> f64 {
    let mut root = if square > 1.0 { square } else { 1.0 };
    for _ in 0..64 {
        root = f64::midpoint(root, square / root);
    }
    root
}
