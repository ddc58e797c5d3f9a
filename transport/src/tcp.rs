//! [`TcpTransport`]: one connection per peer and lane, opened by the first frame for it.

mod connection;
mod dial;
mod lane;
mod listen;
mod peer;
mod race;
mod read;
mod socket;
mod write;

use crate::decode::BLOCK;
use crate::stats::{Counter, counters};
use crate::{
    Address, DialId, DownReason, Frame, FrameError, Identity, Lane, LaneStatus, Limits, LinkEvent,
    NodeId, Role, SendError, SessionId, Sink, StartError, TcpConfig, Transport, TransportStats,
};
use bytes::BytesMut;
use connection::{Connection, GOAWAY_IDLE, GOAWAY_SHUTDOWN};
use peer::TcpPeer;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

/// Peers in the book.
const PEERS_MAX: usize = 65_536;
/// Read blocks kept for reuse.
const POOL_MAX: usize = 64;

/// A listener could not be made.
///
/// # Examples
/// ```
/// assert!(quorate_transport::BindError::NoRuntime.is_retryable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Effect: none. Retry helps inside a tokio runtime.
    #[error("no tokio runtime on this thread")]
    NoRuntime,
    /// Effect: none. Retry helps once the address is free.
    #[error("cannot listen on {address}: {kind}")]
    Io {
        /// Where.
        address: SocketAddr,
        /// What the operating system said.
        kind: io::ErrorKind,
    },
}

impl BindError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::NoRuntime | Self::Io { kind: io::ErrorKind::AddrInUse, .. })
    }
}

counters!(Counters {
    frames_in,
    frames_out,
    bytes_in,
    bytes_out,
    writes,
    inline_writes,
    full,
    unsent,
    skipped,
    dials,
    dials_failed,
    handshakes_overflow,
    handshakes_pending,
    sessions,
    accept_errors,
    head_crc_errors,
    body_crc_errors,
    oversized_frames,
    protocol_errors,
    peers_overflow,
    connections_overflow,
    waiters_overflow,
});

/// The single counters and those that come in families.
#[derive(Debug, Default)]
struct AllCounters {
    one: Counters,
    refused: [Counter; 11],
    refused_by_peer: [Counter; 11],
    ended: [Counter; DownReason::COUNT],
}

impl std::ops::Deref for AllCounters {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.one
    }
}

/// Read blocks between two uses.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<BytesMut>>);

impl Pool {
    fn take(&self) -> BytesMut {
        let pooled = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        pooled.unwrap_or_else(|| BytesMut::with_capacity(BLOCK))
    }

    fn put(&self, block: BytesMut) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.len() < POOL_MAX && block.capacity() == BLOCK {
            blocks.push(block);
        }
    }
}

#[derive(Debug, Default)]
struct Shutdown {
    begun: bool,
    done: bool,
    waiters: Vec<Waker>,
}

/// What all tasks of a transport share.
struct Shared {
    identity: Identity,
    config: TcpConfig,
    limits: Limits,
    handle: Handle,
    sink: OnceLock<Arc<dyn Sink>>,
    peers: RwLock<BTreeMap<NodeId, Arc<TcpPeer>>>,
    next_session: AtomicU64,
    next_dial: AtomicU64,
    random: RandomState,
    next_random: AtomicU64,
    /// Connections and dials whose end is not reported yet.
    live: watch::Sender<usize>,
    closing: AtomicBool,
    /// Ends accept loop and idle watch.
    stopped: watch::Sender<bool>,
    /// Ends dials.
    killed: watch::Sender<bool>,
    shutdown: Mutex<Shutdown>,
    pool: Pool,
    counters: AllCounters,
}

