//! Proposals: packed into blocks on the leader, forwarded by everyone else, and resolved when the
//! entry at their place is applied. (5.6)

use super::calls::{self, Call, Placed, refusal};
use super::mailbox::Report;
use super::outcome::Outcome;
use super::pending::Pending;
use super::shard::Shard;
use super::step::Answer;
use super::waiters::{Tally, Waiters};
use crate::core::{Proposed, Role};
use crate::error::{BusyWhy, ProposeError};
use crate::machine::StateMachine;
use crate::{LogId, LogIndex, Proposal, Term};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use quorate_transport::{CallError, CallOptions, NodeId, Reject, Responder, SendError};
use std::collections::VecDeque;

/// Most forwarded batches under way.
const FORWARDS_MAX: usize = 64;
/// Replies kept for forwarded entries that may be applied before the leader's answer says where
/// they are.
const RECENT_BYTES_MAX: usize = 16 << 20;

#[derive(Default)]
pub(super) struct Proposals {
    /// Not appended anywhere yet, in order of arrival.
    queue: VecDeque<Pending>,
    /// Do not forward before: the last try found no leader where one was thought to be.
    pub(super) retry_at: Monotonic,
    waiters: Waiters,
    forwards: usize,
    /// Answers of entries applied while forwards are under way.
    recent: VecDeque<(LogId, Answer)>,
    recent_bytes: usize,
    /// Waiters of terms before this one were seen to.
    term: Term,
}

impl Proposals {
    /// Whether an entry that is applied may have someone waiting for its reply.
    pub(super) fn wants_replies(&self) -> bool {
        self.forwards > 0 || !self.waiters.is_empty()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty() || !self.waiters.is_empty()
    }

    pub(super) const fn tally(&self) -> Tally {
        self.waiters.tally()
    }

    pub(super) fn is_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    fn remember(&mut self, id: LogId, answer: &Answer) {
        if self.forwards == 0 {
            return;
        }
        self.recent_bytes += bytes_of(answer);
        self.recent.push_back((id, answer.clone()));
        while self.recent_bytes > RECENT_BYTES_MAX {
            let Some((_, old)) = self.recent.pop_front() else { break };
            self.recent_bytes -= bytes_of(&old);
        }
    }
}

/// What an answer is counted for while it is remembered.
fn bytes_of(answer: &Answer) -> usize {
    let reply = if let Answer::Reply(reply) = answer { reply.len() } else { 0 };
    reply + 64
}

impl<M: StateMachine> Shard<M> {
    pub(super) fn take_proposal(&mut self, pending: Pending) {
        self.proposals.queue.push_back(pending);
    }

    /// Answers a proposal that this try did not append.
    fn refuse(&mut self, pending: Pending, why: ProposeError) {
        let outcome = pending.outcome_without_effect(why, None);
        if let Outcome::Unknown { at } = outcome {
            self.proposals.waiters.tell_unknown(pending, at);
        } else {
            self.counts.proposals_rejected += 1;
            pending.tell(outcome);
        }
    }

    /// Appends or forwards what is queued, as far as that is possible now.
    pub(super) fn flush_proposals(&mut self, now: Monotonic) {
        while self.proposals.is_queued() {
            let progressed = match (self.raft.role(), self.raft.leader()) {
                (Role::Leader, _) => self.append_batch(now),
                (Role::Follower, Some(leader)) => self.forward_batch(now, leader),
                _ => false,
            };
            if !progressed {
                break;
            }
        }
    }

