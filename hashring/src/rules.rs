//! How many replicas a key has, and how they must be spread over failure domains.

use crate::error::{BuildError, RulesError};
use crate::{Level, NodeIdx, Topology};
use alloc::vec::Vec;
use core::fmt;

/// The most replicas of a key.
pub(crate) const REPLICAS_MAX: u8 = 16;

/// How many replicas a key has, and how many of them may share a failure domain.
///
/// A rule of at most k replicas in a domain means: losing the domain loses at most k of them.
/// A *hard* rule holds or nothing is built; a *soft* one is relaxed as little as needed, and the
/// [`BalanceReport`](crate::BalanceReport) says how far. A node holds a key at most once without
/// any rule.
///
/// # Examples
/// ```
/// use quorate_hashring::{Level, Rules};
///
/// // Three copies in three zones; within a zone on different racks, if there are enough.
/// let rules = Rules::new(3).at_most(Level::Zone, 1).at_most_soft(Level::Rack, 1);
/// assert!(rules.validate().is_ok());
/// assert!(Rules::new(17).validate().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rules {
    replicas: u8,
    /// For each level the most replicas of a key in one of its domains.
    caps: [Option<u8>; 4],
    /// For each level whether its rule may be relaxed.
    soft: [bool; 4],
    allow_short: bool,
}

impl Rules {
    /// So many replicas, anywhere. Range: 1 to 16.
    #[must_use]
    pub const fn new(replicas: u8) -> Self {
        Self { replicas, caps: [None; 4], soft: [false; 4], allow_short: false }
    }

    /// At most `k` replicas of a key in one domain of this level, always.
    #[must_use]
    pub const fn at_most(mut self, level: Level, k: u8) -> Self {
        self.caps[level.index()] = Some(k);
        self.soft[level.index()] = false;
        self
    }

    /// At most `k` replicas of a key in one domain of this level, as long as that can be.
    #[must_use]
    pub const fn at_most_soft(mut self, level: Level, k: u8) -> Self {
        self.caps[level.index()] = Some(k);
        self.soft[level.index()] = true;
        self
    }

    /// Rather fewer replicas than none at all, where the cluster is too small for the rules.
    #[must_use]
    pub const fn allow_short(mut self) -> Self {
        self.allow_short = true;
        self
    }

    /// How many replicas a key has.
    #[must_use]
    pub const fn replicas(&self) -> u8 {
        self.replicas
    }

    /// The rule of a level, if it has one, and whether it is soft.
    #[must_use]
    pub const fn cap(&self, level: Level) -> Option<(u8, bool)> {
        match self.caps[level.index()] {
            Some(k) => Some((k, self.soft[level.index()])),
            None => None,
        }
    }

    /// Whether rows may be shorter than [`Rules::replicas`].
    #[must_use]
    pub const fn is_short_allowed(&self) -> bool {
        self.allow_short
    }

    /// Whether the rules can work on any topology at all.
    ///
    /// # Errors
    /// [`RulesError`] for 0 or more than 16 replicas, or a rule of zero.
    pub const fn validate(&self) -> Result<(), RulesError> {
        if self.replicas == 0 || self.replicas > REPLICAS_MAX {
            return Err(RulesError::Replicas { value: self.replicas, max: REPLICAS_MAX });
        }
        let mut at = 0;
        while at < Level::ALL.len() {
            if matches!(self.caps[at], Some(0)) {
                return Err(RulesError::Zero { level: Level::ALL[at] });
            }
            at += 1;
        }
        Ok(())
    }

    /// From what a format holds, which `validate` has still to check.
    pub(crate) const fn from_parts(
        replicas: u8,
        caps: [Option<u8>; 4],
        soft: [bool; 4],
        allow_short: bool,
    ) -> Self {
        Self { replicas, caps, soft, allow_short }
    }
}

/// A rule that could not be kept.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let rules = Rules::new(3).allow_short(); // on two nodes
/// let assignment = Assign::new(&topology, &rules).partition_bits(2).solve()?;
/// assert_eq!(assignment.report().relaxed(), [Relaxed::Replicas { asked: 3, given: 2 }]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Relaxed {
    /// A soft rule was raised.
    AtMost {
        /// Its level.
        level: Level,
        /// What it says.
        asked: u8,
        /// What was possible.
        given: u8,
    },
    /// Rows are short.
    Replicas {
        /// What was asked for.
        asked: u8,
        /// What was possible.
        given: u8,
    },
}

impl fmt::Display for Relaxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost { level, asked, given } => {
                write!(f, "at most {given} in a {level} instead of {asked}")
            }
            Self::Replicas { asked, given } => write!(f, "{given} replicas instead of {asked}"),
        }
    }
}

/// Rules that a topology can satisfy, after soft ones were relaxed.
///
/// Domains nest, so the caps form a laminar matroid: whoever adds nodes to a row one by one, each
/// allowed by the caps, always completes it. // H7, H11
#[derive(Clone, Debug)]
pub(crate) struct Caps {
    /// Replicas of each row.
    pub(crate) replicas: u8,
    /// For each level the most replicas in one domain; `replicas` where there is no rule.
    pub(crate) most: [u8; 4],
    pub(crate) relaxed: Vec<Relaxed>,
}

