//! [`Memory`]: a transport inside one process, delivered inline in the sender's thread.

use crate::frame::HEADER;
use crate::{
    Address, Body, ChannelId, ClusterId, DownReason, Frame, Identity, Incarnation, Lane,
    LaneStatus, Limits, LinkEvent, NodeId, Peer, SendError, SessionId, Sink, StartError, Transport,
    TransportStats,
};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Frames waiting for one node while another thread delivers to it.
const QUEUE_FRAMES_MAX: usize = 4_096;
/// Bytes waiting for one node; an empty queue takes any legal frame.
const QUEUE_BYTES_MAX: usize = 8 << 20;
const LIMITS: Limits = Limits::new(16 << 20, 64 << 10).with_datagrams(1_192);

type Key = (ClusterId, NodeId);

/// The wires between the [`Memory`] transports of one process; clones share them.
///
/// # Examples
/// ```
/// use quorate_transport::{ClusterId, Identity, Incarnation, MemoryNetwork, NodeId, Transport};
///
/// let network = MemoryNetwork::new();
/// let a = network.node(Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1)));
/// assert_eq!(a.identity().node, NodeId::new(1));
/// ```
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    wires: Arc<Mutex<Wires>>,
}

#[derive(Default)]
struct Wires {
    nodes: BTreeMap<Key, Node>,
    /// Sessions by (lower node, higher node, lane), the lower node's name of it first.
    links: BTreeMap<(Key, Key, Lane), [SessionId; 2]>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    last_session: u64,
    last_life: u64,
}

/// The living holder of a node's name.
struct Node {
    life: u64,
    identity: Identity,
    sink: Option<Arc<dyn Sink>>,
    closed: bool,
    queue: VecDeque<Delivery>,
    frames: usize,
    bytes: usize,
    delivering: bool,
    waiting: Vec<Waker>,
    known: BTreeSet<NodeId>,
    written: BTreeMap<(NodeId, Lane), u64>,
    stats: TransportStats,
}

enum Delivery {
    Frame { from: Peer, lane: Lane, session: SessionId, frame: Frame },
    Datagram { from: Peer, channel: ChannelId, body: Bytes },
    Event(LinkEvent),
}

impl Delivery {
    /// As counted against the limits; events are not.
    fn bytes(&self) -> usize {
        match self {
            Self::Frame { frame, .. } => frame.wire_len(),
            Self::Datagram { body, .. } => HEADER + body.len(),
            Self::Event(_) => 0,
        }
    }
}

impl Node {
    fn new(life: u64, identity: Identity) -> Self {
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

    fn peer(&self) -> Peer {
        Peer::new(self.identity.node, self.identity.incarnation, self.identity.role)
    }

    fn is_up(&self) -> bool {
        self.sink.is_some() && !self.closed
    }

    fn has_room(&self, bytes: usize) -> bool {
        let room = self.frames < QUEUE_FRAMES_MAX && self.bytes + bytes <= QUEUE_BYTES_MAX;
        self.frames == 0 || room
    }

    fn push(&mut self, delivery: Delivery) {
        self.frames += 1;
        self.bytes += delivery.bytes();
        self.queue.push_back(delivery);
    }

    fn is_below_half(&self) -> bool {
        self.frames < QUEUE_FRAMES_MAX / 2 && self.bytes < QUEUE_BYTES_MAX / 2
    }
}

impl MemoryNetwork {
    /// No nodes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A transport for a node. A higher incarnation takes the name over: its predecessor can send
    /// nothing any more, and its peers see `Down(Restarted)`. A lower one is a zombie from the
    /// start. // H13
    #[must_use]
    pub fn node(&self, identity: Identity) -> Arc<Memory> {
        let key = (identity.cluster, identity.node);
        let mut wires = self.lock();
        wires.last_life += 1;
        let life = wires.last_life;
        let holder = wires.nodes.get(&key).map(|old| (old.identity.incarnation, old.closed));
        let takes_over = match holder {
            Some((incarnation, true)) => identity.incarnation >= incarnation,
            Some((incarnation, false)) => identity.incarnation > incarnation,
            None => true,
        };
        let mut touched = Vec::new();
        if takes_over || crate::mutant::on("stale_incarnation_accepted") {
            touched = wires.end_links(key, None, DownReason::Closed, DownReason::Restarted);
            let mut node = Node::new(life, identity);
            if let Some(old) = wires.nodes.remove(&key) {
                node.known = old.known;
            }
            wires.nodes.insert(key, node);
        }
        drop(wires);
        pump(self, touched);
        Arc::new(Memory { network: self.clone(), identity, key, life })
    }

