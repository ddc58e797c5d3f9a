//! Hazards of lease reads. The tests count true time; every node's clock shows it as its rate has
//! it.

use crate::group::{GROUP, T, boot, draft, heartbeat, index, message, node, nodes, proposal};
use quorate_clocks::{Drift, Monotonic};
use quorate_raft::{
    Append, Ballot, Body, Boot, CampaignError, Config, ConfigDraft, ForgetError, HardState, LogId,
    LogIndex, Membership, Message, Output, Raft, ReadId, Role, Term,
};
use quorate_transport::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const SLACK: Duration = Duration::from_millis(10);

/// Between two readings of a clock up to a nanosecond more has passed than they differ by.
const READING: Duration = Duration::from_nanos(1);

/// How long a voter on a clock that is slewed keeps its promise.
fn kept(promise: Duration) -> Duration {
    Drift::SLEWED.stretch(promise) + READING
}

fn leased() -> ConfigDraft {
    draft().lease(true).lease_slack(SLACK)
}

/// One voter: its core, what its disk holds, and how its clock runs.
struct Voter {
    raft: Raft,
    disk: HardState,
    /// Fast by so many millionths.
    ppm: i64,
    answers: Vec<(NodeId, Message)>,
    by_lease: Vec<(ReadId, LogIndex)>,
}

/// Members whose messages wait until the test delivers them.
struct Leased {
    /// True time since the beginning.
    at: Duration,
    voters: BTreeMap<u64, Voter>,
    flights: VecDeque<(u64, u64, Message)>,
    /// Nothing leaves or reaches these.
    cut: BTreeSet<u64>,
}

impl Leased {
    fn new(config: &Config, drift: Drift, ppm: [i64; 3]) -> Self {
        let mut group = Self {
            // Not zero, which would be the stamp of no lease.
            at: Duration::from_secs(100),
            voters: BTreeMap::new(),
            flights: VecDeque::new(),
            cut: BTreeSet::new(),
        };
        for (id, ppm) in (1..).zip(ppm) {
            let disk = HardState::default();
            let mut start = boot(id, &[1, 2, 3], 0, &[]);
            start.drift = drift;
            let now = shown(group.at, ppm);
            let raft = Raft::new(config.clone(), start, now, id).unwrap();
            let voter = Voter { raft, disk, ppm, answers: Vec::new(), by_lease: Vec::new() };
            group.voters.insert(id, voter);
        }
        group
    }

    /// Node 1 leads and has a lease that counts from now.
    fn led(config: &Config, drift: Drift, ppm: [i64; 3]) -> Self {
        let mut group = Self::new(config, drift, ppm);
        // What was promised before the start binds nobody any more.
        group.at += T * 2;
        let now = group.now(1);
        group.raft(1).campaign(now).unwrap();
        group.settle();
        assert_eq!(group.raft(1).role(), Role::Leader);
        group.beat(1);
        group.settle();
        assert!(group.serves(1));
        group
    }

    fn raft(&mut self, id: u64) -> &mut Raft {
        &mut self.voters.get_mut(&id).unwrap().raft
    }

    fn now(&self, id: u64) -> Monotonic {
        shown(self.at, self.voters[&id].ppm)
    }

    fn serves(&self, id: u64) -> bool {
        self.voters[&id].raft.lease_valid(self.now(id))
    }

    fn drain(&mut self, id: u64) {
        let now = self.now(id);
        let voter = self.voters.get_mut(&id).unwrap();
        let mut out = Output::default();
        while voter.raft.has_output() {
            voter.raft.drain(&mut out);
            let sent = out.send.drain(..).map(|e| (id, e.to.value(), e.message));
            self.flights.extend(sent);
            let served = out.reads.drain(..).filter(|r| r.by_lease);
            voter.by_lease.extend(served.map(|r| (r.id, r.result.unwrap())));
            if let Some(apply) = out.apply.take() {
                voter.raft.applied(now, apply.token);
            }
            if let Some(append) = out.append.take() {
                self.flights.extend(voter.write(now, id, append));
            }
        }
    }

    fn deliver(&mut self, from: u64, to: u64, message: Message) {
        if self.cut.contains(&from) || self.cut.contains(&to) {
            return;
        }
        let now = self.now(to);
        self.raft(to).handle_message(now, node(from), message).unwrap();
        self.drain(to);
    }

