//! [`Waiters`]: who waits for which entry, and what became of it. (5.6)

use super::outcome::Outcome;
use crate::error::ProposeError;
use crate::{LogId, LogIndex, Term};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

struct Waiter {
    answer: oneshot::Sender<Outcome>,
    deadline: Monotonic,
}

/// How many learned what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) applied: u64,
    pub(super) superseded: u64,
    pub(super) unknown: u64,
}

/// Callers waiting for entries that were appended, by index *and* term: an index may be waited for
/// in two terms, and only application tells which one stands. // H48
#[derive(Default)]
pub(super) struct Waiters {
    waiting: BTreeMap<(LogIndex, Term), Waiter>,
    tally: Tally,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What happened so far.
    pub(super) const fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn insert(
        &mut self,
        id: LogId,
        answer: oneshot::Sender<Outcome>,
        deadline: Monotonic,
    ) {
        self.waiting.insert((id.index, id.term), Waiter { answer, deadline });
    }

    /// The entry `id` was applied: who waited for it has its reply, who waited for another one at
    /// this index knows that it never takes effect.
    pub(super) fn settle(&mut self, id: LogId, reply: &Bytes) {
        self.forget_up_to(id.index.prev());
        while let Some(entry) = self.waiting.first_entry() {
            let (index, term) = *entry.key();
            if index > id.index {
                break;
            }
            let outcome = if term == id.term {
                self.tally.applied += 1;
                Outcome::Applied { id, reply: reply.clone() }
            } else {
                self.tally.superseded += 1;
                Outcome::Rejected(ProposeError::Superseded { by: id })
            };
            // A caller that went away does not want to know.
            let _ = entry.remove().answer.send(outcome);
        }
    }

    /// Entries up to `index` are applied, within a snapshot: who waited cannot learn the outcome.
    pub(super) fn forget_up_to(&mut self, index: LogIndex) {
        while let Some(entry) = self.waiting.first_entry() {
            let (at, term) = *entry.key();
            if at > index {
                break;
            }
            let waiter = entry.remove();
            self.tell_unknown(waiter.answer, Some(LogId::of(term, at)));
        }
    }

    pub(super) fn expire(&mut self, now: Monotonic) {
        let late = self.waiting.iter().filter(|(_, w)| w.deadline <= now);
        for (index, term) in late.map(|(place, _)| *place).collect::<Vec<_>>() {
            if let Some(waiter) = self.waiting.remove(&(index, term)) {
                self.tell_unknown(waiter.answer, Some(LogId::of(term, index)));
            }
        }
    }

    pub(super) fn tell_unknown(&mut self, answer: oneshot::Sender<Outcome>, at: Option<LogId>) {
        self.tally.unknown += 1;
        let _ = answer.send(Outcome::Unknown { at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(waiters: &mut Waiters, id: LogId, deadline: u64) -> oneshot::Receiver<Outcome> {
        let (answer, outcome) = oneshot::channel();
        waiters.insert(id, answer, Monotonic::from_nanos(deadline));
        outcome
    }

    fn told(mut outcome: oneshot::Receiver<Outcome>) -> Option<Outcome> {
        outcome.try_recv().ok()
    }

    /// An entry of a deposed leader may still be committed although a later leader placed another
    /// one at its index: neither waiter may be told anything before one of them is applied.
    #[test]
    fn h48_two_terms_at_one_index_are_settled_by_application_only() {
        let reply = Bytes::from_static(b"reply");
        for (stands, falls) in [(2, 3), (3, 2)] {
            let mut waiters = Waiters::default();
            let (a, b) = (LogId::new(stands, 5), LogId::new(falls, 5));
            let (a_told, mut b_told) = (wait(&mut waiters, a, 9), wait(&mut waiters, b, 9));
            assert!(b_told.try_recv().is_err(), "nothing is decided yet");
            waiters.settle(a, &reply);
            assert_eq!(told(a_told), Some(Outcome::Applied { id: a, reply: reply.clone() }));
            let superseded = Outcome::Rejected(ProposeError::Superseded { by: a });
            assert_eq!(told(b_told), Some(superseded));
            assert_eq!(waiters.tally(), Tally { applied: 1, superseded: 1, unknown: 0 });
            assert!(waiters.is_empty());
        }
    }

    #[test]
    fn what_a_snapshot_or_a_deadline_passes_over_is_unknown() {
        let mut waiters = Waiters::default();
        let skipped = wait(&mut waiters, LogId::new(1, 3), 9);
        let late = wait(&mut waiters, LogId::new(1, 8), 4);
        let mut patient = wait(&mut waiters, LogId::new(1, 9), 9);
        waiters.settle(LogId::new(1, 4), &Bytes::new());
        assert_eq!(told(skipped), Some(Outcome::Unknown { at: Some(LogId::new(1, 3)) }));
        waiters.expire(Monotonic::from_nanos(4));
        assert_eq!(told(late), Some(Outcome::Unknown { at: Some(LogId::new(1, 8)) }));
        assert!(patient.try_recv().is_err());
        assert_eq!(waiters.tally().unknown, 2);
    }
}
