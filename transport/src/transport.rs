//! The trait every transport implements and the one it reports to.

use crate::handshake::HelloStatus;
use crate::{
    Address, ChannelId, Frame, Identity, Incarnation, Lane, NodeId, Peer, SessionId, TransportStats,
};
use bytes::Bytes;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A frame was not accepted. Always definite: nothing was sent and nothing will be.
///
/// # Examples
/// ```
/// use quorate_transport::SendError;
/// assert!(SendError::Full.is_retryable());
/// assert_eq!(SendError::TooLarge { bytes: 9, max: 8 }.to_string(), "body of 9 bytes exceeds 8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Effect: nothing sent. The lane's queue or the channel's share of it is full: retry after
    /// [`Transport::poll_ready`].
    #[error("lane queue is full")]
    Full,
    /// Effect: nothing sent. Retry never helps.
    #[error("body of {bytes} bytes exceeds {max}")]
    TooLarge {
        /// Length of the body.
        bytes: u64,
        /// The lane's limit.
        max: u32,
    },
    /// Effect: nothing sent. Retry helps after `set_peer`.
    #[error("peer is not in the address book")]
    UnknownPeer,
    /// Effect: nothing sent. The last dial failed or the session just ended: retry later.
    #[error("peer is not connected")]
    Disconnected,
    /// Effect: nothing sent. A node does not send to itself over the network. // H32
    #[error("peer is this node itself")]
    SelfAddressed,
    /// Effect: nothing sent. This transport cannot do it: retry never helps.
    #[error("not supported by this transport")]
    Unsupported,
    /// Effect: nothing sent. The transport is shut down: retry never helps.
    #[error("transport is closed")]
    Closed,
}

impl SendError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Full | Self::UnknownPeer | Self::Disconnected)
    }
}

/// A transport or endpoint could not start.
///
/// # Examples
/// ```
/// use quorate_transport::*;
/// use std::sync::Arc;
///
/// struct Nobody;
/// impl Sink for Nobody {
///     fn on_frame(&self, _: Peer, _: Lane, _: SessionId, _: Frame) {}
///     fn on_event(&self, _: LinkEvent) {}
///     fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
/// }
/// let id = Identity::new(ClusterId::new(1), NodeId::new(1), Incarnation::new(1));
/// let memory = MemoryNetwork::new().node(id);
/// assert_eq!(memory.start(Arc::new(Nobody)), Ok(()));
/// assert_eq!(memory.start(Arc::new(Nobody)), Err(StartError::AlreadyStarted));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Effect: none; the first sink stays. Retry never helps.
    #[error("transport was already started")]
    AlreadyStarted,
    /// Effect: none. Retry never helps: the transport is shut down.
    #[error("transport is closed")]
    Closed,
    /// Effect: none. Retry helps inside a tokio runtime.
    #[error("no tokio runtime on this thread")]
    NoRuntime,
}

impl StartError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::NoRuntime)
    }
}

/// Why a session ended or a dial failed.
///
/// # Examples
/// ```
/// use quorate_transport::{DownReason, HelloStatus};
/// let reason = DownReason::Refused(HelloStatus::WrongCluster);
/// assert_eq!(reason.to_string(), "refused: wrong cluster");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// The other side ended it in order, or it was idle.
    Closed,
    /// The other side was silent for too long, or a dial took too long.
    Timeout,
    /// The handshake was refused.
    Refused(HelloStatus),
    /// Another connection of the same lane took its place; calls in flight go on there.
    Replaced,
    /// The peer started anew: a higher incarnation spoke.
    Restarted,
    /// Somebody broke the format.
    Protocol,
    /// The operating system said so.
    Io(io::ErrorKind),
    /// A certificate did not name the peer.
    Identity,
    /// This node reset the lane.
    Reset,
    /// This node shut down.
    Shutdown,
}

impl DownReason {
    /// Number of reasons, for counters.
    pub(crate) const COUNT: usize = 10;

