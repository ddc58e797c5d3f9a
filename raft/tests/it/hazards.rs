//! One test per hazard: mistakes that other implementations shipped (DESIGN.md names where each is
//! handled). Here those of the log and of reads; elections, disks and whole nodes in the modules.

mod damage;
mod damaged_nodes;
mod disks;
mod durable;
mod elections;
mod identities;
mod lease_nodes;
mod leases;
mod membership;
mod running;
mod sessions;

use crate::group::{
    GROUP, Group, T, block, boot, draft, heartbeat, heartbeat_resp, index, message, nodes,
    proposal, snapshot,
};
use quorate_clocks::Monotonic;
use quorate_raft::{
    Block, Body, CampaignError, CommitNotify, HardState, LogId, Membership, ProgressState, Raft,
    ReadId, Role, StoreError, Term,
};
use std::time::Duration;

/// `winner` wins an election; what it sends as a leader never arrives.
fn win(group: &mut Group, winner: u64) {
    let now = group.now;
    group.raft(winner).campaign(now).unwrap();
    group.drain(winner);
    while group.role(winner) != Role::Leader {
        assert!(group.deliver_one(), "the election is lost");
    }
    group.flights.clear();
}

/// Appends at `leader` that reach nobody.
fn append_alone(group: &mut Group, leader: u64, count: u64) {
    for n in 0..count {
        group.propose(leader, &format!("x{n}")).unwrap();
    }
    group.flights.clear();
}

fn accepted(term: u64, n: u64) -> quorate_raft::Message {
    message(term, Body::Accepted { index: index(n) })
}

/// Paper, figure 8: an entry of an older term on a majority may still be replaced.
#[test]
fn h01_an_entry_of_an_older_term_is_not_committed_by_counting() {
    let log = [block(1, LogId::ZERO, &["a"]), block(2, LogId::new(1, 1), &["b"])];
    let boots = vec![
        boot(1, &[1, 2, 3], 2, &log),
        boot(2, &[1, 2, 3], 2, &log),
        boot(3, &[1, 2, 3], 2, &log[..1]),
    ];
    let mut g = Group::with(&draft().build().unwrap(), boots);
    win(&mut g, 1);
    assert_eq!((g.term(1), g.last(1)), (3, LogId::new(3, 3)));
    g.hand(2, 1, accepted(3, 2)).unwrap();
    assert_eq!(g.commit(1), 0, "on two of three disks, but of term 2");
    g.hand(2, 1, accepted(3, 3)).unwrap();
    assert_eq!(g.commit(1), 3, "with an entry of its own, everything before it");
}

#[test]
fn h02_a_majority_is_counted_in_whatever_order_answers_come() {
    let mut g = Group::new(&[1, 2, 3, 4, 5]);
    win(&mut g, 1);
    append_alone(&mut g, 1, 4);
    for (from, acked, commit) in [(3, 5, 0), (5, 2, 2), (2, 4, 4), (4, 1, 4), (5, 5, 5)] {
        g.hand(from, 1, accepted(1, acked)).unwrap();
        assert_eq!(g.commit(1), commit, "after {from} has {acked}");
    }
}

#[test]
fn h03_answers_about_another_log_and_stale_refusals_change_nothing() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    append_alone(&mut g, 1, 3);
    let view = |g: &Group| {
        let peers = g.members[&1].raft.status().peers;
        peers.iter().map(|p| (p.matched, p.next, p.state)).collect::<Vec<_>>()
    };
    let before = view(&g);
    g.hand(2, 1, accepted(1, 99)).unwrap();
    let hint = LogId::new(1, 1);
    g.hand(2, 1, message(1, Body::Rejected { index: index(1), hint })).unwrap();
    assert_eq!(view(&g), before);
    assert_eq!(g.commit(1), 1);
}

