//! Snapshots that somebody waits for: a follower, or who asked for one.

use crate::cluster::{Cluster, Map, applied, guard};
use crate::group::node;
use quorate_raft::{
    Batch, Config, LogId, MemoryLog, MemorySnapshots, Node, Read, Replies, SnapshotSource,
    SnapshotStore as _, StateMachine, StoreId, write_snapshot,
};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork,
};
use std::io;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

/// The store keeps the newest. One that arrived from a leader that was deposed meanwhile takes the
/// place of the one that this leader means to send.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_snapshot_is_gone_makes_another() {
    let config = Config::local()
        .election_timeout(Duration::from_millis(150))
        .log_trailing_bytes(0)
        .build()
        .unwrap();
    let mut cluster = Cluster::start(3, config).await;
    applied(guard(cluster.node(0).propose("first=v")).await);
    let leader = cluster.leader().await;
    let away = (0..3).find(|i| *i != leader).unwrap();
    cluster.kill(away).await;
    // What an active follower still needs is kept: go on until the dead one does not count so.
    // And for one entry more: what it needs next must be gone.
    let needed = cluster.node(leader).stats().last.next();
    guard(async {
        while cluster.node(leader).stats().first <= needed {
            applied(cluster.node(leader).propose("k=v").await);
            cluster.node(leader).snapshot().await.unwrap();
        }
    })
    .await;
    let mut store = cluster.members[leader].snapshots.clone();
    let mut meta = store.latest().unwrap().unwrap();
    let (last, _) = applied(guard(cluster.node(leader).propose("more=1")).await);
    meta.last = LogId::new(meta.last.term.value(), last.value());
    meta.maker = StoreId::new(77);
    let mut writer = store.create(&meta).unwrap();
    let state = |w: &mut dyn io::Write| w.write_all(b"x");
    write_snapshot(&mut writer, &meta, Box::new(state)).unwrap();
    writer.finish().unwrap();
    applied(guard(cluster.node(leader).propose("even_more=1")).await);
    cluster.run(away).await;
    guard(cluster.node(away).watch().wait_for(|s| s.applied >= last)).await.unwrap();
    let all = guard(cluster.node(leader).read(Read::Local, Map::clone)).await.unwrap();
    assert_eq!(guard(cluster.node(away).read(Read::Local, Map::clone)).await.unwrap(), all);
}

/// A machine that says when it is frozen, and whose first snapshot waits until it is told.
struct Slow {
    frozen: Mutex<mpsc::Sender<()>>,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

impl StateMachine for Slow {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        batch.for_each(|_| out.push(""));
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        let gate = self.gate.lock().unwrap().take();
        let _ = self.frozen.lock().unwrap().send(()); // who waits for the first is gone later
        Ok(Box::new(move |w: &mut dyn io::Write| {
            gate.map(|gate| gate.recv());
            w.write_all(b"x")
        }))
    }

    fn restore(&mut self, _: &mut dyn io::Read) -> io::Result<()> {
        Ok(())
    }
}

/// While one is written that was begun before: that one holds less.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_asked_for_holds_what_was_applied_before() {
    let config = Config::local().election_timeout(Duration::from_millis(100)).build().unwrap();
    let me = Identity::new(ClusterId::new(7), node(1), Incarnation::new(1));
    let endpoint =
        Endpoint::start(MemoryNetwork::new().node(me), EndpointConfig::default()).unwrap();
    let (release, gate) = mpsc::channel();
    let (froze, frozen) = mpsc::channel();
    let slow = Slow { frozen: Mutex::new(froze), gate: Mutex::new(Some(gate)) };
    let asked = Node::<Slow>::builder(&endpoint)
        .founders(&[me.node])
        .log(MemoryLog::new())
        .snapshots(MemorySnapshots::new())
        .config(config)
        .start(slow)
        .await
        .unwrap();
    applied(guard(asked.propose("a")).await);
    let ask = || {
        let asked = asked.clone();
        tokio::spawn(async move { asked.snapshot().await.unwrap() })
    };
    let first = ask();
    tokio::task::spawn_blocking(move || frozen.recv().unwrap()).await.unwrap();
    let (at, _) = applied(guard(asked.propose("b")).await);
    let second = ask();
    // Behind the question, in the same queue.
    guard(asked.peers()).await;
    release.send(()).unwrap();
    assert!(guard(first).await.unwrap().index < at);
    assert!(guard(second).await.unwrap().index >= at);
}
