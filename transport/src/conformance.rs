//! What every [`Transport`] must do, as a list of cases for transports that users write.

mod recorder;

use crate::{
    Address, ChannelId, Frame, Identity, Lane, LinkEvent, NodeId, SendError, SessionId, StartError,
    Transport,
};
use recorder::{Node, Recorder, identity, lock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

/// Guard against a test that would wait for ever; no case depends on how long anything takes.
const GUARD: Duration = Duration::from_secs(30);
const A: NodeId = NodeId::new(1);
const B: NodeId = NodeId::new(2);
const CHANNEL: ChannelId = ChannelId::new(16);

/// Makes the transports under test. Delivery must go on while the calling thread waits.
///
/// # Examples
/// ```
/// use quorate_transport::conformance::{self, Factory};
/// use quorate_transport::{Identity, MemoryNetwork, NodeId, Transport};
/// use std::sync::Arc;
///
/// struct InMemory(MemoryNetwork);
/// impl Factory for InMemory {
///     fn node(&self, identity: Identity) -> Arc<dyn Transport> {
///         self.0.node(identity)
///     }
///     fn introduce(&self, _from: &dyn Transport, _to: NodeId) {}
/// }
/// let passed = conformance::run(|| InMemory(MemoryNetwork::new()));
/// assert_eq!(passed, conformance::CASES);
/// ```
pub trait Factory {
    /// A transport of this node, not started. The same node may be made again: a restart.
    fn node(&self, identity: Identity) -> Arc<dyn Transport>;

    /// Tells `from` where the newest transport of `to` is.
    fn introduce(&self, from: &dyn Transport, to: NodeId);

    /// Where the newest transport of `node` listens; only asked where
    /// [`discover`](Transport::discover) is supported.
    fn address(&self, node: NodeId) -> Option<Address> {
        let _ = node;
        None
    }
}

/// How many cases there are.
pub const CASES: usize = 17;

/// Runs every case, each with a fresh factory; returns how many passed, which is [`CASES`].
///
/// A transport that does not support an optional operation passes its case by answering exactly
/// that, with nothing following.
///
/// # Panics
/// With the name of the case, if one fails.
pub fn run<F: Factory>(factory: impl Fn() -> F) -> usize {
    let mut passed = 0;
    for (name, case) in cases::<F>() {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&factory())));
        if let Err(panic) = outcome {
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("conformance case failed: {name}\n").as_bytes(),
            );
            std::panic::resume_unwind(panic);
        }
        passed += 1;
    }
    passed
}

