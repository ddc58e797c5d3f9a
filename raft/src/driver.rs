//! [`Node`]: one replica, driven. One task owns the core, its timers and everyone who waits; the
//! state machine is applied by another; disks are written by threads of their stores. Clock, timers
//! and tasks come from `Endpoint::runtime()` only.

mod apply;
mod builder;
mod calls;
mod changes;
mod founding;
mod leases;
#[cfg(all(loom, test))]
mod loom_models;
mod mailbox;
mod members;
mod outcome;
mod pending;
mod proposals;
mod reads;
mod replicated;
mod sessions;
mod shard;
mod shard_output;
mod snapshot_receive;
mod snapshot_send;
mod snapshots;
mod step;
mod subscribe;
mod timing;
mod transfers;
mod waiters;
mod watch;

pub use builder::{NodeBuilder, StartError};
#[cfg(fuzzing)]
pub use calls::check_call;
pub use members::Members;
pub use outcome::{Outcome, Read, ShutdownError};
pub use sessions::Session;
pub use subscribe::{Applied, AppliedEntry, Lagged, SubscribeError};
pub use watch::{NodeState, Watch};

use crate::error::{BusyWhy, ProposeError, ReadError};
use crate::histogram::Latencies;
use crate::machine::StateMachine;
use crate::stats::{PeerStats, Stats};
use crate::{Config, LogId, LogIndex};
use apply::Machine;
use bytes::Bytes;
use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;
use pending::{Charge, Pending, Request};
use quorate_clocks::Monotonic;
use quorate_transport::{Endpoint, NodeId, Runtime};
use reads::{ReadKind, ReadWaiter};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot, watch as state_watch};

/// What a handle asks of the task that owns the core.
enum Command {
    Propose(Pending),
    Read(ReadWaiter),
    Replicated { at: LogIndex, voters: u32, deadline: Monotonic, answer: oneshot::Sender<u32> },
    Transfer { to: Option<NodeId>, answer: transfers::TransferAnswer },
    Snapshot { answer: oneshot::Sender<Result<LogId, Arc<str>>> },
    Change(changes::Asked),
    DiskOf { node: NodeId, answer: oneshot::Sender<Result<crate::StoreId, Arc<str>>> },
    Peers { answer: oneshot::Sender<Vec<PeerStats>> },
    Shutdown { answer: oneshot::Sender<Result<(), ShutdownError>> },
}

/// What all handles of a node share.
struct Shared<M> {
    endpoint: Endpoint,
    config: Config,
    machine: Machine<M>,
    commands: mpsc::Sender<Command>,
    queued_bytes: Arc<AtomicUsize>,
    state: state_watch::Receiver<NodeState>,
    stats: Arc<Mutex<Stats>>,
    latencies: Arc<Mutex<Latencies>>,
    fresh: reads::Freshness,
    lease: Arc<leases::Lease>,
}

/// A running replica. Clones are handles of the same one; it stops when the last is dropped, or by
/// [`shutdown`](Self::shutdown).
///
/// # Examples
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use quorate_raft::*;
/// use quorate_transport::*;
/// # use std::io;
/// # #[derive(Default)] struct Counter(u64);
/// # impl StateMachine for Counter {
/// #     fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
/// #         for e in batch {
/// #             self.0 += e.data.len() as u64;
/// #             out.push(self.0.to_string().into_bytes());
/// #         }
/// #     }
/// #     fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
/// #         let n = self.0;
/// #         Ok(Box::new(move |w: &mut dyn io::Write| w.write_all(&n.to_le_bytes())))
/// #     }
/// #     fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()> {
/// #         let mut b = [0; 8]; r.read_exact(&mut b)?; self.0 = u64::from_le_bytes(b); Ok(())
/// #     }
/// # }
/// let me = NodeId::new(1);
/// let network = MemoryNetwork::new();
/// let transport = network.node(Identity::new(ClusterId::new(7), me, Incarnation::new(1)));
/// let endpoint = Endpoint::start(transport, EndpointConfig::default())?;
///
/// let node = Node::<Counter>::builder(&endpoint)
///     .founders(&[me])
///     .log(MemoryLog::new())
///     .snapshots(MemorySnapshots::new())
///     .config(Config::local().build()?)
///     .start(Counter::default())
///     .await?;
/// let Outcome::Applied { reply, .. } = node.propose("hello").await else { panic!() };
/// assert_eq!(&reply[..], b"5");
/// assert_eq!(node.read(Read::Linearizable, |c| c.0).await?, 5);
/// node.shutdown().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Node<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Clone for Node<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M> fmt::Debug for Node<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("state", &*self.shared.state.borrow()).finish_non_exhaustive()
    }
}

impl<M: StateMachine> Node<M> {
    /// Begins to configure a replica on `endpoint`.
    pub fn builder(endpoint: &Endpoint) -> NodeBuilder {
        NodeBuilder::new(endpoint)
    }

