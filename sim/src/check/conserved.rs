//! [`Conserved`]: a sum that stays.

use super::{Checker, Observation, Observed, View};
use std::collections::BTreeMap;

/// Fails when, at a cut, the newest values of all keys do not add up to the total: money that is
/// moved, tokens that are passed on.
///
/// # Shape
/// A cut is `ctx.fact("cut", …)`, said by whoever knows that the values it follows belong together.
///
/// # Examples
/// ```
/// use quorate_sim::{Checker, Conserved};
/// assert_eq!(Conserved::new("balance", 1_000).name(), "conserved balance");
/// ```
#[derive(Clone, Debug)]
pub struct Conserved {
    name: &'static str,
    total: u128,
    newest: BTreeMap<u64, u128>,
}

impl Conserved {
    /// Values of the facts of this name add up to `total`.
    #[must_use]
    pub const fn new(name: &'static str, total: u128) -> Self {
        Self { name, total, newest: BTreeMap::new() }
    }
}

impl Checker for Conserved {
    fn name(&self) -> String {
        format!("conserved {}", self.name)
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        let Observed::Fact { name, key, value } = said.what else { return Ok(()) };
        if name == self.name {
            self.newest.insert(key, value);
        } else if name == "cut" {
            let sum = self.newest.values().try_fold(0_u128, |sum, value| sum.checked_add(*value));
            if sum != Some(self.total) {
                let (name, total, keys) = (self.name, self.total, self.newest.len());
                let sum = sum.map_or_else(|| "too much".to_owned(), |sum| sum.to_string());
                return Err(format!("{name} of {keys} keys is {sum}, not {total}"));
            }
        }
        Ok(())
    }
}
