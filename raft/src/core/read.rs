//! Linearizable reads without writing to the log (5.3). Thesis §6.4, with positions instead of
//! contexts: a heartbeat carries how many reads were asked in this term, its answer confirms them
//! all.

use super::{Raft, ReadDone, Role};
use crate::error::ReadError;
use crate::message::Body;
use crate::{LogIndex, ReadId, quorum};
use core::hash::{Hash, Hasher};
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;
use std::collections::{BTreeMap, VecDeque};

/// Most ids of one `ReadIndex` message.
const IDS_MAX: usize = 4_096;

/// A read that a leader has not confirmed yet.
#[derive(Clone, Debug)]
struct Pending {
    id: ReadId,
    /// Who asked; none: this node.
    from: Option<NodeId>,
    /// The commit index when it arrived.
    index: LogIndex,
}

/// A read that this node asked of the leader.
#[derive(Clone, Copy, Debug)]
struct Asked {
    repeat_at: Monotonic,
    give_up_at: Monotonic,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    /// Confirmed in this term.
    confirmed: u64,
    /// Unconfirmed, in order of arrival.
    queue: VecDeque<Pending>,
    /// Waiting for the first entry of the leader's own term to commit. // H25
    deferred: Vec<(ReadId, Option<NodeId>)>,
    /// The position that the heartbeats under way ask for.
    round: Option<u64>,
    asked: BTreeMap<ReadId, Asked>,
}

impl Reads {
    fn position(&self) -> u64 {
        self.confirmed + self.queue.len() as u64
    }

    fn pending(&self) -> usize {
        self.queue.len() + self.deferred.len() + self.asked.len()
    }

    /// Heartbeats go out: what they carry.
    pub(super) fn begin_round(&mut self) -> u64 {
        let position = self.position();
        if position > self.confirmed {
            self.round = Some(position);
        }
        position
    }

    /// See [`Raft::hash_behaviour`]. When questions are repeated or given up is left out: in a
    /// model that is at any time.
    pub(super) fn hash_behaviour<H: Hasher>(&self, into: &mut H) {
        let Self { confirmed, queue, deferred, round, asked } = self;
        (confirmed, deferred, round).hash(into);
        queue.iter().for_each(|p| (p.id, p.from, p.index).hash(into));
        asked.keys().for_each(|id| id.hash(into));
    }

    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.asked.values().map(|a| a.repeat_at.min(a.give_up_at)).min()
    }
}

impl Raft {
    /// Asks for the index up to which the state must be applied before the read `id` may be served.
    /// The answer comes as a [`ReadDone`], exactly once.
    ///
    /// # Cost
    /// On a leader at most one extra round of heartbeats, shared by all reads that wait; on others
    /// one message to the leader besides.
    ///
    /// # Errors
    /// [`ReadError`]: refused at once, no answer follows.
    pub fn read(&mut self, now: Monotonic, id: ReadId) -> Result<(), ReadError> {
        self.ask(now, id, false)
    }

    /// [`read`](Self::read), but a leader with a [valid lease](Self::lease_valid) answers at once
    /// and without a message, and others ask a leader to do so. Without one it is a `read`.
    ///
    /// # Cost
    /// On a leader none, on others one message to it; or that of a `read`.
    ///
    /// # Errors
    /// [`ReadError`]: refused at once, no answer follows.
    pub fn read_by_lease(&mut self, now: Monotonic, id: ReadId) -> Result<(), ReadError> {
        self.ask(now, id, true)
    }

    fn ask(&mut self, now: Monotonic, id: ReadId, lease: bool) -> Result<(), ReadError> {
        if self.observe(now).is_err() {
            return Err(ReadError::Stopped);
        }
        if lease && self.lease_valid(self.now) {
            self.answer_own_read(id, Ok(self.log.commit), true);
            return Ok(());
        }
        if self.reads.pending() >= self.config.reads_pending_max {
            return Err(ReadError::Busy);
        }
        if self.role == Role::Leader {
            self.enqueue_reads(None, &[id]);
            return Ok(());
        }
        let leader = self.leader.ok_or(ReadError::NoLeader)?;
        let t = self.config.election_timeout;
        let asked = Asked {
            repeat_at: self.now.saturating_add(t / 2),
            give_up_at: self.now.saturating_add(t * 2),
        };
        self.reads.asked.insert(id, asked);
        self.send(leader, Body::ReadIndex { ids: vec![id], lease });
        Ok(())
    }

    fn answer_own_read(&mut self, id: ReadId, result: Result<LogIndex, ReadError>, by_lease: bool) {
        self.out.reads.push(ReadDone { id, result, by_lease });
    }

    pub(super) fn handle_read_index(&mut self, from: NodeId, ids: &[ReadId], lease: bool) {
        // The clock was read after the message came: everything acknowledged before the asker asked
        // is committed here.
        if lease && self.peer_index(from).is_some() && self.lease_valid(self.now) {
            let index = self.log.commit;
            self.send(from, Body::ReadIndexResp { index, ids: ids.to_vec() });
            return;
        }
        // Not the leader, or full: the asker repeats, or gives up. // H31
        let room = self.config.reads_pending_max.saturating_sub(self.reads.pending());
        if self.role == Role::Leader && self.peer_index(from).is_some() && ids.len() <= room {
            self.enqueue_reads(Some(from), ids);
        }
    }

