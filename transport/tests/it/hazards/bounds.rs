//! Hazards of queues without bound and of neighbours that starve each other.

use super::raw_hello;
use crate::golden::hello;
use crate::support::*;
use crate::tcp::{bind, guarded};
use bytes::Bytes;
use quorate_transport::*;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Counts frames per lane; holds the delivery of one lane until told to go on.
#[derive(Default)]
struct Gate {
    held: Mutex<bool>,
    released: Condvar,
    lane: Option<Lane>,
    counts: [AtomicU64; 3],
    burst: AtomicU64,
    longest_burst: AtomicU64,
    ups: AtomicU64,
}

impl Gate {
    fn holding(lane: Lane) -> Arc<Self> {
        Arc::new(Self { held: Mutex::new(true), lane: Some(lane), ..Self::default() })
    }

    fn release(&self) {
        *self.held.lock().unwrap() = false;
        self.released.notify_all();
    }

    fn count(&self, lane: Lane) -> u64 {
        self.counts[lane.index()].load(Ordering::SeqCst)
    }
}

impl Sink for Gate {
    fn on_frame(&self, _: Peer, lane: Lane, _: SessionId, _: Frame) {
        if self.lane == Some(lane) {
            let held = self.held.lock().unwrap();
            let _held = self.released.wait_while(held, |held| *held).unwrap();
        }
        self.counts[lane.index()].fetch_add(1, Ordering::SeqCst);
        let burst = self.burst.fetch_add(1, Ordering::SeqCst) + 1;
        self.longest_burst.fetch_max(burst, Ordering::SeqCst);
    }
    fn on_event(&self, event: LinkEvent) {
        if matches!(event, LinkEvent::Up { .. }) {
            self.ups.fetch_add(1, Ordering::SeqCst);
        }
    }
    fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
    fn on_batch_end(&self) {
        self.burst.store(0, Ordering::SeqCst);
    }
}

