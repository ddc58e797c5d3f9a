//! Datagrams: the format, UDP, over Control, in memory.

use crate::golden::datagram;
use crate::support::*;
use crate::tcp::guarded;
use quorate_transport::*;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// What arrived as a datagram, or as a message on Control.
pub struct Datagrams(mpsc::UnboundedReceiver<(Peer, ChannelId, Vec<u8>, bool)>);

struct Report(mpsc::UnboundedSender<(Peer, ChannelId, Vec<u8>, bool)>);

impl Sink for Report {
    fn on_frame(&self, from: Peer, lane: Lane, _: SessionId, frame: Frame) {
        assert_eq!((lane, frame.kind), (Lane::Control, Kind::Message));
        let body = frame.body.into_bytes().to_vec();
        let _ = self.0.send((from, frame.channel, body, false));
    }
    fn on_datagram(&self, from: Peer, channel: ChannelId, body: bytes::Bytes) {
        assert_ne!(&body[..], b"panic", "planted panic");
        let _ = self.0.send((from, channel, body.to_vec(), true));
    }
    fn on_event(&self, _: LinkEvent) {}
    fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
}

impl Datagrams {
    pub fn of(transport: &dyn Transport) -> Self {
        let (report, arrived) = mpsc::unbounded_channel();
        transport.start(Arc::new(Report(report))).unwrap();
        Self(arrived)
    }

    pub async fn next(&mut self) -> (Peer, ChannelId, Vec<u8>, bool) {
        guarded("a datagram", self.0.recv()).await.unwrap()
    }
}

fn bind_with(
    identity: Identity,
    change: impl Fn(TcpConfigBuilder) -> TcpConfigBuilder,
) -> (Arc<TcpTransport>, Datagrams) {
    let config = change(TcpConfig::local()).build().unwrap();
    let transport = TcpTransport::bind(identity, config).unwrap();
    let datagrams = Datagrams::of(&*transport);
    (transport, datagrams)
}

/// A started node with datagrams over UDP.
pub fn bind_udp(n: u64) -> (Arc<TcpTransport>, Datagrams) {
    bind_with(identity(n, 1), |config| config)
}