    /// Takes as many as fit one block off the queue; only one `sort` of them, if it is given: those
    /// that may be repeated, or those that may not.
    fn pack(&mut self, sort: Option<bool>) -> (Proposal, Vec<Pending>) {
        let limits = *self.config.limits();
        let first = self.proposals.queue.front().map_or(0, |p| p.request.data_bytes());
        let mut packed = Proposal::with_capacity(&limits, first + 32);
        let mut batch = Vec::new();
        while let Some(pending) = self.proposals.queue.front() {
            if sort.is_some_and(|repeatable| pending.is_repeatable() != repeatable) {
                break;
            }
            if pending.is_abandoned() {
                self.proposals.queue.pop_front();
                continue;
            }
            match packed.push(pending.request.body()) {
                Ok(()) => batch.extend(self.proposals.queue.pop_front()),
                Err(full) if full.what == "block" => break,
                Err(too_large) => {
                    let max = too_large.max;
                    if let Some(pending) = self.proposals.queue.pop_front() {
                        self.refuse(pending, ProposeError::TooLarge { max });
                    }
                }
            }
        }
        (packed, batch)
    }

    /// One block on the leader. False if nothing more can be done now.
    fn append_batch(&mut self, now: Monotonic) -> bool {
        let (packed, batch) = self.pack(None);
        if batch.is_empty() {
            return false;
        }
        if self.store.is_full() {
            return self.refuse_or_wait(now, batch, &ProposeError::NoSpace);
        }
        let entries = u64::from(packed.count());
        match self.raft.propose(now, packed) {
            Ok(Proposed::Appended { term, range }) => {
                self.counts.blocks_proposed += 1;
                self.counts.entries_proposed += entries;
                self.await_application(batch, Placed { term, first: *range.start() });
                true
            }
            Ok(Proposed::Forwarded(_)) => false, // only with the reference configuration
            Err((error @ (ProposeError::Busy { .. } | ProposeError::Stopped), _)) => {
                self.count_apply_refusal(&error);
                self.refuse_or_wait(now, batch, &error)
            }
            Err(_) => {
                // No leader any more, or it is moving: wait for the next one.
                self.requeue(batch);
                false
            }
        }
    }

    fn count_apply_refusal(&mut self, why: &ProposeError) {
        let applies = matches!(why, ProposeError::Busy { why: BusyWhy::Apply });
        self.counts.apply_refusals += u64::from(applies);
    }

    fn requeue(&mut self, batch: Vec<Pending>) {
        batch.into_iter().rev().for_each(|p| self.proposals.queue.push_front(p));
    }

    /// What was tried before, and may stand in the log, is tried again until its deadline: to be
    /// refused now says nothing of that. The rest is refused. False if anything waits.
    fn refuse_or_wait(&mut self, now: Monotonic, batch: Vec<Pending>, why: &ProposeError) -> bool {
        let stays = |p: &Pending| p.is_uncertain() && why.is_retryable();
        let (waits, refused): (Vec<_>, Vec<_>) = batch.into_iter().partition(stays);
        refused.into_iter().for_each(|p| self.refuse(p, why.clone()));
        let settled = waits.is_empty();
        if !settled {
            self.retry_later(now, waits);
        }
        settled
    }

    /// The batch stands in the log from `placed` on.
    fn await_application(&mut self, batch: Vec<Pending>, placed: Placed) {
        self.machine.want_replies(true);
        for (mut pending, n) in batch.into_iter().zip(0_u64..) {
            let id = LogId::of(placed.term, placed.first.plus(n));
            pending.placed();
            self.proposals.waiters.insert(id, pending);
        }
    }

    /// An entry was applied.
    pub(super) fn resolve(&mut self, now: Monotonic, id: LogId, answer: Option<Answer>) {
        let answer = answer.unwrap_or(Answer::Reply(Bytes::new()));
        self.proposals.remember(id, &answer);
        let again = self.proposals.waiters.settle(id, &answer);
        self.repeat(now, again);
    }

    /// A snapshot replaced the log up to `index`.
    pub(super) fn forget_up_to(&mut self, now: Monotonic, index: LogIndex) {
        let again = self.proposals.waiters.forget_up_to(index);
        self.repeat(now, again);
    }