    /// Position among the counters.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Closed => 0,
            Self::Timeout => 1,
            Self::Refused(_) => 2,
            Self::Replaced => 3,
            Self::Restarted => 4,
            Self::Protocol => 5,
            Self::Io(_) => 6,
            Self::Identity => 7,
            Self::Reset => 8,
            Self::Shutdown => 9,
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Timeout => f.write_str("timeout"),
            Self::Refused(status) => write!(f, "refused: {status}"),
            Self::Replaced => f.write_str("replaced"),
            Self::Restarted => f.write_str("peer restarted"),
            Self::Protocol => f.write_str("protocol violation"),
            Self::Io(kind) => write!(f, "io: {kind}"),
            Self::Identity => f.write_str("identity not proven"),
            Self::Reset => f.write_str("reset"),
            Self::Shutdown => f.write_str("shutdown"),
        }
    }
}

/// Names one [`Transport::discover`].
///
/// # Examples
/// ```
/// use quorate_transport::DialId;
/// assert_eq!(DialId::new(1).value(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(u64);

impl DialId {
    /// From the number.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// What happened to a link.
///
/// # Shape
/// Each `Up` has exactly one `Down` of the same session; per lane they alternate.
///
/// # Examples
/// ```
/// use quorate_transport::{DownReason, Lane, LinkEvent, NodeId, SessionId};
/// let (node, session) = (NodeId::new(2), SessionId::new(1));
/// let event =
///     LinkEvent::Down { node, lane: Lane::Data, session, reason: DownReason::Closed };
/// assert_eq!(event.node(), Some(node));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// A session of the lane began.
    Up {
        /// Who is there.
        peer: Peer,
        /// Which lane.
        lane: Lane,
        /// The session's name.
        session: SessionId,
    },
    /// It ended.
    Down {
        /// Who was there.
        node: NodeId,
        /// Which lane.
        lane: Lane,
        /// The session's name.
        session: SessionId,
        /// Why.
        reason: DownReason,
    },
    /// A discovery found somebody.
    Discovered {
        /// Which discovery.
        dial: DialId,
        /// Who is there.
        peer: Peer,
        /// Where.
        address: Address,
    },
    /// A discovery found nobody.
    DialFailed {
        /// Which discovery.
        dial: DialId,
        /// Why.
        reason: DownReason,
    },
}

impl LinkEvent {
    /// The node it is about, if it is about one.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        match self {
            Self::Up { peer, .. } | Self::Discovered { peer, .. } => Some(peer.node),
            Self::Down { node, .. } => Some(*node),
            Self::DialFailed { .. } => None,
        }
    }

    /// The lane it is about, if it is about one.
    #[must_use]
    pub const fn lane(&self) -> Option<Lane> {
        match self {
            Self::Up { lane, .. } | Self::Down { lane, .. } => Some(*lane),
            Self::Discovered { .. } | Self::DialFailed { .. } => None,
        }
    }
}

/// The largest bodies a transport takes.
///
/// # Examples
/// ```
/// use quorate_transport::{Lane, Limits};
/// let limits = Limits::new(16 << 20, 64 << 10);
/// assert_eq!(limits.body_bytes_max(Lane::Control), 64 << 10);
/// assert_eq!(limits.body_bytes_max(Lane::Bulk), 16 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a body on Data and Bulk.
    pub frame_bytes_max: u32,
    /// Bytes of a body on Control.
    pub control_bytes_max: u32,
    /// Bytes of a datagram's body; 0 if the transport has none.
    pub datagram_bytes_max: u32,
    /// Bytes of a stream the peer may send ahead of what was taken here.
    pub stream_window_bytes: u32,
}

impl Limits {
    /// Limits of a transport without datagrams, with a stream window of 1 MiB.
    #[must_use]
    pub const fn new(frame_bytes_max: u32, control_bytes_max: u32) -> Self {
        let (datagram_bytes_max, stream_window_bytes) = (0, 1 << 20);
        Self { frame_bytes_max, control_bytes_max, datagram_bytes_max, stream_window_bytes }
    }

