//! Idempotent calls: never executed twice, whatever is lost, repeated or restarted.

use crate::support::*;
use bytes::Bytes;
use proptest::prelude::*;
use quorate_transport::*;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// An idempotent call frame as it is on the wire.
fn raw_call(id: u64, session: u128, sequence: u64, incarnation: u64) -> Frame {
    let mut body = Vec::new();
    body.extend_from_slice(&session.to_le_bytes());
    body.extend_from_slice(&sequence.to_le_bytes());
    body.extend_from_slice(&incarnation.to_le_bytes());
    body.extend_from_slice(&id.to_le_bytes());
    let mut frame = Frame::new(Kind::Call, CHANNEL).with_id(id).with_aux(10_000).with_body(body);
    frame.flags |= 4;
    frame
}

/// A receiver and, for its peer, a transport without an endpoint that writes frames by hand.
struct Receiver {
    net: Net,
    endpoint: Endpoint,
    server: Channel,
    raw: std::sync::Arc<Memory>,
    answers: std::sync::Arc<Answers>,
    next_id: u64,
}

#[derive(Default)]
struct Answers(std::sync::Mutex<BTreeMap<u64, (Kind, u32, Bytes)>>);

impl Sink for Answers {
    fn on_frame(&self, _: Peer, _: Lane, _: SessionId, frame: Frame) {
        let answer = (frame.kind, frame.aux, frame.body.into_bytes());
        self.0.lock().unwrap().insert(frame.id, answer);
    }
    fn on_event(&self, _: LinkEvent) {}
    fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
}

impl Receiver {
    fn new(config: EndpointConfig) -> Self {
        let net = Net::new();
        let endpoint = net.endpoint_with(identity(2, 5), config);
        let server = net.channel(&endpoint);
        let (raw, answers) = (net.network.node(identity(1, 1)), std::sync::Arc::default());
        let sink: std::sync::Arc<Answers> = answers;
        raw.start(sink.clone()).unwrap();
        Self { net, endpoint, server, raw, answers: sink, next_id: 0 }
    }

    fn call(&mut self, session: u128, sequence: u64, incarnation: u64) -> u64 {
        self.next_id += 1;
        let frame = raw_call(self.next_id, session, sequence, incarnation);
        self.raw.send(node(2), Lane::Data, frame).unwrap();
        self.next_id
    }

