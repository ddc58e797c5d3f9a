//! Whole nodes in one process, over the memory transport.

use quorate_raft::{
    AppendRequest, Batch, BusyWhy, Completion, Config, GroupId, LogId, LogIndex, LogStore as _,
    Membership, MemoryLog, MemorySnapshots, Node, Outcome, Owner, ProposeError, Read, Replies,
    Role, SnapshotMeta, SnapshotSource, StateMachine,
};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::task::Poll;
use std::time::Duration;

/// `key=value` sets, `key` alone removes, and replies with the former value; `+key` counts one up
/// and replies with the new value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Map(pub(crate) BTreeMap<String, String>);

impl StateMachine for Map {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        for entry in batch {
            let text = String::from_utf8_lossy(entry.data).into_owned();
            assert!(text != "panic", "asked for");
            if let Some(key) = text.strip_prefix('+') {
                let count = self.0.entry(key.to_owned()).or_insert_with(|| "0".to_owned());
                *count = (count.parse::<u64>().unwrap() + 1).to_string();
                out.push(count.clone().into_bytes());
                continue;
            }
            let before = match text.split_once('=') {
                Some((key, value)) => self.0.insert(key.to_owned(), value.to_owned()),
                None => self.0.remove(&text),
            };
            out.push(before.unwrap_or_default().into_bytes());
        }
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        let lines: String = self.0.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
        Ok(Box::new(move |w: &mut dyn io::Write| w.write_all(lines.as_bytes())))
    }

    fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()> {
        let mut text = String::new();
        r.read_to_string(&mut text)?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        self.0 = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Ok(())
    }
}

pub(crate) struct Member {
    pub(crate) id: NodeId,
    pub(crate) log: MemoryLog,
    pub(crate) snapshots: MemorySnapshots,
    pub(crate) incarnation: u64,
    /// One of the first voters; others join with nothing.
    pub(crate) founder: bool,
    pub(crate) running: Option<(Node<Map>, Endpoint)>,
}

/// A log of a group that was founded already, by nodes that are not here.
pub(crate) fn founded(mut log: MemoryLog, owner: Owner, members: &[NodeId]) -> MemoryLog {
    let group = GroupId::new(1);
    log.open(group, owner).unwrap();
    let mark = SnapshotMeta::new(LogId::ZERO, Membership::of_voters(members));
    let request = AppendRequest::new(None, &[], Some(&mark), true);
    log.append(group, request, Completion::new(|done| done.unwrap()));
    log
}

impl Member {
    fn new(id: u64, founder: bool) -> Self {
        Self {
            id: NodeId::new(id),
            log: MemoryLog::new(),
            snapshots: MemorySnapshots::new(),
            incarnation: 0,
            founder,
            running: None,
        }
    }
}

pub(crate) struct Cluster {
    pub(crate) network: MemoryNetwork,
    pub(crate) members: Vec<Member>,
    pub(crate) config: Config,
}

impl Cluster {
    pub(crate) async fn start(n: u64, config: Config) -> Self {
        let members = (1..=n).map(|id| Member::new(id, true)).collect();
        let mut cluster = Self { network: MemoryNetwork::new(), members, config };
        for i in 0..cluster.members.len() {
            cluster.run(i).await;
        }
        cluster
    }

    pub(crate) async fn run(&mut self, i: usize) {
        let founders = self.members.iter().filter(|m| m.founder).map(|m| m.id);
        let is_founder = self.members[i].founder;
        let founders: Vec<NodeId> = founders.filter(|_| is_founder).collect();
        self.run_with(i, &founders).await;
    }

    /// A node that is started with founders of its own.
    pub(crate) async fn found(&mut self, id: u64, founders: &[u64]) {
        self.members.push(Member::new(id, true));
        let founders: Vec<NodeId> = founders.iter().copied().map(NodeId::new).collect();
        self.run_with(self.members.len() - 1, &founders).await;
    }

    async fn run_with(&mut self, i: usize, founders: &[NodeId]) {
        let member = &mut self.members[i];
        member.incarnation += 1;
        let incarnation = Incarnation::new(member.incarnation);
        let identity = Identity::new(ClusterId::new(7), member.id, incarnation);
        let endpoint =
            Endpoint::start(self.network.node(identity), EndpointConfig::default()).unwrap();
        let node = Node::<Map>::builder(&endpoint)
            .founders(founders)
            .log(member.log.clone())
            .snapshots(member.snapshots.clone())
            .config(self.config.clone())
            .start(Map::default())
            .await
            .unwrap();
        member.running = Some((node, endpoint));
    }

    /// The disk of node `i`, which is not running, is replaced by an empty one.
    pub(crate) fn lose_disk(&mut self, i: usize) {
        self.members[i].log = MemoryLog::new();
        self.members[i].snapshots = MemorySnapshots::new();
    }

    /// Another node comes up, which knows nobody.
    pub(crate) async fn join(&mut self) -> NodeId {
        let id = self.members.len() as u64 + 1;
        self.members.push(Member::new(id, false));
        self.run(self.members.len() - 1).await;
        NodeId::new(id)
    }

