//! Hazards of membership changes.

use super::win;
use crate::group::{Group, T, boot, draft, index, message, node, nodes};
use quorate_raft::{
    Body, BootError, CampaignError, ConfChange, ConfError, ConfInvalid, ConfOp, Config, LogId,
    Membership, ProgressState, Raft, Role, Transition,
};

const fn voter(id: u64) -> ConfOp {
    ConfOp::Voter(node(id), None)
}

const fn learner(id: u64) -> ConfOp {
    ConfOp::Learner(node(id), None)
}

const fn removal(id: u64) -> ConfOp {
    ConfOp::Remove(node(id))
}

fn one(op: ConfOp) -> ConfChange {
    ConfChange::new(vec![op])
}

/// Node 4 leaves and node 5 comes, through a joint phase.
fn replacement(transition: Transition) -> ConfChange {
    ConfChange::new(vec![voter(5), removal(4)]).transition(transition)
}

/// A group of these voters; `blank` nodes exist and know nobody.
fn group(config: &Config, voters: &[u64], blank: &[u64]) -> Group {
    let founders = voters.iter().map(|id| boot(*id, voters, 0, &[]));
    let others = blank.iter().map(|id| boot(*id, &[], 0, &[]));
    let mut group = Group::with(config, founders.chain(others).collect());
    group.makes_snapshots = true;
    group
}

fn usual(voters: &[u64], blank: &[u64]) -> Group {
    group(&draft().build().unwrap(), voters, blank)
}

/// The interleaving of raft-dev, 2015: a change that one leader appended and no majority holds, a
/// change of its successor, and the return of the first.
#[test]
fn h17_a_change_of_a_deposed_leader_meets_one_of_its_successor() {
    let mut g = usual(&[1, 2, 3, 4], &[5]);
    g.elect(1);
    // Node 1 adds node 5; nobody else hears of it.
    let added = g.change(1, &one(voter(5))).unwrap();
    g.flights.clear();
    g.isolate(1, &[2, 3, 4, 5]);
    g.pass(T * 4);
    let [leader] = g.leaders()[..] else { panic!("{:?}", g.leaders()) };
    assert_ne!(leader, 1);
    // Its successor removes node 1, which three of four decide.
    g.change(leader, &one(removal(1))).unwrap();
    g.settle();
    assert_eq!(g.voters(leader).0, [2, 3, 4]);
    assert_eq!(g.voters(1).0, [1, 2, 3, 4], "the change of node 1 is not in force, even there");
    // Node 1 comes back, with node 5 on its side, and cannot win: it needs a majority of the
    // membership from before its change.
    g.cut.clear();
    for id in [2, 3, 4] {
        let _ = g.raft(id).forget_leader();
    }
    let now = g.now;
    g.raft(1).campaign(now).unwrap();
    g.settle();
    assert_ne!(g.role(1), Role::Leader);
    let entry = LogId::new(1, added);
    for id in [2, 3, 4] {
        assert_ne!(g.members[&id].raft.term_of(entry.index), Some(entry.term), "node {id}");
    }
}

#[test]
fn h18_of_two_changes_the_second_waits_until_the_first_is_applied() {
    let mut g = usual(&[1, 2, 3], &[4, 5]);
    g.elect(1);
    let first = g.change(1, &one(voter(4))).unwrap();
    let refused = g.change(1, &one(voter(5)));
    assert_eq!(refused, Err(ConfError::Pending { index: index(first) }));
    g.settle();
    assert_eq!(g.voters(1).0, [1, 2, 3, 4]);
    g.change(1, &one(voter(5))).unwrap();
    g.settle();
    assert_eq!(g.voters(3).0, [1, 2, 3, 4, 5]);
}

