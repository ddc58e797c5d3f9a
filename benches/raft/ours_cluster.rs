//! Ours: three nodes over the memory transport.

use crate::group::{ELECTION, Group, HEARTBEAT, KEPT, Ledger, SNAPSHOT_AFTER, Tally, weight_of};
use crate::host::Host;
use bytes::Bytes;
use quorate_raft::{
    Batch, Config, LogStore, MemoryLog, MemorySnapshots, Node, Outcome, Read, Replies,
    SnapshotSource, StateMachine,
};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use std::io;
use std::sync::Arc;

/// Bytes of an entry's head in a block.
const ENTRY_HEAD: u64 = 8;

pub(crate) const IDS: [NodeId; 3] = [NodeId::new(1), NodeId::new(2), NodeId::new(3)];

/// Counts commands.
pub(crate) struct Counter(pub(crate) Arc<Tally>);

impl StateMachine for Counter {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        let (mut count, mut sum) = (0, 0_u64);
        for entry in batch {
            count += 1;
            sum = sum.wrapping_add(weight_of(entry.data));
            out.push(Bytes::new());
        }
        self.0.add(count, sum);
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        let (count, sum) = self.0.values();
        Ok(Box::new(move |w: &mut dyn io::Write| {
            w.write_all(&count.to_le_bytes())?;
            w.write_all(&sum.to_le_bytes())
        }))
    }

    fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()> {
        let mut words = [0; 16];
        r.read_exact(&mut words)?;
        let word = |at: usize| u64::from_le_bytes(words[at..at + 8].try_into().expect("8 bytes"));
        self.0.set((word(0), word(8)));
        Ok(())
    }
}

/// Three nodes, and which of them leads.
#[derive(Clone)]
pub(crate) struct Ours {
    nodes: Vec<Node<Counter>>,
    leader: usize,
    size: usize,
    ledger: Ledger,
    _endpoints: Vec<Endpoint>,
}

/// What differs between lanes.
pub(crate) struct Setup {
    /// Bytes of a command.
    pub(crate) size: usize,
    pub(crate) lease: bool,
}

/// In memory.
pub(crate) fn in_memory(host: &Host, setup: Setup) -> Ours {
    start(host, setup, |_| MemoryLog::new())
}

/// Three nodes with these logs.
pub(crate) fn start<L: LogStore>(
    host: &Host,
    setup: Setup,
    log: impl Fn(usize) -> L + Send + 'static,
) -> Ours {
    host.run(async move {
        let (network, ledger) = (MemoryNetwork::new(), Ledger::default());
        let (mut nodes, mut endpoints) = (Vec::new(), Vec::new());
        for (n, id) in IDS.into_iter().enumerate() {
            let me = Identity::new(ClusterId::new(7), id, Incarnation::new(1));
            let endpoint = Endpoint::start(network.node(me), EndpointConfig::default());
            let endpoint = endpoint.expect("first start");
            let builder = Node::<Counter>::builder(&endpoint)
                .founders(&IDS)
                .log(log(n))
                .snapshots(MemorySnapshots::new())
                .config(config(&setup));
            let machine = Counter(ledger.machines[n].clone());
            nodes.push(builder.start(machine).await.expect("an empty log"));
            endpoints.push(endpoint);
        }
        let leader = nodes[0].watch().wait_for(|s| s.leader.is_some()).await;
        let leader = leader.and_then(|s| s.leader).expect("an election");
        let leader = IDS.iter().position(|id| *id == leader).expect("one of them");
        Ours { nodes, leader, size: setup.size, ledger, _endpoints: endpoints }
    })
}

fn config(setup: &Setup) -> Config {
    let entry = setup.size as u64 + ENTRY_HEAD;
    let draft = Config::lan()
        .election_timeout(ELECTION)
        .heartbeat_interval(HEARTBEAT)
        .lease(setup.lease)
        .log_bytes_max(SNAPSHOT_AFTER * entry)
        .log_trailing_bytes(KEPT * entry);
    draft.build().expect("in range")
}

impl Ours {
    pub(crate) fn leader(&self) -> &Node<Counter> {
        &self.nodes[self.leader]
    }

    pub(crate) fn follower(&self) -> &Node<Counter> {
        &self.nodes[(self.leader + 1) % self.nodes.len()]
    }
}

impl Group for Ours {
    async fn propose(&self, client: u64, number: u64) {
        let mut data = Vec::with_capacity(self.size);
        data.extend_from_slice(&client.to_le_bytes());
        data.extend_from_slice(&number.to_le_bytes());
        data.resize(self.size, 7);
        let outcome = self.leader().propose(data).await;
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    }

    async fn read(&self) -> u64 {
        let count = |machine: &Counter| machine.0.values().0;
        self.leader().read(Read::Linearizable, count).await.expect("a leader")
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
