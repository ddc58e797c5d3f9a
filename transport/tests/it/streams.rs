//! Byte streams: credit, order, a verified end, and every way to end early.

use crate::bad_input::crc32 as crc;
use crate::support::*;
use bytes::Bytes;
use quorate_transport::*;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const SESSION: SessionId = SessionId::new(1);

fn peer(n: u64) -> Peer {
    Peer::new(node(n), Incarnation::new(1), Role::Member)
}

/// Two muxes whose frames are carried by hand.
struct Wire {
    now: Monotonic,
    sender: PeerMux,
    receiver: PeerMux,
    opened: Option<(StreamId, Bytes)>,
    to_receiver: Vec<(Lane, Frame)>,
    to_sender: Vec<(Lane, Frame)>,
}

impl Wire {
    fn new() -> Self {
        let mut wire = Self {
            now: Monotonic::from_nanos(1),
            sender: PeerMux::new(node(2), EndpointConfig::default(), 5),
            receiver: PeerMux::new(node(1), EndpointConfig::default(), 6),
            opened: None,
            to_receiver: Vec::new(),
            to_sender: Vec::new(),
        };
        for lane in [Lane::Control, Lane::Bulk] {
            let (at_sender, at_receiver) = (peer(2), peer(1));
            let up = |peer| LinkEvent::Up { peer, lane, session: SESSION };
            wire.sender.handle_event(wire.now, &up(at_sender));
            wire.receiver.handle_event(wire.now, &up(at_receiver));
        }
        wire.sender.set_stream_window(1 << 20);
        wire
    }

    fn open(&mut self) -> StreamId {
        let (id, frame) = self.sender.open_stream(CHANNEL, "head".into()).unwrap();
        self.deliver(Lane::Bulk, frame);
        id
    }

    fn deliver(&mut self, lane: Lane, frame: Frame) {
        self.receiver.handle_frame(self.now, peer(1), lane, SESSION, frame);
        self.collect();
    }

    fn answer(&mut self, lane: Lane, frame: Frame) {
        self.sender.handle_frame(self.now, peer(2), lane, SESSION, frame);
        self.collect();
    }

    fn collect(&mut self) {
        let mut out = MuxOutput::default();
        self.receiver.drain(&mut out);
        while let Some(effect) = out.pop() {
            match effect {
                MuxEffect::Stream { id, head, .. } => self.opened = Some((id, head)),
                MuxEffect::Send { lane, frame } => self.to_sender.push((lane, frame)),
                _ => {}
            }
        }
        self.sender.drain(&mut out);
        while let Some(effect) = out.pop() {
            if let MuxEffect::Send { lane, frame } = effect {
                self.to_receiver.push((lane, frame));
            }
        }
    }

    fn data(&self, id: StreamId, bytes: usize) -> Frame {
        Frame::new(Kind::StreamData, CHANNEL).with_id(id.value()).with_body(vec![7; bytes])
    }

    fn end(&self, id: StreamId, total: u64, crc: u32) -> Frame {
        let mut body = vec![0; 16];
        body[..8].copy_from_slice(&total.to_le_bytes());
        body[8..12].copy_from_slice(&crc.to_le_bytes());
        Frame::new(Kind::StreamEnd, CHANNEL).with_id(id.value()).with_body(body)
    }

    fn chunk(&mut self, id: StreamId) -> Poll<Result<Option<Bytes>, StreamError>> {
        let polled = self.receiver.poll_stream_chunk(id, Waker::noop());
        self.collect();
        polled
    }

    fn last_reset(&self) -> Option<(Lane, u32)> {
        let (lane, frame) = self.to_sender.last()?;
        (frame.kind == Kind::StreamReset).then_some((*lane, frame.aux))
    }
}

/// A net of two endpoints, and both ends of a stream.
fn pair() -> (Net, Channel, Channel) {
    let (net, client, server, _) = pair_and_receiver();
    (net, client, server)
}

fn pair_and_receiver() -> (Net, Channel, Channel, Endpoint) {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, server) = (net.channel(&a), net.channel(&b));
    (net, client, server, b)
}

fn open(client: &Channel, server: &mut Channel) -> (SendStream, RecvStream) {
    let out = client.open_stream(node(2), "head".into(), StreamOptions::new()).unwrap();
    let Some(Inbound::Stream { from, stream }) = server.try_recv() else { panic!("no stream") };
    assert_eq!((from.node, &stream.head()[..]), (node(1), &b"head"[..]));
    (out, stream)
}

