//! [`Endpoint`]: one process's share of a transport, cut into channels.

mod calls;
mod core;
mod counters;
mod discovery;
mod sink;
mod streams;
mod timers;

pub(crate) use self::calls::CallRequest;
pub(crate) use self::core::{Core, PeerEntry};

use crate::channel::{ChannelReceiver, ChannelSender};
use crate::{
    Address, Channel, ChannelId, ChannelOptions, DownReason, EndpointConfig, EndpointStats,
    Identity, Lane, LaneStatus, NodeId, Peer, PeerHealth, Runtime, SendError, StartError,
    Transport, TransportStats,
};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// A channel could not be opened.
///
/// # Examples
/// ```
/// assert_eq!(quorate_transport::OpenError::Taken.to_string(), "channel is already open");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Effect: none. Retry helps once the other owner dropped it.
    #[error("channel is already open")]
    Taken,
    /// Effect: none. Retry never helps: channel 0 is the endpoint's own.
    #[error("channel is reserved")]
    Reserved,
    /// Effect: none. Retry helps once another channel is closed: 256 are open.
    #[error("too many channels are open")]
    TooMany,
    /// Effect: none. Retry never helps.
    #[error("endpoint is closed")]
    Closed,
}

impl OpenError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Taken | Self::TooMany)
    }
}

/// Nobody was found at an address.
///
/// # Examples
/// ```
/// use quorate_transport::{DialError, DownReason};
/// assert_eq!(DialError::Failed(DownReason::Timeout).to_string(), "dial failed: timeout");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Effect: none: no dial was made. Retry as the inner error says.
    #[error("dial not made: {0}")]
    NotMade(SendError),
    /// Effect: no session. Retry helps unless the reason is a refusal.
    #[error("dial failed: {0}")]
    Failed(DownReason),
    /// Effect: none any more: the endpoint was shut down meanwhile. Retry never helps.
    #[error("endpoint is closed")]
    Closed,
}

impl DialError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::NotMade(error) => error.is_retryable(),
            Self::Failed(reason) => !matches!(reason, DownReason::Refused(_)),
            Self::Closed => false,
        }
    }
}

/// The endpoint is shut down, but not everything went out.
///
/// # Examples
/// ```
/// use quorate_transport::ShutdownError;
/// let error = ShutdownError::Unsent { frames: 3 };
/// assert_eq!(error.to_string(), "3 accepted frames were never sent");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// Effect: everything is closed; these frames surely had no effect. Retry never helps.
    #[error("{frames} accepted frames were never sent")]
    Unsent {
        /// How many.
        frames: u64,
    },
}

impl ShutdownError {
    /// Never: it is closed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        false
    }
}

/// One node's door to its peers: channels over a [`Transport`], driven by a [`Runtime`].
///
/// Clones share it. When the last clone, channel, reply and watch is gone, its tasks end and its
/// hold on the transport is released; [`shutdown`](Self::shutdown) does that in order and waits.
///
/// # Examples
/// ```
/// # #[cfg(feature = "tokio")] {
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use quorate_transport::*;
///
/// let network = MemoryNetwork::new();
/// let id = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1));
/// let endpoint = Endpoint::start(network.node(id), EndpointConfig::default())?;
/// let channel = endpoint.channel(ChannelId::new(16), ChannelOptions::new())?;
/// assert_eq!(endpoint.health(NodeId::new(2)).state, PeerState::Unknown);
/// endpoint.shutdown().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap() }
/// ```
#[derive(Clone)]
pub struct Endpoint {
    core: Arc<Core>,
}

impl Endpoint {
    /// Starts on the tokio runtime of this thread.
    ///
    /// # Errors
    /// [`StartError::NoRuntime`] outside of one, else as [`Transport::start`].
    #[cfg(feature = "tokio")]
    pub fn start(
        transport: Arc<dyn Transport>,
        config: EndpointConfig,
    ) -> Result<Self, StartError> {
        let runtime = crate::TokioRuntime::try_current().ok_or(StartError::NoRuntime)?;
        Self::start_with(transport, Arc::new(runtime), config)
    }

    /// Starts on any runtime.
    ///
    /// # Errors
    /// As [`Transport::start`].
    pub fn start_with(
        transport: Arc<dyn Transport>,
        runtime: Arc<dyn Runtime>,
        config: EndpointConfig,
    ) -> Result<Self, StartError> {
        let core = Core::start(transport, runtime, config)?;
        Ok(Self { core })
    }

