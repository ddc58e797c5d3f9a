//! A snapshot transfer that is cut in the middle goes on where it was: when the connection comes
//! back, when the receiver starts again, when the sender does. What goes over the wire is counted
//! there. (5.8)

mod wire;

use crate::cluster::{Map, applied, guard};
use quorate_raft::{Config, LogIndex, MemoryLog, Node, Read, SnapshotDir};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wire::{Cut, Tap, Wire};

const SENDER: NodeId = NodeId::new(1);
const RECEIVER: NodeId = NodeId::new(2);
const CHUNK: u32 = 16 << 10;
/// Pieces that may be under way at once.
const IN_FLIGHT_MAX: usize = 4;

/// A node and what it leaves on its disk.
struct Member {
    id: NodeId,
    founders: Vec<NodeId>,
    log: MemoryLog,
    snapshots: PathBuf,
    incarnation: u64,
    running: Option<(Node<Map>, Endpoint)>,
}

impl Member {
    fn new(id: NodeId, founders: &[NodeId], folder: &tempfile::TempDir) -> Self {
        Self {
            id,
            founders: founders.to_vec(),
            log: MemoryLog::new(),
            snapshots: folder.path().join(format!("node-{id}")),
            incarnation: 0,
            running: None,
        }
    }

    async fn run(&mut self, network: &MemoryNetwork, wire: &Arc<Wire>) {
        self.incarnation += 1;
        let incarnation = Incarnation::new(self.incarnation);
        let identity = Identity::new(ClusterId::new(7), self.id, incarnation);
        let tap = Arc::new(Tap::new(network.node(identity), Arc::clone(wire)));
        let endpoint = Endpoint::start(tap, EndpointConfig::default()).unwrap();
        let config = Config::local()
            .election_timeout(Duration::from_millis(100))
            .snapshot_chunk_bytes(CHUNK)
            .log_trailing_bytes(0)
            .build()
            .unwrap();
        let node = Node::<Map>::builder(&endpoint)
            .founders(&self.founders)
            .log(self.log.clone())
            .snapshots(SnapshotDir::open(&self.snapshots).unwrap())
            .config(config)
            .start(Map::default())
            .await
            .unwrap();
        self.running = Some((node, endpoint));
    }

    /// It vanishes without a word.
    async fn kill(&mut self) {
        let (node, endpoint) = self.running.take().unwrap();
        let _ = endpoint.shutdown().await;
        drop(node);
    }

    fn node(&self) -> &Node<Map> {
        &self.running.as_ref().unwrap().0
    }

    async fn state(&self) -> Map {
        guard(self.node().read(Read::Local, Map::clone)).await.unwrap()
    }

    fn parts(&self) -> usize {
        let names = std::fs::read_dir(&self.snapshots).unwrap();
        names
            .filter(|name| name.as_ref().unwrap().path().extension() == Some("part".as_ref()))
            .count()
    }
}

/// A group of one with a state of some size, and a node beside it that is to learn it.
struct Pair {
    network: MemoryNetwork,
    wire: Arc<Wire>,
    sender: Member,
    receiver: Member,
    last: LogIndex,
    _folder: tempfile::TempDir,
}

impl Pair {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = MemoryNetwork::new();
        let wire = Arc::new(Wire::new(network.clone(), SENDER, RECEIVER));
        let mut sender = Member::new(SENDER, &[SENDER], &folder);
        let mut receiver = Member::new(RECEIVER, &[], &folder);
        sender.run(&network, &wire).await;
        receiver.run(&network, &wire).await;
        let value = "v".repeat(8 << 10);
        let mut last = LogIndex::ZERO;
        for n in 0..100 {
            last = applied(guard(sender.node().propose(format!("{n}={n}{value}"))).await).0;
        }
        Self { network, wire, sender, receiver, last, _folder: folder }
    }

    /// Begins the transfer and cuts it when half of it is over.
    async fn cut_at_half(&mut self, cut: Cut) {
        self.wire.cut_at_half(cut);
        let added = guard(self.sender.node().members().add_learner(RECEIVER)).await;
        self.last = added.unwrap();
        guard(self.wire.was_cut()).await;
    }

    fn heal(&self) {
        self.network.heal(SENDER, RECEIVER);
    }

    /// Lets it come to its end, looks at what was sent, and says it.
    async fn finish(&self) -> String {
        let mut watch = self.receiver.node().watch();
        guard(watch.wait_for(|s| s.applied >= self.last)).await.unwrap();
        assert_eq!(self.receiver.state().await, self.sender.state().await);
        assert_eq!(self.receiver.node().stats().snapshots_received, 1);
        assert_eq!(self.receiver.parts(), 0, "the whole has its name");
        let sent = self.wire.sent();
        let (at, total, again) = (sent.resumed_at.unwrap(), sent.total, sent.again);
        assert!(total > u64::from(CHUNK) * 20, "enough pieces for half of them to matter");
        assert!(at * 2 + 2 * u64::from(CHUNK) >= total, "it went on where it was");
        assert!(again <= 1);
        // Nobody holds the whole of it: a few pieces are under way, none larger than agreed.
        assert!((1..=IN_FLIGHT_MAX).contains(&sent.in_flight_most), "{sent:?}");
        assert!(sent.piece_most <= u64::from(CHUNK), "{sent:?}");
        format!("resumed at {at} of {total} bytes, chunks sent again: {again}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_comes_back() {
    for (cut, case) in [
        (Cut::Piece, "connection cut, a piece lost"),
        (Cut::Answer, "connection cut, an answer lost"),
    ] {
        let mut pair = Pair::start().await;
        pair.cut_at_half(cut).await;
        pair.heal();
        println!("{case}: {}", pair.finish().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_starts_again() {
    let mut pair = Pair::start().await;
    pair.cut_at_half(Cut::Piece).await;
    pair.receiver.kill().await;
    assert_eq!(pair.receiver.parts(), 1, "what arrived is kept");
    pair.heal();
    pair.receiver.run(&pair.network, &pair.wire).await;
    println!("receiver restarted: {}", pair.finish().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_starts_again() {
    let mut pair = Pair::start().await;
    pair.cut_at_half(Cut::Piece).await;
    pair.sender.kill().await;
    pair.heal();
    pair.sender.run(&pair.network, &pair.wire).await;
    println!("sender restarted: {}", pair.finish().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_start_again() {
    let mut pair = Pair::start().await;
    pair.cut_at_half(Cut::Answer).await;
    pair.sender.kill().await;
    pair.receiver.kill().await;
    pair.heal();
    pair.receiver.run(&pair.network, &pair.wire).await;
    pair.sender.run(&pair.network, &pair.wire).await;
    println!("both restarted: {}", pair.finish().await);
}
