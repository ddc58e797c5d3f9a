//! Elections: roles, campaigns, votes (R1, R2, R4–R7). Ongaro & Ousterhout 2014 §5.2, §5.4; thesis
//! §9.6 (pre-votes) and §6.2 (the check for a quorum).

use super::{Raft, Role};
use crate::config::ConfRefusal;
use crate::error::CampaignError;
use crate::message::{Ballot, Body};
use crate::progress::{Progress, ProgressState};
use crate::quorum::{self, VoteResult};
use crate::{LogIndex, Term};
use core::time::Duration;
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;

/// How a campaign comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Campaign {
    /// The timeout passed: ask first, if `pre_vote` is on.
    Usual,
    /// The pre-vote was won.
    Approved,
    /// The leader asked for it: voters grant although they hear from that leader.
    Forced,
}

impl Raft {
    /// Starts an election now, as if the timeout had passed.
    ///
    /// # Errors
    /// [`CampaignError`]: this replica may not be elected now.
    pub fn campaign(&mut self, now: Monotonic) -> Result<(), CampaignError> {
        if self.observe(now).is_err() {
            return Err(CampaignError::NotVoter);
        }
        self.start_campaign(Campaign::Usual)
    }

    /// R1.
    pub(super) fn reset(&mut self, term: Term) {
        if self.term != term {
            self.term = term;
            self.vote = None;
            self.lease.enter_term();
        }
        self.leader = None;
        self.election_start = self.now;
        self.heartbeat_start = self.now;
        self.randomize();
        self.transferee = None;
        self.votes.clear();
        self.uncommitted_bytes = 0;
        self.changes.pending = LogIndex::ZERO;
        self.verified = LogIndex::ZERO;
        self.backlog.forget();
        self.fail_leader_reads();
        self.rebuild_peers();
    }

    pub(super) fn rebuild_peers(&mut self) {
        let last = self.log.last().index;
        let members = self.membership.members();
        self.peers = members
            .into_iter()
            .map(|id| {
                let learner = !self.membership.is_voter(id);
                let mut peer = Progress::new(id, last, learner, &self.config);
                if id == self.id {
                    peer.matched = last;
                }
                peer
            })
            .collect();
    }

    /// In [T, 2 T), or a little later with leases, so that candidates rarely collide (paper §5.2).
    fn randomize(&mut self) {
        let t = self.config.election_timeout;
        let nanos = u64::try_from(t.as_nanos()).unwrap_or(u64::MAX);
        // A voter that promised not to vote would not be a candidate any earlier.
        let least = t.max(self.lease.kept_for());
        self.randomized = least + Duration::from_nanos(self.rng.below(nanos));
    }

    pub(super) fn become_follower(&mut self, term: Term, leader: Option<NodeId>) {
        self.reset(term);
        self.role = Role::Follower;
        self.set_leader(leader);
    }

    pub(super) fn set_leader(&mut self, leader: Option<NodeId>) {
        if self.leader != leader {
            self.leader = leader;
            if let Some(leader) = leader {
                self.repeat_reads(leader);
            }
        }
    }

    fn become_pre_candidate(&mut self) {
        self.votes.clear();
        self.leader = None;
        self.role = Role::PreCandidate;
    }

    fn become_candidate(&mut self) {
        self.reset(self.term.next());
        self.role = Role::Candidate;
        self.vote = Some(self.id);
    }

    fn become_leader(&mut self) {
        self.reset(self.term);
        self.role = Role::Leader;
        self.leader = Some(self.id);
        self.appended_at = self.now;
        // Some entry up to here may be a change that is not applied yet. // H19
        self.changes.pending = self.log.last().index;
        if let Some(own) = self.peer_index(self.id) {
            self.peers[own].become_replicate();
            self.peers[own].active = true;
        }
        // Entries of older terms are committed only through one of this term. // H1
        let noop = self.noop();
        self.append_own(noop);
        self.broadcast_append();
        self.adopt_asked_reads();
    }

