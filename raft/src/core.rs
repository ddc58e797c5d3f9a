//! [`Raft`]: the consensus core. A pure state machine: messages, timeouts and completions go in, an
//! [`Output`] comes out; no clock, randomness, thread or I/O. The rules R1–R20 named in the
//! comments are those of DESIGN.md.

mod backlog;
mod commit;
mod conf;
mod election;
mod fingerprint;
mod follow;
mod invariants;
mod lead;
mod lease;
mod output;
mod read;
mod recovery;
mod snapshot;
mod status;
mod transfer;

pub use lead::Proposed;
pub use output::{
    Append, AppendToken, Apply, ApplyToken, Event, HardState, Load, LoadId, Output, ReadDone,
    SoftState,
};
pub use status::{PeerStatus, Progression, Status};

use crate::error::{BootError, Invariant, StepError};
use crate::log_view::{LogView, TermRun};
use crate::message::{Body, Envelope, Message, SnapshotMeta};
use crate::progress::Progress;
use crate::rng::Rng;
use crate::{Block, Config, GroupId, LogId, LogIndex, Membership, Term, quorum};
use core::cell::Cell;
use core::time::Duration;
use lease::Lease;
use quorate_clocks::{Drift, Monotonic};
use quorate_transport::NodeId;
use read::Reads;
use std::collections::BTreeMap;

/// What a replica does in its term.
///
/// # Examples
/// ```
/// use quorate_raft::Role;
/// assert_eq!(Role::default(), Role::Follower);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Takes the log of a leader.
    #[default]
    Follower,
    /// Asks whether a campaign could be won, without raising the term.
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Appends and replicates.
    Leader,
}

/// What a replica starts from: its identity, its clock, and what its store held.
///
/// # Examples
/// ```
/// use quorate_raft::{Boot, GroupId, Membership};
/// use quorate_transport::NodeId;
///
/// let me = NodeId::new(1);
/// let boot = Boot::fresh(me, GroupId::new(1), Membership::of_voters(&[me]));
/// assert_eq!(boot.last.index.value(), 0);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Boot {
    /// This node.
    pub id: NodeId,
    /// The group.
    pub group: GroupId,
    /// Its members as of `applied`.
    pub membership: Membership,
    /// How wrong the rate of this node's clock may be ([`Clock::drift`]); leases count with it.
    ///
    /// [`Clock::drift`]: quorate_clocks::Clock::drift
    pub drift: Drift,
    /// Term, vote, commit index and promise as of the last durable write.
    pub hard: HardState,
    /// Where the log starts: everything up to here is in a snapshot.
    pub start: LogId,
    /// Terms of the entries behind `start`.
    pub runs: Vec<TermRun>,
    /// The last entry.
    pub last: LogId,
    /// The newest blocks, ending at `last`; may be none.
    pub blocks: Vec<Block>,
    /// Up to where the state machine holds the log.
    pub applied: LogIndex,
    /// The newest local snapshot.
    pub snapshot: Option<SnapshotMeta>,
}

impl Boot {
    /// A replica that never ran, on a clock that NTP may slew ([`Drift::SLEWED`]). // H63
    #[must_use]
    pub fn fresh(id: NodeId, group: GroupId, membership: Membership) -> Self {
        Self {
            id,
            group,
            membership,
            drift: Drift::SLEWED,
            hard: HardState::default(),
            start: LogId::ZERO,
            runs: Vec::new(),
            last: LogId::ZERO,
            blocks: Vec::new(),
            applied: LogIndex::ZERO,
            snapshot: None,
        }
    }
}

/// One replica of one group.
///
/// # How to drive it
/// Hand it messages, timeouts and proposals; after each, [`drain`](Self::drain) and do what the
/// [`Output`] says: send, write, apply, load; report completions with [`appended`](Self::appended),
/// [`applied`](Self::applied) and [`loaded`](Self::loaded).
///
/// # Examples
/// A group of one, driven by hand:
/// ```
/// use quorate_clocks::Monotonic;
/// use quorate_raft::{Boot, Config, EntryBody, GroupId, Membership, Output, Proposal, Raft, Role};
/// use quorate_transport::NodeId;
///
/// let (me, now) = (NodeId::new(1), Monotonic::ZERO);
/// let boot = Boot::fresh(me, GroupId::new(1), Membership::of_voters(&[me]));
/// let config = Config::lan().build().unwrap();
/// let mut raft = Raft::new(config.clone(), boot, now, 7).unwrap();
///
/// let mut out = Output::default();
/// let mut turn = |raft: &mut Raft| {
///     while raft.has_output() {
///         raft.drain(&mut out);
///         if let Some(append) = out.append.take() {
///             // Write `append.blocks` and `append.hard` durably here, then:
///             for e in append.gated {
///                 raft.handle_message(now, me, e.message).unwrap();
///             }
///             append.token.map(|t| raft.appended(now, t));
///         }
///         if let Some(apply) = out.apply.take() {
///             raft.applied(now, apply.token);
///         }
///     }
/// };
/// raft.campaign(now).unwrap();
/// turn(&mut raft);
/// assert_eq!(raft.role(), Role::Leader);
///
/// let mut p = Proposal::new(config.limits());
/// p.push(EntryBody::Normal(b"hello")).unwrap();
/// raft.propose(now, p).map_err(|(e, _)| e).unwrap();
/// turn(&mut raft);
/// assert_eq!(raft.status().commit.value(), 2); // the leader's own entry, and ours
/// ```
#[derive(Clone, Debug)]
pub struct Raft {
    config: Config,
    id: NodeId,
    group: GroupId,
    rng: Rng,
    now: Monotonic,

