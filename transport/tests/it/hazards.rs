//! Hazards other systems shipped, each by its number in DESIGN.md.

mod bounds;
mod lives;
mod panics;
mod sessions;
mod transports;

use crate::golden::hello;
use crate::support::*;
use crate::tcp::{bind, call_until_answered, cluster, echo, guarded};
use bytes::{BufMut, Bytes};
use quorate_transport::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h02_dropped_calls_never_halve_a_frame() {
    let nodes = cluster(2);
    echo(nodes[1].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    let client = nodes[0].0.channel(CHANNEL, ChannelOptions::new()).unwrap();
    for i in 0..2_000_u32 {
        drop(client.call(node(2), vec![7; (i * 37 % 20_000) as usize], seconds(20)));
    }
    // The lane's queue may still be full of the dropped ones.
    guarded("an answer", async {
        while client.call(node(2), b"last", seconds(20)).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let stats = nodes[1].0.transport_stats();
    assert_eq!((stats.protocol_errors, stats.head_crc_errors, stats.body_crc_errors), (0, 0, 0));
    assert_eq!(nodes[0].0.stats().calls_inflight, 0);
}

#[test]
fn h03_a_claimed_length_reserves_at_most_one_block() {
    let wire = Frame::message(CHANNEL, vec![1; 10 << 20]).encode(0).unwrap();
    let mut decoder = Decoder::new(16 << 20);
    decoder.feed(&wire[..40]);
    assert_eq!(decoder.decode(), Ok(None));
    let mut at = 40;
    while at < wire.len() {
        let room = decoder.fill(|space| space.remaining_mut());
        assert!(0 < room && room <= 64 * 1024, "{room} bytes ahead of the {at} that arrived");
        let end = wire.len().min(at + room);
        decoder.fill(|space| space.put_slice(&wire[at..end]));
        at = end;
    }
    assert_eq!(decoder.decode().unwrap().unwrap().body.len(), 10 << 20);
}

#[test]
fn h04_a_body_longer_than_its_field_is_refused_not_cut() {
    let piece = Bytes::from(vec![0; 600 << 20]);
    let body = Body::parts(vec![piece; 8]);
    let bytes = 8 * (600 << 20);
    let refused = Frame::message(CHANNEL, body).encode_header(0);
    assert_eq!(refused, Err(FrameError::TooLarge { bytes, max: u32::MAX }));
}

#[test]
fn h06_a_corrupted_length_is_noticed_with_the_header() {
    for bit in 0..32 {
        let mut wire = Frame::message(CHANNEL, &b"hi"[..]).encode(0).unwrap();
        wire[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = Decoder::new(16);
        decoder.feed(&wire[..32]);
        assert!(matches!(decoder.decode(), Err(FrameError::HeadCrc { .. })), "bit {bit}");
    }
}

#[test]
fn h07_deadlines_hold_between_clocks_that_differ() {
    let network = MemoryNetwork::new();
    let (near, far) = (Virtual::new(), Virtual::new());
    far.leap(Duration::from_secs(1_000_000));
    let start = |n, rt: &Virtual| {
        Endpoint::start_with(network.node(identity(n, 1)), rt.arc(), EndpointConfig::default())
    };
    let (a, b) = (start(1, &near).unwrap(), start(2, &far).unwrap());
    let client = a.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let mut server = b.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let _call = client.call(node(2), b"x", seconds(3));
    let Some(Inbound::Call { reply, .. }) = server.try_recv() else { panic!("no call") };
    assert_eq!(reply.deadline().since(far.now()), Duration::from_secs(3));
}

fn mux_pair() -> (PeerMux, Monotonic, Peer) {
    let mux = PeerMux::new(node(2), EndpointConfig::default(), 7);
    (mux, Monotonic::from_nanos(1), Peer::new(node(2), Incarnation::new(1), Role::Member))
}

fn begin(mux: &mut PeerMux, now: Monotonic, lane: Lane) -> CallId {
    let deadline = now.saturating_add(Duration::from_secs(9));
    let (id, _) = mux.call(now, CHANNEL, lane, b"x".into(), deadline).unwrap();
    id
}

#[test]
fn h08_a_cancel_takes_the_lane_of_its_call() {
    let (mut mux, now, _) = mux_pair();
    for lane in Lane::ALL {
        let id = begin(&mut mux, now, lane);
        let (on, frame) = mux.cancel(id).expect("the call is out");
        assert_eq!((on, frame.kind, frame.id), (lane, Kind::Cancel, id.value()));
    }
}

#[test]
fn h09_callers_that_give_up_leak_no_slot() {
    let net = Net::new();
    let config = EndpointConfig::lan().calls_inflight_max(1).build().unwrap();
    let a = net.endpoint_with(identity(1, 1), config);
    let _b = net.endpoint(2);
    let client = net.channel(&a);
    for _ in 0..10_000 {
        let call = client.call(node(2), b"x", seconds(1));
        let full = net.rt.block_on(client.call(node(2), b"x", seconds(1)));
        assert_eq!(full, Err(CallError::NotSent(SendError::Full)), "h16: one at a time");
        drop(call);
    }
    assert_eq!(a.stats().calls_inflight, 0);
}

#[test]
fn h10_an_answer_to_a_former_call_of_the_slot_is_ignored() {
    let (mut mux, now, peer) = mux_pair();
    let old = begin(&mut mux, now, Lane::Data);
    let _ = mux.cancel(old);
    let new = begin(&mut mux, now, Lane::Data);
    assert_eq!(old.value() as u32, new.value() as u32, "the slot is used again");
    let late = Frame::new(Kind::Reply, CHANNEL).with_id(old.value()).with_body(b"old");
    mux.handle_frame(now, peer, Lane::Data, SessionId::new(1), late);
    assert!(mux.poll_call(new, std::task::Waker::noop()).is_pending());
    assert_eq!(mux.stats().late_frames, 1);
    // And two lives of a process do not use the same ids.
    let mut reborn = PeerMux::new(node(2), EndpointConfig::default(), 8);
    let mut first = PeerMux::new(node(2), EndpointConfig::default(), 7);
    assert_ne!(begin(&mut reborn, now, Lane::Data), begin(&mut first, now, Lane::Data));
}

#[test]
fn h11_nothing_is_resent_silently() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    let call = client.call(node(2), b"once", seconds(1));
    net.network.cut(node(1), node(2));
    net.network.heal(node(1), node(2));
    let outcome = net.rt.block_on(call).unwrap_err();
    assert!(!outcome.is_definite(), "{outcome}");
    net.rt.advance(Duration::from_secs(5));
    assert!(server.try_recv().is_none(), "the call ended with its session and never came again");
}

#[test]
fn h15_a_wedged_lane_is_reset_while_the_others_live() {
    let (mut mux, mut now, peer) = mux_pair();
    let session = SessionId::new(1);
    for lane in [Lane::Control, Lane::Data] {
        mux.handle_event(now, &LinkEvent::Up { peer, lane, session });
    }
    mux.watch(now);
    let _call = begin(&mut mux, now, Lane::Data);
    let (mut out, mut reset) = (MuxOutput::default(), None);
    for _ in 0..200 {
        now = mux.poll_timeout().expect("a watched peer has a next deadline").max(now);
        mux.handle_timeout(now, [0; 3]);
        mux.drain(&mut out);
        while let Some(effect) = out.pop() {
            match effect {
                // Control answers every ping, Data none.
                MuxEffect::Send { lane: Lane::Control, frame } if frame.kind == Kind::Ping => {
                    let pong = Frame::new(Kind::Pong, ChannelId::ENDPOINT).with_id(frame.id);
                    mux.handle_frame(now, peer, Lane::Control, session, pong);
                }
                MuxEffect::Reset { lane } => reset = reset.or(Some(lane)),
                _ => {}
            }
        }
        if reset.is_some() {
            break;
        }
    }
    assert_eq!(reset, Some(Lane::Data));
    assert_eq!((mux.health().state, mux.stats().stall_resets), (PeerState::Up, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h19_garbage_and_hang_ups_do_not_end_the_accept_loop() {
    let nodes = cluster(2);
    let at = nodes[1].1.local_addr().unwrap();
    for garbage in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 200], &[255; 5000]] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = guarded("the end of a bad connection", stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
    echo(nodes[1].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    let (sender, _receiver) = nodes[0].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split();
    guarded("an answer", call_until_answered(&sender, node(2))).await;
    assert!(nodes[1].0.transport_stats().head_crc_errors >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h20_silent_strangers_hold_at_most_sixteen_places() {
    let node_ = bind(1, 1);
    let at = node_.local_addr().unwrap();
    let endpoint = Endpoint::start(node_, EndpointConfig::default()).unwrap();
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(at).await.unwrap());
    }
    // The places are counted as they are taken; the rest is cut at once.
    guarded("the overflow", async {
        while endpoint.transport_stats().handshakes_overflow < 24 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(endpoint.transport_stats().handshakes_pending <= 16);
}

/// Speaks the wire by hand.
pub async fn raw_hello(at: std::net::SocketAddr, hello: Hello) -> (TcpStream, HelloAck, Decoder) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(&hello.to_frame().encode(0).unwrap()).await.unwrap();
    let mut decoder = Decoder::new(1024);
    let frame = loop {
        let mut buffer = [0; 1024];
        let n = guarded("a HelloAck", stream.read(&mut buffer)).await.unwrap();
        assert!(n > 0, "closed without an answer");
        decoder.feed(&buffer[..n]);
        if let Some(frame) = decoder.decode().unwrap() {
            break frame;
        }
    };
    let ack = HelloAck::decode(&frame).unwrap();
    (stream, ack, decoder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h33_every_refusal_travels_to_the_dialer() {
    let transport = bind(2, 5);
    let at = transport.local_addr().unwrap();
    let endpoint = Endpoint::start(transport, EndpointConfig::default()).unwrap();
    let (version, mut cluster_, mut target, mut own) = (hello(), hello(), hello(), hello());
    let version = Hello::clone(&version);
    let mut newer = version;
    (newer.wire_min, newer.wire_max) = (2, 3);
    cluster_.identity.cluster = ClusterId::new(1);
    target.target = Some(node(7));
    own.identity.node = node(2);
    for (bad, expected) in [
        (newer, HelloStatus::Version),
        (cluster_, HelloStatus::WrongCluster),
        (target, HelloStatus::WrongNode),
        (own, HelloStatus::SelfConnect),
    ] {
        let (mut stream, ack, _) = raw_hello(at, bad).await;
        assert_eq!((ack.status, ack.nonce), (expected, bad.nonce));
        let mut rest = Vec::new();
        let _ = guarded("the end", stream.read_to_end(&mut rest)).await;
        assert_eq!(endpoint.transport_stats().refused[expected as usize], 1);
    }
    // An older life than one that was accepted.
    let (_young, ack, _) = raw_hello(at, hello()).await;
    assert_eq!((ack.status, ack.incarnation), (HelloStatus::Accept, Incarnation::new(5)));
    let mut old = hello();
    old.identity.incarnation = Incarnation::new(2);
    let (_old, ack, _) = raw_hello(at, old).await;
    assert_eq!((ack.status, ack.known), (HelloStatus::StaleIncarnation, Incarnation::new(3)));
    let stats = endpoint.transport_stats();
    assert_eq!((stats.sessions, stats.sessions_open), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn violations_close_the_connection_with_a_farewell() {
    let bad_frames: [Vec<u8>; 4] = [
        vec![0; 32],
        Frame::message(CHANNEL, &b"gap"[..]).encode(9).unwrap(),
        Frame::message(CHANNEL, vec![0; 17 << 20]).encode(1).unwrap(),
        Frame::new(Kind::StreamOpen, CHANNEL).encode(1).unwrap(), // wrong lane
    ];
    for bad in bad_frames {
        let transport = bind(2, 1);
        let at = transport.local_addr().unwrap();
        let endpoint = Endpoint::start(transport, EndpointConfig::default()).unwrap();
        let options = ChannelOptions::new().links(true);
        let mut channel = endpoint.channel(CHANNEL, options).unwrap();
        let (mut stream, ack, mut decoder) = raw_hello(at, hello()).await;
        assert_eq!(ack.status, HelloStatus::Accept);
        let _ = stream.write_all(&bad[..bad.len().min(200)]).await;
        let up = guarded("up", channel.recv()).await;
        assert!(matches!(up, Some(Inbound::Link(LinkEvent::Up { .. }))), "{up:?}");
        let down = guarded("down", channel.recv()).await;
        let Some(Inbound::Link(LinkEvent::Down { reason, .. })) = down else { panic!("{down:?}") };
        assert_eq!(reason, DownReason::Protocol);
        let mut rest = Vec::new();
        let _ = guarded("the end", stream.read_to_end(&mut rest)).await;
        decoder.feed(&rest);
        if let Ok(Some(goaway)) = decoder.decode() {
            assert_eq!((goaway.kind, goaway.aux), (Kind::GoAway, 3));
        }
        let stats = endpoint.transport_stats();
        let errors = stats.protocol_errors + stats.head_crc_errors + stats.oversized_frames;
        assert_eq!((errors, stats.down(DownReason::Protocol)), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h22_an_end_without_farewell_is_not_an_end_in_order() {
    let transport = bind(2, 1);
    let at = transport.local_addr().unwrap();
    let endpoint = Endpoint::start(transport, EndpointConfig::default()).unwrap();
    let mut channel = endpoint.channel(CHANNEL, ChannelOptions::new().links(true)).unwrap();
    let (stream, _, _) = raw_hello(at, hello()).await;
    let _up = guarded("up", channel.recv()).await;
    drop(stream);
    let down = guarded("down", channel.recv()).await;
    let Some(Inbound::Link(LinkEvent::Down { reason, .. })) = down else { panic!("{down:?}") };
    assert_eq!(reason, DownReason::Io(std::io::ErrorKind::UnexpectedEof));
}

#[test]
fn h24_a_small_body_does_not_pin_its_block() {
    let mut decoder = Decoder::new(1 << 20);
    decoder.feed(&Frame::message(CHANNEL, vec![1; 100]).encode(0).unwrap());
    decoder.feed(&Frame::message(CHANNEL, vec![2; 100]).encode(1).unwrap());
    let body = decoder.decode().unwrap().unwrap().body.into_bytes();
    assert!(body.is_unique(), "shares the read block");
}

#[test]
fn h28_a_component_that_does_not_read_delays_only_itself() {
    let net = Net::new();
    let config = EndpointConfig::lan().inbox_messages_max(3).build().unwrap();
    let (a, b) = (net.endpoint(1), net.endpoint_with(identity(2, 1), config));
    let other = ChannelId::new(17);
    let slow = net.channel(&b);
    let mut quick = b.channel(other, ChannelOptions::new()).unwrap();
    let to_slow = net.channel(&a);
    let to_quick = a.channel(other, ChannelOptions::new()).unwrap();
    for _ in 0..10 {
        to_slow.send(node(2), Lane::Data, b"x").unwrap();
        to_quick.send(node(2), Lane::Data, b"y").unwrap();
        assert!(quick.try_recv().is_some());
    }
    assert_eq!((slow.stats().depth, slow.stats().dropped), (3, 7));
    let call = net.rt.block_on(to_slow.call(node(2), b"x", seconds(1)));
    assert_eq!(call, Err(CallError::Rejected(Reject::Overloaded)));
    assert_eq!((b.stats().inbox_dropped, b.stats().inbound_overloaded), (7, 1));
}

/// A sink that panics at the first frame and reports events.
struct Panicky {
    armed: AtomicBool,
    events: mpsc::UnboundedSender<LinkEvent>,
    frames: mpsc::UnboundedSender<u64>,
}

impl Sink for Panicky {
    fn on_frame(&self, _: Peer, _: Lane, _: SessionId, frame: Frame) {
        assert!(!self.armed.swap(false, Ordering::SeqCst), "planted panic");
        let _ = self.frames.send(frame.id);
    }
    fn on_event(&self, event: LinkEvent) {
        let _ = self.events.send(event);
    }
    fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h29_a_panic_in_a_task_frees_its_place() {
    let (a, b) = (bind(1, 1), bind(2, 1));
    let (events, mut seen) = mpsc::unbounded_channel();
    let (frames, mut delivered) = mpsc::unbounded_channel();
    let armed = AtomicBool::new(true);
    b.start(Arc::new(Panicky { armed, events, frames })).unwrap();
    let (events, _keep) = mpsc::unbounded_channel();
    let (other, _keep) = mpsc::unbounded_channel();
    a.start(Arc::new(Panicky { armed: AtomicBool::new(false), events, frames: other })).unwrap();
    a.set_peer(node(2), &[b.local_addr().unwrap().into()]);
    a.send(node(2), Lane::Data, Frame::message(CHANNEL, &b"boom"[..])).unwrap();
    let up = guarded("up", seen.recv()).await;
    assert!(matches!(up, Some(LinkEvent::Up { .. })));
    let down = guarded("down", seen.recv()).await;
    assert!(matches!(down, Some(LinkEvent::Down { .. })), "{down:?}");
    guarded("another session", async {
        loop {
            let frame = Frame::message(CHANNEL, &b"again"[..]).with_id(5);
            let _ = a.send(node(2), Lane::Data, frame);
            tokio::task::yield_now().await;
            if delivered.try_recv() == Ok(5) {
                return;
            }
        }
    })
    .await;
}

#[test]
fn h29_a_panic_during_delivery_in_memory_frees_the_turn() {
    let network = MemoryNetwork::new();
    let (events, _keep) = mpsc::unbounded_channel();
    let (frames, mut delivered) = mpsc::unbounded_channel();
    let sink = |armed| Panicky {
        armed: AtomicBool::new(armed),
        events: events.clone(),
        frames: frames.clone(),
    };
    let (a, b) = (network.node(identity(1, 1)), network.node(identity(2, 1)));
    a.start(Arc::new(sink(false))).unwrap();
    b.start(Arc::new(sink(true))).unwrap();
    let send = |id| a.send(node(2), Lane::Data, Frame::message(CHANNEL, &b"x"[..]).with_id(id));
    assert!(catch_unwind(AssertUnwindSafe(|| send(1))).is_err());
    send(2).unwrap();
    assert_eq!(delivered.try_recv(), Ok(2));
}

#[test]
fn h30_delays_are_spread_over_their_whole_range() {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let caps = [50, 100, 200, 400, 800, 1_000, 1_000].map(Duration::from_millis);
    for cap in caps {
        let mut low = backoff;
        assert_eq!(low.next(0), Duration::ZERO);
        let high = backoff.next(u64::MAX);
        assert!(high <= cap && high + Duration::from_nanos(1) >= cap, "{high:?} for {cap:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h31_a_node_that_moved_is_found_at_its_new_address() {
    let nodes = cluster(2);
    let (sender, _receiver) = nodes[0].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split();
    echo(nodes[1].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    guarded("the old place", call_until_answered(&sender, node(2))).await;
    guarded("shutdown", nodes[1].0.shutdown()).await.unwrap();
    let moved = bind(2, 2);
    let at = moved.local_addr().unwrap();
    let moved = Endpoint::start(moved, EndpointConfig::default()).unwrap();
    echo(moved.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    nodes[0].0.set_peer(node(2), &[at.into()]);
    guarded("the new place", call_until_answered(&sender, node(2))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h34_the_right_address_of_the_wrong_node_is_refused() {
    let nodes = cluster(2);
    let at = Address::from(nodes[1].1.local_addr().unwrap());
    nodes[0].0.set_peer(node(3), std::slice::from_ref(&at));
    let client = nodes[0].0.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let outcome = guarded("an outcome", client.call(node(3), b"x", seconds(20))).await;
    assert_eq!(outcome, Err(CallError::NotSent(SendError::Disconnected)));
    let reason = DownReason::Refused(HelloStatus::WrongNode);
    assert_eq!(nodes[0].1.lane(node(3), Lane::Data).last_failure, Some(reason));

    let foreign = Identity::new(ClusterId::new(99), node(8), Incarnation::new(1));
    let foreign = TcpTransport::bind(foreign, TcpConfig::default()).unwrap();
    let foreign = Endpoint::start(foreign, EndpointConfig::default()).unwrap();
    let refused = guarded("a refusal", foreign.discover(&at)).await;
    let reason = DownReason::Refused(HelloStatus::WrongCluster);
    assert_eq!(refused, Err(DialError::Failed(reason)));
}

#[test]
fn h38_a_responder_dropped_by_a_panic_is_not_a_failure() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    let call = client.call(node(2), b"x", seconds(1));
    let inbound = server.try_recv();
    let handler = catch_unwind(AssertUnwindSafe(move || {
        let _inbound = inbound;
        panic!("planted");
    }));
    assert!(handler.is_err());
    let Err(CallError::MaybeExecuted(maybe)) = net.rt.block_on(call) else { panic!("definite") };
    assert_eq!((maybe.cause, maybe.peer), (Cause::Abandoned, node(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h39_frames_for_a_dead_peer_come_back() {
    let gone = bind(2, 1);
    let at = gone.local_addr().unwrap();
    drop(gone); // nobody listens there any more
    let a = Endpoint::start(bind(1, 1), EndpointConfig::default()).unwrap();
    a.set_peer(node(2), &[at.into()]);
    let client = a.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let _ = client.send(node(2), Lane::Data, b"lost");
    let outcome = guarded("an outcome", client.call(node(2), b"x", seconds(20))).await;
    assert_eq!(outcome, Err(CallError::NotSent(SendError::Disconnected)));
    guarded("the message", async {
        while a.stats().messages_unsent == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn queued_frames_are_shared_not_copied() {
    let block = Bytes::from(vec![7; 4096]);
    let body = Body::parts([Bytes::from_static(b"head"), block.clone()]);
    assert_eq!(body.pieces()[1].as_ptr(), block.as_ptr());
    let order = Mutex::new(Vec::new());
    Body::parts((0..12_u8).map(|b| Bytes::from(vec![b]))).pieces().iter().for_each(|piece| {
        order.lock().unwrap().extend_from_slice(piece);
    });
    assert_eq!(order.into_inner().unwrap(), (0..12).collect::<Vec<u8>>());
}
