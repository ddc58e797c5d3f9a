//! What operators see: members, durations, elections.

use crate::cluster::{Cluster, Map, applied, config, guard};
use quorate_raft::{Node, ProgressState, Read, Stats};

async fn tells(node: &Node<Map>, told: impl Fn(&Stats) -> bool) {
    guard(async {
        while !told(&node.stats()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_tells_how_far_its_members_are_and_others_nothing() {
    let mut cluster = Cluster::start(3, config()).await;
    let leader = cluster.leader().await;
    let gone = (leader + 1) % 3;
    let first = applied(guard(cluster.node(leader).propose("a=1")).await).0;
    cluster.caught_up(first).await;
    cluster.kill(gone).await;
    let value = "v".repeat(1_000);
    let last = applied(guard(cluster.node(leader).propose(format!("b={value}"))).await).0;
    let peers = guard(cluster.node(leader).peers()).await;
    let ids: Vec<_> = peers.iter().map(|p| p.status.id).collect();
    assert_eq!(ids, cluster.members.iter().map(|m| m.id).collect::<Vec<_>>());
    let own = &peers[leader];
    assert_eq!((own.status.matched, own.lag_bytes), (last, 0));
    let lagging = &peers[gone];
    assert!(lagging.status.matched < last && lagging.lag_bytes > 1_000, "{lagging:?}");
    assert_eq!(own.status.state, ProgressState::Replicate);
    assert_eq!(guard(cluster.node((leader + 2) % 3).peers()).await.len(), 0);
}

/// Each entry is counted once at each stage, at the leader; reads where they were asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durations_are_counted_once_for_each_entry_and_read() {
    let cluster = Cluster::start(3, config()).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    for n in 0..20 {
        applied(guard(cluster.node(follower).propose(format!("k={n}"))).await);
    }
    for _ in 0..5 {
        guard(cluster.node(follower).read(Read::Linearizable, |_| ())).await.unwrap();
    }
    tells(cluster.node(leader), |s| s.applied == s.last && s.durable == s.last).await;
    let told = cluster.node(leader).latencies();
    guard(async {
        while cluster.node(leader).latencies().applied.count() < 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for (what, histogram) in [("durable", told.durable), ("committed", told.committed)] {
        assert_eq!(histogram.count(), 20, "{what}");
    }
    assert!(told.fsync.count() > 0);
    assert_eq!(told.read.count(), 0, "the leader's own");
    assert_eq!(cluster.node(follower).latencies().read.count(), 5);
    assert_eq!(cluster.node(follower).latencies().applied.count(), 0, "it did not propose them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elections_and_their_ends_are_counted() {
    let cluster = Cluster::start(3, config()).await;
    let leader = cluster.leader().await;
    let next = cluster.members[(leader + 1) % 3].id;
    applied(guard(cluster.node(leader).propose("a=1")).await);
    assert_eq!(guard(cluster.node(leader).transfer(Some(next))).await, Ok(next));
    tells(cluster.node(leader), |s| s.step_downs == 1).await;
    let won: u64 = (0..3).map(|i| cluster.node(i).stats().elections_won).sum();
    let started: u64 = (0..3).map(|i| cluster.node(i).stats().elections_started).sum();
    assert!(won >= 2 && started >= won, "{started} began, {won} were won");
}
