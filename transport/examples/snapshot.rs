//! 64 MiB on the Bulk lane beside calls on the Control lane: prints the 99th percentile of the
//! calls while nothing else goes on and during the stream.

use quorate_transport::{
    Address, CallOptions, Channel, ChannelId, ChannelOptions, ChannelSender, ClusterId, Endpoint,
    EndpointConfig, Identity, Inbound, Incarnation, Lane, NodeId, StreamOptions, TcpConfig,
    TcpTransport,
};
use std::error::Error;
use std::io::Write;
use std::time::Duration;

const SNAPSHOT_BYTES: usize = 64 << 20;
const B: NodeId = NodeId::new(2);
type BoxError = Box<dyn Error>;

/// A node over TCP, where it listens, and its channel.
fn start(n: u64) -> Result<(Endpoint, Channel, Address), BoxError> {
    let id = Identity::new(ClusterId::new(0xC0FFEE), NodeId::new(n), Incarnation::new(1));
    let transport = TcpTransport::bind(id, TcpConfig::local().build()?)?;
    let at = transport.local_addr().ok_or("a member listens")?.into();
    let endpoint = Endpoint::start(transport, EndpointConfig::local().build()?)?;
    let channel = endpoint.channel(ChannelId::new(16), ChannelOptions::new())?;
    Ok((endpoint, channel, at))
}

/// Answers calls and takes streams, each stream in a task of its own.
async fn serve(mut channel: Channel) {
    while let Some(inbound) = channel.recv().await {
        match inbound {
            Inbound::Call { body, reply, .. } => drop(reply.reply(body)),
            Inbound::Stream { mut stream, .. } => drop(tokio::spawn(async move {
                while stream.chunk().await?.is_some() {}
                stream.accept()
            })),
            _ => {}
        }
    }
}

/// Calls one after the other until told to stop; their 99th percentile.
async fn p99(a: &Endpoint, calls: &ChannelSender, stop: impl Future) -> Result<Duration, BoxError> {
    let options = CallOptions::within(Duration::from_secs(5)).lane(Lane::Control);
    let (mut times, mut stop) = (Vec::new(), std::pin::pin!(stop));
    loop {
        let begun = a.runtime().now();
        tokio::select! {
            biased;
            answer = calls.call(B, b"beat", options) => drop(answer?),
            _ = &mut stop => break,
        }
        times.push(a.runtime().now().since(begun));
    }
    times.sort_unstable();
    Ok(times.get(times.len() * 99 / 100).copied().unwrap_or_default())
}

async fn run() -> Result<(), BoxError> {
    let ((a, channel, _), (_b, server, at_b)) = (start(1)?, start(2)?);
    a.set_peer(B, &[at_b]);
    drop(tokio::spawn(serve(server)));
    let (calls, _inbox) = channel.split();

    let idle = p99(&a, &calls, tokio::time::sleep(Duration::from_millis(500))).await?;
    let mut snapshot = calls.open_stream(B, "snapshot".into(), StreamOptions::new())?;
    let sending = tokio::spawn(async move {
        snapshot.send(vec![7; SNAPSHOT_BYTES].into()).await?;
        snapshot.finish().await
    });
    let mut sent = Ok(Ok(()));
    let busy = p99(&a, &calls, async { sent = sending.await }).await?;
    sent??;
    writeln!(std::io::stdout(), "p99 of control calls: idle {idle:?}, during 64 MiB {busy:?}")?;
    Ok(())
}

/// Runs the example.
pub fn main() -> Result<(), BoxError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}