async fn read_all(mut stream: RecvStream) -> Result<Vec<u8>, StreamError> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.chunk().await? {
        assert!(!chunk.is_empty() && chunk.len() <= 64 * 1024);
        all.extend_from_slice(&chunk);
    }
    stream.accept()?;
    Ok(all)
}

/// Runs two futures side by side.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut x, mut y) = (None, None);
    std::future::poll_fn(|cx| {
        if x.is_none()
            && let Poll::Ready(out) = a.as_mut().poll(cx)
        {
            x = Some(out);
        }
        if y.is_none()
            && let Poll::Ready(out) = b.as_mut().poll(cx)
        {
            y = Some(out);
        }
        if x.is_some() && y.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (x.unwrap(), y.unwrap())
}

#[test]
fn every_byte_arrives_in_order_whatever_the_sizes() {
    let sizes: [&[usize]; 5] =
        [&[], &[1], &[0, 5, 0], &[64 * 1024, 64 * 1024 + 1, 3], &[5 << 20, 7, 1 << 20]];
    for sizes in sizes {
        let (net, client, mut server) = pair();
        let (mut out, stream) = open(&client, &mut server);
        let mut sent = Vec::new();
        let sender = async {
            for (i, n) in sizes.iter().enumerate() {
                let chunk: Vec<u8> = (0..*n).map(|at| (at * 31 + i) as u8).collect();
                sent.extend_from_slice(&chunk);
                out.send(chunk.into()).await?;
            }
            out.finish().await
        };
        let (finished, received) = net.rt.block_on(both(sender, read_all(stream)));
        assert_eq!(finished, Ok(()));
        assert!(received.unwrap() == sent, "{sizes:?}");
    }
}

#[test]
fn ten_thousand_tiny_chunks_are_joined_not_listed() {
    let mut wire = Wire::new();
    let id = wire.open();
    for _ in 0..10_000 {
        let data = wire.data(id, 10);
        wire.deliver(Lane::Bulk, data);
    }
    let mut chunks = 0;
    let mut bytes = 0;
    while let Poll::Ready(Ok(Some(chunk))) = wire.chunk(id) {
        (chunks, bytes) = (chunks + 1, bytes + chunk.len());
    }
    assert_eq!(bytes, 100_000);
    assert!(chunks <= 2, "{chunks} buffers for 100,000 bytes");
}

#[test]
fn a_receiver_that_does_not_read_holds_one_window_at_most() {
    let (net, client, mut server) = pair();
    let (mut out, mut stream) = open(&client, &mut server);
    {
        let mut send = pin!(out.send(vec![1; 4 << 20].into()));
        for _ in 0..50 {
            let polled = send.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "more than a window went out");
            net.rt.run();
        }
    }
    let mut held = 0;
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(chunk) = stream.poll_chunk(&mut cx) {
        held += chunk.unwrap().unwrap().len();
    }
    assert_eq!(held, 1 << 20);
}