/// A socket that speaks the wire by hand.
pub fn raw() -> UdpSocket {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    UdpSocket::from_std(socket).unwrap()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    guarded(what, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn every_flipped_bit_and_every_other_length_is_refused() {
    let me = identity(2, 1);
    let wire = datagram();
    assert!(Datagram::decode(&wire, &me, 2).is_ok());
    for bit in 0..wire.len() * 8 {
        let mut bad = wire.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Datagram::decode(&bad, &me, 1_192).is_err(), "bit {bit}");
    }
    for cut in 0..wire.len() {
        let refused = Datagram::decode(&wire[..cut], &me, 1_192);
        assert!(matches!(refused, Err(DatagramError::Length { .. })), "{cut} bytes: {refused:?}");
    }
    let mut longer = wire.clone();
    longer.push(0);
    let refused = Datagram::decode(&longer, &me, 1_192);
    assert_eq!(refused, Err(DatagramError::Length { found: 43, expected: 42 }));
    let refused = Datagram::decode(&wire, &me, 1);
    assert_eq!(refused, Err(DatagramError::TooLarge { bytes: 2, max: 1 }));
    let refused = Datagram::encode(&me, node(1), CHANNEL, &[0; 65_536]);
    assert_eq!(refused, Err(DatagramError::TooLarge { bytes: 65_536, max: 65_535 }));
    // A node of which the low half of the number differs, and one that folds to the same.
    let far = |n| Datagram::encode(&identity(1, 3), node(n), CHANNEL, b"").unwrap();
    assert_eq!(Datagram::decode(&far(3), &me, 9), Err(DatagramError::Target));
    assert_eq!(Datagram::decode(&far(1 << 32), &me, 9), Err(DatagramError::Target));
    assert!(Datagram::decode(&far(1 << 33), &me, 9).is_ok(), "32 bits tell most nodes apart");
    let own = Datagram::encode(&me, node(2), CHANNEL, b"").unwrap();
    assert_eq!(Datagram::decode(&own, &me, 9), Err(DatagramError::Target));
}

#[tokio::test]
async fn udp_carries_datagrams_of_every_allowed_size() {
    let ((a, _at_a), (b, mut at_b)) = (bind_udp(1), bind_udp(2));
    a.set_peer(node(2), &[b.local_addr().unwrap().into()]);
    assert_eq!(a.limits().datagram_bytes_max, 1_192);
    for size in [0, 1, 1_191, 1_192] {
        a.send_datagram(node(2), ChannelId::new(77), &vec![9; size]).unwrap();
        let (from, channel, body, datagram) = at_b.next().await;
        assert_eq!((from.node, from.incarnation), (node(1), Incarnation::new(1)));
        assert!(datagram && !from.authenticated);
        assert_eq!((channel, body), (ChannelId::new(77), vec![9; size]));
    }
    let refused = a.send_datagram(node(2), CHANNEL, &[0; 1_193]);
    assert_eq!(refused, Err(SendError::TooLarge { bytes: 1_193, max: 1_192 }));
    assert_eq!(a.send_datagram(node(1), CHANNEL, b"x"), Err(SendError::SelfAddressed));
    assert_eq!(a.send_datagram(node(3), CHANNEL, b"x"), Err(SendError::UnknownPeer));
    assert_eq!((a.stats().datagrams_out, b.stats().datagrams_in), (4, 4));
    assert_eq!((a.stats().dials, b.stats().sessions), (0, 0), "no connection is made for them");
}

#[tokio::test]
async fn a_client_is_answered_where_it_sent_from() {
    let client = identity(9, 1).with_role(Role::Client);
    let (client, mut at_client) = bind_with(client, |config| config);
    let (b, mut at_b) = bind_udp(2);
    client.set_peer(node(2), &[b.local_addr().unwrap().into()]);
    client.send_datagram(node(2), CHANNEL, b"ask").unwrap();
    assert_eq!(at_b.next().await.2, b"ask");
    b.send_datagram(node(9), CHANNEL, b"told").unwrap();
    assert_eq!(at_client.next().await.2, b"told");
}

#[tokio::test]
async fn what_is_dropped_is_counted_by_reason() {
    let (b, mut at_b) = bind_udp(2);
    let socket = raw();
    let encode = |cluster, to, body: &[u8]| {
        let from = Identity::new(cluster, node(1), Incarnation::new(4));
        Datagram::encode(&from, to, CHANNEL, body).unwrap()
    };
    let good = encode(CLUSTER, node(2), b"good");
    let mut flipped = good.clone();
    flipped[41] ^= 1;
    let stale = Datagram::encode(&identity(1, 3), node(2), CHANNEL, b"old").unwrap();
    let packets = [
        good.clone(),
        good[..41].to_vec(),
        b"GET / HTTP/1.1".to_vec(),
        flipped,
        encode(ClusterId::new(9), node(2), b""),
        encode(CLUSTER, node(3), b""),
        encode(CLUSTER, node(2), &[0; 1_193]),
        stale,
        good, // twice: the network may do that, and says so
    ];
    for packet in &packets {
        socket.send_to(packet, b.local_addr().unwrap()).await.unwrap();
    }
    assert_eq!(at_b.next().await.2, b"good");
    assert_eq!(at_b.next().await.2, b"good");
    let s = b.stats();
    assert_eq!((s.datagrams_in, s.datagrams_malformed, s.datagrams_crc_errors), (2, 2, 1));
    assert_eq!((s.datagrams_cluster, s.datagrams_target, s.datagrams_oversized), (1, 1, 1));
    assert_eq!((s.datagrams_stale, s.datagrams_refused, s.datagrams_unsent), (1, 0, 0));
}

#[tokio::test]
async fn a_life_older_than_the_handshakes_is_not_heard() {
    let ((a, _at_a), (b, mut at_b)) = (bind_with(identity(1, 5), |config| config), bind_udp(2));
    a.set_peer(node(2), &[b.local_addr().unwrap().into()]);
    a.send(node(2), Lane::Control, Frame::message(CHANNEL, &b"met"[..])).unwrap();
    assert_eq!(at_b.next().await.2, b"met");
    let old = Datagram::encode(&identity(1, 4), node(2), CHANNEL, b"old").unwrap();
    raw().send_to(&old, b.local_addr().unwrap()).await.unwrap();
    until("the drop", || b.stats().datagrams_stale == 1).await;
    a.send_datagram(node(2), CHANNEL, b"new").unwrap();
    assert_eq!(at_b.next().await.2, b"new");
}

#[tokio::test]
async fn strangers_are_not_heard_where_only_known_peers_are_welcome() {
    let known_only = |config: TcpConfigBuilder| config.accept(AcceptPolicy::KnownOnly);
    let ((b, mut at_b), (a, _at_a)) = (bind_with(identity(2, 1), known_only), bind_udp(1));
    a.set_peer(node(2), &[b.local_addr().unwrap().into()]);
    a.send_datagram(node(2), CHANNEL, b"x").unwrap();
    until("the drop", || b.stats().datagrams_refused == 1).await;
    b.set_peer(node(1), &[]);
    a.send_datagram(node(2), CHANNEL, b"known").unwrap();
    assert_eq!(at_b.next().await.2, b"known");
}

#[tokio::test]
async fn a_host_name_is_resolved_without_holding_up_anybody() {
    let ((a, _at_a), (b, mut at_b)) = (bind_udp(1), bind_udp(2));
    let port = b.local_addr().unwrap().port();
    a.set_peer(node(2), &[format!("localhost:{port}").parse().unwrap()]);
    assert_eq!(a.send_datagram(node(2), CHANNEL, b"first"), Ok(()));
    assert_eq!((a.stats().datagrams_unsent, a.stats().datagrams_out), (1, 0), "dropped, counted");
    guarded("an answer of the resolver", async {
        while a.stats().datagrams_out == 0 {
            a.send_datagram(node(2), CHANNEL, b"later").unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(at_b.next().await.2, b"later");
}

#[tokio::test]
async fn a_panic_of_the_sink_costs_one_datagram() {
    let ((a, _at_a), (b, mut at_b)) = (bind_udp(1), bind_udp(2));
    a.set_peer(node(2), &[b.local_addr().unwrap().into()]);
    for body in [&b"panic"[..], b"next"] {
        a.send_datagram(node(2), CHANNEL, body).unwrap();
    }
    assert_eq!(at_b.next().await.2, b"next");
}

#[tokio::test]
async fn the_port_is_free_when_the_shutdown_is_over() {
    let (a, _at_a) = bind_udp(1);
    let at = a.local_addr().unwrap();
    guarded("shutdown", std::future::poll_fn(|cx| a.poll_shutdown(cx))).await;
    assert_eq!(a.send_datagram(node(2), CHANNEL, b"x"), Err(SendError::Closed));
    let (again, _at_again) = bind_with(identity(1, 2), |config| config.listen(at));
    assert_eq!(again.local_addr(), Some(at));
    let taken = TcpTransport::bind(identity(3, 1), TcpConfig::local().listen(at).build().unwrap());
    assert!(matches!(taken, Err(BindError::Io { .. })), "{taken:?}");
}

#[tokio::test]
async fn over_control_a_datagram_is_a_message_that_is_dropped_rather_than_refused() {
    let over = |config: TcpConfigBuilder| {
        config.datagrams(DatagramMode::OverControl).queue_bytes_max(Lane::Control, 4_096)
    };
    let ((a, _at_a), (b, mut at_b)) =
        (bind_with(identity(1, 1), over), bind_with(identity(2, 1), over));
    a.set_peer(node(2), &[b.local_addr().unwrap().into()]);
    a.send_datagram(node(2), CHANNEL, b"hi").unwrap();
    let (from, channel, body, datagram) = at_b.next().await;
    assert_eq!((from.node, channel, body, datagram), (node(1), CHANNEL, b"hi".to_vec(), false));
    // Somebody who accepts and says nothing: the queue of the lane fills.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    a.set_peer(node(3), &[silent.local_addr().unwrap().into()]);
    for _ in 0..10 {
        assert_eq!(a.send_datagram(node(3), CHANNEL, &[0; 1_000]), Ok(()));
    }
    let stats = a.stats();
    assert_eq!((stats.datagrams_out, stats.datagrams_unsent), (2, 9), "half a lane holds one");
}

#[tokio::test]
async fn without_datagrams_there_are_none() {
    let (a, _at_a) = bind_with(identity(1, 1), |config| config.datagrams(DatagramMode::Off));
    assert_eq!(a.limits().datagram_bytes_max, 0);
    assert_eq!(a.send_datagram(node(2), CHANNEL, b"x"), Err(SendError::Unsupported));
}

#[cfg(feature = "tls")]
#[test]
fn udp_beside_tls_must_be_asked_for_twice() {
    let tls = crate::tls::Authority::new().identity(1);
    let config = || crate::tls::config(tls.clone());
    assert!(config().build().is_ok());
    let refused = config().datagrams(DatagramMode::Udp).build().unwrap_err();
    assert_eq!(refused.violations().len(), 1, "{refused}");
    assert!(config().datagrams(DatagramMode::Udp).insecure_datagrams(true).build().is_ok());
}

#[tokio::test]
async fn memory_carries_datagrams_and_loses_them_where_it_is_cut() {
    let network = MemoryNetwork::new();
    let [a, b] = [1, 2].map(|n| network.node(identity(n, 1)));
    let (_at_a, mut at_b) = (Datagrams::of(&*a), Datagrams::of(&*b));
    a.send_datagram(node(2), CHANNEL, b"hi").unwrap();
    let (from, channel, body, datagram) = at_b.next().await;
    assert_eq!((from.node, channel, body, datagram), (node(1), CHANNEL, b"hi".to_vec(), true));
    network.cut(node(1), node(2));
    assert_eq!(a.send_datagram(node(2), CHANNEL, b"lost"), Ok(()));
    network.heal(node(1), node(2));
    a.send_datagram(node(2), CHANNEL, b"there").unwrap();
    assert_eq!(at_b.next().await.2, b"there");
    let stats = a.stats();
    assert_eq!((stats.datagrams_out, stats.datagrams_unsent, stats.sessions), (2, 1, 0));
    assert_eq!(b.stats().datagrams_in, 2);
    let refused = a.send_datagram(node(2), CHANNEL, &[0; 1_193]);
    assert_eq!(refused, Err(SendError::TooLarge { bytes: 1_193, max: 1_192 }));
    assert_eq!(a.send_datagram(node(7), CHANNEL, b"x"), Err(SendError::UnknownPeer));
}
