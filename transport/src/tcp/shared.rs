//! What all tasks of a transport share.

use super::connection::{Connection, GOAWAY_IDLE, GOAWAY_SHUTDOWN};
use super::peer::TcpPeer;
use super::unfinished::Unfinished;
use crate::decode::BLOCK;
use crate::stats::{Counter, counters};
use crate::udp::{Directory, Known, Udp};
use crate::{
    AcceptPolicy, DatagramMode, DownReason, Frame, FrameError, Identity, Lane, Limits, LinkEvent,
    NodeId, SessionId, Sink, TcpConfig,
};
use bytes::BytesMut;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::task::Waker;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Feature bit: byte streams.
const FEATURE_STREAMS: u64 = 1;
/// Feature bit: idempotent calls.
const FEATURE_IDEMPOTENT: u64 = 2;
/// Feature bit: datagrams over UDP.
const FEATURE_UDP: u64 = 4;
/// Peers in the book.
const PEERS_MAX: usize = 65_536;
/// Read blocks kept for reuse.
const POOL_MAX: usize = 64;
/// Subjects of warnings remembered.
const WARNED_MAX: usize = 1_024;
/// A subject is warned of once in this time.
const WARN_PAUSE: Duration = Duration::from_secs(60);

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
    tls_errors,
    datagrams_over_control,
    datagrams_full,
});

/// The single counters and those that come in families.
#[derive(Debug, Default)]
pub(super) struct AllCounters {
    pub(super) one: Counters,
    pub(super) refused: [Counter; 11],
    pub(super) refused_by_peer: [Counter; 11],
    pub(super) ended: [Counter; DownReason::COUNT],
}

impl std::ops::Deref for AllCounters {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.one
    }
}

/// Read blocks between two uses.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<BytesMut>>);

impl Pool {
    pub(super) fn take(&self) -> BytesMut {
        let pooled = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        pooled.unwrap_or_else(|| BytesMut::with_capacity(BLOCK))
    }

    pub(super) fn put(&self, block: BytesMut) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.len() < POOL_MAX && block.capacity() == BLOCK {
            blocks.push(block);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Node(NodeId),
    Source(IpAddr),
}

impl From<NodeId> for Subject {
    fn from(node: NodeId) -> Self {
        Self::Node(node)
    }
}

impl From<IpAddr> for Subject {
    fn from(source: IpAddr) -> Self {
        Self::Source(source)
    }
}

#[derive(Debug, Default)]
pub(super) struct Shutdown {
    pub(super) begun: bool,
    pub(super) done: bool,
    pub(super) waiters: Vec<Waker>,
}

/// What all tasks of a transport share.
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) config: TcpConfig,
    pub(super) limits: Limits,
    /// Feature bits announced.
    pub(super) features: u64,
    /// Where this node says it listens.
    pub(super) advertised: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<crate::TlsHandle>,
    /// Datagrams, where they go over UDP.
    pub(super) udp: Option<Arc<Udp>>,
    warned: Mutex<BTreeMap<Subject, Instant>>,
    pub(super) handle: Handle,
    pub(super) sink: OnceLock<Arc<dyn Sink>>,
    pub(super) peers: RwLock<BTreeMap<NodeId, Arc<TcpPeer>>>,
    pub(super) unfinished: Unfinished,
    pub(super) next_session: AtomicU64,
    pub(super) next_dial: AtomicU64,
    pub(super) random: RandomState,
    pub(super) next_random: AtomicU64,
    /// Connections and dials whose end is not reported yet.
    pub(super) live: watch::Sender<usize>,
    pub(super) closing: AtomicBool,
    /// Ends accept loop and idle watch.
    pub(super) stopped: watch::Sender<bool>,
    /// The tasks that hold the port.
    pub(super) doors: Mutex<Vec<JoinHandle<()>>>,
    /// Ends dials.
    pub(super) killed: watch::Sender<bool>,
    pub(super) shutdown: Mutex<Shutdown>,
    pub(super) pool: Pool,
    pub(super) counters: AllCounters,
}

