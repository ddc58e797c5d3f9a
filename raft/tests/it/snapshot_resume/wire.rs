//! What is on the wire between two nodes: pieces of snapshots are counted where they leave, and
//! the wire is cut in the middle of a transfer.

use quorate_transport::{
    Address, ChannelId, Frame, Identity, Kind, Lane, LaneStatus, Limits, Memory, MemoryNetwork,
    NodeId, SendError, Sink, StartError, Transport, TransportStats,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::sync::Notify;

/// Where the head of a call says what it is, and which says: a piece (FORMAT.md, "Calls").
const KIND_AT: usize = 1;
const CHUNK: u8 = 2;
const OFFSET_AT: usize = 56;
const TOTAL_AT: usize = 64;
const PIECE_AT: usize = 80;

/// What is lost when the wire is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Piece,
    /// The piece arrived; who sent it does not know.
    Answer,
}

/// What went over the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// Bytes of the snapshot.
    pub(crate) total: u64,
    /// Offset of the first piece after the cut.
    pub(crate) resumed_at: Option<u64>,
    /// Pieces of which a byte was sent before.
    pub(crate) again: usize,
    /// Most pieces that were not answered, at one time.
    pub(crate) in_flight_most: usize,
    pub(crate) piece_most: u64,
    /// Up to where pieces were sent.
    end: u64,
    /// By the ids of their calls: where the pieces begin that are not answered.
    in_flight: BTreeMap<u64, u64>,
}

#[derive(Debug, Default)]
struct State {
    sent: Sent,
    cut: Option<Cut>,
    was_cut: bool,
}

pub(crate) struct Wire {
    network: MemoryNetwork,
    ends: (NodeId, NodeId),
    state: Mutex<State>,
    cut: Notify,
}

impl Wire {
    pub(crate) fn new(network: MemoryNetwork, from: NodeId, to: NodeId) -> Self {
        Self { network, ends: (from, to), state: Mutex::default(), cut: Notify::new() }
    }

    /// In the middle of the next transfer.
    pub(crate) fn cut_at_half(&self, cut: Cut) {
        self.state.lock().unwrap().cut = Some(cut);
    }

    pub(crate) async fn was_cut(&self) {
        self.cut.notified().await;
    }

    pub(crate) fn sent(&self) -> Sent {
        self.state.lock().unwrap().sent.clone()
    }

    /// A frame is about to leave. True if it finds the wire cut.
    fn is_cut_before(&self, lane: Lane, frame: &Frame) -> bool {
        let cut = {
            let state = &mut *self.state.lock().unwrap();
            match frame.kind {
                Kind::Call if lane == Lane::Bulk => state.call(frame),
                Kind::Reply => state.reply(frame),
                _ => false,
            }
        };
        if cut {
            self.network.cut(self.ends.0, self.ends.1);
        }
        cut
    }
}

impl State {
    /// True if the wire is to be cut now.
    fn call(&mut self, frame: &Frame) -> bool {
        let body = frame.body.clone().into_bytes();
        assert_eq!(body[KIND_AT], CHUNK, "nothing else is called on this lane");
        let word = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().unwrap());
        let (offset, bytes) = (word(OFFSET_AT), (body.len() - PIECE_AT) as u64);
        let sent = &mut self.sent;
        sent.total = word(TOTAL_AT);
        sent.piece_most = sent.piece_most.max(bytes);
        sent.in_flight.insert(frame.id, offset);
        sent.in_flight_most = sent.in_flight_most.max(sent.in_flight.len());
        if bytes == 0 {
            return false; // it asks where to begin
        }
        sent.again += usize::from(offset < sent.end);
        sent.end = sent.end.max(offset + bytes);
        if self.was_cut {
            sent.resumed_at.get_or_insert(offset);
        }
        self.is_half(Cut::Piece, offset)
    }

    fn reply(&mut self, frame: &Frame) -> bool {
        let answered = self.sent.in_flight.remove(&frame.id);
        answered.is_some_and(|offset| self.is_half(Cut::Answer, offset))
    }

    fn is_half(&mut self, cut: Cut, offset: u64) -> bool {
        if self.cut != Some(cut) || offset * 2 < self.sent.total {
            return false;
        }
        self.cut = None;
        self.was_cut = true;
        self.sent.in_flight.clear();
        true
    }
}

/// A node's end of the wire.
pub(crate) struct Tap {
    inner: Arc<Memory>,
    wire: Arc<Wire>,
}

impl Tap {
    pub(crate) fn new(inner: Arc<Memory>, wire: Arc<Wire>) -> Self {
        Self { inner, wire }
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
        let is_cut = self.wire.is_cut_before(lane, &frame);
        let sent = self.inner.send(to, lane, frame);
        if is_cut {
            // Only now: whoever waits for it heals the wire.
            self.wire.cut.notify_one();
        }
        sent
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
