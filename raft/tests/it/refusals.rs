//! Answers that are seldom given: each with what it says about the state.

use crate::cluster::{Cluster, applied, guard};
use crate::group::{GROUP, Group, block, node};
use crate::store::{append, on_disk, owner};
use quorate_raft::{
    Batch, ConfChange, ConfError, ConfOp, Config, LogId, LogIndex, LogStore as _, MemoryLog,
    MemorySnapshots, Node, Replies, SnapshotSource, StateMachine, StoreError,
};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use quorate_wal::vfs::MemVfs;
use quorate_wal::{Batch as WalBatch, Slot, StreamId, Wal};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn nothing() -> ConfChange {
    ConfChange::new(vec![ConfOp::Update(NodeId::new(1))])
}

// --- changes of the membership -------------------------------------------------------------------

#[test]
fn while_leadership_moves_no_change_is_appended() {
    let mut g = Group::new(&[1, 2, 3]);
    g.elect(1);
    let (now, last) = (g.now, g.last(1));
    g.isolate(1, &[2, 3]);
    g.raft(1).transfer(now, Some(node(2))).unwrap();
    assert_eq!(g.change(1, &nothing()), Err(ConfError::Transferring { to: node(2) }));
    assert_eq!(g.last(1), last);
}

/// A founder that is alone cannot even ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_beyond_what_a_node_keeps_waiting_are_refused_at_once() {
    let config = Config::local().propose_deadline(Duration::from_millis(300)).build().unwrap();
    let mut cluster = Cluster::start(0, config).await;
    cluster.found(1, &[1, 2, 3]).await;
    let asking: Vec<_> = (0..70)
        .map(|_| {
            let node = cluster.node(0).clone();
            tokio::spawn(async move { node.members().change(nothing(), None).await })
        })
        .collect();
    let (mut busy, mut leaderless) = (0, 0);
    for answer in asking {
        match guard(answer).await.unwrap() {
            Err(ConfError::Busy) => busy += 1,
            Err(ConfError::NotLeader { leader: None }) => leaderless += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((busy, leaderless), (6, 64));
}

/// What a leader that is cut off has appended may still be decided, or be replaced: whoever waits
/// until it is back learns which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_at_a_leader_that_is_cut_off_is_unknown_and_then_superseded() {
    let draft = Config::local().election_timeout(Duration::from_millis(150));
    let patient = draft.clone().propose_deadline(Duration::from_secs(25)).build().unwrap();
    let hasty = draft.propose_deadline(Duration::from_millis(100)).build().unwrap();
    for (config, waits) in [(hasty, false), (patient, true)] {
        let cluster = Cluster::start(3, config).await;
        let leader = cluster.leader().await;
        // Nothing of the leaders before is in the way.
        guard(async { while cluster.node(leader).members().remove(node(9)).await.is_err() {} })
            .await;
        let id = |i: usize| cluster.members[i].id;
        let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
        others.iter().for_each(|i| cluster.network.cut(id(leader), id(*i)));
        let last = cluster.node(leader).stats().last;
        let node = cluster.node(leader).clone();
        let asked = tokio::spawn(async move { node.members().change(nothing(), None).await });
        if !waits {
            assert_eq!(guard(asked).await.unwrap(), Err(ConfError::Unknown));
            continue;
        }
        guard(async {
            while cluster.node(leader).stats().last == last {
                tokio::task::yield_now().await;
            }
        })
        .await;
        applied(guard(cluster.node(others[0]).propose("a=1")).await);
        others.iter().for_each(|i| cluster.network.heal(id(leader), id(*i)));
        let answer = guard(asked).await.unwrap();
        let Err(ConfError::Superseded { by }) = answer else { panic!("{answer:?}") };
        assert_eq!(by.index, last.next());
    }
}

// --- machines that fail --------------------------------------------------------------------------

/// A machine that takes entries and no snapshot.
struct Stubborn;

impl StateMachine for Stubborn {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        batch.for_each(|_| out.push("ok"));
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        Ok(Box::new(|w: &mut dyn io::Write| w.write_all(b"state")))
    }

    fn restore(&mut self, _: &mut dyn io::Read) -> io::Result<()> {
        Err(io::Error::other("will not"))
    }
}

/// One that is behind gets a snapshot which its machine cannot take: it stops, and says why, rather
/// than apply what follows to another state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_cannot_take_a_snapshot_stops_its_replica() {
    let network = MemoryNetwork::new();
    let config = Config::local().log_trailing_bytes(0).build().unwrap();
    let ids = [1, 2].map(NodeId::new);
    let mut running = Vec::new();
    for id in ids {
        let me = Identity::new(ClusterId::new(7), id, Incarnation::new(1));
        let endpoint = Endpoint::start(network.node(me), EndpointConfig::default()).unwrap();
        let founders = if id == ids[0] { vec![id] } else { Vec::new() };
        let node = Node::<Stubborn>::builder(&endpoint)
            .founders(&founders)
            .log(MemoryLog::new())
            .snapshots(MemorySnapshots::new())
            .config(config.clone())
            .start(Stubborn)
            .await
            .unwrap();
        running.push((node, endpoint));
    }
    let (first, second) = (&running[0].0, &running[1].0);
    applied(guard(first.propose("a")).await);
    guard(first.snapshot()).await.unwrap();
    guard(first.members().add_learner(ids[1])).await.unwrap();
    let stopped = guard(second.watch().wait_for(|s| s.stopped.is_some())).await.unwrap();
    assert_eq!(stopped.stopped.as_deref(), Some("snapshot not restored: will not"));
    assert_eq!(stopped.applied, LogIndex::ZERO);
}

// --- records that make no sense ------------------------------------------------------------------

/// A record that is whole by its frame and none of raft's: nothing is guessed, nothing is changed.
#[test]
fn a_record_of_the_store_that_makes_no_sense_is_named() {
    let disk = Arc::new(MemVfs::new());
    let mut store = on_disk(&disk);
    store.open(GROUP, owner()).unwrap();
    append(&mut store, None, &[block(1, LogId::ZERO, &["a"])], None);
    drop(store);
    let config = || quorate_wal::Config::embedded().segment_bytes(1 << 20).batch_bytes_max(1 << 18);
    let open = || Wal::open_on(disk.clone(), Path::new("log"), config().build().unwrap(), None);
    for (slot, what) in [(1, "mark record: truncated"), (0, "meta record: expected 128 bytes")] {
        let (wal, _) = open().unwrap();
        let mut batch = WalBatch::new();
        batch.meta(StreamId::new(1, GROUP.value()), Slot::new(slot).unwrap(), b"no");
        wal.commit_blocking(&batch).unwrap();
        wal.shutdown().wait().unwrap();
        for _ in 0..2 {
            let refused = on_disk(&disk).open(GROUP, owner());
            let Err(StoreError::Damaged { what: found }) = &refused else { panic!("{refused:?}") };
            assert!(found.starts_with(what), "{found}");
            assert!(refused.unwrap_err().is_corruption());
        }
    }
}
