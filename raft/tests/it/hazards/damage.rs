//! Hazard 36: entries that were acknowledged and cannot be read any more are not absent.

use super::disks::find;
use crate::group::{GROUP, Group, T, block, boot, draft, index, message, node, nodes};
use crate::store::{append, owner};
use quorate_raft::{
    AppendRequest, Body, CampaignError, Completion, Event, HardState, LogId, LogIndex,
    LogStore as _, Membership, Output, Role, SnapshotMeta, StoreError, Term, WalLog,
};
use quorate_wal::vfs::{MemVfs, Vfs as _};
use quorate_wal::{Config, Recovery, RecoveryReport, Wal};
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
    let (wal, report) = reopened(disk);
    WalLog::salvaged(wal, &report).unwrap()
}

fn reopened(disk: &Arc<MemVfs>) -> (Wal, RecoveryReport) {
    let config = Config::embedded()
        .segment_bytes(1 << 20)
        .batch_bytes_max(1 << 18)
        .recovery(Recovery::Salvage)
        .build()
        .unwrap();
    Wal::open_on(disk.clone(), Path::new("log"), config, None).unwrap()
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

/// Term and vote as they stand in a Meta (FORMAT.md).
fn term_and_vote(hard: &HardState) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hard.term.value().to_le_bytes());
    bytes[8..].copy_from_slice(&hard.vote.unwrap().value().to_le_bytes());
    bytes
}

/// A vote in a record of its own; nothing else has its term.
fn vote(store: &mut WalLog) -> HardState {
    let voted = HardState::new(Term::new(0x00dd_ccbb), Some(node(2)), index(5));
    append(store, Some(voted), &[], None);
    voted
}

/// The record of the vote and all but the last piece of a large append behind it cannot be read.
#[test]
fn h36_each_piece_of_a_large_append_carries_the_vote() {
    let disk = Arc::new(MemVfs::new());
    let mut last = written(&disk);
    let mut store = salvaged(&disk);
    store.open(GROUP, owner()).unwrap();
    let voted = vote(&mut store);
    let large = "x".repeat(100 << 10); // two do not fit one batch
    let mut blocks = Vec::new();
    for _ in 0..3 {
        blocks.push(block(voted.term.value(), last, &[&large]));
        last = blocks.last().unwrap().last();
    }
    append(&mut store, None, &blocks, None);
    drop(store);
    let record = term_and_vote(&voted);
    let pieces = places(&disk, &record);
    assert!(pieces >= 3, "the vote and two pieces at least, found {pieces}");
    for _ in 1..pieces {
        let (path, at) = find(&disk, &record, 0);
        disk.flip(&path, at as u64 * 8).unwrap();
    }
    let log = salvaged(&disk).open(GROUP, owner()).unwrap();
    assert_eq!((log.hard.term, log.hard.vote), (voted.term, voted.vote));
    assert_eq!(log.hard.lost, last.index);
}

/// The record of the vote cannot be read, and what was appended behind the compaction did not reach
/// the disk before the power was cut: the compaction is all that tells of the vote.
#[test]
fn h36_a_compaction_carries_the_vote() {
    let disk = Arc::new(MemVfs::new());
    let last = written(&disk);
    let mut store = salvaged(&disk);
    store.open(GROUP, owner()).unwrap();
    let voted = vote(&mut store);
    let founders = Membership::of_voters(&nodes(&[1, 2, 3]));
    store.compact(GROUP, &SnapshotMeta::new(LogId::new(1, 7), founders)).unwrap();
    // Some sectors of its own between the compaction and its end.
    let behind = block(voted.term.value(), last, &[&"x".repeat(8 << 10)]);
    // Written, and not synced any more.
    disk.power_off_after(1);
    let (tx, rx) = std::sync::mpsc::channel();
    let request = AppendRequest::new(None, std::slice::from_ref(&behind), None, true);
    store.append(GROUP, request, Completion::new(move |result| tx.send(result).unwrap()));
    assert!(rx.recv().unwrap().is_err());
    let record = term_and_vote(&voted);
    let mut alone = 0;
    for cut in (0..64).map(|seed| Arc::new(disk.crash(seed))) {
        let (path, at) = find(&cut, &record, 0);
        cut.flip(&path, at as u64 * 8).unwrap();
        if reopened(&Arc::new(cut.kill())).1.damage.is_empty() {
            continue; // nothing whole is left behind the vote: like a write that was interrupted
        }
        let log = match salvaged(&cut).open(GROUP, owner()) {
            Err(StoreError::HardStateLost { .. }) => continue, // it may have been a vote, it says
            other => other.unwrap(),
        };
        assert_eq!((log.hard.term, log.hard.vote), (voted.term, voted.vote));
        assert!(log.hard.lost >= last.index);
        alone += u32::from(log.hard.lost == last.index);
    }
    assert!(alone > 0, "no crash kept the compaction without the append");
}

/// How often this stands on the disk.
fn places(disk: &MemVfs, needle: &[u8]) -> usize {
    let files = disk.list(Path::new("log")).unwrap();
    let files = files.iter().filter_map(|f| disk.contents(&Path::new("log").join(&f.name)).ok());
    files.map(|bytes| bytes.windows(needle.len()).filter(|w| *w == needle).count()).sum()
}

/// Damage at the very end: the last record may have been a vote, and nothing tells which.
#[test]
fn h36_damage_behind_the_last_record_may_be_a_lost_vote() {
    let disk = Arc::new(MemVfs::new());
    written(&disk);
    let (path, at) = find(&disk, b"some data", 19);
    disk.flip(&path, at as u64 * 8).unwrap();
    let (wal, report) = reopened(&disk);
    assert!(!report.damage.is_empty(), "a clean shutdown wrote down how far the log went");
    let refused = WalLog::salvaged(wal, &report).unwrap().open(GROUP, owner());
    assert!(matches!(refused, Err(StoreError::HardStateLost { .. })), "{refused:?}");
    assert!(refused.unwrap_err().is_corruption());
}
