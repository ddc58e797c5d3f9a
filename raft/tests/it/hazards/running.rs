//! Hazards of whole nodes: waiters, forwarding, reads after a restart, failing and full disks.

use crate::cluster::{Cluster, Map, applied, config, founded, guard};
use crate::group::{heartbeat, message, node, snapshot};
use crate::store::on_disk;
use quorate_raft::{
    Batch, Config, ConfigDraft, Limits, LogId, MemoryLog, MemorySnapshots, Message, Node, Outcome,
    Owner, ProposeError, Read, Replies, Role, SnapshotSource, SnapshotStore, StartError,
    StateMachine, WalLog, wire, write_snapshot,
};
use quorate_transport::{
    BodyCheck, ChannelId, ChannelOptions, ClusterId, Endpoint, EndpointConfig, Identity, Inbound,
    Incarnation, Lane, MemoryNetwork, NodeId,
};
use quorate_wal::Wal;
use quorate_wal::vfs::{MemVfs, OpKind};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn h32_reads_after_a_restart_wait_for_the_replay() {
    for nodes in [1, 3] {
        let mut cluster = Cluster::start(nodes, config()).await;
        for n in 0..50 {
            applied(guard(cluster.node(0).propose(format!("k={n}"))).await);
        }
        cluster.kill(0).await;
        cluster.run(0).await;
        let get = |m: &Map| m.0.get("k").cloned();
        let value = guard(cluster.node(0).read(Read::Linearizable, get)).await.unwrap();
        assert_eq!(value.as_deref(), Some("49"), "{nodes} nodes");
    }
}

/// A node on this disk, alone in its group.
async fn alone_on(disk: &Arc<MemVfs>, config: Config) -> (Node<Map>, Endpoint) {
    let identity = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1));
    let endpoint =
        Endpoint::start(MemoryNetwork::new().node(identity), EndpointConfig::default()).unwrap();
    let node = Node::<Map>::builder(&endpoint)
        .founders(&[NodeId::new(1)])
        .log(on_disk(disk))
        .snapshots(MemorySnapshots::new())
        .config(config)
        .start(Map::default())
        .await
        .unwrap();
    (node, endpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn h33_a_failed_sync_stops_the_replica_and_proposals_end_unknown() {
    let disk = Arc::new(MemVfs::new());
    let (node, _endpoint) = alone_on(&disk, small().build().unwrap()).await;
    applied(guard(node.propose("k=1")).await);
    disk.fail_nth(OpKind::SyncData, 1, ErrorKind::Other);
    let outcome = guard(node.propose("k=2")).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    disk.clear_faults();
    let mut watch = node.watch();
    guard(async {
        while watch.state().stopped.is_none() {
            watch.changed().await;
        }
    })
    .await;
    let after = guard(node.propose("k=3")).await;
    assert_eq!(after, Outcome::Rejected(ProposeError::Stopped), "it trusts that disk no more");
}

/// Settings whose blocks fit the small log of [`on_disk`].
fn small() -> ConfigDraft {
    let limits = Limits::default().entry_bytes_max(128 << 10).block_bytes_max(128 << 10);
    Config::local().election_timeout(Duration::from_millis(150)).limits(limits)
}

/// One proposal as large as allowed must not be more than the disk takes: it would stop every
/// replica.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_the_log_cannot_take_are_refused_at_the_start() {
    let disk = Arc::new(MemVfs::new());
    let identity = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1));
    let endpoint =
        Endpoint::start(MemoryNetwork::new().node(identity), EndpointConfig::default()).unwrap();
    let refused = Node::<Map>::builder(&endpoint)
        .founders(&[NodeId::new(1)])
        .log(on_disk(&disk))
        .snapshots(MemorySnapshots::new())
        .config(config())
        .start(Map::default())
        .await;
    let Err(StartError::BlockTooLarge { needed, max }) = refused else { panic!("{refused:?}") };
    assert_eq!((needed, max), ((1 << 20) - (4 << 10) + 72, (1 << 18) - 256));
    // The largest that fits is written.
    let limits = Limits::default().entry_bytes_max((1 << 18) - 328).block_bytes_max(128 << 10);
    let config = small().limits(limits).build().unwrap();
    let (node, _endpoint) = alone_on(&disk, config).await;
    applied(guard(node.propose(vec![b'x'; (1 << 18) - 328])).await);
}

/// Nobody has to set anything: the largest entry of one default is what the other takes.
#[tokio::test(flavor = "multi_thread")]
async fn default_limits_fit_the_presets_of_the_log() {
    for preset in [quorate_wal::Config::embedded(), quorate_wal::Config::server()] {
        let (disk, config) = (Arc::new(MemVfs::new()), preset.build().unwrap());
        let (wal, _) = Wal::open_on(disk, Path::new("log"), config, None).unwrap();
        let me = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1));
        let endpoint =
            Endpoint::start(MemoryNetwork::new().node(me), EndpointConfig::default()).unwrap();
        let node = Node::<Map>::builder(&endpoint)
            .founders(&[me.node])
            .log(WalLog::new(wal))
            .snapshots(MemorySnapshots::new())
            .config(Config::local().build().unwrap())
            .start(Map::default())
            .await
            .unwrap();
        applied(guard(node.propose(vec![b'x'; (1 << 20) - (4 << 10)])).await);
        guard(node.shutdown()).await.unwrap();
    }
}

