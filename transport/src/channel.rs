//! [`Channel`]: the messages and calls of one component.

use crate::endpoint::{CallRequest, Core};
use crate::inbox::{Inbox, Item};
use crate::{
    Body, CallOptions, ChannelId, ChannelStats, Codec, IdempotentCaller, Lane, LinkEvent, NodeId,
    Peer, RecvStream, Reply, ReplySet, Responder, SendError, SendStream, SessionKey, StreamOptions,
    TypedChannel,
};
use bytes::Bytes;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What protects the bodies of a channel against alteration between the two kernels.
///
/// # Examples
/// ```
/// use quorate_transport::{BodyCheck, ChannelOptions};
/// let options = ChannelOptions::new().body_check(BodyCheck::Payload);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyCheck {
    /// A CRC-32 per frame.
    Frame,
    /// The payload has its own: none per frame.
    Payload,
}

/// How a channel is opened.
///
/// # Examples
/// ```
/// use quorate_transport::ChannelOptions;
/// let options = ChannelOptions::new().links(true);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ChannelOptions {
    pub(crate) links: bool,
    pub(crate) body_check: BodyCheck,
}

impl ChannelOptions {
    /// No link events, a CRC per frame.
    pub const fn new() -> Self {
        Self { links: false, body_check: BodyCheck::Frame }
    }

    /// Whether [`Inbound::Link`] is delivered. Default no.
    pub const fn links(mut self, yes: bool) -> Self {
        self.links = yes;
        self
    }

    /// Who checks bodies. Default [`BodyCheck::Frame`].
    pub const fn body_check(mut self, check: BodyCheck) -> Self {
        self.body_check = check;
        self
    }
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a component receives.
///
/// # Examples
/// ```
/// use quorate_transport::Inbound;
///
/// fn handle(inbound: Inbound) {
///     match inbound {
///         Inbound::Message { from, body, .. } => println!("{} sent {body:?}", from.node),
///         Inbound::Call { body, reply, .. } => drop(reply.reply(body)),
///         other => println!("{other:?}"),
///     }
/// }
/// # let _ = handle;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Inbound {
    /// A one-way message.
    Message {
        /// From whom.
        from: Peer,
        /// On which lane.
        lane: Lane,
        /// The payload.
        body: Bytes,
    },
    /// A datagram.
    Datagram {
        /// From whom.
        from: Peer,
        /// The payload.
        body: Bytes,
    },
    /// A call that wants an answer.
    Call {
        /// From whom.
        from: Peer,
        /// The payload.
        body: Bytes,
        /// Answers it.
        reply: Responder,
    },
    /// A byte stream.
    Stream {
        /// From whom.
        from: Peer,
        /// Receives it.
        stream: RecvStream,
    },
    /// A link changed; only with [`ChannelOptions::links`], at most two waiting per lane.
    Link(LinkEvent),
}

/// The channel of one component: sends, calls, receives.
///
/// # Cancel safety
/// Dropping it closes the channel; calls still queued in it are rejected as `NoHandler`.
///
/// # Examples
/// ```
/// # #[cfg(feature = "tokio")] {
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use quorate_transport::*;
/// use std::time::Duration;
///
/// let network = MemoryNetwork::new();
/// let start = |n| {
///     let id = Identity::new(ClusterId::new(7), NodeId::new(n), Incarnation::new(1));
///     Endpoint::start(network.node(id), EndpointConfig::default())
/// };
/// let (a, b) = (start(1)?, start(2)?);
/// let id = ChannelId::new(16);
/// let mut server = b.channel(id, ChannelOptions::new())?;
/// let client = a.channel(id, ChannelOptions::new())?;
///
/// let answer = client.call(NodeId::new(2), b"ping", CallOptions::within(Duration::from_secs(1)));
/// let Some(Inbound::Call { body, reply, .. }) = server.recv().await else { panic!() };
/// assert_eq!(&body[..], b"ping");
/// reply.reply(b"pong")?;
/// assert_eq!(&answer.await?[..], b"pong");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap() }
/// ```
#[derive(Debug)]
pub struct Channel {
    sender: ChannelSender,
    receiver: ChannelReceiver,
}

impl Channel {
    pub(crate) const fn new(sender: ChannelSender, receiver: ChannelReceiver) -> Self {
        Self { sender, receiver }
    }

