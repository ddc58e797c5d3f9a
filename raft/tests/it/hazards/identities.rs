//! Hazard 23: a node that comes back on another disk has forgotten what it promised.

use crate::cluster::{Cluster, guard};
use crate::group::{Group, T, boot, draft, index, message, node, nodes};
use quorate_raft::{
    Body, ConfError, ConfInvalid, ConfOp, Config, LogId, Membership, Outcome, Raft, StepError,
    StoreId, wire,
};
use std::time::Duration;

fn config() -> Config {
    Config::local().build().unwrap()
}

/// Two of three hold an entry, one of them loses its disk: with the third it would be a majority
/// that never heard of the entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h23_a_blank_disk_under_a_known_id_neither_votes_nor_counts() {
    let mut cluster = Cluster::start(3, config()).await;
    let leader = cluster.leader().await;
    let [lost, behind] = [(leader + 1) % 3, (leader + 2) % 3];
    let first = guard(cluster.node(leader).propose("a=1")).await;
    let Outcome::Applied { id, .. } = first else { panic!("{first:?}") };
    cluster.caught_up(id.index).await;
    cluster.kill(behind).await;
    let kept = guard(cluster.node(leader).propose("b=2")).await;
    assert!(matches!(kept, Outcome::Applied { .. }), "{kept:?}");
    cluster.kill(lost).await;
    cluster.kill(leader).await;
    cluster.lose_disk(lost);
    cluster.run(behind).await;
    cluster.run(lost).await;
    let mut watch = cluster.node(lost).watch();
    let state = guard(watch.wait_for(|s| s.stopped.is_some())).await.unwrap();
    assert!(state.stopped.unwrap().contains("knows another disk of this node"));
    // And nobody is elected by it, for as long as several elections take.
    let led = cluster.node(behind).watch().wait_for(|s| s.leader.is_some()).await_for(T * 2).await;
    assert!(!led, "a leader that lacks an acknowledged entry");
    // With the disk that holds it everything is there again.
    cluster.run(leader).await;
    let seen = guard(async {
        loop {
            let read = cluster.node(behind).read(quorate_raft::Read::Linearizable, |m| m.0.clone());
            if let Ok(map) = read.await {
                return map;
            }
        }
    })
    .await;
    assert_eq!(seen["b"], "2");
}

/// What its other disk would say is refused by each node that knows this one.
#[test]
fn h23_messages_from_another_disk_have_no_effect() {
    let stores = [(node(1), StoreId::new(11)), (node(2), StoreId::new(22))];
    let mut boot = boot(1, &[1, 2, 3], 0, &[]);
    boot.membership = Membership::of_voters(&nodes(&[1, 2, 3])).with_stores(stores);
    let g = Group::with(&draft().build().unwrap(), vec![boot]);
    let raft: &Raft = &g.members[&1].raft;
    let vote = message(1, Body::VoteResp { granted: true, commit: LogId::ZERO });
    let refused = |store: StoreId| {
        let bytes = wire::encode(&vote, store.fold()).unwrap().remove(0);
        let (_, fold) = wire::decode(&bytes, &quorate_raft::Limits::default()).unwrap();
        raft.check_store(node(2), fold)
    };
    assert_eq!(refused(StoreId::new(22)), Ok(()));
    assert_eq!(refused(StoreId::new(23)), Err(StepError::ForeignStore { from: node(2) }));
    // Of node 3 no disk is known: there is nothing to compare.
    assert_eq!(raft.check_store(node(3), 99), Ok(()));
}