    fn settle(&mut self) {
        (1..=3).for_each(|id| self.drain(id));
        while let Some((from, to, message)) = self.flights.pop_front() {
            self.deliver(from, to, message);
        }
    }

    /// Heartbeats leave `id`.
    fn beat(&mut self, id: u64) {
        self.at += T / 10 + Duration::from_millis(20);
        self.timeout(id);
    }

    fn timeout(&mut self, id: u64) {
        let now = self.now(id);
        self.raft(id).handle_timeout(now);
        self.drain(id);
    }

    /// Node 2 campaigns as soon as it may and node 3 votes for it, both cut off from node 1, in
    /// steps of a millisecond for at most `time`; true once it leads. Before, node 1 must not have
    /// a lease at the moment it is elected.
    fn second_elects_itself(&mut self, time: Duration) -> bool {
        let end = self.at + time;
        while self.at < end {
            self.at += Duration::from_millis(1);
            let now = self.now(2);
            let _not_yet = self.raft(2).campaign(now);
            self.settle();
            if self.raft(2).role() == Role::Leader {
                return true;
            }
        }
        false
    }

    /// The only message of this kind under way, taken off the line.
    fn catch(&mut self, wanted: impl Fn(&Message) -> bool) -> (u64, u64, Message) {
        let at = self.flights.iter().position(|(_, _, m)| wanted(m)).expect("it is under way");
        self.flights.remove(at).unwrap()
    }
}

impl Voter {
    /// The write is durable at once; what it releases.
    fn write(&mut self, now: Monotonic, id: u64, append: Append) -> Vec<(u64, u64, Message)> {
        self.disk = append.hard.unwrap_or(self.disk);
        let mut sent = Vec::new();
        for e in append.gated {
            if e.to == node(id) {
                self.raft.handle_message(now, e.to, e.message).unwrap();
            } else {
                self.answers.push((e.to, e.message.clone()));
                sent.push((id, e.to.value(), e.message));
            }
        }
        if let Some(token) = append.token {
            self.raft.appended(now, token);
        }
        sent
    }

    /// Whether it granted the newest vote it was asked for; none if it said nothing.
    fn granted(&mut self) -> Option<bool> {
        let answer = |m: &Message| match m.body {
            Body::VoteResp { granted, .. } | Body::PreVoteResp { granted, .. } => Some(granted),
            _ => None,
        };
        let newest = self.answers.iter().filter_map(|(_, m)| answer(m)).next_back();
        self.answers.clear();
        newest
    }
}

/// What a clock that runs fast by so many millionths shows at a true time.
fn shown(at: Duration, ppm: i64) -> Monotonic {
    let rate = u128::try_from(1_000_000 + ppm).unwrap();
    Monotonic::from_nanos(u64::try_from(at.as_nanos() * rate / 1_000_000).unwrap())
}

fn vote(term: u64, force: bool) -> Message {
    let mut ballot = Ballot::default();
    ballot.last = LogId::new(term, 99);
    ballot.force = force;
    message(term, Body::Vote(ballot))
}

fn pre_vote(term: u64) -> Message {
    let mut ballot = Ballot::default();
    ballot.last = LogId::new(term, 99);
    message(term, Body::PreVote(ballot))
}

/// A voter alone in the test's hand, started at `at` on a disk that holds `disk`.
fn voter(config: &Config, disk: HardState, at: Duration) -> (Voter, Monotonic) {
    let mut start = boot(3, &[1, 2, 3], 0, &[]);
    start.drift = Drift::SLEWED;
    start.hard = disk;
    let now = shown(at, 0);
    let raft = Raft::new(config.clone(), start, now, 3).unwrap();
    let mut voter = Voter { raft, disk, ppm: 0, answers: Vec::new(), by_lease: Vec::new() };
    voter.turn(now);
    (voter, now)
}

impl Voter {
    fn turn(&mut self, now: Monotonic) -> Vec<Message> {
        let mut out = Output::default();
        let mut sent = Vec::new();
        while self.raft.has_output() {
            self.raft.drain(&mut out);
            sent.extend(out.send.drain(..).map(|e| e.message));
            if let Some(append) = out.append.take() {
                self.write(now, 3, append);
            }
        }
        sent
    }