    /// The two halves. The channel is closed when the receiver is dropped.
    #[must_use]
    pub fn split(self) -> (ChannelSender, ChannelReceiver) {
        (self.sender, self.receiver)
    }

    /// The same channel speaking values: messages and requests of `Q`, answers of `R`.
    #[must_use]
    pub fn typed<Q, R, C: Codec<Q> + Codec<R>>(self, codec: C) -> TypedChannel<Q, R, C> {
        TypedChannel::new(self, codec)
    }

    /// See [`ChannelSender::send`].
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent.
    pub fn send(&self, to: NodeId, lane: Lane, body: impl Into<Body>) -> Result<(), SendError> {
        self.sender.send(to, lane, body)
    }

    /// See [`ChannelSender::send_datagram`].
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent.
    pub fn send_datagram(&self, to: NodeId, body: &[u8]) -> Result<(), SendError> {
        self.sender.send_datagram(to, body)
    }

    /// See [`ChannelSender::call`].
    pub fn call(&self, to: NodeId, body: impl Into<Body>, options: CallOptions) -> Reply {
        self.sender.call(to, body, options)
    }

    /// See [`ChannelSender::call_all`].
    pub fn call_all(&self, to: &[NodeId], body: impl Into<Body>, options: CallOptions) -> ReplySet {
        self.sender.call_all(to, body, options)
    }

    /// See [`ChannelSender::idempotent`].
    #[must_use]
    pub fn idempotent(&self, session: SessionKey) -> IdempotentCaller {
        self.sender.idempotent(session)
    }

    /// See [`ChannelSender::open_stream`].
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent.
    pub fn open_stream(
        &self,
        to: NodeId,
        head: Bytes,
        options: StreamOptions,
    ) -> Result<SendStream, SendError> {
        self.sender.open_stream(to, head, options)
    }

    /// See [`ChannelReceiver::recv`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Inbound> {
        self.receiver.recv().await
    }

    /// See [`ChannelReceiver::try_recv`].
    pub fn try_recv(&mut self) -> Option<Inbound> {
        self.receiver.try_recv()
    }

    /// See [`ChannelReceiver::poll_recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        self.receiver.poll_recv(cx)
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        self.receiver.stats()
    }
}

/// The sending half of a [`Channel`]; clones share it.
///
/// # Examples
/// ```
/// use quorate_transport::{Channel, ChannelSender, Lane, NodeId, SendError};
///
/// fn heartbeat(sender: &ChannelSender, peers: &[NodeId]) {
///     for peer in peers {
///         let _: Result<(), SendError> = sender.send(*peer, Lane::Control, b"alive");
///     }
/// }
/// # let _ = heartbeat;
/// ```
#[derive(Clone)]
pub struct ChannelSender {
    core: Arc<Core>,
    channel: ChannelId,
    options: ChannelOptions,
}

