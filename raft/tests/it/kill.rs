//! kill -9 of a real process under load, on the real file system: what the group acknowledged is
//! there afterwards, once.
//!
//! The child is this test binary run again with an environment variable. It runs a whole group,
//! each node on its own log and snapshots, and says which requests were applied; it is ended by its
//! own handle, and at the latest by its own clock.

use quorate_raft::{
    Batch, Config, Limits, LogIndex, Node, Outcome, Read, Replies, Session, SnapshotDir,
    SnapshotSource, StateMachine, WalLog,
};
use quorate_sim::Rng;
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use quorate_wal::Wal;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

const FOLDER: &str = "QUORATE_RAFT_KILL_CHILD";
const LIFE: &str = "QUORATE_RAFT_KILL_LIFE";
const NODES: [NodeId; 3] = [NodeId::new(1), NodeId::new(2), NodeId::new(3)];
/// Of the clients of a node: those beside its sessions.
const PLAIN: u64 = 2;
const CLIENTS: u64 = 3;
/// Requests of one client in one life, at most.
const REQUESTS_MAX: u64 = 10_000;
/// A child that nobody kills ends by itself.
const CHILD_LIVES: Duration = Duration::from_secs(60);

// --- The group ---------------------------------------------------------------------------------

/// How often each numbered request was applied.
#[derive(Clone, Debug, Default)]
struct Ledger(BTreeMap<u64, u64>);

impl StateMachine for Ledger {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        for entry in batch {
            let number = u64::from_le_bytes(entry.data[..8].try_into().unwrap());
            *self.0.entry(number).or_default() += 1;
            out.push(entry.data[..8].to_vec());
        }
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        let frozen = self.0.clone();
        Ok(Box::new(move |w: &mut dyn io::Write| {
            frozen.iter().try_for_each(|(number, times)| {
                w.write_all(&number.to_le_bytes())?;
                w.write_all(&times.to_le_bytes())
            })
        }))
    }

    fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        r.read_to_end(&mut bytes)?;
        let word = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap());
        let pairs = bytes.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..])));
        self.0 = pairs.collect();
        Ok(())
    }
}

/// Snapshots every few hundred requests, so that kills meet them and compactions.
fn config() -> Config {
    Config::local()
        .election_timeout(Duration::from_millis(100))
        .limits(Limits::default().entry_bytes_max(8 << 10).block_bytes_max(64 << 10))
        .log_bytes_max(32 << 10)
        .log_trailing_bytes(4 << 10)
        .snapshot_chunk_bytes(4 << 10)
        .build()
        .unwrap()
}

struct Running {
    node: Node<Ledger>,
    _endpoint: Endpoint,
}

/// All three, on what is in the folder.
async fn start(folder: &Path, life: u64) -> Vec<Running> {
    let network = MemoryNetwork::new();
    let mut all = Vec::new();
    for id in NODES {
        let home = folder.join(format!("node-{id}"));
        let identity = Identity::new(ClusterId::new(7), id, Incarnation::new(life));
        let endpoint = Endpoint::start(network.node(identity), EndpointConfig::default()).unwrap();
        let wal = quorate_wal::Config::embedded().segment_bytes(1 << 20);
        let wal = wal.batch_bytes_max(1 << 18).build().unwrap();
        let (wal, _) = Wal::open(home.join("log"), wal).unwrap();
        let node = Node::<Ledger>::builder(&endpoint)
            .founders(&NODES)
            .log(WalLog::new(wal))
            .snapshots(SnapshotDir::open(home.join("snapshots")).unwrap())
            .config(config())
            .start(Ledger::default())
            .await
            .unwrap();
        all.push(Running { node, _endpoint: endpoint });
    }
    all
}

// --- The child ---------------------------------------------------------------------------------

/// Names a request, for all lives; the client says whether it is one of a session.
fn number(life: u64, client: u64, request: u64) -> u64 {
    (life * 100 + client) * REQUESTS_MAX + request
}

fn is_in_session(number: u64) -> bool {
    number / REQUESTS_MAX % 100 % CLIENTS >= PLAIN
}

fn request(number: u64) -> Vec<u8> {
    let mut data = number.to_le_bytes().to_vec();
    data.resize(120, b'.');
    data
}

/// One whole line, or none: the parent never reads half a number.
fn acknowledge(number: u64) {
    let line = format!("applied {number}\n");
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).expect("the parent reads");
}

