//! [`AtMostOne`]: two different values for one key.

use super::{Checker, Contradiction, First, Observation, View};

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
    first: First,
}

impl AtMostOne {
    /// Of the facts of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { first: First::new(name) }
    }
}

impl Checker for AtMostOne {
    fn name(&self) -> String {
        format!("at-most-one {}", self.first.name)
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        let Some(Contradiction { key, before, first, value }) = self.first.contradicted(said)
        else {
            return Ok(());
        };
        let name = self.first.name;
        Err(format!(
            "{name}[{key}] is {before} for node {} at {} and {value} for node {} at {}",
            first.node, first.at, said.node, said.at
        ))
    }
}
