//! [`Channel`]: the messages and calls of one component.

use crate::endpoint::Core;
use crate::inbox::{Inbox, Item};
use crate::{
    Body, CallOptions, ChannelId, ChannelStats, Codec, Lane, LinkEvent, NodeId, Peer, Reply,
    Responder, SendError, TypedChannel,
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
    /// A call that wants an answer.
    Call {
        /// From whom.
        from: Peer,
        /// The payload.
        body: Bytes,
        /// Answers it.
        reply: Responder,
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

    /// See [`ChannelSender::call`].
    pub fn call(&self, to: NodeId, body: impl Into<Body>, options: CallOptions) -> Reply {
        self.sender.call(to, body, options)
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
        let payload = self.options.body_check == BodyCheck::Payload;
        self.core.send_message(self.channel, payload, to, lane, body.into())
    }

    /// Calls a node, perhaps this one, and gives the future of its answer. The call is on its way
    /// when this returns, polled or not.
    ///
    /// # Cost
    /// No allocation in steady state: slots are reused.
    pub fn call(&self, to: NodeId, body: impl Into<Body>, options: CallOptions) -> Reply {
        let payload = self.options.body_check == BodyCheck::Payload;
        self.core.call(self.channel, payload, to, body.into(), options)
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
            Item::Link(event) => Some(Inbound::Link(event)),
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