#[test]
fn a_dropped_send_keeps_its_chunk_whole() {
    let (net, client, mut server) = pair();
    let (mut out, stream) = open(&client, &mut server);
    let big = Bytes::from((0..3_000_000_u32).map(|i| i as u8).collect::<Vec<_>>());
    {
        let mut send = pin!(out.send(big.clone()));
        let _ = send.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    assert_eq!(out.taken_bytes(), 3_000_000, "taken whole");
    let sender = async {
        out.send("tail".into()).await?;
        out.finish().await
    };
    let (finished, received) = net.rt.block_on(both(sender, read_all(stream)));
    finished.unwrap();
    let received = received.unwrap();
    assert_eq!(received.len(), 3_000_004);
    assert!(received.starts_with(&big) && received.ends_with(b"tail"));
}

#[test]
fn the_sender_learns_how_its_stream_ended() {
    // Accepted only by the application.
    let (net, client, mut server, _receiver) = pair_and_receiver();
    let (out, mut stream) = open(&client, &mut server);
    let mut finish = pin!(out.finish());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(finish.as_mut().poll(&mut cx).is_pending(), "nobody accepted");
    assert_eq!(net.rt.block_on(stream.chunk()), Ok(None));
    assert!(finish.as_mut().poll(&mut cx).is_pending(), "nobody accepted");
    stream.accept().unwrap();
    assert_eq!(net.rt.block_on(finish), Ok(()));
    // Dropped by the receiver, refused with a code, dropped unread by a closed channel.
    let (out, stream) = open(&client, &mut server);
    drop(stream);
    assert_eq!(net.rt.block_on(out.finish()), Err(StreamError::Abandoned));
    let (out, stream) = open(&client, &mut server);
    stream.reset(77);
    assert_eq!(net.rt.block_on(out.finish()), Err(StreamError::Reset { code: 77 }));
    let out = client.open_stream(node(2), Bytes::new(), StreamOptions::new()).unwrap();
    drop(server);
    assert_eq!(net.rt.block_on(out.finish()), Err(StreamError::NoHandler));
    let out = client.open_stream(node(2), Bytes::new(), StreamOptions::new()).unwrap();
    assert_eq!(net.rt.block_on(out.finish()), Err(StreamError::NoHandler));
}

#[test]
fn the_receiver_learns_how_its_stream_ended() {
    let (net, client, mut server) = pair();
    let (mut out, mut stream) = open(&client, &mut server);
    net.rt.block_on(out.send("part".into())).unwrap();
    assert_eq!(net.rt.block_on(stream.chunk()), Ok(Some("part".into())));
    drop(out);
    assert_eq!(net.rt.block_on(stream.chunk()), Err(StreamError::Abandoned));
    assert_eq!(stream.accept(), Err(StreamError::Abandoned));
    let (out, mut stream) = open(&client, &mut server);
    out.reset(5);
    assert_eq!(net.rt.block_on(stream.chunk()), Err(StreamError::Reset { code: 5 }));
    // Accepting too early is an error for both.
    let (mut out, stream) = open(&client, &mut server);
    net.rt.block_on(out.send("part".into())).unwrap();
    assert_eq!(stream.accept(), Err(StreamError::Unfinished));
    assert_eq!(net.rt.block_on(out.finish()), Err(StreamError::Abandoned));
}

#[test]
fn h22_a_cut_stream_is_never_taken_for_a_whole_one() {
    // Cut before the end.
    let (net, client, mut server) = pair();
    let (mut out, mut stream) = open(&client, &mut server);
    net.rt.block_on(out.send("half".into())).unwrap();
    assert_eq!(net.rt.block_on(stream.chunk()), Ok(Some("half".into())));
    net.network.cut(node(1), node(2));
    let cut = net.rt.block_on(stream.chunk());
    assert_eq!(cut, Err(StreamError::Truncated { expected: None, received: Some(4) }));
    assert_eq!(net.rt.block_on(out.finish()), Err(StreamError::Disconnected));
    net.network.heal(node(1), node(2));
    // Cut after the end was sent and before it was accepted.
    let (mut out, mut stream) = open(&client, &mut server);
    net.rt.block_on(out.send("whole".into())).unwrap();
    let mut finish = pin!(out.finish());
    assert!(finish.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    net.network.cut(node(1), node(2));
    let outcome = net.rt.block_on(finish);
    assert_eq!(outcome, Err(StreamError::MaybeReceived));
    assert!(!outcome.unwrap_err().is_definite());
    // The receiver has it all, and may take it.
    assert_eq!(net.rt.block_on(stream.chunk()), Ok(Some("whole".into())));
    assert_eq!(net.rt.block_on(stream.chunk()), Ok(None));
    stream.accept().unwrap();
}

#[test]
fn h22_an_end_that_does_not_match_is_refused() {
    let verdict = |total, crc_of: &[u8], dropped: bool| {
        let mut wire = Wire::new();
        let id = wire.open();
        if !dropped {
            let data = wire.data(id, 5);
            wire.deliver(Lane::Bulk, data);
        }
        let end = wire.end(id, total, crc(crc_of));
        wire.deliver(Lane::Bulk, end);
        let mut polled = wire.chunk(id);
        if matches!(polled, Poll::Ready(Ok(Some(_)))) {
            polled = wire.chunk(id);
        }
        (polled, wire.last_reset())
    };
    assert_eq!(verdict(5, &[7; 5], false), (Poll::Ready(Ok(None)), None));
    let (polled, reset) = verdict(6, &[7; 6], false);
    let cut = StreamError::Truncated { expected: Some(6), received: Some(5) };
    assert_eq!((polled, reset), (Poll::Ready(Err(cut)), Some((Lane::Control, 3))));
    let (polled, reset) = verdict(5, &[8; 5], false);
    assert_eq!(polled, Poll::Ready(Err(StreamError::Checksum)));
    assert_eq!(reset, Some((Lane::Control, 5)));
    let (polled, reset) = verdict(5, &[7; 5], true);
    let cut = StreamError::Truncated { expected: Some(5), received: Some(0) };
    assert_eq!((polled, reset), (Poll::Ready(Err(cut)), Some((Lane::Control, 3))));
}

#[test]
fn broken_rules_end_that_stream_only() {
    // More than was granted.
    let mut wire = Wire::new();
    let (bad, good) = (wire.open(), wire.open());
    for _ in 0..16 {
        let data = wire.data(bad, 64 * 1024);
        wire.deliver(Lane::Bulk, data);
    }
    assert_eq!(wire.last_reset(), None, "exactly the window");
    let data = wire.data(bad, 1);
    wire.deliver(Lane::Bulk, data);
    assert_eq!(wire.last_reset(), Some((Lane::Control, 6)));
    assert_eq!(wire.chunk(bad), Poll::Ready(Err(StreamError::Flow)));
    // So is a chunk longer than the format allows, and a head: an open that is refused.
    let long = wire.open();
    let data = wire.data(long, 64 * 1024 + 1);
    wire.deliver(Lane::Bulk, data);
    assert_eq!(wire.last_reset(), Some((Lane::Control, 6)));
    let head = Frame::new(Kind::StreamOpen, CHANNEL).with_id(1).with_body(vec![0; 64 * 1024 + 1]);
    wire.opened = None;
    wire.deliver(Lane::Bulk, head);
    assert!(wire.opened.is_none() && wire.last_reset() == Some((Lane::Control, 6)));
    // An empty chunk and a short end are broken rules, too.
    for body in [0, 15] {
        let id = wire.open();
        let kind = if body == 0 { Kind::StreamData } else { Kind::StreamEnd };
        let frame = Frame::new(kind, CHANNEL).with_id(id.value()).with_body(vec![0; body]);
        wire.deliver(Lane::Bulk, frame);
        assert_eq!(wire.chunk(id), Poll::Ready(Err(StreamError::Flow)));
    }
    // The other stream is well.
    let data = wire.data(good, 3);
    wire.deliver(Lane::Bulk, data);
    assert_eq!(wire.chunk(good), Poll::Ready(Ok(Some(Bytes::from_static(&[7; 3])))));
    // Credit beyond the window.
    let credit = Frame::new(Kind::StreamCredit, CHANNEL).with_id(good.value()).with_aux(1);
    wire.answer(Lane::Control, credit);
    let outcome = wire.sender.poll_stream_credit(good, Waker::noop());
    assert_eq!(outcome, Poll::Ready(Err(StreamError::Flow)));
    assert!(matches!(wire.to_receiver.last(), Some((Lane::Bulk, frame)) if frame.aux == 6));
}

#[test]
fn frames_for_streams_that_are_not_there_are_ignored_and_counted() {
    let mut wire = Wire::new();
    let kinds = [
        (Lane::Bulk, Kind::StreamData),
        (Lane::Bulk, Kind::StreamEnd),
        (Lane::Bulk, Kind::StreamReset),
        (Lane::Control, Kind::StreamReset),
        (Lane::Control, Kind::StreamCredit),
        (Lane::Control, Kind::StreamDone),
    ];
    for (lane, kind) in kinds {
        wire.deliver(lane, Frame::new(kind, CHANNEL).with_id(99));
    }
    assert_eq!(wire.receiver.stats().late_frames, 6);
    assert!(wire.to_sender.is_empty());
    // Done before the end proves nothing.
    let id = wire.open();
    let done = Frame::new(Kind::StreamDone, CHANNEL).with_id(id.value());
    wire.answer(Lane::Control, done);
    assert!(wire.sender.poll_stream_done(id, Waker::noop()).is_pending());
    // A second stream with a living id does not touch the first.
    let again = Frame::new(Kind::StreamOpen, CHANNEL).with_id(id.value());
    wire.deliver(Lane::Bulk, again);
    assert_eq!(wire.receiver.stats().late_frames, 7);
}

#[test]
fn streams_per_peer_are_bounded_on_both_sides() {
    let net = Net::new();
    let few = EndpointConfig::lan().peer_streams_max(2).build().unwrap();
    let a = net.endpoint_with(identity(1, 1), few);
    let (b, c) = (net.endpoint_with(identity(2, 1), few), net.endpoint(3));
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    let start =
        |channel: &Channel, to| channel.open_stream(node(to), Bytes::new(), StreamOptions::new());
    let held = [start(&client, 2).unwrap(), start(&client, 2).unwrap()];
    assert_eq!(start(&client, 2).err(), Some(SendError::Full));
    drop(held);
    let other = net.channel(&c);
    let _held = [start(&other, 2).unwrap(), start(&other, 2).unwrap()];
    let third = start(&other, 2).unwrap();
    assert_eq!(net.rt.block_on(third.finish()), Err(StreamError::Overloaded));
    while server.try_recv().is_some() {}
    let large = client.open_stream(node(2), vec![0; 65_537].into(), StreamOptions::new());
    assert_eq!(large.err(), Some(SendError::TooLarge { bytes: 65_537, max: 65_536 }));
    let own = client.open_stream(node(1), Bytes::new(), StreamOptions::new());
    assert_eq!(own.err(), Some(SendError::SelfAddressed));
}

#[test]
fn a_full_inbox_resets_the_stream() {
    let net = Net::new();
    let config = EndpointConfig::lan().inbox_messages_max(1).build().unwrap();
    let (a, b) = (net.endpoint(1), net.endpoint_with(identity(2, 1), config));
    let (client, server) = (net.channel(&a), net.channel(&b));
    client.send(node(2), Lane::Data, b"fills the inbox").unwrap();
    let out = client.open_stream(node(2), Bytes::new(), StreamOptions::new()).unwrap();
    assert_eq!(net.rt.block_on(out.finish()), Err(StreamError::Overloaded));
    assert_eq!((server.stats().overloaded, b.stats().streams_overloaded), (1, 1));
}

#[test]
fn a_receiver_that_never_reads_does_not_hold_the_sender_for_ever() {
    let (net, client, mut server) = pair();
    let options = StreamOptions::new().stall_max(Duration::from_secs(7));
    let mut out = client.open_stream(node(2), Bytes::new(), options).unwrap();
    let Some(Inbound::Stream { mut stream, .. }) = server.try_recv() else { panic!() };
    let before = net.rt.now();
    let stalled = net.rt.block_on(out.send(vec![0; 2 << 20].into()));
    assert_eq!(stalled, Err(StreamError::Stalled));
    assert_eq!(net.rt.now().since(before), Duration::from_secs(7));
    drop(out);
    let mut last = net.rt.block_on(stream.chunk());
    while let Ok(Some(_)) = last {
        last = net.rt.block_on(stream.chunk());
    }
    assert_eq!(last, Err(StreamError::Abandoned));
    // After the end was sent the outcome is not known.
    let out = client.open_stream(node(2), Bytes::new(), options).unwrap();
    let Some(Inbound::Stream { stream, .. }) = server.try_recv() else { panic!() };
    assert_eq!(net.rt.block_on(out.finish()), Err(StreamError::MaybeReceived));
    drop(stream);
}

#[test]
fn an_unsent_frame_ends_its_stream_definitely() {
    let mut wire = Wire::new();
    let (id, frame) = wire.sender.open_stream(CHANNEL, Bytes::new()).unwrap();
    wire.sender.handle_unsent(&frame);
    let credit = wire.sender.poll_stream_credit(id, Waker::noop());
    assert_eq!(credit, Poll::Ready(Err(StreamError::Disconnected)));
    // Also one that says the end: it surely was not read.
    let id = wire.open();
    let end = wire.end(id, 0, 0);
    wire.sender.stream_ended(id, true);
    wire.sender.handle_unsent(&end);
    let done = wire.sender.poll_stream_done(id, Waker::noop());
    assert_eq!(done, Poll::Ready(Err(StreamError::Disconnected)));
}

#[test]
fn small_frames_of_streams_that_found_no_room_are_tried_again() {
    let net = Net::new();
    let a = net.endpoint(1);
    let (faulty, control) = Faulty::new(net.network.node(identity(2, 1)), net.rt.arc(), 1);
    let b = Endpoint::start_with(faulty, net.rt.arc(), EndpointConfig::default()).unwrap();
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    let (out, stream) = open(&client, &mut server);
    control.set(Fault::Full, 1_000);
    drop(stream);
    assert!(control.stats().full > 0, "the reset found no room");
    control.calm();
    let before = net.rt.now();
    assert_eq!(net.rt.block_on(out.finish()), Err(StreamError::Abandoned));
    assert!(net.rt.now().since(before) < Duration::from_secs(1), "long before it is given up");
}

#[test]
fn a_shutdown_ends_streams_on_both_sides() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    let (mut out, mut stream) = open(&client, &mut server);
    net.rt.block_on(out.send("x".into())).unwrap();
    assert_eq!(net.rt.block_on(stream.chunk()), Ok(Some("x".into())));
    net.rt.block_on(a.shutdown()).unwrap();
    assert!(matches!(net.rt.block_on(stream.chunk()), Err(StreamError::Truncated { .. })));
    assert_eq!(net.rt.block_on(out.finish()), Err(StreamError::Disconnected));
    let refused = client.open_stream(node(2), Bytes::new(), StreamOptions::new());
    assert_eq!(refused.err(), Some(SendError::Closed));
}

#[test]
fn stream_bytes_are_counted() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    let (mut out, stream) = open(&client, &mut server);
    let sender = async {
        out.send(vec![1; 300_000].into()).await?;
        out.finish().await
    };
    let (finished, _) = net.rt.block_on(both(sender, read_all(stream)));
    finished.unwrap();
    assert_eq!((a.stats().streams_out, a.stats().stream_bytes_out), (1, 300_000));
    assert_eq!((b.stats().streams_in, b.stats().stream_bytes_in), (1, 300_000));
}