type Case<F> = (&'static str, fn(&F));

fn cases<F: Factory>() -> [Case<F>; CASES] {
    [
        ("starts once", starts_once),
        ("frames arrive in order on every lane", fifo),
        ("what cannot be sent is refused", refusals),
        ("a body in pieces arrives as one", pieces),
        ("a reset ends the session and the next send begins another", reset),
        ("full queues refuse, then take again", full_and_ready),
        ("a restarted peer is met again", restart),
        ("a zombie delivers nothing", zombie),
        ("an older life that starts later is refused", stale),
        ("a node does not send to itself", self_addressed),
        ("what was accepted for nobody comes back", unsent),
        ("a discovery has one answer", discover),
        ("datagrams keep to their size", datagrams),
        ("both may begin at once", simultaneous),
        ("a shutdown sends what was accepted", drain),
        ("every Up has one Down", balance),
        ("everything accepted is delivered, returned or its session ended", conservation),
    ]
}

fn starts_once(factory: &impl Factory) {
    let a = Node::new(factory, A, 1);
    let again = a.transport.start(Arc::new(Recorder::default()));
    assert_eq!(again, Err(StartError::AlreadyStarted));
    assert_eq!(a.transport.identity(), identity(A, 1));
}

fn fifo(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    for id in 0..300 {
        for lane in Lane::ALL {
            assert_eq!(a.send(B, lane, id), Ok(()));
        }
    }
    b.sink.wait_frames(900);
    for lane in Lane::ALL {
        assert_eq!(b.sink.ids(lane), (0..300).collect::<Vec<_>>());
    }
    assert_eq!(b.sink.ups().len(), 3, "one session per lane");
}

fn refusals(factory: &impl Factory) {
    let (a, _b) = Node::pair(factory);
    assert_eq!(a.send(NodeId::new(99), Lane::Data, 0), Err(SendError::UnknownPeer));
    for lane in Lane::ALL {
        let max = a.transport.limits().body_bytes_max(lane);
        let bytes = u64::from(max) + 1;
        let body = vec![0; usize::try_from(bytes).unwrap_or(0)];
        let refused = a.transport.send(B, lane, Frame::message(CHANNEL, body));
        assert_eq!(refused, Err(SendError::TooLarge { bytes, max }));
        let body = vec![0; usize::try_from(max).unwrap_or(0)];
        assert_eq!(a.transport.send(B, lane, Frame::message(CHANNEL, body)), Ok(()));
    }
}

fn pieces(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    let piece = |byte: u8, n| bytes::Bytes::from(vec![byte; n]);
    for sizes in [vec![1, 2], vec![0, 5, 0], vec![2_000, 3, 9_000, 100_000], vec![70_000; 8]] {
        let pieces = sizes.iter().zip(0u8..).map(|(n, byte)| piece(byte, *n));
        let body = crate::Body::parts(pieces);
        let whole = body.clone().into_bytes();
        let before = lock(&b.sink.seen).frames.len();
        assert_eq!(a.transport.send(B, Lane::Data, Frame::message(CHANNEL, body)), Ok(()));
        b.sink.wait_frames(before + 1);
        assert_eq!(lock(&b.sink.seen).frames[before].4, whole);
    }
}

fn reset(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    a.reach(B, &b, Lane::Data, 0);
    let first = a.sink.wait_up(1);
    a.transport.reset(B, Lane::Data);
    a.sink.wait_down(first);
    a.reach(B, &b, Lane::Data, 10_000);
    assert_ne!(a.transport.lane(B, Lane::Data).session, Some(first));
}

fn full_and_ready(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    a.reach(B, &b, Lane::Data, 0);
    b.sink.hold(true);
    // A transport may deliver in the sender's own thread, which is then held: one filler can be
    // stuck in a delivery, the other finds the queue full.
    let (report, reports) = std::sync::mpsc::channel();
    let released = Arc::new(AtomicBool::new(false));
    for _ in 0..2 {
        let (transport, report) = (a.transport.clone(), report.clone());
        let released = released.clone();
        std::thread::spawn(move || {
            let body = bytes::Bytes::from(vec![7; 60_000]);
            let frame = || Frame::message(CHANNEL, body.clone());
            while !released.load(Ordering::Acquire) {
                if let Err(error) = transport.send(B, Lane::Data, frame()) {
                    let _ = report.send(error);
                    return;
                }
            }
        });
    }
    assert_eq!(reports.recv_timeout(GUARD), Ok(SendError::Full));
    let waker = Waker::from(a.sink.clone());
    let pending = a.transport.poll_ready(B, Lane::Data, &mut Context::from_waker(&waker));
    assert!(pending.is_pending(), "a full lane is not ready");
    released.store(true, Ordering::Release);
    b.sink.hold(false);
    a.sink.wait("room", |seen| seen.woken.then_some(()));
    assert!(a.transport.stats().full >= 1);
}

fn restart(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    a.reach(B, &b, Lane::Data, 0);
    let first = a.sink.wait_up(1);
    b.shut_down();
    drop(b);
    a.sink.wait_down(first);
    let b = Node::new(factory, B, 2);
    factory.introduce(&*a.transport, B);
    a.reach(B, &b, Lane::Data, 10_000);
    a.sink.wait_up(2);
    let incarnations: Vec<_> =
        a.sink.ups().iter().map(|(peer, _, _)| peer.incarnation.value()).collect();
    assert!(incarnations.is_sorted(), "{incarnations:?}");
}

fn zombie(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    let young = Node::new(factory, B, 5);
    factory.introduce(&*young.transport, A);
    young.reach(A, &a, Lane::Data, 0);
    // `b` is the former life. It may accept, but nothing of it arrives.
    for id in 500..520 {
        let _ = b.send(A, Lane::Data, id);
    }
    young.reach(A, &a, Lane::Data, 1_000);
    b.shut_down();
    young.reach(A, &a, Lane::Data, 3_000);
    assert!(!a.sink.ids(Lane::Data).iter().any(|id| (500..520).contains(id)), "a zombie spoke");
}

fn stale(factory: &impl Factory) {
    let (a, old) = Node::pair(factory);
    old.shut_down();
    drop(old);
    let young = Node::new(factory, B, 5);
    factory.introduce(&*young.transport, A);
    young.reach(A, &a, Lane::Data, 0);
    let old = Node::new(factory, B, 2);
    factory.introduce(&*old.transport, A);
    for id in 500..600 {
        let _ = old.send(A, Lane::Data, id);
    }
    young.reach(A, &a, Lane::Data, 1_000);
    old.shut_down();
    young.reach(A, &a, Lane::Data, 3_000);
    assert!(
        !a.sink.ids(Lane::Data).iter().any(|id| (500..600).contains(id)),
        "a former life spoke"
    );
    let met = a.sink.ups().iter().any(|(peer, _, _)| peer.incarnation.value() == 2);
    assert!(!met, "a former life got a session");
}

fn self_addressed(factory: &impl Factory) {
    let (a, _b) = Node::pair(factory);
    for lane in Lane::ALL {
        assert_eq!(a.send(A, lane, 0), Err(SendError::SelfAddressed));
    }
    let datagram = a.transport.send_datagram(A, CHANNEL, b"me");
    assert!(matches!(datagram, Err(SendError::SelfAddressed | SendError::Unsupported)));
    assert_eq!(lock(&a.sink.seen).frames.len(), 0);
}

fn unsent(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    b.shut_down();
    drop(b);
    let accepted: Vec<u64> = (0..200).filter(|id| a.send(B, Lane::Data, *id).is_ok()).collect();
    a.sink.wait("what was accepted for nobody", |seen| {
        (seen.unsent.len() >= accepted.len()).then_some(())
    });
    assert_eq!(lock(&a.sink.seen).unsent, accepted, "each once, in order");
    assert_eq!(a.sink.ups().len(), 0);
}

fn discover(factory: &impl Factory) {
    let (a, b) = (Node::new(factory, A, 1), Node::new(factory, B, 1));
    let address = factory.address(B).or_else(|| "127.0.0.1:1".parse().ok());
    let Some(address) = address else { return };
    let answers_in = |seen: &recorder::Seen| {
        let answer = |e: &&LinkEvent| {
            matches!(e, LinkEvent::Discovered { .. } | LinkEvent::DialFailed { .. })
        };
        seen.events.iter().filter(answer).cloned().collect::<Vec<_>>()
    };
    let answers = |node: &Node| answers_in(&lock(&node.sink.seen));
    match a.transport.discover(&address) {
        Err(error) => {
            assert_eq!(error, SendError::Unsupported);
            factory.introduce(&*a.transport, B);
            a.reach(B, &b, Lane::Data, 0);
            assert_eq!(answers(&a), []);
        }
        Ok(asked) => {
            a.sink.wait("the answer", |seen| (!answers_in(seen).is_empty()).then_some(()));
            a.transport.set_peer(B, &[address]);
            a.reach(B, &b, Lane::Data, 0);
            let answers = answers(&a);
            let [LinkEvent::Discovered { dial, peer, .. }] = answers.as_slice() else {
                unreachable!("not one discovery: {answers:?}")
            };
            assert_eq!((*dial, peer.node, peer.incarnation.value()), (asked, B, 1));
        }
    }
}

fn datagrams(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    let max = a.transport.limits().datagram_bytes_max;
    let size = usize::try_from(max).unwrap_or(0);
    let body = vec![7; size];
    if a.transport.send_datagram(B, CHANNEL, &body) == Err(SendError::Unsupported) {
        assert_eq!(max, 0, "a limit of what there is not");
        return;
    }
    assert!(max > 0, "supported, and has no room");
    let bytes = u64::from(max) + 1;
    let refused = a.transport.send_datagram(B, CHANNEL, &vec![7; size + 1]);
    assert_eq!(refused, Err(SendError::TooLarge { bytes, max }));
    let refused = a.transport.send_datagram(NodeId::new(99), CHANNEL, b"x");
    assert_eq!(refused, Err(SendError::UnknownPeer));
    // Each may be lost, so as many as it takes; where they go over Control, one is a message there.
    let arrived = |seen: &recorder::Seen| {
        let datagram = seen.datagrams.iter().any(|(from, channel, found)| {
            (from.node, *channel, &found[..]) == (A, CHANNEL, &body[..])
        });
        datagram || seen.frames.iter().any(|f| (f.0.node, f.1, &f.4) == (A, Lane::Control, &body))
    };
    while !b.sink.soon(arrived) {
        let sent = a.transport.send_datagram(B, CHANNEL, &body);
        assert!(sent.is_ok() || sent.is_err_and(SendError::is_retryable), "{sent:?}");
    }
    a.shut_down();
    assert_eq!(a.transport.send_datagram(B, CHANNEL, b"x"), Err(SendError::Closed));
}

fn simultaneous(factory: &impl Factory) {
    for _ in 0..20 {
        let (a, b) = Node::pair(factory);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..50).for_each(|id| assert_eq!(a.send(B, Lane::Data, id), Ok(()))));
            scope.spawn(|| (0..50).for_each(|id| assert_eq!(b.send(A, Lane::Data, id), Ok(()))));
        });
        a.sink.wait_frames_of(50, &b.sink);
        b.sink.wait_frames_of(50, &a.sink);
        assert_eq!(a.sink.ids(Lane::Data), (0..50).collect::<Vec<_>>());
        assert_eq!(b.sink.ids(Lane::Data), (0..50).collect::<Vec<_>>());
        // The names are free for the next round.
        a.shut_down();
        b.shut_down();
    }
}

