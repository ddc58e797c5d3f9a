//! Membership changes on their way: appended on the leader, asked of it by everyone else, and
//! answered when the entry at their place is applied. Promotions that are due.

use super::calls::{self, Call, Placed, changes, refusal};
use super::mailbox::Report;
use super::shard::Shard;
use crate::conf_change::ConfChange;
use crate::core::{Proposed, Role};
use crate::error::ConfError;
use crate::machine::StateMachine;
use crate::{LogId, LogIndex, StoreId};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use quorate_transport::{CallError, CallOptions, NodeId, Reject, Responder};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Most changes that wait here; more are refused.
const CHANGES_MAX: usize = 64;

/// A change, and who asked for it.
pub(super) struct Asked {
    pub(super) change: ConfChange,
    pub(super) expect: Option<LogIndex>,
    pub(super) deadline: Monotonic,
    pub(super) answer: oneshot::Sender<Result<LogIndex, ConfError>>,
}

impl Asked {
    fn tell(self, outcome: Result<LogIndex, ConfError>) {
        // Whoever went away does not want to know.
        let _ = self.answer.send(outcome);
    }
}

#[derive(Default)]
pub(super) struct Changes {
    /// Not appended anywhere yet.
    queue: VecDeque<Asked>,
    /// The leader is being asked.
    asking: usize,
    /// Appended, not applied here.
    placed: Vec<(LogId, Asked)>,
    /// Do not ask before: the last try found no leader.
    retry_at: Monotonic,
}

impl Changes {
    /// Whether time must pass for something here to happen.
    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty() || !self.placed.is_empty()
    }

    fn len(&self) -> usize {
        self.queue.len() + self.asking + self.placed.len()
    }
}

impl<M: StateMachine> Shard<M> {
    pub(super) fn take_change(&mut self, asked: Asked) {
        if self.changes.len() >= CHANGES_MAX {
            asked.tell(Err(ConfError::Busy));
        } else {
            self.changes.queue.push_back(asked);
        }
    }

    /// Appends what is asked for and due, or asks the leader.
    pub(super) fn flush_changes(&mut self, now: Monotonic) {
        if self.raft.role() == Role::Leader {
            self.promote_who_caught_up(now);
        }
        while let Some(asked) = self.changes.queue.pop_front() {
            match (self.raft.role(), self.raft.leader()) {
                (Role::Leader, _) => self.append_change(now, asked),
                (Role::Follower, Some(leader)) if self.changes.retry_at <= now => {
                    self.ask_leader(now, leader, asked);
                }
                _ => {
                    self.changes.queue.push_front(asked);
                    return;
                }
            }
        }
    }

    fn append_change(&mut self, now: Monotonic, asked: Asked) {
        match self.raft.propose_conf(now, &asked.change, asked.expect) {
            Ok(Proposed::Appended { term, range }) => {
                self.changes.placed.push((LogId::of(term, *range.start()), asked));
            }
            Ok(Proposed::Forwarded(_)) => asked.tell(Err(ConfError::Unknown)),
            Err(refusal) => asked.tell(Err(refusal)),
        }
    }

    /// Whoever leads carries out what an earlier leader was asked for.
    fn promote_who_caught_up(&mut self, now: Monotonic) {
        if self.raft.membership().promotions.is_empty() {
            return;
        }
        let lag_max = self.config.promote_lag;
        let sizes = &self.sizes;
        let due = self.raft.promotion_due(|matched| sizes.behind(matched) <= lag_max);
        if let Some(change) = due {
            let expect = self.raft.membership().index;
            // Refused, it is tried again with the next turn.
            if let Err(refusal) = self.raft.propose_conf(now, &change, Some(expect)) {
                tracing::debug!(node = %self.raft.id(), %refusal, "promotion refused");
            }
        }
    }

    fn ask_leader(&mut self, now: Monotonic, leader: NodeId, asked: Asked) {
        let (expect, payload) = (asked.expect, asked.change.encode());
        let body = calls::encode(self.group, &Call::Change { expect, payload });
        let within = asked.deadline.since(now).max(self.config.heartbeat_interval);
        let reply = self.sender.call(leader, body, CallOptions::within(within));
        let mailbox = self.mailbox.clone();
        self.changes.asking += 1;
        self.runtime.spawn(
            "raft-change",
            Box::pin(async move {
                let result = reply.await;
                mailbox.push(Report::ChangeAnswered { asked, result });
            }),
        );
    }