/// A full disk is not a broken one: proposals are refused, reads are served, and when there is
/// space again everything goes on, the write that had to wait included.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_refuses_proposals_serves_reads_and_goes_on() {
    let config = small()
        .election_timeout(Duration::from_millis(100))
        .propose_deadline(Duration::from_millis(200))
        .build()
        .unwrap();
    let disk = Arc::new(MemVfs::new());
    let (node, _endpoint) = alone_on(&disk, config).await;
    let mut watch = node.watch();
    guard(watch.wait_for(|s| s.role == Role::Leader)).await.unwrap();
    applied(guard(node.propose("k=1")).await);
    disk.quota(Some(disk.used()), false);
    let large = "v".repeat(50_000);
    let (mut waiting, mut refused) = (0, false);
    for n in 0..2_000 {
        match guard(node.propose(format!("{n}={large}"))).await {
            Outcome::Applied { .. } => {}
            Outcome::Unknown { at: Some(_) } => waiting += 1,
            Outcome::Rejected(ProposeError::NoSpace) => {
                refused = true;
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused, "the disk has no room for 100 MB");
    assert!(waiting > 0, "what was appended before anyone knew waits, it has not failed");
    let get = |m: &Map| m.0.get("k").cloned();
    let value = guard(node.read(Read::Linearizable, get)).await.unwrap();
    assert_eq!(value.as_deref(), Some("1"));
    assert_eq!(node.state().stopped, None);
    disk.quota(None, false);
    let mut index = None;
    while index.is_none() {
        if let Outcome::Applied { id, .. } = guard(node.propose("k=2")).await {
            index = Some(id.index);
        }
    }
    // Applied in order, so all that waited came before.
    let keys = guard(node.read(Read::AtLeast(index.unwrap()), |m| m.0.len())).await.unwrap();
    assert!(keys > waiting, "{keys} keys, {waiting} of them waited");
    guard(node.shutdown()).await.unwrap();
}

/// A leader that answers nothing may have appended: to ask the next one would apply the entry
/// twice.
#[tokio::test(flavor = "multi_thread")]
async fn h41_a_forward_that_may_have_been_appended_is_not_repeated() {
    let network = MemoryNetwork::new();
    let start = |id: u64| {
        let identity = Identity::new(ClusterId::new(7), node(id), Incarnation::new(1));
        Endpoint::start(network.node(identity), EndpointConfig::default()).unwrap()
    };
    let (follower, leader) = (start(1), start(2));
    // No election comes in between.
    let config = Config::local().election_timeout(Duration::from_secs(500)).build().unwrap();
    let owner = Owner::new(ClusterId::new(7), node(1));
    let replica = Node::<Map>::builder(&follower)
        .log(founded(MemoryLog::new(), owner, &[node(1), node(2)]))
        .snapshots(MemorySnapshots::new())
        .config(config)
        .start(Map::default())
        .await
        .unwrap();
    let options = ChannelOptions::new().body_check(BodyCheck::Payload);
    let mut channel = leader.channel(ChannelId::RAFT, options).unwrap();
    let say = |m: Message| {
        let body = quorate_transport::Body::parts(wire::encode(&m, 0).unwrap());
        channel.send(node(1), Lane::Control, body).unwrap();
    };
    say(message(1, heartbeat(0, 0)));
    let mut watch = replica.watch();
    guard(watch.wait_for(|s| s.leader == Some(node(2)))).await.unwrap();
    let proposing = tokio::spawn({
        let replica = replica.clone();
        async move { replica.propose("k=1").await }
    });
    let forwarded = guard(next_call(&mut channel)).await;
    drop(forwarded); // taken, and never answered
    assert_eq!(guard(proposing).await.unwrap(), Outcome::Unknown { at: None });
    // The next call is the next proposal, not that one again.
    let proposing = tokio::spawn(async move { replica.propose("k=2").await });
    let (body, reply) = guard(next_call(&mut channel)).await;
    assert!(body.ends_with(b"k=2"), "{body:?}");
    drop(reply);
    assert_eq!(guard(proposing).await.unwrap(), Outcome::Unknown { at: None });
}

async fn next_call(
    channel: &mut quorate_transport::Channel,
) -> (bytes::Bytes, quorate_transport::Responder) {
    loop {
        match channel.recv().await.unwrap() {
            Inbound::Call { body, reply, .. } => return (body, reply),
            _ => continue,
        }
    }
}

/// A leader that is cut off still believes to lead for a while; what it serves must be as fresh as
/// asked.
#[tokio::test(flavor = "multi_thread")]
async fn h47_bounded_staleness_believes_no_unconfirmed_leader() {
    let config = Config::local()
        .election_timeout(Duration::from_millis(100))
        .propose_deadline(Duration::from_secs(1))
        .build()
        .unwrap();
    let cluster = Cluster::start(3, config).await;
    applied(guard(cluster.node(0).propose("k=old")).await);
    let old = cluster.leader().await;
    let get = |m: &Map| m.0.get("k").cloned();
    assert!(guard(cluster.node(old).read(Read::Linearizable, get)).await.is_ok());
    let others: Vec<usize> = (0..3).filter(|i| *i != old).collect();
    for i in &others {
        cluster.network.cut(cluster.members[old].id, cluster.members[*i].id);
    }
    write_elsewhere(&cluster, others[0], "k=new").await;
    let fresh = Read::MaxStale(Duration::ZERO);
    let read = guard(cluster.node(old).read(fresh, get)).await;
    assert!(read.is_err(), "served {read:?}, though it cannot know");
    let relaxed = Read::MaxStale(Duration::from_secs(3_600));
    let read = guard(cluster.node(old).read(relaxed, get)).await.unwrap();
    assert_eq!(read.as_deref(), Some("old"), "old enough for that");
    for i in &others {
        cluster.network.heal(cluster.members[old].id, cluster.members[*i].id);
    }
    let mut value = None;
    while value.as_deref() != Some("new") {
        value = guard(cluster.node(old).read(fresh, get)).await.unwrap_or_default();
    }
}

/// Proposes until it is applied: a group that is electing may need several tries.
async fn write_elsewhere(cluster: &Cluster, at: usize, data: &str) -> LogId {
    guard(async {
        loop {
            if let Outcome::Applied { id, .. } = cluster.node(at).propose(data.to_owned()).await {
                return id;
            }
        }
    })
    .await
}

/// The entry that comes to stand at the index of a lost one is not the lost one.
#[tokio::test(flavor = "multi_thread")]
async fn h48_a_waiter_is_not_answered_for_someone_elses_entry() {
    let config = Config::local()
        .election_timeout(Duration::from_millis(500))
        .propose_deadline(Duration::from_secs(25))
        .build()
        .unwrap();
    let cluster = Cluster::start(3, config).await;
    applied(guard(cluster.node(0).propose("k=1")).await);
    let old = cluster.leader().await;
    let others: Vec<usize> = (0..3).filter(|i| *i != old).collect();
    let appended = cluster.node(old).stats().entries_proposed;
    for i in &others {
        cluster.network.cut(cluster.members[old].id, cluster.members[*i].id);
    }
    let lost = tokio::spawn({
        let node = cluster.node(old).clone();
        async move { node.propose("k=lost").await }
    });
    guard(async {
        while cluster.node(old).stats().entries_proposed == appended {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let id = write_elsewhere(&cluster, others[0], "k=2").await;
    for i in &others {
        cluster.network.heal(cluster.members[old].id, cluster.members[*i].id);
    }
    let outcome = guard(lost).await.unwrap();
    let Outcome::Rejected(ProposeError::Superseded { by }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(by.term > LogId::new(1, 1).term && by.index <= id.index, "{by} stands there now");
    let get = |m: &Map| m.0.get("k").cloned();
    let value = guard(cluster.node(old).read(Read::Linearizable, get)).await.unwrap();
    assert_eq!(value.as_deref(), Some("2"));
}

/// A machine whose snapshots fail, and whose restores do.
struct Fragile;

impl StateMachine for Fragile {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        batch.for_each(|_| out.push("ok"));
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        Err(io::Error::other("cannot"))
    }

    fn restore(&mut self, _: &mut dyn io::Read) -> io::Result<()> {
        Err(io::Error::other("will not"))
    }
}

async fn fragile(snapshots: MemorySnapshots) -> Result<Node<Fragile>, StartError> {
    let identity = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1));
    let endpoint =
        Endpoint::start(MemoryNetwork::new().node(identity), EndpointConfig::default()).unwrap();
    Node::<Fragile>::builder(&endpoint)
        .founders(&[NodeId::new(1)])
        .log(MemoryLog::new())
        .snapshots(snapshots)
        .config(config())
        .start(Fragile)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_cannot_make_a_snapshot_goes_on_without() {
    let node = fragile(MemorySnapshots::new()).await.unwrap();
    assert!(matches!(guard(node.propose("a")).await, Outcome::Applied { .. }));
    assert_eq!(&*guard(node.snapshot()).await.unwrap_err(), "cannot");
    assert!(matches!(guard(node.propose("b")).await, Outcome::Applied { .. }));
    // Published at the end of the turn that failed, which was before the turn of this proposal.
    assert_eq!(node.stats().snapshots_failed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_cannot_be_restored_does_not_start() {
    let mut snapshots = MemorySnapshots::new();
    let meta = snapshot(LogId::new(1, 5), &[1]);
    let mut writer = snapshots.create(&meta).unwrap();
    write_snapshot(&mut writer, &meta, Box::new(|_: &mut dyn io::Write| Ok(()))).unwrap();
    writer.finish().unwrap();
    let refused = fragile(snapshots).await;
    let Err(StartError::Snapshots(why)) = refused else { panic!("{refused:?}") };
    assert_eq!(why.to_string(), "will not");
}
