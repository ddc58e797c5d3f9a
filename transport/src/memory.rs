//! [`Memory`]: a transport inside one process, delivered inline in the sender's thread.

mod turn;
mod wires;

use self::turn::pump;
use self::wires::{Delivery, Key, Node, Wires};
use crate::{
    Address, Body, ChannelId, DownReason, Frame, Identity, Incarnation, Lane, LaneStatus, Limits,
    NodeId, SendError, SessionId, Sink, StartError, Transport, TransportStats,
};
use bytes::Bytes;
use std::fmt;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

const LIMITS: Limits = Limits::new(16 << 20, 64 << 10).with_datagrams(1_192);

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
        let (mut touched, mut wakers) = (Vec::new(), Vec::new());
        if takes_over || crate::mutant::on("stale_incarnation_accepted") {
            touched = wires.end_links(key, None, DownReason::Closed, DownReason::Restarted);
            wakers = wires.take_waiting();
            let mut node = Node::new(life, identity);
            if let Some(old) = wires.nodes.remove(&key) {
                node.known = old.known;
            }
            wires.nodes.insert(key, node);
        }
        drop(wires);
        wakers.into_iter().for_each(Waker::wake);
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
        let wakers = wires.take_waiting();
        drop(wires);
        wakers.into_iter().for_each(Waker::wake);
        pump(self, touched);
    }

    /// Ends a [`cut`](Self::cut).
    pub fn heal(&self, a: NodeId, b: NodeId) {
        self.lock().cuts.remove(&(a.min(b), a.max(b)));
    }

    fn lock(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").finish_non_exhaustive()
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
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
        let ready = node.poll_room(cx);
        if ready == Poll::Ready(Err(SendError::Full))
            && let Some(me) = self.me(&mut wires)
        {
            me.stats.waiters_overflow += 1;
        }
        ready
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
        if std::mem::replace(&mut me.closed, true) {
            return Poll::Ready(());
        }
        let wakers = wires.take_waiting();
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
