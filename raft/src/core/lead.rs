//! Leading: proposals, replication, acknowledgements, heartbeats (R8, R9, R11, R12). Paper §5.3.

use super::{Load, LoadId, Raft, Role};
use crate::conf_change::ConfChange;
use crate::config::CommitNotify;
use crate::error::{BusyWhy, ProposeError, StepError};
use crate::log_view::Slice;
use crate::message::Body;
use crate::progress::ProgressState;
use crate::{Block, EntryKind, LogId, LogIndex, Proposal, StoreError};
use core::ops::RangeInclusive;
use core::time::Duration;
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;

/// What became of a proposal that was not refused.
///
/// # Examples
/// ```
/// use quorate_raft::{LogIndex, Proposed, Term};
///
/// let p = Proposed::Appended { term: Term::new(1), range: LogIndex::new(4)..=LogIndex::new(6) };
/// assert!(matches!(p, Proposed::Appended { .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proposed {
    /// Appended to this leader's log. Not committed yet.
    Appended {
        /// The leader's term.
        term: crate::Term,
        /// Where the entries stand.
        range: RangeInclusive<LogIndex>,
    },
    /// Sent on to the leader; only with `Config::reference`.
    Forwarded(NodeId),
}

impl Raft {
    /// Appends the entries of `proposal` if this node leads.
    ///
    /// # Errors
    /// [`ProposeError`] and the proposal, untouched: nothing was appended.
    pub fn propose(
        &mut self,
        now: Monotonic,
        proposal: Proposal,
    ) -> Result<Proposed, (ProposeError, Proposal)> {
        if self.observe(now).is_err() {
            return Err((ProposeError::Stopped, proposal));
        }
        if proposal.has_conf() {
            return Err((ProposeError::Conf, proposal));
        }
        if let Err(refusal) = self.check_proposal(&proposal) {
            return match (refusal, self.leader) {
                (ProposeError::NotLeader { leader }, _) if self.config.forward_in_core => {
                    self.send(leader, Body::Propose(proposal));
                    Ok(Proposed::Forwarded(leader))
                }
                (refusal, _) => Err((refusal, proposal)),
            };
        }
        let range = self.append_own(proposal);
        self.broadcast_append();
        Ok(Proposed::Appended { term: self.term, range })
    }

    /// A proposal that another node sent on, as the reference implementation does.
    pub(super) fn take_forwarded(&mut self, proposal: Proposal) -> Result<(), StepError> {
        let change = proposal.iter().next().filter(|(kind, _)| *kind == EntryKind::Conf);
        match change.map(|(_, payload)| ConfChange::decode(payload)) {
            Some(change) if proposal.count() == 1 => {
                let proposed = self.propose_conf(self.now, &change?, None);
                proposed.map(drop).map_err(StepError::Conf)
            }
            _ => {
                let proposed = self.propose(self.now, proposal);
                proposed.map(drop).map_err(|(refusal, _)| StepError::Proposal(refusal))
            }
        }
    }

    /// R8: why `proposal` cannot be appended now.
    fn check_proposal(&self, proposal: &Proposal) -> Result<(), ProposeError> {
        if self.role != Role::Leader {
            return Err(match self.leader {
                Some(leader) if self.role == Role::Follower => ProposeError::NotLeader { leader },
                _ => ProposeError::NoLeader,
            });
        }
        if self.peer_index(self.id).is_none() {
            return Err(ProposeError::Removed);
        }
        if let Some(to) = self.transferee {
            return Err(ProposeError::Transferring { to });
        }
        if proposal.count() == 0 {
            return Err(ProposeError::Empty);
        }
        let size = proposal.charge();
        if self.machine_lags() {
            return Err(ProposeError::Busy { why: BusyWhy::Apply });
        }
        let max = self.config.uncommitted_bytes_max;
        // The first passes however large.
        if self.uncommitted_bytes > 0 && self.uncommitted_bytes.saturating_add(size) > max {
            return Err(ProposeError::Busy { why: BusyWhy::Uncommitted });
        }
        Ok(())
    }

    /// Stamps and appends; the leader acknowledges to itself once its own disk has it.
    pub(super) fn append_own(&mut self, proposal: Proposal) -> RangeInclusive<LogIndex> {
        self.uncommitted_bytes += proposal.charge();
        // Group time: from the previous entry on, by the leader's monotonic clock. // H55
        let passed = self.now.since(self.appended_at).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let time_ms = self.log.time_ms().saturating_add(passed);
        self.appended_at = self.appended_at.saturating_add(Duration::from_millis(passed));
        let block = proposal.stamp(self.group, self.term, self.log.last(), time_ms);
        let (first, last) = (block.first(), block.last().index);
        self.log.append(block);
        self.send(self.id, Body::Accepted { index: last });
        first..=last
    }

