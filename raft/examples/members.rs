//! Three nodes; one is replaced by a newcomer while clients write, without a gap.
//!
//! `cargo run -p quorate-raft --example members`

use quorate_raft::{
    Batch, MemoryLog, MemorySnapshots, Node, Outcome, Read, Replies, SnapshotSource, StateMachine,
};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use std::io::{self, Write};

type AnyError = Box<dyn std::error::Error>;

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
        let n = self.0;
        Ok(Box::new(move |w: &mut dyn Write| w.write_all(&n.to_le_bytes())))
    }

    fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()> {
        let mut bytes = [0; 8];
        r.read_exact(&mut bytes)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

/// A node; one without founders waits until somebody adds it.
async fn start(
    network: &MemoryNetwork,
    id: NodeId,
    founders: &[NodeId],
) -> Result<Node<Counter>, AnyError> {
    let me = Identity::new(ClusterId::new(7), id, Incarnation::new(1));
    let endpoint = Endpoint::start(network.node(me), EndpointConfig::default())?;
    let builder = Node::<Counter>::builder(&endpoint).founders(founders).log(MemoryLog::new());
    Ok(builder.snapshots(MemorySnapshots::new()).start(Counter::default()).await?)
}

pub(crate) async fn run() -> Result<u64, AnyError> {
    let (network, ids) = (MemoryNetwork::new(), [1, 2, 3].map(NodeId::new));
    let mut nodes = Vec::new();
    for id in ids {
        nodes.push(start(&network, id, &ids).await?);
    }
    let (old, new) = (ids[2], NodeId::new(4));
    let newcomer = start(&network, new, &[]).await?;
    let writes = async {
        for _ in 0..100 {
            let outcome = nodes[0].propose("one").await;
            let Outcome::Applied { .. } = outcome else { Err(format!("{outcome:?}"))? };
        }
        Ok::<(), AnyError>(())
    };
    let replace = nodes[0].members().replace(old, new);
    let (written, replaced) = tokio::join!(writes, replace);
    written?;
    replaced?;
    let count = newcomer.read(Read::Linearizable, |counter| counter.0).await?;
    let voters = &nodes[0].members().now().voters;
    writeln!(io::stdout(), "the voters are {voters:?}, the newcomer counts {count}")?;
    Ok(count)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    run().await.map(drop)
}
