//! Proposals: packed into blocks on the leader, forwarded by everyone else, and resolved when the
//! entry at their place is applied. (5.6)

use super::calls::{self, Call, Placed, refusal};
use super::mailbox::Report;
use super::outcome::Outcome;
use super::shard::Shard;
use super::waiters::{Tally, Waiters};
use crate::core::{Proposed, Role};
use crate::error::{BusyWhy, ProposeError};
use crate::machine::StateMachine;
use crate::{EntryBody, LogId, LogIndex, Proposal};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use quorate_transport::{CallError, CallOptions, NodeId, Reject, Responder, SendError};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Most forwarded batches under way.
const FORWARDS_MAX: usize = 64;
/// Replies kept for forwarded entries that may be applied before the leader's answer says where
/// they are.
const RECENT_BYTES_MAX: usize = 16 << 20;

/// Bytes that a proposal of `data` bytes is charged for.
pub(super) const fn cost(data: usize) -> usize {
    data + 128
}

/// A proposal on its way, and who waits for it.
pub(super) struct Pending {
    data: Bytes,
    answer: oneshot::Sender<Outcome>,
    pub(super) deadline: Monotonic,
}

impl Pending {
    pub(super) const fn new(
        data: Bytes,
        answer: oneshot::Sender<Outcome>,
        deadline: Monotonic,
    ) -> Self {
        Self { data, answer, deadline }
    }

    /// What it counts for in `proposal_queue_bytes_max`: its data, and what surrounds them here.
    pub(super) const fn cost(&self) -> usize {
        cost(self.data.len())
    }
}

#[derive(Default)]
pub(super) struct Proposals {
    /// Not appended anywhere yet, in order of arrival.
    queue: VecDeque<Pending>,
    /// Do not forward before: the last try found no leader where one was thought to be.
    pub(super) retry_at: Monotonic,
    waiters: Waiters,
    forwards: usize,
    /// Replies of entries applied while forwards are under way.
    recent: VecDeque<(LogId, Bytes)>,
    recent_bytes: usize,
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

    fn remember(&mut self, id: LogId, reply: &Bytes) {
        if self.forwards == 0 {
            return;
        }
        self.recent_bytes += reply.len() + 64;
        self.recent.push_back((id, reply.clone()));
        while self.recent_bytes > RECENT_BYTES_MAX {
            let Some((_, old)) = self.recent.pop_front() else { break };
            self.recent_bytes -= old.len() + 64;
        }
    }
}

impl<M: StateMachine> Shard<M> {
    pub(super) fn take_proposal(&mut self, pending: Pending) {
        self.proposals.queue.push_back(pending);
    }