    /// The node vanishes without a word.
    pub(crate) async fn kill(&mut self, i: usize) {
        let (node, endpoint) = self.members[i].running.take().unwrap();
        let _ = endpoint.shutdown().await;
        drop(node);
    }

    pub(crate) fn node(&self, i: usize) -> &Node<Map> {
        &self.members[i].running.as_ref().unwrap().0
    }

    pub(crate) fn alive(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|i| self.members[*i].running.is_some()).collect()
    }

    /// Waits until some node leads, and returns which.
    pub(crate) async fn leader(&self) -> usize {
        let mut watch = self.node(self.alive()[0]).watch();
        let alive = self.alive();
        let led = |leader: NodeId| alive.iter().any(|i| self.members[*i].id == leader);
        let wait = watch.wait_for(|s| s.leader.is_some_and(led));
        let state = guard(wait).await.unwrap();
        usize::try_from(state.leader.unwrap().value()).unwrap() - 1
    }

    pub(crate) async fn caught_up(&self, index: LogIndex) {
        for i in self.alive() {
            let mut watch = self.node(i).watch();
            guard(watch.wait_for(|s| s.applied >= index)).await.unwrap();
        }
    }
}

/// Nothing here takes long; a test that hangs should say where.
pub(crate) async fn guard<F: Future>(f: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), f).await.expect("in time")
}

