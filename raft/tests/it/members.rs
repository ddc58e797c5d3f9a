//! Changes of the membership on whole nodes, asked for from any of them.

use crate::cluster::{Cluster, guard};
use quorate_raft::{
    ConfChange, ConfError, ConfInvalid, ConfOp, Config, LogIndex, Membership, Outcome, Read,
    Transition,
};
use quorate_transport::NodeId;

fn config() -> Config {
    Config::local().build().unwrap()
}

fn ids(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId::new).collect()
}

async fn write(cluster: &Cluster, i: usize, text: &str) -> LogIndex {
    match guard(cluster.node(i).propose(text.to_owned())).await {
        Outcome::Applied { id, .. } => id.index,
        other => panic!("{text}: {other:?}"),
    }
}

/// Waits until node `i` sees these members.
async fn until(cluster: &Cluster, i: usize, wanted: impl Fn(&Membership) -> bool) {
    let mut watch = cluster.node(i).watch();
    guard(watch.wait_for(|s| wanted(&s.membership))).await.unwrap();
}

/// A node of the group that does not lead.
async fn follower(cluster: &Cluster) -> usize {
    let leader = cluster.leader().await;
    cluster.alive().into_iter().find(|i| *i != leader && *i < 3).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blank_node_becomes_a_learner_and_then_a_voter() {
    let mut cluster = Cluster::start(3, config()).await;
    write(&cluster, 0, "a=1").await;
    let new = cluster.join().await;
    let asked = follower(&cluster).await;
    let members = cluster.node(asked).members();
    assert_eq!(members.now().voters, ids(&[1, 2, 3]));
    let added = guard(members.add_learner(new)).await.unwrap();
    let now = members.now();
    assert_eq!((now.index, &now.learners), (added, &ids(&[4])));
    assert!(now.stores.contains_key(&new), "its disk is recorded");
    guard(members.promote(new)).await.unwrap();
    assert_eq!(members.now().voters, ids(&[1, 2, 3, 4]));
    write(&cluster, asked, "b=2").await;
    let seen = guard(cluster.node(3).read(Read::Linearizable, |map| map.0.clone())).await.unwrap();
    assert_eq!((seen["a"].as_str(), seen["b"].as_str()), ("1", "2"));
    // Twice is once: nothing is left to promote.
    guard(members.promote(new)).await.unwrap();
    assert!(members.now().promotions.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_is_replaced_while_clients_write() {
    let mut cluster = Cluster::start(3, config()).await;
    write(&cluster, 0, "a=1").await;
    let leader = cluster.leader().await;
    let new = cluster.join().await;
    let asked = follower(&cluster).await;
    let old = cluster.members[leader].id;
    let node = cluster.node(asked).clone();
    let writes = tokio::spawn(async move {
        for n in 0..200 {
            let outcome = node.propose(format!("n={n}")).await;
            assert!(matches!(outcome, Outcome::Applied { .. } | Outcome::Unknown { .. }));
        }
    });
    // The leader itself is the one to go.
    guard(cluster.node(asked).members().replace(old, new)).await.unwrap();
    guard(writes).await.unwrap();
    let now = cluster.node(asked).members().now();
    assert!(now.voters.contains(&new) && !now.contains(old) && now.voters.len() == 3);
    cluster.kill(leader).await;
    let end = write(&cluster, asked, "end=1").await;
    cluster.caught_up(end).await;
    let seen = guard(cluster.node(3).read(Read::Local, |map| map.0["n"].clone())).await.unwrap();
    assert_eq!(seen, "199");
}

/// Who asked for it and who accepted it are both gone: whoever leads next finishes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_that_a_crash_interrupts_is_finished_by_the_next_leader() {
    // Nothing may be missing: the plan itself is what the newcomer lacks.
    let mut cluster = Cluster::start(3, Config::local().promote_lag(0).build().unwrap()).await;
    write(&cluster, 0, "a=1").await;
    let leader = cluster.leader().await;
    let new = cluster.join().await;
    let disk = {
        let members = cluster.node(leader).members();
        guard(members.add_learner(new)).await.unwrap();
        members.now().stores[&new]
    };
    // The newcomer stands still, so that it cannot be promoted yet.
    cluster.kill(3).await;
    let old = cluster.members[leader].id;
    let plan = ConfOp::Promote { learner: new, replaces: Some(old) };
    let learner = ConfOp::Learner(new, Some(disk));
    let change = ConfChange::new(vec![learner, plan]);
    guard(cluster.node(leader).members().change(change, None)).await.unwrap();
    for i in 0..3 {
        until(&cluster, i, |m| m.promotions.contains_key(&new)).await;
    }
    for n in 0..40 {
        write(&cluster, leader, &format!("n={n}")).await;
    }
    cluster.kill(leader).await;
    cluster.run(3).await;
    let expected = {
        let mut voters = ids(&[1, 2, 3, 4]);
        voters.retain(|id| *id != old);
        voters
    };
    for i in cluster.alive() {
        until(&cluster, i, |m| m.voters == expected && !m.is_joint()).await;
    }
    let alive = cluster.alive()[0];
    write(&cluster, alive, "b=2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_refused_with_a_reason_from_any_node() {
    let mut cluster = Cluster::start(3, config()).await;
    write(&cluster, 0, "a=1").await;
    cluster.join().await;
    for i in 0..3 {
        let members = cluster.node(i).members();
        let stale = members
            .change(ConfChange::new(vec![ConfOp::Update(NodeId::new(1))]), Some(LogIndex::new(77)));
        assert_eq!(guard(stale).await, Err(ConfError::Conflict { current: LogIndex::ZERO }));
        let leave = members.change(ConfChange::leave(), None);
        assert_eq!(guard(leave).await, Err(ConfError::NotJoint));
        let stranger = guard(members.add_learner(NodeId::new(99))).await;
        assert!(matches!(stranger, Err(ConfError::Unreachable { .. })), "{stranger:?}");
        let unasked = guard(members.promote(NodeId::new(99))).await;
        assert_eq!(unasked, Err(ConfError::Invalid { why: ConfInvalid::NotLearner }));
        let nobody = guard(members.replace(NodeId::new(99), NodeId::new(4))).await;
        assert_eq!(nobody, Err(ConfError::Invalid { why: ConfInvalid::NotVoter }));
        let demoted = guard(members.add_learner(NodeId::new(2))).await;
        assert_eq!(demoted, Err(ConfError::Invalid { why: ConfInvalid::AlreadyVotes }));
    }
    assert_eq!(cluster.node(0).members().now().index, LogIndex::ZERO);
}

/// What came into force is not forgotten: neither with the log alone, nor behind a snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memberships_survive_restarts_and_compactions() {
    let mut cluster = Cluster::start(3, config()).await;
    write(&cluster, 0, "a=1").await;
    cluster.join().await;
    let leader = cluster.leader().await;
    let members = cluster.node(leader).members();
    guard(members.add_learner(NodeId::new(4))).await.unwrap();
    let joint = ConfChange::new(vec![ConfOp::Voter(NodeId::new(4), None)])
        .transition(Transition::JointExplicit);
    guard(members.change(joint, None)).await.unwrap();
    let before = members.now();
    assert_eq!(before.outgoing, ids(&[1, 2, 3]));
    let end = write(&cluster, leader, "b=2").await;
    cluster.caught_up(end).await;
    // The second time behind a snapshot.
    for snapshot in [false, true] {
        for i in 0..4 {
            if snapshot {
                guard(cluster.node(i).snapshot()).await.unwrap();
            }
            cluster.kill(i).await;
        }
        for i in 0..4 {
            cluster.run(i).await;
            until(&cluster, i, |m| *m == *before).await;
        }
        write(&cluster, 3, "c=3").await;
    }
    let leave = cluster.node(0).members().change(ConfChange::leave(), Some(before.index));
    guard(leave).await.unwrap();
    let after = cluster.node(0).members().now();
    assert_eq!((&after.voters, after.is_joint()), (&ids(&[1, 2, 3, 4]), false));
}

/// The last that a removed node hears is that it is removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h22_a_removed_node_knows_and_the_group_goes_on() {
    let cluster = Cluster::start(3, config()).await;
    write(&cluster, 0, "a=1").await;
    let leader = cluster.leader().await;
    let gone = cluster.members[leader].id;
    let asked = follower(&cluster).await;
    guard(cluster.node(asked).members().remove(gone)).await.unwrap();
    until(&cluster, leader, |m| !m.contains(gone)).await;
    write(&cluster, asked, "b=2").await;
}
