//! Hazards of elections, of leadership transfer and of timers.

use crate::group::{Flight, Group, T, block, boot, draft, heartbeat, index, message, node, nodes};
use quorate_raft::{Ballot, Body, CampaignError, LogId, Membership, Message, Role, TransferError};
use std::time::Duration;

fn ballot(last: LogId) -> Ballot {
    let mut ballot = Ballot::default();
    ballot.last = last;
    ballot
}

/// The newest answer to a vote request that `voter` gave to `to`: granted, and in which term.
fn answer(g: &mut Group, voter: u64, to: u64) -> Option<(bool, u64)> {
    let answered = |m: &Message| match m.body {
        Body::VoteResp { granted, .. } | Body::PreVoteResp { granted, .. } => {
            Some((granted, m.term.value()))
        }
        _ => None,
    };
    g.take(voter, to).iter().filter_map(answered).next_back()
}

#[test]
fn h10_votes_compare_the_last_term_before_the_last_index() {
    let log = [block(1, LogId::ZERO, &["a", "b"]), block(2, LogId::new(1, 2), &["c"])];
    let cases = [
        (LogId::new(1, 9), false),
        (LogId::new(2, 2), false),
        (LogId::new(2, 3), true),
        (LogId::new(3, 1), true),
    ];
    for (last, expected) in cases {
        for pre in [false, true] {
            let start = boot(1, &[1, 2, 3], 2, &log);
            let mut g = Group::with(&draft().build().unwrap(), vec![start]);
            let body = if pre { Body::PreVote(ballot(last)) } else { Body::Vote(ballot(last)) };
            g.hand(2, 1, message(4, body)).unwrap();
            assert_eq!(answer(&mut g, 1, 2).unwrap().0, expected, "{last} against 2/3");
        }
    }
}

#[test]
fn h11_a_vote_leaves_only_once_it_is_durable_and_outlives_a_demotion() {
    let mut g = Group::new(&[1, 2, 3]);
    g.stalled.insert(1);
    g.hand(2, 1, message(1, Body::Vote(ballot(LogId::ZERO)))).unwrap();
    assert_eq!(answer(&mut g, 1, 2), None, "the disk has not got it");
    let hard = g.at(1).unsynced[0].hard.unwrap();
    assert_eq!((hard.term.value(), hard.vote), (1, Some(node(2))));
    assert!(g.at(1).unsynced[0].sync);
    g.sync(1);
    assert_eq!(answer(&mut g, 1, 2), Some((true, 1)));
    // It follows node 2 in term 1, then loses it: the vote of this term is still given.
    g.stalled.clear();
    g.hand(2, 1, message(1, heartbeat(0, 0))).unwrap();
    g.raft(1).forget_leader().unwrap();
    g.hand(3, 1, message(1, Body::Vote(ballot(LogId::new(9, 9))))).unwrap();
    assert_eq!(answer(&mut g, 1, 3), Some((false, 1)));
}

/// Elected by the others while its own disk has neither term nor vote, it could crash, be elected
/// again in the same term by the same voters, and put another entry where its first life had sent
/// one.
#[test]
fn h11_a_candidate_leads_only_once_its_own_vote_is_durable() {
    let mut g = Group::new(&[1, 2, 3]);
    let now = g.now;
    g.raft(1).campaign(now).unwrap();
    g.drain(1);
    g.stalled.insert(1);
    g.settle();
    assert_eq!((g.role(1), g.term(1)), (Role::Candidate, 1), "both others have voted");
    let appends = |f: &Flight| matches!(f.message.body, Body::Append { .. });
    assert!(!g.flights.iter().any(appends));
    g.stalled.clear();
    g.sync(1);
    g.settle();
    assert_eq!((g.role(1), g.commit(3)), (Role::Leader, 1));
}

#[test]
fn h13_a_rejoining_node_deposes_nobody() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.isolate(3, &[1, 2]);
    g.pass(T * 10);
    assert_eq!((g.role(3), g.term(3)), (Role::PreCandidate, 1), "it asks and raises no term");
    g.cut.clear();
    g.pass(T * 5);
    assert_eq!((g.leaders(), g.term(1), g.role(3)), (vec![1], 1, Role::Follower));
}

/// A candidate with the better log and an older term would ask in vain for ever if refusals did not
/// tell it the term.
#[test]
fn h13_refused_pre_votes_teach_the_term() {
    let log = [block(1, LogId::ZERO, &["a", "b"])];
    let short = [block(1, LogId::ZERO, &["a"])];
    let ids = [1, 2, 3];
    let boots = vec![boot(1, &ids, 1, &log), boot(2, &ids, 5, &short), boot(3, &ids, 5, &short)];
    let mut g = Group::with(&draft().build().unwrap(), boots);
    let now = g.now;
    g.raft(1).campaign(now).unwrap();
    g.settle();
    assert_eq!((g.role(1), g.term(1)), (Role::Follower, 5));
    g.elect(1);
    assert_eq!(g.term(1), 6);
}

