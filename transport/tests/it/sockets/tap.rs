//! Between a transport and its endpoint: tells the judge, waits and panics when told to.

use super::judge::{Judge, Life, life};
use quorate_transport::*;
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};

pub struct Tap {
    inner: Arc<TcpTransport>,
    judge: Arc<Mutex<Judge>>,
    pub mood: Arc<Mood>,
}

/// What the sink does to the next frame.
#[derive(Default)]
pub struct Mood {
    next: Mutex<Next>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub enum Next {
    #[default]
    Deliver,
    /// Whoever comes waits until that changes.
    Hold,
    Panic,
}

impl Mood {
    pub fn set(&self, next: Next) {
        *self.next.lock().unwrap() = next;
        self.changed.notify_all();
    }

    fn meet(&self, judge: &Mutex<Judge>) {
        let next = *self.next.lock().unwrap();
        match next {
            Next::Deliver => {}
            Next::Hold => {
                judge.lock().unwrap().counts.holds += 1;
                tokio::task::block_in_place(|| {
                    let next = self.next.lock().unwrap();
                    drop(self.changed.wait_while(next, |next| *next == Next::Hold));
                });
            }
            Next::Panic => {
                self.set(Next::Deliver);
                judge.lock().unwrap().counts.panics += 1;
                resume_unwind(Box::new("planted panic")); // prints nothing
            }
        }
    }
}

impl Tap {
    pub fn new(inner: Arc<TcpTransport>, judge: &Arc<Mutex<Judge>>) -> Arc<Self> {
        Arc::new(Self { inner, judge: judge.clone(), mood: Arc::default() })
    }
}

struct TappedSink {
    me: Life,
    inner: Arc<dyn Sink>,
    judge: Arc<Mutex<Judge>>,
    mood: Arc<Mood>,
}

/// The number of a message of the campaign.
fn number(frame: &Frame) -> Option<u64> {
    let body = frame.body.clone().into_bytes();
    (frame.kind == Kind::Message).then(|| u64::from_le_bytes(body[..8].try_into().unwrap()))
}

impl Sink for TappedSink {
    fn on_frame(&self, from: Peer, lane: Lane, session: SessionId, frame: Frame) {
        self.mood.meet(&self.judge);
        let mut judge = self.judge.lock().unwrap();
        judge.frame(self.me, from, lane, session);
        if let Some(id) = number(&frame) {
            judge.message(self.me, from, lane, id);
        }
        drop(judge);
        self.inner.on_frame(from, lane, session, frame);
    }

    fn on_event(&self, event: LinkEvent) {
        let mut judge = self.judge.lock().unwrap();
        match event {
            LinkEvent::Up { peer, lane, session } => judge.up(self.me, peer, lane, session),
            LinkEvent::Down { node, lane, session, reason } => {
                judge.down(self.me, node, lane, session, reason);
            }
            _ => {}
        }
        drop(judge);
        self.inner.on_event(event);
    }

    fn on_unsent(&self, to: NodeId, lane: Lane, frames: &mut dyn Iterator<Item = Frame>) {
        let frames: Vec<Frame> = frames.collect();
        let mut judge = self.judge.lock().unwrap();
        frames.iter().filter_map(number).for_each(|id| judge.came_back(id));
        drop(judge);
        self.inner.on_unsent(to, lane, &mut frames.into_iter());
    }

    fn on_batch_end(&self) {
        self.inner.on_batch_end();
    }
}

impl Transport for Tap {
    fn identity(&self) -> Identity {
        self.inner.identity()
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    fn start(&self, sink: Arc<dyn Sink>) -> Result<(), StartError> {
        self.inner.start(Arc::new(TappedSink {
            me: life(self.inner.identity()),
            inner: sink,
            judge: self.judge.clone(),
            mood: self.mood.clone(),
        }))
    }
    fn set_peer(&self, node: NodeId, addresses: &[Address]) {
        self.inner.set_peer(node, addresses);
    }
    fn remove_peer(&self, node: NodeId) {
        self.inner.remove_peer(node);
    }
    fn send(&self, to: NodeId, lane: Lane, frame: Frame) -> Result<(), SendError> {
        self.inner.send(to, lane, frame)
    }
    fn poll_ready(
        &self,
        to: NodeId,
        lane: Lane,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        self.inner.poll_ready(to, lane, cx)
    }
    fn reset(&self, to: NodeId, lane: Lane) {
        self.inner.reset(to, lane);
    }
    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_shutdown(cx)
    }
    fn lane(&self, to: NodeId, lane: Lane) -> LaneStatus {
        self.inner.lane(to, lane)
    }
    fn send_datagram(&self, to: NodeId, channel: ChannelId, body: &[u8]) -> Result<(), SendError> {
        self.inner.send_datagram(to, channel, body)
    }
    fn stats(&self) -> TransportStats {
        self.inner.stats()
    }
}
