//! Fair targets: how many replicas each node should hold, as exact fractions, and the whole
//! numbers that come next to them.
//!
//! The load of each node rises in step with its weight until a constraint becomes tight: a node
//! that would hold a partition twice, a domain that holds all that its rule allows. What is inside
//! stops there and the others go on. The result is the lexicographically optimal base of a
//! polymatroid (Fujishige 1980): no node's load per weight can fall without another's, already as
//! high, rising. A new node never gets nothing because some zone is the bottleneck. // H37

use super::groups::{Groups, ROOT};
use crate::Topology;
use alloc::vec::Vec;

/// One million: the unit of tolerances.
const PPM: u128 = 1_000_000;

/// An exact fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fraction {
    pub(crate) num: u64,
    pub(crate) den: u64,
}

impl Fraction {
    pub(crate) const ZERO: Self = Self { num: 0, den: 1 };

    /// Whether it is less than another one; multiplied crosswise, so nothing is rounded.
    const fn below(self, other: Self) -> bool {
        (self.num as u128) * (other.den as u128) < (other.num as u128) * (self.den as u128)
    }
}

/// The least and the most that a node may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) low: u32,
    pub(crate) high: u32,
}

/// The fair target of each node.
pub(crate) fn targets(topology: &Topology, groups: &Groups, partitions: u32) -> Vec<Fraction> {
    let mut water = Water::new(topology, groups, partitions);
    while let Some(tight) = water.next_tight() {
        water.freeze(tight);
    }
    water.targets
}

/// The whole numbers allowed around a target: its floor and ceiling, or with a tolerance more.
pub(crate) fn interval(target: Fraction, imbalance_ppm: u32, partitions: u32) -> Interval {
    let (num, den) = (u128::from(target.num), u128::from(target.den) * PPM);
    let tolerance = u128::from(imbalance_ppm);
    let low = num * (PPM - tolerance) / den;
    let high = (num * (PPM + tolerance)).div_ceil(den);
    let high = high + u128::from(crate::plant::planted("m11_high_plus_one"));
    let whole = |count: u128| u32::try_from(count).unwrap_or(u32::MAX).min(partitions);
    Interval { low: whole(low), high: whole(high) }
}

/// What can become tight.
#[derive(Clone, Copy)]
enum Constraint {
    Node(usize),
    Group(usize),
}

/// The rising loads.
struct Water<'a> {
    groups: &'a Groups,
    partitions: u64,
    weights: Vec<u64>,
    node_frozen: Vec<bool>,
    group_frozen: Vec<bool>,
    /// For each group what its cap leaves to nodes that still rise.
    room: Vec<u64>,
    /// For each group the weight of nodes that still rise.
    rising: Vec<u64>,
    targets: Vec<Fraction>,
}

impl<'a> Water<'a> {
    fn new(topology: &Topology, groups: &'a Groups, partitions: u32) -> Self {
        let nodes = topology.nodes().len();
        let weights: Vec<u64> = (0..nodes).map(|node| topology.weight_at(node)).collect();
        let mut rising = alloc::vec![0; groups.len()];
        for node in (0..nodes).filter(|&node| weights[node] > 0) {
            for at in groups.path(node) {
                rising[at] += weights[node];
            }
        }
        let partitions = u64::from(partitions);
        let room = (0..groups.len()).map(|at| partitions * u64::from(groups.group(at).cap));
        Self {
            groups,
            partitions,
            node_frozen: weights.iter().map(|&weight| weight == 0).collect(),
            group_frozen: alloc::vec![false; groups.len()],
            room: room.collect(),
            rising,
            targets: alloc::vec![Fraction::ZERO; nodes],
            weights,
        }
    }

    /// The constraint that becomes tight at the lowest level of the water; of several the root is
    /// the last. None once nothing rises.
    fn next_tight(&self) -> Option<Constraint> {
        let mut best: Option<(Fraction, Constraint)> = None;
        let mut consider = |level: Fraction, constraint: Constraint| {
            if best.is_none_or(|(least, _)| level.below(least)) {
                best = Some((level, constraint));
            }
        };
        if !crate::plant::planted("m10_targets_ignore_the_node_cap") {
            for node in (0..self.weights.len()).filter(|&node| !self.node_frozen[node]) {
                let level = Fraction { num: self.partitions, den: self.weights[node] };
                consider(level, Constraint::Node(node)); // H14
            }
        }
        for at in (0..self.groups.len()).rev() {
            if !self.group_frozen[at] && self.rising[at] > 0 {
                let level = Fraction { num: self.room[at], den: self.rising[at] };
                consider(level, Constraint::Group(at));
            }
        }
        best.map(|(_, constraint)| constraint)
    }

    fn freeze(&mut self, constraint: Constraint) {
        match constraint {
            Constraint::Node(node) => {
                self.targets[node] = Fraction { num: self.partitions, den: 1 };
                self.node_frozen[node] = true;
                for at in self.groups.path(node) {
                    self.room[at] -= self.partitions;
                    self.rising[at] -= self.weights[node];
                }
            }
            Constraint::Group(at) => self.freeze_group(at),
        }
    }

    /// Shares what a group has left out among its rising nodes. Their sum is exactly that, so the
    /// room of the groups around stays a whole number.
    fn freeze_group(&mut self, tight: usize) {
        let (room, rising) = (self.room[tight], self.rising[tight]);
        for node in 0..self.weights.len() {
            if self.node_frozen[node] || !self.groups.path(node).any(|at| at == tight) {
                continue;
            }
            self.node_frozen[node] = true;
            self.targets[node] = Fraction { num: room * self.weights[node], den: rising };
        }
        let mut at = tight;
        while at != ROOT {
            let Some(outer) = self.groups.group(at).parent else { break };
            self.room[outer] -= room;
            self.rising[outer] -= rising;
            at = outer;
        }
        self.close(tight);
    }

    /// Nothing rises in a group and the groups inside any more.
    fn close(&mut self, at: usize) {
        self.group_frozen[at] = true;
        self.rising[at] = 0;
        for child in self.groups.group(at).children.clone() {
            self.close(child);
        }
    }
}