    fn enqueue_reads(&mut self, from: Option<NodeId>, ids: &[ReadId]) {
        if ids.is_empty() {
            return;
        }
        if !self.committed_in_own_term() && !crate::plant::planted("read_before_own_commit") {
            self.reads.deferred.extend(ids.iter().map(|id| (*id, from)));
            return;
        }
        let index = self.log.commit;
        self.reads.queue.extend(ids.iter().map(|id| Pending { id: *id, from, index }));
        if self.is_sole_voter() {
            self.confirm_reads();
        } else if self.reads.round.is_none() {
            self.broadcast_heartbeat();
        }
    }

    fn is_sole_voter(&self) -> bool {
        let m = &self.membership;
        m.is_voter(self.id) && m.voters.iter().chain(&m.outgoing).all(|id| *id == self.id)
    }

    /// The first entry of the own term is committed: reads may be counted from here on.
    pub(super) fn release_deferred_reads(&mut self) {
        if !self.committed_in_own_term() {
            return;
        }
        for (id, from) in core::mem::take(&mut self.reads.deferred) {
            self.enqueue_reads(from, &[id]);
        }
    }

    /// Answers the reads that a quorum has confirmed, and starts the next round if more wait.
    pub(super) fn confirm_reads(&mut self) {
        let position = self.reads.position();
        let (find, own) = (self.peers_in_order(), self.id);
        let echoed = move |id: NodeId| match find(id) {
            _ if id == own => position,
            Some(p) => p.read.min(position),
            None => 0,
        };
        let m = &self.membership;
        let confirmed = quorum::committed(&m.voters, &m.outgoing, echoed).unwrap_or(position);
        let mut answers: BTreeMap<NodeId, (LogIndex, Vec<ReadId>)> = BTreeMap::new();
        while self.reads.confirmed < confirmed {
            let Some(read) = self.reads.queue.pop_front() else { break };
            self.reads.confirmed += 1;
            match read.from {
                None => self.answer_own_read(read.id, Ok(read.index), false),
                Some(from) => {
                    let (index, ids) = answers.entry(from).or_default();
                    // Later reads saw at least this commit index: waiting for it suits all.
                    *index = (*index).max(read.index);
                    ids.push(read.id);
                }
            }
        }
        for (to, (index, ids)) in answers {
            self.send(to, Body::ReadIndexResp { index, ids });
        }
        if self.reads.round.is_some_and(|round| self.reads.confirmed >= round) {
            self.reads.round = None;
            if !self.reads.queue.is_empty() {
                self.broadcast_heartbeat();
            }
        }
    }

    pub(super) fn handle_read_index_resp(&mut self, index: LogIndex, ids: &[ReadId]) {
        for id in ids {
            if self.reads.asked.remove(id).is_some() {
                self.answer_own_read(*id, Ok(index), false);
            }
        }
    }

    /// The term or the role changes: what this node confirmed as a leader is void.
    pub(super) fn fail_leader_reads(&mut self) {
        let queue = core::mem::take(&mut self.reads.queue);
        let deferred = core::mem::take(&mut self.reads.deferred);
        let own = queue.into_iter().map(|p| (p.id, p.from)).chain(deferred);
        for (id, from) in own {
            // Reads of others: they repeat to the next leader.
            if from.is_none() {
                self.answer_own_read(id, Err(ReadError::LeaderChanged), false);
            }
        }
        self.reads.confirmed = 0;
        self.reads.round = None;
    }

    /// A new leader is known: whatever was asked of the former one is asked again. // H31
    pub(super) fn repeat_reads(&mut self, leader: NodeId) {
        if self.reads.asked.is_empty() || leader == self.id {
            return;
        }
        let ids: Vec<ReadId> = self.reads.asked.keys().copied().collect();
        for part in ids.chunks(IDS_MAX) {
            // A new leader has no lease yet.
            self.send(leader, Body::ReadIndex { ids: part.to_vec(), lease: false });
        }
    }

    /// This node leads now: what it had asked of the former leader it answers itself.
    pub(super) fn adopt_asked_reads(&mut self) {
        let asked = core::mem::take(&mut self.reads.asked);
        let ids: Vec<ReadId> = asked.into_keys().collect();
        if !ids.is_empty() {
            self.enqueue_reads(None, &ids);
        }
    }

    pub(super) fn read_timeouts(&mut self) {
        let (now, t) = (self.now, self.config.election_timeout);
        if self.reads.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        let mut repeat = Vec::new();
        let out = &mut self.out.reads;
        self.reads.asked.retain(|id, asked| {
            if asked.give_up_at <= now {
                let result = Err(ReadError::NoLeader);
                out.push(ReadDone { id: *id, result, by_lease: false });
                return false;
            }
            if asked.repeat_at <= now {
                asked.repeat_at = now.saturating_add(t / 2);
                repeat.push(*id);
            }
            true
        });
        if let Some(leader) = self.leader.filter(|l| *l != self.id) {
            for ids in repeat.chunks(IDS_MAX) {
                self.send(leader, Body::ReadIndex { ids: ids.to_vec(), lease: false });
            }
        }
    }
}
