//! openraft 0.9.25: three `Raft`s that call each other directly, as its own benchmark has them.
//!
//! Settings of its benchmark: `max_payload_entries` 1,024, `purge_batch_size` 1,024, clients use
//! `client_write`. Timeouts, and when snapshots are made, are those of everybody here;
//! `replication_lag_threshold` lies above, as its documentation asks.

use super::store::{Command, Durable, Window, Written};
use crate::group::{ELECTION, Group, HEARTBEAT, KEPT, Ledger, SNAPSHOT_AFTER, Tally, weight_of};
use crate::host::Host;
use openraft09::error::{InstallSnapshotError, RPCError, RaftError, RemoteError};
use openraft09::network::RPCOption;
use openraft09::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft09::storage::{LogFlushed, RaftLogStorage, RaftStateMachine};
use openraft09::{
    Config, Entry, EntryPayload, LogId, LogState, OptionalSend, Raft, RaftLogReader, RaftNetwork,
    RaftNetworkFactory, RaftSnapshotBuilder, Snapshot, SnapshotMeta, SnapshotPolicy, StorageError,
    StoredMembership, Vote,
};
use quorate_wal::Wal;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::Cursor;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

openraft09::declare_raft_types!(pub(crate) Types: D = Command, R = (), Node = ());

/// A snapshot and its bytes.
type Kept = (SnapshotMeta<u64, ()>, Vec<u8>);
type Stored<T> = Result<T, StorageError<u64>>;
type CallError<E = openraft09::error::Infallible> = RPCError<u64, (), RaftError<u64, E>>;

/// The log: its newest entries in memory, all of it in a WAL if there is one.
#[derive(Clone)]
struct Log {
    memory: Arc<Mutex<Memory>>,
    durable: Option<Arc<Mutex<Durable>>>,
}

#[derive(Default)]
struct Memory {
    vote: Option<Vote<u64>>,
    entries: Window<Entry<Types>>,
    purged: Option<LogId<u64>>,
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
    ) -> Stored<Vec<Entry<Types>>> {
        Ok(self.memory().entries.get(&range))
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

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Stored<()> {
        self.memory().vote = Some(*vote);
        let durable = self.durable.as_ref();
        let staged = durable.map(|d| d.lock().expect("no panic").vote(&vote.to_string()));
        if let Some(staged) = staged {
            staged.await.expect("synced");
        }
        Ok(())
    }

    async fn read_vote(&mut self) -> Stored<Option<Vote<u64>>> {
        Ok(self.memory().vote)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Stored<()>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
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
        // Its core waits for the callback before it does anything else, so there is nothing to be
        // gained by returning first.
        if let Some(staged) = staged {
            staged.await.expect("synced");
        }
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: LogId<u64>) -> Stored<()> {
        self.memory().entries.truncate(from.index);
        Ok(())
    }

    async fn purge(&mut self, to: LogId<u64>) -> Stored<()> {
        let mut memory = self.memory();
        memory.purged = Some(to);
        memory.entries.purge(to.index + 1);
        if let Some(durable) = &self.durable {
            durable.lock().expect("no panic").purge(to.index + 1);
        }
        Ok(())
    }
}

fn written(entry: &Entry<Types>) -> Written<'_> {
    let data = match &entry.payload {
        EntryPayload::Normal(command) => command.as_bytes(),
        _ => &[],
    };
    let leader = entry.log_id.leader_id;
    Written { index: entry.log_id.index, term: leader.term, node: leader.node_id, data }
}

/// Counts commands.
#[derive(Clone)]
struct Machine {
    tally: Arc<Tally>,
    applied: Option<LogId<u64>>,
    members: StoredMembership<u64, ()>,
    snapshot: Arc<Mutex<Option<Kept>>>,
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Stored<Snapshot<Types>> {
        let (count, sum) = self.tally.values();
        let data = [count.to_le_bytes(), sum.to_le_bytes()].concat();
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.members.clone(),
            snapshot_id: format!("{:?}", self.applied),
        };
        *self.snapshot.lock().expect("no panic") = Some((meta.clone(), data.clone()));
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(data)) })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Stored<(Option<LogId<u64>>, StoredMembership<u64, ()>)> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Stored<Vec<()>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (mut replies, mut count, mut sum) = (Vec::new(), 0, 0_u64);
        for entry in entries {
            self.applied = Some(entry.log_id);
            match &entry.payload {
                EntryPayload::Normal(command) => {
                    count += 1;
                    sum = sum.wrapping_add(weight_of(command.as_bytes()));
                }
                EntryPayload::Membership(members) => {
                    self.members = StoredMembership::new(Some(entry.log_id), members.clone());
                }
                EntryPayload::Blank => {}
            }
            replies.push(());
        }
        self.tally.add(count, sum);
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Stored<Box<Cursor<Vec<u8>>>> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, ()>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Stored<()> {
        let data = snapshot.into_inner();
        let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("8 bytes"));
        self.tally.set((word(0), word(8)));
        (self.applied, self.members) = (meta.last_log_id, meta.last_membership.clone());
        *self.snapshot.lock().expect("no panic") = Some((meta.clone(), data));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Stored<Option<Snapshot<Types>>> {
        let kept = self.snapshot.lock().expect("no panic").clone();
        let of = |(meta, data)| Snapshot { meta, snapshot: Box::new(Cursor::new(data)) };
        Ok(kept.map(of))
    }
}

/// Everybody, once they are started.
type Table = Arc<OnceLock<Vec<Raft<Types>>>>;

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
    fn raft(&self) -> &Raft<Types> {
        &self.table.get().expect("all are started before the first election")[self.to as usize]
    }
}

impl RaftNetwork<Types> for Wire {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        let answer = self.raft().append_entries(rpc).await;
        answer.map_err(|e| RemoteError::new(self.to, e).into())
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, CallError<InstallSnapshotError>> {
        let answer = self.raft().install_snapshot(rpc).await;
        answer.map_err(|e| RemoteError::new(self.to, e).into())
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError> {
        let answer = self.raft().vote(rpc).await;
        answer.map_err(|e| RemoteError::new(self.to, e).into())
    }
}

/// A group of three, by its leader.
#[derive(Clone)]
pub(crate) struct Peer {
    leader: Raft<Types>,
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
                members: StoredMembership::default(),
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

impl Group for Peer {
    async fn propose(&self, client: u64, number: u64) {
        let command = Command::new(client, number, self.size);
        self.leader.client_write(command).await.expect("applied");
    }

    async fn read(&self) -> u64 {
        self.leader.ensure_linearizable().await.expect("a leader");
        self.ledger.machines[0].values().0
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
