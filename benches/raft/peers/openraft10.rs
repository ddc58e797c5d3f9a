//! openraft 0.10.0-alpha.37: three `Raft`s that call each other, as its own benchmark has them.
//!
//! Settings of its benchmark: `max_payload_entries` 1,024, `purge_batch_size` 1,024, answers through
//! `OneshotResponder`, clients use `client_write`. Timeouts, and when snapshots are made, are those
//! of everybody here; `replication_lag_threshold` lies above, as its documentation asks. Appends go
//! one after the other, as in its benchmark: through `stream_append`, which keeps many under way,
//! it took half as long again here (in memory and on disk), since batches became smaller.

use super::store::{Command, Durable, Window, Written};
use crate::group::{ELECTION, Group, HEARTBEAT, KEPT, Ledger, SNAPSHOT_AFTER, Tally, weight_of};
use crate::host::Host;
use futures_util::{Stream, TryStreamExt};
use openraft10::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft10::impls::{OneshotResponder, TokioRuntime, leader_id_adv};
use openraft10::network::RPCOption;
use openraft10::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft10::storage::{EntryResponder, IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft10::type_config::alias::{
    LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf,
};
use openraft10::{
    Config, EntryPayload, LogState, OptionalSend, Raft, RaftLogReader, RaftNetworkFactory,
    RaftNetworkV2, RaftSnapshotBuilder, RaftTypeConfig, ReadPolicy, SnapshotPolicy,
};
use quorate_wal::Wal;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// As its benchmark has them.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Command;
    type R = ();
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = leader_id_adv::LeaderId<u64, u64>;
    type Vote = openraft10::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Command, u64, ()>;
    type Entry = openraft10::type_config::alias::DefaultEntryOf<Self>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft10::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft10::impls::BoxedErrorSource;
}

type Stored<T> = io::Result<T>;
type Entry = <Types as RaftTypeConfig>::Entry;
type LogId = LogIdOf<Types>;
type Members = StoredMembershipOf<Types>;
type Meta = SnapshotMetaOf<Types>;
type Snapshot = SnapshotOf<Types, Vec<u8>>;
type Vote = VoteOf<Types>;

/// The log: its newest entries in memory, all of it in a WAL if there is one.
#[derive(Clone)]
struct Log {
    memory: Arc<Mutex<Memory>>,
    durable: Option<Arc<Mutex<Durable>>>,
}

#[derive(Default)]
struct Memory {
    vote: Option<Vote>,
    entries: Window<Entry>,
    purged: Option<LogId>,
}

impl Log {
    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("no panic under it")
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Stored<Vec<Entry>> {
        Ok(self.memory().entries.get(&range))
    }

