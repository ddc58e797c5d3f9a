//! [`Responder`]: the one answer of a call that came in.

use crate::Body;
use crate::endpoint::Core;
use crate::mux::{ABANDONED, APPLICATION};
use crate::{InboundCall, SendError};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// Longest detail of a reject, in bytes.
pub(crate) const REJECT_DETAIL_MAX: u32 = 1024;

/// Answers one call, once. Dropped without an answer, also by a panic, it tells the caller
/// `MaybeExecuted(Abandoned)`. // H38
///
/// # Examples
/// See [`Inbound`](crate::Inbound).
/// ```
/// fn answer(reply: quorate_transport::Responder) {
///     if reply.is_cancelled() {
///         return; // nobody waits any more
///     }
///     let _ = reply.reply(b"done");
/// }
/// # let _ = answer;
/// ```
#[must_use = "dropping it answers MaybeExecuted(Abandoned)"]
pub struct Responder {
    core: Arc<Core>,
    call: Arc<InboundCall>,
    answered: bool,
}

impl Responder {
    pub(crate) const fn new(core: Arc<Core>, call: Arc<InboundCall>) -> Self {
        Self { core, call, answered: false }
    }

    /// When the caller gives up, by this node's clock.
    #[must_use]
    pub fn deadline(&self) -> Monotonic {
        self.call.deadline()
    }

    /// Whether the caller gave up, or the session of the call ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.call.is_revoked()
    }

    /// Waits until the caller gives up or the session of the call ends. One task at a time: the
    /// last one that polled is woken.
    ///
    /// # Cancel safety
    /// Dropping it forgets the wait, nothing else.
    pub async fn cancelled(&self) {
        poll_fn(|cx| if self.call.register(cx.waker()) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// Sends the answer.
    ///
    /// # Errors
    /// [`SendError::Disconnected`] if nobody waits for it any more; else as
    /// [`Transport::send`](crate::Transport::send). The caller then learns `MaybeExecuted`: told so
    /// if the answer was too large, else by itself.
    pub fn reply(mut self, body: impl Into<Body>) -> Result<(), SendError> {
        self.try_reply(body) // too large: dropped without an answer
    }

    /// As [`reply`](Self::reply), but after [`SendError::TooLarge`] the call is still unanswered: a
    /// smaller answer may follow, or a reject.
    ///
    /// # Errors
    /// As [`reply`](Self::reply); [`SendError::Disconnected`] also after an answer was sent.
    pub fn try_reply(&mut self, body: impl Into<Body>) -> Result<(), SendError> {
        if self.answered {
            return Err(SendError::Disconnected);
        }
        let sent = self.core.answer(&self.call, body.into());
        self.answered = !matches!(sent, Err(SendError::TooLarge { .. }));
        sent
    }

    /// Tells the caller that the call was *not* executed. A detail longer than 1 KiB is cut.
    pub fn reject(mut self, code: u16, mut detail: Bytes) {
        if std::mem::replace(&mut self.answered, true) {
            return; // what was answered stays
        }
        detail.truncate(usize::try_from(REJECT_DETAIL_MAX).unwrap_or(usize::MAX));
        self.core.reject(&self.call, APPLICATION + u32::from(code), detail);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            self.core.reject(&self.call, ABANDONED, Bytes::new());
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("call", &self.call).finish_non_exhaustive()
    }
}