#[test]
fn h14_late_votes_start_no_second_campaign() {
    let mut g = Group::new(&[1, 2, 3, 4, 5]);
    let now = g.now;
    g.raft(1).campaign(now).unwrap();
    g.drain(1);
    let granted = |pre| {
        let commit = LogId::ZERO;
        let body = if pre {
            Body::PreVoteResp { granted: true, commit }
        } else {
            Body::VoteResp { granted: true, commit }
        };
        message(1, body)
    };
    for from in [2, 3, 4, 5] {
        g.hand(from, 1, granted(true)).unwrap();
    }
    assert_eq!((g.role(1), g.term(1)), (Role::Candidate, 1));
    for from in [2, 3, 4, 5] {
        g.hand(from, 1, granted(false)).unwrap();
        g.hand(from, 1, granted(true)).unwrap();
    }
    assert_eq!((g.role(1), g.term(1), g.last(1)), (Role::Leader, 1, LogId::new(1, 1)));
}

/// A lost question, of the pre-vote or of the vote, costs a heartbeat interval, not an election
/// timeout; who answered is not asked again, and another candidacy is not begun.
#[test]
fn h14_a_candidate_asks_again_whoever_did_not_answer() {
    for lost in [Role::PreCandidate, Role::Candidate] {
        let mut g = Group::new(&[1, 2, 3]);
        let now = g.now;
        g.raft(1).campaign(now).unwrap();
        g.drain(1);
        if lost == Role::Candidate {
            let granted = Body::PreVoteResp { granted: true, commit: LogId::ZERO };
            g.hand(2, 1, message(1, granted)).unwrap();
        }
        assert_eq!(g.role(1), lost);
        g.flights.clear();
        g.pass(T / 20);
        assert_eq!((g.role(1), g.flights.len()), (lost, 0), "not before an interval has passed");
        g.pass(T / 10);
        assert_eq!((g.role(1), g.term(1)), (Role::Leader, 1));
    }
    // Asked for by force it asks again, too, but not by force.
    let mut g = Group::new(&[1, 2, 3]);
    g.hand(2, 1, message(0, heartbeat(0, 0))).unwrap();
    g.hand(2, 1, message(0, Body::TimeoutNow)).unwrap();
    assert_eq!(g.role(1), Role::Candidate);
    let forced = |g: &mut Group| {
        let asked = |m: &Message| match m.body {
            Body::Vote(ballot) => Some(ballot.force),
            _ => None,
        };
        [2, 3].map(|to| g.take(1, to).iter().filter_map(asked).next_back())
    };
    assert_eq!(forced(&mut g), [Some(true); 2]);
    g.hand(2, 1, message(1, Body::VoteResp { granted: false, commit: LogId::ZERO })).unwrap();
    g.isolate(1, &[]);
    let next = g.raft(1).poll_timeout().unwrap();
    g.raft(1).handle_timeout(next);
    g.drain(1);
    assert_eq!(forced(&mut g), [None, Some(false)]);
}

#[test]
fn h15_a_grant_puts_the_own_candidacy_off_and_learners_vote_when_asked() {
    let mut g = Group::new(&[1, 2, 3]);
    g.now = g.now.saturating_add(T * 3); // its own timeout passed long ago, unnoticed
    g.hand(2, 1, message(1, Body::Vote(ballot(LogId::ZERO)))).unwrap();
    let (now, next) = (g.now, g.raft(1).poll_timeout().unwrap());
    assert!(next.since(now) >= T, "{next:?} is too soon after {now:?}");

    let mut learner = boot(4, &[1, 2, 3], 0, &[]);
    learner.membership = Membership::of_voters(&nodes(&[1, 2, 3])).with_learners(&nodes(&[4]));
    let mut g = Group::with(&draft().build().unwrap(), vec![learner]);
    // Its own membership may be the older one: it must not withhold its vote.
    g.hand(2, 4, message(1, Body::Vote(ballot(LogId::ZERO)))).unwrap();
    assert_eq!(answer(&mut g, 4, 2), Some((true, 1)));
    let now = g.now;
    assert_eq!(g.raft(4).campaign(now), Err(CampaignError::NotVoter));
    assert_eq!(g.raft(4).poll_timeout(), None, "and never campaigns by itself");
}

