//! Calls: every outcome of the table "event at the caller".

use crate::support::*;
use bytes::Bytes;
use quorate_transport::*;
use std::time::Duration;

fn taken(channel: &mut Channel) -> (Bytes, Responder) {
    match channel.try_recv() {
        Some(Inbound::Call { body, reply, .. }) => (body, reply),
        other => panic!("expected a call, got {other:?}"),
    }
}

fn cause(outcome: Result<Bytes, CallError>) -> Cause {
    match outcome {
        Err(CallError::MaybeExecuted(maybe)) => maybe.cause,
        other => panic!("expected an unknown outcome, got {other:?}"),
    }
}

#[test]
fn a_call_is_answered() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    let call = client.call(node(2), b"ping", seconds(1));
    let (body, reply) = taken(&mut server);
    assert_eq!(&body[..], b"ping");
    assert_eq!(reply.deadline(), net.rt.now().saturating_add(Duration::from_secs(1)));
    reply.reply(b"pong").unwrap();
    assert_eq!(&net.rt.block_on(call).unwrap()[..], b"pong");
    assert_eq!((a.stats().calls_ok, a.stats().calls_inflight), (1, 0));
    assert_eq!(b.stats().inbound_calls, 1);
}

#[test]
fn rejects_say_why() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let client = net.channel(&a);
    let nobody = net.rt.block_on(client.call(node(2), b"x", seconds(1)));
    assert_eq!(nobody, Err(CallError::Rejected(Reject::NoHandler)));

    let mut server = net.channel(&b);
    let call = client.call(node(2), b"x", seconds(1));
    taken(&mut server).1.reject(7, Bytes::from_static(b"because"));
    let detail = Bytes::from_static(b"because");
    let expected = CallError::Rejected(Reject::Application { code: 7, detail });
    assert_eq!(net.rt.block_on(call), Err(expected));
}

#[test]
fn outcomes_that_are_not_known_are_their_own_kind() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, mut server) = (net.channel(&a), net.channel(&b));

    let call = client.call(node(2), b"x", seconds(1));
    let (_, held) = taken(&mut server);
    assert_eq!(cause(net.rt.block_on(call)), Cause::Deadline);
    assert!(held.reply(b"late").is_ok(), "the callee cannot know");
    assert_eq!(a.stats().late_frames, 1);

    let call = client.call(node(2), b"x", seconds(1));
    drop(taken(&mut server));
    assert_eq!(cause(net.rt.block_on(call)), Cause::Abandoned);

    let call = client.call(node(2), b"x", seconds(1));
    let (_, held) = taken(&mut server);
    net.network.cut(node(1), node(2));
    assert_eq!(cause(net.rt.block_on(call)), Cause::Disconnected);
    assert!(held.is_cancelled());
    assert_eq!(held.reply(b"late"), Err(SendError::Disconnected));

    let refused = net.rt.block_on(client.call(node(2), b"x", seconds(1)));
    assert_eq!(refused, Err(CallError::NotSent(SendError::Disconnected)));
    net.network.heal(node(1), node(2));

    let call = client.call(node(2), b"x", seconds(1));
    net.rt.block_on(a.shutdown()).unwrap();
    assert_eq!(cause(net.rt.block_on(call)), Cause::Cancelled);
    let refused = net.rt.block_on(client.call(node(2), b"x", seconds(1)));
    assert_eq!(refused, Err(CallError::NotSent(SendError::Closed)));
}

#[test]
fn calls_to_oneself_go_straight_to_the_inbox() {
    let net = Net::new();
    let a = net.endpoint(1);
    let mut own = net.channel(&a);
    let call =
        own.call(node(1), Body::parts([b"a", b"b"].map(|b| Bytes::from_static(b))), seconds(1));
    let (body, reply) = taken(&mut own);
    assert_eq!(&body[..], b"ab");
    reply.reply(b"self").unwrap();
    assert_eq!(&net.rt.block_on(call).unwrap()[..], b"self");
    assert_eq!(own.send(node(1), Lane::Data, b"x"), Err(SendError::SelfAddressed));
    assert_eq!(a.transport_stats().frames_out, 0);
}

#[test]
fn dropping_the_reply_cancels_queued_and_taken_calls() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    drop(client.call(node(2), b"queued", seconds(1)));
    assert!(server.try_recv().is_none());
    assert_eq!(server.stats().depth, 0);
    let call = client.call(node(2), b"taken", seconds(1));
    let (_, reply) = taken(&mut server);
    assert!(!reply.is_cancelled());
    drop(call);
    assert!(reply.is_cancelled());
    net.rt.block_on(reply.cancelled());
    assert_eq!((a.stats().calls_cancelled, a.stats().calls_inflight), (2, 0));
    assert_eq!(b.stats().inbound_cancelled, 2);
}

#[test]
fn a_call_that_waited_too_long_is_rejected_unexecuted() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (client, mut server) = (net.channel(&a), net.channel(&b));
    let mut mux_call = std::pin::pin!(client.call(node(2), b"x", seconds(1)));
    net.rt.leap(Duration::from_secs(2)); // the component was asleep
    assert!(server.try_recv().is_none(), "executed after its deadline");
    assert_eq!(b.stats().inbound_expired, 1);
    // The caller's own deadline has passed as well: what it knows is that it does not know.
    let outcome = net.rt.block_on(mux_call.as_mut());
    assert_eq!(cause(outcome), Cause::Deadline);
}
