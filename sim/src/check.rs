//! [`Checker`]: judges what nodes say about themselves while the world runs.

mod agreement;
mod at_most_one;
mod conserved;
mod dense;
mod durable;
mod eventually;
mod exclusive;
mod linearizable;
mod monotone;

pub use agreement::Agreement;
pub use at_most_one::AtMostOne;
pub use conserved::Conserved;
pub use dense::Dense;
pub use durable::Durable;
pub use eventually::Eventually;
pub use exclusive::Exclusive;
pub use linearizable::Linearizable;
pub use monotone::{Monotone, MonotoneDurable};

use crate::SimTime;
use crate::world::World;
use quorate_clocks::Monotonic;
use quorate_transport::{Incarnation, NodeId};

/// One thing that checkers are told.
///
/// # Examples
/// See [`Checker`].
/// ```
/// use quorate_sim::Observed;
/// let fact = Observed::Fact { name: "leader", key: 7, value: 2 };
/// assert_ne!(fact, Observed::Crashed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observed {
    /// [`Ctx::fact`](crate::Ctx::fact).
    Fact {
        /// Of which kind.
        name: &'static str,
        /// About what.
        key: u64,
        /// What it is.
        value: u128,
    },
    /// [`Ctx::believe`](crate::Ctx::believe).
    Believe {
        /// Of which kind.
        name: &'static str,
        /// What the node holds.
        key: u64,
        /// Until when, on the node's clock.
        until: Monotonic,
    },
    /// [`Ctx::disown`](crate::Ctx::disown).
    Disown {
        /// Of which kind.
        name: &'static str,
        /// What the node no longer holds.
        key: u64,
    },
    /// [`Ctx::reached`](crate::Ctx::reached).
    Reached {
        /// The mark.
        mark: &'static str,
    },
    /// The node died.
    Crashed,
    /// A campaign healed the world: everything runs and everybody hears everybody from here on.
    Healed,
}

/// Who said it, and when.
///
/// # Examples
/// See [`Checker`].
/// ```
/// fn who(said: &quorate_sim::Observation) -> String {
///     format!("node {} at {}", said.node, said.at)
/// }
/// # let _ = who;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observation {
    /// True time.
    pub at: SimTime,
    /// Which node; 1 for [`Observed::Healed`].
    pub node: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// What.
    pub what: Observed,
}

/// The world as checkers see it: what no node can know.
///
/// # Examples
/// See [`Checker`].
/// ```
/// fn is_up(view: &quorate_sim::View<'_>, node: quorate_sim::NodeId) -> bool {
///     view.incarnation(node).is_some()
/// }
/// # let _ = is_up;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct View<'a>(pub(crate) &'a World);

impl View<'_> {
    /// True time.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.0.now
    }

    /// What the monotonic clock of a node shows at a moment no earlier than its last change.
    #[must_use]
    pub fn monotonic(&self, node: NodeId, at: SimTime) -> Option<Monotonic> {
        let place = self.0.place(node)?;
        Some(self.0.machine(place).clock.monotonic(at))
    }

    /// The life of a node, if it is up; a paused node is.
    #[must_use]
    pub fn incarnation(&self, node: NodeId) -> Option<Incarnation> {
        let place = self.0.place(node)?;
        let machine = self.0.machine(place);
        machine.is_up().then_some(machine.incarnation)
    }
}

/// What was said first of each key of one name, to be held against what is said later.
#[derive(Clone, Debug)]
struct First {
    name: &'static str,
    said: std::collections::BTreeMap<u64, (u128, Observation)>,
}

/// What was said first of a key, by whom, and what is said now.
struct Contradiction {
    key: u64,
    before: u128,
    first: Observation,
    value: u128,
}

impl First {
    const fn new(name: &'static str) -> Self {
        Self { name, said: std::collections::BTreeMap::new() }
    }

    fn contradicted(&mut self, said: &Observation) -> Option<Contradiction> {
        let Observed::Fact { name, key, value } = said.what else { return None };
        if name != self.name {
            return None;
        }
        let (before, first) = *self.said.entry(key).or_insert((value, *said));
        (before != value).then_some(Contradiction { key, before, first, value })
    }
}

/// Judges what nodes say, while the world runs and when it ends.
///
/// # Examples
/// A term has one leader, and nobody is leader in term 0:
/// ```
/// use quorate_sim::{Checker, Observation, Observed, View};
///
/// struct NoLeaderInTermZero;
/// impl Checker for NoLeaderInTermZero {
///     fn name(&self) -> String {
///         "no leader in term 0".into()
///     }
///     fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
///         match said.what {
///             Observed::Fact { name: "leader", key: 0, .. } => Err(format!("node {}", said.node)),
///             _ => Ok(()),
///         }
///     }
/// }
/// # let _ = NoLeaderInTermZero;
/// ```
pub trait Checker: 'static {
    /// How failures call it.
    fn name(&self) -> String;

    /// A node said something, died, or the world was healed. Told in the order of true time: what
    /// a busy handler says late is told when that moment comes, and never if the node dies before.
    ///
    /// # Errors
    /// What is wrong: the world stops with it.
    fn observe(&mut self, view: View<'_>, said: &Observation) -> Result<(), String>;

    /// Whether something is still to come: a campaign goes on for it after the heal.
    fn is_waiting(&self) -> bool {
        false
    }

    /// The run is over.
    ///
    /// # Errors
    /// What is missing.
    fn finish(&mut self, view: View<'_>) -> Result<(), String> {
        let _ = view;
        Ok(())
    }
}