    term: Term,
    vote: Option<NodeId>,
    role: Role,
    leader: Option<NodeId>,
    log: LogView,
    membership: Membership,
    /// Every member, ascending by id, this node included.
    peers: Vec<Progress>,
    votes: BTreeMap<NodeId, bool>,

    election_start: Monotonic,
    heartbeat_start: Monotonic,
    randomized: Duration,
    transferee: Option<NodeId>,
    changes: conf::Changes,
    /// Payload bytes appended as a leader and not applied yet.
    uncommitted_bytes: u64,
    /// Entries up to here may have been acknowledged and are lost; zero if none are. // H36
    lost: LogIndex,
    /// Highest index an append of this term's leader has matched: what a commit notice may commit.
    /// H46
    verified: LogIndex,
    backlog: backlog::Backlog,
    /// When this leader appended last: group time goes on from there.
    appended_at: Monotonic,
    reads: Reads,
    lease: Lease,
    /// The newest local snapshot.
    snapshot: Option<SnapshotMeta>,
    out: output::Pending,
    stopped: Option<Invariant>,
}

impl Raft {
    /// Starts a replica as a follower.
    ///
    /// # Errors
    /// [`BootError`] if the store's content contradicts itself.
    pub fn new(config: Config, boot: Boot, now: Monotonic, seed: u64) -> Result<Self, BootError> {
        let Membership { voters, outgoing, learners, .. } = &boot.membership;
        let leaderless = voters.is_empty() && outgoing.is_empty() && !learners.is_empty();
        if leaderless || voters.len().max(outgoing.len()) > quorum::VOTERS_MAX {
            return Err(BootError::Membership);
        }
        let lost = recovery::lost_of(&boot);
        let log = boot_log(&boot, lost)?;
        let lease = Lease::after_start(&config, boot.drift, boot.hard.promise, now);
        let mut raft = Self {
            id: boot.id,
            group: boot.group,
            rng: Rng::new(seed ^ boot.id.value().rotate_left(32)),
            now,
            term: boot.hard.term,
            vote: boot.hard.vote,
            role: Role::Follower,
            leader: None,
            log,
            peers: Vec::new(),
            membership: boot.membership,
            votes: BTreeMap::new(),
            election_start: now,
            heartbeat_start: now,
            randomized: config.election_timeout,
            transferee: None,
            changes: conf::Changes::default(),
            uncommitted_bytes: 0,
            lost,
            verified: LogIndex::ZERO,
            backlog: backlog::Backlog::default(),
            appended_at: now,
            reads: Reads::default(),
            lease,
            snapshot: boot.snapshot,
            out: output::Pending::default(),
            stopped: None,
            config,
        };
        raft.reset(raft.term);
        // What the disk holds: a longer promise is still to be written. // H29
        let HardState { promise, lost, .. } = boot.hard;
        let on_disk = HardState { promise, lost, ..raft.hard_state() };
        raft.out.remember(on_disk, raft.soft_state());
        raft.out.events.extend(raft.lost().map(|lost| Event::Recovering { lost }));
        Ok(raft)
    }

    /// Takes a message. `from` is who sent it: itself for messages that waited for durability.
    /// `now` must have been read after the message arrived: promises count from it.
    ///
    /// # Errors
    /// [`StepError`]: the message had no effect.
    pub fn handle_message(
        &mut self,
        now: Monotonic,
        from: NodeId,
        message: Message,
    ) -> Result<(), StepError> {
        self.observe(now)?;
        if message.group != self.group {
            return Err(StepError::WrongGroup { expected: self.group, found: message.group });
        }
        if message.body.is_response() && self.peer_index(from).is_none() {
            return Err(StepError::UnknownPeer { from });
        }
        let has_term = !matches!(message.body, Body::Propose(_) | Body::ReadIndex { .. });
        if has_term && message.term > self.term {
            if !self.adopt_higher_term(from, &message) {
                return Ok(());
            }
        } else if has_term && message.term < self.term {
            self.answer_lower_term(from, &message.body);
            return Ok(());
        }
        self.dispatch(from, message.term, message.body)
    }

