//! [`Monotone`] and [`MonotoneDurable`]: values that never fall.

use super::{Checker, Observation, Observed, View};
use quorate_transport::{Incarnation, NodeId};
use std::collections::BTreeMap;

/// Fails when a node's value for a key falls within one life.
///
/// # Examples
/// ```
/// use quorate_sim::{Checker, Monotone};
/// assert_eq!(Monotone::new("commit").name(), "monotone commit");
/// ```
#[derive(Clone, Debug)]
pub struct Monotone {
    values: Values,
}

/// As [`Monotone`], across restarts too: what must not fall even when a node dies.
///
/// # Examples
/// ```
/// use quorate_sim::{Checker, MonotoneDurable};
/// assert_eq!(MonotoneDurable::new("term").name(), "monotone-durable term");
/// ```
#[derive(Clone, Debug)]
pub struct MonotoneDurable {
    values: Values,
}

#[derive(Clone, Debug)]
struct Values {
    name: &'static str,
    newest: BTreeMap<(NodeId, u64), (u128, Incarnation)>,
}

impl Values {
    fn observe(&mut self, said: &Observation, across_lives: bool) -> Result<(), String> {
        let Observed::Fact { name, key, value } = said.what else { return Ok(()) };
        if name != self.name {
            return Ok(());
        }
        let newest = self.newest.insert((said.node, key), (value, said.incarnation));
        match newest {
            Some((before, life))
                if before > value && (across_lives || life == said.incarnation) =>
            {
                let (node, now) = (said.node, said.incarnation);
                Err(format!(
                    "{name}[{key}] of node {node} fell from {before} in life {life} to {value} in \
                     life {now}"
                ))
            }
            _ => Ok(()),
        }
    }
}

impl Monotone {
    /// Of the facts of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { values: Values { name, newest: BTreeMap::new() } }
    }
}

impl MonotoneDurable {
    /// Of the facts of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { values: Values { name, newest: BTreeMap::new() } }
    }
}

impl Checker for Monotone {
    fn name(&self) -> String {
        format!("monotone {}", self.values.name)
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        self.values.observe(said, false)
    }
}

impl Checker for MonotoneDurable {
    fn name(&self) -> String {
        format!("monotone-durable {}", self.values.name)
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        self.values.observe(said, true)
    }
}
