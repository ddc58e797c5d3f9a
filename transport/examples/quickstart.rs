//! Two nodes talk: first in memory, then with the same lines over TCP.

use quorate_transport::{
    CallOptions, ChannelId, ChannelOptions, ClusterId, Endpoint, EndpointConfig, Identity, Inbound,
    Incarnation, Lane, MemoryNetwork, NodeId, TcpConfig, TcpTransport, Transport,
};
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const A: NodeId = NodeId::new(1);
const B: NodeId = NodeId::new(2);
const GREETINGS: ChannelId = ChannelId::new(16);

fn identity(node: NodeId) -> Identity {
    Identity::new(ClusterId::new(0xC0FFEE), node, Incarnation::new(1))
}

/// Neither side knows what carries its frames.
async fn talk(a: Endpoint, b: Endpoint) -> Result<String, Box<dyn Error>> {
    let client = a.channel(GREETINGS, ChannelOptions::new())?;
    let mut server = b.channel(GREETINGS, ChannelOptions::new())?;
    client.send(B, Lane::Control, b"a one-way message")?;
    let answer = client.call(B, b"a call", CallOptions::within(Duration::from_secs(5)));
    for _ in 0..2 {
        match server.recv().await {
            Some(Inbound::Call { body, reply, .. }) => {
                reply.reply([b"you said ", &body[..]].concat())?;
            }
            Some(other) => drop(other),
            None => return Err("endpoint is closed".into()),
        }
    }
    let answer = String::from_utf8(answer.await?.to_vec())?;
    a.shutdown().await?;
    b.shutdown().await?;
    Ok(answer)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    let start =
        |transport: Arc<dyn Transport>| Endpoint::start(transport, EndpointConfig::default());

    let network = MemoryNetwork::new();
    let (a, b) = (start(network.node(identity(A)))?, start(network.node(identity(B)))?);
    writeln!(out, "in memory: {}", talk(a, b).await?)?;

    let bind = |node| -> Result<_, Box<dyn Error>> {
        Ok(TcpTransport::bind(identity(node), TcpConfig::local().build()?)?)
    };
    let (a, b) = (bind(A)?, bind(B)?);
    a.set_peer(B, &[b.local_addr().ok_or("b does not listen")?.into()]);
    writeln!(out, "over TCP: {}", talk(start(a)?, start(b)?).await?)?;
    Ok(())
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}