    /// Does what is due at `now`. Call it when [`poll_timeout`](Self::poll_timeout) has passed;
    /// calling it earlier does nothing.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        if self.observe(now).is_err() {
            return;
        }
        if self.role == Role::Leader {
            self.leader_timeouts();
        } else {
            self.follower_timeouts();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due; `None` if never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        if self.stopped.is_some() {
            return None;
        }
        let election = if self.role == Role::Leader {
            let check = self.election_start.saturating_add(self.config.election_timeout);
            check.min(self.heartbeat_start.saturating_add(self.config.heartbeat_interval))
        } else if self.is_promotable() {
            let timeout = self.election_start.saturating_add(self.randomized);
            let timeout = self.asks_again_at().map_or(timeout, |at| at.min(timeout));
            self.must_not_campaign_until().map_or(timeout, |until| until.max(timeout))
        } else {
            Monotonic::FAR_FUTURE
        };
        let next = self.reads.poll_timeout().map_or(election, |at| at.min(election));
        (next < Monotonic::FAR_FUTURE).then_some(next)
    }

    /// This node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// What it does now.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Who leads, as far as it knows.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// The members.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Why the replica stopped, if it did: it takes and gives nothing any more.
    #[must_use]
    pub const fn stopped(&self) -> Option<Invariant> {
        self.stopped
    }

    /// For tests and scripts: fixes the randomized election timeout of this term.
    #[doc(hidden)]
    pub const fn set_randomized_timeout(&mut self, timeout: Duration) {
        self.randomized = timeout;
    }

    fn observe(&mut self, now: Monotonic) -> Result<(), StepError> {
        if self.stopped.is_some() {
            return Err(StepError::Stopped);
        }
        self.now = self.now.max(now);
        Ok(())
    }

    fn stop(&mut self, cause: Invariant) {
        self.stopped = Some(cause);
        self.out.events.push(Event::Stopped(cause));
    }

    /// R3, higher term. False if the message is to be ignored.
    fn adopt_higher_term(&mut self, from: NodeId, message: &Message) -> bool {
        let asks_vote = match &message.body {
            Body::PreVote(b) | Body::Vote(b) => Some(b),
            _ => None,
        };
        // A leader was heard from within T: a candidate that missed it must not disturb. // H13
        let in_lease = self.config.check_quorum
            && self.leader.is_some()
            && self.now.since(self.election_start) < self.config.election_timeout;
        // Nor may one that would break a promise, whoever led then. // H62
        let promised = self.promised_until().is_some();
        if asks_vote.is_some_and(|ballot| !ballot.force) && (in_lease || promised) {
            return false;
        }
        match message.body {
            // Nothing is campaigned for yet: a pre-vote leaves the receiver's term alone.
            Body::PreVote(_) | Body::PreVoteResp { granted: true, .. } => {}
            Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot(_) => {
                self.become_follower(message.term, Some(from));
            }
            Body::PreVoteResp { .. } if crate::plant::planted("refusals_teach_nothing") => {}
            // A refused pre-vote teaches the term, or PreVote could deadlock. // H13
            _ => self.become_follower(message.term, None),
        }
        true
    }

    /// R3, lower term: the sender is told only where silence would leave it stuck.
    fn answer_lower_term(&mut self, from: NodeId, body: &Body) {
        match body {
            // A leader of the past that nobody with CheckQuorum or PreVote would vote out by
            // itself.
            Body::Append { .. } | Body::Heartbeat { .. }
                if self.config.check_quorum || self.config.pre_vote =>
            {
                self.send(from, Body::Accepted { index: LogIndex::ZERO });
            }
            Body::PreVote(_) => {
                let commit = self.vote_commit();
                self.send(from, Body::PreVoteResp { granted: false, commit });
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, from: NodeId, term: Term, body: Body) -> Result<(), StepError> {
        match body {
            Body::PreVote(ballot) => self.handle_vote_request(from, term, &ballot, true),
            Body::Vote(ballot) => self.handle_vote_request(from, term, &ballot, false),
            Body::PreVoteResp { granted, commit } => {
                self.learn_commit(commit);
                self.handle_vote(from, Role::PreCandidate, granted);
            }
            Body::VoteResp { granted, commit } => {
                self.learn_commit(commit);
                self.handle_vote(from, Role::Candidate, granted);
            }
            Body::Append { prev, commit, blocks } => {
                if self.follow(from) {
                    self.handle_append(from, prev, commit, blocks)?;
                }
            }
            Body::Heartbeat { commit, read, stamp } => {
                if self.follow(from) {
                    self.handle_heartbeat(from, commit, read, stamp);
                }
            }
            Body::Snapshot(meta) => {
                if self.follow(from) {
                    self.handle_snapshot(from, *meta);
                }
            }
            Body::Commit { index } => self.handle_commit_notice(from, index),
            Body::Accepted { index } => self.handle_accepted(from, index),
            Body::Rejected { index, hint } => self.handle_rejected(from, index, hint),
            Body::SnapshotRequest { have } => self.handle_snapshot_request(from, have),
            Body::HeartbeatResp { read, stamp, promise } => {
                self.handle_heartbeat_resp(from, read, stamp, promise);
            }
            Body::TimeoutNow => self.handle_timeout_now(),
            Body::ReadIndex { ids, lease } => self.handle_read_index(from, &ids, lease),
            Body::ReadIndexResp { index, ids } => self.handle_read_index_resp(index, &ids),
            Body::Propose(proposal) => {
                self.take_forwarded(proposal)?;
            }
        }
        Ok(())
    }

    /// Queues a message of the present term. Answers about the log wait for durability (R19).
    fn send(&mut self, to: NodeId, body: Body) {
        let term = match body {
            Body::Propose(_) | Body::ReadIndex { .. } => Term::ZERO,
            _ => self.term,
        };
        self.send_in(to, term, body);
    }

    fn send_in(&mut self, to: NodeId, term: Term, body: Body) {
        // A candidate that asked for votes and lost its term in a crash would campaign for that
        // term again, with a shorter log, and count the grants of its first life. // H11
        let asks_vote = self.config.gate_votes
            && matches!(body, Body::Vote(_))
            && !crate::plant::planted("vote_request_before_durable");
        let too_early = match body {
            Body::VoteResp { .. } => crate::plant::planted("vote_before_durable"),
            Body::Accepted { .. } => crate::plant::planted("ack_before_durable"),
            _ => false,
        };
        let gated = (body.is_gated() || asks_vote) && !too_early;
        let envelope = Envelope::new(to, Message::new(self.group, term, body));
        if gated {
            self.out.gated.push(envelope);
        } else {
            self.out.send.push(envelope);
        }
    }

    fn peer_index(&self, id: NodeId) -> Option<usize> {
        self.peers.binary_search_by_key(&id, |p| p.id).ok()
    }

    /// Finds members that are asked for in ascending order, as the voters of a half are, without
    /// searching for each of them: usually the next one is right behind the one before.
    fn peers_in_order<'a>(&'a self) -> impl Fn(NodeId) -> Option<&'a Progress> {
        let next = Cell::new(0);
        move |id| {
            let guess = next.get();
            let is_right = self.peers.get(guess).is_some_and(|p| p.id == id);
            let at = if is_right { guess } else { self.peer_index(id)? };
            next.set(at + 1);
            self.peers.get(at)
        }
    }

    /// Positions in `peers` of everyone else, ascending.
    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.peer_index(self.id);
        (0..self.peers.len()).filter(move |i| Some(*i) != own)
    }

    fn soft_state(&self) -> SoftState {
        SoftState { leader: self.leader, role: self.role }
    }

    /// What votes tell of the commit index; zero if they are to tell nothing.
    fn vote_commit(&self) -> LogId {
        let commit = self.log.commit;
        match self.log.term(commit) {
            Some(term) if self.config.commit_in_votes => LogId::of(term, commit),
            _ => LogId::ZERO,
        }
    }
}

/// The log that `boot` describes; empty if a part of it is lost.
fn boot_log(boot: &Boot, lost: LogIndex) -> Result<LogView, BootError> {
    let is_whole = lost == LogIndex::ZERO;
    let mut log = if is_whole {
        LogView::new(boot.start, boot.runs.clone(), boot.last, boot.blocks.clone())
    } else {
        // What is left of it may be what the lost part had replaced. // H36
        LogView::new(boot.start, Vec::new(), boot.start, Vec::new())
    };
    let commit = if is_whole { boot.hard.commit } else { LogIndex::ZERO };
    let commit = commit.max(boot.start.index);
    let applied = boot.applied.max(boot.start.index);
    if applied > commit {
        return Err(BootError::Applied { applied, first: boot.start.index, commit });
    }
    log.commit = commit;
    log.applying = applied;
    log.applied = applied;
    if let Some(snapshot) = &boot.snapshot {
        log.set_start_time(snapshot.time_ms);
    }
    Ok(log)
}
