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
    const ROUNDS: u64 = 300;
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
