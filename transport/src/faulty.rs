//! [`Faulty`]: a transport around another one that delays, breaks and loses what it is told to.

mod held;
mod rates;

pub use rates::{Fault, FaultyControl, FaultyStats};

use crate::{
    Address, ChannelId, Datagram, DialId, DownReason, Frame, Identity, Incarnation, Lane,
    LaneStatus, Limits, LinkEvent, NodeId, Peer, Runtime, SendError, SessionId, Sink, StartError,
    Transport, TransportStats,
};
use bytes::Bytes;
use held::{Held, State};
use quorate_clocks::{Monotonic, Timer};
use rates::Rates;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Injects faults into any transport, from a seed.
///
/// # Shape
/// Faults are made where frames are sent; what arrives passes through. A frame that is delayed
/// waits here, in order with those of its lane; at the end of its session it comes back unsent. A
/// black hole always ends with the session, so that every guarantee of [`Transport`] still holds.
/// With all rates at zero it is the inner transport.
///
/// # Cost
/// One lock per send; a held frame counts against a bound of 4,096 frames and 8 MiB per lane.
///
/// # Examples
/// ```
/// # #[cfg(feature = "tokio")] {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use quorate_transport::*;
/// use std::sync::Arc;
///
/// let network = MemoryNetwork::new();
/// let id = |n| Identity::new(ClusterId::new(7), NodeId::new(n), Incarnation::new(1));
/// let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::current());
/// let (faulty, control) = Faulty::new(network.node(id(1)), runtime, 42);
/// let a = Endpoint::start(faulty, EndpointConfig::default())?;
/// let _b = Endpoint::start(network.node(id(2)), EndpointConfig::default())?;
/// let channel = a.channel(ChannelId::new(16), ChannelOptions::new())?;
/// control.set(Fault::Full, 1_000); // always
/// let refused = channel.send(NodeId::new(2), Lane::Data, b"x");
/// assert_eq!((refused, control.stats().full), (Err(SendError::Full), 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap() }
/// ```
pub struct Faulty {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<dyn Transport>,
    runtime: Arc<dyn Runtime>,
    rates: Arc<Rates>,
    sink: OnceLock<Arc<dyn Sink>>,
    state: Mutex<State>,
}

impl Faulty {
    /// Around `inner`, which must not be started yet; delays take their time from `runtime`.
    #[must_use]
    pub fn new(
        inner: Arc<dyn Transport>,
        runtime: Arc<dyn Runtime>,
        seed: u64,
    ) -> (Arc<Self>, FaultyControl) {
        let rates = Arc::new(Rates::new(seed));
        let mut timer = runtime.timer();
        let shared = Arc::new(Shared {
            inner,
            runtime,
            rates: rates.clone(),
            sink: OnceLock::new(),
            state: Mutex::default(),
        });
        let weak = Arc::downgrade(&shared);
        let pump = poll_fn(move |cx| pump(&weak, &mut *timer, cx));
        shared.runtime.spawn("faulty", Box::pin(pump));
        (Arc::new(Self { shared }), FaultyControl::new(rates))
    }
}