/// A leader inherits a change that it cannot know to be committed.
#[test]
fn h18_a_new_leader_changes_nothing_before_its_log_is_applied() {
    let mut g = usual(&[1, 2, 3], &[4]);
    g.elect(1);
    let first = g.change(1, &one(voter(4))).unwrap();
    // Node 2 holds it, and nobody knows that it is committed.
    let append = g.take(1, 2).pop().unwrap();
    g.hand(1, 2, append).unwrap();
    g.flights.clear();
    g.isolate(1, &[2, 3, 4]);
    let now = g.now;
    for id in [2, 3] {
        assert_eq!(g.raft(id).forget_leader(), Ok(()));
    }
    g.raft(2).campaign(now).unwrap();
    g.drain(2);
    while g.role(2) != Role::Leader {
        assert!(g.deliver_one(), "the election is lost");
    }
    let refused = g.change(2, &one(removal(1)));
    assert_eq!(refused, Err(ConfError::Pending { index: index(first) }));
    g.settle();
    assert_eq!(g.voters(2).0, [1, 2, 3, 4], "the inherited change came into force");
    g.change(2, &one(removal(1))).unwrap();
    g.pass(T / 5);
    assert_eq!(g.voters(4).0, [2, 3, 4]);
}

/// Who campaigns in a membership that a committed change has replaced might win with a majority
/// that no longer is one.
#[test]
fn h19_no_campaign_over_a_committed_change_that_is_not_applied() {
    let mut g = usual(&[1, 2, 3], &[4]);
    g.elect(1);
    g.change(1, &one(voter(4))).unwrap();
    g.settle();
    let blocks = g.members[&2].written.clone();
    let restart = |hand: usize| {
        let mut boot = boot(2, &[1, 2, 3], 1, &blocks);
        boot.hard.commit = boot.last.index;
        boot.blocks.drain(..boot.blocks.len() - hand);
        Group::with(&draft().build().unwrap(), vec![boot])
    };
    // The change is among the blocks at hand, or it is not: it may be among the others.
    for hand in [blocks.len(), 0] {
        let mut again = restart(hand);
        let now = again.now;
        assert_eq!(again.raft(2).campaign(now), Err(CampaignError::PendingConf), "{hand} blocks");
    }
    // Once it is applied there is nothing in the way.
    let mut again = restart(blocks.len());
    again.drain(2);
    assert_eq!(again.voters(2).0, [1, 2, 3, 4]);
    let now = again.now;
    again.raft(2).campaign(now).unwrap();
}

/// Whoever holds a change knows the one before it to be committed, also after a crash: both reach
/// the disk in the same write as the commit index.
#[test]
fn h19_the_commit_of_a_change_is_durable_before_the_next_change() {
    let mut g = usual(&[1, 2, 3], &[4, 5]);
    g.isolate(3, &[1, 2, 4, 5]);
    g.elect(1);
    let first = g.change(1, &one(learner(4))).unwrap();
    g.settle();
    let second = g.change(1, &one(learner(5))).unwrap();
    g.settle();
    g.cut.clear();
    g.stalled.insert(3);
    // Node 3 gets both at once.
    g.pass(T / 5);
    let holds = |append: &quorate_raft::Append, at: u64| {
        append.blocks.iter().any(|b| b.first().value() <= at && at <= b.last().index.value())
    };
    let writes = &g.members[&3].unsynced;
    let at = writes.iter().position(|w| holds(w, second)).expect("the second change is written");
    let committed = writes.iter().take(at + 1).filter_map(|w| w.hard).map(|h| h.commit.value());
    assert!(committed.max().unwrap() >= first);
}

#[test]
fn h20_a_joint_phase_is_left_only_once_it_is_in_force_and_only_once() {
    let mut g = usual(&[1, 2, 3, 4], &[5]);
    g.elect(1);
    let enter = g.change(1, &replacement(Transition::JointAuto)).unwrap();
    assert_eq!(g.last(1).index, index(enter), "not left before it was entered");
    let between = g.propose(1, "x").unwrap().index.value();
    // Committed by a majority of the old voters; from now on two majorities decide.
    for from in [2, 3] {
        g.hand(from, 1, message(1, Body::Accepted { index: index(enter) })).unwrap();
    }
    assert_eq!(g.voters(1), (vec![1, 2, 3, 5], vec![1, 2, 3, 4]));
    let leave = between + 1;
    assert_eq!(g.last(1).index, index(leave), "the leader ends it by itself");
    // Another entry is applied meanwhile: it is not asked for again.
    g.flights.clear();
    for (from, acked) in [(2, between), (3, between)] {
        g.hand(from, 1, message(1, Body::Accepted { index: index(acked) })).unwrap();
    }
    assert_eq!(g.last(1).index, index(leave));
    let another = g.propose(1, "x").unwrap();
    for (from, acked) in [(2, leave), (3, leave)] {
        g.hand(from, 1, message(1, Body::Accepted { index: index(acked) })).unwrap();
    }
    assert_eq!(g.last(1), another);
    assert_eq!(g.voters(1), (vec![1, 2, 3, 5], vec![]));
    // And nobody may leave what is not joint.
    assert_eq!(g.change(1, &ConfChange::leave()), Err(ConfError::NotJoint));
}

