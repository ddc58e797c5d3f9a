//! Leadership that moves: because somebody asks for it, or because the leader's disk stands still.

use crate::cluster::{Cluster, Map, guard};
use quorate_raft::{
    AppendRequest, Block, Completion, Config, GroupId, LogIndex, LogStore, MemoryLog,
    MemorySnapshots, Node, OpenLog, Outcome, Owner, SnapshotMeta, StoreError, TransferError,
};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn config() -> Config {
    Config::local().build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_over_when_the_other_leads() {
    let cluster = Cluster::start(3, config()).await;
    let leader = cluster.leader().await;
    let next = (leader + 1) % 3;
    let to = cluster.members[next].id;
    let answer = guard(cluster.node(leader).transfer(Some(to))).await;
    assert_eq!(answer, Ok(to));
    assert_eq!(cluster.node(leader).state().leader, Some(to));
    let again = guard(cluster.node(leader).transfer(None)).await;
    assert_eq!(again, Err(TransferError::NotLeader));
    let unnamed = guard(cluster.node(next).transfer(None)).await.unwrap();
    assert_ne!(unnamed, to);
    let at = usize::try_from(unnamed.value()).unwrap() - 1;
    let stays = guard(cluster.node(at).transfer(Some(unnamed))).await;
    assert_eq!(stays, Ok(unnamed), "it has it already");
    let stranger = guard(cluster.node(at).transfer(Some(NodeId::new(9)))).await;
    assert_eq!(stranger, Err(TransferError::Unknown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h24_a_transfer_to_a_node_that_is_gone_ends_and_leadership_stays() {
    let mut cluster = Cluster::start(3, config()).await;
    let leader = cluster.leader().await;
    let next = (leader + 1) % 3;
    let to = cluster.members[next].id;
    cluster.kill(next).await;
    // Something that it lacks, so that it cannot be asked to campaign at once.
    assert!(matches!(guard(cluster.node(leader).propose("a=1")).await, Outcome::Applied { .. }));
    let answer = guard(cluster.node(leader).transfer(Some(to))).await;
    assert_eq!(answer, Err(TransferError::TimedOut));
    assert!(matches!(guard(cluster.node(leader).propose("b=2")).await, Outcome::Applied { .. }));
}

/// A log whose disk can be told to stand still.
#[derive(Clone, Default)]
struct Stalling {
    log: MemoryLog,
    parked: Arc<Mutex<Option<Vec<Completion<()>>>>>,
}

impl Stalling {
    fn stall(&self) {
        *self.parked.lock().unwrap() = Some(Vec::new());
    }

    fn go_on(&self) {
        let parked = self.parked.lock().unwrap().take().unwrap_or_default();
        parked.into_iter().for_each(|done| done.complete(Ok(())));
    }
}

impl LogStore for Stalling {
    fn open(&mut self, group: GroupId, owner: Owner) -> Result<OpenLog, StoreError> {
        self.log.open(group, owner)
    }

    fn append(&mut self, group: GroupId, request: AppendRequest<'_>, done: Completion<()>) {
        match &mut *self.parked.lock().unwrap() {
            Some(parked) => {
                self.log.append(group, request, Completion::new(|_| {}));
                parked.push(done);
            }
            None => self.log.append(group, request, done),
        }
    }

    fn load(&mut self, group: GroupId, from: LogIndex, max: u64, done: Completion<Vec<Block>>) {
        self.log.load(group, from, max, done);
    }

    fn compact(&mut self, group: GroupId, mark: &SnapshotMeta) -> Result<(), StoreError> {
        self.log.compact(group, mark)
    }

    fn bytes(&self, group: GroupId) -> u64 {
        self.log.bytes(group)
    }
}

struct Stalled {
    nodes: Vec<Node<Map>>,
    disks: Vec<Stalling>,
    endpoints: Vec<Endpoint>,
    leader: usize,
}

/// So many nodes whose disks can be told to stand still.
async fn start(n: u64, config: Config) -> Stalled {
    let network = MemoryNetwork::new();
    let ids: Vec<NodeId> = (1..=n).map(NodeId::new).collect();
    let (mut nodes, mut disks, mut endpoints) = (Vec::new(), Vec::new(), Vec::new());
    for id in &ids {
        let me = Identity::new(ClusterId::new(7), *id, Incarnation::new(1));
        let endpoint = Endpoint::start(network.node(me), EndpointConfig::default()).unwrap();
        let disk = Stalling::default();
        let builder = Node::<Map>::builder(&endpoint).founders(&ids).log(disk.clone());
        let builder = builder.snapshots(MemorySnapshots::new()).config(config.clone());
        nodes.push(builder.start(Map::default()).await.unwrap());
        disks.push(disk);
        endpoints.push(endpoint);
    }
    let led = |s: &quorate_raft::NodeState| s.leader.is_some();
    let first = guard(nodes[0].watch().wait_for(led)).await.unwrap().leader.unwrap();
    let leader = usize::try_from(first.value()).unwrap() - 1;
    Stalled { nodes, disks, endpoints, leader }
}

/// The others go on committing without its disk, but it can apply nothing and answer nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h38_a_leader_whose_disk_stands_still_hands_over() {
    let Stalled { nodes, disks, leader, endpoints: _endpoints } = start(3, config()).await;
    let first = NodeId::new(leader as u64 + 1);
    disks[leader].stall();
    let other = (leader + 1) % 3;
    let node = nodes[other].clone();
    // Nothing is acknowledged by the leader until somebody else leads.
    let proposing = tokio::spawn(async move { node.propose("a=1").await });
    let moved = |s: &quorate_raft::NodeState| s.leader.is_some_and(|id| id != first);
    guard(nodes[other].watch().wait_for(moved)).await.unwrap();
    assert!(matches!(
        guard(proposing).await.unwrap(),
        Outcome::Applied { .. } | Outcome::Unknown { .. }
    ));
    let outcome = guard(nodes[other].propose("b=2")).await;
    let Outcome::Applied { id, .. } = outcome else { panic!("{outcome:?}") };
    assert!(nodes[leader].stats().disk_stalls >= 1);
    disks[leader].go_on();
    guard(nodes[leader].watch().wait_for(|s| s.applied >= id.index)).await.unwrap();
}

/// Whom it hands over to is gone: nobody may have to wait for a disk because of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h38_a_leader_whose_disk_stands_still_and_whose_successor_is_gone_steps_down() {
    let (t, stall) = (Duration::from_millis(600), Duration::from_millis(400));
    let config = Config::local().election_timeout(t).disk_stall(stall).build().unwrap();
    let Stalled { nodes, disks, leader, mut endpoints } = start(5, config).await;
    let first = NodeId::new(leader as u64 + 1);
    assert!(matches!(guard(nodes[leader].propose("a=1")).await, Outcome::Applied { .. }));
    disks[leader].stall();
    let followers: Vec<usize> = (0..5).filter(|i| *i != leader).collect();
    let node = nodes[followers[0]].clone();
    let proposing = tokio::spawn(async move { node.propose("b=2").await });
    assert!(matches!(guard(proposing).await.unwrap(), Outcome::Applied { .. }));
    // All others have it, so that the last of them is as good as any, and is the one.
    for i in &followers {
        let last = nodes[*i].stats().last;
        guard(nodes[*i].watch().wait_for(|s| s.commit >= last)).await.unwrap();
    }
    let successor = *followers.last().unwrap();
    let _ = endpoints.remove(successor).shutdown().await;
    let moved = |s: &quorate_raft::NodeState| s.leader.is_some_and(|id| id != first);
    guard(nodes[followers[0]].watch().wait_for(moved)).await.unwrap();
    assert!(matches!(guard(nodes[followers[0]].propose("c=3")).await, Outcome::Applied { .. }));
    assert!(nodes[leader].stats().disk_stalls >= 1);
}
