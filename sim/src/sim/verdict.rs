//! What checkers are told, and when.

use super::Sim;
use crate::check::{Observation, Observed, View};
use crate::trace::{Record, What};
use crate::{SimTime, Violation};
use quorate_transport::{Incarnation, NodeId};

impl Sim {
    /// The world stands still at its first violation.
    pub(super) fn stop_at(&mut self, done: Result<(), Violation>) -> Result<(), Violation> {
        let Err(found) = done else { return Ok(()) };
        // What was said up to then is heard as well, and may have been wrong earlier.
        let earlier = self.tell_checkers(found.at).err().filter(|other| other.at < found.at);
        let first = earlier.unwrap_or(found);
        self.world.trace.flush();
        self.violation = Some(first.clone());
        Err(first)
    }

    /// Time goes on to this moment, and nothing happens before: what was said until then is told.
    pub(super) fn tell_up_to(&mut self, until: SimTime) -> Result<(), Violation> {
        let done = self.tell_checkers(until);
        self.stop_at(done)
    }

    /// Tells what was said up to this moment, in the order of true time.
    pub(super) fn tell_checkers(&mut self, until: SimTime) -> Result<(), Violation> {
        while let Some(said) = self.world.said.pop(until) {
            if said.at > self.world.now {
                self.world.set_now(said.at);
            }
            self.tell(&said)?;
        }
        Ok(())
    }

    fn tell(&mut self, said: &Observation) -> Result<(), Violation> {
        for checker in &mut self.checkers {
            checker.observe(View(&self.world), said).map_err(|message| {
                Violation::new(&checker.name(), message, said.at, Some(said.node))
            })?;
        }
        Ok(())
    }

    /// Tells the checkers that the faults are over; campaigns do this.
    pub(crate) fn say_healed(&mut self) -> Result<(), Violation> {
        let (at, node) = (self.world.now, NodeId::new(1));
        let incarnation = Incarnation::new(0);
        self.world.trace.record(Record::nowhere(at, What::Heal));
        self.world.said.push(Observation { at, node, incarnation, what: Observed::Healed });
        self.tell_checkers(at)
    }

    /// Whether a checker waits for something.
    pub(crate) fn is_awaited(&self) -> bool {
        self.checkers.iter().any(|checker| checker.is_waiting())
    }

    /// The last word of the checkers; campaigns ask for it. They hear everything first that was
    /// said, also what a busy node has not come to yet.
    ///
    /// # Errors
    /// The first [`Violation`].
    pub fn finish(&mut self) -> Result<(), Violation> {
        while let Some(said) = self.world.said.pop(SimTime::FAR_FUTURE) {
            self.tell(&said)?; // and time stands still: what happens until then is not known
        }
        for checker in &mut self.checkers {
            checker.finish(View(&self.world)).map_err(|message| {
                Violation::new(&checker.name(), message, self.world.now, None)
            })?;
        }
        Ok(())
    }
}
