//! The inbox: whoever waits is woken by a push and by the end, and nothing is lost.

use crate::inbox::{Inbox, Item, Pushed};
use crate::wait;
use loom::thread;
use quorate_transport::*;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

fn inbox(messages: u32) -> Arc<Inbox> {
    Arc::new(Inbox::new(ChannelId::new(16), false, messages, 1 << 20))
}

/// `Core::deliver` and `Core::wake_components`: the waker is taken under the lock and woken
/// without it. Whether it was taken.
fn push(inbox: &Inbox, byte: u8) -> bool {
    let from = Peer::new(NodeId::new(1), Incarnation::new(1), Role::Member);
    let item = Item::Message { from, lane: Lane::Data, body: vec![byte].into() };
    let mut refused = Vec::new();
    if let Pushed::Taken(waker) = inbox.push_all(&mut std::iter::once(item), &mut refused) {
        waker.into_iter().for_each(Waker::wake);
    }
    refused.is_empty()
}

fn byte(item: &Item) -> u8 {
    let Item::Message { body, .. } = item else { panic!("only messages are pushed") };
    body[0]
}

#[test]
fn a_push_wakes_whoever_waits() {
    loom::model(|| {
        let inbox = inbox(8);
        let other = inbox.clone();
        let pusher = thread::spawn(move || {
            assert!(push(&other, 1));
            assert!(push(&other, 2));
        });
        for expected in [1, 2] {
            let item = wait(|cx| inbox.poll_pop(cx));
            assert_eq!(item.as_ref().map(byte), Some(expected), "in order");
        }
        pusher.join().unwrap();
    });
}

#[test]
fn two_pushers_lose_nothing() {
    loom::model(|| {
        let inbox = inbox(8);
        let pushers = [1, 2].map(|n| {
            let other = inbox.clone();
            thread::spawn(move || assert!(push(&other, n)))
        });
        let found = [(); 2].map(|()| wait(|cx| inbox.poll_pop(cx)).as_ref().map(byte).unwrap());
        assert!(found == [1, 2] || found == [2, 1]);
        for pusher in pushers {
            pusher.join().unwrap();
        }
    });
}

/// What was taken is popped, or comes back from `close`; the receiver learns the end.
#[test]
fn the_end_wakes_whoever_waits() {
    loom::model(|| {
        let inbox = inbox(8);
        let (pushed, closed) = (inbox.clone(), inbox.clone());
        let pusher = thread::spawn(move || push(&pushed, 1));
        let closer = thread::spawn(move || {
            let (left, waker) = closed.close();
            waker.into_iter().for_each(Waker::wake);
            left.len()
        });
        let mut popped = 0;
        while wait(|cx| inbox.poll_pop(cx)).is_some() {
            popped += 1;
        }
        let taken = usize::from(pusher.join().unwrap());
        assert_eq!(popped + closer.join().unwrap(), taken);
    });
}

/// A full inbox refuses, and what is popped makes room: the books stay right.
#[test]
fn the_limit_holds() {
    loom::model(|| {
        let inbox = inbox(1);
        let other = inbox.clone();
        let pusher = thread::spawn(move || u64::from(push(&other, 1)) + u64::from(push(&other, 2)));
        let popped = u64::from(inbox.pop().is_some());
        let taken = pusher.join().unwrap();
        let stats = inbox.stats();
        assert!(stats.depth <= 1 && stats.depth_max <= 1);
        assert_eq!((stats.depth, stats.dropped), (taken - popped, 2 - taken));
    });
}

/// A call that a component of this node would get.
fn inbound() -> Arc<InboundCall> {
    let peer = Peer::new(NodeId::new(2), Incarnation::new(1), Role::Member);
    let session = SessionId::new(1);
    let mut mux = PeerMux::new(peer.node, EndpointConfig::default(), 7);
    mux.handle_event(Monotonic::ZERO, &LinkEvent::Up { peer, lane: Lane::Data, session });
    let frame = Frame::new(Kind::Call, ChannelId::new(16)).with_id(9).with_aux(1_000);
    mux.handle_frame(Monotonic::ZERO, peer, Lane::Data, session, frame);
    let mut out = MuxOutput::default();
    mux.drain(&mut out);
    std::iter::from_fn(|| out.pop())
        .find_map(|effect| match effect {
            MuxEffect::Call { call, .. } => Some(call),
            _ => None,
        })
        .expect("a call is delivered")
}

/// A call that is revoked while it is popped is one or the other, and no end of the channel.
#[test]
fn a_revoked_call_is_no_end() {
    let call = inbound();
    loom::model(move || {
        let (inbox, call) = (inbox(8), call.clone());
        let item = Item::Call { call: call.clone(), body: Vec::new().into() };
        let refused = &mut Vec::new();
        assert!(matches!(inbox.push_all(&mut std::iter::once(item), refused), Pushed::Taken(_)));
        let other = inbox.clone();
        let revoker = thread::spawn(move || other.remove(&call));
        let popped = match inbox.poll_pop(&Context::from_waker(Waker::noop())) {
            Poll::Ready(item) => item.map(|_| true).expect("nobody closed it"),
            Poll::Pending => false,
        };
        assert_ne!(popped, revoker.join().unwrap());
    });
}