    /// R9 to everyone else, empty appends included.
    pub(super) fn broadcast_append(&mut self) {
        for i in self.others() {
            self.send_append(i, true);
        }
    }

    /// The commit index moved: everyone gets what is unsent, or else just the news.
    pub(super) fn broadcast_commit(&mut self) {
        for i in self.others() {
            self.notify_commit(i);
        }
    }

    /// Tells a member of the commit index, with entries if there are any to send. (5.2)
    fn notify_commit(&mut self, i: usize) {
        if self.config.commit_notify == CommitNotify::Append {
            self.send_append(i, true);
            return;
        }
        let sent = self.send_append(i, false);
        let commit = self.log.commit;
        let p = &mut self.peers[i];
        let news = commit > p.sent_commit && p.state == ProgressState::Replicate;
        if !sent && news && self.config.commit_notify == CommitNotify::OneWay {
            p.sent_commit = commit;
            let to = p.id;
            self.send(to, Body::Commit { index: commit });
        }
    }

    /// R9. True if a message went out.
    pub(super) fn send_append(&mut self, i: usize, empty_ok: bool) -> bool {
        let p = &self.peers[i];
        if p.is_paused() {
            return false;
        }
        let (to, next) = (p.id, p.next);
        let Some(prev_term) = self.log.term(next.prev()) else {
            return self.send_snapshot(i);
        };
        let open = p.state != ProgressState::Replicate || !p.inflights.is_full();
        let blocks = if open {
            match self.log.slice(next, self.config.append_bytes_max) {
                Slice::Blocks(blocks) => blocks,
                Slice::Empty => Vec::new(),
                Slice::Stored => {
                    // Resumes in `loaded`; until then the member is paused. // H12
                    self.request_load(Some(i), next);
                    return false;
                }
            }
        } else {
            Vec::new()
        };
        if blocks.is_empty() && !empty_ok {
            return false;
        }
        self.send_blocks(i, LogId::of(prev_term, next.prev()), blocks);
        debug_assert_eq!(self.peers[i].id, to, "sending moves no peers");
        true
    }

    fn send_blocks(&mut self, i: usize, prev: LogId, blocks: Vec<Block>) {
        let bytes = blocks.iter().map(|b| b.as_bytes().len() as u64).sum();
        let last = blocks.last().map(|b| b.last().index);
        let commit = self.log.commit;
        let now = self.now;
        let p = &mut self.peers[i];
        if p.state == ProgressState::Probe {
            p.nudged_at = now;
        }
        p.sent(last, bytes);
        p.sent_commit = commit;
        let to = p.id;
        self.send(to, Body::Append { prev, commit, blocks });
    }

    /// Asks the store for blocks from `from` on, for a member or (none) for application.
    pub(super) fn request_load(&mut self, peer: Option<usize>, from: LogIndex) {
        let id = self.out.next_load_id();
        match peer {
            Some(i) => self.peers[i].load = Some(id),
            None => self.out.apply_load = Some(id),
        }
        let bytes_max = match peer {
            Some(_) => self.config.append_bytes_max,
            None => self.config.apply_bytes_max,
        };
        self.out.loads.push(Load { id: LoadId(id), from, bytes_max });
    }

    /// The blocks of a [`Load`] arrived, or are gone.
    ///
    /// # Errors
    /// None of its own: a store error here means that a member waits for the next heartbeat.
    pub fn loaded(&mut self, now: Monotonic, id: LoadId, result: Result<Vec<Block>, StoreError>) {
        if self.observe(now).is_err() {
            return;
        }
        if self.out.apply_load == Some(id.0) {
            self.out.apply_load = None;
            self.out.apply_loaded = result.unwrap_or_default().into();
            return;
        }
        let Some(i) = self.peers.iter().position(|p| p.load == Some(id.0)) else {
            return; // asked for in another term or state
        };
        self.peers[i].load = None;
        if self.role != Role::Leader {
            return;
        }
        let next = self.peers[i].next;
        // Compacted meanwhile, or the store failed: the ordinary path decides anew.
        let blocks: Vec<Block> = result.unwrap_or_default();
        let begin = blocks.iter().position(|b| b.last().index >= next);
        let first = begin.and_then(|b| blocks[b].suffix(next)).filter(|b| b.first() == next);
        let (Some(begin), Some(first), Some(term)) = (begin, first, self.log.term(next.prev()))
        else {
            if self.log.term(next.prev()).is_none() {
                self.send_snapshot(i);
            }
            return;
        };
        if self.peers[i].is_paused() {
            return;
        }
        let rest = blocks[begin + 1..].iter().cloned();
        let still_ours = |b: &Block| self.log.contains(b.last());
        let ours: Vec<Block> = core::iter::once(first).chain(rest).take_while(still_ours).collect();
        if !ours.is_empty() {
            self.send_blocks(i, LogId::of(term, next.prev()), ours);
        }
    }