/// What the first disk voted for and acknowledged was counted; a change that exchanged it would
/// have quorums that never heard of that.
#[test]
fn h23_no_change_gives_a_member_another_disk() {
    let (old, new) = (Some(StoreId::new(11)), Some(StoreId::new(12)));
    let stores = [(node(1), StoreId::new(11)), (node(4), StoreId::new(11))];
    let group = Membership::of_voters(&nodes(&[1, 2, 3])).with_learners(&nodes(&[4]));
    let group = group.with_stores(stores);
    let refused = Err(ConfInvalid::OtherDisk);
    for id in [1, 4].map(node) {
        for exchange in [
            vec![ConfOp::Voter(id, new)],
            vec![ConfOp::Learner(id, new)],
            vec![ConfOp::Remove(id), ConfOp::Voter(id, new)],
            vec![ConfOp::Remove(id), ConfOp::Learner(id, new)],
        ] {
            assert_eq!(group.simple(&exchange), refused, "{exchange:?}");
            assert_eq!(group.enter_joint(&exchange, true), refused, "{exchange:?}");
        }
    }
    // The disk it has, or one where none was known, is fine; and so is another one later.
    let same = group.simple(&[ConfOp::Voter(node(4), old)]).unwrap().membership;
    assert_eq!(same.stores, group.stores);
    let learned = group.simple(&[ConfOp::Voter(node(2), new)]).unwrap().membership;
    assert_eq!(learned.stores[&node(2)], StoreId::new(12));
    let without = group.simple(&[ConfOp::Remove(node(1))]).unwrap().membership;
    let changed = without.simple(&[ConfOp::Learner(node(1), new)]).unwrap();
    assert_eq!(changed.fresh, [node(1)], "of its log nothing is assumed");
}

/// A core that is to be founded hears and does nothing before.
#[test]
fn h23_members_are_set_once_and_only_on_an_empty_log() {
    let mut g = Group::with(&draft().build().unwrap(), vec![boot(1, &[], 0, &[])]);
    assert_eq!(g.raft(1).poll_timeout(), None, "it does not campaign");
    let now = g.now;
    assert!(g.raft(1).found(now, Membership::of_voters(&nodes(&[1]))));
    assert!(!g.raft(1).found(now, Membership::of_voters(&nodes(&[1, 2, 3]))));
    assert_eq!(g.voters(1).0, [1]);
    g.elect(1);
    assert_eq!(g.commit(1), 1);
    let before = g.members[&1].raft.membership().index;
    assert_eq!(before, index(0));
}

/// Founders that do not agree who they are do not begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h23_founders_that_differ_do_not_form_a_group() {
    let mut cluster = Cluster::start(0, config()).await;
    for (id, founders) in [(1, &[1, 2][..]), (2, &[1, 2, 3])] {
        cluster.found(id, founders).await;
    }
    let mut watch = cluster.node(1).watch();
    let state = guard(watch.wait_for(|s| s.stopped.is_some())).await.unwrap();
    assert!(state.stopped.unwrap().contains("other founders"));
}

/// A node that was a founder of a group it no longer belongs to does not begin another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h23_a_removed_founder_does_not_found_the_group_again() {
    let mut cluster = Cluster::start(3, config()).await;
    let leader = cluster.leader().await;
    let gone = (leader + 1) % 3;
    let id = cluster.members[gone].id;
    guard(cluster.node(leader).members().remove(id)).await.unwrap();
    cluster.kill(gone).await;
    cluster.lose_disk(gone);
    cluster.run(gone).await;
    let mut watch = cluster.node(gone).watch();
    let state = guard(watch.wait_for(|s| s.stopped.is_some())).await.unwrap();
    assert!(state.stopped.unwrap().contains("has a group without this node"));
}

/// The way back: the member is removed and added with its new disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h23_a_member_that_lost_its_disk_is_removed_and_added_anew() {
    let mut cluster = Cluster::start(3, config()).await;
    let leader = cluster.leader().await;
    let lost = (leader + 1) % 3;
    let id = cluster.members[lost].id;
    assert!(matches!(guard(cluster.node(leader).propose("a=1")).await, Outcome::Applied { .. }));
    cluster.kill(lost).await;
    cluster.lose_disk(lost);
    cluster.members[lost].founder = false;
    cluster.run(lost).await;
    let members = cluster.node(leader).members();
    let before = members.now().stores[&id];
    guard(members.remove(id)).await.unwrap();
    guard(members.add_learner(id)).await.unwrap();
    guard(members.promote(id)).await.unwrap();
    assert_ne!(members.now().stores[&id], before);
    let refused: Result<_, ConfError> = guard(members.promote(id)).await;
    assert!(refused.is_ok());
    let seen = guard(cluster.node(lost).read(quorate_raft::Read::Linearizable, |m| m.0.clone()));
    assert_eq!(seen.await.unwrap()["a"], "1");
}

/// Whether something happens within a time: for what must not happen at all.
trait Within: Future + Sized {
    async fn await_for(self, time: Duration) -> bool {
        tokio::time::timeout(time, self).await.is_ok()
    }
}

impl<F: Future> Within for F {}