impl Shared {
    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn next_session(&self) -> SessionId {
        SessionId::new(self.next_session.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// For nonces and jitter: keyed by the operating system's randomness.
    fn random(&self) -> u64 {
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.next_random.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    }

    fn peer(&self, node: NodeId) -> Option<Arc<TcpPeer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    fn peer_or_insert(&self, node: NodeId) -> Option<Arc<TcpPeer>> {
        if let Some(peer) = self.peer(node) {
            return Some(peer);
        }
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MAX {
            peers.retain(|_, peer| Arc::strong_count(peer) > 1 || !peer.is_disposable());
            if peers.len() >= PEERS_MAX {
                self.counters.peers_overflow.add(1);
                return None;
            }
        }
        let new = || Arc::new(TcpPeer::new(self.identity.node, node, &self.config));
        Some(peers.entry(node).or_insert_with(new).clone())
    }

    fn all_peers(&self) -> Vec<Arc<TcpPeer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        let of = |peer: &Arc<TcpPeer>| peer.lanes().each_ref().map(|lane| lane.lock().conn.clone());
        self.all_peers().iter().flat_map(of).flatten().collect()
    }

    fn report(&self, event: LinkEvent) {
        if let Some(sink) = self.sink.get() {
            sink.on_event(event);
        }
    }

    fn report_unsent(&self, to: NodeId, lane: Lane, frames: VecDeque<Frame>) {
        if frames.is_empty() {
            return;
        }
        self.counters.unsent.add(u64::try_from(frames.len()).unwrap_or(u64::MAX));
        if let Some(sink) = self.sink.get() {
            sink.on_unsent(to, lane, &mut frames.into_iter());
        }
    }

    fn count_violation(&self, error: FrameError) {
        match error {
            FrameError::HeadCrc { .. } => self.counters.head_crc_errors.add(1),
            FrameError::BodyCrc { .. } => self.counters.body_crc_errors.add(1),
            FrameError::TooLarge { .. } => self.counters.oversized_frames.add(1),
            FrameError::Sequence { .. }
            | FrameError::UnknownKind { .. }
            | FrameError::Malformed { .. } => self.counters.protocol_errors.add(1),
        }
    }

    /// Ends everything now.
    fn kill(&self) {
        self.closing.store(true, Ordering::Release);
        self.stopped.send_replace(true);
        self.killed.send_replace(true);
        self.all_peers().iter().for_each(|peer| peer.kill(DownReason::Shutdown));
    }

    /// Sends what is queued for at most `drain_max`, then ends everything.
    async fn drain(self: Arc<Self>) {
        self.closing.store(true, Ordering::Release);
        self.stopped.send_replace(true);
        for peer in self.all_peers() {
            for lane in peer.lanes() {
                let conn = lane.lock().conn.clone();
                if let Some(conn) = conn {
                    conn.retire(&self, GOAWAY_SHUTDOWN, DownReason::Shutdown);
                }
                lane.redial.notify_waiters(); // ends backoffs
            }
        }
        let mut live = self.live.subscribe();
        let over = live.wait_for(|live| *live == 0);
        let _ = timeout(self.config.drain_max, over).await;
        self.kill();
        let _ = live.wait_for(|live| *live == 0).await;
        let mut shutdown = self.shutdown.lock().unwrap_or_else(PoisonError::into_inner);
        shutdown.done = true;
        let waiters = std::mem::take(&mut shutdown.waiters);
        drop(shutdown);
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Closes connections on which nothing happened for `idle_close`, in order.
    async fn watch_idle(self: Arc<Self>) {
        let mut stopped = self.stopped.subscribe();
        let mut seen: BTreeMap<SessionId, (u64, u32)> = BTreeMap::new();
        loop {
            let pause = self.config.idle_close / 4;
            if timeout(pause, stopped.wait_for(|stopped| *stopped)).await.is_ok() {
                return;
            }
            let mut next = BTreeMap::new();
            for conn in self.connections() {
                let activity = conn.activity.load(Ordering::Relaxed);
                let idle = match seen.get(&conn.session) {
                    Some((last, idle)) if *last == activity => idle + 1,
                    _ => 0,
                };
                if idle >= 4 {
                    conn.retire(&self, GOAWAY_IDLE, DownReason::Closed);
                }
                next.insert(conn.session, (activity, idle));
            }
            seen = next;
        }
    }
}

/// The transport over TCP.
///
/// # Shape
/// One connection per peer and lane, dialed by the first frame for it, closed when idle. Tasks: one
/// accept loop, one watch for idle connections, two per connection, one per dial.
///
/// # Cost
/// A frame up to 16 KiB on an idle lane is written in the caller; else everything queued goes out
/// in gathered writes.
///
/// # Examples
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use quorate_transport::*;
/// use std::time::Duration;
///
/// let bind = |n| {
///     let id = Identity::new(ClusterId::new(7), NodeId::new(n), Incarnation::new(1));
///     TcpTransport::bind(id, TcpConfig::local().build().expect("a valid preset"))
/// };
/// let (a, b) = (bind(1)?, bind(2)?);
/// let at_b = b.local_addr().expect("a member listens");
/// let (a, b) = (
///     Endpoint::start(a, EndpointConfig::default())?,
///     Endpoint::start(b, EndpointConfig::default())?,
/// );
/// a.set_peer(NodeId::new(2), &[at_b.into()]);
/// let id = ChannelId::new(16);
/// let client = a.channel(id, ChannelOptions::new())?;
/// let mut server = b.channel(id, ChannelOptions::new())?;
/// client.send(NodeId::new(2), Lane::Data, b"hi")?;
/// let Some(Inbound::Message { body, .. }) = server.recv().await else { panic!() };
/// assert_eq!(&body[..], b"hi");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap()
/// ```
pub struct TcpTransport {
    shared: Arc<Shared>,
    listener: Mutex<Option<TcpListener>>,
    local_addr: Option<SocketAddr>,
}

impl TcpTransport {
    /// Listens (unless a client) and waits for [`start`](Transport::start) to accept.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(identity: Identity, config: TcpConfig) -> Result<Arc<Self>, BindError> {
        let handle = Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let listens = identity.role == Role::Member;
        let listener = if listens { Some(listen(config.listen)?) } else { None };
        let local_addr = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let shared = Arc::new(Shared {
            identity,
            config,
            limits: Limits::new(config.frame_bytes_max, config.control_bytes_max),
            handle,
            sink: OnceLock::new(),
            peers: RwLock::default(),
            next_session: AtomicU64::new(0),
            next_dial: AtomicU64::new(0),
            random: RandomState::new(),
            next_random: AtomicU64::new(0),
            live: watch::Sender::new(0),
            closing: AtomicBool::new(false),
            stopped: watch::Sender::new(false),
            killed: watch::Sender::new(false),
            shutdown: Mutex::default(),
            pool: Pool::default(),
            counters: AllCounters::default(),
        });
        Ok(Arc::new(Self { shared, listener: Mutex::new(listener), local_addr }))
    }

    /// Where it listens; `None` for a client.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    let failed = |error: io::Error| BindError::Io { address, kind: error.kind() };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(listener).map_err(failed)
}

impl Transport for TcpTransport {
    fn identity(&self) -> Identity {
        self.shared.identity
    }