/// The leader that began the joint phase is gone: the next one ends it.
#[test]
fn h20_the_next_leader_ends_the_joint_phase() {
    let mut g = usual(&[1, 2, 3, 4], &[5]);
    g.elect(1);
    let enter = g.change(1, &replacement(Transition::JointAuto)).unwrap();
    // All hold the entry and its commit; what node 1 says afterwards is lost.
    while g.commit(2) < enter || g.commit(3) < enter {
        assert!(g.deliver_one(), "it is not committed");
    }
    g.flights.clear();
    g.isolate(1, &[2, 3, 4, 5]);
    g.pass(T * 5);
    let [leader] = g.leaders()[..] else { panic!("{:?}", g.leaders()) };
    assert_ne!(leader, 1);
    assert_eq!(g.voters(leader), (vec![1, 2, 3, 5], vec![]));
}

/// In a joint phase an entry needs a majority of each half.
#[test]
fn h21_one_majority_is_not_enough_in_a_joint_phase() {
    let mut g = usual(&[1, 2, 3], &[4, 5]);
    g.elect(1);
    let ops = vec![voter(4), voter(5), removal(2), removal(3)];
    g.change(1, &ConfChange::new(ops).transition(Transition::JointExplicit)).unwrap();
    g.settle();
    assert_eq!(g.voters(1), (vec![1, 4, 5], vec![1, 2, 3]));
    g.flights.clear();
    let entry = g.propose(1, "x").unwrap();
    let before = g.commit(1);
    for from in [4, 5] {
        g.hand(from, 1, message(1, Body::Accepted { index: entry.index })).unwrap();
    }
    assert_eq!(g.commit(1), before, "all of the incoming half, and only node 1 of the outgoing");
    g.hand(2, 1, message(1, Body::Accepted { index: entry.index })).unwrap();
    assert_eq!(g.commit(1), entry.index.value());
}

/// A voter that a joint change removes is fed until the joint phase ends, and then learns that it
/// is removed.
#[test]
fn h22_a_removed_node_is_fed_as_long_as_it_votes_and_told_at_the_end() {
    let mut g = usual(&[1, 2, 3, 4], &[5]);
    g.elect(1);
    g.change(1, &replacement(Transition::JointExplicit)).unwrap();
    g.settle();
    let entry = g.propose(1, "x").unwrap();
    g.settle();
    assert_eq!(g.last(4), entry, "it votes in the outgoing half");
    g.change(1, &ConfChange::leave()).unwrap();
    g.settle();
    assert_eq!(g.voters(4).0, [1, 2, 3, 5], "node 4 knows that it is gone");
    g.isolate(4, &[1, 2, 3, 5]);
    g.pass(T * 4);
    assert_eq!((g.role(4), g.term(4)), (Role::Follower, 1), "and campaigns no more");
    assert_eq!(g.raft(4).poll_timeout(), None);
}

#[test]
fn h22_a_removed_or_demoted_leader_steps_down() {
    for op in [removal(1), learner(1)] {
        let mut g = usual(&[1, 2, 3], &[]);
        g.elect(1);
        g.change(1, &one(op)).unwrap();
        g.settle();
        assert_eq!((g.role(1), g.voters(1).0), (Role::Follower, vec![2, 3]), "{op:?}");
        g.pass(T * 4);
        let [leader] = g.leaders()[..] else { panic!("{:?}", g.leaders()) };
        g.propose(leader, "x").unwrap();
        g.settle();
        assert_eq!(g.commit(2), g.commit(3));
    }
}