pub(crate) fn applied(outcome: Outcome) -> (LogIndex, String) {
    match outcome {
        Outcome::Applied { id, reply } => (id.index, String::from_utf8(reply.to_vec()).unwrap()),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn config() -> Config {
    Config::local().election_timeout(Duration::from_millis(150)).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_takes_proposals_and_reads_see_them() {
    let cluster = Cluster::start(3, config()).await;
    for (i, value) in [(0, "a"), (1, "b"), (2, "c")] {
        let (_, before) = applied(guard(cluster.node(i).propose(format!("k={value}"))).await);
        let expected = ["", "a", "b"][i];
        assert_eq!(before, expected);
    }
    for i in 0..3 {
        let get = |m: &Map| m.0.get("k").cloned();
        let value = guard(cluster.node(i).read(Read::Linearizable, get)).await.unwrap();
        assert_eq!(value.as_deref(), Some("c"));
        let stale = Read::MaxStale(Duration::from_secs(60));
        let value = guard(cluster.node(i).read(stale, get)).await.unwrap();
        assert_eq!(value.as_deref(), Some("c"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_proposals_from_everywhere_apply_once_each_in_one_order() {
    let cluster = Cluster::start(3, config()).await;
    let mut tasks = Vec::new();
    for i in 0..3 {
        let node = cluster.node(i).clone();
        tasks.push(tokio::spawn(async move {
            let data = (0..200).map(|n| format!("{i}-{n}=x").into()).collect();
            node.propose_many(data).await
        }));
    }
    let mut last = LogIndex::ZERO;
    for task in tasks {
        for outcome in guard(task).await.unwrap() {
            last = last.max(applied(outcome).0);
        }
    }
    cluster.caught_up(last).await;
    let first = guard(cluster.node(0).read(Read::Local, Map::clone)).await.unwrap();
    assert_eq!(first.0.len(), 600);
    for i in 1..3 {
        assert_eq!(guard(cluster.node(i).read(Read::Local, Map::clone)).await.unwrap(), first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_leader_is_replaced_and_comes_back() {
    let mut cluster = Cluster::start(3, config()).await;
    applied(guard(cluster.node(0).propose("k=1")).await);
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    let survivor = cluster.alive()[0];
    let (_, before) = applied(guard(cluster.node(survivor).propose("k=2")).await);
    assert_eq!(before, "1");
    assert_ne!(cluster.leader().await, leader);
    cluster.run(leader).await;
    let (index, before) = applied(guard(cluster.node(leader).propose("k=3")).await);
    assert_eq!(before, "2");
    cluster.caught_up(index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_proposals_end_definitely_and_reads_fail() {
    let config = Config::local()
        .election_timeout(Duration::from_millis(50))
        .heartbeat_interval(Duration::from_millis(10))
        .propose_deadline(Duration::from_millis(300))
        .build()
        .unwrap();
    let mut cluster = Cluster::start(3, config).await;
    applied(guard(cluster.node(0).propose("k=1")).await);
    let keep = cluster.leader().await;
    for i in cluster.alive() {
        if i != keep {
            cluster.kill(i).await;
        }
    }
    // While it still believes to lead, an outcome may be unknown; once it knows better, it is
    // definite.
    let mut watch = cluster.node(keep).watch();
    guard(watch.wait_for(|s| s.role != Role::Leader)).await.unwrap();
    let outcome = guard(cluster.node(keep).propose("k=2")).await;
    assert_eq!(outcome, Outcome::Rejected(ProposeError::NoLeader));
    assert!(guard(cluster.node(keep).read(Read::Linearizable, |_| ())).await.is_err());
    assert!(guard(cluster.node(keep).read(Read::Local, |_| ())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_missed_the_compacted_log_gets_a_snapshot() {
    let config = Config::local()
        .election_timeout(Duration::from_millis(150))
        .log_bytes_max(64 << 10)
        .log_trailing_bytes(0)
        .snapshot_chunk_bytes(4 << 10)
        .build()
        .unwrap();
    let mut cluster = Cluster::start(3, config).await;
    let leader = cluster.leader().await;
    let victim = (leader + 1) % 3;
    cluster.kill(victim).await;
    let big = "v".repeat(1_000);
    let mut last = LogIndex::ZERO;
    for n in 0..300 {
        last = applied(guard(cluster.node(leader).propose(format!("{n}={big}"))).await).0;
    }
    // What an active follower still needs is kept: go on until the dead one does not count as
    // active.
    let needed = LogIndex::new(100);
    guard(async {
        while cluster.node(leader).stats().first <= needed {
            guard(cluster.node(leader).snapshot()).await.unwrap();
            last = applied(cluster.node(leader).propose("k=v").await).0;
        }
    })
    .await;
    cluster.run(victim).await;
    cluster.caught_up(last).await;
    assert_eq!(cluster.node(victim).stats().snapshots_received, 1);
    let a = guard(cluster.node(victim).read(Read::Local, Map::clone)).await.unwrap();
    let b = guard(cluster.node(leader).read(Read::Local, Map::clone)).await.unwrap();
    assert_eq!(a, b);
    // And it starts again on that snapshot.
    cluster.kill(victim).await;
    cluster.run(victim).await;
    cluster.caught_up(last).await;
    assert_eq!(guard(cluster.node(victim).read(Read::Local, Map::clone)).await.unwrap(), b);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_shutdown_hands_leadership_over() {
    let mut cluster = Cluster::start(3, config()).await;
    applied(guard(cluster.node(0).propose("k=1")).await);
    let leader = cluster.leader().await;
    let (node, endpoint) = cluster.members[leader].running.take().unwrap();
    guard(node.shutdown()).await.unwrap();
    let _ = guard(endpoint.shutdown()).await;
    let survivor = cluster.alive()[0];
    assert_eq!(applied(guard(cluster.node(survivor).propose("k=2")).await).1, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn replication_can_be_asked_for_from_anywhere() {
    let cluster = Cluster::start(3, config()).await;
    let (index, _) = applied(guard(cluster.node(0).propose("k=1")).await);
    for i in 0..3 {
        let all = NonZeroU32::new(3).unwrap();
        let within = Duration::from_secs(10);
        let count = guard(cluster.node(i).replicated(index, all, within)).await.unwrap();
        assert_eq!(count, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_panics_stops_its_replica_only() {
    let cluster = Cluster::start(1, config()).await;
    applied(guard(cluster.node(0).propose("k=1")).await);
    let outcome = guard(cluster.node(0).propose("panic")).await;
    assert!(matches!(outcome, Outcome::Unknown { at: Some(_) }), "{outcome:?}");
    let mut watch = cluster.node(0).watch();
    let state = watch.state();
    assert!(state.stopped.is_some_and(|why| why.contains("panicked")));
    let outcome = guard(cluster.node(0).propose("k=2")).await;
    assert_eq!(outcome, Outcome::Rejected(ProposeError::Stopped));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_too_much_is_refused_at_once() {
    let config = Config::local()
        .election_timeout(Duration::from_millis(150))
        .limits(quorate_raft::Limits::default().entry_bytes_max(100))
        .proposal_queue_bytes_max(1 << 10)
        .build()
        .unwrap();
    let cluster = Cluster::start(1, config).await;
    let outcome = guard(cluster.node(0).propose(vec![b'x'; 101])).await;
    assert_eq!(outcome, Outcome::Rejected(ProposeError::TooLarge { max: 100 }));
    let flood = (0..200).map(|n| format!("{n}={}", "v".repeat(80)).into()).collect();
    let outcomes = guard(cluster.node(0).propose_many(flood)).await;
    let busy = Outcome::Rejected(ProposeError::Busy { why: BusyWhy::Queue });
    assert!(outcomes.contains(&busy), "the queue is bounded by bytes");
    let done = outcomes.iter().filter(|o| matches!(o, Outcome::Applied { .. })).count();
    let refused = outcomes.iter().filter(|o| **o == busy).count();
    assert_eq!(done + refused, 200);
}

#[tokio::test]
async fn a_dropped_proposal_still_takes_effect_and_disturbs_nobody() {
    let cluster = Cluster::start(1, config()).await;
    applied(guard(cluster.node(0).propose("k=1")).await);
    for n in 0..50 {
        let mut proposal = Box::pin(cluster.node(0).propose(format!("k=dropped {n}")));
        // Handed over with the first poll; nobody waits for what becomes of it. (One thread: the
        // node cannot have answered yet.)
        let polled = std::future::poll_fn(|cx| Poll::Ready(proposal.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        drop(proposal);
        let (_, before) = applied(guard(cluster.node(0).propose("k=kept")).await);
        assert_eq!(before, format!("dropped {n}"));
    }
}