/// Proposes as fast as it is answered, each request once.
async fn client(node: Node<Ledger>, life: u64, client: u64) {
    let mut session: Option<Session<Ledger>> = None;
    for n in 0..REQUESTS_MAX {
        let number = number(life, client, n);
        let outcome = if is_in_session(number) {
            if session.is_none() {
                session = node.session(Duration::from_secs(600)).await.ok();
            }
            let Some(session) = &session else { continue };
            session.propose(request(number)).await
        } else {
            node.propose(request(number)).await
        };
        match outcome {
            Outcome::Applied { reply, .. } => {
                assert_eq!(reply[..], number.to_le_bytes(), "the reply to another request");
                acknowledge(number);
            }
            Outcome::ReplyLost { .. } => acknowledge(number),
            _ => {} // refused or unknown: never asked for again
        }
    }
}

/// Not a test of its own: the body of the child.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    // It does not outlive a parent that forgot it.
    let (_never, told) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if told.recv_timeout(CHILD_LIVES) == Err(RecvTimeoutError::Timeout) {
            std::process::abort();
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let group = start(&folder, life).await;
        let mut tasks = Vec::new();
        for (i, running) in (0..).zip(&group) {
            for n in 0..CLIENTS {
                tasks.push(tokio::spawn(client(running.node.clone(), life, i * CLIENTS + n)));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

// --- The parent --------------------------------------------------------------------------------

/// A child that does not outlive its parent's interest in it.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a child complains about goes here.
fn complaints(folder: &Path) -> PathBuf {
    folder.join("complaints")
}

fn spawn(folder: &Path, life: u64) -> (Reaped, BufReader<ChildStdout>) {
    let complaints = fs::File::create(complaints(folder)).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .stderr(complaints)
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (Reaped(child), out)
}

/// Runs a child until it has said so many lines, kills it, and returns all that it said.
fn one_life(folder: &Path, life: u64, lines: usize) -> Vec<u64> {
    let (mut child, out) = spawn(folder, life);
    let mut acknowledged = Vec::new();
    // To the end: what was written before the kill was said.
    for line in out.lines().map_while(Result::ok) {
        let said = line.rsplit_once("applied ").and_then(|(_, n)| n.parse().ok());
        acknowledged.extend::<Option<u64>>(said);
        if acknowledged.len() == lines {
            child.0.kill().unwrap();
        }
    }
    let status = child.0.wait().unwrap();
    let said = || fs::read_to_string(complaints(folder)).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(status.signal(), Some(9), "life {life} ended by itself: {}", said());
    }
    assert!(acknowledged.len() >= lines, "life {life}: {status}: {}", said());
    acknowledged
}

/// What the group says after the last kill, and how far its logs were compacted.
fn after_all(folder: &Path, life: u64) -> (BTreeMap<u64, u64>, Vec<LogIndex>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let group = start(folder, life).await;
        let read = async {
            loop {
                let read = group[0].node.read(Read::Linearizable, Ledger::clone).await;
                if let Ok(ledger) = read {
                    return ledger.0;
                }
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(30), read).await.expect("in time");
        let mut first = Vec::new();
        for running in group {
            first.push(running.node.stats().first);
            running.node.shutdown().await.unwrap();
        }
        (found, first)
    })
}

fn kills() -> u64 {
    let many = std::env::var_os("QUORATE_SEEDS").is_some() || !cfg!(debug_assertions);
    if many { 20 } else { 3 }
}

#[test]
fn kill() {
    let folder = tempfile::tempdir().unwrap();
    let kills = kills();
    let mut acknowledged = Vec::new();
    let mut rng = Rng::stream(kills, "kill", 0, 0);
    for life in 1..=kills {
        // Now and then at once, while the group is still starting to serve.
        let lines = if rng.chance(200_000) { 1 } else { 1 + rng.index(600) };
        acknowledged.extend(one_life(folder.path(), life, lines));
    }
    let (found, first) = after_all(folder.path(), kills + 1);
    let lost = acknowledged.iter().filter(|number| !found.contains_key(number)).count();
    let twice: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
    let in_session = acknowledged.iter().filter(|number| is_in_session(**number)).count();
    println!("logs start at {first:?}; {} requests applied in all", found.len());
    println!("{in_session} of the acknowledged ones in sessions, applied twice: {}", twice.len());
    println!("killed children {kills} times: acknowledged {}, lost {lost}", acknowledged.len());
    assert_eq!(lost, 0);
    // A session's request is applied once however often it is handed over; another one is handed
    // over once.
    assert!(twice.is_empty(), "{twice:?}");
    assert!(in_session > 0 && in_session < acknowledged.len());
    assert!(first.iter().all(|first| first.value() > 1), "nothing was compacted: {first:?}");
}