/// Told to lead on, it still does not count itself.
#[test]
fn h22_a_removed_leader_is_not_part_of_the_majority() {
    let config = draft().step_down_on_removal(false).build().unwrap();
    let mut g = group(&config, &[1, 2, 3], &[]);
    g.elect(1);
    g.change(1, &one(removal(1))).unwrap();
    let after = g.propose(1, "x").unwrap();
    let change = after.index.value() - 1;
    g.flights.clear();
    g.hand(2, 1, message(1, Body::Accepted { index: index(change) })).unwrap();
    assert_eq!((g.commit(1), g.voters(1).0), (change, vec![2, 3]));
    g.hand(2, 1, message(1, Body::Accepted { index: after.index })).unwrap();
    assert_eq!(g.commit(1), change, "one of two voters has it");
    g.hand(3, 1, message(1, Body::Accepted { index: after.index })).unwrap();
    assert_eq!(g.commit(1), after.index.value());
}

/// A node that is asked to take over while a committed change is not applied there declines; the
/// transfer ends after an election timeout.
#[test]
fn h24_leadership_is_not_taken_over_before_a_committed_change_is_applied() {
    let mut g = usual(&[1, 2, 3], &[4]);
    g.elect(1);
    g.stalled.insert(2); // its log, and so its application, stands still
    g.change(1, &one(voter(4))).unwrap();
    g.settle();
    assert_eq!(g.voters(1).0, [1, 2, 3, 4]);
    assert_eq!(g.voters(2).0, [1, 2, 3]);
    let term = g.term(2);
    assert!(g.commit(2) >= g.commit(1) - 1);
    g.hand(1, 2, message(term, Body::TimeoutNow)).unwrap();
    assert_eq!((g.role(2), g.term(2)), (Role::Follower, term));
    g.stalled.clear();
    g.sync(2);
    g.settle();
    g.hand(1, 2, message(term, Body::TimeoutNow)).unwrap();
    assert_ne!(g.role(2), Role::Follower);
}

#[test]
fn h24_a_transfer_to_a_node_that_is_removed_or_demoted_is_aborted() {
    for op in [removal(3), learner(3)] {
        let mut g = usual(&[1, 2, 3], &[]);
        g.elect(1);
        g.isolate(3, &[1, 2]);
        g.change(1, &one(op)).unwrap();
        let now = g.now;
        g.raft(1).transfer(now, Some(node(3))).unwrap();
        assert!(g.propose(1, "x").is_err(), "refused while it moves");
        g.settle();
        assert_eq!(g.voters(1).0, [1, 2]);
        g.propose(1, "x").unwrap();
    }
}

/// A change that is refused is an error and leaves no trace.
#[test]
fn h54_a_refused_change_does_not_look_accepted() {
    let mut g = usual(&[1, 2, 3], &[4]);
    let not_leader = ConfError::NotLeader { leader: None };
    assert_eq!(g.change(1, &one(voter(4))), Err(not_leader));
    g.elect(1);
    let last = g.last(1);
    let invalid = |why| Err(ConfError::Invalid { why });
    let all = ConfChange::new(vec![removal(1), removal(2), removal(3)]);
    let two = ConfChange::new(vec![voter(4), removal(1), ConfOp::Update(node(2))]);
    let wordy = one(voter(4)).context(vec![0; (64 << 10) + 1]);
    assert_eq!(g.change(1, &all), invalid(ConfInvalid::NoVoters));
    assert_eq!(g.change(1, &wordy), invalid(ConfInvalid::TooLarge));
    for who in [1, 4] {
        let promote = ConfOp::Promote { learner: node(who), replaces: None };
        assert_eq!(g.change(1, &one(promote)), invalid(ConfInvalid::NotLearner), "node {who}");
    }
    assert_eq!(g.change(1, &ConfChange::leave()), Err(ConfError::NotJoint));
    assert_eq!(
        g.change(2, &one(voter(4))),
        Err(ConfError::NotLeader { leader: Some(node(1)) }),
        "a follower forwards nothing by itself"
    );
    let now = g.now;
    let stale = g.raft(1).propose_conf(now, &one(voter(4)), Some(index(9)));
    assert_eq!(stale, Err(ConfError::Conflict { current: index(0) }));
    assert_eq!(g.last(1), last, "nothing was appended");
    // Two voters at once go through a joint phase, during which nothing else is accepted.
    g.change(1, &two.transition(Transition::JointExplicit)).unwrap();
    g.settle();
    assert_eq!(g.change(1, &one(voter(1))), Err(ConfError::Joint));
    let current = g.members[&1].raft.membership().index;
    g.change(1, &ConfChange::leave()).unwrap();
    g.settle();
    assert_eq!(g.voters(2), (vec![2, 3, 4], vec![]));
    assert!(g.members[&2].raft.membership().index > current);
}

