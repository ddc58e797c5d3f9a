//! "How many voters hold the log up to here?": the question behind Redis's `WAIT`.

use super::calls::{self, Call, refusal};
use super::shard::Shard;
use crate::LogIndex;
use crate::core::Role;
use crate::machine::StateMachine;
use bytes::Bytes;
use quorate_clocks::Monotonic;
use quorate_transport::{CallOptions, Responder};
use tokio::sync::oneshot;

/// Most questions that wait at a time; one more is answered at once.
const QUESTIONS_MAX: usize = 4_096;

/// Who asked.
pub(super) enum Asker {
    Local(oneshot::Sender<u32>),
    Remote(Responder),
}

impl Asker {
    fn answer(self, count: u32) {
        // Whoever went away does not want to know.
        match self {
            Self::Local(answer) => drop(answer.send(count)),
            Self::Remote(reply) => drop(reply.reply(calls::encode_count(count))),
        }
    }

    /// Not the leader any more: the local asker's future ends with an error, the remote one
    /// retries.
    fn refuse(self) {
        if let Self::Remote(reply) = self {
            reply.reject(refusal::NOT_LEADER, Bytes::new());
        }
    }
}

pub(super) struct Question {
    at: LogIndex,
    voters: u32,
    deadline: Monotonic,
    asker: Asker,
}

impl Question {
    pub(super) const fn deadline(&self) -> Monotonic {
        self.deadline
    }
}

impl<M: StateMachine> Shard<M> {
    pub(super) fn ask_replicated(
        &mut self,
        now: Monotonic,
        at: LogIndex,
        voters: u32,
        deadline: Monotonic,
        asker: Asker,
    ) {
        match (self.raft.role(), self.raft.leader(), asker) {
            (Role::Leader, _, asker) => {
                let question = Question { at, voters, deadline, asker };
                if self.questions.len() < QUESTIONS_MAX {
                    self.questions.push(question);
                } else {
                    let count = self.voters_holding(at);
                    question.asker.answer(count);
                }
            }
            (Role::Follower, Some(leader), Asker::Local(answer)) => {
                let body = calls::encode(self.group, &Call::Replicated { at, voters });
                // The leader answers at the deadline with what it has: give the answer time to
                // arrive.
                let within = deadline.since(now) + self.config.heartbeat_interval;
                let reply = self.sender.call(leader, body, CallOptions::within(within));
                self.runtime.spawn(
                    "raft-replicated",
                    Box::pin(async move {
                        let count = reply.await.ok().and_then(|b| calls::decode_count(&b));
                        count.map(|n| answer.send(n));
                    }),
                );
            }
            (_, _, asker) => asker.refuse(),
        }
    }

    fn voters_holding(&self, at: LogIndex) -> u32 {
        let holds = |id| self.raft.matched(id).is_some_and(|matched| matched >= at);
        let count = self.raft.membership().all_voters().into_iter().filter(|id| holds(*id)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Answers whoever may be answered now.
    pub(super) fn answer_questions(&mut self, now: Monotonic) {
        if self.questions.is_empty() {
            return;
        }
        let leads = self.raft.role() == Role::Leader;
        for question in core::mem::take(&mut self.questions) {
            let count = self.voters_holding(question.at);
            if !leads {
                question.asker.refuse();
            } else if count >= question.voters || question.deadline <= now {
                question.asker.answer(count);
            } else {
                self.questions.push(question);
            }
        }
    }
}
