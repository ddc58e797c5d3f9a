//! Every limit is kept, counted and answered with a type.

use crate::golden::hello;
use crate::hazards::raw_hello;
use crate::support::*;
use crate::tcp::{bind, cluster, echo, guarded};
use bytes::Bytes;
use quorate_transport::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncReadExt;

#[test]
fn a_configuration_lists_all_its_violations() {
    let error = EndpointConfig::lan()
        .ping_interval(Duration::ZERO)
        .suspect_after(Duration::from_secs(9))
        .down_after(Duration::from_secs(8))
        .calls_inflight_max(0)
        .build()
        .unwrap_err();
    assert_eq!(error.violations().len(), 4, "{error}");
    let error = TcpConfig::lan()
        .channel_share(0)
        .queue_bytes_max(Lane::Bulk, 1)
        .backoff_min(Duration::from_secs(10))
        .build()
        .unwrap_err();
    assert_eq!(error.violations().len(), 3, "{error}");
    for preset in [TcpConfig::local(), TcpConfig::lan(), TcpConfig::wan()] {
        assert!(preset.build().is_ok());
    }
    for preset in [EndpointConfig::local(), EndpointConfig::lan(), EndpointConfig::wan()] {
        assert!(preset.build().is_ok());
    }
}

#[test]
fn channels_have_one_owner_and_a_number() {
    let net = Net::new();
    let a = net.endpoint(1);
    let open = |n| a.channel(ChannelId::new(n), ChannelOptions::new());
    assert_eq!(open(0).err(), Some(OpenError::Reserved));
    let first = open(1).unwrap();
    assert_eq!(open(1).err(), Some(OpenError::Taken));
    drop(first);
    let all: Vec<_> = (1..=256).map(|n| open(n).unwrap()).collect();
    assert_eq!(open(300).err(), Some(OpenError::TooMany));
    drop(all);
    net.rt.block_on(a.shutdown()).unwrap();
    assert_eq!(open(1).err(), Some(OpenError::Closed));
}

#[test]
fn calls_per_peer_are_bounded_on_both_sides() {
    let net = Net::new();
    let few = EndpointConfig::lan().peer_calls_inflight_max(2).build().unwrap();
    let a = net.endpoint_with(identity(1, 1), few);
    let b = net.endpoint_with(identity(2, 1), few);
    let c = net.endpoint(3);
    let (client, _server) = (net.channel(&a), net.channel(&b));
    let mut held: Vec<_> = (0..2).map(|_| client.call(node(2), b"x", seconds(9))).collect();
    let third = net.rt.block_on(client.call(node(2), b"x", seconds(9)));
    assert_eq!(third, Err(CallError::NotSent(SendError::Full)));
    held.clear();
    // A caller without that limit meets the callee's.
    let other = net.channel(&c);
    held.extend((0..2).map(|_| other.call(node(2), b"x", seconds(9))));
    let third = net.rt.block_on(other.call(node(2), b"x", seconds(9)));
    assert_eq!(third, Err(CallError::Rejected(Reject::Overloaded)));
    assert_eq!(b.stats().inbound_overloaded, 1);
}

#[test]
fn deadlines_and_details_are_cut_to_their_limits() {
    let net = Net::new();
    let short = EndpointConfig::lan().deadline_max(Duration::from_secs(2)).build().unwrap();
    let (a, b) = (net.endpoint_with(identity(1, 1), short), net.endpoint(2));
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    let call = client.call(node(2), b"x", seconds(1_000));
    let Some(Inbound::Call { reply, .. }) = server.try_recv() else { panic!("no call") };
    assert_eq!(reply.deadline().since(net.rt.now()), Duration::from_secs(2));
    reply.reject(1, Bytes::from(vec![7; 5_000]));
    let Err(CallError::Rejected(Reject::Application { detail, .. })) = net.rt.block_on(call) else {
        panic!("not rejected")
    };
    assert_eq!(detail.len(), 1024);
}