    /// Replicates `data` and returns the machine's reply to it. From any node: others forward to
    /// the leader, and look for one for `propose_deadline`.
    ///
    /// # Cost
    /// One block, one append and one sync a node, shared by all proposals of a turn; from a node
    /// that does not lead one call to the leader, shared likewise.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown to the caller; a proposal that was appended
    /// may still take effect. Nothing else is lost.
    pub async fn propose(&self, data: impl Into<Bytes>) -> Outcome {
        self.ask(Request::Normal(data.into())).await
    }

    async fn ask(&self, request: Request) -> Outcome {
        match self.submit(request) {
            Ok(answer) => answer.await.unwrap_or(Outcome::Unknown { at: None }),
            Err(refusal) => Outcome::Rejected(refusal),
        }
    }

    /// [`propose`](Self::propose) for several at once; outcomes in the order of `data`. They are
    /// appended in that order on a node that leads, though not necessarily next to each other; from
    /// others, batches may overtake each other when the leader changes.
    ///
    /// # Cancel safety
    /// As [`propose`](Self::propose), for each.
    pub async fn propose_many(&self, data: Vec<Bytes>) -> Vec<Outcome> {
        let submitted: Vec<_> = data.into_iter().map(|d| self.submit(Request::Normal(d))).collect();
        let mut outcomes = Vec::with_capacity(submitted.len());
        for answer in submitted {
            outcomes.push(match answer {
                Ok(answer) => answer.await.unwrap_or(Outcome::Unknown { at: None }),
                Err(refusal) => Outcome::Rejected(refusal),
            });
        }
        outcomes
    }

