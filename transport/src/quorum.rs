//! [`ReplySet`]: the answers of several nodes to one call, and how many of them are enough.

use crate::{CallError, NodeId, Reply};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The answers to one call that several nodes got.
///
/// # Shape
/// One outcome per node. Outcomes leave the set once, through [`next`](Self::next) or with a
/// [`Quorum`] or [`NoQuorum`]; what has left still counts for later quorums.
///
/// # Cancel safety
/// Dropping a future of it loses no outcome. Dropping the set cancels what is outstanding.
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
/// let id = ChannelId::new(16);
/// let (a, b, c) = (start(1)?, start(2)?, start(3)?);
/// let client = a.channel(id, ChannelOptions::new())?;
/// for endpoint in [&b, &c] {
///     let mut server = endpoint.channel(id, ChannelOptions::new())?;
///     tokio::spawn(async move {
///         while let Some(Inbound::Call { reply, .. }) = server.recv().await {
///             let _ = reply.reply(b"yes");
///         }
///     });
/// }
/// // Node 4 is not there: two of three are a majority all the same.
/// let nodes = [2, 3, 4].map(NodeId::new);
/// let mut votes = client.call_all(&nodes, b"?", CallOptions::within(Duration::from_secs(1)));
/// let quorum = votes.quorum(2).await?;
/// assert_eq!(quorum.replies.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap() }
/// ```
#[must_use = "dropping the set cancels the calls"]
pub struct ReplySet {
    waiting: Vec<(NodeId, Reply)>,
    /// Outcomes that have not left the set.
    arrived: VecDeque<(NodeId, Result<Bytes, CallError>)>,
    /// Every node that answered, in the order of the answers.
    succeeded: Vec<NodeId>,
}

/// Enough nodes answered.
///
/// # Examples
/// See [`ReplySet`].
/// ```
/// fn majority(quorum: &quorate_transport::Quorum) -> usize {
///     quorum.replies.len()
/// }
/// # let _ = majority;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quorum {
    /// The answers that had not left the set, in the order they came.
    pub replies: Vec<(NodeId, Bytes)>,
    /// The failures that had not left the set.
    pub failed: Vec<(NodeId, CallError)>,
}

/// Enough answers cannot come any more.
///
/// # Examples
/// ```
/// fn why(error: &quorate_transport::NoQuorum) -> String {
///     format!("{} answered, {} failed", error.replies.len(), error.failed.len())
/// }
/// # let _ = why;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no quorum: {} answered, {} failed", replies.len(), failed.len())]
#[non_exhaustive]
pub struct NoQuorum {
    /// The answers that had not left the set, in the order they came.
    pub replies: Vec<(NodeId, Bytes)>,
    /// The failures that had not left the set. Those that are not definite may have had effects.
    pub failed: Vec<(NodeId, CallError)>,
}

impl NoQuorum {
    /// Whether asking all nodes again is safe and can succeed: every failure is definite and at
    /// least one is retryable. (Nodes that answered executed the call already.)
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.failed.iter().all(|(_, error)| error.is_definite())
            && self.failed.iter().any(|(_, error)| error.is_retryable())
    }
}

impl ReplySet {
    pub(crate) const fn new(waiting: Vec<(NodeId, Reply)>) -> Self {
        Self { waiting, arrived: VecDeque::new(), succeeded: Vec::new() }
    }

    /// The next outcome, in the order they come; `None` after the last.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(NodeId, Result<Bytes, CallError>)> {
        poll_fn(|cx| {
            self.collect(cx);
            match self.arrived.pop_front() {
                Some(outcome) => Poll::Ready(Some(outcome)),
                None if self.waiting.is_empty() => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for `n` nodes to have answered; gives up as soon as that cannot happen any more. The
    /// set stays usable for the late ones.
    ///
    /// # Errors
    /// [`NoQuorum`] with everything that came. Nodes that failed indefinitely may have executed the
    /// call.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn quorum(&mut self, n: usize) -> Result<Quorum, NoQuorum> {
        self.quorum_where(|nodes| nodes.len() >= n).await
    }

    /// Waits until the nodes that answered are `enough`: for joint majorities and the like. It must
    /// stay true when more nodes answer.
    ///
    /// # Errors
    /// As [`quorum`](Self::quorum): all that are outstanding together would not be enough.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn quorum_where(
        &mut self,
        enough: impl Fn(&[NodeId]) -> bool,
    ) -> Result<Quorum, NoQuorum> {
        poll_fn(|cx| {
            self.collect(cx);
            if enough(&self.succeeded) {
                let (replies, failed) = self.take_arrived();
                return Poll::Ready(Ok(Quorum { replies, failed }));
            }
            let possible: Vec<NodeId> =
                self.succeeded.iter().chain(self.waiting.iter().map(|(n, _)| n)).copied().collect();
            if self.waiting.is_empty() || !enough(&possible) {
                let (replies, failed) = self.take_arrived();
                return Poll::Ready(Err(NoQuorum { replies, failed }));
            }
            Poll::Pending
        })
        .await
    }

    /// Nodes whose outcome is outstanding.
    pub fn waiting(&self) -> impl Iterator<Item = NodeId> {
        self.waiting.iter().map(|(node, _)| *node)
    }

    /// Moves every outcome that is there into `arrived`; the rest wakes this task.
    fn collect(&mut self, cx: &mut Context<'_>) {
        let Self { waiting, arrived, succeeded } = self;
        waiting.retain_mut(|(node, reply)| {
            let Poll::Ready(outcome) = Pin::new(reply).poll(cx) else { return true };
            if outcome.is_ok() {
                succeeded.push(*node);
            }
            arrived.push_back((*node, outcome));
            false
        });
    }

    #[expect(clippy::type_complexity, reason = "the two fields of a Quorum")]
    fn take_arrived(&mut self) -> (Vec<(NodeId, Bytes)>, Vec<(NodeId, CallError)>) {
        let (mut replies, mut failed) = (Vec::new(), Vec::new());
        for (node, outcome) in self.arrived.drain(..) {
            match outcome {
                Ok(body) => replies.push((node, body)),
                Err(error) => failed.push((node, error)),
            }
        }
        (replies, failed)
    }
}

impl fmt::Debug for ReplySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplySet")
            .field("waiting", &self.waiting.len())
            .field("arrived", &self.arrived.len())
            .finish_non_exhaustive()
    }
}
