//! [`Transport`] of async nodes: the same lanes and datagrams that sans-IO nodes have.

use crate::SimTime;
use crate::host::Shared;
use crate::net::{SharedNet, wire};
use crate::world::Effect;
use bytes::Bytes;
use quorate_transport::{
    Address, ChannelId, Frame, Identity, Lane, LaneStatus, Limits, LinkEvent, NodeId, Runtime,
    SendError, Sink, StartError, Transport, TransportStats,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Waiters for room per peer.
const WAITERS_MAX: usize = 1_024;
/// How long a shutdown waits for sessions that are being made, and how often it looks.
const DRAIN_MAX: Duration = Duration::from_secs(2);
const DRAIN_LOOK: Duration = Duration::from_millis(10);
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The end of the network at one life of an async node.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) place: u32,
    pub(crate) net: SharedNet,
    identity: Identity,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sink: Option<Arc<dyn Sink>>,
    closed: bool,
    /// When a shutdown stops waiting; sessions are closed once this is zero.
    drains_until: Option<quorate_clocks::Monotonic>,
    all_closed: bool,
    /// Sessions the sink knows of.
    open: u64,
    drained: Option<Waker>,
    waiters: BTreeMap<u32, Vec<Waker>>,
    outbox: Vec<(SimTime, Effect)>,
    stats: TransportStats,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl State {
    fn count_sent(&mut self, frame: &Frame, admitted: Result<(), SendError>) {
        match admitted {
            Ok(()) => {
                self.stats.frames_out += 1;
                self.stats.bytes_out += frame.wire_len() as u64;
            }
            Err(error) => self.stats.full += u64::from(error == SendError::Full),
        }
    }
}

impl Port {
    pub(crate) fn new(place: u32, net: SharedNet, identity: Identity) -> Self {
        Self { place, net, identity, state: Mutex::default() }
    }

    pub(crate) fn take_outbox(&self) -> Vec<(SimTime, Effect)> {
        std::mem::take(&mut self.state().outbox)
    }

    pub(crate) fn kill(&self) {
        let state = std::mem::take(&mut *self.state());
        self.state().closed = true;
        // Dropped without the lock: a sink may own what uses this port.
        drop(state);
    }

    /// Room again on lanes to this peer.
    pub(crate) fn wake_waiters(&self, to: u32) {
        let waiters = self.state().waiters.remove(&to);
        waiters.into_iter().flatten().for_each(Waker::wake);
    }

    pub(crate) fn deliver_frame(&self, frame: impl FnOnce(&dyn Sink), bytes: u64) {
        let sink = {
            let mut state = self.state();
            state.stats.frames_in += 1;
            state.stats.bytes_in += bytes;
            state.sink.clone()
        };
        if let Some(sink) = sink {
            frame(&*sink);
            sink.on_batch_end();
        }
    }