    /// Answers a proposal that was never appended.
    fn refuse(&mut self, pending: Pending, why: ProposeError) {
        self.counts.proposals_rejected += 1;
        self.queued_bytes.fetch_sub(pending.cost(), Ordering::Relaxed);
        let _ = pending.answer.send(Outcome::Rejected(why));
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

    /// Takes as many as fit one block off the queue.
    fn pack(&mut self) -> (Proposal, Vec<Pending>) {
        let limits = *self.config.limits();
        let first = self.proposals.queue.front().map_or(0, |p| p.data.len());
        let mut packed = Proposal::with_capacity(&limits, first + 8);
        let mut batch = Vec::new();
        while let Some(pending) = self.proposals.queue.front() {
            match packed.push(EntryBody::Normal(&pending.data)) {
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
        let (packed, batch) = self.pack();
        if batch.is_empty() {
            return false;
        }
        if self.store.is_full() {
            batch.into_iter().for_each(|p| self.refuse(p, ProposeError::NoSpace));
            return true;
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
                batch.into_iter().for_each(|p| self.refuse(p, error.clone()));
                true
            }
            Err(_) => {
                // No leader any more, or it is moving: wait for the next one.
                self.requeue(batch);
                false
            }
        }
    }

    fn requeue(&mut self, batch: Vec<Pending>) {
        batch.into_iter().rev().for_each(|p| self.proposals.queue.push_front(p));
    }

    /// The batch stands in the log from `placed` on.
    fn await_application(&mut self, batch: Vec<Pending>, placed: Placed) {
        self.machine.want_replies(true);
        for (pending, n) in batch.into_iter().zip(0_u64..) {
            self.queued_bytes.fetch_sub(pending.cost(), Ordering::Relaxed);
            let id = LogId::of(placed.term, placed.first.plus(n));
            self.proposals.waiters.insert(id, pending.answer, pending.deadline);
        }
    }

    /// An entry was applied.
    pub(super) fn resolve(&mut self, id: LogId, reply: Option<Bytes>) {
        let reply = reply.unwrap_or_default();
        self.proposals.remember(id, &reply);
        self.proposals.waiters.settle(id, &reply);
    }

    /// A snapshot replaced the log up to `index`.
    pub(super) fn forget_up_to(&mut self, index: LogIndex) {
        self.proposals.waiters.forget_up_to(index);
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
        while let Some(pending) = self.proposals.queue.pop_front() {
            self.refuse(pending, ProposeError::Stopped);
        }
        self.forget_up_to(LogIndex::new(u64::MAX));
    }

    // --- forwarding ----------------------------------------------------------------------------

    /// One batch to the leader. False if it has to wait.
    fn forward_batch(&mut self, now: Monotonic, leader: NodeId) -> bool {
        if self.proposals.forwards >= FORWARDS_MAX || self.proposals.retry_at > now {
            return false;
        }
        let (packed, batch) = self.pack();
        if batch.is_empty() {
            return false;
        }
        if self.store.is_full() {
            // It could be committed elsewhere, but never be applied here.
            self.refuse_all(batch, &ProposeError::NoSpace);
            return true;
        }
        let soonest = batch.iter().map(|p| p.deadline).min().unwrap_or(now);
        let within = soonest.since(now).max(self.config.heartbeat_interval);
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
                Some(placed) => self.placed_elsewhere(batch, placed),
                None => batch.into_iter().for_each(|p| self.drop_unknown(p)),
            },
            Err(CallError::Rejected(Reject::Application { code, .. })) => match code {
                refusal::BUSY => {
                    self.refuse_all(batch, &ProposeError::Busy { why: BusyWhy::Queue });
                }
                refusal::NO_SPACE => self.refuse_all(batch, &ProposeError::NoSpace),
                refusal::TOO_LARGE => {
                    let max = u64::from(self.config.limits().entry_max());
                    self.refuse_all(batch, &ProposeError::TooLarge { max });
                }
                _ => self.retry_later(now, batch),
            },
            Err(CallError::NotSent(SendError::TooLarge { max, .. })) => {
                self.refuse_all(batch, &ProposeError::TooLarge { max: u64::from(max) });
            }
            // Definite: it was not appended. Look for the leader again until the deadlines.
            Err(error) if error.is_definite() => self.retry_later(now, batch),
            Err(_) => batch.into_iter().for_each(|p| self.drop_unknown(p)),
        }
        if self.proposals.forwards == 0 {
            self.proposals.recent.clear();
            self.proposals.recent_bytes = 0;
        }
    }

    fn refuse_all(&mut self, batch: Vec<Pending>, why: &ProposeError) {
        batch.into_iter().for_each(|p| self.refuse(p, why.clone()));
    }

    fn retry_later(&mut self, now: Monotonic, batch: Vec<Pending>) {
        self.requeue(batch);
        self.proposals.retry_at = now.saturating_add(self.config.heartbeat_interval);
    }

    fn drop_unknown(&mut self, pending: Pending) {
        self.queued_bytes.fetch_sub(pending.cost(), Ordering::Relaxed);
        self.proposals.waiters.tell_unknown(pending.answer, None);
    }

    /// The leader said where the batch stands. Part of it may have been applied here already.
    fn placed_elsewhere(&mut self, batch: Vec<Pending>, placed: Placed) {
        let applied = self.raft.progress().applied;
        let end = placed.first.plus(batch.len() as u64);
        self.await_application(batch, placed);
        let mut at = placed.first;
        while at <= applied && at < end {
            let recent = &self.proposals.recent;
            let known = recent.get(recent.partition_point(|(id, _)| id.index < at));
            match known.filter(|(id, _)| id.index == at).cloned() {
                Some((id, reply)) => self.proposals.waiters.settle(id, &reply),
                // Applied so long ago that the reply is gone: the outcome cannot be told.
                None => self.forget_up_to(at),
            }
            at = at.next();
        }
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