#[test]
fn h04_a_short_append_never_shortens_the_log() {
    let log = block(1, LogId::ZERO, &["a", "b", "c", "d"]);
    let mut g = Group::with(
        &draft().build().unwrap(),
        vec![boot(2, &[1, 2, 3], 1, std::slice::from_ref(&log))],
    );
    let short = log.prefix(index(2)).unwrap();
    let append = Body::Append { prev: LogId::ZERO, commit: index(0), blocks: vec![short] };
    g.hand(1, 2, message(1, append)).unwrap();
    assert_eq!(g.last(2), LogId::new(1, 4));
    // A delayed one that is empty neither.
    let empty = Body::Append { prev: LogId::new(1, 1), commit: index(0), blocks: Vec::new() };
    g.hand(1, 2, message(1, empty)).unwrap();
    assert_eq!(g.last(2), LogId::new(1, 4));
    assert!(
        matches!(g.take(2, 1).last().unwrap().body, Body::Accepted { index } if index.value() == 1)
    );
}

#[test]
fn h05_heartbeats_commit_no_more_than_is_known_to_match() {
    let mut g = Group::new(&[1, 2, 3]);
    g.isolate(3, &[1, 2]);
    g.elect(1);
    g.propose(1, "a").unwrap();
    g.settle();
    assert_eq!(g.commit(1), 2);
    g.pass_at(1, T / 10);
    let commits = |ms: Vec<quorate_raft::Message>| -> Vec<u64> {
        let commit = |m: &quorate_raft::Message| match m.body {
            Body::Heartbeat { commit, .. } => Some(commit.value()),
            _ => None,
        };
        ms.iter().filter_map(commit).collect()
    };
    let (to_2, to_3) = (g.take(1, 2), g.take(1, 3));
    assert_eq!((commits(to_2), commits(to_3)), (vec![2], vec![0]));
}

/// The write of an entry that was replaced meanwhile completes: its index says nothing about the
/// entry that stands there now.
#[test]
fn h06_completed_write_of_an_old_term_marks_nothing_durable() {
    let mut g = Group::with(&draft().build().unwrap(), vec![boot(2, &[1, 2, 3], 1, &[])]);
    g.stalled.insert(2);
    let old = block(1, LogId::ZERO, &["a", "b"]);
    let append = |blocks, commit| Body::Append { prev: LogId::ZERO, commit, blocks };
    g.hand(1, 2, message(1, append(vec![old], index(0)))).unwrap();
    let new = vec![block(2, LogId::ZERO, &["X", "Y"])];
    g.hand(3, 2, message(2, append(new, index(2)))).unwrap();
    assert_eq!((g.last(2), g.commit(2)), (LogId::new(2, 2), 2));
    let first_write = g.at(2).unsynced.pop_front().unwrap();
    g.complete(2, first_write);
    g.drain(2);
    assert_eq!(g.raft(2).progress().durable, index(0), "only the replaced entries were written");
    assert_eq!(g.at(2).applied, []);
    g.stalled.clear();
    g.sync(2);
    g.drain(2);
    let expected = [(LogId::new(2, 1), "X".to_owned()), (LogId::new(2, 2), "Y".to_owned())];
    assert_eq!(g.at(2).applied, expected);
}

#[test]
fn h07_the_next_index_stays_above_the_match() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    append_alone(&mut g, 1, 5);
    g.hand(2, 1, accepted(1, 4)).unwrap();
    // An append in flight was lost: the follower refuses one further on, and hints far back.
    let hint = LogId::new(1, 1);
    g.hand(2, 1, message(1, Body::Rejected { index: index(6), hint })).unwrap();
    let peer = &g.raft(1).status().peers[1];
    assert_eq!((peer.matched, peer.next, peer.state), (index(4), index(5), ProgressState::Probe));
}

/// The leader's log no longer reaches back to what the follower needs, and what it needs next is
/// right behind the snapshot.
#[test]
fn h08_a_follower_behind_the_compacted_log_gets_a_snapshot_then_entries() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.isolate(3, &[1, 2]);
    for n in 0..5 {
        g.propose(1, &format!("{n}")).unwrap();
        g.settle();
    }
    g.pass(T * 2); // the silent member stops counting as active
    let at = g.last(1);
    g.raft(1).compacted(at.index);
    g.cut.clear();
    g.pass(T / 5);
    assert!(g.at(1).snapshot_wanted, "there is none yet, so one is asked for");
    g.raft(1).snapshot_created(snapshot(at, &[1, 2, 3]));
    g.pass(T / 5);
    assert_eq!(g.last(3), at);
    g.propose(1, "after").unwrap();
    g.settle();
    assert_eq!(g.last(3), g.last(1));
    assert_eq!(g.raft(1).status().peers[2].state, ProgressState::Replicate);
}