    pub(crate) fn deliver_event(&self, event: LinkEvent) {
        let sink = {
            let mut state = self.state();
            match &event {
                LinkEvent::Up { .. } => {
                    state.open += 1;
                    state.stats.sessions += 1;
                }
                LinkEvent::Down { .. } => state.open = state.open.saturating_sub(1),
                _ => {}
            }
            state.stats.sessions_open = state.open;
            state.sink.clone()
        };
        if let Some(sink) = sink {
            sink.on_event(event);
            sink.on_batch_end();
        }
        let drained = self.state().drained.take();
        drained.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn deliver_unsent(&self, to: NodeId, lane: Lane, frames: Vec<Frame>) {
        let sink = {
            let mut state = self.state();
            state.stats.unsent += frames.len() as u64;
            state.sink.clone()
        };
        if let Some(sink) = sink {
            sink.on_unsent(to, lane, &mut frames.into_iter());
            sink.on_batch_end();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The transport of one life of an async node.
#[derive(Clone)]
pub(crate) struct SimTransport {
    shared: Arc<Shared>,
}

impl SimTransport {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn port(&self) -> &Port {
        &self.shared.port
    }

    /// Where the peer is, if this node may send to it at all.
    fn peer(&self, to: NodeId) -> Result<u32, SendError> {
        if !self.shared.is_alive() || self.port().state().closed {
            return Err(SendError::Closed);
        }
        if to == self.shared.id {
            return Err(SendError::SelfAddressed);
        }
        self.port().net.lock().place(to).ok_or(SendError::UnknownPeer)
    }

    fn push(&self, at: SimTime, effect: Effect) {
        self.port().state().outbox.push((at, effect));
        self.shared.executor.stir_up();
    }

    /// Closes all sessions once nothing waits any more, or it has waited long enough.
    fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        let port = self.port();
        let now = crate::runtime::SimRuntime::new(Arc::clone(&self.shared)).now();
        let until = {
            let mut state = port.state();
            state.closed = true;
            *state.drains_until.get_or_insert_with(|| now.saturating_add(DRAIN_MAX))
        };
        // What was just sent has not left the outbox yet.
        let waits = !port.state().outbox.is_empty() || port.net.lock().has_waiting(port.place);
        if waits && now < until {
            let shared = Arc::clone(&self.shared);
            let (again, waker) = (now.saturating_add(DRAIN_LOOK), cx.waker().clone());
            shared.deadlines.wake_at(again, &waker);
            shared.executor.stir_up();
            return Poll::Pending;
        }
        if !std::mem::replace(&mut port.state().all_closed, true) {
            port.net.lock().close_all(self.shared.time(), port.place);
            self.shared.executor.stir_up();
        }
        let mut state = port.state();
        if state.open == 0 {
            return Poll::Ready(());
        }
        state.drained = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Transport for SimTransport {
    fn identity(&self) -> Identity {
        self.port().identity
    }

    fn limits(&self) -> Limits {
        let net = self.port().net.lock();
        let config = net.config();
        Limits::new(config.frame_bytes_max, config.control_bytes_max)
            .with_datagrams(config.datagram_bytes_max)
    }

    fn start(&self, sink: Arc<dyn Sink>) -> Result<(), StartError> {
        let port = self.port();
        if !self.shared.is_alive() {
            return Ok(()); // a dead life starts, and reaches nobody
        }
        let mut state = port.state();
        if state.closed {
            return Err(StartError::Closed);
        }
        if state.sink.is_some() {
            return Err(StartError::AlreadyStarted);
        }
        state.sink = Some(sink);
        drop(state);
        port.net.lock().boot(port.place, self.shared.incarnation);
        Ok(())
    }

    /// The world is the address book.
    fn set_peer(&self, _: NodeId, _: &[Address]) {}

    fn remove_peer(&self, node: NodeId) {
        if let Ok(to) = self.peer(node) {
            let (at, port) = (self.shared.time(), self.port());
            let mut net = port.net.lock();
            Lane::ALL.into_iter().for_each(|lane| net.forget(at, port.place, to, lane));
            drop(net);
            self.shared.executor.stir_up();
        }
    }

    fn send(&self, to: NodeId, lane: Lane, frame: Frame) -> Result<(), SendError> {
        self.limits().check(lane, frame.body.len())?;
        let (peer, at, port) = (self.peer(to)?, self.shared.time(), self.port());
        if port.state().sink.is_none() {
            return Err(SendError::Disconnected);
        }
        let admitted = port.net.lock().admit(at, port.place, peer, lane, &frame);
        port.state().count_sent(&frame, admitted);
        admitted?;
        // Arrives as one piece, as from a socket.
        let mut frame = frame;
        frame.body = frame.body.into_bytes().into();
        self.push(at, Effect::Send { to: peer, lane, frame });
        Ok(())
    }

    fn poll_ready(
        &self,
        to: NodeId,
        lane: Lane,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let peer = match self.peer(to) {
            Ok(peer) => peer,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let (at, port) = (self.shared.time(), self.port());
        if let Some(answer) = port.net.lock().poll_room(at, port.place, peer, lane) {
            return Poll::Ready(answer);
        }
        let mut state = port.state();
        let waiters = state.waiters.entry(peer).or_default();
        if waiters.len() == WAITERS_MAX {
            state.stats.waiters_overflow += 1;
            return Poll::Ready(Err(SendError::Full));
        }
        waiters.push(cx.waker().clone());
        Poll::Pending
    }

    fn reset(&self, to: NodeId, lane: Lane) {
        if self.peer(to).is_ok() {
            self.push(self.shared.time(), Effect::Reset { to, lane });
        }
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.is_alive() { self.poll_closed(cx) } else { Poll::Ready(()) }
    }

    fn lane(&self, to: NodeId, lane: Lane) -> LaneStatus {
        let port = self.port();
        let mut net = port.net.lock();
        let mut status = LaneStatus::default();
        let Some(peer) = net.place(to).filter(|_| to != self.shared.id) else { return status };
        let found = net.status(port.place, peer, lane);
        status.session = found.session;
        status.incarnation = found.life;
        status.queued_bytes = found.queued_bytes;
        status.written_bytes = found.written_bytes;
        status.last_failure = found.last_failure;
        status.stream_window_bytes = if found.session.is_some() { STREAM_WINDOW_BYTES } else { 0 };
        status
    }

    fn send_datagram(&self, to: NodeId, channel: ChannelId, body: &[u8]) -> Result<(), SendError> {
        let (peer, port) = (self.peer(to)?, self.port());
        port.net.lock().admit_datagram(body.len())?;
        port.state().stats.datagrams_out += 1;
        let body = Bytes::copy_from_slice(body);
        self.push(self.shared.time(), Effect::Datagram { to: peer, channel, body });
        Ok(())
    }

    fn stats(&self) -> TransportStats {
        self.port().state().stats
    }
}

/// Who a node of a world is.
pub(crate) fn identity(
    id: NodeId,
    life: quorate_transport::Incarnation,
    role: quorate_transport::Role,
) -> Identity {
    Identity::new(wire::CLUSTER, id, life).with_role(role)
}
