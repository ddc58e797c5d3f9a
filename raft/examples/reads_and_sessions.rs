//! What each way to read costs, and requests that count exactly once although their leader dies.

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

pub(crate) async fn run() -> Result<u64, Box<dyn Error>> {
    let (network, ids) = (MemoryNetwork::new(), [1, 2, 3].map(NodeId::new));
    let t = Duration::from_millis(150);
    let draft = Config::local().election_timeout(t).propose_deadline(Duration::from_secs(20));
    let (config, mut nodes) = (draft.build()?, Vec::new());
    for id in ids {
        let identity = Identity::new(ClusterId::new(7), id, Incarnation::new(1));
        let endpoint = Endpoint::start(network.node(identity), EndpointConfig::default())?;
        let builder = Node::<Counter>::builder(&endpoint).founders(&ids).config(config.clone());
        let builder = builder.log(MemoryLog::new()).snapshots(MemorySnapshots::new());
        nodes.push((builder.start(Counter::default()).await?, endpoint));
    }
    let mut out = io::stdout();
    let led = nodes[0].0.watch().wait_for(|s| s.leader.is_some()).await?.leader;
    let at = nodes.iter().position(|(node, _)| Some(node.id()) == led).ok_or("who leads?")?;
    let (leader, endpoint) = nodes.swap_remove(at);
    let node = &nodes[0].0; // a follower serves all of this
    let session = node.session(Duration::from_secs(60)).await.map_err(|o| format!("{o:?}"))?;
    let Outcome::Applied { id, .. } = session.propose("one").await else { Err("first")? };
    for (mode, cost) in [
        (Read::Linearizable, "a call to the leader, a round of heartbeats shared by all readers"),
        (Read::MaxStale(Duration::from_secs(5)), "nothing, 5 s after any linearizable read"),
        (Read::AtLeast(id.index), "nothing, but the wait until one's own write is here"),
        (Read::Local, "nothing, and no promise"),
    ] {
        let before = node.stats().messages_out;
        let value = node.read(mode, |counter| counter.0).await?;
        let sent = node.stats().messages_out - before;
        writeln!(out, "{mode:?}: {value}; {sent} messages; costs {cost}")?;
    }
    for n in 2..=40 {
        if n == 20 {
            writeln!(out, "node {} leads, and is gone", leader.id())?;
            let _ = endpoint.shutdown().await; // as if the process had died
        }
        let outcome = session.propose("one").await; // asked again until it is answered
        let Outcome::Applied { reply, .. } = outcome else { Err(format!("{outcome:?}"))? };
        assert_eq!(reply, n.to_string(), "each request counts once");
    }
    let value = session.read(Read::Linearizable, |counter| counter.0).await?;
    let again = node.stats().session_retries;
    writeln!(out, "40 requests, {again} asked again, counted to {value}")?;
    Ok(value)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    run().await.map(drop)
}
