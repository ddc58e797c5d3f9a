//! The row "disk full" of the limits: three nodes that share a disk without space, and a client.

use crate::cluster::{Bound, Member, Running, log_config};
use crate::local;
use quorate_clocks::{Clock as _, SystemClock};
use quorate_transport::{ClusterId, NodeId};
use quorate_wal::{Wal, vfs::MemVfs};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

const VALUE_BYTES: usize = 4 << 20;
/// More than the segments that are prepared already can take.
const WRITES_MAX: usize = 100;
const GUARD: Duration = Duration::from_secs(60);

async fn start(disk: &MemVfs, snapshots: &Path) -> Vec<Running> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound: Vec<Bound> = (1..=3)
        .map(|id| {
            let member = Member {
                id: NodeId::new(id),
                cluster: ClusterId::new(7),
                dir: snapshots.join(format!("node-{id}")),
                election_timeout: Duration::from_millis(200),
                max_clients: 10,
                // A snapshot would let segments be written again, for as long as the disk is full.
                log_bytes_max: u64::MAX,
            };
            Bound::new(member, loopback).unwrap()
        })
        .collect();
    let peers: Vec<_> = bound.iter().map(|b| (b.id(), b.address().unwrap())).collect();
    let mut running = Vec::new();
    for node in bound {
        let dir = format!("log-{}", node.id());
        let config = log_config().unwrap();
        let (wal, _) = Wal::open_on(Arc::new(disk.clone()), Path::new(&dir), config, None).unwrap();
        let listener = TcpListener::bind(loopback).await.unwrap();
        running.push(node.start_on(wal, &peers, listener).await.unwrap());
    }
    running
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(node: &Running) -> Self {
        Self(BufReader::new(TcpStream::connect(node.resp).await.unwrap()))
    }

    /// A request and the first line of its answer, with the value if it is one.
    async fn ask(&mut self, args: &[&str]) -> String {
        let mut request = format!("*{}\r\n", args.len());
        for arg in args {
            request += &format!("${}\r\n{arg}\r\n", arg.len());
        }
        let asked = async {
            self.0.get_mut().write_all(request.as_bytes()).await.unwrap();
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            let Some(len) = line.strip_prefix('$').and_then(|n| n.trim_end().parse().ok()) else {
                return line.trim_end().to_owned();
            };
            let mut value = vec![0; len];
            self.0.read_exact(&mut value).await.unwrap();
            self.0.read_line(&mut line).await.unwrap();
            String::from_utf8(value).unwrap()
        };
        tokio::time::timeout(GUARD, asked).await.expect("an answer")
    }

    /// Asks again as long as the answer begins like this, which means that it was not done.
    async fn ask_while(&mut self, refused: &str, args: &[&str]) -> String {
        let clock = SystemClock::new();
        let end = clock.monotonic().saturating_add(GUARD);
        loop {
            let answer = self.ask(args).await;
            if !answer.starts_with(refused) || clock.monotonic() > end {
                return answer;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_serves_reads_loses_nothing_and_recovers() {
    let disk = MemVfs::new();
    let snapshots = tempfile::tempdir().unwrap();
    let nodes = start(&disk, snapshots.path()).await;
    let mut client = Client::connect(&nodes[0]).await;
    assert_eq!(client.ask_while("-TRYAGAIN", &["SET", "small", "1"]).await, "+OK");
    // Somebody else took all of it.
    disk.quota(Some(0), false);

    let value = "v".repeat(VALUE_BYTES);
    let (mut acknowledged, mut refused) = (Vec::new(), false);
    for n in 0..WRITES_MAX {
        let key = format!("key-{n}");
        let answer = client.ask_while("-TRYAGAIN", &["SET", &key, &value]).await;
        match answer.as_str() {
            "+OK" => acknowledged.push(key),
            "-OOM disk full" => {
                refused = true;
                break;
            }
            other => assert!(other.starts_with("-UNKNOWN"), "{other}"),
        }
    }
    assert!(refused, "{} writes fit a full disk", acknowledged.len());
    assert!(!acknowledged.is_empty(), "what was prepared before takes some");

    // The leader's log holds all that was acknowledged.
    let leader = local::leader(&nodes[0]).await.expect("a full disk deposes nobody");
    let leader = nodes.iter().find(|node| node.id == leader).expect("one of the three");
    let mut at_leader = Client::connect(leader).await;
    assert_eq!(at_leader.ask(&["GET", "small"]).await, "1");
    for key in &acknowledged {
        assert!(at_leader.ask(&["GET", key]).await == value, "{key} was acknowledged");
    }

    disk.quota(None, false);
    assert_eq!(client.ask_while("-", &["SET", "small", "2"]).await, "+OK", "space returned");
    for node in &nodes {
        let mut client = Client::connect(node).await;
        assert_eq!(client.ask_while("-TRYAGAIN", &["GET", "small"]).await, "2");
        for key in &acknowledged {
            assert!(
                client.ask_while("-TRYAGAIN", &["GET", key]).await == value,
                "{key} was acknowledged"
            );
        }
    }
    local::stop(nodes).await.unwrap();
}