    async fn read_vote(&mut self) -> Stored<Option<Vote>> {
        Ok(self.memory().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Stored<LogState<Types>> {
        let memory = self.memory();
        let last = memory.entries.last().map(|entry| entry.log_id).or(memory.purged);
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Stored<()> {
        self.memory().vote = Some(*vote);
        let durable = self.durable.as_ref();
        let staged = durable.map(|d| d.lock().expect("no panic").vote(&vote.to_string()));
        if let Some(staged) = staged {
            staged.await.expect("synced");
        }
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Stored<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let staged = if let Some(durable) = &self.durable {
            let entries: Vec<_> = entries.into_iter().collect();
            let staged = durable.lock().expect("no panic").append(entries.iter().map(written));
            let mut memory = self.memory();
            entries.into_iter().for_each(|e| memory.entries.push(e.log_id.index, e));
            Some(staged)
        } else {
            let mut memory = self.memory();
            entries.into_iter().for_each(|e| memory.entries.push(e.log_id.index, e));
            None
        };
        // Its core goes on meanwhile, and may append more before this is synced.
        if let Some(staged) = staged {
            drop(tokio::spawn(async move {
                staged.await.expect("synced");
                callback.io_completed(Ok(()));
            }));
        } else {
            callback.io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Stored<()> {
        self.memory().entries.truncate(last.map_or(0, |last| last.index + 1));
        Ok(())
    }

    async fn purge(&mut self, to: LogId) -> Stored<()> {
        let mut memory = self.memory();
        memory.purged = Some(to);
        memory.entries.purge(to.index + 1);
        if let Some(durable) = &self.durable {
            durable.lock().expect("no panic").purge(to.index + 1);
        }
        Ok(())
    }
}

fn written(entry: &Entry) -> Written<'_> {
    let data = match &entry.payload {
        EntryPayload::Normal(command) => command.as_bytes(),
        _ => &[],
    };
    let leader = entry.log_id.leader_id;
    Written { index: entry.log_id.index, term: leader.term, node: leader.node_id, data }
}

/// Counts commands.
#[derive(Clone)]
pub(crate) struct Machine {
    tally: Arc<Tally>,
    applied: Option<LogId>,
    members: Members,
    snapshot: Arc<Mutex<Option<Snapshot>>>,
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Stored<Snapshot> {
        let (count, sum) = self.tally.values();
        let data = [count.to_le_bytes(), sum.to_le_bytes()].concat();
        let meta = Meta { last_log_id: self.applied, last_membership: self.members.clone() };
        let snapshot = Snapshot { meta, snapshot: data };
        *self.snapshot.lock().expect("no panic") = Some(snapshot.clone());
        Ok(snapshot)
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Stored<(Option<LogId>, Members)> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Stored<()>
    where
        S: Stream<Item = Stored<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.applied = Some(entry.log_id);
            match &entry.payload {
                EntryPayload::Normal(command) => self.tally.add(1, weight_of(command.as_bytes())),
                EntryPayload::Membership(members) => {
                    self.members = Members::new(Some(entry.log_id), members.clone());
                }
                EntryPayload::Blank => {}
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &Meta, data: Vec<u8>) -> Stored<()> {
        let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("8 bytes"));
        self.tally.set((word(0), word(8)));
        (self.applied, self.members) = (meta.last_log_id, meta.last_membership.clone());
        let snapshot = Snapshot { meta: meta.clone(), snapshot: data };
        *self.snapshot.lock().expect("no panic") = Some(snapshot);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Stored<Option<Snapshot>> {
        Ok(self.snapshot.lock().expect("no panic").clone())
    }
}

/// Everybody, once they are started.
type Table = Arc<OnceLock<Vec<Raft<Types, Machine>>>>;

#[derive(Clone)]
struct Router(Table);

struct Wire {
    table: Table,
    to: u64,
}

impl RaftNetworkFactory<Types> for Router {
    type Network = Wire;

    async fn new_client(&mut self, to: u64, (): &()) -> Wire {
        Wire { table: self.0.clone(), to }
    }
}

impl Wire {
    fn raft(&self) -> &Raft<Types, Machine> {
        &self.table.get().expect("all are started before the first election")[self.to as usize]
    }
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> Unreachable<Types> {
    Unreachable::new(error)
}

impl RaftNetworkV2<Types> for Wire {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = self.raft().append_entries(rpc).await;
        answer.map_err(|e| unreachable(&e).into())
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.raft().vote(rpc).await.map_err(|e| unreachable(&e).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let answer = self.raft().install_full_snapshot(vote, snapshot).await;
        answer.map_err(|e| unreachable(&e).into())
    }
}

/// A group of three, by its leader.
#[derive(Clone)]
pub(crate) struct Peer {
    leader: Raft<Types, Machine>,
    size: usize,
    ledger: Ledger,
}

/// Starts a group; with logs in these WALs, or in memory.
pub(crate) fn start(host: &Host, size: usize, wals: Option<Vec<Wal>>) -> Peer {
    host.run(async move {
        let millis = |d: Duration| d.as_millis() as u64;
        let config = Config {
            heartbeat_interval: millis(HEARTBEAT),
            election_timeout_min: millis(ELECTION),
            election_timeout_max: 2 * millis(ELECTION),
            max_payload_entries: 1_024,
            purge_batch_size: 1_024,
            replication_lag_threshold: 10 * SNAPSHOT_AFTER,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_AFTER),
            max_in_snapshot_log_to_keep: KEPT,
            ..Config::default()
        };
        let config = Arc::new(config.validate().expect("in range"));
        let (table, ledger) = (Table::default(), Ledger::default());
        let mut rafts = Vec::new();
        for (n, tally) in ledger.machines.iter().enumerate() {
            let durable = wals.as_ref().map(|wals| Durable::new(wals[n].clone()));
            let durable = durable.map(|d| Arc::new(Mutex::new(d)));
            let log = Log { memory: Arc::default(), durable };
            let machine = Machine {
                tally: tally.clone(),
                applied: None,
                members: Members::default(),
                snapshot: Arc::default(),
            };
            let router = Router(table.clone());
            let raft = Raft::new(n as u64, config.clone(), router, log, machine).await;
            rafts.push(raft.expect("an empty log"));
        }
        assert!(table.set(rafts.clone()).is_ok(), "set once");
        let leader = rafts[0].clone();
        leader.initialize(BTreeSet::from([0, 1, 2])).await.expect("a new group");
        let led = leader.wait(Some(Duration::from_secs(10))).current_leader(0, "leads").await;
        led.expect("an election");
        Peer { leader, size, ledger }
    })
}

impl Peer {
    /// A read on the leader that trusts its lease.
    pub(crate) async fn read_by_lease(&self) -> u64 {
        // Its lease runs out between two heartbeats when nothing is written; then it says so.
        while self.leader.ensure_linearizable(ReadPolicy::LeaseRead).await.is_err() {
            tokio::task::yield_now().await;
        }
        self.ledger.machines[0].values().0
    }
}

impl Group for Peer {
    async fn propose(&self, client: u64, number: u64) {
        let command = Command::new(client, number, self.size);
        self.leader.client_write(command).await.expect("applied");
    }

    async fn read(&self) -> u64 {
        self.leader.ensure_linearizable(ReadPolicy::ReadIndex).await.expect("a leader");
        self.ledger.machines[0].values().0
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
