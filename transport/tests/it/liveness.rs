//! Watches, verdicts and their exceptions, on virtual time.

use crate::support::*;
use quorate_transport::*;
use std::time::Duration;

fn lan(net: &Net) -> (Endpoint, Endpoint) {
    (net.endpoint(1), net.endpoint(2))
}

#[test]
fn a_watched_peer_is_up_then_suspect_then_down_then_up_again() {
    let net = Net::new();
    let (a, b) = lan(&net);
    let mut watch = a.watch(node(2));
    net.rt.advance(Duration::from_millis(10));
    let health = net.rt.block_on(watch.changed());
    assert_eq!((health.state, health.incarnation), (PeerState::Up, Incarnation::new(1)));
    net.rt.advance(Duration::from_secs(60));
    assert_eq!(watch.health().state, PeerState::Up, "pings keep it up");
    assert!(watch.health().rtt.is_some());

    net.network.cut(node(1), node(2));
    let cut = net.rt.now();
    let health = net.rt.block_on(watch.changed());
    assert_eq!(health.state, PeerState::Suspect);
    assert!(net.rt.now().since(cut) <= Duration::from_millis(1_501), "3 × 500 ms");
    let health = net.rt.block_on(watch.changed());
    assert_eq!(health.state, PeerState::Down);
    assert!(net.rt.now().since(cut) <= Duration::from_millis(3_001), "6 × 500 ms");
    assert_eq!(a.stats().peers_down, 1);

    net.network.heal(node(1), node(2));
    let health = net.rt.block_on(watch.changed());
    assert_eq!(health.state, PeerState::Up);
    drop((watch, b));
}

#[test]
fn a_peer_that_never_answers_goes_down_too() {
    let net = Net::new();
    let a = net.endpoint(1);
    let mut watch = a.watch(node(2));
    assert_eq!(watch.health().state, PeerState::Connecting);
    net.rt.block_on(watch.changed());
    let health = net.rt.block_on(watch.changed());
    assert_eq!(health.state, PeerState::Down);
}

#[test]
fn an_unwatched_silent_peer_is_idle_not_dead() {
    let net = Net::new();
    let (a, b) = lan(&net);
    let channel = net.channel(&a);
    channel.send(node(2), Lane::Data, b"x").unwrap();
    net.rt.advance(Duration::from_secs(120));
    assert_eq!(a.health(node(2)).state, PeerState::Idle);
    assert_eq!(b.health(node(1)).state, PeerState::Idle);
    let before = a.transport_stats().frames_out;
    net.rt.advance(Duration::from_secs(600));
    assert_eq!(a.transport_stats().frames_out, before, "nobody pings a lane nobody talks on");
}

#[test]
fn a_restart_is_seen_by_its_incarnation() {
    let net = Net::new();
    let (a, b) = lan(&net);
    let watch = a.watch(node(2));
    net.rt.advance(Duration::from_secs(1));
    drop(b);
    let _b = net.endpoint_with(identity(2, 7), EndpointConfig::default());
    net.rt.advance(Duration::from_secs(2));
    let health = watch.health();
    assert_eq!((health.state, health.incarnation), (PeerState::Up, Incarnation::new(7)));
}

#[test]
fn link_events_are_delivered_on_request_and_coalesced() {
    let net = Net::new();
    let (a, _b) = lan(&net);
    let mut with = a.channel(CHANNEL, ChannelOptions::new().links(true)).unwrap();
    let mut without = a.channel(ChannelId::new(17), ChannelOptions::new()).unwrap();
    for _ in 0..10 {
        with.send(node(2), Lane::Data, b"x").unwrap();
        net.network.cut(node(1), node(2));
        net.network.heal(node(1), node(2));
    }
    let mut events = Vec::new();
    while let Some(Inbound::Link(event)) = with.try_recv() {
        events.push(event);
    }
    assert!(without.try_recv().is_none());
    assert!(matches!(events[..], [LinkEvent::Up { .. }, LinkEvent::Down { .. }]), "{events:?}");
}
