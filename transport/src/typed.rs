//! [`TypedChannel`]: a channel that speaks values instead of bytes.

mod answer;
mod error;

pub use self::answer::{TypedReply, TypedResponder};
pub use self::error::{TypedCallError, TypedSendError};

use crate::codec::{Codec, CodecError};
use crate::{
    Body, CallOptions, Channel, ChannelReceiver, ChannelSender, ChannelStats, Inbound, Lane,
    NodeId, Peer,
};
use bytes::Bytes;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What a component with a typed channel receives.
///
/// # Examples
/// ```
/// use quorate_transport::{Codec, TypedInbound};
///
/// fn handle<C: Codec<u64>>(inbound: TypedInbound<u64, u64, C>) {
///     match inbound {
///         TypedInbound::Message { from, value, .. } => println!("{} sent {value}", from.node),
///         TypedInbound::Call { value, reply, .. } => drop(reply.reply(&(value + 1))),
///         TypedInbound::Undecodable { from, error, .. } => println!("{}: {error}", from.node),
///         other => println!("{other:?}"),
///     }
/// }
/// # let _ = handle::<quorate_transport::Postcard>;
/// ```
#[non_exhaustive]
pub enum TypedInbound<Q, R, C> {
    /// A one-way message.
    Message {
        /// From whom.
        from: Peer,
        /// On which lane.
        lane: Lane,
        /// What it says.
        value: Q,
    },
    /// A call that wants an answer.
    Call {
        /// From whom.
        from: Peer,
        /// What it asks.
        value: Q,
        /// Answers it.
        reply: TypedResponder<R, C>,
    },
    /// A one-way message that is not a `Q` in this codec.
    Undecodable {
        /// From whom.
        from: Peer,
        /// On which lane.
        lane: Lane,
        /// As it came, codec id included.
        body: Bytes,
        /// What is wrong with it.
        error: CodecError,
    },
    /// Anything that has no typed form, untouched.
    Other(Inbound),
}

impl<Q: fmt::Debug, R, C> fmt::Debug for TypedInbound<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { from, lane, value } => f
                .debug_struct("Message")
                .field("from", from)
                .field("lane", lane)
                .field("value", value)
                .finish(),
            Self::Call { from, value, .. } => f
                .debug_struct("Call")
                .field("from", from)
                .field("value", value)
                .finish_non_exhaustive(),
            Self::Undecodable { from, error, .. } => f
                .debug_struct("Undecodable")
                .field("from", from)
                .field("error", error)
                .finish_non_exhaustive(),
            Self::Other(inbound) => f.debug_tuple("Other").field(inbound).finish(),
        }
    }
}

/// A [`Channel`] whose messages and requests are values of `Q`, and answers values of `R`.
///
/// Every body is one byte, the codec's id, and the encoded value; a body of another codec is
/// refused, not misread. Made by [`Channel::typed`].
///
/// A call that cannot be decoded never reaches the component: it is answered with
/// `Rejected(Application)`, code [`CodecError::REJECT_CODE`], and counted by
/// [`undecodable`](Self::undecodable). A message that cannot be decoded is given to the component
/// as [`TypedInbound::Undecodable`].
///
/// # Cancel safety
/// Dropping it closes the channel, as with [`Channel`].
///
/// # Examples
/// ```
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
/// let open = |endpoint: &Endpoint| {
///     let channel = endpoint.channel(ChannelId::new(16), ChannelOptions::new())?;
///     Ok::<_, OpenError>(channel.typed::<(String, u32), String, _>(Postcard))
/// };
/// let (client, mut server) = (open(&a)?, open(&b)?);
///
/// let options = CallOptions::within(Duration::from_secs(1));
/// let answer = client.call(NodeId::new(2), &("ab".into(), 3), options);
/// let Some(TypedInbound::Call { value: (text, times), reply, .. }) = server.recv().await else {
///     panic!()
/// };
/// reply.reply(&text.repeat(times as usize))?;
/// assert_eq!(answer.await?, "ababab");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap()
/// ```
pub struct TypedChannel<Q, R, C> {
    sender: TypedSender<Q, R, C>,
    receiver: TypedReceiver<Q, R, C>,
}

