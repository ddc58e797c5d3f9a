//! Three nodes in one process count together; the leader dies, counting goes on.

use quorate_raft::{
    Batch, Config, MemoryLog, MemorySnapshots, Node, Outcome, Read, Replies, SnapshotSource,
    StateMachine,
};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

#[derive(Default)]
struct Counter(u64);

impl StateMachine for Counter {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        for _one in batch {
            self.0 += 1;
            out.push(self.0.to_string().into_bytes());
        }
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        let frozen = self.0.to_le_bytes();
        Ok(Box::new(move |w: &mut dyn Write| w.write_all(&frozen)))
    }

    fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()> {
        let mut bytes = [0; 8];
        r.read_exact(&mut bytes)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

/// Counts one up, at whichever node; asks again while the group is electing.
async fn count(node: &Node<Counter>) -> Result<String, Box<dyn Error>> {
    loop {
        match node.propose("one").await {
            Outcome::Applied { reply, .. } => return Ok(String::from_utf8(reply.to_vec())?),
            Outcome::Rejected(why) if why.is_retryable() => {} // it can never take effect
            other => return Err(format!("{other:?}").into()),  // it may have: do not repeat it
        }
    }
}

pub(crate) async fn run() -> Result<u64, Box<dyn Error>> {
    let (network, ids) = (MemoryNetwork::new(), [1, 2, 3].map(NodeId::new));
    let config = Config::local().election_timeout(Duration::from_millis(150)).build()?;
    let mut nodes = Vec::new();
    for id in ids {
        let identity = Identity::new(ClusterId::new(7), id, Incarnation::new(1));
        let endpoint = Endpoint::start(network.node(identity), EndpointConfig::default())?;
        let builder = Node::<Counter>::builder(&endpoint).founders(&ids).config(config.clone());
        let builder = builder.log(MemoryLog::new()).snapshots(MemorySnapshots::new());
        nodes.push((builder.start(Counter::default()).await?, endpoint));
    }
    let mut out = io::stdout();
    for (node, _) in &nodes {
        writeln!(out, "node {} counts: {}", node.id(), count(node).await?)?;
    }
    let leads = |n: &Node<Counter>| n.state().leader == Some(n.id());
    let leader = nodes.iter().position(|(n, _)| leads(n)).ok_or("no leader")?;
    let (dead, endpoint) = nodes.swap_remove(leader);
    writeln!(out, "node {} led, and is gone", dead.id())?;
    let _ = endpoint.shutdown().await; // as if the process had died
    for (node, _) in &nodes {
        writeln!(out, "node {} counts: {}", node.id(), count(node).await?)?;
    }
    Ok(nodes[0].0.read(Read::Linearizable, |counter| counter.0).await?)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    run().await.map(drop)
}