#[test]
fn h08_full_flow_control_does_not_hide_the_commit_index() {
    let config = draft().inflight_messages_max(1).commit_notify(CommitNotify::Lazy);
    let ids = [1, 2, 3];
    let boots = ids.iter().map(|id| boot(*id, &ids, 0, &[])).collect();
    let mut g = Group::with(&config.build().unwrap(), boots);
    g.elect(1);
    g.propose(1, "a").unwrap();
    let lost = g.take(1, 3);
    assert_eq!(lost.len(), 1);
    g.settle();
    assert_eq!((g.commit(1), g.last(3)), (2, LogId::new(1, 1)));
    g.pass(T / 2); // heartbeats reach a member whose window is full, and open it again
    assert_eq!((g.last(3), g.commit(3)), (g.last(1), 2));
}

/// Every round of reads is a heartbeat: a member that slept answers thousands of them at once, and
/// an append for each would keep the leader from everything else.
#[test]
fn h08_a_flood_of_heartbeat_answers_sends_one_append() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.isolate(3, &[1, 2]);
    for n in 0..5 {
        g.propose(1, &format!("{n}")).unwrap();
        g.settle();
    }
    g.raft(1).unreachable(quorate_transport::NodeId::new(3));
    g.pass(T / 5);
    g.cut.clear();
    g.take(1, 3);
    let mut appends = 0;
    for _ in 0..1_000 {
        g.hand(3, 1, message(1, heartbeat_resp(0))).unwrap();
        let sent = g.take(1, 3);
        appends += sent.iter().filter(|m| matches!(m.body, Body::Append { .. })).count();
    }
    assert!(appends <= 1, "{appends} appends");
    g.pass(T / 2); // the next heartbeats bring it up to date all the same
    assert_eq!(g.last(3), g.last(1));
}

#[test]
fn h09_a_snapshot_never_moves_a_follower_back_nor_drops_its_suffix() {
    let log = block(1, LogId::ZERO, &["a", "b", "c", "d"]);
    let mut start = boot(2, &[1, 2, 3], 1, &[log]);
    start.hard.commit = index(2);
    let mut g = Group::with(&draft().build().unwrap(), vec![start]);
    let offered = |n| message(1, Body::Snapshot(snapshot(LogId::new(1, n), &[1, 2, 3]).into()));
    g.hand(1, 2, offered(1)).unwrap();
    assert_eq!((g.commit(2), g.last(2)), (2, LogId::new(1, 4)));
    g.hand(1, 2, offered(3)).unwrap();
    assert_eq!((g.commit(2), g.last(2)), (3, LogId::new(1, 4)), "the suffix is kept");
    let answers: Vec<u64> = g.take(2, 1).iter().map(answered_index).collect();
    assert_eq!(answers, [2, 3]);
    let another = Body::Snapshot(snapshot(LogId::new(1, 9), &[1, 3, 4]).into());
    g.hand(1, 2, message(1, another)).unwrap();
    assert_eq!(g.last(2), LogId::new(1, 4), "a group without this node is none of its business");
}

fn answered_index(m: &quorate_raft::Message) -> u64 {
    match m.body {
        Body::Accepted { index } => index.value(),
        ref other => panic!("{other:?}"),
    }
}

/// What the store has to give back is asked for once per member, not at every heartbeat.
#[test]
fn h12_one_load_at_a_time_feeds_a_member() {
    let config = draft().log_cache_bytes(0).build().unwrap();
    let ids = [1, 2, 3];
    let mut g = Group::with(&config, ids.iter().map(|id| boot(*id, &ids, 0, &[])).collect());
    g.elect(1);
    g.isolate(3, &[1, 2]);
    for n in 0..10 {
        g.propose(1, &format!("{n}")).unwrap();
        g.settle();
    }
    g.cut.clear();
    g.at(1).loads.clear();
    g.pass(T);
    assert_eq!(g.at(1).loads.len(), 1, "{:?}", g.at(1).loads);
    let (now, id) = (g.now, g.at(1).loads.remove(0).id);
    g.raft(1).loaded(now, id, Err(StoreError::Closed));
    g.pass(T);
    assert_eq!(g.at(1).loads.len(), 1, "a failed load is tried again");
    let (now, load) = (g.now, g.at(1).loads.remove(0));
    let stored = g.at(1).written.iter().filter(|b| b.last().index >= load.from).cloned().collect();
    g.raft(1).loaded(now, load.id, Ok(stored));
    g.settle();
    assert_eq!(g.last(3), g.last(1));
}