impl ChannelSender {
    pub(crate) const fn new(core: Arc<Core>, channel: ChannelId, options: ChannelOptions) -> Self {
        Self { core, channel, options }
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Sends one message: delivered at most once, in order within the lane's session.
    ///
    /// # Cost
    /// No allocation besides the body; up to 16 KiB on an idle TCP lane are written right here.
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent. `SelfAddressed` for this node itself.
    pub fn send(&self, to: NodeId, lane: Lane, body: impl Into<Body>) -> Result<(), SendError> {
        self.core.send_message(self.channel, self.payload_checked(), to, lane, body.into())
    }

    /// Sends one datagram: the network may lose, reorder or double it, not alter it.
    ///
    /// # Shape
    /// At most [`Limits::datagram_bytes_max`](crate::Limits) bytes. A transport that carries
    /// datagrams over the Control lane delivers them as [`Inbound::Message`].
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent. `Unsupported` if the transport has no datagrams.
    pub fn send_datagram(&self, to: NodeId, body: &[u8]) -> Result<(), SendError> {
        self.core.send_datagram(self.channel, to, body)
    }

    /// Calls a node, perhaps this one, and gives the future of its answer. The call is on its way
    /// when this returns, polled or not.
    ///
    /// # Cost
    /// No allocation in steady state: slots are reused.
    pub fn call(&self, to: NodeId, body: impl Into<Body>, options: CallOptions) -> Reply {
        self.core.call(self.request(to, body.into(), options))
    }

    /// Calls several nodes at once, perhaps this one among them; a node named twice is called once.
    ///
    /// # Cost
    /// The body is shared, not copied.
    pub fn call_all(&self, to: &[NodeId], body: impl Into<Body>, options: CallOptions) -> ReplySet {
        let body = body.into();
        let mut nodes: Vec<NodeId> = Vec::with_capacity(to.len());
        nodes.extend(to);
        nodes.sort_unstable();
        nodes.dedup();
        let call = |node| (node, self.core.call(self.request(node, body.clone(), options)));
        ReplySet::new(nodes.into_iter().map(call).collect())
    }

    /// A caller whose calls may be retried and are executed at most once. One per key.
    #[must_use]
    pub fn idempotent(&self, session: SessionKey) -> IdempotentCaller {
        IdempotentCaller::new(self.core.clone(), self.channel, session)
    }

    /// Opens a byte stream on the Bulk lane. `head`, up to 64 KiB, says what it is.
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent. `Full` if 16 streams to the node are open.
    pub fn open_stream(
        &self,
        to: NodeId,
        head: Bytes,
        options: StreamOptions,
    ) -> Result<SendStream, SendError> {
        self.core.open_stream(self.channel, self.payload_checked(), to, head, options)
    }

    fn payload_checked(&self) -> bool {
        self.options.body_check == BodyCheck::Payload
    }

    fn request(&self, to: NodeId, body: Body, options: CallOptions) -> CallRequest {
        let (channel, payload_checked) = (self.channel, self.payload_checked());
        CallRequest { channel, payload_checked, to, body, options, prefix: None }
    }

    /// Ready when the lane to `to` has room, or with the error a `send` would give.
    ///
    /// # Errors
    /// As [`Transport::poll_ready`](crate::Transport::poll_ready).
    pub fn poll_ready(
        &self,
        to: NodeId,
        lane: Lane,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        self.core.transport().poll_ready(to, lane, cx)
    }
}

impl fmt::Debug for ChannelSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSender").field("channel", &self.channel).finish_non_exhaustive()
    }
}

/// The receiving half of a [`Channel`].
///
/// # Examples
/// ```
/// use quorate_transport::{ChannelReceiver, Inbound};
///
/// async fn serve(mut receiver: ChannelReceiver) {
///     while let Some(inbound) = receiver.recv().await {
///         if let Inbound::Call { body, reply, .. } = inbound {
///             let _ = reply.reply(body);
///         }
///     }
/// }
/// # let _ = serve;
/// ```
pub struct ChannelReceiver {
    core: Arc<Core>,
    inbox: Arc<Inbox>,
}

impl ChannelReceiver {
    pub(crate) const fn new(core: Arc<Core>, inbox: Arc<Inbox>) -> Self {
        Self { core, inbox }
    }

    /// The next input; `None` once the endpoint is shut down.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Inbound> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next input, if one waits.
    ///
    /// # Cost
    /// One uncontended lock.
    pub fn try_recv(&mut self) -> Option<Inbound> {
        while let Some(item) = self.inbox.pop() {
            if let Some(inbound) = self.open(item) {
                return Some(inbound);
            }
        }
        None
    }

    /// The next input, or `Pending` and the task is woken when one comes.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        loop {
            match self.inbox.poll_pop(cx) {
                Poll::Ready(Some(item)) => {
                    if let Some(inbound) = self.open(item) {
                        return Poll::Ready(Some(inbound));
                    }
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        self.inbox.stats()
    }

    fn open(&self, item: Item) -> Option<Inbound> {
        match item {
            Item::Message { from, lane, body } => Some(Inbound::Message { from, lane, body }),
            Item::Datagram { from, body } => Some(Inbound::Datagram { from, body }),
            Item::Link(event) => Some(Inbound::Link(event)),
            Item::Stream { from, id, head } => {
                let peer = self.core.known(from.node)?;
                let stream = RecvStream::new(self.core.clone(), peer, from, id, head);
                Some(Inbound::Stream { from, stream })
            }
            Item::Call { call, body } => {
                if !self.core.take_call(&call) {
                    return None;
                }
                let from = call.from();
                let reply = Responder::new(self.core.clone(), call);
                Some(Inbound::Call { from, body, reply })
            }
        }
    }
}

impl Drop for ChannelReceiver {
    fn drop(&mut self) {
        self.core.close_channel(&self.inbox);
    }
}

impl fmt::Debug for ChannelReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelReceiver").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}