/// A sender and a receiver that does not take frames of `lane` until released.
fn held(lane: Lane) -> (Arc<TcpTransport>, Arc<TcpTransport>, Arc<Gate>) {
    let (a, b) = (bind(1, 1), bind(2, 1));
    let gate = Gate::holding(lane);
    a.start(Arc::new(Gate::default())).unwrap();
    b.start(gate.clone()).unwrap();
    a.set_peer(node(2), &[b.local_addr().unwrap().into()]);
    (a, b, gate)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    guarded(what, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Sends until the lane is full; what it then holds.
async fn fill(transport: &TcpTransport, lane: Lane, body: &Bytes) -> u64 {
    let full = || {
        let refused = transport.send(node(2), lane, Frame::message(CHANNEL, body.clone()));
        refused == Err(SendError::Full)
    };
    // The kernel takes more for a while: full means full twice in a row, a turn apart.
    let mut in_a_row = 0;
    guarded("a full lane", async {
        while in_a_row < 50 {
            in_a_row = if full() { in_a_row + 1 } else { 0 };
            tokio::task::yield_now().await;
        }
    })
    .await;
    transport.lane(node(2), lane).queued_bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn h14_heartbeats_pass_a_bulk_lane_that_stands_still() {
    let (a, _b, gate) = held(Lane::Bulk);
    fill(&a, Lane::Bulk, &Bytes::from(vec![7; 60_000])).await;
    for _ in 0..100 {
        a.send(node(2), Lane::Control, Frame::message(CHANNEL, &b"beat"[..])).unwrap();
    }
    until("all heartbeats", || gate.count(Lane::Control) == 100).await;
    assert_eq!(gate.count(Lane::Bulk), 0, "bulk stood still all the time");
    gate.release();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn h16_bytes_in_flight_are_bounded_whatever_the_depth() {
    let (a, _b, gate) = held(Lane::Data);
    let queued = fill(&a, Lane::Data, &Bytes::from(vec![7; 300_000])).await;
    // 8 MiB of the lane, of which one channel may have half.
    assert!((3 << 20..=4 << 20).contains(&queued), "{queued} bytes queued");
    gate.release();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn h27_frames_in_the_queue_are_bounded_whatever_their_size() {
    let (a, _b, gate) = held(Lane::Data);
    let queued = fill(&a, Lane::Data, &Bytes::from(vec![7; 10])).await;
    assert!(queued <= 4_096 * 42, "{queued} bytes in frames of 42");
    assert!(a.stats().full > 0);
    gate.release();
    until("room", || a.lane(node(2), Lane::Data).queued_bytes == 0).await;
}

/// Completes the handshake and says nothing ever after, as a host that was unplugged.
async fn mute(listener: TcpListener, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut decoder = Decoder::new(1024);
        let mut buffer = [0; 1024];
        let hello = loop {
            let n = stream.read(&mut buffer).await.unwrap();
            decoder.feed(&buffer[..n]);
            if let Some(frame) = decoder.decode().unwrap() {
                break Hello::decode(&frame).unwrap();
            }
        };
        let life = Incarnation::new(1);
        let ack = HelloAck::new(HelloStatus::Accept, node(2), life, hello.nonce);
        stream.write_all(&ack.to_frame().encode(0).unwrap()).await.unwrap();
        // Keeps reading nothing and holds the socket open.
        tokio::spawn(async move {
            let _stream = stream;
            std::future::pending::<()>().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h17_a_half_open_connection_does_not_swallow_frames_for_minutes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: SocketAddr = listener.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    tokio::spawn(mute(listener, stop.clone()));
    let config = EndpointConfig::local().ping_interval(Duration::from_millis(10));
    let config = config
        .suspect_after(Duration::from_millis(30))
        .down_after(Duration::from_millis(60))
        .stall_max(Duration::from_millis(100));
    let a = Endpoint::start(bind(1, 1), config.build().unwrap()).unwrap();
    a.set_peer(node(2), &[at.into()]);
    let channel = a.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let call = channel.call(node(2), b"x", seconds(20));
    let outcome = guarded("the end of a mute session", call).await;
    let Err(CallError::MaybeExecuted(maybe)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(maybe.cause, Cause::Disconnected, "long before its deadline");
    assert!(a.stats().peers_down >= 1);
    stop.store(true, Ordering::SeqCst);
}

#[test]
fn h25_the_largest_length_a_header_can_name_overflows_nothing() {
    // A header that claims 4 GiB, with right CRCs: what was reserved stays within a block.
    let piece = Bytes::from(vec![0; (u32::MAX / 8) as usize]);
    let mut pieces = vec![piece; 8];
    pieces.push(Bytes::from_static(&[0; 7]));
    let frame = Frame::message(CHANNEL, Body::parts(pieces[..8].to_vec())).without_body_crc();
    let header = frame.encode_header(0).unwrap();
    let mut decoder = Decoder::new(u32::MAX);
    decoder.feed(&header);
    assert_eq!(decoder.decode(), Ok(None));
    let room = decoder.fill(|space| bytes::BufMut::remaining_mut(space));
    assert!(0 < room && room <= 64 * 1024, "{room}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h26_a_burst_ends_after_256_frames() {
    let b = bind(2, 1);
    let gate = Arc::new(Gate::default());
    b.start(gate.clone()).unwrap();
    let (mut stream, ack, _) = raw_hello(b.local_addr().unwrap(), hello()).await;
    assert_eq!(ack.status, HelloStatus::Accept);
    let mut wire = Vec::new();
    for sequence in 1..=5_000 {
        wire.extend(Frame::message(CHANNEL, &b"x"[..]).encode(sequence).unwrap());
    }
    stream.write_all(&wire).await.unwrap();
    until("all frames", || gate.count(hello().lane) == 5_000).await;
    assert!(gate.longest_burst.load(Ordering::SeqCst) <= 256);
}

#[test]
fn h32_nothing_to_oneself_goes_over_the_network() {
    let net = Net::new();
    let a = net.endpoint(1);
    let mut channel = net.channel(&a);
    assert_eq!(channel.send(node(1), Lane::Data, b"x"), Err(SendError::SelfAddressed));
    assert_eq!(channel.send_datagram(node(1), b"x"), Err(SendError::SelfAddressed));
    let call = channel.call(node(1), b"x", seconds(1));
    let Some(Inbound::Call { reply, .. }) = channel.try_recv() else { panic!("no call") };
    reply.reply(b"y").unwrap();
    assert_eq!(net.rt.block_on(call), Ok(Bytes::from_static(b"y")));
    assert_eq!(a.transport_stats().frames_out, 0);
}

#[test]
fn h36_a_pause_of_this_node_accuses_nobody() {
    let net = Net::new();
    let (a, _b) = (net.endpoint(1), net.endpoint(2));
    let watch = a.watch(node(2));
    net.rt.advance(Duration::from_secs(5));
    net.rt.leap(Duration::from_secs(3_600)); // closed the lid for an hour
    assert_eq!(watch.health().state, PeerState::Up);
    net.rt.advance(Duration::from_secs(5));
    assert_eq!((watch.health().state, a.stats().peers_down), (PeerState::Up, 0));
}

/// Memory takes whatever the window allows, so that only the budget of a turn ends a poll.
#[test]
fn h26_a_stream_whose_receiver_keeps_up_yields_to_its_neighbours() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, _server) = (net.channel(&a), net.channel(&b));
    let mut out = client.open_stream(node(2), "head".into(), StreamOptions::new()).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&waker);
    let mut turns = |out: &mut SendStream, bytes: usize| {
        let mut send = pin!(out.send(vec![7; bytes].into()));
        let mut turns = 0;
        loop {
            let (before, woken) = (a.stats().stream_bytes_out, wakes.count());
            let sent = send.as_mut().poll(&mut cx);
            assert!(a.stats().stream_bytes_out - before <= 256 << 10, "no end of a turn");
            match sent {
                Poll::Ready(sent) => return sent.map(|()| turns).unwrap(),
                Poll::Pending => turns += 1,
            }
            assert_eq!(wakes.count(), woken + 1, "it waits for nothing but its turn");
        }
    };
    assert_eq!(turns(&mut out, 800 << 10), 3);
    // Tiny chunks make up a turn over many sends: 32 KiB of the last one are in it.
    let yielded: u64 = (0..512).map(|_| turns(&mut out, 1)).sum();
    assert_eq!(yielded, 2);
}
