//! Hazards of two connections where there should be one, and of lives that overlap.

use super::raw_hello;
use crate::golden::hello;
use crate::support::*;
use crate::tcp::{bind, call_until_answered, cluster, echo, guarded};
use quorate_transport::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn h12_nodes_that_dial_each_other_at_once_lose_nothing() {
    for _ in 0..20 {
        let nodes = cluster(2);
        let mut senders = Vec::new();
        for (endpoint, _) in &nodes {
            let (sender, receiver) =
                endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap().split();
            echo(receiver);
            senders.push(sender);
        }
        let (first, second) = tokio::join!(
            senders[0].call(node(2), b"a", seconds(20)),
            senders[1].call(node(1), b"b", seconds(20)),
        );
        assert_eq!((&first.unwrap()[..], &second.unwrap()[..]), (&b"a"[..], &b"b"[..]));
        let one = |n: usize, other| nodes[n].1.lane(node(other), Lane::Data).session;
        assert!(one(0, 2).is_some() && one(1, 1).is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h13_a_restart_ends_the_connection_of_the_former_life() {
    let transport = bind(2, 1);
    let at = transport.local_addr().unwrap();
    let endpoint = Endpoint::start(transport, EndpointConfig::default()).unwrap();
    let mut channel = endpoint.channel(CHANNEL, ChannelOptions::new().links(true)).unwrap();
    let (mut old, ack, _) = raw_hello(at, hello()).await;
    assert_eq!(ack.status, HelloStatus::Accept);
    let _up = guarded("up", channel.recv()).await;
    // The same node in a new life, on another lane: the old connection ends on every lane.
    let mut reborn = hello();
    reborn.identity.incarnation = Incarnation::new(9);
    reborn.lane = Lane::Bulk;
    reborn.nonce += 1;
    let (_young, ack, _) = raw_hello(at, reborn).await;
    assert_eq!(ack.status, HelloStatus::Accept);
    let mut rest = Vec::new();
    let _ = guarded("the end of the old life", old.read_to_end(&mut rest)).await;
    let down = guarded("down", channel.recv()).await;
    let Some(Inbound::Link(LinkEvent::Down { reason, .. })) = down else { panic!("{down:?}") };
    assert_eq!(reason, DownReason::Restarted);
    let up = guarded("up", channel.recv()).await;
    let Some(Inbound::Link(LinkEvent::Up { peer, .. })) = up else { panic!("{up:?}") };
    assert_eq!(peer.incarnation, Incarnation::new(9));
    // A zombie is told so.
    let (_zombie, ack, _) = raw_hello(at, hello()).await;
    let (status, known) = (HelloStatus::StaleIncarnation, Incarnation::new(9));
    assert_eq!((ack.status, ack.known), (status, known));
}

/// A former life that does not know of the new one reaches nobody any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h13_a_former_life_that_does_not_know_reaches_nobody() {
    let nodes = cluster(2);
    let (sender, receiver) = nodes[0].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split();
    echo(receiver);
    echo(nodes[1].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    guarded("the first life", call_until_answered(&sender, node(2))).await;
    let reborn = bind(2, 2);
    let at = reborn.local_addr().unwrap();
    let reborn = Endpoint::start(reborn, EndpointConfig::default()).unwrap();
    reborn.set_peer(node(1), &[nodes[0].1.local_addr().unwrap().into()]);
    let (young, receiver) = reborn.channel(CHANNEL, ChannelOptions::new()).unwrap().split();
    echo(receiver);
    nodes[0].0.set_peer(node(2), &[at.into()]);
    guarded("the new life", young.call(node(1), b"hello", seconds(20))).await.unwrap();
    assert_eq!(nodes[0].0.health(node(2)).incarnation, Incarnation::new(2));
    // The former life, which does not know, reaches nobody any more.
    let (old, _receiver) =
        nodes[1].0.channel(ChannelId::new(17), ChannelOptions::new()).unwrap().split();
    let outcome = guarded("a refusal", old.call(node(1), b"zombie", seconds(20))).await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(nodes[0].0.health(node(2)).incarnation, Incarnation::new(2));
}

/// The new connection is not read before the old one has ended: what was sent first arrives first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h12_a_replaced_connection_is_read_to_its_end_first() {
    // Generous: a loaded machine must not look like a dead predecessor.
    let config = TcpConfig::local().handover_max(Duration::from_secs(30)).build().unwrap();
    let transport = TcpTransport::bind(identity(2, 1), config).unwrap();
    let at = transport.local_addr().unwrap();
    let endpoint = Endpoint::start(transport, EndpointConfig::default()).unwrap();
    let mut channel = endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let message = |text: &'static [u8]| Frame::message(CHANNEL, text).encode(1).unwrap();
    let (mut old, ack, _) = raw_hello(at, hello()).await;
    assert_eq!(ack.status, HelloStatus::Accept);
    let mut second = hello();
    second.nonce += 1;
    let (mut new, ack, _) = raw_hello(at, second).await;
    assert_eq!(ack.status, HelloStatus::Accept, "the second replaces the first");
    new.write_all(&message(b"second")).await.unwrap();
    // A few round trips on another lane: the frame is long there.
    let mut control = hello();
    control.lane = Lane::Control;
    control.nonce += 2;
    let (mut control, _, mut decoder) = raw_hello(at, control).await;
    for sequence in 1..=20 {
        let ping = Frame::new(Kind::Ping, ChannelId::ENDPOINT).encode(sequence).unwrap();
        control.write_all(&ping).await.unwrap();
        let mut buffer = [0; 64];
        while decoder.decode().unwrap().is_none() {
            let n = guarded("a pong", control.read(&mut buffer)).await.unwrap();
            decoder.feed(&buffer[..n]);
        }
    }
    assert!(channel.try_recv().is_none(), "read before its predecessor had ended");
    old.write_all(&message(b"first")).await.unwrap();
    old.shutdown().await.unwrap();
    for expected in [&b"first"[..], b"second"] {
        let Some(Inbound::Message { body, .. }) = guarded("a message", channel.recv()).await else {
            panic!("no message")
        };
        assert_eq!(&body[..], expected);
    }
}