/// Forwards what is due; over when the transport is gone.
fn pump(shared: &Weak<Shared>, timer: &mut dyn Timer, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        let Some(shared) = shared.upgrade() else { return Poll::Ready(()) };
        {
            let mut state = shared.lock();
            if state.gone {
                return Poll::Ready(());
            }
            state.pump = Some(cx.waker().clone());
        }
        let now = shared.runtime.now();
        shared.forward_due(now, cx);
        let next = shared.lock().next_due();
        let Some(next) = next else { return Poll::Pending };
        if timer.poll_at(next, cx).is_pending() {
            return Poll::Pending;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsent(&self, to: NodeId, lane: Lane, frames: VecDeque<Frame>) {
        if frames.is_empty() {
            return;
        }
        self.lock().unsent += u64::try_from(frames.len()).unwrap_or(u64::MAX);
        if let Some(sink) = self.sink.get() {
            sink.on_unsent(to, lane, &mut frames.into_iter());
        }
    }

    /// What is held for a lane comes back; its session is over.
    fn give_back(&self, to: NodeId, lane: Lane) {
        let (frames, wakers) = self.lock().take(to, lane);
        self.unsent(to, lane, frames);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn forward_due(&self, now: Monotonic, cx: &mut Context<'_>) {
        let ended = self.lock().end_holes(now);
        for (to, lane, session) in ended {
            if self.inner.lane(to, lane).session == Some(session) {
                self.give_back(to, lane);
                self.inner.reset(to, lane);
            }
        }
        let lanes = self.lock().lanes_due(now);
        for (to, lane, blocked) in lanes {
            if blocked && self.inner.poll_ready(to, lane, cx).is_pending() {
                continue;
            }
            while self.forward_one(to, lane, now) {}
        }
        let datagrams = self.lock().datagrams_due(now);
        for (to, channel, body) in datagrams {
            let _ = self.inner.send_datagram(to, channel, &body);
        }
    }

    /// Whether there may be more to forward.
    fn forward_one(&self, to: NodeId, lane: Lane, now: Monotonic) -> bool {
        let Some(frame) = self.lock().begin_forward(to, lane, now) else { return false };
        let outcome = self.pass(to, lane, frame.clone());
        let wakers = self.lock().end_forward(to, lane, outcome == Err(SendError::Full), &frame);
        wakers.into_iter().for_each(Waker::wake);
        match outcome {
            Ok(()) => true,
            Err(SendError::Full) => false,
            Err(_) => {
                self.unsent(to, lane, VecDeque::from([frame]));
                true
            }
        }
    }

    /// To the inner transport, or into a black hole.
    fn pass(&self, to: NodeId, lane: Lane, frame: Frame) -> Result<(), SendError> {
        let session = self.inner.lane(to, lane).session;
        if self.lock().swallows(to, lane, session) {
            self.rates.count(|stats| stats.swallowed += 1);
            return Ok(());
        }
        self.inner.send(to, lane, frame)
    }

    /// Faults of the session that one more frame brings about.
    fn strike(&self, to: NodeId, lane: Lane) {
        if self.rates.strikes(Fault::Break) {
            self.rates.count(|stats| stats.breaks += 1);
            self.give_back(to, lane);
            self.inner.reset(to, lane);
        } else if let Some(session) = self.inner.lane(to, lane).session
            && self.rates.strikes(Fault::BlackHole)
        {
            let until = self.runtime.now().saturating_add(self.rates.delay());
            if self.lock().begin_hole(to, lane, session, until) {
                self.rates.count(|stats| stats.black_holes += 1);
            }
            self.ring();
        }
    }

    /// What the inner transport would refuse for good is refused now, not after a delay.
    fn would_take(&self, to: NodeId, lane: Lane) -> Result<bool, SendError> {
        if to == self.inner.identity().node || self.sink.get().is_none() {
            return Ok(false); // it has an error of its own for that
        }
        match self.inner.poll_ready(to, lane, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) if error != SendError::Full => Err(error),
            _ => Ok(true),
        }
    }

    fn ring(&self) {
        let pump = self.lock().pump.take();
        if let Some(pump) = pump {
            pump.wake();
        }
    }
}

/// What arrives passes; the end of a session gives back what waits for it.
struct FaultySink {
    shared: Weak<Shared>,
    sink: Arc<dyn Sink>,
}

impl Sink for FaultySink {
    fn on_frame(&self, from: Peer, lane: Lane, session: SessionId, frame: Frame) {
        self.sink.on_frame(from, lane, session, frame);
    }

    fn on_datagram(&self, from: Peer, channel: ChannelId, body: Bytes) {
        self.sink.on_datagram(from, channel, body);
    }

    fn on_event(&self, event: LinkEvent) {
        if let LinkEvent::Down { node, lane, session, reason } = &event
            && let Some(shared) = self.shared.upgrade()
        {
            shared.lock().end_hole(*node, *lane, *session);
            if *reason != DownReason::Replaced {
                shared.give_back(*node, *lane);
            }
        }
        self.sink.on_event(event);
    }

    fn on_unsent(&self, to: NodeId, lane: Lane, frames: &mut dyn Iterator<Item = Frame>) {
        self.sink.on_unsent(to, lane, frames);
    }

    fn on_batch_end(&self) {
        self.sink.on_batch_end();
    }
}

impl Transport for Faulty {
    fn identity(&self) -> Identity {
        self.shared.inner.identity()
    }

    fn limits(&self) -> Limits {
        self.shared.inner.limits()
    }

    fn start(&self, sink: Arc<dyn Sink>) -> Result<(), StartError> {
        let wrapped = FaultySink { shared: Arc::downgrade(&self.shared), sink: sink.clone() };
        // Before the first upcall; a second start finds it set, and the inner one refuses.
        let _ = self.shared.sink.set(sink);
        self.shared.inner.start(Arc::new(wrapped))
    }

    fn set_peer(&self, node: NodeId, addresses: &[Address]) {
        self.shared.inner.set_peer(node, addresses);
    }

    fn remove_peer(&self, node: NodeId) {
        Lane::ALL.into_iter().for_each(|lane| self.shared.give_back(node, lane));
        self.shared.inner.remove_peer(node);
    }

    fn send(&self, to: NodeId, lane: Lane, frame: Frame) -> Result<(), SendError> {
        let shared = &self.shared;
        shared.inner.limits().check(lane, frame.body.len())?;
        if shared.lock().closing {
            return Err(SendError::Closed);
        }
        if shared.rates.strikes(Fault::Full) {
            shared.rates.count(|stats| stats.full += 1);
            return Err(SendError::Full);
        }
        let delays = shared.rates.strikes(Fault::Delay);
        let behind = shared.lock().is_behind(to, lane);
        let held = if behind || delays && shared.would_take(to, lane)? {
            let delay = if delays { shared.rates.delay() } else { Duration::ZERO };
            let due = shared.runtime.now().saturating_add(delay);
            shared.lock().hold(to, lane, frame, due)
        } else {
            Held::Passes(frame)
        };
        match held {
            Held::Full => return Err(SendError::Full),
            Held::Waits => {
                if delays {
                    shared.rates.count(|stats| stats.delayed += 1);
                }
                shared.ring();
            }
            Held::Passes(frame) => shared.pass(to, lane, frame)?,
        }
        shared.strike(to, lane);
        Ok(())
    }

    fn poll_ready(
        &self,
        to: NodeId,
        lane: Lane,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let room = self.shared.lock().poll_room(to, lane, cx);
        match room {
            Poll::Ready(Ok(())) => self.shared.inner.poll_ready(to, lane, cx),
            other => other,
        }
    }

    fn reset(&self, to: NodeId, lane: Lane) {
        self.shared.give_back(to, lane);
        self.shared.inner.reset(to, lane);
    }

    /// What is held goes first, without its delay.
    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &self.shared;
        shared.lock().closing = true;
        let mut lanes = shared.lock().lanes_due(Monotonic::FAR_FUTURE);
        while let Some((to, lane, _)) = lanes.pop() {
            while shared.forward_one(to, lane, Monotonic::FAR_FUTURE) {}
            if shared.lock().is_moving(to, lane) {
                cx.waker().wake_by_ref(); // another thread is at it
                return Poll::Pending;
            }
            shared.give_back(to, lane); // what found no room
        }
        shared.inner.poll_shutdown(cx)
    }

    fn lane(&self, to: NodeId, lane: Lane) -> LaneStatus {
        let mut status = self.shared.inner.lane(to, lane);
        status.queued_bytes += self.shared.lock().bytes(to, lane);
        status
    }

    fn discover(&self, address: &Address) -> Result<DialId, SendError> {
        self.shared.inner.discover(address)
    }

    fn send_datagram(&self, to: NodeId, channel: ChannelId, body: &[u8]) -> Result<(), SendError> {
        let shared = &self.shared;
        let rates = &shared.rates;
        shared.inner.limits().check_datagram(body.len())?;
        if shared.lock().closing {
            return Err(SendError::Closed);
        }
        if rates.strikes(Fault::DatagramLoss) {
            rates.count(|stats| stats.datagrams_lost += 1);
            return Ok(());
        }
        let mut body = Bytes::copy_from_slice(body);
        if rates.strikes(Fault::DatagramCorruption) {
            rates.count(|stats| stats.datagrams_corrupted += 1);
            match corrupted(&self.identity(), to, channel, &body, rates.next()) {
                None => return Ok(()), // refused by the receiver, as it must be
                Some(changed) => body = changed,
            }
        }
        if rates.strikes(Fault::DatagramDuplication) {
            rates.count(|stats| stats.datagrams_duplicated += 1);
            let _ = shared.inner.send_datagram(to, channel, &body);
        }
        if rates.strikes(Fault::DatagramDelay) {
            let due = shared.runtime.now().saturating_add(rates.delay());
            if shared.lock().hold_datagram(due, to, channel, body) {
                rates.count(|stats| stats.datagrams_delayed += 1);
            } else {
                rates.count(|stats| stats.datagrams_lost += 1);
            }
            shared.ring();
            return Ok(());
        }
        shared.inner.send_datagram(to, channel, &body)
    }

    fn stats(&self) -> TransportStats {
        let mut stats = self.shared.inner.stats();
        let state = self.shared.lock();
        stats.full += state.full + self.shared.rates.stats().full;
        stats.unsent += state.unsent;
        stats
    }
}

/// The body as its receiver reads it after one bit of the packet was flipped: not at all, if the
/// check of the format is worth anything.
fn corrupted(
    from: &Identity,
    to: NodeId,
    channel: ChannelId,
    body: &[u8],
    random: u64,
) -> Option<Bytes> {
    let mut wire = Datagram::encode(from, to, channel, body).ok()?;
    let bits = u64::try_from(wire.len() * 8).unwrap_or(u64::MAX);
    let bit = usize::try_from(random % bits).unwrap_or(0);
    wire[bit / 8] ^= 1 << (bit % 8);
    let receiver = Identity::new(from.cluster, to, Incarnation::new(0));
    let found = Datagram::decode(&wire, &receiver, u32::MAX).ok()?;
    Some(Bytes::copy_from_slice(found.body))
}

/// The pump ends with the transport; the inner one ends now, also while the pump still holds it.
impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.lock().gone = true;
        self.shared.ring();
        let _ = self.shared.inner.poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("identity", &self.identity()).finish_non_exhaustive()
    }
}