#[test]
fn an_answer_too_large_ends_its_call() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    let call = client.call(node(2), b"x", seconds(9).lane(Lane::Control));
    let Some(Inbound::Call { reply, .. }) = server.try_recv() else { panic!("no call") };
    let refused = reply.reply(vec![0; 100_000]);
    assert_eq!(refused, Err(SendError::TooLarge { bytes: 100_000, max: 65_536 }));
    assert!(!net.rt.block_on(call).unwrap_err().is_definite(), "the handler ran");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_in_order_and_dialed_again() {
    let start = |n| {
        let config = TcpConfig::local().idle_close(Duration::from_millis(100)).build().unwrap();
        TcpTransport::bind(identity(n, 1), config).unwrap()
    };
    let (a, b) = (start(1), start(2));
    a.set_peer(node(2), &[b.local_addr().unwrap().into()]);
    let a = Endpoint::start(a, EndpointConfig::default()).unwrap();
    let b = Endpoint::start(b, EndpointConfig::default()).unwrap();
    echo(b.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    let mut channel = a.channel(CHANNEL, ChannelOptions::new().links(true)).unwrap();
    for _ in 0..2 {
        let answer = guarded("an answer", channel.call(node(2), b"x", seconds(20))).await;
        assert_eq!(&answer.unwrap()[..], b"x");
        loop {
            let event = guarded("the idle close", channel.recv()).await;
            let Some(Inbound::Link(LinkEvent::Down { reason, .. })) = event else { continue };
            assert_eq!(reason, DownReason::Closed);
            break;
        }
    }
}

/// Progress is no silence, also within one frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_takes_long_is_not_idle() {
    let config = TcpConfig::local().idle_close(Duration::from_millis(300)).build().unwrap();
    let transport = TcpTransport::bind(identity(2, 1), config).unwrap();
    let endpoint = Endpoint::start(transport.clone(), EndpointConfig::default()).unwrap();
    let channel = endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let (mut peer, ..) = raw_hello(transport.local_addr().unwrap(), hello()).await;
    let bytes = 15 << 20;
    channel.send(node(1), Lane::Data, vec![7; bytes]).unwrap();
    // A link of 40 KiB a millisecond, or less.
    let (mut read, mut buffer) = (0, vec![0; 400 * 1024]);
    let mut link = tokio::time::interval(Duration::from_millis(30));
    while read < bytes {
        link.tick().await;
        let more = guarded("more of it", peer.read(&mut buffer)).await.unwrap();
        assert!(more > 0, "closed after {read} bytes");
        read += more;
    }
    assert_eq!(transport.stats().ended, TransportStats::default().ended);
}

/// Two nodes that close what is idle soon; node 1 hears of its links.
fn hasty() -> [(Endpoint, Channel); 2] {
    let [(a, _), (b, at_b)] = [1, 2].map(|n| {
        let config = TcpConfig::local().idle_close(Duration::from_millis(200)).build().unwrap();
        let transport = TcpTransport::bind(identity(n, 1), config).unwrap();
        let pings = EndpointConfig::local().ping_interval(Duration::from_millis(10));
        let pings = pings.suspect_after(Duration::from_millis(500));
        let pings = pings.down_after(Duration::from_secs(1)).stall_max(Duration::from_secs(20));
        (Endpoint::start(transport.clone(), pings.build().unwrap()).unwrap(), transport)
    });
    a.set_peer(node(2), &[at_b.local_addr().unwrap().into()]);
    [(a, true), (b, false)].map(|(endpoint, links)| {
        let channel = endpoint.channel(CHANNEL, ChannelOptions::new().links(links)).unwrap();
        (endpoint, channel)
    })
}