    /// Hands a proposal over, or refuses it: then nothing was done.
    fn submit(&self, request: Request) -> Result<oneshot::Receiver<Outcome>, ProposeError> {
        let shared = &self.shared;
        let entry_max = shared.config.limits.entry_max();
        let max = match request {
            Request::Session { .. } => sessions::data_max(entry_max),
            _ => u64::from(entry_max),
        };
        let bytes = request.data_bytes();
        if bytes as u64 > max {
            return Err(ProposeError::TooLarge { max });
        }
        let busy = ProposeError::Busy { why: BusyWhy::Queue };
        let queue_max = shared.config.proposal_queue_bytes_max;
        let Some(charge) = Charge::take(&shared.queued_bytes, bytes, queue_max) else {
            return Err(busy);
        };
        let (answer, outcome) = oneshot::channel();
        let pending = Pending::new(request, answer, self.deadline(), charge);
        shared.commands.try_send(Command::Propose(pending)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => busy,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped,
        })?;
        Ok(outcome)
    }

    fn deadline(&self) -> Monotonic {
        self.runtime().now().saturating_add(self.shared.config.propose_deadline)
    }

    fn runtime(&self) -> &Arc<dyn Runtime> {
        self.shared.endpoint.runtime()
    }

    /// Reads the local machine as `mode` demands, on any node. `f` runs under the machine's read
    /// lock: keep it short.
    ///
    /// # Errors
    /// [`ReadError`]; a read has no effect in any case.
    ///
    /// # Cancel safety
    /// Dropping the future drops the read.
    pub async fn read<R>(&self, mode: Read, f: impl FnOnce(&M) -> R) -> Result<R, ReadError> {
        match mode {
            Read::Local => {}
            Read::AtLeast(index) => self.wait_applied(index).await?,
            Read::MaxStale(age) => {
                let since = self.runtime().now().saturating_sub(age);
                if !self.shared.fresh.covers(since, self.shared.machine.applied()) {
                    self.read_index(ReadKind::Round).await?;
                }
            }
            Read::Lease => return self.read_by_lease(f).await,
            Read::Linearizable => {
                self.read_index(ReadKind::Round).await?;
            }
        }
        Ok(self.shared.machine.read(f))
    }

    /// Returns once everything acknowledged before the call is applied here; true if this node
    /// answered for that by its lease.
    async fn read_index(&self, kind: ReadKind) -> Result<bool, ReadError> {
        let begun = self.runtime().now();
        let (answer, index) = oneshot::channel();
        let waiter = ReadWaiter::new(answer, self.deadline(), kind);
        self.shared.commands.try_send(Command::Read(waiter)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => ReadError::Busy,
            mpsc::error::TrySendError::Closed(_) => ReadError::Stopped,
        })?;
        let confirmed = index.await.map_err(|_| ReadError::Stopped)??;
        self.shared.fresh.confirmed(begun, confirmed.index);
        Ok(confirmed.by_lease)
    }

    async fn wait_applied(&self, index: LogIndex) -> Result<(), ReadError> {
        let mut state = self.shared.state.clone();
        let reached = state.wait_for(|s| s.applied >= index || s.stopped.is_some());
        let limit = self.shared.config.propose_deadline;
        let reached = quorate_transport::timeout(&**self.runtime(), limit, reached).await;
        match reached {
            Ok(Ok(state)) if state.applied >= index => Ok(()),
            Ok(_) => Err(ReadError::Stopped),
            Err(_) => Err(ReadError::TooStale),
        }
    }

    /// How many voters durably hold the log up to `at`: waits until at least `voters` do, or for
    /// `within`.
    ///
    /// # Errors
    /// [`ReadError`] if no leader could be asked.
    ///
    /// # Cancel safety
    /// Dropping the future drops the question.
    pub async fn replicated(
        &self,
        at: LogIndex,
        voters: NonZeroU32,
        within: Duration,
    ) -> Result<u32, ReadError> {
        let (answer, count) = oneshot::channel();
        let deadline = self.runtime().now().saturating_add(within);
        let command = Command::Replicated { at, voters: voters.get(), deadline, answer };
        self.shared.commands.try_send(command).map_err(|_| ReadError::Busy)?;
        count.await.map_err(|_| ReadError::NoLeader)
    }

    /// Moves leadership to `to`, or to the voter that is furthest, and waits until it has arrived:
    /// for two election timeouts at most. Only on the leader; proposals wait meanwhile. Naming this
    /// node calls a transfer off.
    ///
    /// # Errors
    /// [`TransferError`](crate::TransferError): leadership stays, as far as this node knows.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the transfer.
    pub async fn transfer(&self, to: Option<NodeId>) -> Result<NodeId, crate::TransferError> {
        let (answer, result) = oneshot::channel();
        let command = Command::Transfer { to, answer };
        self.shared.commands.send(command).await.map_err(|_| crate::TransferError::NotLeader)?;
        result.await.unwrap_or(Err(crate::TransferError::NotLeader))
    }

    /// Makes a snapshot of the present state now, and lets the log be compacted.
    ///
    /// # Errors
    /// The text of what went wrong; the former snapshot is kept.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the snapshot.
    pub async fn snapshot(&self) -> Result<LogId, Arc<str>> {
        let (answer, result) = oneshot::channel();
        let stopped = || Arc::from("the node has stopped");
        let command = Command::Snapshot { answer };
        self.shared.commands.send(command).await.map_err(|_| stopped())?;
        result.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Follows who leads and how far the log is.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(self.shared.state.clone())
    }

    /// Follows what this node's machine is given, from index `from` on: data of the application,
    /// in order, each entry once; of a session's request only the first. What is in no entry of
    /// its own (members, sessions) is left out.
    ///
    /// The newest entries are kept for everyone, up to 16,384 and 16 MiB, while anyone subscribes.
    /// Whoever asks for older ones, or reads too slowly, gets [`Lagged`] and goes on from there:
    /// application never waits for a subscriber. After a [`Lagged`], [`read`](Self::read) gives
    /// a state that holds what is missing, and maybe some of what follows.
    ///
    /// # Errors
    /// [`SubscribeError`]: at most 256 at a time.
    ///
    /// # Examples
    /// ```
    /// use quorate_raft::*;
    ///
    /// /// From now on; the state up to here is to be read besides.
    /// fn changes<M: StateMachine>(node: &Node<M>) -> Result<Applied, SubscribeError> {
    ///     node.subscribe(node.state().applied.next())
    /// }
    /// ```
    pub fn subscribe(&self, from: LogIndex) -> Result<Applied, SubscribeError> {
        self.shared.machine.subscribe(from)
    }

    /// The state right now.
    #[must_use]
    pub fn state(&self) -> NodeState {
        self.shared.state.borrow().clone()
    }

    /// What this node, if it leads, knows of each member, itself included, ascending; empty on
    /// others, and once it has stopped.
    ///
    /// # Cost
    /// One message to the task that owns the replica.
    ///
    /// # Cancel safety
    /// Dropping the future drops the question.
    pub async fn peers(&self) -> Vec<PeerStats> {
        let (answer, peers) = oneshot::channel();
        if self.shared.commands.send(Command::Peers { answer }).await.is_err() {
            return Vec::new();
        }
        peers.await.unwrap_or_default()
    }

    /// How long writes, proposals and reads took since the start.
    #[must_use]
    pub fn latencies(&self) -> Latencies {
        *crate::sync::lock(&self.shared.latencies)
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (lease_reads, lease_refusals) = self.shared.lease.counts();
        let (subscribers, subscribers_lagged) = self.shared.machine.feed().counts();
        Stats {
            lease_reads,
            lease_refusals,
            subscribers,
            subscribers_lagged,
            ..*crate::sync::lock(&self.shared.stats)
        }
    }

    /// This node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.shared.endpoint.identity().node
    }

    /// Stops for good: refuses what is new, hands leadership over if it can, waits until everything
    /// handed to the store is durable. Proposals still waiting end as `Unknown`.
    ///
    /// # Errors
    /// [`ShutdownError`] if the replica had failed before, or its last writes did.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the shutdown.
    pub async fn shutdown(self) -> Result<(), ShutdownError> {
        let (answer, result) = oneshot::channel();
        if self.shared.commands.send(Command::Shutdown { answer }).await.is_err() {
            return self.state().stopped.map_or(Ok(()), |cause| Err(ShutdownError::Failed(cause)));
        }
        result.await.unwrap_or(Ok(()))
    }
}
