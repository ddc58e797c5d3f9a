//! Watches, verdicts and their exceptions, on virtual time.

use crate::support::*;
use quorate_transport::*;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
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
    let health = net.rt.block_on(watch.changed()).unwrap();
    assert_eq!((health.state, health.incarnation), (PeerState::Up, Incarnation::new(1)));
    net.rt.advance(Duration::from_secs(60));
    assert_eq!(watch.health().state, PeerState::Up, "pings keep it up");
    assert!(watch.health().rtt.is_some());

    net.network.cut(node(1), node(2));
    let cut = net.rt.now();
    let health = net.rt.block_on(watch.changed()).unwrap();
    assert_eq!(health.state, PeerState::Suspect);
    assert!(net.rt.now().since(cut) <= Duration::from_millis(1_501), "3 × 500 ms");
    let health = net.rt.block_on(watch.changed()).unwrap();
    assert_eq!(health.state, PeerState::Down);
    assert!(net.rt.now().since(cut) <= Duration::from_millis(3_001), "6 × 500 ms");
    assert_eq!(a.stats().peers_down, 1);

    net.network.heal(node(1), node(2));
    let health = net.rt.block_on(watch.changed()).unwrap();
    assert_eq!(health.state, PeerState::Up);
    drop((watch, b));
}

#[test]
fn a_peer_that_never_answers_goes_down_too() {
    let net = Net::new();
    let a = net.endpoint(1);
    let mut watch = a.watch(node(2));
    assert_eq!(watch.health().state, PeerState::Connecting);
    net.rt.block_on(watch.changed()).unwrap();
    let health = net.rt.block_on(watch.changed()).unwrap();
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

/// A ping that found no room proves nothing about the peer: another one follows.
#[test]
fn a_ping_that_never_left_is_sent_again() {
    let mut mux = PeerMux::new(node(2), EndpointConfig::default(), 7);
    let mut now = Monotonic::from_nanos(1);
    let (session, lane) = (SessionId::new(1), Lane::Control);
    let peer = Peer::new(node(2), Incarnation::new(1), Role::Member);
    mux.handle_event(now, &LinkEvent::Up { peer, lane, session });
    mux.watch(now);
    let (mut out, mut pings) = (MuxOutput::default(), 0);
    // Three seconds are `down_after`: in that time no ping leaves but the last.
    for _ in 0..5 {
        now = now.saturating_add(Duration::from_millis(500));
        mux.handle_timeout(now, [0; 3]);
        mux.drain(&mut out);
        while let Some(effect) = out.pop() {
            let MuxEffect::Send { frame, .. } = effect else { continue };
            assert_eq!(frame.kind, Kind::Ping);
            pings += 1;
            if pings < 4 {
                mux.handle_unsent(&frame);
            } else {
                let pong = Frame::new(Kind::Pong, ChannelId::ENDPOINT).with_id(frame.id);
                mux.handle_frame(now, peer, lane, session, pong);
            }
        }
    }
    assert!(pings >= 4, "only {pings} pings");
    now = now.saturating_add(Duration::from_millis(600));
    mux.handle_timeout(now, [0; 3]);
    assert_eq!((mux.health().state, mux.stats().downs), (PeerState::Up, 0));
}

/// A cancel that names the next call of a free slot frees nothing twice.
#[test]
fn a_cancel_of_a_call_that_never_began_is_ignored() {
    let config = EndpointConfig::lan().peer_calls_inflight_max(1).build().unwrap();
    let mut mux = PeerMux::new(node(2), config, 7);
    let now = Monotonic::from_nanos(1);
    let deadline = now.saturating_add(Duration::from_secs(1));
    let call = |mux: &mut PeerMux| mux.call(now, CHANNEL, Lane::Data, b"x".into(), deadline);
    let (first, _) = call(&mut mux).unwrap();
    let _ = mux.cancel(first);
    let next = CallId::new(first.value() + (1 << 32));
    assert!(mux.cancel(next).is_none() && mux.cancel(next).is_none());
    assert!(call(&mut mux).is_ok());
    assert!(call(&mut mux).is_err(), "one slot is one slot");
}

/// Whoever waits learns of it, and a loop over the changes ends, also one that begins later.
#[test]
fn a_shutdown_ends_every_watch() {
    let net = Net::new();
    let (a, _b) = lan(&net);
    let mut watch = a.watch(node(2));
    net.rt.advance(Duration::from_secs(1));
    assert_eq!(net.rt.block_on(watch.changed()).unwrap().state, PeerState::Up);

    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut late = a.watch(node(3));
    {
        let mut changed = pin!(watch.changed());
        assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        net.rt.block_on(a.shutdown()).unwrap();
        assert_eq!(wakes.count(), 1, "nobody told the watch");
        assert_eq!(changed.poll(&mut Context::from_waker(&waker)), Poll::Ready(None));
    }
    let mut after = a.watch(node(2));
    // The second one has a change nobody has seen yet.
    for watch in [&mut watch, &mut late, &mut after] {
        let again = [net.rt.block_on(watch.changed()), net.rt.block_on(watch.changed())];
        assert_eq!(again, [None, None]);
    }
    drop(a);
    assert_eq!(net.rt.block_on(watch.changed()), None);
}