/// Both halves of a joint group decide: elections, commits and reads.
#[test]
fn h21_a_joint_group_needs_a_majority_of_both_halves() {
    let ids = [1, 2, 3, 4, 5];
    let joint = |id: u64| {
        let mut start = boot(id, &[1, 2, 3], 0, &[]);
        start.membership = Membership::of_voters(&nodes(&[1, 2, 3]));
        start.membership.outgoing = nodes(&[1, 4, 5]);
        start
    };
    let mut g = Group::with(&draft().build().unwrap(), ids.iter().copied().map(joint).collect());
    g.isolate(4, &ids);
    g.isolate(5, &ids);
    let now = g.now;
    g.raft(1).campaign(now).unwrap();
    g.settle();
    assert_eq!(g.role(1), Role::PreCandidate, "the outgoing half has not answered");
    g.cut.clear();
    g.elect(1);
    g.isolate(4, &ids);
    g.isolate(5, &ids);
    let before = g.commit(1);
    g.propose(1, "a").unwrap();
    g.read(1, 7);
    g.settle();
    assert_eq!((g.commit(1), g.at(1).reads.len()), (before, 0));
    g.cut.clear();
    g.pass(T / 5);
    assert_eq!((g.commit(1), g.at(1).reads.len()), (before + 1, 1));
}

#[test]
fn h25_reads_wait_for_an_entry_of_the_leaders_own_term() {
    let mut g = Group::new(&[1, 2, 3]);
    win(&mut g, 1);
    g.read(1, 7);
    g.pass_at(1, T / 10);
    for from in [2, 3] {
        g.hand(from, 1, message(1, heartbeat_resp(9))).unwrap();
    }
    assert_eq!(g.at(1).reads, [], "it may not know yet what its predecessor committed");
    g.flights.clear();
    g.hand(2, 1, accepted(1, 1)).unwrap();
    g.hand(2, 1, message(1, heartbeat_resp(1))).unwrap();
    assert_eq!(g.at(1).reads[0].result, Ok(index(1)));
}

#[test]
fn h26_an_answer_confirms_only_reads_asked_before_its_heartbeat() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.pass_at(1, T / 10);
    g.flights.clear(); // heartbeats that no read had asked for; their answers come late
    g.read(1, 7);
    g.hand(2, 1, message(1, heartbeat_resp(0))).unwrap();
    g.hand(3, 1, message(1, heartbeat_resp(0))).unwrap();
    assert_eq!(g.at(1).reads, []);
    g.read(1, 8);
    g.hand(2, 1, message(1, heartbeat_resp(1))).unwrap();
    let served: Vec<ReadId> = g.at(1).reads.iter().map(|r| r.id).collect();
    assert_eq!(served, [ReadId::new(7)], "the second came after the round began");
    g.settle();
    assert_eq!(g.at(1).reads.len(), 2);
}

#[test]
fn h31_a_followers_read_survives_a_change_of_leader_and_is_answered_once() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    g.read(3, 7);
    assert_eq!(g.take(3, 1).len(), 1, "the question is lost with its leader");
    g.isolate(1, &[2, 3]);
    g.elect(2);
    g.settle();
    assert_eq!(g.at(3).reads.len(), 1);
    let committed = index(g.commit(2));
    assert_eq!(g.at(3).reads[0].result, Ok(committed));
    g.pass(T * 3);
    assert_eq!(g.at(3).reads.len(), 1, "exactly once");
}