    /// Opens a channel; one owner at a time.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn channel(&self, id: ChannelId, options: ChannelOptions) -> Result<Channel, OpenError> {
        let inbox = self.core.open_channel(id, options)?;
        let sender = ChannelSender::new(self.core.clone(), id, options);
        Ok(Channel::new(sender, ChannelReceiver::new(self.core.clone(), inbox)))
    }

    /// Executor, clock, timers and seeds for drivers.
    #[must_use]
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        self.core.runtime()
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.core.identity()
    }

    /// Replaces the addresses of a node; dials nothing.
    pub fn set_peer(&self, node: NodeId, addresses: &[Address]) {
        self.core.transport().set_peer(node, addresses);
    }

    /// Forgets a node and closes its sessions.
    pub fn remove_peer(&self, node: NodeId) {
        self.core.transport().remove_peer(node);
    }

    /// Learns who listens at an address; on success it is in the address book.
    ///
    /// # Errors
    /// [`DialError`].
    ///
    /// # Cancel safety
    /// Dropping it forgets the question; the connection may still come up.
    pub async fn discover(&self, address: &Address) -> Result<Peer, DialError> {
        let found = discovery::Discovery::ask(&self.core, address)?;
        let peer = poll_fn(|cx| found.poll(cx)).await?;
        self.set_peer(peer.node, std::slice::from_ref(address));
        Ok(peer)
    }

    /// Keeps the peer's Control lane dialed and pinged while the watch lives.
    #[must_use]
    pub fn watch(&self, node: NodeId) -> PeerWatch {
        PeerWatch::new(self.core.clone(), node)
    }

    /// What is known about a peer.
    #[must_use]
    pub fn health(&self, node: NodeId) -> PeerHealth {
        self.core.health(node)
    }

    /// Counters and gauges of this endpoint.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        self.core.stats()
    }

    /// Counters and gauges of the transport below.
    #[must_use]
    pub fn transport_stats(&self) -> TransportStats {
        self.core.transport().stats()
    }

    /// One lane of a peer, now.
    #[must_use]
    pub fn lane(&self, node: NodeId, lane: Lane) -> LaneStatus {
        self.core.transport().lane(node, lane)
    }

    /// Ends everything in order: own calls end as `MaybeExecuted(Cancelled)`, channels receive
    /// `None`, as do watches; what is queued is sent for a bounded time, sessions close.
    ///
    /// # Errors
    /// [`ShutdownError::Unsent`] if frames were left.
    ///
    /// # Cancel safety
    /// Dropping it stops the waiting, not the shutdown. May be called again.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        self.core.begin_shutdown();
        poll_fn(|cx| self.core.transport().poll_shutdown(cx)).await;
        match self.core.unsent_at_shutdown() {
            0 => Ok(()),
            frames => Err(ShutdownError::Unsent { frames }),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("identity", &self.identity()).finish_non_exhaustive()
    }
}

/// Watches one peer's health.
///
/// # Examples
/// ```
/// # #[cfg(feature = "tokio")] {
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use quorate_transport::*;
///
/// let network = MemoryNetwork::new();
/// let start = |n| {
///     let id = Identity::new(ClusterId::new(7), NodeId::new(n), Incarnation::new(1));
///     Endpoint::start(network.node(id), EndpointConfig::default())
/// };
/// let (a, b) = (start(1)?, start(2)?);
/// let mut watch = a.watch(NodeId::new(2));
/// while let Some(health) = watch.changed().await {
///     if health.state == PeerState::Up {
///         a.shutdown().await?; // ends the loop
///     }
/// }
/// # drop(b);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap() }
/// ```
pub struct PeerWatch {
    core: Arc<Core>,
    peer: Option<Arc<PeerEntry>>,
    node: NodeId,
    seen: u64,
}

impl PeerWatch {
    fn new(core: Arc<Core>, node: NodeId) -> Self {
        let peer = core.watch(node);
        Self { core, peer, node, seen: 0 }
    }

    /// What is known about the peer.
    #[must_use]
    pub fn health(&self) -> PeerHealth {
        self.core.health(self.node)
    }

    /// Waits until state or incarnation differ from what the last `changed` returned. The first
    /// one returns as soon as anything is known.
    ///
    /// `None`, at once and for ever: the endpoint was shut down, or had no room for the peer (it
    /// knows 65,536 already), so that nothing will change any more.
    ///
    /// # Cancel safety
    /// Dropping the future loses no change.
    #[must_use = "a loop that does not end at `None` spins"]
    pub async fn changed(&mut self) -> Option<PeerHealth> {
        let peer = self.peer.as_ref()?;
        let (version, health) = poll_fn(|cx| {
            let mut mux = peer.mux();
            // Looked at under the lock in which a shutdown wakes whoever registered before.
            if self.core.is_closed() {
                return Poll::Ready(None);
            }
            if mux.health_version() != self.seen {
                return Poll::Ready(Some((mux.health_version(), mux.health())));
            }
            mux.register_watcher(cx.waker());
            Poll::Pending
        })
        .await?;
        self.seen = version;
        Some(health)
    }
}

impl Drop for PeerWatch {
    fn drop(&mut self) {
        if let Some(peer) = &self.peer {
            self.core.unwatch(peer);
        }
    }
}

impl fmt::Debug for PeerWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerWatch").field("node", &self.node).finish_non_exhaustive()
    }
}