impl<Q, R, C: Codec<Q> + Codec<R>> TypedChannel<Q, R, C> {
    pub(crate) fn new(channel: Channel, codec: C) -> Self {
        let (sender, receiver) = channel.split();
        let codec = Arc::new(codec);
        Self {
            sender: TypedSender { inner: sender, codec: codec.clone(), types: PhantomData },
            receiver: TypedReceiver { inner: receiver, codec, undecodable: 0, types: PhantomData },
        }
    }

    /// The two halves. The channel is closed when the receiver is dropped.
    #[must_use]
    pub fn split(self) -> (TypedSender<Q, R, C>, TypedReceiver<Q, R, C>) {
        (self.sender, self.receiver)
    }

    /// See [`TypedSender::send`].
    ///
    /// # Errors
    /// [`TypedSendError`]: nothing was sent.
    pub fn send(&self, to: NodeId, lane: Lane, value: &Q) -> Result<(), TypedSendError> {
        self.sender.send(to, lane, value)
    }

    /// See [`TypedSender::call`].
    pub fn call(&self, to: NodeId, request: &Q, options: CallOptions) -> TypedReply<R, C> {
        self.sender.call(to, request, options)
    }

    /// See [`TypedReceiver::recv`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<TypedInbound<Q, R, C>> {
        self.receiver.recv().await
    }

    /// See [`TypedReceiver::try_recv`].
    pub fn try_recv(&mut self) -> Option<TypedInbound<Q, R, C>> {
        self.receiver.try_recv()
    }

    /// See [`TypedReceiver::poll_recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<TypedInbound<Q, R, C>>> {
        self.receiver.poll_recv(cx)
    }

    /// See [`TypedReceiver::undecodable`].
    #[must_use]
    pub const fn undecodable(&self) -> u64 {
        self.receiver.undecodable
    }

    /// Counters and gauges of the channel below.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        self.receiver.inner.stats()
    }
}

impl<Q, R, C> fmt::Debug for TypedChannel<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedChannel").field("sender", &self.sender).finish_non_exhaustive()
    }
}

/// The sending half of a [`TypedChannel`]; clones share it.
///
/// # Examples
/// ```
/// use quorate_transport::{Codec, Lane, NodeId, TypedSender};
///
/// fn heartbeat<R, C: Codec<u64> + Codec<R>>(sender: &TypedSender<u64, R, C>, peers: &[NodeId]) {
///     for peer in peers {
///         let _ = sender.send(*peer, Lane::Control, &7);
///     }
/// }
/// # let _ = heartbeat::<u64, quorate_transport::Postcard>;
/// ```
pub struct TypedSender<Q, R, C> {
    inner: ChannelSender,
    codec: Arc<C>,
    types: PhantomData<fn(Q) -> R>,
}

impl<Q, R, C: Codec<Q> + Codec<R>> TypedSender<Q, R, C> {
    /// Sends one value: delivered at most once, in order within the lane's session.
    ///
    /// # Cost
    /// One allocation, for the body.
    ///
    /// # Errors
    /// [`TypedSendError`]: nothing was sent.
    pub fn send(&self, to: NodeId, lane: Lane, value: &Q) -> Result<(), TypedSendError> {
        let body = encode(&*self.codec, value)?;
        Ok(self.inner.send(to, lane, body)?)
    }

    /// Calls a node, perhaps this one, and gives the future of its answer. The call is on its way
    /// when this returns, polled or not.
    ///
    /// # Cost
    /// One allocation, for the body.
    pub fn call(&self, to: NodeId, request: &Q, options: CallOptions) -> TypedReply<R, C> {
        let codec = self.codec.clone();
        match encode(&*codec, request) {
            Ok(body) => TypedReply::sent(self.inner.call(to, body, options), codec),
            Err(error) => TypedReply::not_encoded(error, codec),
        }
    }
}

