//! `kv node`: one node per process.

use crate::CommonArgs;
use crate::cluster::{Bound, Error, LOG_BYTES_MAX, Member, Signals};
use clap::Args;
use quorate_transport::{Address, NodeId};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;

#[derive(Args, Clone)]
pub(crate) struct NodeArgs {
    /// This node's id, at least 1
    #[arg(long)]
    id: NodeId,
    /// Where Redis clients connect
    #[arg(long, default_value = "127.0.0.1:6380")]
    resp: SocketAddr,
    /// A member as ID=HOST:PORT, once for each, this node included
    #[arg(long = "peer", required = true)]
    peers: Vec<String>,
    /// Where the data is kept
    #[arg(long)]
    dir: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
}

/// Arguments that make sense together.
pub(crate) struct Setup {
    member: Member,
    resp: SocketAddr,
    listen: SocketAddr,
    peers: Vec<(NodeId, Address)>,
}

impl NodeArgs {
    /// Checks what clap cannot.
    pub(crate) fn check(self) -> Result<Setup, String> {
        let mut peers: Vec<(NodeId, Address)> = Vec::new();
        for peer in &self.peers {
            let (id, address) = peer
                .split_once('=')
                .ok_or_else(|| format!("--peer {peer}: expected ID=HOST:PORT"))?;
            let id = id.parse().map_err(|error| format!("--peer {peer}: {error}"))?;
            let address = address.parse().map_err(|error| format!("--peer {peer}: {error}"))?;
            if peers.iter().any(|(other, _)| *other == id) {
                return Err(format!("--peer {peer}: node {id} is given twice"));
            }
            peers.push((id, address));
        }
        let own = peers.iter().find(|(id, _)| *id == self.id);
        let (_, own) = own.ok_or_else(|| format!("--id {}: no --peer {}=…", self.id, self.id))?;
        let listen = own
            .to_string()
            .parse()
            .map_err(|error| format!("--peer {}={own}: {error}", self.id))?;
        let member = Member {
            id: self.id,
            cluster: self.common.cluster,
            dir: self.dir,
            election_timeout: self.common.election_timeout_duration(),
            max_clients: self.common.max_clients,
            log_bytes_max: LOG_BYTES_MAX,
        };
        Ok(Setup { member, resp: self.resp, listen, peers })
    }
}

/// Runs until Ctrl-C or SIGTERM.
#[expect(clippy::print_stdout, reason = "it talks to the person who started it")]
pub(crate) async fn run(setup: Setup) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let listener = TcpListener::bind(setup.resp)
        .await
        .map_err(|error| format!("--resp {}: {error}", setup.resp))?;
    let node = Bound::new(setup.member, setup.listen)?.start(&setup.peers, listener).await?;
    println!("node {} serves {} from {}", node.id, node.resp, node.dir.display());
    signals.asked_to_end().await;
    node.stop().await
}