/// Alone, the own disk is the quorum: nothing may be applied before it has written.
#[test]
fn h34_a_sole_voter_applies_nothing_before_its_own_disk_has_it() {
    let mut g = Group::new(&[1]);
    g.elect(1);
    g.stalled.insert(1);
    g.propose(1, "a").unwrap();
    g.settle();
    assert_eq!((g.commit(1), g.at(1).applied.len()), (1, 1), "only its first own entry");
    g.stalled.clear();
    g.sync(1);
    g.drain(1);
    assert_eq!((g.commit(1), g.at(1).applied.len()), (2, 2));
}

#[test]
fn h35_a_log_shorter_than_its_durable_commit_index_lost_its_end() {
    let mut start = boot(1, &[1, 2, 3], 1, &[block(1, LogId::ZERO, &["a", "b"])]);
    start.hard = HardState::new(Term::new(1), None, index(3));
    let mut g = Group::with(&draft().build().unwrap(), vec![start]);
    let now = g.now;
    assert_eq!(g.raft(1).lost(), Some(index(3)));
    assert_eq!(g.last(1), LogId::ZERO, "what is left may be what the lost end had replaced");
    assert_eq!(g.raft(1).campaign(now), Err(CampaignError::Recovering { to: index(3) }));
    g.drain(1);
    let written = g.members[&1].raft.status().hard;
    assert_eq!(written.lost, index(3), "a restart must not forget it");
}

/// A member whose tail diverges hears of a commit before the append that would have put it right.
#[test]
fn h46_notice_commits_only_what_was_verified() {
    let stale = block(1, LogId::ZERO, &["a", "old", "old"]);
    let mut g = Group::with(&draft().build().unwrap(), vec![boot(2, &[1, 2, 3], 1, &[stale])]);
    let beat = heartbeat(0, 0);
    g.hand(3, 2, message(2, beat)).unwrap();
    g.hand(3, 2, message(2, Body::Commit { index: index(3) })).unwrap();
    assert_eq!(g.commit(2), 0, "nothing of this log was compared with the leader's");
    let right: Vec<Block> = vec![block(2, LogId::new(1, 1), &["new"])];
    let append = Body::Append { prev: LogId::new(1, 1), commit: index(1), blocks: right };
    g.hand(3, 2, message(2, append)).unwrap();
    g.hand(3, 2, message(2, Body::Commit { index: index(3) })).unwrap();
    assert_eq!((g.commit(2), g.last(2)), (2, LogId::new(2, 2)));
}

/// Group time goes on from the log's last value, by the leader's own clock, whatever that shows.
#[test]
fn h55_group_time_follows_the_log_not_a_clock() {
    let mut p = proposal(&["a"]);
    p.push(quorate_raft::EntryBody::Normal(b"b")).unwrap();
    let old = p.stamp(GROUP, Term::new(1), LogId::ZERO, 5_000);
    let config = draft().build().unwrap();
    for clock in [Duration::ZERO, Duration::from_secs(1 << 30)] {
        let start = boot(1, &[1], 1, std::slice::from_ref(&old));
        let now = Monotonic::ZERO.saturating_add(clock);
        let raft = Raft::new(config.clone(), start, now, 1).unwrap();
        let mut g = Group::with(&config, Vec::new());
        g.now = now;
        g.adopt(1, raft);
        g.elect(1);
        g.now = g.now.saturating_add(Duration::from_millis(250));
        g.propose(1, "c").unwrap();
        let times: Vec<u64> = g.at(1).written.iter().map(Block::time_ms).collect();
        assert_eq!(times, [5_000, 5_250], "clock at {clock:?}");
    }
}

/// Whatever an append says about committed entries: the answer is how far the logs agree.
#[test]
fn what_is_committed_is_never_replaced() {
    let log = block(1, LogId::ZERO, &["a", "b"]);
    let mut start = boot(2, &[1, 2, 3], 1, &[log]);
    start.hard.commit = index(2);
    let mut g = Group::with(&draft().build().unwrap(), vec![start]);
    let forged = block(2, LogId::new(1, 1), &["X"]);
    let append = Body::Append { prev: LogId::new(1, 1), commit: index(0), blocks: vec![forged] };
    g.hand(1, 2, message(2, append)).unwrap();
    assert_eq!((g.last(2), g.raft(2).stopped()), (LogId::new(1, 2), None));
    assert_eq!(g.take(2, 1).iter().map(answered_index).collect::<Vec<_>>(), [2]);
}
