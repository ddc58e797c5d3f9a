//! TCP: clusters in one process, restarts, discovery.

use crate::hazards::raw_hello;
use crate::support::*;
use quorate_transport::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub fn bind(n: u64, incarnation: u64) -> Arc<TcpTransport> {
    TcpTransport::bind(identity(n, incarnation), TcpConfig::local().build().unwrap()).unwrap()
}

/// Endpoints over loopback that all know each other.
pub fn cluster(size: u64) -> Vec<(Endpoint, Arc<TcpTransport>)> {
    let nodes: Vec<_> = (1..=size)
        .map(|n| {
            let transport = bind(n, 1);
            let config = EndpointConfig::local().build().unwrap();
            (Endpoint::start(transport.clone(), config).unwrap(), transport)
        })
        .collect();
    for (endpoint, _) in &nodes {
        for (other, transport) in &nodes {
            let address = transport.local_addr().unwrap();
            endpoint.set_peer(other.identity().node, &[address.into()]);
        }
    }
    nodes
}

/// Answers every call with its own body and counts messages.
pub fn echo(mut receiver: ChannelReceiver) {
    tokio::spawn(async move {
        while let Some(inbound) = receiver.recv().await {
            if let Inbound::Call { body, reply, .. } = inbound {
                let _ = reply.reply(body);
            }
        }
    });
}

pub async fn guarded<T>(what: &str, f: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), f).await.unwrap_or_else(|_| panic!("{what}"))
}

