//! [`Waiters`]: who waits for which entry, and what became of it. (5.6)

use super::outcome::Outcome;
use super::pending::Pending;
use super::step::Answer;
use crate::error::ProposeError;
use crate::{LogId, LogIndex, Term};
use quorate_clocks::Monotonic;
use std::collections::VecDeque;

/// How many learned what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) applied: u64,
    pub(super) superseded: u64,
    pub(super) unknown: u64,
}

/// Where an entry stands that is waited for.
type Place = (LogIndex, Term);

/// Callers waiting for entries that were appended, by index *and* term: an index may be waited for
/// in two terms, and only application tells which one stands. // H48
///
/// What may be proposed again is handed back instead of being given up: those come out of the
/// methods that return proposals.
#[derive(Default)]
pub(super) struct Waiters {
    /// In that order: entries are appended, and applied, one after the other.
    waiting: VecDeque<(Place, Pending)>,
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

    pub(super) fn insert(&mut self, id: LogId, pending: Pending) {
        let place = (id.index, id.term);
        if self.waiting.back().is_none_or(|(last, _)| *last < place) {
            self.waiting.push_back((place, pending));
            return;
        }
        let at = self.waiting.partition_point(|(before, _)| *before < place);
        self.waiting.insert(at, (place, pending));
    }

    /// The entry `id` was applied: who waited for it has its answer, who waited for another one at
    /// this index knows that it never takes effect.
    pub(super) fn settle(&mut self, id: LogId, answer: &Answer) -> Vec<Pending> {
        let mut again = self.forget_up_to(id.index.prev());
        while let Some((term, pending)) = self.take_up_to(id.index).map(|((_, t), p)| (t, p)) {
            if term == id.term || crate::plant::planted("waiter_by_index") {
                self.tell_applied(pending, id, answer);
            } else if pending.is_repeatable() {
                again.push(pending);
            } else {
                self.tally.superseded += 1;
                pending.tell(Outcome::Rejected(ProposeError::Superseded { by: id }));
            }
        }
        again
    }

    /// The first one, if it waits for no more than `index`.
    fn take_up_to(&mut self, index: LogIndex) -> Option<(Place, Pending)> {
        self.waiting.front().is_some_and(|((at, _), _)| *at <= index).then_some(())?;
        self.waiting.pop_front()
    }

    fn tell_applied(&mut self, pending: Pending, id: LogId, answer: &Answer) {
        let outcome = pending.outcome_of(id, answer);
        match outcome {
            Outcome::Unknown { .. } => self.tally.unknown += 1,
            _ => self.tally.applied += 1,
        }
        pending.tell(outcome);
    }

    /// Entries up to `index` are applied, within a snapshot: who waited cannot learn the outcome,
    /// but by asking again.
    pub(super) fn forget_up_to(&mut self, index: LogIndex) -> Vec<Pending> {
        let mut again = Vec::new();
        while let Some(((at, term), mut pending)) = self.take_up_to(index) {
            if pending.is_repeatable() {
                pending.become_uncertain();
                again.push(pending);
            } else {
                self.tell_unknown(pending, Some(LogId::of(term, at)));
            }
        }
        again
    }

    /// Whoever waits for an entry of an older term than `term`, and may propose it again: a leader
    /// that is gone may have taken it along, and then nothing may ever come to stand at its index.
    pub(super) fn take_older(&mut self, term: Term) -> Vec<Pending> {
        let mut taken = self.take_if(|(_, of), pending| of < term && pending.is_repeatable());
        taken.iter_mut().for_each(|(_, pending)| pending.become_uncertain());
        taken.into_iter().map(|(_, pending)| pending).collect()
    }

    pub(super) fn expire(&mut self, now: Monotonic) {
        for ((index, term), waiter) in self.take_if(|_, pending| pending.deadline <= now) {
            self.tell_unknown(waiter, Some(LogId::of(term, index)));
        }
    }

    fn take_if(&mut self, wanted: impl Fn(Place, &Pending) -> bool) -> Vec<(Place, Pending)> {
        if !self.waiting.iter().any(|(place, pending)| wanted(*place, pending)) {
            return Vec::new();
        }
        let all = core::mem::take(&mut self.waiting).into_iter();
        let (taken, left) = all.partition(|(place, pending)| wanted(*place, pending));
        self.waiting = left;
        Vec::from(taken)
    }

    pub(super) fn tell_unknown(&mut self, pending: Pending, at: Option<LogId>) {
        self.tally.unknown += 1;
        pending.tell(Outcome::Unknown { at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionId;
    use crate::driver::pending::{Request, tests::pending};
    use bytes::Bytes;
    use tokio::sync::oneshot;

    fn wait(waiters: &mut Waiters, id: LogId, deadline: u64) -> oneshot::Receiver<Outcome> {
        let (pending, outcome) = pending(Request::Normal(Bytes::new()), deadline);
        waiters.insert(id, pending);
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
            assert!(waiters.settle(a, &Answer::Reply(reply.clone())).is_empty());
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
        let again = waiters.settle(LogId::new(1, 4), &Answer::Reply(Bytes::new()));
        assert!(again.is_empty(), "data without a session is never proposed twice");
        assert_eq!(told(skipped), Some(Outcome::Unknown { at: Some(LogId::new(1, 3)) }));
        waiters.expire(Monotonic::from_nanos(4));
        assert_eq!(told(late), Some(Outcome::Unknown { at: Some(LogId::new(1, 8)) }));
        assert!(patient.try_recv().is_err());
        assert_eq!(waiters.tally().unknown, 2);
    }

    /// What belongs to a session comes back instead of ending, and remembers whether it may have
    /// taken effect.
    #[test]
    fn what_may_be_repeated_is_handed_back() {
        let mut waiters = Waiters::default();
        let mut outcomes = Vec::new();
        for id in [LogId::new(1, 3), LogId::new(1, 5), LogId::new(2, 5), LogId::new(1, 9)] {
            let (pending, outcome) = pending(Request::Close(SessionId::new(1)), 9);
            waiters.insert(id, pending);
            outcomes.push(outcome);
        }
        let again = waiters.settle(LogId::new(2, 5), &Answer::ReplyLost);
        let uncertain: Vec<bool> = again.iter().map(Pending::is_uncertain).collect();
        assert_eq!(uncertain, [true, false], "passed over; superseded");
        assert_eq!(told(outcomes.remove(2)), Some(Outcome::ReplyLost { id: LogId::new(2, 5) }));
        let older = waiters.take_older(Term::new(2));
        assert!(older.len() == 1 && older[0].is_uncertain() && waiters.is_empty());
        assert_eq!(waiters.tally(), Tally { applied: 1, superseded: 0, unknown: 0 });
    }
}