    /// Proposes once more what stood, or stands, in the log of a leader of an older term. // H41
    pub(super) fn repeat_of_older_terms(&mut self, now: Monotonic) {
        let term = self.raft.progress().term;
        if term > self.proposals.term {
            self.proposals.term = term;
            let again = self.proposals.waiters.take_older(term);
            self.repeat(now, again);
        }
    }

    /// These are a session's: with the same numbers they take effect once, however often they stand
    /// in the log.
    fn repeat(&mut self, now: Monotonic, again: Vec<Pending>) {
        if again.is_empty() {
            return;
        }
        let (late, again): (Vec<_>, Vec<_>) = again.into_iter().partition(|p| p.deadline <= now);
        for pending in late {
            self.proposals.waiters.tell_unknown(pending, None);
        }
        self.counts.session_retries += again.len() as u64;
        self.requeue(again);
    }

    pub(super) fn expire_proposals(&mut self, now: Monotonic) {
        while self.proposals.queue.front().is_some_and(|p| p.deadline <= now) {
            if let Some(pending) = self.proposals.queue.pop_front() {
                self.refuse(pending, ProposeError::NoLeader);
            }
        }
        self.proposals.waiters.expire(now);
    }

    /// The replica ends: nothing queued takes effect, anything appended may.
    pub(super) fn end_proposals(&mut self) {
        let again = self.proposals.waiters.forget_up_to(LogIndex::new(u64::MAX));
        self.requeue(again);
        while let Some(pending) = self.proposals.queue.pop_front() {
            self.refuse(pending, ProposeError::Stopped);
        }
    }

    // --- forwarding ----------------------------------------------------------------------------

    /// One batch to the leader. False if it has to wait.
    fn forward_batch(&mut self, now: Monotonic, leader: NodeId) -> bool {
        if self.proposals.forwards >= FORWARDS_MAX || self.proposals.retry_at > now {
            return false;
        }
        let repeatable = self.proposals.queue.front().is_some_and(Pending::is_repeatable);
        let (packed, batch) = self.pack(Some(repeatable));
        if batch.is_empty() {
            // Only what nobody waits for was in front.
            return self.proposals.is_queued();
        }
        if self.store.is_full() {
            // It could be committed elsewhere, but never be applied here.
            return self.refuse_or_wait(now, batch, &ProposeError::NoSpace);
        }
        let soonest = batch.iter().map(|p| p.deadline).min().unwrap_or(now);
        let mut within = soonest.since(now).max(self.config.heartbeat_interval);
        if repeatable {
            // Asked again, rather than waited for: its leader may be gone.
            within = within.min(self.config.election_timeout);
        }
        let entries = Bytes::copy_from_slice(packed.body());
        let body = calls::encode(self.group, &Call::Forward { entries });
        let reply = self.sender.call(leader, body, CallOptions::within(within));
        let mailbox = self.mailbox.clone();
        self.proposals.forwards += 1;
        self.machine.want_replies(true);
        self.counts.forwards += 1;
        self.runtime.spawn(
            "raft-forward",
            Box::pin(async move {
                let result = reply.await;
                mailbox.push(Report::Forwarded { batch, result });
            }),
        );
        true
    }

    /// The leader answered, or did not.
    pub(super) fn forwarded(
        &mut self,
        now: Monotonic,
        batch: Vec<Pending>,
        result: Result<Bytes, CallError>,
    ) {
        self.proposals.forwards -= 1;
        match result {
            Ok(bytes) => match calls::decode_placed(&bytes) {
                Some(placed) => self.placed_elsewhere(now, batch, placed),
                None => self.lost(now, batch),
            },
            Err(CallError::Rejected(Reject::Application { code, .. })) => match code {
                refusal::BUSY => {
                    let busy = ProposeError::Busy { why: BusyWhy::Queue };
                    self.refuse_or_wait(now, batch, &busy);
                }
                refusal::NO_SPACE => {
                    self.refuse_or_wait(now, batch, &ProposeError::NoSpace);
                }
                refusal::TOO_LARGE => {
                    let max = u64::from(self.config.limits().entry_max());
                    self.refuse_or_wait(now, batch, &ProposeError::TooLarge { max });
                }
                _ => self.retry_later(now, batch),
            },
            Err(CallError::NotSent(SendError::TooLarge { max, .. })) => {
                let max = u64::from(max);
                self.refuse_or_wait(now, batch, &ProposeError::TooLarge { max });
            }
            // Definite: it was not appended. Look for the leader again until the deadlines.
            Err(error) if error.is_definite() => self.retry_later(now, batch),
            Err(_) => self.lost(now, batch),
        }
        if self.proposals.forwards == 0 {
            self.proposals.recent.clear();
            self.proposals.recent_bytes = 0;
        }
    }

