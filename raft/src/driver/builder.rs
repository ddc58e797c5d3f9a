//! Starting a replica: open its log, bring log and snapshot together, restore the machine, run.

use super::apply::{self, Machine};
use super::changes::Changes;
use super::founding::Founding;
use super::leases::LeasePublisher;
use super::mailbox::Mailbox;
use super::proposals::Proposals;
use super::reads::{Freshness, Reads};
use super::shard::{Inputs, Shard};
use super::snapshot_send::Sending;
use super::snapshots::{Making, SharedSnapshots, Sizes};
use super::timing::Timing;
use super::watch::NodeState;
use super::{Node, Shared};
use crate::core::{Boot, Output, Raft};
use crate::error::{BootError, StoreError};
use crate::machine::StateMachine;
use crate::session::SessionTable;
use crate::stats::Stats;
use crate::store::{
    AppendRequest, Completion, LogStore, OpenLog, Owner, SnapshotStore, read_machine, read_sessions,
};
use crate::{Config, GroupId, LogId, LogIndex, Membership, SnapshotMeta};
use quorate_clocks::{Drift, Monotonic};
use quorate_transport::{BodyCheck, ChannelId, ChannelOptions, Endpoint, NodeId, OpenError};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A replica did not start.
///
/// # Examples
/// ```
/// use quorate_raft::StartError;
/// assert_eq!(StartError::Missing { what: "log" }.to_string(), "no log was given");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Effect: none. The builder was not told something it needs.
    #[error("no {what} was given")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// Effect: none. The endpoint's raft channel is taken or closed.
    #[error("raft channel: {0}")]
    Channel(#[from] OpenError),
    /// Effect: none on what was written before. The log cannot be used.
    #[error("log: {0}")]
    Store(#[from] StoreError),
    /// Effect: none. The snapshots cannot be read.
    #[error("snapshots: {0}")]
    Snapshots(#[from] io::Error),
    /// Effect: none. A block as large as [`Limits`](crate::Limits) allow would not fit into the
    /// log, and stop every replica: lower them, or raise what the log takes (a `Wal`'s
    /// `batch_bytes_max`).
    #[error("blocks of up to {needed} bytes do not fit the log, which takes {max}")]
    BlockTooLarge {
        /// Bytes of the largest block.
        needed: u64,
        /// Bytes that the log takes.
        max: u64,
    },
    /// Effect: none. Leases are on ([`ConfigDraft::lease`](crate::ConfigDraft::lease)), but the
    /// runtime's clock stands still while the machine is suspended: a leader would trust its lease
    /// long after it ended. // H30
    #[error("leases need a clock that goes on while the machine is suspended")]
    ClockStopsInSuspend,
    /// Effect: none. Log and snapshot contradict each other or themselves.
    #[error("boot: {0}")]
    Boot(#[from] BootError),
}

/// What a replica is made of. All but the configuration must be given.
///
/// # Examples
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use quorate_raft::*;
/// use quorate_transport::*;
/// # struct Nothing;
/// # impl StateMachine for Nothing {
/// #     fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
/// #         batch.for_each(|_| out.push(Vec::new()));
/// #     }
/// #     fn snapshot(&self) -> std::io::Result<Box<dyn SnapshotSource>> {
/// #         Ok(Box::new(|_: &mut dyn std::io::Write| Ok(())))
/// #     }
/// #     fn restore(&mut self, _: &mut dyn std::io::Read) -> std::io::Result<()> { Ok(()) }
/// # }
/// let me = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1));
/// let endpoint = Endpoint::start(MemoryNetwork::new().node(me), EndpointConfig::default())?;
/// let builder = Node::<Nothing>::builder(&endpoint).founders(&[NodeId::new(1)]);
/// let refused = builder.log(MemoryLog::new()).start(Nothing).await;
/// assert_eq!(refused.unwrap_err().to_string(), "no snapshot store was given");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[must_use = "a builder does nothing until it is started"]
pub struct NodeBuilder {
    endpoint: Endpoint,
    group: GroupId,
    founders: Vec<NodeId>,
    log: Option<Box<dyn LogStore>>,
    snapshots: Option<Box<dyn SnapshotStore>>,
    config: Option<Config>,
}

impl core::fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("NodeBuilder");
        out.field("group", &self.group).field("founders", &self.founders).finish_non_exhaustive()
    }
}

impl NodeBuilder {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
            group: GroupId::new(1),
            founders: Vec::new(),
            log: None,
            snapshots: None,
            config: None,
        }
    }

    /// Which replicated log. Default 1.
    pub const fn group(mut self, group: GroupId) -> Self {
        self.group = group;
        self
    }

    /// The voters of a new group: the same list on every one of them. A log that exists already
    /// knows its members, then this is ignored.
    pub fn founders(mut self, voters: &[NodeId]) -> Self {
        self.founders = voters.to_vec();
        self
    }

    /// Where the log is kept.
    pub fn log(mut self, log: impl LogStore) -> Self {
        self.log = Some(Box::new(log));
        self
    }

    /// Where snapshots are kept: as durable as the log, which is compacted behind them.
    pub fn snapshots(mut self, snapshots: impl SnapshotStore) -> Self {
        self.snapshots = Some(Box::new(snapshots));
        self
    }

    /// Timeouts and limits. Default `Config::lan()`.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Opens everything and runs the replica on the endpoint's runtime. Returns when the log is
    /// read and the machine restored; there may be no leader yet.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs.
    ///
    /// # Cancel safety
    /// There is no point at which it waits: it completes when first polled.
    #[expect(clippy::unused_async, reason = "opening will wait for founders to exchange disk ids")]
    pub async fn start<M: StateMachine>(self, machine: M) -> Result<Node<M>, StartError> {
        let config = match self.config {
            Some(config) => config,
            None => Config::lan().build().map_err(|_| StartError::Missing { what: "config" })?,
        };
        let mut store = self.log.ok_or(StartError::Missing { what: "log" })?;
        let snapshots = self.snapshots.ok_or(StartError::Missing { what: "snapshot store" })?;
        let (needed, max) = (config.limits().block_max(), store.block_bytes_max());
        if needed > max {
            return Err(StartError::BlockTooLarge { needed, max });
        }
        if config.lease && !self.endpoint.runtime().clock().is_suspend_aware() {
            return Err(StartError::ClockStopsInSuspend);
        }
        let identity = self.endpoint.identity();
        let seed = self.endpoint.runtime().seed();
        let owner = Owner::new(identity.cluster, identity.node).seed(seed);
        let log = store.open(self.group, owner)?;
        let drift = self.endpoint.runtime().clock().drift();
        let (id, group) = (identity.node, self.group);
        let opened = Opened { id, group, founders: self.founders, drift };
        let (boot, machine) = opened.reconcile(&mut *store, &*snapshots, log, machine)?;
        let options = ChannelOptions::new().body_check(BodyCheck::Payload);
        let channel = self.endpoint.channel(ChannelId::RAFT, options)?;
        let parts = Parts {
            endpoint: self.endpoint,
            config,
            store,
            snapshots: Arc::new(Mutex::new(snapshots)),
            machine,
        };
        parts.run(boot, channel.split())
    }
}