/// A member that nobody knows yet takes the log from its beginning, or a snapshot.
#[test]
fn a_blank_node_is_added_as_a_learner_and_promoted_by_the_next_leader() {
    let mut g = usual(&[1, 2, 3], &[4]);
    g.elect(1);
    let promote = ConfOp::Promote { learner: node(4), replaces: Some(node(1)) };
    g.change(1, &ConfChange::new(vec![learner(4), promote])).unwrap();
    g.pass(T / 5);
    assert_eq!(g.last(4), g.last(1));
    let m = g.members[&3].raft.membership().clone();
    assert_eq!((m.learners, m.promotions.get(&node(4))), (nodes(&[4]), Some(&Some(node(1)))));
    // The leader that accepted it is gone before it acts.
    g.isolate(1, &[2, 3, 4]);
    g.pass(T * 4);
    let [leader] = g.leaders()[..] else { panic!("{:?}", g.leaders()) };
    assert_eq!(g.raft(leader).promotion_due(|_| false), None, "it lags");
    let last = g.last(leader).index;
    let change = g.raft(leader).promotion_due(|matched| matched == last).expect("it is due");
    g.change(leader, &change).unwrap();
    assert_eq!(g.raft(leader).promotion_due(|_| true), None, "once");
    g.settle();
    assert_eq!(g.voters(leader), (vec![2, 3, 4], vec![]));
    assert!(g.members[&leader].raft.membership().promotions.is_empty());
}

/// Of a newcomer that has not answered nothing is known, however short the log is.
#[test]
fn a_learner_that_never_answered_is_not_promoted() {
    let mut g = usual(&[1, 2, 3], &[4]);
    g.isolate(4, &[1, 2, 3]);
    g.elect(1);
    let promote = ConfOp::Promote { learner: node(4), replaces: None };
    g.change(1, &ConfChange::new(vec![learner(4), promote])).unwrap();
    g.settle();
    assert_eq!(g.raft(1).promotion_due(|_| true), None);
    g.cut.clear();
    g.pass(T / 2);
    assert!(g.raft(1).promotion_due(|_| true).is_some());
}

/// The progress of members that stay is kept; of new ones nothing is assumed.
#[test]
fn members_that_stay_are_fed_on_and_new_ones_are_probed() {
    let mut g = usual(&[1, 2, 3], &[4]);
    g.elect(1);
    g.change(1, &one(learner(4))).unwrap();
    g.isolate(4, &[1, 2, 3]);
    g.settle();
    let peers = g.members[&1].raft.status().peers;
    let view: Vec<_> = peers.iter().map(|p| (p.id.value(), p.state, p.matched.value())).collect();
    let replicate = ProgressState::Replicate;
    let expected =
        [(1, replicate, 2), (2, replicate, 2), (3, replicate, 2), (4, ProgressState::Probe, 0)];
    assert_eq!(view, expected);
    assert!(peers[3].learner && peers[3].active);
}

/// The membership of an older entry, for snapshots and compactions behind the present one.
#[test]
fn memberships_of_older_entries_are_known_as_long_as_the_log_reaches() {
    let mut g = usual(&[1, 2, 3], &[4, 5]);
    g.elect(1);
    let first = g.change(1, &one(learner(4))).unwrap();
    g.settle();
    let second = g.change(1, &one(learner(5))).unwrap();
    g.settle();
    let learners =
        |g: &Group, at: u64| g.members[&2].raft.membership_at(index(at)).learners.clone();
    assert_eq!(learners(&g, first - 1), []);
    assert_eq!(learners(&g, first), nodes(&[4]));
    assert_eq!(learners(&g, second), nodes(&[4, 5]));
    g.raft(2).compacted(index(first));
    assert_eq!(learners(&g, first), nodes(&[4]), "the start of the log needs its own");
    g.raft(2).compacted(index(second));
    assert_eq!(learners(&g, second), nodes(&[4, 5]));
}

