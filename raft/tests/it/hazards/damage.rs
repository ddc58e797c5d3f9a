//! Hazard 36: entries that were acknowledged and cannot be read any more are not absent.

use super::disks::find;
use crate::cluster::guard;
use crate::group::{GROUP, Group, T, block, boot, draft, index, message, node, nodes};
use crate::store::{append, owner};
use quorate_raft::{
    Body, CampaignError, Event, HardState, LogId, LogIndex, LogStore as _, Membership, Output,
    Role, SnapshotMeta, StoreError, Term, WalLog,
};
use quorate_wal::vfs::MemVfs;
use quorate_wal::{Config, Recovery, Wal};
use std::path::Path;
use std::sync::Arc;

/// Nodes 1 and 3 hold an entry that is committed, node 3 loses it, node 1 is away: nobody may be
/// elected, for nobody can know of the entry.
fn after_the_loss() -> Group {
    let mut g = Group::new(&[1, 2, 3]);
    g.isolate(2, &[1, 3]);
    g.elect(1);
    g.propose(1, "a").unwrap();
    g.settle();
    assert_eq!((g.commit(1), g.commit(3)), (2, 2));
    let mut damaged = boot(3, &[1, 2, 3], 1, &[]);
    damaged.hard = HardState::new(Term::new(1), g.members[&3].raft.status().hard.vote, index(0));
    damaged.hard.lost = index(2);
    let config = draft().build().unwrap();
    let again = quorate_raft::Raft::new(config, damaged, g.now, 33).unwrap();
    g.adopt(3, again);
    g.flights.clear();
    g
}

#[test]
fn h36_a_replica_that_lost_entries_does_not_elect_a_leader_that_lacks_them() {
    let mut g = after_the_loss();
    g.cut.clear();
    g.isolate(1, &[2, 3]);
    g.pass(T * 6);
    let others: Vec<u64> = g.leaders().into_iter().filter(|id| *id != 1).collect();
    assert!(others.is_empty(), "node 2 lacks a committed entry");
    let now = g.now;
    assert_eq!(g.raft(3).campaign(now), Err(CampaignError::Recovering { to: index(2) }));
    // Asked by who holds everything it does not vote either: it cannot tell.
    let term = g.term(3) + 1;
    let ballot = quorate_raft::Ballot::default();
    g.hand(1, 3, message(term, Body::Vote(ballot))).unwrap();
    assert!(matches!(g.take(3, 1).pop().unwrap().body, Body::VoteResp { granted: false, .. }));
}

/// The leader believes it to hold what it acknowledged; it is told otherwise, even if nothing new
/// is to be sent.
#[test]
fn h36_a_leader_brings_back_what_was_lost_and_then_the_replica_votes() {
    let mut g = after_the_loss();
    g.makes_snapshots = true;
    g.cut.clear();
    g.isolate(2, &[1, 3]);
    g.pass(T);
    assert_eq!(g.last(3), g.last(1), "fed again, without a new proposal");
    assert_eq!(g.raft(3).lost(), None);
    assert_eq!(g.members[&3].raft.status().hard.lost, LogIndex::ZERO);
    g.propose(1, "b").unwrap();
    g.settle();
    assert_eq!(g.commit(1), 3, "it counts again");
    // Now it may elect node 2, once that has everything.
    g.cut.clear();
    g.pass(T);
    g.isolate(1, &[2, 3]);
    g.pass(T * 6);
    let led: Vec<u64> = g.leaders().into_iter().filter(|id| *id != 1).collect();
    assert_eq!(led.len(), 1);
}