/// What is known before the log and the snapshot are brought together.
struct Opened {
    id: NodeId,
    group: GroupId,
    founders: Vec<NodeId>,
    drift: Drift,
}

impl Opened {
    /// Restores the machine and says where the core starts.
    fn reconcile<M: StateMachine>(
        &self,
        store: &mut dyn LogStore,
        snapshots: &dyn SnapshotStore,
        mut log: OpenLog,
        mut machine: M,
    ) -> Result<(Started, Machine<M>), StartError> {
        let latest = snapshots.latest()?;
        let is_short = admit_short_log(&mut log);
        let lost = is_short || log.hard.lost > LogIndex::ZERO;
        let start = log.mark.as_ref().map_or(LogId::ZERO, |m| m.last);
        if latest.as_ref().map_or(LogIndex::ZERO, |m| m.last.index) < start.index {
            let what = format!("the log starts behind {start}, which no snapshot holds");
            return Err(StoreError::Damaged { what: what.into() }.into());
        }
        if log.mark.is_none() && latest.is_none() && log.last != LogId::ZERO {
            let what = "the log holds entries, and nothing says whose group it is of";
            return Err(StoreError::Damaged { what: what.into() }.into());
        }
        // Sessions are nowhere but in the snapshot: they, and so the core, go on from there.
        let (mut sessions, mut at) = (SessionTable::new(), LogId::ZERO);
        // A machine that keeps its own state may be ahead: which entry that is, the log must know.
        // Of a log that lost its end it cannot, and that end was committed.
        let mut known = lost || term_at(&log, machine.applied()).is_some();
        if let Some(meta) = &latest {
            let file = snapshots.open(meta)?;
            if !crate::plant::planted("sessions_not_restored") {
                sessions = read_sessions(&*file)?;
            }
            at = meta.last;
            if machine.applied() < meta.last.index {
                machine.restore(&mut read_machine(&*file)?)?;
                known = true;
            }
        }
        if !known {
            let (applied, first) = (machine.applied(), start.index);
            let commit = log.hard.commit;
            return Err(BootError::Applied { applied, first, commit }.into());
        }
        if let Some(meta) = &latest
            && (lost || term_at(&log, meta.last.index) != Some(meta.last))
            && meta.last.index > start.index
        {
            if log.hard.commit >= meta.last.index && !lost {
                // Both are committed and differ: one of them is wrong, and nothing may be dropped.
                let what = format!("log and snapshot disagree about entry {}", meta.last);
                return Err(StoreError::Damaged { what: what.into() }.into());
            }
            // The snapshot was taken in and the process ended before the log was reset to it.
            if log.hard.lost > LogIndex::ZERO {
                // Given up with the rest of the log, though it was acknowledged. // H36
                log.hard.lost = log.hard.lost.max(log.last.index);
            }
            install(store, self.group, &log, meta)?;
            log.mark = Some(meta.clone());
            log.runs.clear();
            log.blocks.clear();
            log.last = meta.last;
        }
        // What a snapshot or a machine holds is committed.
        let held = machine.applied().max(at.index).min(log.last.index);
        log.hard.commit = log.hard.commit.max(held);
        let base = self.base(&log, latest.as_ref());
        let boot = self.boot(log, latest, base.clone());
        Ok((boot, Machine::new(machine, sessions, base)))
    }

