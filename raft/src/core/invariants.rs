//! What must hold between any two calls; run after every step by tests and simulations.

use super::{Raft, Role};
use crate::error::Invariant;

impl Raft {
    /// Checks what must always hold within one replica.
    ///
    /// # Errors
    /// The first [`Invariant`] that is broken.
    pub fn check_invariants(&self) -> Result<(), Invariant> {
        if let Some(cause) = self.stopped {
            return Err(cause);
        }
        self.log.check()?;
        // Whoever accepted a change had seen the one before it committed. // H19
        if self.config.conf_validation
            && let Some((first, second)) = self.log.uncommitted_changes()
        {
            return Err(Invariant::TwoChanges { first, second });
        }
        let leads = self.role == Role::Leader;
        if leads != (self.leader == Some(self.id)) {
            return Err(Invariant::Role { term: self.term });
        }
        for p in &self.peers {
            if leads && p.next <= p.matched {
                return Err(Invariant::Progress { peer: p.id, matched: p.matched, next: p.next });
            }
            if leads && p.matched > self.log.last().index {
                let (low, high) = (p.matched, self.log.last().index);
                return Err(Invariant::Order { what: "match ≤ last", low, high });
            }
        }
        Ok(())
    }
}
