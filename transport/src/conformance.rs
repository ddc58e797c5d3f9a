//! What every [`Transport`] must do, as a list of cases for transports that users write.

use crate::{
    ChannelId, ClusterId, Frame, Identity, Incarnation, Lane, LinkEvent, NodeId, Peer, SendError,
    SessionId, Sink, StartError, Transport,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
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
/// conformance::run(|| InMemory(MemoryNetwork::new()));
/// ```
pub trait Factory {
    /// A transport of this node, not started. The same node may be made again: a restart.
    fn node(&self, identity: Identity) -> Arc<dyn Transport>;

    /// Tells `from` where the newest transport of `to` is.
    fn introduce(&self, from: &dyn Transport, to: NodeId);
}

/// Runs every case, each with a fresh factory.
///
/// # Panics
/// With the name of the case, if one fails.
pub fn run<F: Factory>(factory: impl Fn() -> F) {
    for (name, case) in cases::<F>() {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&factory())));
        if let Err(panic) = outcome {
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("conformance case failed: {name}\n").as_bytes(),
            );
            std::panic::resume_unwind(panic);
        }
    }
}

type Case<F> = (&'static str, fn(&F));

fn cases<F: Factory>() -> Vec<Case<F>> {
    vec![
        ("starts once", starts_once),
        ("frames arrive in order on every lane", fifo),
        ("what cannot be sent is refused", refusals),
        ("a body in pieces arrives as one", pieces),
        ("a reset ends the session and the next send begins another", reset),
        ("full queues refuse, then take again", full_and_ready),
        ("a restarted peer is met again", restart),
        ("a zombie delivers nothing", zombie),
        ("both may begin at once", simultaneous),
        ("a shutdown sends what was accepted", drain),
        ("every Up has one Down", balance),
        ("everything accepted is delivered, returned or its session ended", conservation),
    ]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sink that remembers everything and can hold delivery up.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    frames: Vec<(Peer, Lane, SessionId, u64, Vec<u8>)>,
    events: Vec<LinkEvent>,
    unsent: Vec<u64>,
    held: bool,
    woken: bool,
}

impl Recorder {
    /// Waits for something to be seen.
    fn wait<T>(&self, what: impl fmt::Display, found: impl Fn(&Seen) -> Option<T>) -> T {
        let mut seen = lock(&self.seen);
        loop {
            if let Some(found) = found(&seen) {
                return found;
            }
            let (next, timeout) =
                self.changed.wait_timeout(seen, GUARD).unwrap_or_else(PoisonError::into_inner);
            seen = next;
            assert!(
                !timeout.timed_out(),
                "waited in vain for {what}: {} frames, unsent {:?}, events {:?}",
                seen.frames.len(),
                seen.unsent,
                seen.events
            );
        }
    }

    fn hold(&self, yes: bool) {
        lock(&self.seen).held = yes;
        self.changed.notify_all();
    }

    fn ids(&self, lane: Lane) -> Vec<u64> {
        lock(&self.seen).frames.iter().filter(|f| f.1 == lane).map(|f| f.3).collect()
    }

    fn wait_frames(&self, n: usize) {
        self.wait(format_args!("{n} frames"), |seen| (seen.frames.len() >= n).then_some(()));
    }

    /// The first session with a life of the peer.
    fn wait_up(&self, incarnation: u64) -> SessionId {
        self.wait(format_args!("a session with life {incarnation}"), |seen| {
            seen.events.iter().find_map(|event| match event {
                LinkEvent::Up { peer, session, .. } if peer.incarnation.value() == incarnation => {
                    Some(*session)
                }
                _ => None,
            })
        })
    }

    fn wait_frames_of(&self, n: usize, sender: &Self) {
        self.wait(format_args!("{n} frames of a sender"), |seen| {
            (seen.frames.len() >= n).then_some(())
        });
        assert_eq!(lock(&sender.seen).unsent, [], "returned by a session that was only replaced");
    }

    fn wait_down(&self, session: SessionId) {
        self.wait("the end of a session", |seen| {
            let down = |e: &LinkEvent| {
                matches!(e, LinkEvent::Down { session: ended, .. } if *ended == session)
            };
            seen.events.iter().any(down).then_some(())
        });
    }

    fn ups(&self) -> Vec<(Peer, Lane, SessionId)> {
        let up = |e: &LinkEvent| match e {
            LinkEvent::Up { peer, lane, session } => Some((*peer, *lane, *session)),
            _ => None,
        };
        lock(&self.seen).events.iter().filter_map(up).collect()
    }
}

impl Sink for Recorder {
    fn on_frame(&self, from: Peer, lane: Lane, session: SessionId, frame: Frame) {
        let mut seen = lock(&self.seen);
        while seen.held {
            seen = self.changed.wait(seen).unwrap_or_else(PoisonError::into_inner);
        }
        assert_eq!(frame.body.pieces().len(), 1, "a body arrives as one piece");
        seen.frames.push((from, lane, session, frame.id, frame.body.into_bytes().to_vec()));
        self.changed.notify_all();
    }

    fn on_event(&self, event: LinkEvent) {
        lock(&self.seen).events.push(event);
        self.changed.notify_all();
    }

    fn on_unsent(&self, _: NodeId, _: Lane, frames: &mut dyn Iterator<Item = Frame>) {
        lock(&self.seen).unsent.extend(frames.map(|frame| frame.id));
        self.changed.notify_all();
    }
}

impl Wake for Recorder {
    fn wake(self: Arc<Self>) {
        lock(&self.seen).woken = true;
        self.changed.notify_all();
    }
}

struct Node {
    transport: Arc<dyn Transport>,
    sink: Arc<Recorder>,
}

fn identity(node: NodeId, incarnation: u64) -> Identity {
    Identity::new(ClusterId::new(7), node, Incarnation::new(incarnation))
}

impl Node {
    fn new(factory: &impl Factory, node: NodeId, incarnation: u64) -> Self {
        let transport = factory.node(identity(node, incarnation));
        let sink = Arc::new(Recorder::default());
        assert_eq!(transport.start(sink.clone()), Ok(()));
        Self { transport, sink }
    }

    fn pair(factory: &impl Factory) -> (Self, Self) {
        let (a, b) = (Self::new(factory, A, 1), Self::new(factory, B, 1));
        factory.introduce(&*a.transport, B);
        factory.introduce(&*b.transport, A);
        (a, b)
    }

    fn send(&self, to: NodeId, lane: Lane, id: u64) -> Result<(), SendError> {
        self.transport.send(to, lane, Frame::message(CHANNEL, &b"body"[..]).with_id(id))
    }

    /// Sends until it is accepted: right after the end of a session a lane may refuse for a while.
    fn send_soon(&self, to: NodeId, lane: Lane, id: u64) {
        for _ in 0..3_000 {
            match self.send(to, lane, id) {
                Ok(()) => return,
                Err(error) => assert!(error.is_retryable(), "refused for good: {error}"),
            }
            // Not a measurement: gives the lane's own timers room.
            let seen = lock(&self.sink.seen);
            drop(self.sink.changed.wait_timeout(seen, Duration::from_millis(10)));
        }
        assert_eq!(self.send(to, lane, id), Ok(()), "the lane never came back");
    }

    /// Sends until one frame is delivered, whatever happens to the earlier ones.
    fn reach(&self, to: NodeId, other: &Self, lane: Lane, first: u64) {
        for id in first..first + 1_000 {
            self.send_soon(to, lane, id);
            let arrived = other.sink.wait_or_unsent(&self.sink, id);
            if arrived {
                return;
            }
        }
        assert_eq!(first, u64::MAX, "nothing arrives");
    }

    fn shut_down(&self) {
        let waker = Waker::from(self.sink.clone());
        let mut cx = Context::from_waker(&waker);
        while self.transport.poll_shutdown(&mut cx).is_pending() {
            self.sink.wait("the shutdown", |seen| seen.woken.then_some(()));
            lock(&self.sink.seen).woken = false;
        }
    }
}

impl Recorder {
    /// Whether frame `id` arrived here; false if its sender had it back or lost the session.
    fn wait_or_unsent(&self, sender: &Self, id: u64) -> bool {
        for _ in 0..3_000 {
            let arrived = lock(&self.seen).frames.iter().any(|frame| frame.3 == id);
            if arrived {
                return true;
            }
            if lock(&sender.seen).unsent.contains(&id) {
                return false;
            }
            let seen = lock(&self.seen);
            let step = self.changed.wait_timeout(seen, Duration::from_millis(10));
            drop(step);
        }
        false
    }
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
    assert_eq!(a.send(A, Lane::Data, 0), Err(SendError::SelfAddressed));
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