fn drain(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    a.reach(B, &b, Lane::Data, 0);
    let accepted: Vec<u64> =
        (10_000..11_000).filter(|id| a.send(B, Lane::Data, *id).is_ok()).collect();
    a.shut_down();
    assert_eq!(a.send(B, Lane::Data, 0), Err(SendError::Closed));
    let Some(last) = accepted.last() else { return };
    b.sink.wait("the last frame", |seen| seen.frames.iter().any(|f| f.3 == *last).then_some(()));
    assert!(b.sink.ids(Lane::Data).ends_with(&accepted));
}

fn balance(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    for round in 0..5_u64 {
        for (lane, id) in Lane::ALL.into_iter().zip(0_u64..) {
            a.reach(B, &b, lane, (round * 3 + id) * 1_000);
        }
        a.transport.reset(B, Lane::ALL[usize::try_from(round % 3).unwrap_or(0)]);
    }
    a.shut_down();
    b.shut_down();
    for node in [&a, &b] {
        let mut open: BTreeMap<(NodeId, Lane), SessionId> = BTreeMap::new();
        for event in &lock(&node.sink.seen).events {
            match event {
                LinkEvent::Up { peer, lane, session } => {
                    assert_eq!(open.insert((peer.node, *lane), *session), None, "two at once");
                }
                LinkEvent::Down { node, lane, session, .. } => {
                    assert_eq!(
                        open.remove(&(*node, *lane)),
                        Some(*session),
                        "an end without begin"
                    );
                }
                _ => {}
            }
        }
        assert!(open.is_empty(), "sessions without an end: {open:?}");
    }
}

fn conservation(factory: &impl Factory) {
    let (a, b) = Node::pair(factory);
    a.reach(B, &b, Lane::Data, 0);
    let mut accepted = Vec::new();
    for id in 10_000..12_000 {
        if id % 500 == 499 {
            a.transport.reset(B, Lane::Data);
        }
        if a.send(B, Lane::Data, id).is_ok() {
            accepted.push(id);
        }
    }
    a.shut_down();
    b.shut_down();
    let delivered = b.sink.ids(Lane::Data);
    let unsent = lock(&a.sink.seen).unsent.clone();
    assert!(delivered.is_sorted_by(|x, y| x < y), "delivered twice or out of order");
    assert!(unsent.iter().all(|id| !delivered.contains(id)), "delivered and returned");
    assert!(unsent.iter().all(|id| accepted.contains(id)), "returned and never accepted");
}