    /// The same with datagrams of at most this body.
    #[must_use]
    pub const fn with_datagrams(mut self, bytes_max: u32) -> Self {
        self.datagram_bytes_max = bytes_max;
        self
    }

    /// `TooLarge` if a body of `bytes` does not fit a datagram.
    ///
    /// # Errors
    /// [`SendError::Unsupported`] without datagrams, [`SendError::TooLarge`].
    pub fn check_datagram(&self, bytes: usize) -> Result<(), SendError> {
        let max = self.datagram_bytes_max;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        match max {
            0 => Err(SendError::Unsupported),
            _ if bytes > u64::from(max) => Err(SendError::TooLarge { bytes, max }),
            _ => Ok(()),
        }
    }

    /// The limit of one lane.
    #[must_use]
    pub const fn body_bytes_max(&self, lane: Lane) -> u32 {
        match lane {
            Lane::Control => self.control_bytes_max,
            Lane::Data | Lane::Bulk => self.frame_bytes_max,
        }
    }

    /// `TooLarge` if a body of `bytes` does not fit the lane.
    ///
    /// # Errors
    /// [`SendError::TooLarge`].
    pub fn check(&self, lane: Lane, bytes: usize) -> Result<(), SendError> {
        let max = self.body_bytes_max(lane);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if bytes > u64::from(max) { Err(SendError::TooLarge { bytes, max }) } else { Ok(()) }
    }
}

/// One lane of one peer, now.
///
/// # Examples
/// ```
/// use quorate_transport::LaneStatus;
/// assert_eq!(LaneStatus::default().session, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStatus {
    /// The session, if one is up.
    pub session: Option<SessionId>,
    /// The life of the peer the session talks to.
    pub incarnation: Option<Incarnation>,
    /// Bytes accepted and not yet given to the kernel.
    pub queued_bytes: u64,
    /// Bytes given to the kernel since the transport began; never falls.
    pub written_bytes: u64,
    /// Why the last dial of this lane failed; `None` once one succeeded.
    pub last_failure: Option<DownReason>,
    /// Feature bits both sides announced (FORMAT.md, "Handshake"); 0 without a session or where the
    /// transport has no handshake.
    pub features: u64,
    /// Credit the peer gives per stream; 0 when unknown.
    pub stream_window_bytes: u32,
}