    fn limits(&self) -> Limits {
        self.shared.limits
    }

    fn start(&self, sink: Arc<dyn Sink>) -> Result<(), StartError> {
        if self.shared.is_closing() {
            return Err(StartError::Closed);
        }
        self.shared.sink.set(sink).map_err(|_| StartError::AlreadyStarted)?;
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let handle = &self.shared.handle;
        if let Some(listener) = listener {
            drop(handle.spawn(listen::run(self.shared.clone(), listener)));
        }
        drop(handle.spawn(self.shared.clone().watch_idle()));
        Ok(())
    }

    fn set_peer(&self, node: NodeId, addresses: &[Address]) {
        if node != self.shared.identity.node
            && let Some(peer) = self.shared.peer_or_insert(node)
        {
            peer.set_addresses(addresses);
        }
    }

    fn remove_peer(&self, node: NodeId) {
        let mut peers = self.shared.peers.write().unwrap_or_else(PoisonError::into_inner);
        let removed = peers.remove(&node);
        drop(peers);
        if let Some(peer) = removed {
            peer.set_addresses(&[]);
            peer.kill(DownReason::Closed);
        }
    }

    fn send(&self, to: NodeId, lane: Lane, frame: Frame) -> Result<(), SendError> {
        let shared = &self.shared;
        if shared.is_closing() {
            return Err(SendError::Closed);
        }
        if to == shared.identity.node {
            return Err(SendError::SelfAddressed);
        }
        shared.limits.check(lane, frame.body.len())?;
        if shared.sink.get().is_none() {
            return Err(SendError::Disconnected);
        }
        let peer = shared.peer(to).ok_or(SendError::UnknownPeer)?;
        peer.lane(lane).send(shared, &peer, frame)
    }

