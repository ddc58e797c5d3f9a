//! [`IdempotentCaller`]: calls that may be retried and are never executed twice.

use crate::backoff::Backoff;
use crate::endpoint::{CallRequest, Core};
use crate::mux::Prefix;
use crate::{Body, CallError, CallOptions, Cause, ChannelId, Incarnation, NodeId, Reject, Runtime};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Delay between tries, first and last cap.
const RETRY_MIN: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Names the session of an idempotent caller at its receivers.
///
/// # Shape
/// Random: two sessions of one node must not share a key. Sequences begin anew with each caller, so
/// a key is used for one [`IdempotentCaller`] only.
///
/// # Examples
/// ```
/// use quorate_transport::SessionKey;
/// assert_eq!(SessionKey::new(7).value(), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(u128);

impl SessionKey {
    /// From the number.
    #[must_use]
    pub const fn new(value: u128) -> Self {
        Self(value)
    }

    /// A fresh one.
    #[must_use]
    pub fn random(runtime: &dyn Runtime) -> Self {
        Self(u128::from(runtime.seed()) << 64 | u128::from(runtime.seed()))
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u128 {
        self.0
    }
}

/// Calls that the receiver executes at most once, however often they are retried.
///
/// A lost session or an overloaded receiver is retried until the deadline, with a growing delay.
/// What cannot be known to be one execution ends as `MaybeExecuted`: `Restarted` if the receiver
/// restarted after a try that may have been executed, `Forgotten` if it does not remember.
///
/// # Limits
/// A receiver remembers the last 256 calls of a session (`dedup_window`).
///
/// # Cost
/// 32 bytes more per call; the receiver keeps the answer.
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
/// let caller = client.idempotent(SessionKey::random(&**a.runtime()));
///
/// let options = CallOptions::within(Duration::from_secs(5));
/// let call = caller.call(NodeId::new(2), b"add one", options);
/// let serve = async {
///     if let Some(Inbound::Call { reply, .. }) = server.recv().await {
///         let _ = reply.reply(b"done");
///     }
/// };
/// let (answer, ()) = tokio::join!(call, serve);
/// assert_eq!(&answer?[..], b"done");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap() }
/// ```
pub struct IdempotentCaller {
    core: Arc<Core>,
    channel: ChannelId,
    session: SessionKey,
    next: AtomicU64,
}

/// One call over all its tries.
struct Attempts {
    to: NodeId,
    prefix: Prefix,
    deadline: Monotonic,
    backoff: Backoff,
}

impl IdempotentCaller {
    pub(crate) const fn new(core: Arc<Core>, channel: ChannelId, session: SessionKey) -> Self {
        Self { core, channel, session, next: AtomicU64::new(1) }
    }

    /// The key it was made with.
    #[must_use]
    pub const fn session(&self) -> SessionKey {
        self.session
    }

    /// Calls a node, and again while that is safe and the deadline has not passed. Several may be
    /// in flight.
    ///
    /// # Errors
    /// [`CallError`]: `NotSent` and `Rejected` mean that no try was executed; `MaybeExecuted` that
    /// one may have been, once.
    ///
    /// # Cancel safety
    /// Dropping it tells the receiver to give up; the call may have been executed, at most once.
    pub async fn call(
        &self,
        to: NodeId,
        body: impl Into<Body>,
        options: CallOptions,
    ) -> Result<Bytes, CallError> {
        let body = body.into();
        let runtime = self.core.runtime().clone();
        let prefix = Prefix {
            session: self.session.0,
            sequence: self.next.fetch_add(1, Ordering::Relaxed),
            incarnation: Incarnation::new(0),
        };
        let deadline = runtime.now().saturating_add(self.core.cut_deadline(options.within));
        let backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut attempts = Attempts { to, prefix, deadline, backoff };
        loop {
            let options = CallOptions { within: deadline.since(runtime.now()), ..options };
            let request = CallRequest {
                channel: self.channel,
                payload_checked: false,
                to,
                body: body.clone(),
                options,
                prefix: Some(attempts.prefix),
            };
            let error = match self.core.call(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(pause) = attempts.next(error.clone(), &*runtime)? else {
                return Err(attempts.outcome(error));
            };
            crate::sleep(&*runtime, pause).await;
        }
    }
}

impl Attempts {
    /// The delay before the next try; `None` if there is no time for it; an error if trying again
    /// would not be safe or would not help. // H11
    fn next(
        &mut self,
        error: CallError,
        runtime: &dyn Runtime,
    ) -> Result<Option<Duration>, CallError> {
        let tried = self.prefix.incarnation.value() != 0;
        match &error {
            CallError::NotSent(error) if error.is_retryable() => {}
            CallError::Rejected(Reject::Overloaded) => {}
            CallError::MaybeExecuted(maybe) if maybe.cause == Cause::Disconnected => {
                if !tried {
                    // This life may have it: another one must not run it.
                    self.prefix.incarnation = maybe.incarnation;
                }
                if self.prefix.incarnation.value() == 0 {
                    return Err(error);
                }
            }
            // Definite of this try, but an earlier one may have been executed.
            CallError::NotSent(_) | CallError::Rejected(Reject::NoHandler | Reject::Expired) => {
                return Err(self.outcome(error));
            }
            CallError::Rejected(_) | CallError::MaybeExecuted(_) => return Err(error),
        }
        let pause = self.backoff.next(runtime.seed());
        let left = self.deadline.since(runtime.now());
        Ok((pause < left).then_some(pause))
    }

    /// What is known of all tries together when the last one ended like this.
    fn outcome(&self, error: CallError) -> CallError {
        if self.prefix.incarnation.value() == 0 || !error.is_definite() {
            return error;
        }
        let life = self.prefix.incarnation;
        let cause = Cause::Disconnected;
        CallError::MaybeExecuted(crate::MaybeExecuted::new(cause, self.to, life))
    }
}

impl fmt::Debug for IdempotentCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotentCaller")
            .field("channel", &self.channel)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
