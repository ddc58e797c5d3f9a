//! [`AtMostOne`]: two different values for one key.

use super::{Checker, Observation, Observed, View};
use std::collections::BTreeMap;

/// Fails when two different values are said of one key: two leaders of a term, two outcomes of a
/// transaction.
///
/// # Examples
/// ```
/// use quorate_sim::{AtMostOne, Checker};
/// assert_eq!(AtMostOne::new("leader").name(), "at-most-one leader");
/// ```
#[derive(Clone, Debug)]
pub struct AtMostOne {
    name: &'static str,
    said: BTreeMap<u64, (u128, Observation)>,
}

impl AtMostOne {
    /// Of the facts of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, said: BTreeMap::new() }
    }
}

impl Checker for AtMostOne {
    fn name(&self) -> String {
        format!("at-most-one {}", self.name)
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
        Err(format!(
            "{name}[{key}] is {before} for node {} at {} and {value} for node {} at {}",
            first.node, first.at, said.node, said.at
        ))
    }
}
