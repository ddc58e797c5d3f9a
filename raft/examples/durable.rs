//! Three nodes over TCP keep a list of lines in DIR/node-1..3 (default: a temporary folder): write,
//! stop all of them, start again, the lines are there.

use quorate_clocks::{Clock as _, SystemClock};
use quorate_raft::*;
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, NodeId, TcpConfig, TcpTransport,
    Transport as _,
};
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

#[derive(Default)]
struct Lines(Vec<u8>);

impl StateMachine for Lines {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        for entry in batch {
            self.0.extend_from_slice(&[entry.data, b"\n"].concat());
            out.push(Vec::new());
        }
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        let frozen = self.0.clone();
        Ok(Box::new(move |w: &mut dyn Write| w.write_all(&frozen)))
    }

    fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()> {
        self.0.clear();
        r.read_to_end(&mut self.0).map(drop)
    }
}

/// Starts all three, adds a line, reads every line, stops all three.
async fn live(dir: &Path, line: &str) -> Result<String, Box<dyn Error>> {
    let ids = [1, 2, 3].map(NodeId::new);
    let life = Incarnation::new(SystemClock::new().wall().as_nanos()); // rises at each start
    let tcp = TcpConfig::local().build()?;
    let me = |id| Identity::new(ClusterId::new(7), id, life);
    let bind = |id| TcpTransport::bind(me(id), tcp.clone());
    let transports = [bind(ids[0])?, bind(ids[1])?, bind(ids[2])?];
    let at: Vec<_> = transports.iter().filter_map(|t| t.local_addr()).collect();
    let mut running = Vec::new();
    for (id, transport) in ids.into_iter().zip(transports) {
        ids.iter().zip(&at).for_each(|(peer, at)| transport.set_peer(*peer, &[(*at).into()]));
        let home = dir.join(format!("node-{id}"));
        let config = quorate_wal::Config::server().build()?;
        let (wal, _) = quorate_wal::Wal::open(home.join("log"), config)?;
        let endpoint = Endpoint::start(transport, EndpointConfig::default())?;
        let builder = Node::<Lines>::builder(&endpoint).config(Config::local().build()?);
        let builder = builder.founders(&ids).log(WalLog::new(wal.clone()));
        let builder = builder.snapshots(SnapshotDir::open(home.join("snapshots"))?);
        running.push((builder.start(Lines::default()).await?, endpoint, wal));
    }
    let outcome = running[1].0.propose(line.to_owned()).await;
    let Outcome::Applied { .. } = outcome else { return Err(format!("{outcome:?}").into()) };
    let lines = running[2].0.read(Read::Linearizable, |lines| lines.0.clone()).await?;
    for (node, endpoint, wal) in running {
        node.shutdown().await?;
        let _ = endpoint.shutdown().await; // frames to peers that are gone do not matter
        wal.shutdown().await?;
    }
    Ok(String::from_utf8(lines)?)
}

pub(crate) async fn run(dir: &Path) -> Result<String, Box<dyn Error>> {
    live(dir, "written in one life").await?;
    live(dir, "written in the next").await
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), Into::into);
    Ok(io::stdout().write_all(run(&dir).await?.as_bytes())?)
}