    /// The next call a component gets.
    fn take(&mut self) -> Option<Responder> {
        match self.server.try_recv() {
            Some(Inbound::Call { reply, .. }) => Some(reply),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&self, id: u64) -> Option<(Kind, u32, Bytes)> {
        self.answers.0.lock().unwrap().get(&id).cloned()
    }

    fn reply_of(&self, id: u64) -> Bytes {
        match self.answer(id) {
            Some((Kind::Reply, _, body)) => body,
            other => panic!("call {id} got {other:?}"),
        }
    }

    fn reject_of(&self, id: u64) -> u32 {
        match self.answer(id) {
            Some((Kind::Reject, aux, _)) => aux,
            other => panic!("call {id} got {other:?}"),
        }
    }
}

const RESTARTED: u32 = 5;
const FORGOTTEN: u32 = 6;

#[test]
fn a_repeated_call_gets_the_first_answer() {
    let mut at = Receiver::new(EndpointConfig::default());
    let first = at.call(7, 1, 0);
    at.take().unwrap().reply(b"first").unwrap();
    let second = at.call(7, 1, 5);
    assert!(at.take().is_none(), "executed twice");
    assert_eq!((&at.reply_of(first)[..], &at.reply_of(second)[..]), (&b"first"[..], &b"first"[..]));
    assert_eq!(at.endpoint.stats().dedup_hits, 1);
}

#[test]
fn a_call_repeated_while_it_runs_waits_for_the_same_answer() {
    let mut at = Receiver::new(EndpointConfig::default());
    let first = at.call(7, 1, 0);
    let running = at.take().unwrap();
    let (second, third) = (at.call(7, 1, 5), at.call(7, 1, 5));
    assert!(at.take().is_none() && at.answer(second).is_none());
    running.reply(b"once").unwrap();
    for id in [first, second, third] {
        assert_eq!(&at.reply_of(id)[..], b"once");
    }
}

/// The receiver restarted since: another life may have executed it.
#[test]
fn a_retry_over_a_restart_is_detected_not_executed() {
    let mut at = Receiver::new(EndpointConfig::default());
    let id = at.call(7, 1, 4);
    assert!(at.take().is_none(), "executed although another life may have done it");
    assert_eq!(at.reject_of(id), RESTARTED);
    assert_eq!(at.endpoint.stats().dedup_restarted, 1);
}

#[test]
fn what_was_surely_not_executed_may_be_tried_again() {
    let mut at = Receiver::new(EndpointConfig::default());
    let refused = at.call(7, 1, 0);
    at.take().unwrap().reject(9, Bytes::from_static(b"not now"));
    assert_eq!(at.reject_of(refused), 0x1_0000 + 9);
    at.call(7, 1, 5);
    at.take().expect("a second try").reply(b"now").unwrap();
    // Also when it waited too long.
    let late = at.call(7, 2, 0);
    at.net.rt.leap(Duration::from_secs(60));
    assert!(at.take().is_none());
    assert_eq!(at.reject_of(late), 3);
    at.call(7, 2, 5);
    assert!(at.take().is_some());
}

#[test]
fn h38_an_abandoned_call_is_not_run_again() {
    let mut at = Receiver::new(EndpointConfig::default());
    let first = at.call(7, 1, 0);
    let running = at.take().unwrap();
    let attached = at.call(7, 1, 5);
    drop(running);
    assert_eq!((at.reject_of(first), at.reject_of(attached)), (4, 4));
    let again = at.call(7, 1, 5);
    assert!(at.take().is_none(), "it may have had an effect");
    assert_eq!(at.reject_of(again), FORGOTTEN);
}

#[test]
fn a_call_survives_the_session_it_came_in() {
    let mut at = Receiver::new(EndpointConfig::default());
    at.call(7, 1, 0);
    at.net.network.cut(node(1), node(2));
    at.net.network.heal(node(1), node(2));
    let running = at.take().expect("queued calls go on");
    assert!(!running.is_cancelled(), "its caller will ask again");
    let again = at.call(7, 1, 5);
    let _ = running.reply(b"late");
    assert_eq!(&at.reply_of(again)[..], b"late");
}

#[test]
fn h27_tries_that_wait_for_a_run_are_bounded() {
    let mut at = Receiver::new(EndpointConfig::default());
    let first = at.call(7, 1, 0);
    let running = at.take().unwrap();
    let attached: Vec<u64> = (0..16).map(|_| at.call(7, 1, 5)).collect();
    assert_eq!(at.endpoint.stats().dedup_overloaded, 0);
    let over = at.call(7, 1, 5);
    assert_eq!((at.reject_of(over), at.endpoint.stats().dedup_overloaded), (1, 1));
    running.reply(b"once").unwrap();
    for id in attached.into_iter().chain([first]) {
        assert_eq!(&at.reply_of(id)[..], b"once");
    }
}

/// Whoever gave up, or whose session ended, does not take a place from those that wait.
#[test]
fn tries_that_nobody_waits_for_leave_the_run() {
    let mut at = Receiver::new(EndpointConfig::default());
    at.call(7, 1, 0);
    let running = at.take().unwrap();
    for _ in 0..40 {
        at.call(7, 1, 5);
        at.net.network.cut(node(1), node(2));
        at.net.network.heal(node(1), node(2));
        let id = at.call(7, 1, 5);
        let cancel = Frame::new(Kind::Cancel, CHANNEL).with_id(id);
        at.raw.send(node(2), Lane::Data, cancel).unwrap();
    }
    let last = at.call(7, 1, 5);
    assert_eq!(at.answer(last), None, "it waits");
    running.reply(b"once").unwrap();
    assert_eq!(&at.reply_of(last)[..], b"once");
    assert_eq!(at.endpoint.stats().dedup_overloaded, 0);
}

#[test]
fn a_session_with_a_running_call_never_makes_room() {
    let config = EndpointConfig::lan().dedup_sessions_max(2).build().unwrap();
    let mut at = Receiver::new(config);
    at.call(1, 1, 0);
    let oldest = at.take().unwrap();
    at.call(2, 1, 0);
    at.take().unwrap().reply(b"x").unwrap();
    at.net.rt.leap(Duration::from_secs(61));
    at.call(3, 1, 0);
    at.take().expect("session 2 made room").reply(b"x").unwrap();
    let fourth = at.call(4, 1, 0);
    assert_eq!(at.reject_of(fourth), 1, "one runs, one was used just now");
    let _ = oldest.reply(b"x");
    at.call(4, 1, 0);
    at.take().expect("session 1 made room").reply(b"x").unwrap();
    assert_eq!(at.endpoint.stats().dedup_evicted, 2);
}

#[test]
fn a_cancelled_call_that_is_queued_is_not_executed() {
    let mut at = Receiver::new(EndpointConfig::default());
    let first = at.call(7, 1, 0);
    let attached = at.call(7, 1, 5);
    let cancel = Frame::new(Kind::Cancel, CHANNEL).with_id(first);
    at.raw.send(node(2), Lane::Data, cancel).unwrap();
    assert!(at.take().is_none());
    assert_eq!(at.reject_of(attached), 1, "not executed: ask again");
    at.call(7, 1, 5);
    assert!(at.take().is_some());
}

#[test]
fn calls_below_the_window_are_forgotten_not_repeated() {
    let config = EndpointConfig::lan().dedup_window(10).build().unwrap();
    let mut at = Receiver::new(config);
    for sequence in 1..=20 {
        at.call(7, sequence, 0);
        at.take().unwrap().reply(b"x").unwrap();
    }
    for (sequence, known) in [(1, false), (10, false), (11, true), (20, true)] {
        let id = at.call(7, sequence, 5);
        assert!(at.take().is_none(), "{sequence} executed twice");
        if known {
            assert_eq!(&at.reply_of(id)[..], b"x");
        } else {
            assert_eq!(at.reject_of(id), FORGOTTEN);
        }
    }
    // Another session has sequences of its own.
    at.call(8, 1, 0);
    assert!(at.take().is_some());
}

#[test]
fn h37_stored_answers_are_bounded_oldest_dropped_first() {
    let config = EndpointConfig::lan().dedup_reply_bytes_max(1_000).build().unwrap();
    let mut at = Receiver::new(config);
    for sequence in 1..=10 {
        at.call(7, sequence, 0);
        at.take().unwrap().reply(vec![sequence as u8; 300]).unwrap();
        assert!(at.endpoint.stats().dedup_reply_bytes <= 1_000);
    }
    for sequence in 1..=10 {
        let id = at.call(7, sequence, 5);
        assert!(at.take().is_none());
        match at.answer(id).unwrap() {
            (Kind::Reply, _, body) => assert!(sequence > 7 && body[0] == sequence as u8),
            (_, aux, _) => assert!(sequence <= 7 && aux == FORGOTTEN, "{sequence}"),
        }
    }
    // One answer larger than all: not kept, and not run again.
    at.call(7, 11, 0);
    at.take().unwrap().reply(vec![0; 2_000]).unwrap();
    let id = at.call(7, 11, 5);
    assert_eq!(at.reject_of(id), FORGOTTEN);
    assert_eq!(at.endpoint.stats().dedup_reply_bytes, 900);
}

#[test]
fn sessions_make_room_only_when_idle_and_are_not_guessed_afterwards() {
    let config = EndpointConfig::lan().dedup_sessions_max(2).build().unwrap();
    let mut at = Receiver::new(config);
    for session in [1, 2] {
        at.call(session, 1, 0);
        at.take().unwrap().reply(b"x").unwrap();
    }
    let third = at.call(3, 1, 0);
    assert_eq!(at.reject_of(third), 1, "both are in use");
    at.net.rt.leap(Duration::from_secs(61));
    at.call(1, 2, 0);
    at.take().unwrap().reply(b"x").unwrap();
    at.call(3, 1, 0);
    at.take().expect("session 2 made room").reply(b"x").unwrap();
    assert_eq!(at.endpoint.stats().dedup_evicted, 1);
    // Whether the forgotten session executed this is not known.
    at.net.rt.leap(Duration::from_secs(61));
    let id = at.call(2, 1, 5);
    assert!(at.take().is_none(), "executed twice");
    assert_eq!(at.reject_of(id), FORGOTTEN);
    // A first try of a new session is no guess.
    at.call(9, 1, 0);
    assert!(at.take().is_some());
}

#[test]
fn sessions_belong_to_one_life_of_one_node() {
    let mut at = Receiver::new(EndpointConfig::default());
    at.call(7, 1, 0);
    at.take().unwrap().reply(b"of node 1").unwrap();
    let (raw, answers) =
        (at.net.network.node(identity(3, 1)), std::sync::Arc::<Answers>::default());
    raw.start(answers).unwrap();
    raw.send(node(2), Lane::Data, raw_call(1, 7, 1, 0)).unwrap();
    assert!(at.take().is_some(), "another node's session of the same key");
}

#[test]
fn a_call_without_a_whole_prefix_is_refused() {
    let mut at = Receiver::new(EndpointConfig::default());
    let mut cut = raw_call(1, 7, 1, 0);
    cut.body = cut.body.into_bytes().slice(..31).into();
    at.raw.send(node(2), Lane::Data, cut).unwrap();
    assert!(at.take().is_none());
    assert_eq!((at.reject_of(1), at.endpoint.stats().malformed_calls), (2, 1));
}

/// What the caller's side does with each way a try can end.
struct Caller {
    net: Net,
    a: Endpoint,
    client: Channel,
}

impl Caller {
    fn new() -> Self {
        let net = Net::new();
        let a = net.endpoint(1);
        let client = net.channel(&a);
        Self { net, a, client }
    }

