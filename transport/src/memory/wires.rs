//! The nodes of one network, what waits for each of them, and the sessions between them.

use crate::frame::HEADER;
use crate::{
    ChannelId, ClusterId, DownReason, Frame, Identity, Lane, LinkEvent, NodeId, Peer, SendError,
    SessionId, Sink, TransportStats,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Frames waiting for one node while another thread delivers to it.
const QUEUE_FRAMES_MAX: usize = 4_096;
/// Bytes waiting for one node; an empty queue takes any legal frame.
const QUEUE_BYTES_MAX: usize = 8 << 20;

pub(super) type Key = (ClusterId, NodeId);

#[derive(Default)]
pub(super) struct Wires {
    pub(super) nodes: BTreeMap<Key, Node>,
    /// Sessions by (lower node, higher node, lane), the lower node's name of it first.
    pub(super) links: BTreeMap<(Key, Key, Lane), [SessionId; 2]>,
    pub(super) cuts: BTreeSet<(NodeId, NodeId)>,
    pub(super) last_session: u64,
    pub(super) last_life: u64,
}

/// The living holder of a node's name.
pub(super) struct Node {
    pub(super) life: u64,
    pub(super) identity: Identity,
    pub(super) sink: Option<Arc<dyn Sink>>,
    pub(super) closed: bool,
    pub(super) queue: VecDeque<Delivery>,
    pub(super) frames: usize,
    pub(super) bytes: usize,
    pub(super) delivering: bool,
    /// Who waits for room here.
    waiting: Vec<Waker>,
    pub(super) known: BTreeSet<NodeId>,
    pub(super) written: BTreeMap<(NodeId, Lane), u64>,
    pub(super) stats: TransportStats,
}

pub(super) enum Delivery {
    Frame { from: Peer, lane: Lane, session: SessionId, frame: Frame },
    Datagram { from: Peer, channel: ChannelId, body: Bytes },
    Event(LinkEvent),
}

impl Delivery {
    /// As counted against the limits; events are not.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Frame { frame, .. } => frame.wire_len(),
            Self::Datagram { body, .. } => HEADER + body.len(),
            Self::Event(_) => 0,
        }
    }
}

impl Node {
    pub(super) fn new(life: u64, identity: Identity) -> Self {
        Self {
            life,
            identity,
            sink: None,
            closed: false,
            queue: VecDeque::new(),
            frames: 0,
            bytes: 0,
            delivering: false,
            waiting: Vec::new(),
            known: BTreeSet::new(),
            written: BTreeMap::new(),
            stats: TransportStats::default(),
        }
    }

    pub(super) fn peer(&self) -> Peer {
        Peer::new(self.identity.node, self.identity.incarnation, self.identity.role)
    }

    pub(super) fn is_up(&self) -> bool {
        self.sink.is_some() && !self.closed
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let room = self.frames < QUEUE_FRAMES_MAX && self.bytes + bytes <= QUEUE_BYTES_MAX;
        self.frames == 0 || room
    }

    pub(super) fn push(&mut self, delivery: Delivery) {
        self.frames += 1;
        self.bytes += delivery.bytes();
        self.queue.push_back(delivery);
    }

    fn is_below_half(&self) -> bool {
        self.frames < QUEUE_FRAMES_MAX / 2 && self.bytes < QUEUE_BYTES_MAX / 2
    }

    /// Ready below half; else keeps the waker, each once, as a task may ask often.
    pub(super) fn poll_room(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        if self.is_below_half() {
            return Poll::Ready(Ok(()));
        }
        if self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        if self.waiting.len() >= crate::WAITERS_MAX {
            return Poll::Ready(Err(SendError::Full));
        }
        self.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// Whom to tell that there is room.
    pub(super) fn take_ready(&mut self) -> Vec<Waker> {
        if self.is_below_half() { mem::take(&mut self.waiting) } else { Vec::new() }
    }
}

impl Wires {
    pub(super) fn is_cut(&self, a: Key, b: Key) -> bool {
        self.cuts.contains(&(a.1.min(b.1), a.1.max(b.1)))
    }

    /// Everybody who waits for room anywhere: after a life ended or nodes were cut off, some would
    /// wait for what will not come. The others look again and go on waiting.
    pub(super) fn take_waiting(&mut self) -> Vec<Waker> {
        self.nodes.values_mut().flat_map(|node| mem::take(&mut node.waiting)).collect()
    }

    /// The session of `from` and that of `to`, made if need be with its two events.
    pub(super) fn link(&mut self, from: Key, to: Key, lane: Lane) -> [SessionId; 2] {
        let (low, high) = (from.min(to), from.max(to));
        let of = |sessions: [SessionId; 2]| {
            if from == low { sessions } else { [sessions[1], sessions[0]] }
        };
        if let Some(sessions) = self.links.get(&(low, high, lane)) {
            return of(*sessions);
        }
        let sessions = [self.last_session + 1, self.last_session + 2].map(SessionId::new);
        self.last_session += 2;
        self.links.insert((low, high, lane), sessions);
        for (at, other, session) in [(low, high, sessions[0]), (high, low, sessions[1])] {
            let Some(peer) = self.nodes.get(&other).map(Node::peer) else { continue };
            if let Some(node) = self.nodes.get_mut(&at) {
                node.stats.sessions += 1;
                node.stats.sessions_open += 1;
                node.queue.push_back(Delivery::Event(LinkEvent::Up { peer, lane, session }));
            }
        }
        of(sessions)
    }

    /// Ends a node's sessions (with one node, on one lane); both sides learn it. Returns who is to
    /// be delivered to.
    pub(super) fn end_links(
        &mut self,
        key: Key,
        only: Option<(NodeId, Option<Lane>)>,
        here: DownReason,
        there: DownReason,
    ) -> Vec<Key> {
        let hit = |link: &(Key, Key, Lane)| {
            let other = if link.0 == key { link.1 } else { link.0 };
            let wanted = only.is_none_or(|(node, lane)| {
                node == other.1 && lane.is_none_or(|lane| lane == link.2)
            });
            (link.0 == key || link.1 == key) && wanted
        };
        let ended: Vec<_> = self.links.keys().filter(|link| hit(link)).copied().collect();
        let mut touched = Vec::new();
        for link in ended {
            let Some(sessions) = self.links.remove(&link) else { continue };
            for (at, other, session) in
                [(link.0, link.1, sessions[0]), (link.1, link.0, sessions[1])]
            {
                let reason = if at == key { here } else { there };
                let Some(node) = self.nodes.get_mut(&at) else { continue };
                node.stats.sessions_open -= 1;
                node.stats.ended[reason.index()] += 1;
                let (node_id, lane) = (other.1, link.2);
                let event = LinkEvent::Down { node: node_id, lane, session, reason };
                node.queue.push_back(Delivery::Event(event));
                touched.push(at);
            }
        }
        touched
    }
}