impl Caps {
    /// Relaxes the soft rules as little as the topology needs.
    pub(crate) fn resolve(topology: &Topology, rules: &Rules) -> Result<Self, BuildError> {
        rules.validate()?;
        let wanted = rules.replicas;
        let mut relaxed = Vec::new();
        let mut most = core::array::from_fn(|level| match rules.caps[level] {
            // Rules that may be relaxed do not count before it is their turn.
            Some(k) if !rules.soft[level] => k.min(wanted),
            _ => wanted,
        });
        let best = rank(topology, &most).min(wanted);
        // The innermost first: what it does not give, the outer ones cannot make good.
        for level in Level::ALL.into_iter().rev() {
            let at = level.index();
            let Some(asked) = rules.caps[at].filter(|_| rules.soft[at]) else { continue };
            let enough = |given: &u8| {
                most[at] = (*given).min(wanted);
                rank(topology, &most) >= best
            };
            let given = (asked..=wanted.max(asked)).find(enough).unwrap_or(asked);
            if given > asked {
                relaxed.push(Relaxed::AtMost { level, asked, given });
            }
        }
        if best < wanted {
            if best == 0 || !rules.allow_short {
                return Err(infeasible(topology, &most, wanted));
            }
            relaxed.push(Relaxed::Replicas { asked: wanted, given: best });
        }
        Ok(Self { replicas: best, most: most.map(|k| k.min(best)), relaxed })
    }

    /// Whether `candidate` may join the nodes chosen so far.
    pub(crate) fn admits(&self, topology: &Topology, chosen: &[NodeIdx], new: NodeIdx) -> bool {
        !chosen.contains(&new)
            && Level::ALL.into_iter().all(|level| {
                let most = usize::from(self.most[level.index()]);
                // Fewer than the cap in all: none of its domains can be full.
                chosen.len() < most || {
                    let domains = topology.domains_at(level);
                    let domain = |at: NodeIdx| domains[usize::from(at.value())];
                    chosen.iter().filter(|&&at| domain(at) == domain(new)).count() < most
                }
            })
    }
}

/// How many replicas of a key fit: bottom up, each domain holds what its parts hold, up to its
/// cap. Capped at 255.
fn rank(topology: &Topology, most: &[u8; 4]) -> u8 {
    let mut total = 0_u32;
    // Open domains from the outermost in: what they hold so far, and their number.
    let mut held = [0_u32; 4];
    let mut open: Option<[u16; 4]> = None;
    let close = |held: &mut [u32; 4], from: usize, total: &mut u32| {
        for level in (from..4).rev() {
            let full = held[level].min(u32::from(most[level]));
            held[level] = 0;
            match level.checked_sub(1) {
                Some(outer) => held[outer] += full,
                None => *total += full,
            }
        }
    };
    for &at in topology.by_place() {
        let at = usize::from(at.value());
        if topology.weight_at(at) == 0 {
            continue;
        }
        let path = Level::ALL.map(|level| topology.domains_at(level)[at]);
        if let Some(before) = open {
            let from = (0..4).find(|&level| before[level] != path[level]).unwrap_or(4);
            close(&mut held, from, &mut total);
        }
        held[3] += 1;
        open = Some(path);
    }
    close(&mut held, 0, &mut total);
    u8::try_from(total).unwrap_or(u8::MAX)
}

/// The reason why fewer than `wanted` replicas fit.
fn infeasible(topology: &Topology, most: &[u8; 4], wanted: u8) -> BuildError {
    let active = |at: &&NodeIdx| topology.weight_at(usize::from(at.value())) > 0;
    let nodes = topology.by_place().iter().filter(active).count();
    if nodes < usize::from(wanted) {
        return BuildError::TooFewNodes {
            have: crate::width::to_u32(nodes),
            need: u32::from(wanted),
        };
    }
    let have = rank(topology, most);
    // The outermost rule without which more would fit.
    let without = |level: &Level| {
        let mut free = *most;
        free[level.index()] = wanted;
        rank(topology, &free) > have
    };
    let ruled = |level: &Level| most[level.index()] < wanted;
    let level = Level::ALL.into_iter().filter(ruled).find(without);
    let level = level.or_else(|| Level::ALL.into_iter().find(ruled)).unwrap_or(Level::Host);
    let mut domains: Vec<u16> = topology
        .by_place()
        .iter()
        .filter(active)
        .map(|at| topology.domains_at(level)[usize::from(at.value())])
        .collect();
    domains.dedup(); // by place they are in order
    let domains = crate::width::to_u32(domains.len());
    // Each further domain, if large enough, takes as many as the rule allows.
    let missing = u32::from(wanted - have).div_ceil(u32::from(most[level.index()]));
    BuildError::TooFewDomains { level, have: domains, need: domains + missing }
}
