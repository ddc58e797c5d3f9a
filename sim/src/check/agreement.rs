//! [`Agreement`]: nodes that say different things of one key, in any life.

use super::{Checker, Observation, Observed, View};
use std::collections::BTreeMap;

/// Fails when a node says of a key what another node, or an earlier life of itself, did not say:
/// entries of a replicated log by index, again after a restart when they are replayed.
///
/// # Shape
/// As [`AtMostOne`](crate::AtMostOne); the message tells a node that contradicts itself after a
/// restart from nodes that contradict each other.
///
/// # Examples
/// ```
/// use quorate_sim::{Agreement, Checker};
/// assert_eq!(Agreement::new("entry").name(), "agreement entry");
/// ```
#[derive(Clone, Debug)]
pub struct Agreement {
    name: &'static str,
    said: BTreeMap<u64, (u128, Observation)>,
}

impl Agreement {
    /// Of the facts of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, said: BTreeMap::new() }
    }
}

impl Checker for Agreement {
    fn name(&self) -> String {
        format!("agreement {}", self.name)
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        let Observed::Fact { name, key, value } = said.what else { return Ok(()) };
        if name != self.name {
            return Ok(());
        }
        let (before, first) = self.said.entry(key).or_insert((value, *said));
        if *before == value {
            return Ok(());
        }
        let (node, life) = (said.node, said.incarnation);
        let whose = if node == first.node && life != first.incarnation {
            format!("node {node} said it in life {} and life {life}", first.incarnation)
        } else {
            format!("nodes {} and {node} disagree", first.node)
        };
        Err(format!("{name}[{key}] is {before:#x} and {value:#x}: {whose}"))
    }
}