    /// What the entries behind it change: the snapshot, or the beginning of the log.
    fn base(&self, log: &OpenLog, latest: Option<&SnapshotMeta>) -> SnapshotMeta {
        // A snapshot that was made before the group was founded knows no members.
        let knows_members = |meta: &&SnapshotMeta| !meta.membership.is_empty();
        let known = log.mark.iter().chain(latest.filter(knows_members));
        let newest = known.max_by_key(|meta| meta.last.index);
        let known = newest.cloned();
        known.unwrap_or_else(|| SnapshotMeta::new(LogId::ZERO, Membership::default()))
    }

    fn boot(&self, log: OpenLog, latest: Option<SnapshotMeta>, base: SnapshotMeta) -> Started {
        let start = log.mark.as_ref().map_or(LogId::ZERO, |m| m.last);
        let store_id = log.store;
        let is_new = latest.is_none() && log.mark.is_none() && log.last == LogId::ZERO;
        let founding = (is_new && !self.founders.is_empty()).then(|| Founding::new(&self.founders));
        let mut boot = Boot::fresh(self.id, self.group, base.membership);
        boot.drift = self.drift;
        boot.hard = log.hard;
        boot.start = start;
        boot.runs = log.runs;
        boot.last = log.last;
        boot.blocks = log.blocks;
        boot.applied = base.last.index;
        boot.snapshot = latest;
        Started { boot, store_id, founding }
    }
}

/// H35: a log that ends before its durable commit index lost its end; what is left may be what that
/// had replaced. The core finds out how much from the commit index.
fn admit_short_log(log: &mut OpenLog) -> bool {
    let is_short = log.hard.commit > log.last.index;
    if is_short {
        log.last = log.mark.as_ref().map_or(LogId::ZERO, |m| m.last);
        log.runs.clear();
        log.blocks.clear();
    }
    is_short
}

/// Where the core starts, and on which disk.
struct Started {
    boot: Boot,
    store_id: crate::StoreId,
    /// A group that is to begin.
    founding: Option<Founding>,
}

