//! Whole nodes, driver and all, on simulated transport, runtime and clocks. Their logs are in
//! memory and outlive a crash: disks that forget are the matter of the cores' campaign.

use super::clients::{Said, change, decode};
use super::records::{Records, Tally};
use crate::sim;
use quorate_raft::{
    Batch, Config, MemoryLog, MemorySnapshots, Node, Outcome, Read, Replies, Role, Session,
    SnapshotSource, StateMachine, Watch,
};
use quorate_sim::specs::{KvOp, KvRet};
use quorate_sim::{Bytes, Campaign, ChannelId, Host, NodeId, Rng, Sim, Workload};
use quorate_transport::{ChannelOptions, Endpoint, EndpointConfig, Inbound, Responder};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MEMBERS: [NodeId; 3] = [NodeId::new(1), NodeId::new(2), NodeId::new(3)];
const CLIENTS: ChannelId = ChannelId::new(16);

/// What a campaign must have met to prove anything.
const MUST_HAPPEN: [&str; 8] = [
    "node founded or restarted",
    "leader elected",
    "node reads",
    "node reads by lease",
    "node applied",
    "node applied in a session",
    "node refused",
    "node does not know",
];

/// Registers by name.
#[derive(Debug, Default)]
struct Machine(BTreeMap<String, i64>);

impl StateMachine for Machine {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        for entry in batch {
            let ret = decode(entry.data).map(|op| change(&mut self.0, &op));
            out.push(ret.map_or(Said::Refused, Said::Done).encode());
        }
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        Err(io::ErrorKind::Unsupported.into()) // the logs stay below what calls for one
    }

    fn restore(&mut self, _: &mut dyn io::Read) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What outlives a crash.
#[derive(Clone)]
struct Disk {
    log: MemoryLog,
    snapshots: MemorySnapshots,
}

/// One life of a member.
#[derive(Clone)]
struct Member {
    host: Host,
    node: Node<Machine>,
    /// Opened with the first request that wants one.
    session: Arc<Mutex<Option<Arc<Session<Machine>>>>>,
    leases: bool,
}

async fn live(host: Host, disk: Disk, leases: bool) {
    let config = Config::local()
        .election_timeout(Duration::from_millis(50))
        .heartbeat_interval(Duration::from_millis(10))
        .lease(leases)
        .lease_slack(Duration::from_millis(2))
        .build()
        .unwrap();
    let (transport, runtime) = (host.transport(), host.runtime());
    let endpoint = Endpoint::start_with(transport, runtime, EndpointConfig::default()).unwrap();
    let mut calls = endpoint.channel(CLIENTS, ChannelOptions::new()).unwrap();
    let node = Node::<Machine>::builder(&endpoint)
        .founders(&MEMBERS)
        .log(disk.log)
        .snapshots(disk.snapshots)
        .config(config)
        .start(Machine::default())
        .await
        .unwrap();
    host.reached(MUST_HAPPEN[0]);
    host.runtime().spawn("elections", Box::pin(elections(host.clone(), node.watch())));
    let member = Member { host, node, session: Arc::default(), leases };
    while let Some(inbound) = calls.recv().await {
        let Inbound::Call { body, reply, .. } = inbound else { continue };
        // Nobody waits for anybody else's request.
        let (runtime, member) = (member.host.runtime(), member.clone());
        runtime.spawn("request", Box::pin(async move { member.serve(&body, reply).await }));
    }
}

/// Says when this node is elected: faults hunt leaders.
async fn elections(host: Host, mut watch: Watch) {
    while watch.wait_for(|state| state.role == Role::Leader).await.is_some() {
        host.reached("leader elected");
        if watch.wait_for(|state| state.role != Role::Leader).await.is_none() {
            return;
        }
    }
}

impl Member {
    async fn serve(&self, body: &Bytes, reply: Responder) {
        let mut rng = Rng::stream(self.host.runtime().seed(), "request", 0, 0);
        let said = match decode(body) {
            Some(KvOp::Read { key }) => self.read(&key, &mut rng).await,
            _ => self.write(body, &mut rng).await,
        };
        self.host.reached(match said {
            Some(Said::Done(_)) => "node answered",
            None => "node does not know",
            _ => "node refused",
        });
        match said {
            Some(said) => drop(reply.reply(said.encode())),
            // "Abandoned": it may have been done.
            None => drop(reply),
        }
    }

    async fn read(&self, key: &str, rng: &mut Rng) -> Option<Said> {
        let lease = self.leases && rng.flip();
        let mode = if lease { Read::Lease } else { Read::Linearizable };
        let read = self.node.read(mode, |m| m.0.get(key).copied()).await;
        if read.is_ok() {
            self.host.reached(if lease { "node reads by lease" } else { "node reads" });
        }
        Some(read.map_or(Said::Refused, |value| Said::Done(KvRet::Value(value))))
    }

    /// `None`: it may have been done.
    async fn write(&self, data: &Bytes, rng: &mut Rng) -> Option<Said> {
        if rng.chance(50_000) {
            let _not_the_leader = self.node.transfer(None).await;
        }
        let (outcome, mark) = if rng.flip() {
            let Some(session) = self.session().await else { return Some(Said::Refused) };
            (session.propose(data.clone()).await, "node applied in a session")
        } else {
            (self.node.propose(data.clone()).await, "node applied")
        };
        match outcome {
            Outcome::Applied { reply, .. } => {
                self.host.reached(mark);
                Said::decode(&reply)
            }
            Outcome::Rejected(_) => Some(Said::Refused),
            _ => None,
        }
    }

    async fn session(&self) -> Option<Arc<Session<Machine>>> {
        let open = self.session.lock().unwrap().clone();
        if open.is_some() {
            return open;
        }
        let opened = Arc::new(self.node.session(Duration::from_secs(60)).await.ok()?);
        Some(Arc::clone(self.session.lock().unwrap().get_or_insert(opened)))
    }
}

pub(crate) struct WholeNodes {
    leases: bool,
    records: Records,
}

impl Workload for WholeNodes {
    fn setup(&mut self, sim: &mut Sim) {
        for id in MEMBERS {
            let disk = Disk { log: MemoryLog::new(), snapshots: MemorySnapshots::new() };
            let leases = self.leases;
            sim.add_async(id, move |host| Box::pin(live(host, disk.clone(), leases)));
        }
        self.records.add_clients(sim, &MEMBERS);
    }

    fn healed(&mut self, sim: &mut Sim) -> Result<bool, String> {
        Ok(self.records.are_complete(sim))
    }

    fn finish(&mut self, _: &mut Sim) -> Result<(), String> {
        self.records.judge()
    }
}

pub(crate) fn campaign(tally: &Arc<Mutex<Tally>>, folder: Option<PathBuf>) -> Campaign<WholeNodes> {
    let tally = Arc::clone(tally);
    let make = move |seed| WholeNodes {
        leases: Rng::stream(seed, "leases", 0, 0).flip(),
        records: Records::new("nodes", seed, Arc::clone(&tally), folder.clone()),
    };
    Campaign::new("raft-nodes", make)
        .config(sim::config)
        .swarm(sim::swarm())
        .chaos(Duration::from_secs(3))
        .heal(Duration::from_secs(20))
        .require(&MUST_HAPPEN)
}
