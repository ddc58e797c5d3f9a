//! [`Dense`]: keys without gaps.

use super::{Checker, Observation, Observed, View};
use quorate_transport::{Incarnation, NodeId};
use std::collections::BTreeMap;

/// Fails when the keys of a node are not each the one after the last: an applied index that skips,
/// or one that is applied twice. A new life may begin anywhere.
///
/// # Examples
/// ```
/// use quorate_sim::{Checker, Dense};
/// assert_eq!(Dense::new("applied").name(), "dense applied");
/// ```
#[derive(Clone, Debug)]
pub struct Dense {
    name: &'static str,
    newest: BTreeMap<NodeId, (u64, Incarnation)>,
}

impl Dense {
    /// Of the facts of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, newest: BTreeMap::new() }
    }
}

impl Checker for Dense {
    fn name(&self) -> String {
        format!("dense {}", self.name)
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        let Observed::Fact { name, key, .. } = said.what else { return Ok(()) };
        if name != self.name {
            return Ok(());
        }
        match self.newest.insert(said.node, (key, said.incarnation)) {
            Some((before, life))
                if life == said.incarnation && before.checked_add(1) != Some(key) =>
            {
                Err(format!("{name} of node {} goes from {before} to {key}", said.node))
            }
            _ => Ok(()),
        }
    }
}