fn link(n: u64, lane: Lane, up: bool) -> LinkEvent {
    let (session, node) = (SESSION, node(n));
    if up {
        return LinkEvent::Up { peer: peer(n), lane, session };
    }
    let reason = DownReason::Io(std::io::ErrorKind::ConnectionReset);
    LinkEvent::Down { node, lane, session, reason }
}

/// The two ends see the end of Control at different times: whoever fails first says so.
#[test]
fn a_stream_that_failed_on_one_side_only_is_reset_for_the_other() {
    // The sender sees it later, after its open was delivered.
    let mut wire = Wire::new();
    wire.receiver.handle_event(wire.now, &link(1, Lane::Control, false));
    let id = wire.open();
    wire.sender.handle_event(wire.now, &link(2, Lane::Control, false));
    let failed = wire.sender.poll_stream_credit(id, Waker::noop());
    assert_eq!(failed, Poll::Ready(Err(StreamError::Disconnected)));
    wire.sender.drop_own_stream(id, 4);
    wire.collect();
    let (lane, reset) = wire.to_receiver.pop().expect("the receiver is told");
    assert_eq!((lane, reset.kind), (Lane::Bulk, Kind::StreamReset));
    wire.deliver(lane, reset);
    assert_eq!(wire.chunk(id), Poll::Ready(Err(StreamError::Abandoned)));
    // The receiver sees it later.
    let mut wire = Wire::new();
    wire.sender.handle_event(wire.now, &link(2, Lane::Control, false));
    let id = wire.open();
    wire.receiver.handle_event(wire.now, &link(1, Lane::Control, false));
    assert!(matches!(wire.chunk(id), Poll::Ready(Err(StreamError::Truncated { .. }))));
    wire.receiver.drop_stream(id, 4);
    wire.collect();
    let (lane, reset) = wire.to_sender.pop().expect("the sender is told");
    wire.answer(lane, reset);
    let failed = wire.sender.poll_stream_credit(id, Waker::noop());
    assert_eq!(failed, Poll::Ready(Err(StreamError::Abandoned)));
    // Both know: nothing more is said.
    wire.sender.drop_own_stream(id, 4);
    wire.collect();
    assert!(wire.to_receiver.is_empty());
}