    fn key(&self) -> SessionKey {
        SessionKey::random(&**self.a.runtime())
    }
}

fn poll_once<T>(f: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    f.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn h11_a_retry_over_a_lost_session_runs_once() {
    let at = Caller::new();
    let b = at.net.endpoint(2);
    let mut server = at.net.channel(&b);
    let caller = at.client.idempotent(at.key());
    let mut call = pin!(caller.call(node(2), b"add", seconds(60)));
    assert!(poll_once(call.as_mut()).is_pending());
    let Some(Inbound::Call { reply, body, .. }) = server.try_recv() else { panic!("no call") };
    assert_eq!(&body[..], b"add", "the prefix is not the component's");
    at.net.network.cut(node(1), node(2));
    // The answer is lost with the session.
    let _ = reply.reply(b"done");
    assert!(poll_once(call.as_mut()).is_pending(), "it tries again");
    at.net.network.heal(node(1), node(2));
    let answer = at.net.rt.block_on(call);
    assert_eq!(answer, Ok(Bytes::from_static(b"done")));
    assert!(server.try_recv().is_none(), "executed twice");
}

#[test]
fn a_restart_of_the_receiver_ends_as_unknown() {
    let at = Caller::new();
    let b = at.net.endpoint(2);
    let mut server = at.net.channel(&b);
    let caller = at.client.idempotent(at.key());
    let mut call = pin!(caller.call(node(2), b"add", seconds(60)));
    assert!(poll_once(call.as_mut()).is_pending());
    let _running = server.try_recv().unwrap();
    let b = at.net.endpoint_with(identity(2, 2), EndpointConfig::default());
    let mut server = at.net.channel(&b);
    let outcome = at.net.rt.block_on(call);
    let Err(CallError::MaybeExecuted(maybe)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(maybe.cause, Cause::Restarted);
    assert!(server.try_recv().is_none(), "executed by another life");
}

#[test]
fn what_never_left_is_tried_again_as_if_for_the_first_time() {
    let at = Caller::new();
    at.client.send(node(2), Lane::Data, b"x").unwrap_err();
    let caller = at.client.idempotent(at.key());
    let mut call = pin!(caller.call(node(2), b"add", seconds(60)));
    for _ in 0..3 {
        assert!(poll_once(call.as_mut()).is_pending());
        at.net.rt.advance(Duration::from_secs(2));
    }
    let b = at.net.endpoint_with(identity(2, 9), EndpointConfig::default());
    let mut server = at.net.channel(&b);
    assert!(poll_once(call.as_mut()).is_pending());
    let Some(Inbound::Call { reply, .. }) = server.try_recv() else { panic!("no call") };
    reply.reply(b"done").unwrap();
    assert_eq!(at.net.rt.block_on(call), Ok(Bytes::from_static(b"done")));
}

#[test]
fn the_deadline_ends_the_tries_with_what_is_known() {
    let at = Caller::new();
    let caller = at.client.idempotent(at.key());
    // Nothing ever left: definite.
    let outcome = at.net.rt.block_on(caller.call(node(2), b"x", seconds(3)));
    assert_eq!(outcome, Err(CallError::NotSent(SendError::UnknownPeer)));
    // A try left and the peer never came back: not definite, whatever the last try says.
    let b = at.net.endpoint(2);
    let mut server = at.net.channel(&b);
    let mut call = pin!(caller.call(node(2), b"x", seconds(3)));
    assert!(poll_once(call.as_mut()).is_pending());
    assert!(server.try_recv().is_some());
    at.net.network.cut(node(1), node(2));
    let outcome = at.net.rt.block_on(call).unwrap_err();
    assert!(!outcome.is_definite(), "{outcome:?}");
}

#[test]
fn an_overloaded_receiver_is_asked_again() {
    let at = Caller::new();
    let config = EndpointConfig::lan().inbox_messages_max(1).build().unwrap();
    let b = at.net.endpoint_with(identity(2, 1), config);
    let mut server = at.net.channel(&b);
    at.client.send(node(2), Lane::Data, b"fills the inbox").unwrap();
    let caller = at.client.idempotent(at.key());
    let mut call = pin!(caller.call(node(2), b"x", seconds(60)));
    assert!(poll_once(call.as_mut()).is_pending());
    assert!(matches!(server.try_recv(), Some(Inbound::Message { .. })));
    at.net.rt.advance(Duration::from_secs(1));
    assert!(poll_once(call.as_mut()).is_pending());
    let Some(Inbound::Call { reply, .. }) = server.try_recv() else { panic!("no second try") };
    reply.reply(b"ok").unwrap();
    assert_eq!(at.net.rt.block_on(call), Ok(Bytes::from_static(b"ok")));
}

#[test]
fn several_calls_of_one_caller_are_in_flight_at_once() {
    let at = Caller::new();
    let b = at.net.endpoint(2);
    let mut server = at.net.channel(&b);
    let caller = at.client.idempotent(at.key());
    let mut first = pin!(caller.call(node(2), b"1", seconds(9)));
    let mut second = pin!(caller.call(node(2), b"2", seconds(9)));
    assert!(poll_once(first.as_mut()).is_pending() && poll_once(second.as_mut()).is_pending());
    let mut taken = Vec::new();
    while let Some(Inbound::Call { body, reply, .. }) = server.try_recv() {
        taken.push((body, reply));
    }
    for (body, reply) in taken.into_iter().rev() {
        reply.reply(body).unwrap();
    }
    assert_eq!(&at.net.rt.block_on(second).unwrap()[..], b"2");
    assert_eq!(&at.net.rt.block_on(first).unwrap()[..], b"1");
}

/// One thing that happens at a receiver of idempotent calls.
#[derive(Clone, Copy, Debug)]
enum Step {
    Call { session: u8, sequence: u8, retried: bool },
    Finish { reject: bool },
    Abandon,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = (0..3_u8, 1..30_u8, any::<bool>())
        .prop_map(|(session, sequence, retried)| Step::Call { session, sequence, retried });
    let step = prop_oneof![
        4 => call,
        3 => any::<bool>().prop_map(|reject| Step::Finish { reject }),
        1 => Just(Step::Abandon),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What a plain model says: which calls had an effect.
#[derive(Default)]
struct Model {
    effects: BTreeMap<(u8, u8), u32>,
    highest: BTreeMap<u8, u8>,
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Whatever comes in whatever order: no call has two effects, and a call within the window that
    /// had none is run when asked for.
    #[test]
    fn the_window_agrees_with_a_model(steps in steps()) {
        let config = EndpointConfig::lan().dedup_window(8).build().unwrap();
        let mut at = Receiver::new(config);
        let mut model = Model::default();
        let mut running: Vec<((u8, u8), Responder)> = Vec::new();
        for step in steps {
            match step {
                Step::Call { session, sequence, retried } => {
                    let key = (session, sequence);
                    let incarnation = if retried { 5 } else { 0 };
                    at.call(u128::from(session), u64::from(sequence), incarnation);
                    let highest = model.highest.entry(session).or_default();
                    let below = sequence <= highest.saturating_sub(8);
                    let busy = running.iter().any(|(k, _)| *k == key);
                    let had = model.effects.get(&key).copied().unwrap_or(0);
                    let expected = !below && !busy && had == 0;
                    let taken = at.take();
                    prop_assert_eq!(taken.is_some(), expected, "{:?}", key);
                    if let Some(reply) = taken {
                        *highest = (*highest).max(sequence);
                        running.push((key, reply));
                    }
                }
                Step::Finish { reject } => {
                    let Some((key, reply)) = running.pop() else { continue };
                    if reject {
                        reply.reject(1, Bytes::new());
                    } else {
                        *model.effects.entry(key).or_default() += 1;
                        let _ = reply.reply(b"x");
                    }
                }
                Step::Abandon => {
                    if let Some((key, reply)) = running.pop() {
                        *model.effects.entry(key).or_default() += 1;
                        drop(reply);
                    }
                }
            }
        }
        prop_assert!(model.effects.values().all(|n| *n == 1));
    }
}

/// A call that ended with its lane names the life it was sent to, though another lane has met the
/// next one already: the next one must not run the retry.
#[test]
fn a_call_names_the_life_its_own_lane_talked_to() {
    let mut mux = PeerMux::new(node(2), EndpointConfig::default(), 7);
    let now = Monotonic::from_nanos(1);
    let life = |n| Peer::new(node(2), Incarnation::new(n), Role::Member);
    let up =
        |n, lane, session| LinkEvent::Up { peer: life(n), lane, session: SessionId::new(session) };
    mux.handle_event(now, &up(1, Lane::Data, 1));
    let deadline = now.saturating_add(Duration::from_secs(9));
    let (id, _) = mux.call(now, CHANNEL, Lane::Data, b"x".into(), deadline).unwrap();
    mux.handle_event(now, &up(2, Lane::Control, 2));
    let (session, reason) = (SessionId::new(1), DownReason::Restarted);
    mux.handle_event(now, &LinkEvent::Down { node: node(2), lane: Lane::Data, session, reason });
    let Poll::Ready(Err(CallError::MaybeExecuted(maybe))) = mux.poll_call(id, Waker::noop()) else {
        panic!("not ended")
    };
    assert_eq!(maybe.incarnation, Incarnation::new(1));
}

/// Cancels race with the component that takes the calls: no entry stays behind as running.
#[test]
fn cancels_that_meet_the_taking_strand_no_entry() {
    let config = EndpointConfig::lan().dedup_sessions_max(1).build().unwrap();
    let mut at = Receiver::new(config);
    let raw = at.raw.clone();
    let send = |frame: Frame| loop {
        match raw.send(node(2), Lane::Data, frame.clone()) {
            Err(SendError::Full) => std::thread::yield_now(), // the other thread delivers
            sent => return sent.unwrap(),
        }
    };
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for id in 1..=20_000 {
                send(raw_call(id, 7, id, 0));
                send(Frame::new(Kind::Cancel, CHANNEL).with_id(id));
            }
        });
        while !sender.is_finished() {
            drop(at.take());
        }
    });
    while at.take().is_some() {}
    // Only a session without a running call makes room.
    at.net.rt.leap(Duration::from_secs(61));
    at.call(8, 1, 0);
    assert!(at.take().is_some(), "the session never became idle");
}