impl Shared {
    pub(super) fn new(
        identity: Identity,
        config: TcpConfig,
        handle: Handle,
        listens_at: Option<SocketAddr>,
        udp: Option<Arc<Udp>>,
    ) -> Self {
        let datagrams = config.datagram_mode() != DatagramMode::Off;
        Self {
            identity,
            limits: Limits {
                stream_window_bytes: config.stream_window_bytes,
                ..Limits::new(config.frame_bytes_max, config.control_bytes_max)
                    .with_datagrams(if datagrams { config.datagram_bytes_max } else { 0 })
            },
            features: FEATURE_STREAMS
                | FEATURE_IDEMPOTENT
                | if udp.is_some() { FEATURE_UDP } else { 0 },
            udp,
            advertised: listens_at.filter(|at| !at.ip().is_unspecified()),
            #[cfg(feature = "tls")]
            tls: config.tls.clone().map(crate::TlsHandle::new),
            warned: Mutex::default(),
            config,
            handle,
            sink: OnceLock::new(),
            peers: RwLock::default(),
            unfinished: Unfinished::default(),
            next_session: AtomicU64::new(0),
            next_dial: AtomicU64::new(0),
            random: RandomState::new(),
            next_random: AtomicU64::new(0),
            live: watch::Sender::new(0),
            closing: AtomicBool::new(false),
            stopped: watch::Sender::new(false),
            doors: Mutex::default(),
            killed: watch::Sender::new(false),
            shutdown: Mutex::default(),
            pool: Pool::default(),
            counters: AllCounters::default(),
        }
    }

    /// Whether to warn of this peer: once a minute, lest a stranger fills the log.
    pub(super) fn may_warn(&self, subject: impl Into<Subject>) -> bool {
        let (now, subject) = (Instant::now(), subject.into());
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() >= WARNED_MAX {
            warned.retain(|_, at| now.duration_since(*at) < WARN_PAUSE);
        }
        let last = warned.get(&subject);
        if warned.len() >= WARNED_MAX && last.is_none()
            || last.is_some_and(|at| now.duration_since(*at) < WARN_PAUSE)
        {
            return false;
        }
        warned.insert(subject, now);
        true
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn next_session(&self) -> SessionId {
        SessionId::new(self.next_session.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// For nonces and jitter: keyed by the operating system's randomness.
    pub(super) fn random(&self) -> u64 {
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.next_random.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    }

    pub(super) fn peer(&self, node: NodeId) -> Option<Arc<TcpPeer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    pub(super) fn peer_or_insert(&self, node: NodeId) -> Option<Arc<TcpPeer>> {
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

    pub(super) fn all_peers(&self) -> Vec<Arc<TcpPeer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        let of = |peer: &Arc<TcpPeer>| peer.lanes().each_ref().map(|lane| lane.lock().conn.clone());
        self.all_peers().iter().flat_map(of).flatten().collect()
    }

    pub(super) fn report(&self, event: LinkEvent) {
        if let Some(sink) = self.sink.get() {
            sink.on_event(event);
        }
    }

    pub(super) fn report_unsent(&self, to: NodeId, lane: Lane, frames: VecDeque<Frame>) {
        if frames.is_empty() {
            return;
        }
        self.counters.unsent.add(u64::try_from(frames.len()).unwrap_or(u64::MAX));
        if let Some(sink) = self.sink.get() {
            sink.on_unsent(to, lane, &mut frames.into_iter());
        }
    }

    pub(super) fn count_violation(&self, error: FrameError) {
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
    pub(super) fn kill(&self) {
        self.closing.store(true, Ordering::Release);
        self.stopped.send_replace(true);
        self.killed.send_replace(true);
        self.unfinished.kill_all(DownReason::Shutdown);
    }

    /// Sends what is queued for at most `drain_max`, then ends everything.
    pub(super) async fn drain(self: Arc<Self>) {
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
        if let Some(udp) = &self.udp {
            udp.close();
        }
        let doors = std::mem::take(&mut *lock(&self.doors));
        for door in doors {
            let _ = door.await; // the port is free when the shutdown is over
        }
        let mut shutdown = self.shutdown.lock().unwrap_or_else(PoisonError::into_inner);
        shutdown.done = true;
        let waiters = std::mem::take(&mut shutdown.waiters);
        drop(shutdown);
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Closes connections on which nothing happened for `idle_close`, in order.
    pub(super) async fn watch_idle(self: Arc<Self>) {
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

impl Directory for Shared {
    fn known(&self, node: NodeId) -> Option<Known> {
        let peer = self.peer(node)?;
        let incarnation = peer.links().known();
        (peer.is_known() || incarnation.is_some())
            .then(|| Known { address: peer.first_address(), incarnation })
    }

    fn admits_strangers(&self) -> bool {
        self.config.accept == AcceptPolicy::Cluster
    }

    fn sink(&self) -> Option<Arc<dyn Sink>> {
        self.sink.get().cloned()
    }
}
