//! `omnipaxos` 0.2.4 with its `MemoryStorage`.
//!
//! Settings: `batch_size` is the size of a round, so that a round is appended to the log and sent
//! once (its own means for throughput); payloads are `Bytes`, so that its copies of entries are
//! cheap; no ticks once a leader is there, as no time passes for the others either.

use crate::applier::{Applier, Payloads};
use bytes::Bytes;
use omnipaxos::messages::Message;
use omnipaxos::storage::{Entry, NoSnapshot};
use omnipaxos::util::LogEntry;
use omnipaxos::{ClusterConfig, OmniPaxos, OmniPaxosConfig, ServerConfig};
use omnipaxos_storage::memory_storage::MemoryStorage;

#[derive(Clone, Debug)]
pub(crate) struct Command(Bytes);

impl Entry for Command {
    type Snapshot = NoSnapshot;
}

pub(crate) struct Omni {
    nodes: Vec<OmniPaxos<Command, MemoryStorage<Command>>>,
    inboxes: Vec<Vec<Message<Command>>>,
    arriving: Vec<Message<Command>>,
    outgoing: Vec<Message<Command>>,
    /// Up to where each applied.
    applied: Vec<usize>,
    pub(crate) appliers: Vec<Applier>,
}

impl Omni {
    /// The first of them leads.
    pub(crate) fn new(batch: usize) -> Self {
        let start = |pid| {
            let cluster_config =
                ClusterConfig { configuration_id: 1, nodes: vec![1, 2, 3], ..Default::default() };
            let server_config = ServerConfig { pid, batch_size: batch, ..Default::default() };
            let config = OmniPaxosConfig { cluster_config, server_config };
            config.build(MemoryStorage::default()).expect("a valid node")
        };
        let mut group = Self {
            nodes: [1, 2, 3].map(start).into(),
            inboxes: vec![Vec::new(), Vec::new(), Vec::new()],
            arriving: Vec::new(),
            outgoing: Vec::new(),
            applied: vec![0; 3],
            appliers: vec![Applier::default(); 3],
        };
        group.nodes[0].try_become_leader();
        group.settle();
        assert_eq!(group.nodes[0].get_current_leader(), Some((1, true)));
        group
    }

    fn carry_out(&mut self, i: usize) {
        self.nodes[i].take_outgoing_messages(&mut self.outgoing);
        for message in self.outgoing.drain(..) {
            let to = message.get_receiver() as usize - 1;
            self.inboxes[to].push(message);
        }
        if self.nodes[i].get_decided_idx() > self.applied[i] {
            let decided = self.nodes[i].read_decided_suffix(self.applied[i]).expect("it is there");
            self.applied[i] += decided.len();
            for entry in decided {
                let LogEntry::Decided(Command(data)) = entry else { panic!("not decided") };
                self.appliers[i].apply(&data);
            }
        }
    }

    fn settle(&mut self) {
        (0..self.nodes.len()).for_each(|i| self.carry_out(i));
        while self.inboxes.iter().any(|inbox| !inbox.is_empty()) {
            for i in 0..self.nodes.len() {
                std::mem::swap(&mut self.inboxes[i], &mut self.arriving);
                for message in self.arriving.drain(..) {
                    self.nodes[i].handle_incoming(message);
                }
                self.carry_out(i);
            }
        }
    }

    /// `batch` entries, proposed, decided and applied by all three.
    pub(crate) fn commit(&mut self, batch: usize, payloads: &mut Payloads) {
        for _ in 0..batch {
            let command = Command(Bytes::copy_from_slice(payloads.next()));
            self.nodes[0].append(command).expect("the leader takes it");
        }
        self.settle();
        if payloads.compaction_due() {
            // Its leader tells the others.
            self.nodes[0].trim(None).expect("all have accepted it");
            self.settle();
        }
    }
}