/// A crash in the middle of the repair: what is missing still is.
#[test]
fn h36_a_restart_in_the_middle_of_the_repair_forgets_nothing() {
    let mut half = boot(3, &[1, 2, 3], 4, &[block(4, LogId::ZERO, &["a", "b"])]);
    half.hard.lost = index(9);
    let mut g = Group::with(&draft().build().unwrap(), vec![half]);
    assert_eq!((g.raft(3).lost(), g.last(3)), (Some(index(9)), LogId::ZERO));
    let six: Vec<_> = ["a", "b", "c", "d", "e", "f"].to_vec();
    let first = block(4, LogId::ZERO, &six);
    let append = Body::Append { prev: LogId::ZERO, commit: index(6), blocks: vec![first.clone()] };
    g.hand(1, 3, message(4, append)).unwrap();
    assert_eq!(g.raft(3).lost(), Some(index(9)), "not yet past them");
    let rest = block(4, first.last(), &["g", "h", "i"]);
    let append = Body::Append { prev: first.last(), commit: index(6), blocks: vec![rest] };
    let now = g.now;
    g.raft(3).handle_message(now, node(1), message(4, append)).unwrap();
    let mut out = Output::default();
    g.raft(3).drain(&mut out);
    let write = out.append.take().unwrap();
    assert_eq!(g.raft(3).lost(), Some(index(9)), "not before they are durable");
    g.raft(3).appended(now, write.token.unwrap());
    assert_eq!(g.raft(3).lost(), None);
    g.raft(3).drain(&mut out);
    assert!(out.events.contains(&Event::Recovered));
    let cleared = out.append.unwrap();
    assert!(cleared.sync && cleared.hard.unwrap().lost == LogIndex::ZERO);
    assert_eq!(g.role(3), Role::Follower);
}

/// What an interrupted repair had brought and acknowledged beyond the loss is lost with it: a crash
/// comes before the end of the repair is written.
#[test]
fn h36_what_was_acknowledged_during_the_repair_counts_as_lost_after_a_crash() {
    let mut damaged = boot(3, &[1, 2, 3], 1, &[]);
    damaged.hard.lost = index(2);
    let on_disk = damaged.hard;
    let mut g = Group::with(&draft().build().unwrap(), vec![damaged]);
    let all = block(1, LogId::ZERO, &["a", "b", "c", "d"]);
    let append = Body::Append { prev: LogId::ZERO, commit: index(2), blocks: vec![all.clone()] };
    g.stalled.insert(3);
    g.hand(1, 3, message(1, append)).unwrap();
    let write = g.members[&3].unsynced.back().unwrap();
    let acks = |m: &Body| matches!(m, Body::Accepted { index } if index.value() == 4);
    assert!(write.gated.iter().any(|e| acks(&e.message.body)), "it will say so once it is durable");
    // The entries and the acknowledgement got out, the end of the repair did not.
    let mut again = boot(3, &[1, 2, 3], 1, &[all]);
    again.hard = write.hard.unwrap_or(on_disk);
    again.hard.lost = on_disk.lost;
    let mut g = Group::with(&draft().build().unwrap(), vec![again]);
    assert_eq!(g.raft(3).lost(), Some(index(4)), "not only what was lost at first");
    g.drain(3);
    assert_eq!(g.members[&3].raft.status().hard.lost, index(4));
}

/// A log in a `Wal` on this disk, however damaged it is.
fn salvaged(disk: &Arc<MemVfs>) -> WalLog {
    let config = Config::embedded()
        .segment_bytes(1 << 20)
        .batch_bytes_max(1 << 18)
        .recovery(Recovery::Salvage)
        .build()
        .unwrap();
    let (wal, report) = Wal::open_on(disk.clone(), Path::new("log"), config, None).unwrap();
    WalLog::salvaged(wal, &report).unwrap()
}

fn written(disk: &Arc<MemVfs>) -> LogId {
    let mut store = salvaged(disk);
    store.open(GROUP, owner()).unwrap();
    let founders = Membership::of_voters(&nodes(&[1, 2, 3]));
    append(&mut store, None, &[], Some(&SnapshotMeta::new(LogId::ZERO, founders)));
    let mut prev = LogId::ZERO;
    for n in 0..20 {
        let next = block(1, prev, &["some data that is long enough to be found again"]);
        let hard = (n == 10).then(|| HardState::new(Term::new(7), Some(node(2)), index(5)));
        append(&mut store, hard, std::slice::from_ref(&next), None);
        prev = next.last();
    }
    prev
}

