//! What is on the wire between the sender of a snapshot and its receiver: pieces are counted and
//! timed where they leave, and the wire is cut in the middle of a transfer if that is wanted.

use quorate_transport::{
    Address, ChannelId, Frame, Identity, Kind, Lane, LaneStatus, Limits, Memory, MemoryNetwork,
    NodeId, SendError, Sink, StartError, Transport, TransportStats,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

/// Where the head of a call says what it is (raft's FORMAT.md, "Calls").
const OFFSET_AT: usize = 56;
const TOTAL_AT: usize = 64;
const PIECE_AT: usize = 80;

/// A transfer as the wire saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) total: u64,
    pub(crate) begun: Option<Instant>,
    pub(crate) answered: Option<Instant>,
    /// Pieces of which a byte was sent before.
    pub(crate) again: usize,
    end: u64,
    asked: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct State {
    seen: Seen,
    cut_at_half: bool,
    was_cut: bool,
}

/// The wire from `sender` to whoever receives.
pub(crate) struct Wire {
    network: MemoryNetwork,
    sender: NodeId,
    state: Mutex<State>,
}

impl Wire {
    pub(crate) fn new(network: MemoryNetwork, sender: NodeId) -> Arc<Self> {
        Arc::new(Self { network, sender, state: Mutex::default() })
    }

    /// Forgets what was seen; the next transfer is cut when half of it was sent, or not.
    pub(crate) fn begin(&self, cut_at_half: bool) {
        *self.state() = State { cut_at_half, ..State::default() };
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.state().was_cut
    }

    pub(crate) fn seen(&self) -> Seen {
        self.state().seen.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic under it")
    }

    /// A frame is about to leave.
    fn pass(&self, to: NodeId, lane: Lane, frame: &Frame) {
        let is_cut = match frame.kind {
            // Nothing else is called on this lane.
            Kind::Call if lane == Lane::Bulk => self.state().piece(frame),
            Kind::Reply => self.state().reply(frame),
            _ => false,
        };
        if is_cut {
            self.network.cut(self.sender, to);
            // Only now: whoever waits for it heals the wire.
            self.state().was_cut = true;
        }
    }
}

impl State {
    /// True if the wire is to be cut before this one.
    fn piece(&mut self, frame: &Frame) -> bool {
        let body = frame.body.clone().into_bytes();
        let word = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("8 bytes"));
        let (offset, bytes) = (word(OFFSET_AT), (body.len() - PIECE_AT) as u64);
        let seen = &mut self.seen;
        seen.begun.get_or_insert_with(Instant::now);
        seen.total = word(TOTAL_AT);
        seen.asked.insert(frame.id);
        // An empty one asks where to begin.
        seen.again += usize::from(bytes > 0 && offset < seen.end);
        seen.end = seen.end.max(offset + bytes);
        let cut = self.cut_at_half && offset * 2 >= seen.total && bytes > 0;
        self.cut_at_half &= !cut;
        cut
    }

    fn reply(&mut self, frame: &Frame) -> bool {
        if self.seen.asked.remove(&frame.id) {
            self.seen.answered = Some(Instant::now());
        }
        false
    }
}

/// A node's end of the wire.
pub(crate) struct Tap {
    inner: Arc<Memory>,
    wire: Arc<Wire>,
}

impl Tap {
    pub(crate) fn new(inner: Arc<Memory>, wire: Arc<Wire>) -> Arc<Self> {
        Arc::new(Self { inner, wire })
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
        self.inner.start(sink)
    }

    fn set_peer(&self, node: NodeId, addresses: &[Address]) {
        self.inner.set_peer(node, addresses);
    }

    fn remove_peer(&self, node: NodeId) {
        self.inner.remove_peer(node);
    }

    fn send(&self, to: NodeId, lane: Lane, frame: Frame) -> Result<(), SendError> {
        self.wire.pass(to, lane, &frame);
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