    /// R5.
    pub(super) fn start_campaign(&mut self, campaign: Campaign) -> Result<(), CampaignError> {
        if self.role == Role::Leader {
            return Err(CampaignError::AlreadyLeader);
        }
        if self.log.pending_snapshot.is_some() {
            return Err(CampaignError::PendingSnapshot);
        }
        if !self.membership.is_voter(self.id) {
            return Err(CampaignError::NotVoter);
        }
        if self.has_unapplied_change() {
            return Err(CampaignError::PendingConf);
        }
        if let Some(to) = self.lost() {
            return Err(CampaignError::Recovering { to });
        }
        // H44
        if let Some(until) = self.must_not_campaign_until()
            && campaign != Campaign::Forced
        {
            return Err(CampaignError::Promise { until });
        }
        let pre = self.config.pre_vote && campaign == Campaign::Usual;
        let term = if pre {
            self.become_pre_candidate();
            self.term.next()
        } else {
            self.become_candidate();
            self.term
        };
        // The own vote counts once it is durable, like any other. // H11
        let commit = self.vote_commit();
        let own = if pre {
            Body::PreVoteResp { granted: true, commit }
        } else {
            Body::VoteResp { granted: true, commit }
        };
        self.send_in(self.id, term, own);
        self.ask_for_votes(campaign == Campaign::Forced);
        Ok(())
    }

    /// Asks the other voters who have not answered yet.
    fn ask_for_votes(&mut self, force: bool) {
        self.heartbeat_start = self.now;
        let pre = self.role == Role::PreCandidate;
        let term = if pre { self.term.next() } else { self.term };
        let ballot = Ballot { last: self.log.last(), commit: self.vote_commit(), force };
        for voter in self.membership.all_voters() {
            if voter != self.id && !self.votes.contains_key(&voter) {
                let body = if pre { Body::PreVote(ballot) } else { Body::Vote(ballot) };
                self.send_in(voter, term, body);
            }
        }
    }

    /// When a candidate asks again: one lost message must not cost it an election timeout. Voters
    /// answer a repeated question as they did the first. It asks after one heartbeat interval, then
    /// after twice as long each time, since where answers are just slow more questions do not help.
    pub(super) fn asks_again_at(&self) -> Option<Monotonic> {
        let asks = matches!(self.role, Role::PreCandidate | Role::Candidate);
        // A change that is committed and not applied may make it no voter. // H19
        if !asks || !self.config.ask_again || self.has_unapplied_change() {
            return None;
        }
        let asked = self.heartbeat_start.since(self.election_start);
        let pause = self.config.heartbeat_interval + asked;
        Some(self.heartbeat_start.saturating_add(pause))
    }

    pub(super) fn is_promotable(&self) -> bool {
        self.lost().is_none()
            && self.membership.is_voter(self.id)
            && self.log.pending_snapshot.is_none()
    }

    /// R4.
    pub(super) fn handle_vote_request(
        &mut self,
        from: NodeId,
        term: Term,
        ballot: &Ballot,
        pre: bool,
    ) {
        self.learn_commit(ballot.commit);
        let free = self.vote == Some(from)
            || (self.vote.is_none() && self.leader.is_none())
            || (pre && term > self.term);
        // Only an election that the leader asked for may break the promise made to it; a vote that
        // was given is given again, for its answer may be lost, and elects nobody else.
        let repeats = !pre && self.vote == Some(from);
        let promised = self.promised_until().is_some() && !ballot.force && !repeats;
        // H10: terms first, then indexes
        let whole = self.lost().is_none(); // H36
        let granted = free && !promised && whole && ballot.last >= self.log.last();
        let commit = self.vote_commit();
        let body = if pre {
            Body::PreVoteResp { granted, commit }
        } else {
            Body::VoteResp { granted, commit }
        };
        // A refusal teaches the own term; a grant repeats the asked one. // H13
        let answered = if granted { term } else { self.term };
        if granted && !pre {
            self.vote = Some(from);
            self.election_start = self.now; // H15
        }
        self.send_in(from, answered, body);
    }

