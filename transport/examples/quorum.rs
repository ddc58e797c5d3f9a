//! Five nodes, one of them silent: a majority answers, then the stragglers are heard.

use quorate_transport::{
    CallOptions, ChannelId, ChannelOptions, ChannelReceiver, ClusterId, Endpoint, EndpointConfig,
    Identity, Inbound, Incarnation, MemoryNetwork, NodeId,
};
use std::error::Error;
use std::io::Write;
use std::time::Duration;

const VOTES: ChannelId = ChannelId::new(16);

/// Says yes to every call, or takes them and never answers.
async fn vote(mut calls: ChannelReceiver, silent: bool) {
    let mut unanswered = Vec::new();
    while let Some(inbound) = calls.recv().await {
        let Inbound::Call { reply, .. } = inbound else { continue };
        if silent {
            unanswered.push(reply);
        } else {
            let _ = reply.reply(b"yes"); // a caller that is gone needs no answer
        }
    }
}

/// Asks five nodes, this one among them, and says what came of it.
///
/// # Errors
/// If there is no majority.
pub async fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    let mut senders = Vec::new();
    for n in 1..=5 {
        let node = NodeId::new(n);
        let id = Identity::new(ClusterId::new(0xC0FFEE), node, Incarnation::new(1));
        let endpoint = Endpoint::start(network.node(id), EndpointConfig::default())?;
        let (sender, receiver) = endpoint.channel(VOTES, ChannelOptions::new())?.split();
        drop(tokio::spawn(vote(receiver, n == 5)));
        nodes.push(node);
        senders.push(sender);
    }

    let options = CallOptions::within(Duration::from_millis(200));
    let mut votes = senders[0].call_all(&nodes, b"may I lead?", options);
    let quorum = votes.quorum(3).await?;
    writeln!(out, "a majority: {} of {} said yes", quorum.replies.len(), nodes.len())?;
    while let Some((node, outcome)) = votes.next().await {
        match outcome {
            Ok(_) => writeln!(out, "later: node {node} said yes")?,
            Err(error) => writeln!(out, "later: {error}")?,
        }
    }
    Ok(())
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&mut std::io::stdout()))
}