impl<Q, R, C> Clone for TypedSender<Q, R, C> {
    fn clone(&self) -> Self {
        let (inner, codec) = (self.inner.clone(), self.codec.clone());
        Self { inner, codec, types: PhantomData }
    }
}

impl<Q, R, C> fmt::Debug for TypedSender<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedSender").field(&self.inner).finish()
    }
}

/// The receiving half of a [`TypedChannel`].
///
/// # Examples
/// ```
/// use quorate_transport::{Codec, TypedInbound, TypedReceiver};
///
/// async fn serve<C: Codec<u64>>(mut receiver: TypedReceiver<u64, u64, C>) {
///     while let Some(inbound) = receiver.recv().await {
///         if let TypedInbound::Call { value, reply, .. } = inbound {
///             let _ = reply.reply(&(value * 2));
///         }
///     }
/// }
/// # let _ = serve::<quorate_transport::Postcard>;
/// ```
pub struct TypedReceiver<Q, R, C> {
    inner: ChannelReceiver,
    codec: Arc<C>,
    undecodable: u64,
    types: PhantomData<fn(Q) -> R>,
}

impl<Q, R, C: Codec<Q> + Codec<R>> TypedReceiver<Q, R, C> {
    /// The next input; `None` once the endpoint is shut down.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<TypedInbound<Q, R, C>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next input, if one waits.
    pub fn try_recv(&mut self) -> Option<TypedInbound<Q, R, C>> {
        loop {
            let inbound = self.inner.try_recv()?;
            if let Some(typed) = self.open(inbound) {
                return Some(typed);
            }
        }
    }

    /// The next input, or `Pending` and the task is woken when one comes.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<TypedInbound<Q, R, C>>> {
        loop {
            let Some(inbound) = ready!(self.inner.poll_recv(cx)) else { return Poll::Ready(None) };
            if let Some(typed) = self.open(inbound) {
                return Poll::Ready(Some(typed));
            }
        }
    }

    /// Messages and calls so far that were not a `Q` in this codec.
    #[must_use]
    pub const fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// `None` for a call that was answered right here.
    fn open(&mut self, inbound: Inbound) -> Option<TypedInbound<Q, R, C>> {
        match inbound {
            Inbound::Message { from, lane, body } => {
                Some(match decode::<Q, C>(&self.codec, &body) {
                    Ok(value) => TypedInbound::Message { from, lane, value },
                    Err(error) => {
                        self.undecodable += 1;
                        TypedInbound::Undecodable { from, lane, body, error }
                    }
                })
            }
            Inbound::Call { from, body, reply } => match decode::<Q, C>(&self.codec, &body) {
                Ok(value) => {
                    let reply = TypedResponder::new(reply, self.codec.clone());
                    Some(TypedInbound::Call { from, value, reply })
                }
                Err(error) => {
                    self.undecodable += 1;
                    reply.reject(CodecError::REJECT_CODE, error.to_string().into());
                    None
                }
            },
            other => Some(TypedInbound::Other(other)),
        }
    }
}

impl<Q, R, C> fmt::Debug for TypedReceiver<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedReceiver").field(&self.inner).finish()
    }
}

fn encode<T, C: Codec<T>>(codec: &C, value: &T) -> Result<Body, CodecError> {
    let mut out = vec![C::ID];
    codec.encode(value, &mut out)?;
    Ok(out.into())
}

fn decode<T, C: Codec<T>>(codec: &C, body: &Bytes) -> Result<T, CodecError> {
    match body.first() {
        Some(found) if *found == C::ID => codec.decode(&body.slice(1..)),
        Some(found) => Err(CodecError::WrongCodec { expected: C::ID, found: *found }),
        None => Err(CodecError::Malformed { offset: 0 }),
    }
}