/// A follower that restarts from its log takes the changes in it up again, in order.
#[test]
fn changes_come_into_force_again_after_a_restart() {
    let mut g = usual(&[1, 2, 3], &[4]);
    g.elect(1);
    g.change(1, &one(voter(4))).unwrap();
    g.settle();
    g.change(1, &one(removal(1))).unwrap();
    g.settle();
    let mut again = boot(2, &[1, 2, 3], 1, &g.members[&2].written);
    again.hard.commit = again.last.index;
    let mut h = Group::with(&draft().build().unwrap(), vec![again]);
    h.drain(2);
    assert_eq!(h.voters(2).0, [2, 3, 4]);
    assert_eq!(*h.members[&2].raft.membership(), *g.members[&3].raft.membership());
}

/// A leader without a majority cannot make itself one.
#[test]
fn a_lost_majority_is_not_replaced_by_a_change() {
    let mut g = usual(&[1, 2, 3], &[4, 5]);
    win(&mut g, 1);
    g.isolate(1, &[2, 3]);
    let before = g.commit(1);
    g.change(1, &one(voter(4))).unwrap();
    g.settle();
    // Node 4 would be the second of four; it does not count before the change is decided.
    assert_eq!((g.commit(1), g.voters(1).0), (before, vec![1, 2, 3]));
}

/// Each half of a joint phase may be as large as a group: a restart within the phase must work.
#[test]
fn h20_a_joint_phase_of_two_large_halves_can_be_started_from() {
    let old: Vec<u64> = (1..=8).collect();
    let members = Membership::of_voters(&nodes(&old));
    let mut ops: Vec<ConfOp> = (9..=16).map(voter).collect();
    ops.extend((1..=8).map(removal));
    let change = ConfChange::new(ops).transition(Transition::JointAuto);
    let joint = members.changed(&change).unwrap().membership;
    assert_eq!(joint.all_voters().len(), 16);
    let mut start = boot(1, &old, 1, &[]);
    start.membership = joint;
    let g = Group::with(&draft().build().unwrap(), vec![start.clone()]);
    assert_eq!(g.voters(1).1, old);
    start.membership.voters = (1..=16).map(node).collect();
    let refused = Raft::new(draft().build().unwrap(), start, g.now, 1);
    assert!(matches!(refused, Err(BootError::Membership)), "16 in one half");
}

/// R5: what a candidate learns while it asks may forbid it to go on.
#[test]
fn h19_a_candidate_that_learns_of_a_change_to_apply_does_not_ask_again() {
    let config = draft().build().unwrap();
    let mut g = Group::with(&config, (1..=4).map(|id| boot(id, &[1, 2, 3], 0, &[])).collect());
    g.elect(1);
    // Node 2 holds a change and does not know that it is committed.
    g.cut.insert((1, 3));
    g.change(1, &one(voter(4))).unwrap();
    for m in g.take(1, 2) {
        g.hand(1, 2, m).unwrap();
    }
    g.flights.clear();
    assert_eq!((g.last(2).index.value(), g.commit(2)), (2, 1));
    g.lagging.insert(2);
    g.cut.clear();
    g.isolate(1, &[2, 3, 4]);
    g.pass_at(2, T * 3);
    assert_eq!(g.role(2), Role::PreCandidate);
    g.flights.clear();
    let term = g.term(2);
    let refusal = Body::PreVoteResp { granted: false, commit: LogId::new(1, 2) };
    g.hand(3, 2, message(term, refusal)).unwrap();
    assert_eq!(g.commit(2), 2);
    for _ in 0..30 {
        g.pass_at(2, T / 5);
        let asks = |body: &Body| matches!(body, Body::PreVote(_) | Body::Vote(_));
        assert!(!g.flights.iter().any(|f| asks(&f.message.body)));
        g.flights.clear();
    }
}