    fn retry_later(&mut self, now: Monotonic, batch: Vec<Pending>) {
        self.requeue(batch);
        self.proposals.retry_at = now.saturating_add(self.config.heartbeat_interval);
    }

    /// The batch may stand in the leader's log, or not. What belongs to a session is asked again,
    /// with the same numbers; the rest must not be. // H41
    fn lost(&mut self, now: Monotonic, batch: Vec<Pending>) {
        let (mut again, rest): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(Pending::is_repeatable);
        for pending in rest {
            self.proposals.waiters.tell_unknown(pending, None);
        }
        if !again.is_empty() {
            again.iter_mut().for_each(Pending::become_uncertain);
            self.repeat(now, again);
            self.proposals.retry_at = now.saturating_add(self.config.heartbeat_interval);
        }
    }

    /// The leader said where the batch stands. Part of it may have been applied here already.
    fn placed_elsewhere(&mut self, now: Monotonic, batch: Vec<Pending>, placed: Placed) {
        let applied = self.raft.progress().applied;
        let end = placed.first.plus(batch.len() as u64);
        self.await_application(batch, placed);
        let mut at = placed.first;
        while at <= applied && at < end {
            let recent = &self.proposals.recent;
            let known = recent.get(recent.partition_point(|(id, _)| id.index < at));
            match known.filter(|(id, _)| id.index == at).cloned() {
                Some((id, answer)) => {
                    let again = self.proposals.waiters.settle(id, &answer);
                    self.repeat(now, again);
                }
                // Applied so long ago that the reply is gone: the outcome cannot be told.
                None => self.forget_up_to(now, at),
            }
            at = at.next();
        }
        // The answer may be older than the term this node is in by now.
        let again = self.proposals.waiters.take_older(self.proposals.term);
        self.repeat(now, again);
    }

    /// A forwarded batch arrived here.
    pub(super) fn serve_forward(&mut self, now: Monotonic, entries: &Bytes, reply: Responder) {
        let Ok(proposal) = Proposal::from_body(entries, self.config.limits()) else {
            self.counts.messages_refused += 1;
            reply.reject(refusal::MALFORMED, Bytes::new());
            return;
        };
        if self.closing.is_some() {
            reply.reject(refusal::NOT_LEADER, Bytes::new());
            return;
        }
        if self.store.is_full() {
            reply.reject(refusal::NO_SPACE, Bytes::new());
            return;
        }
        let entries = u64::from(proposal.count());
        match self.raft.propose(now, proposal) {
            Ok(Proposed::Appended { term, range }) => {
                self.counts.blocks_proposed += 1;
                self.counts.entries_proposed += entries;
                // A caller that is gone learns nothing; the entries stand.
                let _ = reply.reply(calls::encode_placed(Placed { term, first: *range.start() }));
            }
            Ok(Proposed::Forwarded(_)) => reply.reject(refusal::NOT_LEADER, Bytes::new()),
            Err((error, _)) => {
                self.count_apply_refusal(&error);
                let code = match error {
                    ProposeError::Busy { .. } => refusal::BUSY,
                    ProposeError::TooLarge { .. } => refusal::TOO_LARGE,
                    _ => refusal::NOT_LEADER,
                };
                reply.reject(code, Bytes::new());
            }
        }
    }
}
