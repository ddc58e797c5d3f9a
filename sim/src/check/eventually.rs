//! [`Eventually`]: something that happens once the faults are over.

use super::{Checker, Observation, Observed, View};
use crate::SimTime;
use std::time::Duration;

/// Fails when a mark is not reached within so long after the heal. Before it nothing is promised:
/// a world of faults need not make progress. // H14
///
/// # Examples
/// ```
/// use quorate_sim::{Checker, Eventually};
/// use std::time::Duration;
/// let checker = Eventually::new("leader", Duration::from_secs(5));
/// assert_eq!(checker.name(), "eventually leader");
/// ```
#[derive(Clone, Debug)]
pub struct Eventually {
    mark: &'static str,
    within: Duration,
    healed: Option<SimTime>,
    reached: bool,
}

impl Eventually {
    /// This mark, within this time of the heal.
    #[must_use]
    pub const fn new(mark: &'static str, within: Duration) -> Self {
        Self { mark, within, healed: None, reached: false }
    }

    fn late(&self, now: SimTime) -> Result<(), String> {
        match self.healed {
            Some(healed) if !self.reached && now.since(healed) > self.within => {
                let waited = now.since(healed);
                Err(format!("{} was not reached within {waited:?} of the heal", self.mark))
            }
            _ => Ok(()),
        }
    }
}

impl Checker for Eventually {
    fn name(&self) -> String {
        format!("eventually {}", self.mark)
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        self.late(said.at)?;
        match said.what {
            Observed::Healed => {
                self.healed = Some(said.at);
                self.reached = false;
            }
            Observed::Reached { mark } if mark == self.mark => self.reached = true,
            _ => {}
        }
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        self.healed.is_some() && !self.reached
    }

    fn finish(&mut self, view: View<'_>) -> Result<(), String> {
        self.late(view.now())?;
        if self.is_waiting() {
            return Err(format!("{} was not reached after the heal", self.mark));
        }
        Ok(())
    }
}
