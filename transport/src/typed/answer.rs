//! The two ends of a typed call's answer.

use super::{TypedCallError, TypedSendError, decode, encode};
use crate::codec::{Codec, CodecError};
use crate::{Reply, Responder};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Answers one typed call, once. Dropped without an answer it tells the caller
/// `MaybeExecuted(Abandoned)`.
///
/// # Examples
/// ```
/// use quorate_transport::{Codec, TypedResponder};
///
/// fn answer<C: Codec<String>>(reply: TypedResponder<String, C>) {
///     if reply.is_cancelled() {
///         return; // nobody waits any more
///     }
///     let _ = reply.reply(&"done".to_string());
/// }
/// # let _ = answer::<quorate_transport::Postcard>;
/// ```
#[must_use = "dropping it answers MaybeExecuted(Abandoned)"]
pub struct TypedResponder<R, C> {
    inner: Responder,
    codec: Arc<C>,
    types: PhantomData<fn(R)>,
}

impl<R, C: Codec<R>> TypedResponder<R, C> {
    pub(super) const fn new(inner: Responder, codec: Arc<C>) -> Self {
        Self { inner, codec, types: PhantomData }
    }

    /// When the caller gives up, by this node's clock.
    #[must_use]
    pub fn deadline(&self) -> Monotonic {
        self.inner.deadline()
    }

    /// Whether the caller gave up, or the session of the call ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }

    /// See [`Responder::cancelled`].
    ///
    /// # Cancel safety
    /// Dropping it forgets the wait, nothing else.
    pub async fn cancelled(&self) {
        self.inner.cancelled().await;
    }

    /// Sends the answer.
    ///
    /// # Errors
    /// [`TypedSendError`]: the caller then learns `MaybeExecuted`.
    pub fn reply(mut self, answer: &R) -> Result<(), TypedSendError> {
        self.try_reply(answer)
    }

    /// As [`reply`](Self::reply), but a value that cannot be encoded or is too large leaves the
    /// call unanswered: see [`Responder::try_reply`].
    ///
    /// # Errors
    /// [`TypedSendError`].
    pub fn try_reply(&mut self, answer: &R) -> Result<(), TypedSendError> {
        let body = encode(&*self.codec, answer)?;
        Ok(self.inner.try_reply(body)?)
    }

    /// Tells the caller that the call was *not* executed. A detail longer than 1 KiB is cut; the
    /// code [`CodecError::REJECT_CODE`] is taken.
    pub fn reject(self, code: u16, detail: Bytes) {
        self.inner.reject(code, detail);
    }
}

impl<R, C> fmt::Debug for TypedResponder<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedResponder").field(&self.inner).finish()
    }
}

/// The future of a typed call's answer.
///
/// # Cancel safety
/// As with [`Reply`]: dropping it frees the slot and tells the callee.
///
/// # Errors
/// Resolves to [`TypedCallError`].
///
/// # Examples
/// See [`TypedChannel`](crate::TypedChannel).
/// ```
/// use quorate_transport::{Codec, TypedReply};
///
/// fn is_a_future<C: Codec<u64>>(
///     reply: TypedReply<u64, C>,
/// ) -> impl Future<Output: Send> + Unpin + Send {
///     reply
/// }
/// # let _ = is_a_future::<quorate_transport::Postcard>;
/// ```
#[must_use = "dropping the future cancels the call"]
pub struct TypedReply<R, C> {
    state: State,
    codec: Arc<C>,
    types: PhantomData<fn() -> R>,
}

#[derive(Debug)]
enum State {
    NotEncoded(Option<CodecError>),
    Sent(Reply),
}

impl<R, C> TypedReply<R, C> {
    pub(super) const fn sent(reply: Reply, codec: Arc<C>) -> Self {
        Self { state: State::Sent(reply), codec, types: PhantomData }
    }

    pub(super) const fn not_encoded(error: CodecError, codec: Arc<C>) -> Self {
        Self { state: State::NotEncoded(Some(error)), codec, types: PhantomData }
    }
}

impl<R, C: Codec<R>> Future for TypedReply<R, C> {
    type Output = Result<R, TypedCallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let body = match &mut self.state {
            State::NotEncoded(error) => match error.take() {
                Some(error) => return Poll::Ready(Err(TypedCallError::Request(error))),
                None => return Poll::Pending,
            },
            State::Sent(reply) => ready!(Pin::new(reply).poll(cx))?,
        };
        Poll::Ready(decode::<R, C>(&self.codec, &body).map_err(TypedCallError::Answer))
    }
}

impl<R, C> fmt::Debug for TypedReply<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedReply").field(&self.state).finish()
    }
}