    /// Cuts two nodes off from each other: their sessions end, sends fail as `Disconnected`.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        let reason = DownReason::Io(ErrorKind::ConnectionReset);
        let mut wires = self.lock();
        wires.cuts.insert((a.min(b), a.max(b)));
        let keys: Vec<Key> = wires.nodes.keys().filter(|key| key.1 == a).copied().collect();
        let touched: Vec<Key> = keys
            .into_iter()
            .flat_map(|key| wires.end_links(key, Some((b, None)), reason, reason))
            .collect();
        drop(wires);
        pump(self, touched);
    }

    /// Ends a [`cut`](Self::cut).
    pub fn heal(&self, a: NodeId, b: NodeId) {
        self.lock().cuts.remove(&(a.min(b), a.max(b)));
    }

    fn lock(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers what waits for a node, unless another thread is at it.
    fn deliver(&self, key: Key) {
        let mut turn = Turn { network: self, key, life: 0, held: false, fresh: false };
        while let Some((sink, delivery)) = turn.next() {
            match delivery {
                Some(Delivery::Frame { from, lane, session, frame }) => {
                    sink.on_frame(from, lane, session, frame);
                }
                Some(Delivery::Datagram { from, channel, body }) => {
                    sink.on_datagram(from, channel, body);
                }
                Some(Delivery::Event(event)) => sink.on_event(event),
                None => return sink.on_batch_end(),
            }
        }
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").finish_non_exhaustive()
    }
}

/// The right to deliver to a node; given back also when a sink panics. // H29
struct Turn<'a> {
    network: &'a MemoryNetwork,
    key: Key,
    /// Of which life it is held.
    life: u64,
    held: bool,
    /// Whether frames were delivered since the last end of a burst.
    fresh: bool,
}

impl Turn<'_> {
    /// The next delivery; without one, the end of the burst, and of the turn.
    fn next(&mut self) -> Option<(Arc<dyn Sink>, Option<Delivery>)> {
        let mut wires = self.network.lock();
        let node = wires.nodes.get_mut(&self.key)?;
        if self.life != node.life {
            // The node began anew during a delivery: the new life has a turn of its own. // H13
            (self.life, self.held, self.fresh) = (node.life, false, false);
        }
        if node.delivering && !self.held {
            return None; // whoever is at it takes this too
        }
        let sink = node.sink.clone()?;
        self.held = true;
        node.delivering = true;
        let Some(delivery) = node.queue.pop_front() else {
            // Under the same lock that saw the queue empty: whoever adds to it from here on
            // delivers it too.
            self.held = false;
            node.delivering = false;
            return self.fresh.then_some((sink, None));
        };
        let bytes = delivery.bytes();
        match &delivery {
            Delivery::Frame { .. } => {
                node.stats.frames_in += 1;
                node.stats.bytes_in += count(bytes);
            }
            Delivery::Datagram { .. } => node.stats.datagrams_in += 1,
            Delivery::Event(_) => {}
        }
        if bytes > 0 {
            self.fresh = true;
            node.frames -= 1;
            node.bytes -= bytes;
        }
        let ready = node.is_below_half() && !node.waiting.is_empty();
        let wakers = if ready { std::mem::take(&mut node.waiting) } else { Vec::new() };
        drop(wires);
        wakers.into_iter().for_each(Waker::wake);
        Some((sink, Some(delivery)))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.held
            && let Some(node) = self.network.lock().nodes.get_mut(&self.key)
            && node.life == self.life
        {
            node.delivering = false;
        }
    }
}

type Pending = VecDeque<(MemoryNetwork, Key)>;

thread_local! {
    static PENDING: RefCell<Pending> = const { RefCell::new(VecDeque::new()) };
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
}

