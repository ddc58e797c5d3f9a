//! A machine that is slower than the log: leaders refuse, followers stop acknowledging, nothing is
//! lost, and all of it ends by itself. (5.9)

use crate::group::{Group, T, boot, draft};
use quorate_raft::{BusyWhy, EntryBody, LogId, Proposal, ProposeError, Role, SessionId};

/// Four batches of this may wait.
const BATCH: u64 = 1 << 10;
const BUSY: ProposeError = ProposeError::Busy { why: BusyWhy::Apply };

fn group() -> Group {
    let config = draft()
        .apply_bytes_max(BATCH)
        .append_bytes_max(4 << 10)
        .inflight_messages_max(4)
        .build()
        .unwrap();
    let ids = [1, 2, 3];
    let mut g = Group::with(&config, ids.iter().map(|id| boot(*id, &ids, 0, &[])).collect());
    g.elect(1);
    g
}

fn entry(n: u64) -> String {
    format!("{n:0>400}")
}

/// Proposes at `leader` and lets everyone hear of it.
fn propose(g: &mut Group, leader: u64, n: u64) -> Result<LogId, ProposeError> {
    let result = g.propose(leader, &entry(n));
    g.settle();
    result
}

/// The entries of `propose` that `id` applied.
fn applied(g: &Group, id: u64) -> Vec<(LogId, String)> {
    g.members[&id].applied.iter().filter(|(_, text)| !text.is_empty()).cloned().collect()
}

fn matched(g: &Group, leader: u64, id: u64) -> u64 {
    let peers = g.members[&leader].raft.status().peers;
    peers.iter().find(|p| p.id.value() == id).unwrap().matched.value()
}

#[test]
fn a_leader_whose_machine_lags_refuses_until_it_has_caught_up() {
    let mut g = group();
    g.lagging.insert(1);
    let mut taken = Vec::new();
    let refused = (0..100).find_map(|n| match propose(&mut g, 1, n) {
        Ok(id) => {
            taken.push((id, entry(n)));
            None
        }
        Err(refusal) => Some(refusal),
    });
    assert_eq!(refused, Some(BUSY));
    assert!(taken.len() as u64 * 400 >= 3 * BATCH, "not before there is a lot: {}", taken.len());
    let last = g.last(1);
    assert_eq!(last, taken.last().unwrap().0, "nothing was appended");
    assert_eq!(applied(&g, 2), taken, "others are not held up");
    // It leads on.
    g.pass(T * 3);
    assert_eq!((g.leaders(), g.last(1)), (vec![1], last));
    assert_eq!(propose(&mut g, 1, 100), Err(BUSY));
    assert_eq!(g.propose(1, "").map(|id| id.index), Err(BUSY), "an empty one waits, too");
    g.catch_up(1);
    assert!(propose(&mut g, 1, 101).is_ok());
    assert_eq!(applied(&g, 1), applied(&g, 2));
    assert_eq!(applied(&g, 1).len(), taken.len() + 1);
}

#[test]
fn entries_that_are_not_committed_are_no_backlog() {
    let mut g = group();
    g.isolate(1, &[2, 3]);
    for n in 0..50 {
        assert!(propose(&mut g, 1, n).is_ok());
    }
}

#[test]
fn a_follower_whose_machine_lags_stops_acknowledging_and_goes_on_by_itself() {
    let mut g = group();
    g.lagging.insert(3);
    for n in 0..60 {
        propose(&mut g, 1, n).unwrap();
    }
    let paused_at = matched(&g, 1, 3);
    assert_eq!(g.raft(3).progress().apply_paused, 1);
    assert_eq!(g.raft(2).progress().apply_paused, 0);
    assert!(paused_at < g.last(1).index.value());
    assert!(g.last(3) < g.last(1), "the window is closed: it is sent no more");
    assert_eq!(applied(&g, 2).len(), 60, "two of three commit");
    // Heartbeats and their answers flow; nobody campaigns, nothing more is acknowledged.
    g.pass(T * 5);
    assert_eq!((g.leaders(), g.term(3), g.role(3)), (vec![1], g.term(1), Role::Follower));
    assert_eq!(matched(&g, 1, 3), paused_at);
    g.catch_up(3);
    g.settle();
    assert_eq!((matched(&g, 1, 3), g.last(3)), (g.last(1).index.value(), g.last(1)));
    assert_eq!(applied(&g, 3), applied(&g, 1));
    assert_eq!(applied(&g, 3).len(), 60);
}

#[test]
fn a_follower_whose_machine_lags_votes_and_nothing_acknowledged_is_lost() {
    let mut g = group();
    g.lagging.insert(3);
    for n in 0..60 {
        propose(&mut g, 1, n).unwrap();
    }
    let acknowledged = applied(&g, 1);
    assert_eq!(acknowledged.len(), 60);
    g.isolate(1, &[2, 3]);
    g.elect(2);
    // Only the lagging one could make a majority with it.
    let id = propose(&mut g, 2, 60).unwrap();
    g.pass(T / 2);
    assert!(g.commit(2) < id.index.value());
    g.catch_up(3);
    g.pass(T / 2);
    assert_eq!((g.leaders().contains(&2), g.commit(2)), (true, id.index.value()));
    assert_eq!(applied(&g, 3)[..60], acknowledged);
    assert_eq!(applied(&g, 3), applied(&g, 2));
    g.cut.clear();
    g.pass(T * 2);
    assert_eq!(applied(&g, 1), applied(&g, 2));
    assert_eq!(g.refused, []);
}

#[test]
fn what_is_applied_makes_room_whatever_it_is() {
    let config = draft().uncommitted_bytes_max(1 << 10).build().unwrap();
    let mut g = Group::with(&config, vec![boot(1, &[1], 0, &[])]);
    g.elect(1);
    let now = g.now;
    for seq in 1..=200 {
        // The numbers of a request count when it is proposed, so they count when it is applied.
        let mut p = Proposal::new(config.limits());
        p.push(EntryBody::Session { session: SessionId::new(1), seq, ack: seq - 1, data: b"x" })
            .unwrap();
        g.raft(1).propose(now, p).map_err(|(refusal, _)| refusal).unwrap();
        g.settle();
    }
}

/// Whoever waits for an entry takes room, however little it says.
#[test]
fn empty_data_is_bounded_too() {
    let config = draft().uncommitted_bytes_max(1 << 20).build().unwrap();
    let mut g = Group::with(&config, (1..=3).map(|id| boot(id, &[1, 2, 3], 0, &[])).collect());
    g.elect(1);
    g.isolate(1, &[2, 3]);
    let now = g.now;
    let mut propose = |entries: usize| {
        let mut p = Proposal::new(config.limits());
        (0..entries).for_each(|_| p.push(EntryBody::Normal(b"")).unwrap());
        g.raft(1).propose(now, p).map(drop).map_err(|(why, _)| why)
    };
    let taken = (0..100).take_while(|_| propose(1_000).is_ok()).count();
    assert_eq!(taken, 16, "1 MiB by 64 bytes an entry");
    assert_eq!(propose(1_000), Err(ProposeError::Busy { why: BusyWhy::Uncommitted }));
    assert_eq!(propose(384), Ok(()));
}
