//! A sink that remembers everything, and a node around it.

use super::{A, B, CHANNEL, Factory, GUARD};
use crate::{
    ChannelId, ClusterId, Frame, Identity, Incarnation, Lane, LinkEvent, NodeId, Peer, SendError,
    SessionId, Sink, Transport,
};
use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sink that remembers everything and can hold delivery up.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) frames: Vec<(Peer, Lane, SessionId, u64, Vec<u8>)>,
    pub(super) events: Vec<LinkEvent>,
    pub(super) unsent: Vec<u64>,
    /// Bodies of datagrams by sender and channel.
    pub(super) datagrams: Vec<(Peer, ChannelId, Bytes)>,
    pub(super) held: bool,
    pub(super) woken: bool,
}

impl Recorder {
    /// Waits for something to be seen.
    pub(super) fn wait<T>(&self, what: impl fmt::Display, found: impl Fn(&Seen) -> Option<T>) -> T {
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

    /// Whether it is seen within a moment.
    pub(super) fn soon(&self, found: impl Fn(&Seen) -> bool) -> bool {
        for _ in 0..10 {
            let seen = lock(&self.seen);
            if found(&seen) {
                return true;
            }
            drop(self.changed.wait_timeout(seen, Duration::from_millis(10)));
        }
        false
    }

    pub(super) fn hold(&self, yes: bool) {
        lock(&self.seen).held = yes;
        self.changed.notify_all();
    }

    pub(super) fn ids(&self, lane: Lane) -> Vec<u64> {
        lock(&self.seen).frames.iter().filter(|f| f.1 == lane).map(|f| f.3).collect()
    }

    pub(super) fn wait_frames(&self, n: usize) {
        self.wait(format_args!("{n} frames"), |seen| (seen.frames.len() >= n).then_some(()));
    }

    /// The first session with a life of the peer.
    pub(super) fn wait_up(&self, incarnation: u64) -> SessionId {
        self.wait(format_args!("a session with life {incarnation}"), |seen| {
            seen.events.iter().find_map(|event| match event {
                LinkEvent::Up { peer, session, .. } if peer.incarnation.value() == incarnation => {
                    Some(*session)
                }
                _ => None,
            })
        })
    }

    pub(super) fn wait_frames_of(&self, n: usize, sender: &Self) {
        self.wait(format_args!("{n} frames of a sender"), |seen| {
            (seen.frames.len() >= n).then_some(())
        });
        assert_eq!(lock(&sender.seen).unsent, [], "returned by a session that was only replaced");
    }

    pub(super) fn wait_down(&self, session: SessionId) {
        self.wait("the end of a session", |seen| {
            let down = |e: &LinkEvent| {
                matches!(e, LinkEvent::Down { session: ended, .. } if *ended == session)
            };
            seen.events.iter().any(down).then_some(())
        });
    }

    pub(super) fn ups(&self) -> Vec<(Peer, Lane, SessionId)> {
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

    fn on_datagram(&self, from: Peer, channel: ChannelId, body: Bytes) {
        lock(&self.seen).datagrams.push((from, channel, body));
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

pub(super) struct Node {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) sink: Arc<Recorder>,
}

pub(super) fn identity(node: NodeId, incarnation: u64) -> Identity {
    Identity::new(ClusterId::new(7), node, Incarnation::new(incarnation))
}

impl Node {
    pub(super) fn new(factory: &impl Factory, node: NodeId, incarnation: u64) -> Self {
        let transport = factory.node(identity(node, incarnation));
        let sink = Arc::new(Recorder::default());
        assert_eq!(transport.start(sink.clone()), Ok(()));
        Self { transport, sink }
    }

    pub(super) fn pair(factory: &impl Factory) -> (Self, Self) {
        let (a, b) = (Self::new(factory, A, 1), Self::new(factory, B, 1));
        factory.introduce(&*a.transport, B);
        factory.introduce(&*b.transport, A);
        (a, b)
    }

    pub(super) fn send(&self, to: NodeId, lane: Lane, id: u64) -> Result<(), SendError> {
        self.transport.send(to, lane, Frame::message(CHANNEL, &b"body"[..]).with_id(id))
    }

    /// Sends until it is accepted: right after the end of a session a lane may refuse for a while.
    pub(super) fn send_soon(&self, to: NodeId, lane: Lane, id: u64) {
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
    pub(super) fn reach(&self, to: NodeId, other: &Self, lane: Lane, first: u64) {
        for id in first..first + 1_000 {
            self.send_soon(to, lane, id);
            let arrived = other.sink.wait_or_unsent(&self.sink, id);
            if arrived {
                return;
            }
        }
        assert_eq!(first, u64::MAX, "nothing arrives");
    }

    pub(super) fn shut_down(&self) {
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
