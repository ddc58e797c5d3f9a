//! SIGKILL under load, again and again: nothing acknowledged is lost.

use crate::process::{Process, free_ports};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KILLS: usize = 10;
const WRITERS: u64 = 8;
/// Acknowledged writes between two kills: progress is waited for, not time.
const WRITES_BETWEEN: u64 = 200;

struct Cluster {
    nodes: Vec<Process>,
    args: Vec<Vec<String>>,
    ports: Vec<u16>,
    _folder: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports = free_ports(6);
        let args: Vec<Vec<String>> = (0..3)
            .map(|n| {
                let mut args: Vec<String> =
                    ["node", "--election-timeout", "300", "--id"].map(str::to_owned).to_vec();
                args.push((n + 1).to_string());
                args.extend(["--resp".to_owned(), format!("127.0.0.1:{}", ports[n])]);
                args.extend(["--dir".to_owned(), format!("{}/{n}", folder.path().display())]);
                for (id, port) in (1..).zip(&ports[3..]) {
                    args.extend(["--peer".to_owned(), format!("{id}=127.0.0.1:{port}")]);
                }
                args
            })
            .collect();
        let nodes = args.iter().map(|args| spawn(args)).collect();
        Self { nodes, args, ports: ports[..3].to_vec(), _folder: folder }
    }
}

fn spawn(args: &[String]) -> Process {
    Process::start(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn connect(port: u16) -> redis::RedisResult<redis::Connection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(connection)
}

/// Writes ever higher values to its own key until told to stop; returns what was acknowledged last,
/// and what was tried last.
fn writer(
    id: u64,
    ports: &[u16],
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
    newest: &Mutex<BTreeMap<u64, (u64, u64)>>,
) {
    let (mut value, mut at) = (0, usize::try_from(id).unwrap());
    while !stop.load(Ordering::Relaxed) {
        at = (at + 1) % ports.len();
        let Ok(mut connection) = connect(ports[at]) else { continue };
        while !stop.load(Ordering::Relaxed) {
            value += 1;
            let mut all = newest.lock().unwrap();
            all.entry(id).or_default().1 = value;
            drop(all);
            let written: redis::RedisResult<()> =
                redis::cmd("SET").arg(format!("w{id}")).arg(value).query(&mut connection);
            match written {
                Ok(()) => {
                    newest.lock().unwrap().entry(id).or_default().0 = value;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => break,
            }
        }
    }
}

#[test]
fn kill_minus_nine_under_load_loses_nothing_acknowledged() {
    let mut cluster = Cluster::start();
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let newest = Arc::new(Mutex::new(BTreeMap::new()));
    let writers: Vec<_> = (0..WRITERS)
        .map(|id| {
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            let (newest, ports) = (Arc::clone(&newest), cluster.ports.clone());
            std::thread::spawn(move || writer(id, &ports, &stop, &acknowledged, &newest))
        })
        .collect();
    for kill in 0..KILLS {
        wait_for_progress(&acknowledged);
        let victim = kill % 3;
        cluster.nodes[victim].kill();
        wait_for_progress(&acknowledged);
        cluster.nodes[victim] = spawn(&cluster.args[victim]);
    }
    wait_for_progress(&acknowledged);
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|w| w.join().unwrap());
    // All at once, too: what is there must be on disk.
    cluster.nodes.iter_mut().for_each(Process::kill);
    for n in 0..3 {
        cluster.nodes[n] = spawn(&cluster.args[n]);
    }
    let mut connection = serving(cluster.ports[0]);
    for (id, (acknowledged, tried)) in newest.lock().unwrap().iter() {
        let found: u64 = redis::cmd("GET").arg(format!("w{id}")).query(&mut connection).unwrap();
        assert!(
            (*acknowledged..=*tried).contains(&found),
            "writer {id}: {found} found, {acknowledged} acknowledged, {tried} tried"
        );
    }
}

/// Until the cluster has acknowledged some more; a cluster that stands still fails.
fn wait_for_progress(acknowledged: &AtomicU64) {
    let before = acknowledged.load(Ordering::Relaxed);
    for _ in 0..6_000 {
        if acknowledged.load(Ordering::Relaxed) >= before + WRITES_BETWEEN {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("no progress in a minute");
}

fn serving(port: u16) -> redis::Connection {
    for _ in 0..600 {
        if let Ok(mut connection) = connect(port)
            && redis::cmd("GET").arg("-").query::<Option<String>>(&mut connection).is_ok()
        {
            return connection;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("the cluster does not serve");
}
