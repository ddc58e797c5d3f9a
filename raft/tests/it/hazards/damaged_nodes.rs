//! Hazard 36 on whole nodes: a damaged log is brought back by the others.

use super::disks::find;
use super::durable::Cluster;
use crate::cluster::{Map, guard};
use crate::group::{GROUP, block, index, node, nodes};
use crate::lives::OnDisk;
use crate::store::{append, owner};
use quorate_raft::{
    Config, HardState, LogId, LogStore as _, Membership, MemoryLog, MemorySnapshots, Node, Read,
    SnapshotMeta, SnapshotStore as _, Term, write_snapshot,
};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork,
};

/// Three whole nodes; one finds its log damaged when it starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h36_a_damaged_node_comes_back_without_losing_what_was_acknowledged() {
    let mut cluster = Cluster::start(3).await;
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
    let seen = guard(cluster.node(victim).read(Read::Linearizable, |m| m.0.len()));
    assert_eq!(seen.await.unwrap(), 30);
    guard(cluster.node(victim).watch().wait_for(|s| s.lost.is_none())).await.unwrap();
    let other = (0..3).find(|i| *i != victim).unwrap();
    cluster.stop(other).await;
    cluster.write(victim, "after=1").await;
}

/// The log is gone up to where it is damaged, the machine has its own state and is further than the
/// snapshot that the leader has for it: it is not set back, and nothing is applied to it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h36_a_machine_with_its_own_state_outlives_the_damage_of_its_log() {
    let machines: Vec<OnDisk> = (0..3).map(|_| OnDisk::default()).collect();
    let given = machines.clone();
    let mut cluster = Cluster::start_with(3, move |i| given[i].clone()).await;
    let leader = cluster.leader().await;
    let victim = (leader + 1) % 3;
    for n in 0..20 {
        let at = cluster.write(leader, &format!("some data that is long enough {n}")).await;
        for i in 0..3 {
            guard(cluster.node(i).watch().wait_for(|s| s.applied >= at)).await.unwrap();
        }
        if n == 9 {
            guard(cluster.node(leader).snapshot()).await.unwrap();
        }
    }
    cluster.stop(victim).await;
    let (path, at) = find(&cluster.disks[victim], b"some data that", 12);
    cluster.disks[victim].flip(&path, at as u64 * 8).unwrap();
    cluster.run(victim).await;
    guard(cluster.node(victim).watch().wait_for(|s| s.lost.is_none())).await.unwrap();
    let at = cluster.write(leader, "after it").await;
    guard(cluster.node(victim).watch().wait_for(|s| s.applied >= at)).await.unwrap();
    assert_eq!(cluster.node(victim).stats().snapshots_received, 1);
    let lines = |i: usize| machines[i].0.lock().unwrap().1.clone();
    assert_eq!(lines(victim).len(), 21);
    assert_eq!(lines(victim), lines(leader));
}

/// A crash in the middle of the repair, after a snapshot of its own: the log begins with the
/// founders, holds less than was lost, and the snapshot is in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h36_a_repair_that_was_interrupted_goes_on_from_a_snapshot_of_its_own() {
    let (mut log, mut snapshots) = (MemoryLog::new(), MemorySnapshots::new());
    log.open(GROUP, owner()).unwrap();
    let founders = Membership::of_voters(&nodes(&[1, 2, 3]));
    let six = block(4, LogId::ZERO, &["a=1", "b=2", "c=3", "d=4", "e=5", "f=6"]);
    let mut hard = HardState::new(Term::new(4), None, index(6));
    hard.lost = index(9);
    let mark = SnapshotMeta::new(LogId::ZERO, founders.clone());
    append(&mut log, None, &[], Some(&mark));
    append(&mut log, Some(hard), &[six], None);
    let meta = SnapshotMeta::new(LogId::new(4, 5), founders);
    let mut writer = snapshots.create(&meta).unwrap();
    let state = |w: &mut dyn std::io::Write| w.write_all(b"a=1\n");
    write_snapshot(&mut writer, &meta, Box::new(state)).unwrap();
    writer.finish().unwrap();
    let me = Identity::new(ClusterId::new(7), node(1), Incarnation::new(1));
    let network = MemoryNetwork::new();
    let endpoint = Endpoint::start(network.node(me), EndpointConfig::default()).unwrap();
    let started = Node::<Map>::builder(&endpoint)
        .founders(&nodes(&[1, 2, 3]))
        .log(log)
        .snapshots(snapshots)
        .config(Config::local().build().unwrap())
        .start(Map::default())
        .await
        .unwrap();
    assert_eq!(started.state().lost, Some(index(9)), "it waits for a leader");
    let seen = guard(started.read(Read::Local, |map| map.0["a"].clone())).await;
    assert_eq!(seen.unwrap(), "1");
    guard(started.shutdown()).await.unwrap();
}
