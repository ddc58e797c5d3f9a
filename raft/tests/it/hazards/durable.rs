//! Whole nodes over the memory transport, each with its log on a disk that can be damaged.

use crate::cluster::{Map, guard};
use quorate_raft::{Config, LogIndex, MemorySnapshots, Node, Outcome, StateMachine, WalLog};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use quorate_wal::vfs::MemVfs;
use quorate_wal::{Recovery, Wal};
use std::path::Path;
use std::sync::Arc;

pub(super) struct Cluster<M = Map> {
    network: MemoryNetwork,
    /// The machine of a node that starts: a new one, or what its disk holds.
    machine: Box<dyn Fn(usize) -> M + Send + Sync>,
    pub(super) disks: Vec<Arc<MemVfs>>,
    snapshots: Vec<MemorySnapshots>,
    running: Vec<Option<(Node<M>, Endpoint)>>,
    lives: u64,
}

impl Cluster {
    pub(super) async fn start(n: usize) -> Self {
        Self::start_with(n, |_| Map::default()).await
    }
}

impl<M: StateMachine> Cluster<M> {
    pub(super) async fn start_with(
        n: usize,
        machine: impl Fn(usize) -> M + Send + Sync + 'static,
    ) -> Self {
        let mut cluster = Self {
            network: MemoryNetwork::new(),
            machine: Box::new(machine),
            disks: (0..n).map(|_| Arc::new(MemVfs::new())).collect(),
            snapshots: (0..n).map(|_| MemorySnapshots::new()).collect(),
            running: (0..n).map(|_| None).collect(),
            lives: 0,
        };
        for i in 0..n {
            cluster.run(i).await;
        }
        cluster
    }

    pub(super) async fn run(&mut self, i: usize) {
        self.lives += 1;
        let ids: Vec<NodeId> = (1..=self.disks.len() as u64).map(NodeId::new).collect();
        let me = Identity::new(ClusterId::new(7), ids[i], Incarnation::new(self.lives));
        let endpoint = Endpoint::start(self.network.node(me), EndpointConfig::default()).unwrap();
        let config = quorate_wal::Config::embedded()
            .segment_bytes(1 << 20)
            .batch_bytes_max(1 << 18)
            .recovery(Recovery::Salvage)
            .build()
            .unwrap();
        let disk = Arc::clone(&self.disks[i]);
        let (wal, report) = Wal::open_on(disk, Path::new("log"), config, None).unwrap();
        let limits =
            quorate_raft::Limits::default().entry_bytes_max(1 << 16).block_bytes_max(1 << 16);
        let node = Node::<M>::builder(&endpoint)
            .founders(&ids)
            .log(WalLog::salvaged(wal, &report).unwrap())
            .snapshots(self.snapshots[i].clone())
            .config(Config::local().limits(limits).log_trailing_bytes(0).build().unwrap())
            .start((self.machine)(i))
            .await
            .unwrap();
        self.running[i] = Some((node, endpoint));
    }

    pub(super) async fn stop(&mut self, i: usize) {
        let (node, endpoint) = self.running[i].take().unwrap();
        guard(node.shutdown()).await.unwrap();
        guard(endpoint.shutdown()).await.unwrap();
    }

    pub(super) fn node(&self, i: usize) -> &Node<M> {
        &self.running[i].as_ref().unwrap().0
    }

    pub(super) async fn leader(&self) -> usize {
        let mut watch = self.node(0).watch();
        let state = guard(watch.wait_for(|s| s.leader.is_some())).await.unwrap();
        usize::try_from(state.leader.unwrap().value()).unwrap() - 1
    }

    /// Asks node `i` to replicate it; returns where it stands.
    pub(super) async fn write(&self, i: usize, text: &str) -> LogIndex {
        let outcome = guard(self.node(i).propose(text.to_owned())).await;
        let Outcome::Applied { id, .. } = outcome else { panic!("{text}: {outcome:?}") };
        id.index
    }
}