/// A leader whose messages arrive and who hears nothing would lead for ever and commit nothing.
#[test]
fn h16_a_leader_that_hears_no_quorum_makes_room() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.cut.extend([(2, 1), (3, 1)]);
    g.pass(T * 6);
    let leaders = g.leaders();
    assert!(leaders.len() == 1 && leaders[0] != 1, "{leaders:?}");
    let leader = leaders[0];
    let before = g.commit(leader);
    g.propose(leader, "a").unwrap();
    g.settle();
    assert_eq!(g.commit(leader), before + 1);
}

/// One link is down, the rest works: no endless elections.
#[test]
fn h16_one_broken_link_moves_leadership_at_most_once() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.cut.extend([(1, 3), (3, 1)]);
    g.pass(T * 5);
    let (settled, term) = (g.leaders(), g.leaders().iter().map(|l| g.term(*l)).max());
    assert_eq!(settled.len(), 1);
    g.pass(T * 20);
    assert_eq!((g.leaders(), g.leaders().iter().map(|l| g.term(*l)).max()), (settled, term));
}

#[test]
fn h19_votes_spread_what_is_committed() {
    let log = [block(1, LogId::ZERO, &["a", "b"])];
    let ids = [1, 2, 3];
    let mut knows = boot(2, &ids, 1, &log);
    knows.hard.commit = index(2);
    let mut g = Group::with(&draft().build().unwrap(), vec![boot(1, &ids, 1, &log), knows]);
    let now = g.now;
    g.raft(1).campaign(now).unwrap();
    g.drain(1);
    assert_eq!(g.commit(1), 0);
    g.flights.retain(|f| f.to == 2);
    assert!(g.deliver_one() && g.deliver_one(), "the request, the answer");
    assert_eq!((g.commit(1), g.role(1)), (2, Role::Candidate), "the answer told it");
    // And the request tells the voter, but only of entries that it holds.
    let mut told = ballot(LogId::new(3, 9));
    told.commit = LogId::new(2, 2);
    g.hand(3, 2, message(7, Body::PreVote(told))).unwrap();
    assert_eq!(g.commit(2), 2);
}

#[test]
fn h24_leadership_moves_only_to_a_log_that_has_caught_up() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.isolate(3, &[1, 2]);
    g.propose(1, "a").unwrap();
    g.settle();
    let now = g.now;
    g.raft(1).transfer(now, Some(node(3))).unwrap();
    g.drain(1);
    let asked = |ms: &[Message]| ms.iter().any(|m| matches!(m.body, Body::TimeoutNow));
    assert!(!asked(&g.take(1, 3)));
    let refused = g.propose(1, "b");
    assert!(refused.is_err(), "proposals would keep the target from catching up");
    g.cut.clear();
    g.pass(T / 5);
    g.settle();
    assert_eq!((g.leaders(), g.last(3)), (vec![3], LogId::new(2, 3)));
    let now = g.now;
    assert_eq!(g.raft(1).transfer(now, None), Err(TransferError::NotLeader));
}

/// A transfer to a dead node ends by itself.
#[test]
fn h24_a_transfer_is_given_up_after_an_election_timeout() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.isolate(3, &[1, 2]);
    let now = g.now;
    g.raft(1).transfer(now, Some(node(3))).unwrap();
    g.pass(T + T / 5);
    g.propose(1, "a").unwrap();
    g.settle();
    assert_eq!((g.leaders(), g.commit(1)), (vec![1], 2));
}

/// Heartbeats never wait for the leader's own disk, and a quorum of other disks commits without it.
#[test]
fn h38_a_leader_with_a_stalled_disk_goes_on_leading() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.stalled.insert(1);
    g.propose(1, "a").unwrap();
    g.settle();
    g.pass(T * 5);
    assert_eq!((g.leaders(), g.term(2)), (vec![1], 1));
    assert_eq!((g.commit(1), g.commit(2)), (2, 2));
    assert_eq!(g.at(1).applied.len(), 1, "its own machine waits for its own disk");
    assert_eq!(g.at(2).applied.len(), 2);
}

#[test]
fn h39_a_late_wake_up_does_not_shift_the_timers() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.flights.clear();
    g.pass_at(1, T / 2); // five heartbeats late
    let beats =
        |ms: Vec<Message>| ms.iter().filter(|m| matches!(m.body, Body::Heartbeat { .. })).count();
    assert_eq!(beats(g.take(1, 2)), 1, "one, not one for each that was missed");
    let (now, next) = (g.now, g.raft(1).poll_timeout().unwrap());
    assert_eq!(next.since(now), T / 10);
    // Calling it early does nothing.
    g.pass_at(1, Duration::from_millis(1));
    assert_eq!(beats(g.take(1, 2)), 0);
}
