//! [`Agreement`]: nodes that say different things of one key, in any life.

use super::{Checker, Contradiction, First, Observation, View};

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
    first: First,
}

impl Agreement {
    /// Of the facts of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { first: First::new(name) }
    }
}

impl Checker for Agreement {
    fn name(&self) -> String {
        format!("agreement {}", self.first.name)
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        let Some(Contradiction { key, before, first, value }) = self.first.contradicted(said)
        else {
            return Ok(());
        };
        let name = self.first.name;
        let (node, life) = (said.node, said.incarnation);
        let whose = if node == first.node && life != first.incarnation {
            format!("node {node} said it in life {} and life {life}", first.incarnation)
        } else {
            format!("nodes {} and {node} disagree", first.node)
        };
        Err(format!("{name}[{key}] is {before:#x} and {value:#x}: {whose}"))
    }
}