/// The entry at `index`, if the log has it or starts behind it.
fn term_at(log: &OpenLog, index: LogIndex) -> Option<LogId> {
    let start = log.mark.as_ref().map_or(LogId::ZERO, |m| m.last);
    if index == start.index {
        return Some(start);
    }
    if index < start.index || index > log.last.index {
        return None;
    }
    let behind = log.runs.partition_point(|run| run.first <= index);
    behind.checked_sub(1).and_then(|i| log.runs.get(i)).map(|run| LogId::of(run.term, index))
}

/// Resets the log to a snapshot and waits until that is durable.
fn install(
    store: &mut dyn LogStore,
    group: GroupId,
    log: &OpenLog,
    meta: &SnapshotMeta,
) -> Result<(), StoreError> {
    let (tx, rx) = std::sync::mpsc::channel();
    let done = Completion::new(move |result| drop(tx.send(result)));
    let mut hard = log.hard;
    hard.commit = hard.commit.max(meta.last.index);
    hard.term = hard.term.max(meta.last.term);
    if hard.term > log.hard.term {
        hard.vote = None;
    }
    store.append(group, AppendRequest::new(Some(hard), &[], Some(meta), true), done);
    loop {
        match rx.recv_timeout(Duration::from_millis(50)) {
            Ok(result) => return result,
            // It would wait for space; whoever starts a node wants to know.
            Err(RecvTimeoutError::Timeout) if store.is_full() => return Err(StoreError::NoSpace),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(StoreError::Closed),
        }
    }
}

/// Everything the running node is made of.
struct Parts<M> {
    endpoint: Endpoint,
    config: Config,
    store: Box<dyn LogStore>,
    snapshots: SharedSnapshots,
    machine: Machine<M>,
}

impl<M: StateMachine> Parts<M> {
    fn run(
        self,
        Started { boot, store_id, founding }: Started,
        (sender, receiver): (quorate_transport::ChannelSender, quorate_transport::ChannelReceiver),
    ) -> Result<Node<M>, StartError> {
        let runtime = Arc::clone(self.endpoint.runtime());
        let raft = Raft::new(self.config.clone(), boot, runtime.now(), runtime.seed())?;
        let (commands_tx, commands) = mpsc::channel(self.config.proposal_queue_max);
        let (batches, batches_rx) = mpsc::unbounded_channel();
        let (state, state_rx) = watch::channel(NodeState::of(&raft));
        let stats = Arc::new(Mutex::new(Stats::default()));
        let (timing, latencies) = Timing::new();
        let (lease, lease_reader) = LeasePublisher::new();
        let mailbox = Mailbox::default();
        let since_snapshot = self.store.bytes(raft.group());
        let sizes = Sizes::of(raft.last().index, since_snapshot);
        let shard = Shard {
            group: raft.group(),
            raft,
            store_id,
            config: self.config.clone(),
            timer: runtime.timer(),
            sender,
            receiver,
            store: self.store,
            snapshots: self.snapshots,
            machine: self.machine.clone(),
            batches,
            commands,
            mailbox: mailbox.clone(),
            state,
            stats: Arc::clone(&stats),
            lease,
            counts: Stats::default(),
            timing,
            proposals: Proposals::default(),
            changes: Changes::default(),
            transfers: Vec::new(),
            stalled: false,
            founding,
            membership: Arc::default(),
            reads: Reads::default(),
            read_id_base: runtime.seed(),
            questions: Vec::new(),
            unsynced: VecDeque::new(),
            synced: 0,
            restoring: false,
            making: Making::default(),
            sizes,
            since_snapshot,
            sending: Sending::new(&self.config),
            receiving: None,
            stopped: None,
            closing: None,
            sweep_at: Monotonic::ZERO,
            inputs: Inputs::default(),
            out: Output::default(),
            runtime: Arc::clone(&runtime),
        };
        runtime
            .spawn("raft-apply", Box::pin(apply::run(self.machine.clone(), batches_rx, mailbox)));
        runtime.spawn("raft", Box::pin(shard.run()));
        let shared = Arc::new(Shared {
            endpoint: self.endpoint,
            config: self.config,
            machine: self.machine,
            commands: commands_tx,
            queued_bytes: Arc::new(AtomicUsize::new(0)),
            state: state_rx,
            stats,
            latencies,
            fresh: Freshness::default(),
            lease: lease_reader,
        });
        Ok(Node { shared })
    }
}