    /// R11, accepted.
    pub(super) fn handle_accepted(&mut self, from: NodeId, index: LogIndex) {
        let Some(i) = self.leading_peer(from) else { return };
        if index > self.log.last().index && !crate::plant::planted("ack_of_another_log") {
            return; // H3: an answer about a log this leader does not have
        }
        let first_index = self.log.first_index();
        let commit = self.log.commit;
        let p = &mut self.peers[i];
        p.active = true;
        let again = index == p.matched && p.state == ProgressState::Probe;
        if !p.advance(index) && !again {
            return;
        }
        match p.state {
            ProgressState::Probe => p.become_replicate(),
            // H8
            ProgressState::Snapshot if p.matched.next() >= first_index => p.become_replicate(),
            ProgressState::Snapshot => {}
            ProgressState::Replicate => p.inflights.free_to(index),
        }
        let told = p.sent_commit;
        let tell = commit > told && told < p.next.prev();
        // What is committed already commits nothing more: the last of a quorum need not count.
        if index > commit && self.advance_commit() {
            self.broadcast_commit();
        } else if from != self.id && tell {
            self.notify_commit(i);
        }
        if from != self.id {
            while self.send_append(i, false) {}
        }
        if self.transferee == Some(from) && self.peers[i].matched == self.log.last().index {
            self.send_timeout_now(from);
        }
    }

    /// R11, rejected.
    pub(super) fn handle_rejected(&mut self, from: NodeId, index: LogIndex, hint: LogId) {
        let Some(i) = self.leading_peer(from) else { return };
        let probe = if hint.term > crate::Term::ZERO {
            self.log.conflict_hint(hint.index, hint.term).index
        } else {
            hint.index
        };
        let p = &mut self.peers[i];
        p.active = true;
        if !p.reject(index, probe) {
            return;
        }
        if p.state == ProgressState::Replicate {
            p.become_probe();
        }
        self.send_append(i, true);
    }

    /// The peer behind a message that only a leader takes.
    pub(super) fn leading_peer(&self, from: NodeId) -> Option<usize> {
        if self.role == Role::Leader { self.peer_index(from) } else { None }
    }

    /// R12.
    pub(super) fn broadcast_heartbeat(&mut self) {
        self.heartbeat_start = self.now;
        let read = self.reads.begin_round();
        let stamp = self.lease_stamp();
        for i in self.others() {
            let p = &mut self.peers[i];
            let unbounded = crate::plant::planted("heartbeat_commit_unbounded");
            let known = if unbounded { self.log.commit } else { p.matched };
            let commit = self.log.commit.min(known); // H5
            p.sent_commit = commit;
            let to = p.id;
            self.send(to, Body::Heartbeat { commit, read, stamp });
        }
    }

    /// R12, the answer.
    pub(super) fn handle_heartbeat_resp(
        &mut self,
        from: NodeId,
        read: u64,
        stamp: Monotonic,
        promise: Duration,
    ) {
        let Some(i) = self.leading_peer(from) else { return };
        let p = &mut self.peers[i];
        p.active = true;
        let asked = if crate::plant::planted("any_answer_confirms") { u64::MAX } else { read };
        p.read = p.read.max(asked); // H26
        self.count_promise(i, stamp, promise);
        self.nudge(i);
        self.confirm_reads();
    }

    /// Something sent to this member may be lost: sends again if it lacks anything.
    ///
    /// Every round of reads is a heartbeat too, so there may be thousands of answers a second, and
    /// all at once from a member that slept. One in a heartbeat interval is enough.
    fn nudge(&mut self, i: usize) {
        let (now, last) = (self.now, self.log.last().index);
        let each = self.config.resend_each_heartbeat || crate::plant::planted("resend_unbounded");
        let interval = self.config.heartbeat_interval;
        let p = &mut self.peers[i];
        if !each && now.since(p.nudged_at) < interval {
            return;
        }
        p.paused = false;
        if p.matched < last || p.state == ProgressState::Probe {
            p.nudged_at = now;
            self.send_append(i, true);
        }
    }

    /// A message to `peer` was not sent: go back to probing, what was in flight may be lost.
    pub fn unreachable(&mut self, peer: NodeId) {
        if let Some(i) = self.leading_peer(peer)
            && self.peers[i].state == ProgressState::Replicate
        {
            self.peers[i].become_probe();
        }
    }
}
