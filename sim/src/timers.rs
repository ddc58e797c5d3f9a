//! [`Timers`]: several deadlines, one `poll_timeout`.

use quorate_clocks::Monotonic;
use std::collections::BTreeMap;

/// Merges the timeouts of several cores in one node.
///
/// # Cost
/// O(n) in the number of cores, which are few.
///
/// # Examples
/// ```
/// use quorate_sim::{Monotonic, Timers};
/// let at = Monotonic::from_nanos;
/// let mut timers = Timers::new();
/// timers.set("raft", Some(at(7)));
/// timers.set("gossip", Some(at(5)));
/// assert_eq!(timers.next(), Some(at(5)));
/// assert_eq!(timers.due(at(6)), Some("gossip"));
/// assert_eq!(timers.due(at(6)), None);
/// timers.set("raft", None);
/// assert_eq!(timers.next(), None);
/// ```
#[derive(Clone, Debug)]
pub struct Timers<K> {
    deadlines: BTreeMap<K, Monotonic>,
}

impl<K: Ord + Clone> Timers<K> {
    /// None set.
    #[must_use]
    pub const fn new() -> Self {
        Self { deadlines: BTreeMap::new() }
    }

    /// Sets or clears the deadline of one core.
    pub fn set(&mut self, key: K, deadline: Option<Monotonic>) {
        match deadline {
            Some(at) => drop(self.deadlines.insert(key, at)),
            None => drop(self.deadlines.remove(&key)),
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Monotonic> {
        self.deadlines.values().min().copied()
    }

    /// Takes out the earliest deadline that has come; of equal ones that of the lowest key.
    pub fn due(&mut self, now: Monotonic) -> Option<K> {
        let earliest = self.deadlines.iter().min_by_key(|(_, at)| **at);
        let (key, _) = earliest.filter(|(_, at)| **at <= now)?;
        let key = key.clone();
        self.deadlines.remove(&key);
        Some(key)
    }
}

impl<K: Ord + Clone> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}