    /// Takes a message; whether it granted a vote then, and what else it sent.
    fn take(&mut self, now: Monotonic, from: u64, m: Message) -> (Option<bool>, Vec<Message>) {
        self.raft.handle_message(now, node(from), m).unwrap();
        let sent = self.turn(now);
        (self.granted(), sent)
    }

    /// Answers a heartbeat of node 1 in `term`; for how long it promises not to vote.
    fn promise(&mut self, now: Monotonic, term: u64) -> Duration {
        let stamp = Monotonic::from_nanos(7);
        let beat = Body::Heartbeat { commit: index(0), read: 0, stamp };
        let (_, sent) = self.take(now, 1, message(term, beat));
        match sent[0].body {
            Body::HeartbeatResp { promise, .. } => promise,
            ref other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_lease_is_served_without_a_message_and_ends_without_answers() {
    let mut g = Leased::led(&leased().build().unwrap(), Drift::NONE, [0; 3]);
    let now = g.now(1);
    g.raft(1).read_by_lease(now, ReadId::new(5)).unwrap();
    g.drain(1);
    assert!(g.flights.is_empty(), "nobody was asked");
    let commit = g.raft(1).commit();
    assert_eq!(g.voters[&1].by_lease, [(ReadId::new(5), commit)]);
    // Through a member that does not lead: one message there, one back.
    let now = g.now(3);
    g.raft(3).read_by_lease(now, ReadId::new(6)).unwrap();
    g.drain(3);
    let (_, _, asked) = g.catch(|m| matches!(m.body, Body::ReadIndex { lease: true, .. }));
    g.deliver(3, 1, asked);
    let (_, _, told) = g.catch(|m| matches!(m.body, Body::ReadIndexResp { .. }));
    assert!(g.flights.is_empty(), "no round of heartbeats");
    assert!(matches!(&told.body, Body::ReadIndexResp { index, .. } if *index == commit));
    // Nobody answers any more: it ends in time, and a read is a round again.
    g.at += T - SLACK - READING;
    assert!(g.serves(1), "from the stamp on, to the last nanosecond");
    g.at += Duration::from_nanos(1);
    assert!(!g.serves(1));
    let now = g.now(1);
    g.raft(1).read_by_lease(now, ReadId::new(7)).unwrap();
    g.drain(1);
    assert_eq!(g.voters[&1].by_lease.len(), 1);
    assert_eq!(g.flights.len(), 2, "heartbeats");
}

#[test]
fn without_leases_nobody_promises_and_nobody_waits() {
    let plain = draft().build().unwrap();
    let (mut v, now) = voter(&plain, HardState::default(), T * 100);
    assert_eq!(v.promise(now, 1), Duration::ZERO);
    assert_eq!(v.disk.promise, Duration::ZERO);
    let (mut v, now) = voter(&plain, HardState::default(), T * 100);
    assert_eq!(v.take(now, 2, vote(1, false)).0, Some(true), "right after the start");
    // Nor does a voter with leases, to a leader without.
    let (mut v, now) = voter(&leased().build().unwrap(), HardState::default(), T * 100);
    v.take(now, 1, message(1, heartbeat(0, 0)));
    let now = now.saturating_add(T * 2);
    v.take(now, 1, message(1, heartbeat(0, 0)));
    v.raft.forget_leader().unwrap();
    assert_eq!(v.take(now, 2, vote(2, false)).0, Some(true));
    // A leader whose voters promise nothing has no lease.
    let mut g = Leased::new(&plain, Drift::NONE, [0; 3]);
    let now = g.now(1);
    g.raft(1).campaign(now).unwrap();
    g.settle();
    g.beat(1);
    g.settle();
    assert!(g.raft(1).role() == Role::Leader && !g.serves(1));
}

#[test]
fn settings_of_leases_are_checked() {
    let e = draft().lease(true).check_quorum(false).lease_slack(T).build().unwrap_err();
    assert_eq!(
        e.to_string(),
        "lease without check_quorum: expected both; lease_slack 1s: expected 0ns to 500ms"
    );
}

/// The leader asks another to take over. Whenever that request arrives, voters will break their
/// promises for it: the lease is gone for the rest of the term, also when the transfer is given up.
#[test]
fn h27_a_transfer_ends_the_lease_and_a_late_request_cannot_meet_it_again() {
    let mut g = Leased::led(&leased().build().unwrap(), Drift::NONE, [0; 3]);
    let now = g.now(1);
    g.raft(1).transfer(now, Some(node(2))).unwrap();
    assert!(!g.serves(1), "from the first moment on");
    g.drain(1);
    let late = g.catch(|m| matches!(m.body, Body::TimeoutNow));
    for _ in 0..30 {
        g.beat(1);
        g.settle();
        assert!(!g.serves(1), "long after the transfer was given up");
    }
    let now = g.now(1);
    assert!(g.raft(1).propose(now, proposal(&["still leads"])).is_ok());
    g.settle();
    // Now it arrives: node 3 votes against what it promised node 1 a moment ago.
    g.cut.insert(1);
    let (from, to, request) = late;
    let now = g.now(to);
    g.raft(to).handle_message(now, node(from), request).unwrap();
    g.settle();
    assert_eq!(g.raft(2).role(), Role::Leader);
    assert!(!g.serves(1), "another leader may have committed something by now");
}

#[test]
fn h27_a_transfer_that_asked_nobody_gives_the_lease_back() {
    let mut g = Leased::led(&leased().build().unwrap(), Drift::NONE, [0; 3]);
    g.cut.insert(2);
    let now = g.now(1);
    g.raft(1).propose(now, proposal(&["node 2 lacks this"])).unwrap();
    g.settle();
    let now = g.now(1);
    g.raft(1).transfer(now, Some(node(2))).unwrap();
    g.settle();
    assert!(!g.serves(1), "while it may happen any moment");
    for _ in 0..20 {
        g.beat(1);
        g.settle();
    }
    assert!(g.serves(1), "given up, and nobody was told to campaign");
}

/// An answer that was long on its way says nothing about now.
#[test]
fn h28_a_lease_counts_from_when_the_heartbeat_was_sent() {
    let config = leased().build().unwrap();
    let mut g = Leased::led(&config, Drift::SLEWED, [0; 3]);
    g.cut.insert(2);
    g.beat(1);
    let sent_at = g.now(1);
    let (_, _, beat) = g.catch(|m| matches!(m.body, Body::Heartbeat { .. }));
    g.flights.clear();
    g.deliver(1, 3, beat);
    let (_, _, answer) = g.catch(|m| matches!(m.body, Body::HeartbeatResp { .. }));
    g.at += T * 85 / 100;
    g.deliver(3, 1, answer);
    let counted = Drift::SLEWED.shrink(T) - SLACK - READING;
    assert_eq!(g.raft(1).lease_until(), Some(sent_at.saturating_add(counted)));
    // Node 3 keeps its promise from when the heartbeat came, and not longer.
    g.flights.clear();
    g.cut = BTreeSet::from([1]);
    assert!(g.second_elects_itself(T), "nobody hears of node 1");
    assert!(!g.serves(1), "by then its lease has ended");
}

/// A heartbeat this leader never sent, or will send only later.
#[test]
fn h28_an_answer_to_a_stamp_of_the_future_counts_nothing() {
    let mut g = Leased::led(&leased().build().unwrap(), Drift::NONE, [0; 3]);
    let until = g.raft(1).lease_until();
    let stamp = g.now(1).saturating_add(T);
    let term = g.raft(1).progress().term.value();
    let promise = T * 100;
    g.deliver(3, 1, message(term, Body::HeartbeatResp { read: 0, stamp, promise }));
    assert_eq!(g.raft(1).lease_until(), until);
}

#[test]
fn h29_a_restart_keeps_the_promise_of_the_life_before() {
    let config = leased().build().unwrap();
    let (mut v, now) = voter(&config, HardState::default(), T * 100);
    assert_eq!(v.disk.promise, T, "written before it is given");
    let now = now.saturating_add(T);
    assert_eq!(v.promise(now, 1), T);
    // It dies at once and is back at once, on the same disk; the other node had no term with it.
    for (pre, term) in [(false, 2), (true, 2), (false, 1)] {
        let (mut v, back) = voter(&config, v.disk, T * 101);
        let ask = || if pre { pre_vote(term) } else { vote(term, false) };
        for early in [Duration::ZERO, T, kept(T) - READING] {
            let now = back.saturating_add(early);
            assert_ne!(v.take(now, 2, ask()).0, Some(true), "{early:?} after the start");
        }
        assert_eq!(v.take(back.saturating_add(kept(T)), 2, ask()).0, Some(true));
    }
    // A vote that the leader itself asked for is granted in spite of it.
    let (mut v, back) = voter(&config, v.disk, T * 101);
    assert_eq!(v.take(back, 2, vote(2, true)).0, Some(true));
}

/// A disk that has not got it yet could forget it.
#[test]
fn h29_a_promise_is_stated_only_once_it_is_durable() {
    let config = leased().build().unwrap();
    let mut raft = Raft::new(config, boot(3, &[1, 2, 3], 0, &[]), shown(T * 100, 0), 3).unwrap();
    let now = shown(T * 102, 0);
    let mut out = Output::default();
    raft.drain(&mut out);
    let append = out.append.take().unwrap();
    assert!(append.sync && append.hard.is_some_and(|h| h.promise == T));
    let mut stated = |raft: &mut Raft| {
        let stamp = Monotonic::from_nanos(7);
        let beat = Body::Heartbeat { commit: index(0), read: 0, stamp };
        raft.handle_message(now, node(1), message(1, beat)).unwrap();
        raft.drain(&mut out);
        match out.send[0].message.body {
            Body::HeartbeatResp { promise, .. } => promise,
            ref other => panic!("{other:?}"),
        }
    };
    assert_eq!(stated(&mut raft), Duration::ZERO);
    assert_eq!(raft.forget_leader(), Ok(()), "and it does not bind");
    raft.appended(now, append.token.unwrap());
    assert_eq!(stated(&mut raft), T);
    assert!(matches!(raft.forget_leader(), Err(ForgetError::Promise { .. })));
}

/// A node that promised not to elect another must not elect itself either.
#[test]
fn h44_the_own_candidacy_keeps_the_promise() {
    let config = leased().build().unwrap();
    let (mut v, now) = voter(&config, HardState::default(), T * 100);
    let now = now.saturating_add(T * 3);
    assert_eq!(v.promise(now, 1), T);
    let until = now.saturating_add(kept(T));
    let early = now.saturating_add(T);
    assert_eq!(v.raft.campaign(early), Err(CampaignError::Promise { until }));
    assert_eq!(v.raft.forget_leader(), Err(ForgetError::Promise { until }));
    // Its timer does not fire before, however it is set.
    v.raft.set_randomized_timeout(T / 2);
    assert_eq!(v.raft.poll_timeout(), Some(until));
    v.raft.handle_timeout(early);
    assert_eq!((v.raft.role(), v.raft.leader()), (Role::Follower, Some(node(1))));
    assert!(v.turn(early).is_empty());
    v.raft.handle_timeout(until);
    assert_eq!(v.raft.role(), Role::PreCandidate);
    // The leader may ask for it at any time.
    let (mut v, now) = voter(&config, HardState::default(), T * 100);
    v.promise(now, 1);
    v.take(now, 1, message(1, Body::TimeoutNow));
    assert_eq!(v.raft.role(), Role::Candidate);
}

/// What was promised for ten seconds binds for ten seconds, whatever is configured now.
#[test]
fn h45_a_shorter_configuration_does_not_shorten_the_promise() {
    let long = T * 10;
    let disk = stored(long);
    for config in [leased().build().unwrap(), draft().build().unwrap()] {
        let (mut v, back) = voter(&config, disk, T * 100);
        let early = back.saturating_add(kept(long) - READING);
        assert_ne!(v.take(early, 2, vote(1, false)).0, Some(true));
        assert!(matches!(v.raft.campaign(early), Err(CampaignError::Promise { .. })));
        assert_eq!(v.disk.promise, long, "the next start must know of it");
        let late = back.saturating_add(kept(long));
        assert_eq!(v.take(late, 2, vote(2, false)).0, Some(true));
        let now_promised = if config == draft().build().unwrap() { Duration::ZERO } else { T };
        assert_eq!(v.disk.promise, now_promised, "nothing longer binds any more");
    }
    // A longer one is on the disk before it is stated.
    let longer = leased().election_timeout(T * 2).build().unwrap();
    let (mut v, now) = voter(&longer, stored(T), T * 100);
    assert_eq!(v.disk.promise, T * 2);
    assert_eq!(v.promise(now, 1), T * 2);
}

fn stored(promise: Duration) -> HardState {
    let mut hard = HardState::default();
    hard.promise = promise;
    hard
}

/// A new term whose leader is unknown makes a voter forget its leader, not what it promised it.
#[test]
fn h62_a_new_term_without_a_leader_does_not_end_the_promise() {
    let config = leased().build().unwrap();
    let (mut v, now) = voter(&config, HardState::default(), T * 100);
    let now = now.saturating_add(T * 3);
    assert_eq!(v.promise(now, 1), T);
    // Somebody's refusal teaches a higher term.
    let refusal = Body::PreVoteResp { granted: false, commit: Default::default() };
    v.take(now, 2, message(5, refusal));
    assert_eq!((v.raft.leader(), v.raft.progress().term), (None, Term::new(5)));
    let until = now.saturating_add(kept(T));
    let early = until.saturating_sub(Duration::from_nanos(1));
    for (ask, when, granted) in [
        (pre_vote(6), early, None),
        (vote(5, false), early, Some(false)),
        (vote(6, false), early, None),
    ] {
        assert_eq!(v.take(when, 2, ask).0, granted, "promised to node 1");
    }
    assert!(matches!(v.raft.campaign(early), Err(CampaignError::Promise { .. })));
    assert_eq!(v.take(until, 2, vote(6, false)).0, Some(true));
}

/// Clocks that are slewed as far as time daemons may: the leader's is slow, the voters' are fast.
#[test]
fn h63_a_lease_holds_between_clocks_slewed_as_far_as_they_may() {
    let config = leased().lease_slack(Duration::ZERO).build().unwrap();
    let most = i64::from(Drift::SLEWED.as_ppm());
    for ppm in [[-most, most, most], [most, -most, -most], [0, most, -most]] {
        let mut g = Leased::led(&config, Drift::SLEWED, ppm);
        g.cut.insert(1);
        assert!(g.second_elects_itself(T * 3), "with rates {ppm:?}");
        assert!(!g.serves(1), "two leaders, and the first would answer reads, with rates {ppm:?}");
    }
    // Nobody who does not say otherwise is taken for better.
    let fresh = Boot::fresh(node(1), GROUP, Membership::of_voters(&nodes(&[1])));
    assert_eq!(fresh.drift, Drift::SLEWED);
}

/// The leader asks for an election, and the answer of a voter is lost: asked again, no longer by
/// force, it says what it said.
#[test]
fn h62_a_vote_that_was_given_by_force_is_given_again_without() {
    let mut start = boot(3, &[1, 2, 3], 0, &[]);
    start.drift = Drift::SLEWED;
    let mut now = Monotonic::ZERO.saturating_add(T * 100);
    let config = draft().lease(true).build().unwrap();
    let mut raft = Raft::new(config, start, now, 3).unwrap();
    answers(&mut raft, now);
    now = now.saturating_add(T * 2);
    let beat = Body::Heartbeat { commit: index(0), read: 0, stamp: Monotonic::from_nanos(7) };
    raft.handle_message(now, node(1), message(1, beat)).unwrap();
    let promised = |body: &Body| match body {
        Body::HeartbeatResp { promise, .. } => !promise.is_zero(),
        _ => false,
    };
    assert!(answers(&mut raft, now).iter().any(promised), "it is bound to node 1");
    let ask = |to: &mut Raft, from: u64, force: bool| {
        let mut ballot = Ballot::default();
        ballot.last = LogId::new(1, 9);
        ballot.force = force;
        to.handle_message(now, node(from), message(2, Body::Vote(ballot))).unwrap();
        answers(to, now)
    };
    let granted = |bodies: &[Body]| matches!(bodies, [Body::VoteResp { granted: true, .. }]);
    assert!(granted(&ask(&mut raft, 2, true)));
    assert!(granted(&ask(&mut raft, 2, false)), "the same vote, another answer");
    assert!(!granted(&ask(&mut raft, 1, true)), "nobody else gets it");
}

/// What it says, now that its writes are durable.
fn answers(raft: &mut Raft, now: Monotonic) -> Vec<Body> {
    let (mut out, mut said) = (Output::default(), Vec::new());
    while raft.has_output() {
        raft.drain(&mut out);
        said.extend(out.send.drain(..).map(|e| e.message.body));
        let Some(append) = out.append.take() else { continue };
        said.extend(append.gated.into_iter().map(|e| e.message.body));
        if let Some(token) = append.token {
            raft.appended(now, token);
        }
    }
    said
}