/// One flipped bit in the middle: the rest of the log may be what the lost part had replaced. What
/// is certain is kept, and that something is missing.
#[test]
fn h36_a_damaged_log_opens_as_empty_and_says_what_it_may_have_acknowledged() {
    let disk = Arc::new(MemVfs::new());
    let last = written(&disk);
    let (path, at) = find(&disk, b"some data", 5);
    disk.flip(&path, at as u64 * 8).unwrap();
    // And it says so again after each restart, until that is over.
    for _ in 0..2 {
        let mut store = salvaged(&disk);
        let log = store.open(GROUP, owner()).unwrap();
        assert_eq!((log.last, log.blocks.len()), (LogId::ZERO, 0));
        assert_eq!(log.hard.lost, last.index);
        assert_eq!(
            (log.hard.term, log.hard.vote),
            (Term::new(7), Some(node(2))),
            "votes are known"
        );
        let mark = log.mark.expect("the founders are known");
        assert_eq!(mark.membership.voters, nodes(&[1, 2, 3]));
    }
    let mut store = salvaged(&disk);
    store.open(GROUP, owner()).unwrap();
    let whole = HardState::new(Term::new(8), None, index(1));
    append(&mut store, Some(whole), &[block(8, LogId::ZERO, &["new"])], None);
    drop(store);
    let log = salvaged(&disk).open(GROUP, owner()).unwrap();
    assert_eq!((log.hard, log.last), (whole, LogId::new(8, 1)));
}

/// Damage at the very end: the last record may have been a vote, and nothing tells which.
#[test]
fn h36_damage_behind_the_last_record_may_be_a_lost_vote() {
    let disk = Arc::new(MemVfs::new());
    written(&disk);
    let (path, at) = find(&disk, b"some data", 19);
    disk.flip(&path, at as u64 * 8).unwrap();
    let config = Config::embedded()
        .segment_bytes(1 << 20)
        .batch_bytes_max(1 << 18)
        .recovery(Recovery::Salvage);
    let opened = Wal::open_on(disk, Path::new("log"), config.build().unwrap(), None).unwrap();
    let (wal, report) = opened;
    if report.damage.is_empty() {
        return; // taken for an interrupted write: nothing behind it proves the contrary
    }
    let refused = WalLog::salvaged(wal, &report).unwrap().open(GROUP, owner());
    assert!(matches!(refused, Err(StoreError::HardStateLost { .. })), "{refused:?}");
    assert!(refused.unwrap_err().is_corruption());
}

/// Three whole nodes; one finds its log damaged when it starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h36_a_damaged_node_comes_back_without_losing_what_was_acknowledged() {
    let mut cluster = super::durable::Cluster::start(3).await;
    let victim = (cluster.leader().await + 1) % 3;
    for n in 0..30 {
        let at = cluster.write(0, &format!("key{n}=some data that is long enough {n}")).await;
        // One record each: there is something behind the damage that shows how far the log went.
        guard(cluster.node(victim).watch().wait_for(|s| s.applied >= at)).await.unwrap();
    }
    cluster.stop(victim).await;
    let (path, at) = find(&cluster.disks[victim], b"some data that", 12);
    cluster.disks[victim].flip(&path, at as u64 * 8).unwrap();
    cluster.run(victim).await;
    let seen = guard(cluster.node(victim).read(quorate_raft::Read::Linearizable, |m| m.0.len()));
    assert_eq!(seen.await.unwrap(), 30);
    guard(cluster.node(victim).watch().wait_for(|s| s.lost.is_none())).await.unwrap();
    let other = (0..3).find(|i| *i != victim).unwrap();
    cluster.stop(other).await;
    cluster.write(victim, "after=1").await;
}
