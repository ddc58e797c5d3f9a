//! [`Exclusive`]: two nodes that hold the same thing at one moment of true time.

use super::{Checker, Observation, Observed, View};
use quorate_clocks::Monotonic;
use quorate_transport::{Incarnation, NodeId};
use std::collections::BTreeMap;

/// Fails when two nodes believe to hold the same key at one true time.
///
/// # Shape
/// A belief ends at its time on the believer's own clock, when it is disowned, or when the believer
/// dies. A pause does not end it: a paused holder still acts when it goes on.
///
/// # Examples
/// ```
/// use quorate_sim::{Checker, Exclusive};
/// assert_eq!(Exclusive::new("lease").name(), "exclusive lease");
/// ```
#[derive(Clone, Debug)]
pub struct Exclusive {
    name: &'static str,
    beliefs: BTreeMap<(u64, NodeId), (Monotonic, Incarnation)>,
}

impl Exclusive {
    /// Of the beliefs of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, beliefs: BTreeMap::new() }
    }

    /// Somebody else who holds the key now.
    fn other(&self, view: View<'_>, said: &Observation, key: u64) -> Option<NodeId> {
        let of_key = self.beliefs.range((key, NodeId::new(1))..);
        let of_key = of_key.take_while(|((of, _), _)| *of == key);
        let holds = |node: NodeId, until: Monotonic, life: Incarnation| {
            node != said.node
                && view.incarnation(node) == Some(life)
                && view.monotonic(node, said.at).is_some_and(|now| now < until)
        };
        of_key
            .map(|((_, node), (until, life))| (*node, *until, *life))
            .find(|(node, until, life)| holds(*node, *until, *life))
            .map(|(node, ..)| node)
    }
}

impl Checker for Exclusive {
    fn name(&self) -> String {
        format!("exclusive {}", self.name)
    }

    fn observe(&mut self, view: View<'_>, said: &Observation) -> Result<(), String> {
        match said.what {
            Observed::Believe { name, key, until } if name == self.name => {
                let own = view.monotonic(said.node, said.at);
                if own.is_some_and(|now| now >= until) {
                    self.beliefs.remove(&(key, said.node));
                    return Ok(());
                }
                let other = self.other(view, said, key);
                self.beliefs.insert((key, said.node), (until, said.incarnation));
                match other {
                    None => Ok(()),
                    Some(other) => Err(format!(
                        "nodes {other} and {} both hold {name}[{key}] at {}",
                        said.node, said.at
                    )),
                }
            }
            Observed::Disown { name, key } if name == self.name => {
                self.beliefs.remove(&(key, said.node));
                Ok(())
            }
            Observed::Crashed => {
                self.beliefs.retain(|(_, node), _| *node != said.node);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