    /// The leader answered, or did not.
    pub(super) fn change_answered(
        &mut self,
        now: Monotonic,
        asked: Asked,
        result: Result<Bytes, CallError>,
    ) {
        self.changes.asking -= 1;
        match result {
            Ok(bytes) => match calls::decode_placed(&bytes) {
                Some(Placed { term, first }) => {
                    self.changes.placed.push((LogId::of(term, first), asked));
                }
                None => asked.tell(Err(ConfError::Unknown)),
            },
            Err(CallError::Rejected(Reject::Application { code: refusal::CHANGE, detail })) => {
                let refusal = changes::decode_refusal(detail).unwrap_or(ConfError::Unknown);
                asked.tell(Err(refusal));
            }
            // Definite: it was not appended. Look for the leader again until the deadline.
            Err(error) if error.is_definite() => {
                self.changes.retry_at = now.saturating_add(self.config.heartbeat_interval);
                self.changes.queue.push_front(asked);
            }
            Err(_) => asked.tell(Err(ConfError::Unknown)),
        }
    }

    /// Another node asks this one for a change.
    pub(super) fn serve_change(
        &mut self,
        now: Monotonic,
        expect: Option<LogIndex>,
        payload: &[u8],
        reply: Responder,
    ) {
        let Ok(change) = ConfChange::decode(payload) else {
            self.counts.messages_refused += 1;
            reply.reject(refusal::MALFORMED, Bytes::new());
            return;
        };
        if self.closing.is_some() {
            reply.reject(refusal::NOT_LEADER, Bytes::new());
            return;
        }
        match self.raft.propose_conf(now, &change, expect) {
            Ok(Proposed::Appended { term, range }) => {
                // A caller that is gone learns nothing; the change goes on.
                let _ = reply.reply(calls::encode_placed(Placed { term, first: *range.start() }));
            }
            Ok(Proposed::Forwarded(_)) => reply.reject(refusal::NOT_LEADER, Bytes::new()),
            Err(error) => {
                let (code, detail) = changes::encode_refusal(&error);
                reply.reject(code, detail);
            }
        }
    }

    /// Application has reached a change: it is in force from here on.
    pub(super) fn activate(&mut self, now: Monotonic, index: LogIndex, change: &ConfChange) {
        match self.raft.activate(now, index, change) {
            Ok(members) => {
                let voters = members.voters.len();
                tracing::debug!(node = %self.raft.id(), %index, voters, "membership");
                self.counts.conf_changes += 1;
            }
            Err(why) => tracing::warn!(node = %self.raft.id(), %index, %why, "change ignored"),
        }
    }

    /// Tells who waits for a change that is applied here, or replaced by another leader.
    pub(super) fn settle_changes(&mut self) {
        if self.changes.placed.is_empty() {
            return;
        }
        let applied = self.raft.progress().applied;
        for (id, asked) in core::mem::take(&mut self.changes.placed) {
            if id.index > applied {
                self.changes.placed.push((id, asked));
                continue;
            }
            asked.tell(match self.raft.term_of(id.index) {
                Some(term) if term == id.term => Ok(id.index),
                Some(term) => Err(ConfError::Superseded { by: LogId::of(term, id.index) }),
                // Within a snapshot: nobody can tell any more.
                None => Err(ConfError::Unknown),
            });
        }
    }

    pub(super) fn expire_changes(&mut self, now: Monotonic) {
        let late = |asked: &Asked| asked.deadline <= now;
        while self.changes.queue.front().is_some_and(late) {
            let Some(asked) = self.changes.queue.pop_front() else { return };
            asked.tell(Err(ConfError::NotLeader { leader: self.raft.leader() }));
        }
        for (id, asked) in core::mem::take(&mut self.changes.placed) {
            if late(&asked) {
                asked.tell(Err(ConfError::Unknown));
            } else {
                self.changes.placed.push((id, asked));
            }
        }
    }

    /// The replica ends: nothing queued is changed, anything appended may be.
    pub(super) fn end_changes(&mut self) {
        while let Some(asked) = self.changes.queue.pop_front() {
            asked.tell(Err(ConfError::Stopped));
        }
        for (_, asked) in core::mem::take(&mut self.changes.placed) {
            asked.tell(Err(ConfError::Unknown));
        }
    }

    /// Asks `node` which disk it has.
    pub(super) fn ask_disk(
        &self,
        node: NodeId,
        answer: oneshot::Sender<Result<StoreId, Arc<str>>>,
    ) {
        if node == self.raft.id() {
            let _ = answer.send(Ok(self.store_id));
            return;
        }
        let body = calls::encode(self.group, &Call::Roll { founders: Vec::new() });
        let reply = self.sender.call(node, body, CallOptions::within(self.config.propose_deadline));
        let own = self.store_id;
        self.runtime.spawn(
            "raft-roll",
            Box::pin(async move {
                let store = match reply.await {
                    Ok(bytes) => match calls::decode_roll(&bytes) {
                        // Its log would be taken for this group's.
                        Some(roll) if roll.founded && roll.known != Some(own) => {
                            Err("it belongs to a group that does not know this node".into())
                        }
                        Some(roll) => Ok(roll.store),
                        None => Err("it answered with something else".into()),
                    },
                    Err(error) => Err(error.to_string().into()),
                };
                let _ = answer.send(store);
            }),
        );
    }
}
