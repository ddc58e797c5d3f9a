//! [`TcpTransport`]: one connection per peer and lane, opened by the first frame for it.

mod bell;
mod connection;
mod dial;
mod lane;
mod listen;
mod peer;
mod race;
mod read;
#[cfg(feature = "tls")]
mod sealed;
mod shared;
mod socket;
mod stream;
mod unfinished;
mod wire;
mod write;

use crate::stats::Counter;
use crate::udp::{Directory, Udp};
use crate::{
    Address, ChannelId, DialId, DownReason, Frame, Identity, Lane, LaneStatus, Limits, NodeId,
    Role, SendError, Sink, StartError, TcpConfig, Transport, TransportStats,
};
use bytes::Bytes;
use shared::Shared;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

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
    /// Effect: none. Retry never helps: a member needs a certificate of its own.
    #[cfg(feature = "tls")]
    #[error("a member without a certificate cannot listen")]
    NoCertificate,
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
        #[cfg(feature = "tls")]
        if listens && config.tls.as_ref().is_some_and(|tls| !tls.can_listen()) {
            return Err(BindError::NoCertificate);
        }
        let (listener, socket) = socket::bind(&config, listens)?;
        let failed =
            |error: io::Error| BindError::Io { address: config.listen, kind: error.kind() };
        let udp = socket.map(|socket| Udp::new(identity, socket, config.datagram_bytes_max));
        let udp = udp.transpose().map_err(failed)?.map(Arc::new);
        let local_addr = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let shared = Arc::new(Shared::new(identity, config, handle, local_addr, udp));
        Ok(Arc::new(Self { shared, listener: Mutex::new(listener), local_addr }))
    }

    /// Exchanges the certificates; `None` in plaintext.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    #[must_use]
    pub fn tls_handle(&self) -> Option<crate::TlsHandle> {
        self.shared.tls.clone()
    }

    /// Where it listens; `None` for a client.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }
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
        let accepts = listener.map(|listener| listen::run(self.shared.clone(), listener));
        let receives = self.shared.udp.clone().map(|udp| receive(udp, self.shared.clone()));
        let mut doors = self.shared.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.extend(accepts.map(|task| handle.spawn(task)));
        doors.extend(receives.map(|task| handle.spawn(task)));
        drop(doors);
        drop(handle.spawn(self.shared.clone().watch_idle()));
        Ok(())
    }

    fn set_peer(&self, node: NodeId, addresses: &[Address]) {
        if node != self.shared.identity.node
            && let Some(peer) = self.shared.peer_or_insert(node)
            && peer.set_addresses(addresses)
            && let Some(udp) = &self.shared.udp
        {
            udp.readdress(node);
        }
    }

    fn remove_peer(&self, node: NodeId) {
        let mut peers = self.shared.peers.write().unwrap_or_else(PoisonError::into_inner);
        let removed = peers.remove(&node);
        drop(peers);
        if let Some(peer) = removed {
            if let Some(udp) = &self.shared.udp {
                udp.forget(node);
            }
            peer.remove(&self.shared);
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
        // The table stays locked for readers meanwhile: cheaper than a share of the peer per frame,
        // and nothing below calls back.
        let peers = shared.peers.read().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.get(&to).ok_or(SendError::UnknownPeer)?;
        peer.lane(lane).send(shared, peer, frame)
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
        let parted = peer.lane(lane).lock().part();
        if let Some(conn) = parted {
            conn.kill(DownReason::Reset);
        }
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

    fn send_datagram(&self, to: NodeId, channel: ChannelId, body: &[u8]) -> Result<(), SendError> {
        let shared = &self.shared;
        if shared.is_closing() {
            return Err(SendError::Closed);
        }
        if to == shared.identity.node {
            return Err(SendError::SelfAddressed);
        }
        shared.limits.check_datagram(body.len())?;
        if shared.sink.get().is_none() {
            return Err(SendError::Disconnected);
        }
        if let Some(udp) = &shared.udp {
            return udp.send(&shared.handle, shared.known(to), to, channel, body);
        }
        let peer = shared.peer(to).ok_or(SendError::UnknownPeer)?;
        let frame = Frame::message(channel, Bytes::copy_from_slice(body));
        match peer.lane(Lane::Control).send(shared, &peer, frame) {
            // Dropped, not refused: nobody waits for room with a datagram.
            Err(SendError::Full) => shared.counters.datagrams_full.add(1),
            Err(error) => return Err(error),
            Ok(()) => shared.counters.datagrams_over_control.add(1),
        }
        Ok(())
    }

    fn stats(&self) -> TransportStats {
        let c = &self.shared.counters;
        let ended = c.ended.each_ref().map(Counter::value);
        let sessions = c.sessions.value();
        let mut stats = TransportStats {
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
            tls_errors: c.tls_errors.value(),
            datagrams_out: c.datagrams_over_control.value(),
            datagrams_unsent: c.datagrams_full.value(),
            ..TransportStats::default()
        };
        if let Some(udp) = &self.shared.udp {
            udp.add_to(&mut stats);
        }
        stats
    }
}

/// Receives datagrams until the shutdown; a sink that panics costs one turn. // H29
async fn receive(udp: Arc<Udp>, shared: Arc<Shared>) {
    let mut stopped = shared.stopped.subscribe();
    loop {
        let mut turn = shared.handle.spawn(udp.clone().run(shared.clone()));
        let stop = async {
            race::wait_for(&mut stopped).await;
            true
        };
        let ended = async {
            let _ = (&mut turn).await;
            false
        };
        if race::race(stop, ended).await {
            turn.abort();
            let _ = turn.await;
            return;
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