    fn poll_ready(
        &self,
        to: NodeId,
        lane: Lane,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        if self.shared.is_closing() {
            return Poll::Ready(Err(SendError::Closed));
        }
        let Some(peer) = self.shared.peer(to) else {
            return Poll::Ready(Err(SendError::UnknownPeer));
        };
        peer.lane(lane).poll_ready(&peer, &self.shared, cx)
    }

    fn reset(&self, to: NodeId, lane: Lane) {
        let Some(peer) = self.shared.peer(to) else { return };
        let mut state = peer.lane(lane).lock();
        let Some(conn) = state.conn.take() else { return };
        // Nothing more is accepted for it; its own task reports the end.
        state.closing = true;
        let mut doomed = VecDeque::new();
        state.queue.take(&mut doomed);
        drop(state);
        conn.doom(doomed);
        conn.kill(DownReason::Reset);
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut shutdown = self.shared.shutdown.lock().unwrap_or_else(PoisonError::into_inner);
        if shutdown.done {
            return Poll::Ready(());
        }
        if !shutdown.waiters.iter().any(|w| w.will_wake(cx.waker())) {
            shutdown.waiters.push(cx.waker().clone());
        }
        if !std::mem::replace(&mut shutdown.begun, true) {
            self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(self.shared.handle.spawn(self.shared.clone().drain()));
        }
        Poll::Pending
    }

    fn lane(&self, to: NodeId, lane: Lane) -> LaneStatus {
        let peer = self.shared.peer(to);
        peer.map_or_else(LaneStatus::default, |peer| peer.lane(lane).status())
    }

    fn discover(&self, address: &Address) -> Result<DialId, SendError> {
        if self.shared.is_closing() {
            return Err(SendError::Closed);
        }
        if self.shared.sink.get().is_none() {
            return Err(SendError::Disconnected);
        }
        let id = DialId::new(self.shared.next_dial.fetch_add(1, Ordering::Relaxed));
        dial::discover(&self.shared, id, address.clone());
        Ok(id)
    }

    fn stats(&self) -> TransportStats {
        let c = &self.shared.counters;
        let ended = c.ended.each_ref().map(Counter::value);
        let sessions = c.sessions.value();
        TransportStats {
            frames_in: c.frames_in.value(),
            frames_out: c.frames_out.value(),
            bytes_in: c.bytes_in.value(),
            bytes_out: c.bytes_out.value(),
            writes: c.writes.value(),
            inline_writes: c.inline_writes.value(),
            full: c.full.value(),
            unsent: c.unsent.value(),
            skipped: c.skipped.value(),
            dials: c.dials.value(),
            dials_failed: c.dials_failed.value(),
            refused: c.refused.each_ref().map(Counter::value),
            refused_by_peer: c.refused_by_peer.each_ref().map(Counter::value),
            handshakes_overflow: c.handshakes_overflow.value(),
            handshakes_pending: c.handshakes_pending.value(),
            sessions,
            sessions_open: sessions.saturating_sub(ended.iter().sum()),
            ended,
            accept_errors: c.accept_errors.value(),
            head_crc_errors: c.head_crc_errors.value(),
            body_crc_errors: c.body_crc_errors.value(),
            oversized_frames: c.oversized_frames.value(),
            protocol_errors: c.protocol_errors.value(),
            peers_overflow: c.peers_overflow.value(),
            connections_overflow: c.connections_overflow.value(),
            waiters_overflow: c.waiters_overflow.value(),
        }
    }
}

/// A dropped transport ends at once: nobody is left to wait for what is queued.
impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.shared.kill();
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport")
            .field("identity", &self.shared.identity)
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}