/// Calls until an answer comes, whatever the earlier outcomes.
pub async fn call_until_answered(sender: &ChannelSender, to: NodeId) -> u32 {
    for failures in 0.. {
        if sender.call(to, b"again", CallOptions::within(Duration::from_secs(1))).await.is_ok() {
            return failures;
        }
        tokio::task::yield_now().await;
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_five_talks_on_every_lane() {
    let nodes = cluster(5);
    let senders: Vec<_> = nodes
        .iter()
        .map(|(endpoint, _)| {
            let (sender, receiver) =
                endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap().split();
            echo(receiver);
            sender
        })
        .collect();
    let mut calls = Vec::new();
    let targets: Vec<_> = (1..=5).flat_map(|to| Lane::ALL.map(|lane| (to, lane))).collect();
    for (sender, (to, lane)) in senders.iter().flat_map(|s| targets.iter().map(move |t| (s, t))) {
        for i in 0..20_u8 {
            let call = sender.call(node(*to), vec![i; 100], seconds(20).lane(*lane));
            calls.push((i, call));
        }
    }
    for (i, call) in calls {
        let answer = guarded("an answer", call).await.unwrap();
        assert_eq!(answer, vec![i; 100]);
    }
    for (endpoint, _) in &nodes {
        guarded("shutdown", endpoint.shutdown()).await.unwrap();
        let stats = endpoint.transport_stats();
        assert_eq!((stats.sessions_open, stats.protocol_errors), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_is_reached_again_at_its_address() {
    let nodes = cluster(2);
    let (sender, _receiver) = nodes[0].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split();
    let address = nodes[1].1.local_addr().unwrap();
    echo(nodes[1].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    guarded("first life", call_until_answered(&sender, node(2))).await;
    let (endpoint, transport) = nodes.into_iter().nth(1).unwrap();
    guarded("shutdown", endpoint.shutdown()).await.unwrap();
    drop((endpoint, transport));

    let config = TcpConfig::local().listen(address).build().unwrap();
    let reborn = TcpTransport::bind(identity(2, 2), config).unwrap();
    let reborn = Endpoint::start(reborn, EndpointConfig::default()).unwrap();
    echo(reborn.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    guarded("second life", call_until_answered(&sender, node(2))).await;
}

#[tokio::test]
async fn discovery_names_who_listens() {
    let nodes = cluster(2);
    let client = identity(9, 1).with_role(Role::Client);
    let client = TcpTransport::bind(client, TcpConfig::local().build().unwrap()).unwrap();
    assert_eq!(client.local_addr(), None);
    let client = Endpoint::start(client, EndpointConfig::default()).unwrap();
    let at_b = Address::from(nodes[1].1.local_addr().unwrap());
    let found = guarded("discovery", client.discover(&at_b)).await.unwrap();
    assert_eq!((found.node, found.incarnation), (node(2), Incarnation::new(1)));
    echo(nodes[1].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    let channel = client.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let answer = guarded("an answer", channel.call(node(2), b"x", seconds(20))).await;
    assert_eq!(&answer.unwrap()[..], b"x");
}

struct Deaf;

impl Sink for Deaf {
    fn on_frame(&self, _: Peer, _: Lane, _: SessionId, _: Frame) {}
    fn on_event(&self, _: LinkEvent) {}
    fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
}

/// A sender on another thread may find the connection between its entry in the tables and the
/// answer on the wire; the dialer takes nothing but the answer as the first frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_out_before_the_answer_of_the_handshake() {
    // Each may miss the moment: with 300, one run in five found nothing to refuse.
    const ROUNDS: u64 = 3_000;
    let acceptor = bind(2, 1);
    let at = acceptor.local_addr().unwrap();
    acceptor.start(Arc::new(Deaf)).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let accepted = Arc::new(AtomicU64::new(0));
    let sender = std::thread::spawn({
        let (acceptor, over, accepted) = (acceptor.clone(), over.clone(), accepted.clone());
        move || {
            while !over.load(Ordering::Relaxed) {
                let frame = Frame::message(CHANNEL, &b"early"[..]);
                let sent = acceptor.send(node(1), Lane::Data, frame).is_ok();
                accepted.fetch_add(u64::from(sent), Ordering::Relaxed);
            }
        }
    });
    // On a busy machine the sender may get no turn for a while.
    let is_over = |round| round > ROUNDS && accepted.load(Ordering::Relaxed) > 0;
    for round in (1..=100 * ROUNDS).take_while(|round| !is_over(*round)) {
        let hello = Hello::new(identity(1, round), Lane::Data, Some(node(2)), round);
        let (_stream, ack, _) = raw_hello(at, hello).await;
        assert_eq!((ack.status, ack.nonce), (HelloStatus::Accept, round));
    }
    over.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    assert!(accepted.load(Ordering::Relaxed) > 0, "the sender never found a connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_knows_what_both_sides_announced() {
    let over = |n, window, mode| {
        let config = TcpConfig::local().stream_window_bytes(window).datagrams(mode);
        let transport = TcpTransport::bind(identity(n, 1), config.build().unwrap()).unwrap();
        transport.start(Arc::new(Deaf)).unwrap();
        transport
    };
    let a = over(1, 65_536, DatagramMode::Udp);
    let b = over(2, 2 << 20, DatagramMode::Udp);
    let c = over(3, 1 << 20, DatagramMode::Off);
    assert_eq!(a.lane(node(2), Lane::Data), LaneStatus::default());
    for other in [&b, &c] {
        let to = other.identity().node;
        a.set_peer(to, &[other.local_addr().unwrap().into()]);
        a.send(to, Lane::Data, Frame::message(CHANNEL, &b"x"[..])).unwrap();
        guarded("a session at both ends", async {
            while a.lane(to, Lane::Data).session.is_none()
                || other.lane(node(1), Lane::Data).session.is_none()
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let announced = |at: &TcpTransport, of| {
        let status = at.lane(node(of), Lane::Data);
        (status.features, status.stream_window_bytes)
    };
    // Streams, idempotent calls, and UDP where both have it.
    assert_eq!((announced(&a, 2), announced(&b, 1)), ((0b111, 2 << 20), (0b111, 65_536)));
    assert_eq!((announced(&a, 3), announced(&c, 1)), ((0b011, 1 << 20), (0b011, 65_536)));
}

/// Pings keep the Control of a watched peer, and other lanes only for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_lane_of_a_watched_peer_closes_and_its_control_stays() {
    let start = |n| {
        let config = TcpConfig::local().idle_close(Duration::from_millis(100));
        let transport = TcpTransport::bind(identity(n, 1), config.build().unwrap()).unwrap();
        let pings = EndpointConfig::local().ping_interval(Duration::from_millis(10));
        // Lanes are pinged for as long after the last talk: three rounds of this are waited for.
        let pings = pings.suspect_after(Duration::from_secs(1));
        let pings = pings.down_after(Duration::from_secs(2)).stall_max(Duration::from_secs(30));
        let endpoint = Endpoint::start(transport.clone(), pings.build().unwrap()).unwrap();
        (endpoint, transport)
    };
    let ((a, at_a), (b, at_b)) = (start(1), start(2));
    a.set_peer(node(2), &[at_b.local_addr().unwrap().into()]);
    echo(b.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    let (sender, mut receiver) =
        a.channel(CHANNEL, ChannelOptions::new().links(true)).unwrap().split();
    let _watch = a.watch(node(2));
    let mut control = None;
    for _ in 0..3 {
        guarded("an answer", call_until_answered(&sender, node(2))).await;
        loop {
            match guarded("the end of the lane", receiver.recv()).await {
                Some(Inbound::Link(LinkEvent::Up { lane: Lane::Control, session, .. })) => {
                    assert_eq!(control.replace(session), None, "dialed once");
                }
                Some(Inbound::Link(LinkEvent::Down { lane, reason, .. })) => {
                    assert_eq!((lane, reason), (Lane::Data, DownReason::Closed));
                    break;
                }
                Some(Inbound::Link(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(control.is_some());
    assert_eq!(at_a.lane(node(2), Lane::Control).session, control);
}
