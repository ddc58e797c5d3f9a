//! One node from its parts: a write-ahead log, snapshots, a transport, a replica, and a RESP
//! listener.

use crate::machine::Machine;
use crate::resp::Server;
use quorate_clocks::{Clock, SystemClock};
use quorate_raft::{Config, Limits, Node, SnapshotDir, WalLog};
use quorate_transport::{
    Address, ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, NodeId, TcpConfig,
    TcpTransport,
};
use quorate_wal::Wal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

/// A value, its key and what surrounds them must fit one entry, an entry one frame and one log
/// batch.
const ENTRY_BYTES_MAX: u32 = 12 << 20;

pub(crate) const LOG_BYTES_MAX: u64 = 64 << 20;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Who a node is and where it keeps its data.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) dir: PathBuf,
    pub(crate) election_timeout: Duration,
    pub(crate) max_clients: usize,
    /// Entries that the log may hold before a snapshot takes their place.
    pub(crate) log_bytes_max: u64,
}

/// A node that can be reached by its peers and is not started yet.
pub(crate) struct Bound {
    member: Member,
    transport: Arc<TcpTransport>,
}

impl Bound {
    /// Listens for peers.
    pub(crate) fn new(member: Member, listen: SocketAddr) -> Result<Self, Error> {
        // Rises at each start as long as the wall clock moves on.
        let started = SystemClock::new().wall().as_nanos();
        let identity = Identity::new(member.cluster, member.id, Incarnation::new(started));
        let transport = TcpTransport::bind(identity, TcpConfig::local().listen(listen).build()?)?;
        Ok(Self { member, transport })
    }

    pub(crate) fn id(&self) -> NodeId {
        self.member.id
    }

    pub(crate) fn address(&self) -> Result<Address, Error> {
        Ok(self.transport.local_addr().ok_or("a node that listens has an address")?.into())
    }

    /// Opens the data and joins the group of `peers`, itself among them.
    pub(crate) async fn start(
        self,
        peers: &[(NodeId, Address)],
        listener: TcpListener,
    ) -> Result<Running, Error> {
        let wal = open_log(&self.member.dir)?;
        self.start_on(wal, peers, listener).await
    }

    /// The same with a log that is open already.
    pub(crate) async fn start_on(
        self,
        wal: Wal,
        peers: &[(NodeId, Address)],
        listener: TcpListener,
    ) -> Result<Running, Error> {
        let member = self.member;
        let endpoint = Endpoint::start(self.transport, EndpointConfig::local().build()?)?;
        for (id, address) in peers.iter().filter(|(id, _)| *id != member.id) {
            endpoint.set_peer(*id, std::slice::from_ref(address));
        }
        let founders: Vec<NodeId> = peers.iter().map(|(id, _)| *id).collect();
        let node = Node::<Machine>::builder(&endpoint)
            .founders(&founders)
            .log(WalLog::new(wal.clone()))
            .snapshots(SnapshotDir::open(member.dir.join("snapshots"))?)
            .config(raft_config(&member)?)
            .start(Machine::default())
            .await
            .map_err(|error| format!("{}: {error}", member.dir.display()))?;
        let resp = listener.local_addr()?;
        let server = Server::new(node.clone(), Arc::new(SystemClock::new()), member.max_clients);
        let serving = tokio::spawn(server.serve(listener));
        Ok(Running { id: member.id, dir: member.dir, resp, node, endpoint, wal, serving })
    }
}

fn open_log(dir: &Path) -> Result<Wal, Error> {
    let dir = dir.join("log");
    let (wal, report) =
        Wal::open(&dir, log_config()?).map_err(|error| format!("{}: {error}", dir.display()))?;
    tracing::debug!(dir = %dir.display(), ?report, "log opened");
    Ok(wal)
}

pub(crate) fn log_config() -> Result<quorate_wal::Config, Error> {
    Ok(quorate_wal::Config::server()
        .segment_bytes(64 << 20)
        .batch_bytes_max(u64::from(ENTRY_BYTES_MAX) + (1 << 20))
        .staged_bytes_max(32 << 20)
        .build()?)
}

fn raft_config(member: &Member) -> Result<Config, Error> {
    let election_timeout = member.election_timeout;
    Ok(Config::local()
        .election_timeout(election_timeout)
        .heartbeat_interval(election_timeout / 10)
        .propose_deadline(election_timeout * 10)
        .limits(Limits::default().entry_bytes_max(ENTRY_BYTES_MAX))
        .log_bytes_max(member.log_bytes_max)
        .log_trailing_bytes(8 << 20)
        .log_cache_bytes(8 << 20)
        .build()?)
}

/// A node that serves.
pub(crate) struct Running {
    pub(crate) id: NodeId,
    pub(crate) dir: PathBuf,
    pub(crate) resp: SocketAddr,
    pub(crate) node: Node<Machine>,
    endpoint: Endpoint,
    wal: Wal,
    serving: JoinHandle<()>,
}

impl Running {
    /// Ends connections, leadership, the replica, the transport and the log, in this order.
    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.serving.abort();
        let replica = self.node.shutdown().await;
        // Frames to peers that are gone already do not matter now.
        let _ = self.endpoint.shutdown().await;
        self.wal.shutdown().await?;
        Ok(replica?)
    }
}

/// Ctrl-C and SIGTERM, listened to from the moment this is made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self, Error> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    /// Resolves when the process is asked to end.
    pub(crate) async fn asked_to_end(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