/// A lane is used once and closed as idle, which any lane older than that is by now.
async fn watch_one_close(channel: &mut Channel, idle: Lane) {
    channel.send(node(2), idle, b"once").unwrap();
    loop {
        let event = guarded("the idle close", channel.recv()).await;
        let Some(Inbound::Link(LinkEvent::Down { lane, reason, .. })) = event else { continue };
        assert_eq!(reason, DownReason::Closed);
        if lane == idle {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_flight_keeps_its_lane() {
    let [(_a, mut client), (_b, mut server)] = hasty();
    let call = client.call(node(2), b"x", seconds(60));
    let taken = guarded("the call", server.recv()).await;
    let Some(Inbound::Call { reply, .. }) = taken else { panic!("{taken:?}") };
    watch_one_close(&mut client, Lane::Bulk).await;
    watch_one_close(&mut client, Lane::Bulk).await;
    reply.reply(b"late").unwrap();
    assert_eq!(&guarded("the answer", call).await.unwrap()[..], b"late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_in_flight_keeps_its_lanes() {
    let [(_a, mut client), (_b, mut server)] = hasty();
    let head = Bytes::from_static(b"head");
    let mut stream = client.open_stream(node(2), head, StreamOptions::new()).unwrap();
    let taken = guarded("the stream", server.recv()).await;
    let Some(Inbound::Stream { stream: mut paused, .. }) = taken else { panic!("{taken:?}") };
    watch_one_close(&mut client, Lane::Data).await;
    watch_one_close(&mut client, Lane::Data).await;
    guarded("room", stream.send(b"late"[..].into())).await.unwrap();
    let (sent, received) = tokio::join!(stream.finish(), async {
        assert_eq!(&paused.chunk().await.unwrap().unwrap()[..], b"late");
        assert_eq!(paused.chunk().await, Ok(None));
        paused.accept()
    });
    assert_eq!((sent, received), (Ok(()), Ok(())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_known_peers_get_in_where_that_is_the_policy() {
    let config = TcpConfig::local().accept(AcceptPolicy::KnownOnly).build().unwrap();
    let strict = TcpTransport::bind(identity(2, 1), config).unwrap();
    let at = Address::from(strict.local_addr().unwrap());
    let strict = Endpoint::start(strict, EndpointConfig::default()).unwrap();
    let guest = Endpoint::start(bind(1, 1), EndpointConfig::default()).unwrap();
    let refused = guarded("a refusal", guest.discover(&at)).await;
    let reason = DownReason::Refused(HelloStatus::UnknownPeer);
    assert_eq!(refused, Err(DialError::Failed(reason)));
    strict.set_peer(node(1), &[]);
    assert_eq!(guarded("a welcome", guest.discover(&at)).await.unwrap().node, node(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_over_the_other_sides_limit_is_refused_or_returned() {
    let config = TcpConfig::local().frame_bytes_max(4 << 10).build().unwrap();
    let small = TcpTransport::bind(identity(2, 1), config).unwrap();
    let at = small.local_addr().unwrap();
    let small = Endpoint::start(small, EndpointConfig::default()).unwrap();
    echo(small.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    let a = Endpoint::start(bind(1, 1), EndpointConfig::default()).unwrap();
    a.set_peer(node(2), &[at.into()]);
    let channel = a.channel(CHANNEL, ChannelOptions::new()).unwrap();
    // Queued before the limit is known: returned.
    let early = guarded("an outcome", channel.call(node(2), vec![0; 5_000], seconds(20))).await;
    assert!(matches!(early, Err(CallError::NotSent(_))), "{early:?}");
    // The session is up now: refused at once.
    guarded("an answer", channel.call(node(2), vec![0; 4_000], seconds(20))).await.unwrap();
    let late = guarded("an outcome", channel.call(node(2), vec![0; 5_000], seconds(20))).await;
    let error = SendError::TooLarge { bytes: 5_000, max: 4 << 10 };
    assert_eq!(late, Err(CallError::NotSent(error)));
}

/// The caller takes 4 KiB, the callee would send more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_over_the_callers_limit_may_be_followed_by_a_smaller_one() {
    let b = bind(2, 1);
    let at = b.local_addr().unwrap();
    let b = Endpoint::start(b, EndpointConfig::default()).unwrap();
    let mut server = b.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let config = TcpConfig::local().frame_bytes_max(4 << 10).build().unwrap();
    let a = TcpTransport::bind(identity(1, 1), config).unwrap();
    let a = Endpoint::start(a, EndpointConfig::default()).unwrap();
    a.set_peer(node(2), &[at.into()]);
    let channel = a.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let caller = channel.idempotent(SessionKey::new(7));
    let error = Err(SendError::TooLarge { bytes: 5_000, max: 4 << 10 });
    let serve = async {
        for smaller in [true, true, false, false] {
            let Some(Inbound::Call { mut reply, .. }) = server.recv().await else { panic!() };
            assert_eq!(reply.try_reply(vec![0; 5_000]), error);
            if smaller {
                assert_eq!(reply.try_reply(b"small"), Ok(()));
                assert_eq!(reply.try_reply(b"again"), Err(SendError::Disconnected));
            } else {
                assert_eq!(reply.reply(vec![0; 5_000]), error);
            }
        }
    };
    let call = async {
        let small = Ok(Bytes::from_static(b"small"));
        assert_eq!(channel.call(node(2), b"x", seconds(20)).await, small);
        assert_eq!(caller.call(node(2), b"x", seconds(20)).await, small);
        let plain = channel.call(node(2), b"x", seconds(20)).await;
        for outcome in [plain, caller.call(node(2), b"x", seconds(20)).await] {
            let Err(CallError::MaybeExecuted(maybe)) = outcome else { panic!("{outcome:?}") };
            assert_eq!(maybe.cause, Cause::Abandoned, "told, not left waiting");
        }
    };
    guarded("all answers", async { tokio::join!(serve, call) }).await;
    assert_eq!(b.stats().dedup_reply_bytes, 5, "only what could be sent is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_peers_are_unknown_again() {
    let nodes = cluster(2);
    echo(nodes[1].0.channel(CHANNEL, ChannelOptions::new()).unwrap().split().1);
    let channel = nodes[0].0.channel(CHANNEL, ChannelOptions::new().links(true)).unwrap();
    guarded("an answer", channel.call(node(2), b"x", seconds(20))).await.unwrap();
    nodes[0].0.remove_peer(node(2));
    assert_eq!(channel.send(node(2), Lane::Data, b"x"), Err(SendError::UnknownPeer));
}

/// A sink that, within its first delivery, lets a test do what it likes: in memory nothing else is
/// delivered meanwhile.
struct Within(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Sink for Within {
    fn on_frame(&self, _: Peer, _: Lane, _: SessionId, _: Frame) {
        let first = self.0.lock().unwrap().take();
        first.into_iter().for_each(|act| act());
    }
    fn on_event(&self, _: LinkEvent) {}
    fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
}

/// Node 1 in memory, and what it does while node 2 is held up with 3,000 frames to come.
fn while_full(act: impl FnOnce(&MemoryNetwork, &Arc<Memory>) + Send + 'static) {
    let network = MemoryNetwork::new();
    let (a, b) = (network.node(identity(1, 1)), network.node(identity(2, 1)));
    a.start(Arc::new(Within(Mutex::default()))).unwrap();
    let (done, frame) = (Arc::new(AtomicBool::new(false)), Frame::message(CHANNEL, &b"x"[..]));
    let (sender, over, more) = (a.clone(), done.clone(), frame.clone());
    let act = move || {
        (0..3_000).for_each(|_| sender.send(node(2), Lane::Data, more.clone()).unwrap());
        act(&network, &sender);
        over.store(true, Ordering::SeqCst);
    };
    b.start(Arc::new(Within(Mutex::new(Some(Box::new(act)))))).unwrap();
    a.send(node(2), Lane::Data, frame).unwrap();
    assert!(done.load(Ordering::SeqCst));
}

/// How often a waiter for room at node 2 is woken by what happens, and what it then learns.
fn woken_by(
    act: impl FnOnce(&MemoryNetwork, &Memory) + Send + 'static,
    then: Poll<Result<(), SendError>>,
) {
    while_full(move |network, a| {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(a.poll_ready(node(2), Lane::Data, &mut cx).is_pending());
        act(network, a);
        assert_eq!(wakes.count(), 1, "nobody told the waiter");
        assert_eq!(a.poll_ready(node(2), Lane::Data, &mut cx), then);
    });
}

#[test]
fn whoever_waits_for_room_in_memory_learns_that_a_life_ended() {
    let disconnected = Poll::Ready(Err(SendError::Disconnected));
    let over = |network: &MemoryNetwork| drop(network.node(identity(2, 2)));
    woken_by(move |network, _| over(network), disconnected);
    woken_by(|network, _| network.cut(node(1), node(2)), disconnected);
    woken_by(|network, _| drop(network.node(identity(1, 2))), disconnected);
    let shut = |_: &MemoryNetwork, a: &Memory| {
        assert!(a.poll_shutdown(&mut Context::from_waker(Waker::noop())).is_ready());
    };
    woken_by(shut, Poll::Ready(Err(SendError::Closed)));
}

#[test]
fn a_task_that_asks_often_for_room_in_memory_is_one_waiter() {
    while_full(|_, a| {
        let waker = |_| Waker::from(Arc::new(Wakes::default()));
        let wakers: Vec<Waker> = (0..1_024).map(waker).collect();
        let ask = |waker| a.poll_ready(node(2), Lane::Data, &mut Context::from_waker(waker));
        (0..1_025).for_each(|_| assert!(ask(&wakers[0]).is_pending(), "counted twice"));
        assert!(wakers.iter().all(|waker| ask(waker).is_pending()));
        assert_eq!(ask(Waker::noop()), Poll::Ready(Err(SendError::Full)));
        assert_eq!(a.stats().waiters_overflow, 1);
    });
}