    /// R6: counts the first answer of each voter to the present candidacy.
    pub(super) fn handle_vote(&mut self, from: NodeId, candidacy: Role, granted: bool) {
        if self.role != candidacy {
            return; // H14: an answer to a candidacy that is over
        }
        self.votes.entry(from).or_insert(granted);
        let m = &self.membership;
        match quorum::vote(&m.voters, &m.outgoing, |id| self.votes.get(&id).copied()) {
            VoteResult::Won if self.role == Role::PreCandidate => {
                // The votes may have told that a change is committed, which is to be applied first.
                if self.start_campaign(Campaign::Approved).is_err() {
                    self.become_follower(self.term, None);
                }
            }
            // Votes of others alone do not do: what this leader sends in its term must not be
            // forgotten with the term in a crash, or the same voters would elect it again in the
            // same term, and two different entries would stand under one (term, index). // H11
            VoteResult::Won if self.may_lead() => self.become_leader(),
            VoteResult::Lost => self.become_follower(self.term, None),
            // Won but for the own vote: that will come, and count again.
            VoteResult::Won | VoteResult::Pending => {}
        }
    }

    /// Whether the own vote, and with it the term, is durable.
    fn may_lead(&self) -> bool {
        self.votes.contains_key(&self.id)
    }

    /// Append, Heartbeat or Snapshot of the present term: its sender leads. False if this node
    /// does.
    pub(super) fn follow(&mut self, from: NodeId) -> bool {
        match self.role {
            Role::Leader => {
                // Two leaders of one term cannot be; whoever says so is broken, and is not
                // believed.
                return false;
            }
            Role::PreCandidate | Role::Candidate => self.become_follower(self.term, Some(from)),
            Role::Follower => self.set_leader(Some(from)),
        }
        self.election_start = self.now;
        true
    }

    /// R6: the leader asks this follower to take over.
    pub(super) fn handle_timeout_now(&mut self) {
        if self.role == Role::Follower {
            // Not a voter, or a snapshot pending: then there is nothing to take over.
            let _refused = self.start_campaign(Campaign::Forced);
        }
    }

    /// R7, non-leaders.
    pub(super) fn follower_timeouts(&mut self) {
        let due = self.now.since(self.election_start) >= self.randomized;
        if self.is_promotable() && self.must_not_campaign_until().is_none() {
            if due {
                self.election_start = self.now;
                let _refused = self.start_campaign(Campaign::Usual);
            } else if self.asks_again_at().is_some_and(|at| at <= self.now) {
                // Not by force: whoever hears from a leader again does not break with it any more.
                self.ask_for_votes(false);
            }
        }
        self.read_timeouts();
    }

    /// R7, leaders.
    pub(super) fn leader_timeouts(&mut self) {
        if self.now.since(self.election_start) >= self.config.election_timeout {
            self.election_start = self.now;
            if self.config.check_quorum && !self.heard_from_quorum() {
                self.become_follower(self.term, None);
                return;
            }
            for i in self.others() {
                self.peers[i].active = false;
            }
            self.transferee = None;
            if self.config.conf_refusal == ConfRefusal::Error {
                // A transfer under way may have kept the joint phase from ending.
                self.maybe_leave_joint();
            }
        }
        if self.now.since(self.heartbeat_start) >= self.config.heartbeat_interval {
            self.broadcast_heartbeat();
        }
    }

    fn heard_from_quorum(&self) -> bool {
        let active = |id: NodeId| {
            let heard = self.peer_index(id).is_some_and(|i| self.peers[i].active);
            Some(id == self.id || heard)
        };
        let m = &self.membership;
        quorum::vote(&m.voters, &m.outgoing, active) == VoteResult::Won
    }

    /// Whether the member is fed by a stream of appends and was heard from lately.
    pub(super) fn is_following(&self, i: usize) -> bool {
        self.peers[i].active && self.peers[i].state != ProgressState::Snapshot
    }
}