/// Delivers to the given nodes. A sink that sends only adds to the list: upcalls never nest,
/// whatever the sinks do.
fn pump(network: &MemoryNetwork, keys: impl IntoIterator<Item = Key>) {
    struct Active;
    impl Drop for Active {
        fn drop(&mut self) {
            ACTIVE.set(false);
            PENDING.with_borrow_mut(VecDeque::clear);
        }
    }
    if ACTIVE.replace(true) {
        let later = keys.into_iter().map(|key| (network.clone(), key));
        return PENDING.with_borrow_mut(|p| p.extend(later));
    }
    let _active = Active;
    for key in keys {
        network.deliver(key);
    }
    while let Some((network, key)) = PENDING.with_borrow_mut(VecDeque::pop_front) {
        network.deliver(key);
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Wires {
    fn is_cut(&self, a: Key, b: Key) -> bool {
        self.cuts.contains(&(a.1.min(b.1), a.1.max(b.1)))
    }

    /// The session of `from` and that of `to`, made if need be with its two events.
    fn link(&mut self, from: Key, to: Key, lane: Lane) -> [SessionId; 2] {
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
    fn end_links(
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

/// One node's transport inside a [`MemoryNetwork`].
///
/// # Shape
/// The network is the address book: every node in it can be sent to. Delivery happens inside
/// `send`, or, when that is itself an upcall, right after it.
///
/// # Examples
/// See [`Transport`] and [`Channel`](crate::Channel).
/// ```
/// use quorate_transport::*;
/// let network = MemoryNetwork::new();
/// let id = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1));
/// let a = network.node(id);
/// let frame = Frame::message(ChannelId::new(16), &b"hi"[..]);
/// assert_eq!(a.send(NodeId::new(2), Lane::Data, frame), Err(SendError::UnknownPeer));
/// ```
pub struct Memory {
    network: MemoryNetwork,
    identity: Identity,
    key: Key,
    life: u64,
}

impl Memory {
    fn me<'a>(&self, wires: &'a mut Wires) -> Option<&'a mut Node> {
        wires.nodes.get_mut(&self.key).filter(|node| node.life == self.life)
    }

    /// What stands against a send, before anything is changed.
    fn refusal(&self, wires: &mut Wires, to: Key) -> Option<SendError> {
        let Some(me) = self.me(wires) else { return Some(SendError::Disconnected) };
        if me.closed {
            return Some(SendError::Closed);
        }
        let known = me.known.contains(&to.1);
        let started = me.sink.is_some();
        if to == self.key {
            return Some(SendError::SelfAddressed);
        }
        match wires.nodes.get(&to) {
            None if !known => Some(SendError::UnknownPeer),
            Some(node) if node.is_up() && started && !wires.is_cut(self.key, to) => None,
            _ => Some(SendError::Disconnected),
        }
    }
}

impl Transport for Memory {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn start(&self, sink: Arc<dyn Sink>) -> Result<(), StartError> {
        let mut wires = self.network.lock();
        match self.me(&mut wires) {
            // A zombie starts, and reaches nobody.
            None => Ok(()),
            Some(node) if node.closed => Err(StartError::Closed),
            Some(node) if node.sink.is_some() => Err(StartError::AlreadyStarted),
            Some(node) => {
                node.sink = Some(sink);
                Ok(())
            }
        }
    }

    fn set_peer(&self, node: NodeId, _addresses: &[Address]) {
        if let Some(me) = self.me(&mut self.network.lock()) {
            me.known.insert(node);
        }
    }

    fn remove_peer(&self, node: NodeId) {
        let mut wires = self.network.lock();
        let Some(me) = self.me(&mut wires) else { return };
        me.known.remove(&node);
        let closed = DownReason::Closed;
        let touched = wires.end_links(self.key, Some((node, None)), closed, closed);
        drop(wires);
        pump(&self.network, touched);
    }

    fn send(&self, to: NodeId, lane: Lane, mut frame: Frame) -> Result<(), SendError> {
        LIMITS.check(lane, frame.body.len())?;
        // Arrives as one piece, as from a socket; the copy is made outside of the lock.
        frame.body = Body::from(frame.body.into_bytes());
        let to = (self.identity.cluster, to);
        let mut wires = self.network.lock();
        if let Some(error) = self.refusal(&mut wires, to) {
            return Err(error);
        }
        let bytes = frame.wire_len();
        let full = wires.nodes.get(&to).is_some_and(|node| !node.has_room(bytes));
        let [_, session] =
            if full { [SessionId::new(0); 2] } else { wires.link(self.key, to, lane) };
        let Some(me) = self.me(&mut wires) else { return Err(SendError::Disconnected) };
        if full {
            me.stats.full += 1;
            return Err(SendError::Full);
        }
        me.stats.frames_out += 1;
        me.stats.bytes_out += count(bytes);
        *me.written.entry((to.1, lane)).or_default() += count(bytes);
        let (from, news) = (me.peer(), !me.queue.is_empty());
        if let Some(node) = wires.nodes.get_mut(&to) {
            node.push(Delivery::Frame { from, lane, session, frame });
        }
        drop(wires);
        // Only a session that was just made has something for this node as well.
        pump(&self.network, news.then_some(self.key).into_iter().chain([to]));
        Ok(())
    }

    /// Makes no session. Dropped when the nodes are cut off from each other or there is no room.
    fn send_datagram(&self, to: NodeId, channel: ChannelId, body: &[u8]) -> Result<(), SendError> {
        LIMITS.check_datagram(body.len())?;
        let body = Bytes::copy_from_slice(body);
        let to = (self.identity.cluster, to);
        let mut wires = self.network.lock();
        let refusal = self.refusal(&mut wires, to);
        let Some(me) = self.me(&mut wires) else { return Ok(()) }; // a zombie reaches nobody
        match refusal {
            None => {}
            Some(SendError::Disconnected) => {
                me.stats.datagrams_unsent += 1;
                return Ok(());
            }
            Some(error) => return Err(error),
        }
        let delivery = Delivery::Datagram { from: me.peer(), channel, body };
        let room = wires.nodes.get_mut(&to).filter(|node| node.has_room(delivery.bytes()));
        let sent = room.map(|node| node.push(delivery)).is_some();
        if let Some(me) = self.me(&mut wires) {
            me.stats.datagrams_out += u64::from(sent);
            me.stats.datagrams_unsent += u64::from(!sent);
        }
        drop(wires);
        pump(&self.network, [to]);
        Ok(())
    }

    fn poll_ready(
        &self,
        to: NodeId,
        _lane: Lane,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let to = (self.identity.cluster, to);
        let mut wires = self.network.lock();
        if let Some(error) = self.refusal(&mut wires, to) {
            return Poll::Ready(Err(error));
        }
        let Some(node) = wires.nodes.get_mut(&to) else { return Poll::Ready(Ok(())) };
        if node.is_below_half() {
            return Poll::Ready(Ok(()));
        }
        if node.waiting.len() >= crate::WAITERS_MAX {
            return Poll::Ready(Err(SendError::Full));
        }
        node.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    fn reset(&self, to: NodeId, lane: Lane) {
        let mut wires = self.network.lock();
        if self.me(&mut wires).is_none() {
            return;
        }
        let only = Some((to, Some(lane)));
        let touched = wires.end_links(self.key, only, DownReason::Reset, DownReason::Closed);
        drop(wires);
        pump(&self.network, touched);
    }

    fn poll_shutdown(&self, _cx: &mut Context<'_>) -> Poll<()> {
        let mut wires = self.network.lock();
        let Some(me) = self.me(&mut wires) else { return Poll::Ready(()) };
        me.closed = true;
        let wakers = std::mem::take(&mut me.waiting);
        let touched = wires.end_links(self.key, None, DownReason::Shutdown, DownReason::Closed);
        drop(wires);
        wakers.into_iter().for_each(Waker::wake);
        pump(&self.network, touched);
        Poll::Ready(())
    }

    fn lane(&self, to: NodeId, lane: Lane) -> LaneStatus {
        let to = (self.identity.cluster, to);
        let mut wires = self.network.lock();
        let (low, high) = (self.key.min(to), self.key.max(to));
        let side = usize::from(self.key != low);
        let session = wires.links.get(&(low, high, lane)).map(|sessions| sessions[side]);
        let incarnation: Option<Incarnation> =
            session.and_then(|_| wires.nodes.get(&to)).map(|node| node.identity.incarnation);
        let Some(me) = self.me(&mut wires) else { return LaneStatus::default() };
        let written_bytes = me.written.get(&(to.1, lane)).copied().unwrap_or(0);
        let stream_window_bytes = if session.is_some() { LIMITS.stream_window_bytes } else { 0 };
        LaneStatus {
            session,
            incarnation,
            written_bytes,
            stream_window_bytes,
            ..LaneStatus::default()
        }
    }

    fn stats(&self) -> TransportStats {
        self.me(&mut self.network.lock()).map_or_else(TransportStats::default, |me| me.stats)
    }
}

/// A dropped transport is a process that died: its name is free, its peers see the sessions end.
impl Drop for Memory {
    fn drop(&mut self) {
        let _ = self.poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("identity", &self.identity).finish_non_exhaustive()
    }
}
