//! `kv local`: three nodes in one process on loopback.

use crate::cluster::{Bound, Error, LOG_BYTES_MAX, Member, Running, Signals};
use quorate_transport::{ClusterId, NodeId};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;

const NODES: u64 = 3;
const LEADER_WAIT: Duration = Duration::from_secs(4);

pub(crate) struct Local {
    pub(crate) dir: PathBuf,
    pub(crate) cluster: ClusterId,
    pub(crate) port: u16,
    pub(crate) election_timeout: Duration,
    pub(crate) max_clients: usize,
}

/// Runs until Ctrl-C.
#[expect(clippy::print_stdout, reason = "it talks to the person who started it")]
pub(crate) async fn run(options: Local) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let nodes = start(&options).await?;
    println!("{:<6} {:<22} {:<24} role", "node", "RESP address", "data");
    let leader = tokio::select! {
        biased;
        () = signals.asked_to_end() => return stop(nodes).await,
        leader = leader(&nodes[0]) => leader,
    };
    for node in &nodes {
        let role = if Some(node.id) == leader { "leader" } else { "follower" };
        println!("{:<6} {:<22} {:<24} {role}", node.id, node.resp, node.dir.display());
    }
    println!("\nredis-cli -p {} set hello world", nodes[0].resp.port());
    signals.asked_to_end().await;
    println!("stopping");
    stop(nodes).await
}

pub(crate) async fn start(options: &Local) -> Result<Vec<Running>, Error> {
    let mut bound = Vec::new();
    for id in 1..=NODES {
        let member = Member {
            id: NodeId::new(id),
            cluster: options.cluster,
            dir: options.dir.join(format!("node-{id}")),
            election_timeout: options.election_timeout,
            max_clients: options.max_clients,
            log_bytes_max: LOG_BYTES_MAX,
        };
        bound.push(Bound::new(member, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?);
    }
    let peers: Vec<_> =
        bound.iter().map(|b| Ok((b.id(), b.address()?))).collect::<Result<_, Error>>()?;
    let mut running = Vec::new();
    for (node, n) in bound.into_iter().zip(0_u16..) {
        let port = if options.port == 0 { 0 } else { options.port + n };
        running.push(node.start(&peers, listen(port).await?).await?);
    }
    Ok(running)
}

/// On the port, or on a free one if it is taken.
#[expect(clippy::print_stdout, reason = "it talks to the person who started it")]
async fn listen(port: u16) -> Result<TcpListener, Error> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            println!("port {port} is taken, using {} instead", listener.local_addr()?.port());
            Ok(listener)
        }
        Err(error) => Err(format!("127.0.0.1:{port}: {error}").into()),
    }
}

pub(crate) async fn leader(node: &Running) -> Option<NodeId> {
    let mut watch = node.node.watch();
    let elected = watch.wait_for(|state| state.leader.is_some());
    tokio::time::timeout(LEADER_WAIT, elected).await.ok().flatten().and_then(|state| state.leader)
}

/// All at once: handing leadership over to a node that stops next would only take time.
pub(crate) async fn stop(nodes: Vec<Running>) -> Result<(), Error> {
    let mut stopping = tokio::task::JoinSet::new();
    for node in nodes {
        stopping.spawn(node.stop());
    }
    while let Some(stopped) = stopping.join_next().await {
        stopped??;
    }
    Ok(())
}
