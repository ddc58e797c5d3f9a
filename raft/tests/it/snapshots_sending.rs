//! Several members need a snapshot at once: they wait for their turn, and all of them get it.

use crate::cluster::{Cluster, Map, applied, guard};
use quorate_raft::{Config, Read};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn members_wait_for_their_turn_and_get_their_snapshot() {
    let config = Config::local()
        .election_timeout(Duration::from_millis(150))
        .snapshot_chunk_bytes(4 << 10)
        .snapshot_rate(64 << 10)
        .snapshots_sending_max(1)
        .build()
        .unwrap();
    let mut cluster = Cluster::start(1, config).await;
    let value = "v".repeat(1_000);
    for n in 0..80 {
        applied(guard(cluster.node(0).propose(format!("{n}={value}"))).await);
    }
    // The first transfer takes a second by its rate; the others are asked for meanwhile.
    let mut last = Default::default();
    for _ in 0..2 {
        let id = cluster.join().await;
        last = guard(cluster.node(0).members().add_learner(id)).await.unwrap();
    }
    cluster.caught_up(last).await;
    // The last answer may still be on its way to the sender.
    guard(async {
        while cluster.node(0).stats().snapshots_sent < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(cluster.node(0).stats().snapshots_postponed >= 1);
    let state = guard(cluster.node(0).read(Read::Local, Map::clone)).await.unwrap();
    for i in 1..3 {
        assert_eq!(guard(cluster.node(i).read(Read::Local, Map::clone)).await.unwrap(), state);
        assert_eq!(cluster.node(i).stats().snapshots_received, 1);
    }
}

#[test]
fn rates_and_numbers_out_of_range_are_refused() {
    assert!(Config::lan().snapshot_rate(0).snapshots_sending_max(1).build().is_ok());
    let bad = Config::lan().snapshot_rate(1).snapshots_sending_max(0).build().unwrap_err();
    let expected = [
        "snapshot_rate 1: expected 0, or 65536 and more",
        "snapshots_sending_max 0: expected 1 to 64",
    ];
    assert_eq!(bad.violations(), expected);
}
