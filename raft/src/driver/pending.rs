//! [`Pending`]: a proposal on its way, and who waits for it.

use super::outcome::Outcome;
use super::step::Answer;
use crate::error::ProposeError;
use crate::session::SessionLimits;
use crate::{EntryBody, LogId, SessionId};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

/// What is proposed.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Normal(Bytes),
    Session { session: SessionId, seq: u64, ack: u64, data: Bytes },
    Open(SessionLimits),
    Close(SessionId),
}

impl Request {
    pub(super) fn body(&self) -> EntryBody<'_> {
        match self {
            Self::Normal(data) => EntryBody::Normal(data),
            Self::Session { session, seq, ack, data } => {
                EntryBody::Session { session: *session, seq: *seq, ack: *ack, data }
            }
            Self::Open(limits) => EntryBody::Open(*limits),
            Self::Close(id) => EntryBody::Close(*id),
        }
    }

    pub(super) const fn data_bytes(&self) -> usize {
        match self {
            Self::Normal(data) | Self::Session { data, .. } => data.len(),
            Self::Open(_) | Self::Close(_) => 0,
        }
    }

    /// Whether it does no harm to propose it once more: what was asked in a session takes effect
    /// once however often it stands in the log, closing twice is closing, and a session that is
    /// opened in vain expires.
    const fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Normal(_))
    }
}

/// Bytes of the proposal queue, given back when dropped.
pub(super) struct Charge {
    queued: Arc<AtomicUsize>,
    bytes: usize,
}

impl Charge {
    /// For a proposal of `data` bytes and what surrounds them here, unless `max` are taken: then
    /// one that comes alone still passes.
    pub(super) fn take(queued: &Arc<AtomicUsize>, data: usize, max: usize) -> Option<Self> {
        let charge = Self { queued: Arc::clone(queued), bytes: data + 128 };
        let before = queued.fetch_add(charge.bytes, Ordering::Relaxed);
        (before == 0 || before + charge.bytes <= max).then_some(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A proposal on its way, and who waits for it.
pub(super) struct Pending {
    pub(super) request: Request,
    answer: oneshot::Sender<Outcome>,
    pub(super) deadline: Monotonic,
    /// Something of it may stand in the log: whatever comes, it is not certain that it never takes
    /// effect.
    uncertain: bool,
    charge: Option<Charge>,
}

impl Pending {
    pub(super) const fn new(
        request: Request,
        answer: oneshot::Sender<Outcome>,
        deadline: Monotonic,
        charge: Charge,
    ) -> Self {
        Self { request, answer, deadline, uncertain: false, charge: Some(charge) }
    }

    pub(super) const fn is_repeatable(&self) -> bool {
        self.request.is_repeatable()
    }

    /// Nobody waits any more. Then a repeatable one need not be proposed.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_repeatable() && self.answer.is_closed()
    }

    pub(super) const fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    /// It was handed over, and whether it was taken is not known.
    pub(super) const fn become_uncertain(&mut self) {
        self.uncertain = true;
    }

    /// It stands in the log. What may be proposed again is kept, and goes on being charged.
    pub(super) fn placed(&mut self) {
        if !self.is_repeatable() {
            self.request = Request::Normal(Bytes::new());
            self.charge = None;
        }
    }

    /// The outcome of an entry that was applied.
    pub(super) fn outcome_of(&self, id: LogId, answer: &Answer) -> Outcome {
        match answer {
            Answer::Reply(reply) => Outcome::Applied { id, reply: reply.clone() },
            Answer::ReplyLost => Outcome::ReplyLost { id },
            Answer::Refused(why) => self.outcome_without_effect(why.clone(), Some(id)),
        }
    }

    /// The outcome of a try that had no effect: definite if it was the only one.
    pub(super) const fn outcome_without_effect(
        &self,
        why: ProposeError,
        at: Option<LogId>,
    ) -> Outcome {
        if self.uncertain { Outcome::Unknown { at } } else { Outcome::Rejected(why) }
    }

    /// Tells whoever waits; one that went away does not want to know.
    pub(super) fn tell(self, outcome: Outcome) {
        let Self { answer, charge, .. } = self;
        drop(charge); // so that whoever hears of it finds room for the next
        let _ = answer.send(outcome);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One of that much data, with an answer to wait for.
    pub(in crate::driver) fn pending(
        request: Request,
        deadline: u64,
    ) -> (Pending, oneshot::Receiver<Outcome>) {
        let (answer, outcome) = oneshot::channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let charge = Charge::take(&queued, request.data_bytes(), 0).unwrap();
        (Pending::new(request, answer, Monotonic::from_nanos(deadline), charge), outcome)
    }

    #[test]
    fn a_charge_is_given_back_and_one_alone_always_passes() {
        let queued = Arc::new(AtomicUsize::new(0));
        let alone = Charge::take(&queued, 1_000, 10);
        assert_eq!((alone.is_some(), queued.load(Ordering::Relaxed)), (true, 1_128));
        assert!(Charge::take(&queued, 1, 10).is_none());
        assert_eq!(queued.load(Ordering::Relaxed), 1_128, "what was refused is not charged");
        drop(alone);
        assert_eq!(queued.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_refusal_after_an_uncertain_try_is_no_refusal() {
        let close = Request::Close(SessionId::new(3));
        let (mut p, _) = pending(close, 9);
        let (id, refused) = (LogId::new(1, 5), Answer::Refused(ProposeError::SessionExpired));
        let definite = Outcome::Rejected(ProposeError::SessionExpired);
        assert_eq!(p.outcome_of(id, &refused), definite);
        p.become_uncertain();
        assert_eq!(p.outcome_of(id, &refused), Outcome::Unknown { at: Some(id) });
        let lost = p.outcome_of(id, &Answer::ReplyLost);
        assert_eq!(lost, Outcome::ReplyLost { id });
    }
}
