//! P10 and P12: what calls allocate, and what idle connections hold.

use crate::certificates::Authority;
use crate::oneway::LOST;
use crate::ours::{self, CHANNEL, PAYLOAD, SERVER, any_port, identity, open, start};
use crate::side::{Side, Sides};
use crate::subject::{Caller, Served, Subject};
use crate::{Bench, peers};
use bytes::Bytes;
use quorate_benches::count::{Counted, counted, here};
use quorate_benches::sheet::Line;
use quorate_transport::{Endpoint, Lane, NodeId, TcpConfig, TcpTransport};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CALLS: u64 = 2_000;

fn per_call(subject: &mut Subject, sides: &Sides, depth: usize) -> f64 {
    // Tables and buffers grow to their size before anything is counted.
    subject.count(sides, depth, CALLS / depth as u64);
    let ((), found) = counted(|| subject.count(sides, depth, CALLS / depth as u64));
    found.allocations as f64 / (CALLS / depth as u64 * depth as u64) as f64
}

/// P10: allocations of a call, on both sides together.
pub(crate) fn allocations(bench: &mut Bench) {
    let sides = Sides::new();
    for depth in [1, 64] {
        let mine = per_call(&mut ours::calls(&sides), &sides, depth);
        let mut line = Line::new(&format!("P10 allocations of a call, both sides, depth {depth}"))
            .value(&format!("{mine:.2}"), mine, "allocations");
        let others = [peers::tarpc::calls(&sides), peers::tonic::calls(&sides)];
        for mut peer in others {
            let found = per_call(&mut peer, &sides, depth);
            line = line.peer(peer.name, &format!("{found:.2}"), found / mine.max(0.01));
        }
        bench.sheet.push(line.note("reported"));
    }
    send_path(bench, &sides);
}

/// What the client's thread allocates for messages that nobody answers.
fn send_path(bench: &mut Bench, sides: &Sides) {
    let pair = ours::Pair::new(sides);
    let _server = open(&pair.server, CHANNEL);
    let (sender, _receiver) = open(&pair.client, CHANNEL).split();
    let send = || {
        let sender = sender.clone();
        sides.client.run(async move {
            let (before, body) = (here(), Bytes::from_static(PAYLOAD));
            for _ in 0..CALLS {
                sender.send(SERVER, Lane::Data, body.clone()).expect("room");
                tokio::task::yield_now().await;
            }
            here() - before
        })
    };
    send();
    let (found, _) = counted(send);
    let each = found as f64 / CALLS as f64;
    let line = Line::new("P10 allocations of a one-way message on the thread of its sender");
    let line = line.value(&format!("{each:.3}"), each, "allocations");
    bench.sheet.push(line.goal("0 in steady state", found <= 2));
}

/// Client and server nodes that all know each other: so many connections by three lanes each.
const CLIENTS: u64 = 19;
const SERVERS: u64 = 18;
const CONNECTIONS: u64 = CLIENTS * SERVERS * 3;

fn nodes(sides: &Sides, sealed: bool) -> (Vec<Endpoint>, Vec<Endpoint>) {
    let authority = sealed.then(Authority::new);
    let settings = |node| {
        let config = TcpConfig::local().listen(any_port());
        let config = authority.iter().fold(config, |c, authority| c.tls(authority.certify(node)));
        (identity(node, 1), config)
    };
    let begin = |side: &Side, first, count| {
        let all: Vec<_> = (first..first + count).map(settings).collect();
        side.run(async { all.into_iter().map(|(id, config)| start(id, config)).collect() })
    };
    let servers: Vec<(Arc<TcpTransport>, Endpoint)> = begin(&sides.server, 1_000, SERVERS);
    let clients: Vec<(Arc<TcpTransport>, Endpoint)> = begin(&sides.client, 1, CLIENTS);
    for (_, client) in &clients {
        for (tcp, server) in &servers {
            let at = tcp.local_addr().expect("a member listens");
            client.set_peer(server.identity().node, &[at.into()]);
        }
    }
    let endpoints = |all: Vec<_>| all.into_iter().map(|(_, endpoint)| endpoint).collect();
    (endpoints(clients), endpoints(servers))
}

/// Every lane of every pair is used once, at once or one after the other; then nothing is said
/// until all pings are over. How many are up then: a dial that fails is not made again without
/// something to send.
fn connect_all(clients: &[Endpoint], servers: &[Endpoint], at_once: bool) -> u64 {
    let up = || servers.iter().map(|s| s.transport_stats().sessions_open).sum::<u64>();
    let mut wanted = 0;
    for client in clients {
        let channel = open(client, CHANNEL);
        for (server, lane) in (0..SERVERS).flat_map(|s| Lane::ALL.map(|lane| (s, lane))) {
            let sent = channel.send(NodeId::new(1_000 + server), lane, &PAYLOAD[..]);
            sent.expect("queued for the dial");
            wanted += 1;
            while !at_once && up() < wanted {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }
    let asked = Instant::now();
    while up() < CONNECTIONS && asked.elapsed() < 2 * LOST {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(1_500));
    up()
}

fn each(counted: Counted, connections: u64) -> f64 {
    counted.live as f64 / (2 * connections) as f64
}

fn kib(bytes: f64) -> String {
    format!("{:.1} KiB", bytes / 1024.0)
}

/// Live heap bytes of an end, dialed one after the other or all at once, and how many came up.
///
/// On runtimes of its own, which are gone at the end: what earlier connections free while later
/// ones are counted would make these look smaller.
fn hold(sealed: bool, at_once: bool) -> (f64, u64) {
    let sides = Sides::new();
    let (clients, servers) = nodes(&sides, sealed);
    let (up, found) = counted(|| connect_all(&clients, &servers, at_once));
    (each(found, up), up)
}

/// The same of a peer's connections, each used once.
fn held_by<C: Caller, D>(
    server: fn(&Sides) -> (SocketAddr, Served),
    dial: impl Fn(SocketAddr) -> D + Send + 'static,
) -> f64
where
    D: Future<Output = C> + Send,
{
    let sides = Sides::new();
    let (at, _served) = server(&sides);
    let dial_all = async move {
        let mut all = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = dial(at).await;
            client.call().await;
            all.push(client);
        }
        all
    };
    let (_all, found) = counted(|| sides.client.run(dial_all));
    each(found, CONNECTIONS)
}

/// P12 of ours.
fn idle_line(what: &str, sealed: bool) -> (Line, f64) {
    let ((mine, all), (at_once, up)) = (hold(sealed, false), hold(sealed, true));
    assert_eq!(all, CONNECTIONS, "connections were lost");
    let line = Line::new(&format!("P12 heap of an end of {CONNECTIONS} idle {what}"))
        .value(&kib(mine), mine, "bytes")
        .note(&format!("{} when all were dialed at once ({up} came up)", kib(at_once)));
    (line, mine)
}

/// P12: live heap bytes of idle connections, per end.
pub(crate) fn idle(bench: &mut Bench) {
    let (mut line, mine) = idle_line("connections", false);
    let tarpc = held_by(peers::tarpc::server, peers::tarpc::connect);
    line = line.peer("tarpc", &kib(tarpc), tarpc / mine);
    let tonic = held_by(peers::tonic::server, peers::tonic::connect);
    line = line.peer("tonic", &kib(tonic), tonic / mine);
    bench.sheet.push(line.goal("≤ 8 KiB", mine <= 8.0 * 1024.0));

    let (line, mine) = idle_line("TLS connections", true);
    bench.sheet.push(line.goal("≤ 48 KiB", mine <= 48.0 * 1024.0));
}
