//! [`Durable`]: what was acknowledged is still somewhere at the end.

use super::{Checker, Observation, Observed, View};
use quorate_transport::{Incarnation, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// Fails when a key was acknowledged and, at the end, no living node says that it has it.
///
/// # Shape
/// Keys are acknowledged by facts of one name, whoever says them, and present by facts of another
/// name, said by a node in the life that it has at the end: say them in
/// [`Workload::finish`](crate::Workload::finish), or when a node starts and learns of them. The
/// newest value of a present fact counts: 0 takes it back.
///
/// # Examples
/// ```
/// use quorate_sim::{Checker, Durable};
/// assert_eq!(Durable::new("acked", "present").name(), "durable acked");
/// ```
#[derive(Clone, Debug)]
pub struct Durable {
    acked: &'static str,
    present: &'static str,
    acknowledged: BTreeSet<u64>,
    held: BTreeMap<u64, BTreeMap<NodeId, Incarnation>>,
}

impl Durable {
    /// Keys of the facts `acked` have to be keys of the facts `present`.
    #[must_use]
    pub const fn new(acked: &'static str, present: &'static str) -> Self {
        Self { acked, present, acknowledged: BTreeSet::new(), held: BTreeMap::new() }
    }
}

impl Checker for Durable {
    fn name(&self) -> String {
        format!("durable {}", self.acked)
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        let Observed::Fact { name, key, value } = said.what else { return Ok(()) };
        if name == self.acked {
            self.acknowledged.insert(key);
        } else if name == self.present {
            let holders = self.held.entry(key).or_default();
            match value {
                0 => drop(holders.remove(&said.node)),
                _ => drop(holders.insert(said.node, said.incarnation)),
            }
        }
        Ok(())
    }

    fn finish(&mut self, view: View<'_>) -> Result<(), String> {
        let is_held = |key: &u64| {
            let holders = self.held.get(key).into_iter().flatten();
            holders.into_iter().any(|(node, life)| view.incarnation(*node) == Some(*life))
        };
        let lost: Vec<u64> =
            self.acknowledged.iter().filter(|key| !is_held(key)).copied().collect();
        if lost.is_empty() {
            return Ok(());
        }
        let shown = &lost[..lost.len().min(8)];
        Err(format!("{} acknowledged keys are on no living node: {shown:?}", lost.len()))
    }
}