/// Moves frames between nodes. Dyn-compatible; a new transport implements nine methods.
///
/// # Shape
/// Three lanes per peer, each FIFO within a session. A frame accepted by [`send`](Self::send) is
/// delivered at most once and never altered; what was accepted and surely not sent comes back
/// through [`Sink::on_unsent`].
///
/// # Examples
/// ```
/// use quorate_transport::*;
/// use std::sync::Arc;
///
/// struct Print;
/// impl Sink for Print {
///     fn on_frame(&self, from: Peer, _: Lane, _: SessionId, frame: Frame) {
///         assert_eq!((from.node, frame.body.len()), (NodeId::new(1), 2));
///     }
///     fn on_event(&self, _: LinkEvent) {}
///     fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
/// }
/// let network = MemoryNetwork::new();
/// let identity = |n| Identity::new(ClusterId::new(7), NodeId::new(n), Incarnation::new(1));
/// let [a, b] = [1, 2].map(|n| network.node(identity(n)) as Arc<dyn Transport>);
/// a.start(Arc::new(Print))?;
/// b.start(Arc::new(Print))?;
/// a.send(NodeId::new(2), Lane::Data, Frame::message(ChannelId::new(16), &b"hi"[..]))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Transport: Send + Sync + 'static {
    /// Who this node is.
    fn identity(&self) -> Identity;

    /// The largest bodies.
    fn limits(&self) -> Limits;

    /// Names the sink; frames are delivered from here on. Once.
    ///
    /// # Errors
    /// [`StartError`], the second time or when closed.
    fn start(&self, sink: Arc<dyn Sink>) -> Result<(), StartError>;

    /// Replaces the addresses of a node. Address book only: a lane is dialed by the first `send` on
    /// it.
    fn set_peer(&self, node: NodeId, addresses: &[Address]);

    /// Forgets a node and closes its sessions.
    fn remove_peer(&self, node: NodeId);

    /// Accepts one frame for delivery. Never blocks.
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent.
    fn send(&self, to: NodeId, lane: Lane, frame: Frame) -> Result<(), SendError>;

    /// Ready when the lane's queue is below half, or with the error a `send` would give.
    fn poll_ready(
        &self,
        to: NodeId,
        lane: Lane,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>>;

    /// Closes the lane's session; the next `send` dials anew.
    fn reset(&self, to: NodeId, lane: Lane);

    /// Sends what is queued, for a bounded time, then closes everything.
    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// One lane, now.
    fn lane(&self, to: NodeId, lane: Lane) -> LaneStatus {
        let _ = (to, lane);
        LaneStatus::default()
    }

    /// Learns who listens at an address: exactly one `Discovered` or `DialFailed` follows.
    ///
    /// # Errors
    /// [`SendError::Unsupported`] unless the transport can; nothing follows then.
    fn discover(&self, address: &Address) -> Result<DialId, SendError> {
        let _ = address;
        Err(SendError::Unsupported)
    }

    /// Sends one datagram: it may be lost, also where there is no room for it, may come twice where
    /// the network doubles it, and is never retried. A transport may carry it as a message on
    /// Control, where the receiver sees [`Sink::on_frame`].
    ///
    /// # Errors
    /// [`SendError::Unsupported`] unless the transport can; [`SendError::TooLarge`],
    /// [`SendError::UnknownPeer`], [`SendError::SelfAddressed`], [`SendError::Closed`].
    fn send_datagram(&self, to: NodeId, channel: ChannelId, body: &[u8]) -> Result<(), SendError> {
        let _ = (to, channel, body);
        Err(SendError::Unsupported)
    }

    /// Counters and gauges, now.
    fn stats(&self) -> TransportStats {
        TransportStats::default()
    }
}

/// Where a transport delivers. Upcalls never block and never hold a lock across
/// [`Transport::send`].
///
/// # Examples
/// See [`Transport`].
/// ```
/// use quorate_transport::*;
/// struct Quiet;
/// impl Sink for Quiet {
///     fn on_frame(&self, _: Peer, _: Lane, _: SessionId, _: Frame) {}
///     fn on_event(&self, _: LinkEvent) {}
///     fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
/// }
/// Quiet.on_batch_end(); // a default that does nothing
/// ```
pub trait Sink: Send + Sync + 'static {
    /// A frame arrived; between the `Up` and the `Down` of its session.
    fn on_frame(&self, from: Peer, lane: Lane, session: SessionId, frame: Frame);

    /// Frames of one session arrived together, in order: as [`on_frame`](Self::on_frame) for each.
    /// A transport that has several at hand saves its sink the work per burst.
    fn on_frames(
        &self,
        from: Peer,
        lane: Lane,
        session: SessionId,
        frames: &mut dyn Iterator<Item = Frame>,
    ) {
        frames.for_each(|frame| self.on_frame(from, lane, session, frame));
    }

    /// A datagram arrived.
    fn on_datagram(&self, from: Peer, channel: ChannelId, body: Bytes) {
        let _ = (from, channel, body);
    }

    /// A link changed.
    fn on_event(&self, event: LinkEvent);

    /// Frames that were accepted and surely never sent.
    fn on_unsent(&self, to: NodeId, lane: Lane, frames: &mut dyn Iterator<Item = Frame>);

    /// After each burst of frames: the time to wake components, once.
    fn on_batch_end(&self) {}
}