#[test]
fn the_window_of_a_session_that_ended_is_not_that_of_the_next() {
    let mut wire = Wire::new();
    wire.sender.set_stream_window(64 << 10);
    wire.sender.handle_event(wire.now, &link(2, Lane::Bulk, false));
    let (id, _) = wire.sender.open_stream(CHANNEL, Bytes::new()).unwrap();
    wire.sender.handle_event(wire.now, &link(2, Lane::Bulk, true));
    assert!(wire.sender.poll_stream_credit(id, Waker::noop()).is_pending());
    wire.sender.set_stream_window(1 << 20);
    assert_eq!(wire.sender.poll_stream_credit(id, Waker::noop()), Poll::Ready(Ok(1 << 20)));
}

#[test]
fn time_in_which_nobody_waits_does_not_stall_a_stream() {
    let (net, client, mut server) = pair();
    let (mut out, mut stream) = open(&client, &mut server);
    {
        let mut send = pin!(out.send(vec![1; 3 << 20].into()));
        assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    net.rt.advance(Duration::from_secs(60)); // the application does something else
    let mut send = pin!(out.send(vec![1; 10].into()));
    assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut cx = Context::from_waker(Waker::noop());
    while stream.poll_chunk(&mut cx).is_ready() {}
    assert!(send.as_mut().poll(&mut cx).is_pending(), "it goes on");
}
