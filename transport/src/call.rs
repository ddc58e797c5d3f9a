//! Calls as their caller sees them: options, the future of the answer, the three kinds of failure.

use crate::endpoint::{Core, PeerEntry};
use crate::{CallId, Incarnation, Lane, NodeId, SendError};
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How a call is made.
///
/// # Examples
/// ```
/// use quorate_transport::{CallOptions, Lane};
/// use std::time::Duration;
/// let options = CallOptions::within(Duration::from_secs(2)).lane(Lane::Bulk);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct CallOptions {
    pub(crate) within: Duration,
    pub(crate) lane: Lane,
}

impl CallOptions {
    /// Wants the answer within `d`, at most the endpoint's `deadline_max`; on the Data lane.
    pub const fn within(d: Duration) -> Self {
        Self { within: d, lane: Lane::Data }
    }

    /// On another lane.
    pub const fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }
}

/// Why the callee did not execute a call.
///
/// # Examples
/// ```
/// use quorate_transport::Reject;
/// assert_eq!(Reject::NoHandler.to_string(), "nobody serves the channel");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reject {
    /// Its inbox or call table was full.
    Overloaded,
    /// Nobody opened the channel there, or the callee does not know this kind of call.
    NoHandler,
    /// The deadline had passed before a component took the call.
    Expired,
    /// The component said so.
    Application {
        /// Its own number.
        code: u16,
        /// Its own detail, at most 1 KiB.
        detail: Bytes,
    },
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => f.write_str("callee is overloaded"),
            Self::NoHandler => f.write_str("nobody serves the channel"),
            Self::Expired => f.write_str("deadline passed before the call was taken"),
            Self::Application { code, detail } => {
                write!(f, "application code {code} with {} bytes of detail", detail.len())
            }
        }
    }
}

/// Why the outcome of a call is not known.
///
/// # Examples
/// ```
/// use quorate_transport::Cause;
/// assert_eq!(Cause::Deadline.to_string(), "no answer within the deadline");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// No answer in time.
    Deadline,
    /// The session ended after the call was sent.
    Disconnected,
    /// This endpoint was shut down meanwhile.
    Cancelled,
    /// The callee's responder was dropped without an answer. // H38
    Abandoned,
    /// The callee restarted since the first try.
    Restarted,
    /// The callee no longer remembers.
    Forgotten,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "no answer within the deadline",
            Self::Disconnected => "session ended before the answer",
            Self::Cancelled => "endpoint was shut down",
            Self::Abandoned => "callee dropped the call unanswered",
            Self::Restarted => "callee restarted since the first try",
            Self::Forgotten => "callee forgot the call",
        })
    }
}

/// A call whose handler may or may not have run. Not an error that reads like "failed".
///
/// # Examples
/// ```
/// use quorate_transport::{Cause, Incarnation, MaybeExecuted, NodeId};
/// let maybe = MaybeExecuted::new(Cause::Deadline, NodeId::new(2), Incarnation::new(7));
/// assert_eq!(maybe.to_string(), "node 2 may have executed it: no answer within the deadline");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct MaybeExecuted {
    /// Why it is not known.
    pub cause: Cause,
    /// Who may have executed it.
    pub peer: NodeId,
    /// The life of it that was last heard of; 0 if none was.
    pub incarnation: Incarnation,
}

impl MaybeExecuted {
    /// From its parts.
    pub const fn new(cause: Cause, peer: NodeId, incarnation: Incarnation) -> Self {
        Self { cause, peer, incarnation }
    }
}

impl fmt::Display for MaybeExecuted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} may have executed it: {}", self.peer, self.cause)
    }
}

/// A call without a reply.
///
/// # Examples
/// ```
/// use quorate_transport::{CallError, Reject, SendError};
/// assert!(CallError::NotSent(SendError::Full).is_definite());
/// assert!(CallError::Rejected(Reject::Overloaded).is_retryable());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Effect: the handler had none: the call never left. Retry as the inner error says.
    #[error("call not sent: {0}")]
    NotSent(SendError),
    /// Effect: the handler had none: the callee refused. Retry helps for `Overloaded` and
    /// `Expired`.
    #[error("call rejected: {0}")]
    Rejected(Reject),
    /// Effect: unknown. Retry only what may be executed twice.
    #[error("{0}")]
    MaybeExecuted(MaybeExecuted),
}

impl CallError {
    /// Whether it is sure that the handler had no effect.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        !matches!(self, Self::MaybeExecuted(_))
    }

    /// Whether the same call is safe to make again and can succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::NotSent(error) => error.is_retryable(),
            Self::Rejected(reject) => matches!(reject, Reject::Overloaded | Reject::Expired),
            Self::MaybeExecuted(_) => false,
        }
    }
}

/// The future of a call's answer.
///
/// # Cancel safety
/// Dropping it frees the slot and tells the callee (a Cancel on the call's lane, behind the call).
///
/// # Errors
/// Resolves to [`CallError`]; see there what each variant says about the handler.
///
/// # Examples
/// See [`Channel::call`](crate::Channel::call).
/// ```
/// fn is_a_future(reply: quorate_transport::Reply) -> impl Future<Output: Send> + Unpin + Send {
///     reply
/// }
/// # let _ = is_a_future;
/// ```
#[must_use = "dropping the future cancels the call"]
pub struct Reply(State);

enum State {
    Failed(Option<CallError>),
    Waiting { core: Arc<Core>, peer: Arc<PeerEntry>, id: CallId },
    Over,
}

impl Reply {
    pub(crate) const fn failed(error: CallError) -> Self {
        Self(State::Failed(Some(error)))
    }

    pub(crate) const fn waiting(core: Arc<Core>, peer: Arc<PeerEntry>, id: CallId) -> Self {
        Self(State::Waiting { core, peer, id })
    }
}

impl Future for Reply {
    type Output = Result<Bytes, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Failed(error) => match error.take() {
                Some(error) => {
                    self.0 = State::Over;
                    Poll::Ready(Err(error))
                }
                None => Poll::Pending,
            },
            State::Waiting { core, peer, id } => {
                let polled = peer.mux().poll_call(*id, cx.waker());
                let Poll::Ready(outcome) = polled else { return Poll::Pending };
                core.call_finished(&outcome);
                self.0 = State::Over;
                Poll::Ready(outcome)
            }
            State::Over => Poll::Pending,
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let State::Waiting { core, peer, id } = &self.0 {
            core.cancel_call(peer, *id); // H9
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Failed(error) => return f.debug_tuple("Reply").field(error).finish(),
            State::Waiting { id, .. } => return f.debug_tuple("Reply").field(id).finish(),
            State::Over => "over",
        };
        f.debug_tuple("Reply").field(&state).finish()
    }
}
