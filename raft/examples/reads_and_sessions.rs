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
    let (config, mut nodes) = (Config::local().propose_deadline(Duration::from_secs(20)), vec![]);
    for id in ids {
        let identity = Identity::new(ClusterId::new(7), id, Incarnation::new(1));
        let endpoint = Endpoint::start(network.node(identity), EndpointConfig::default())?;
        let builder = Node::<Counter>::builder(&endpoint).founders(&ids).log(MemoryLog::new());
        let builder = builder.snapshots(MemorySnapshots::new()).config(config.clone().build()?);
        nodes.push((builder.start(Counter::default()).await?, endpoint));
    }
    let mut out = io::stdout();
    let led = nodes[0].0.watch().wait_for(|s| s.leader.is_some()).await.ok_or("stopped")?.leader;
    let at = nodes.iter().position(|(n, _)| Some(n.id()) == led).ok_or("none leads")?;
    let (leader, endpoint) = nodes.swap_remove(at);
    let node = &nodes[0].0; // a follower serves all of this
    let session = node.session(Duration::from_secs(60)).await.map_err(|o| format!("{o:?}"))?;
    let Outcome::Applied { id, .. } = session.propose("one").await else { Err("first")? };
    for (mode, cost) in [
        (Read::Linearizable, "the leader is asked, and a quorum: a round shared by all readers"),
        (Read::MaxStale(Duration::from_secs(5)), "nothing, 5 s after any linearizable read"),
        (Read::AtLeast(id.index), "nothing, but the wait until one's own write is here"),
        (Read::Local, "nothing, and no promise"),
    ] {
        let value = node.read(mode, |counter| counter.0).await?;
        writeln!(out, "{mode:?} sees {value}; cost: {cost}")?;
    }
    for n in 2..=40 {
        let asking = session.propose("one");
        let outcome = match n {
            20 => tokio::join!(asking, endpoint.shutdown()).0, // the leader's process dies
            _ => asking.await,
        };
        let Outcome::Applied { reply, .. } = outcome else { Err(format!("{outcome:?}"))? };
        assert_eq!(reply, n.to_string(), "each request counts once");
    }
    let (dead, again) = (leader.id(), node.stats().session_retries);
    writeln!(out, "node {dead} died; 40 requests counted once each, {again} were asked again")?;
    Ok(session.read(Read::Linearizable, |counter| counter.0).await?)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    run().await.map(drop)
}
