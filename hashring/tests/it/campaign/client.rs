//! Coordinators: they route by the view they have, however old, and count answers.

use super::net::{Event, Request};
use super::world::{KEYS, World};
use quorate_hashring::{NodeIdx, Outcome, Reject, Tally, View};

pub(super) struct Client {
    pub(super) view: View,
    /// Once in so many refusals it looks for a newer view.
    pub(super) lazy: usize,
}

/// One read or write.
pub(super) struct Operation {
    client: usize,
    key: usize,
    /// None: a read.
    write: Option<u64>,
    view: View,
    tally: Tally,
    /// Of a read: what was complete when it began, and the newest that it was told.
    floor: u64,
    best: u64,
    is_over: bool,
}

impl World {
    pub(super) fn on_next(&mut self, client: usize) {
        if !self.is_healed {
            let delay = 4 + self.net.random.below(30);
            self.net.after(delay, Event::Next { client });
        }
        if self.net.random.once_in(40) {
            self.refresh(client);
        }
        let key = self.net.random.below(KEYS);
        let is_write = self.net.random.once_in(2);
        self.start(client, key, is_write);
    }

    /// Begins an operation and gives its number.
    pub(super) fn start(&mut self, client: usize, key: usize, is_write: bool) -> usize {
        let view = self.clients[client].view.clone();
        let route = view.route(&Self::key(key));
        assert_eq!(route.partition, self.partitions[key]);
        let (tally, nodes): (Tally, Vec<NodeIdx>) = if is_write {
            (route.write.tally(self.quorum), route.write.nodes().collect())
        } else {
            (route.read_tally(self.quorum), route.read.to_vec())
        };
        self.versions += u64::from(is_write);
        let write = is_write.then_some(self.versions);
        let op = self.operations.len();
        let (partition, tag) = (route.partition, route.tag);
        for at in nodes {
            let node = self.number_of(&view, at);
            let view = view.epoch();
            let request = Request { op, node, partition, tag, view, key, write };
            self.net.send(Event::Request(request));
        }
        let floor = self.completed[key];
        let (best, is_over) = (0, false);
        self.operations.push(Operation { client, key, write, view, tally, floor, best, is_over });
        self.net.after(150, Event::Timeout { op });
        self.counters.operations += 1;
        op
    }

    /// The number of the node at a position of a view.
    pub(super) fn number_of(&self, view: &View, at: NodeIdx) -> usize {
        use quorate_hashring::Locate;
        let id = view.table().topology().node(at).unwrap().id();
        usize::try_from(id.value()).unwrap() - 1
    }

    pub(super) fn on_answer(
        &mut self,
        op: usize,
        node: usize,
        answer: Result<u64, Reject>,
    ) -> Result<(), String> {
        use quorate_hashring::{Locate, NodeId};
        let operation = &mut self.operations[op];
        let client = operation.client;
        let id = NodeId::new(node as u64 + 1);
        let at = operation.view.table().topology().index_of(id).unwrap();
        let outcome = match answer {
            Ok(value) => {
                if !operation.is_over {
                    operation.best = operation.best.max(value);
                }
                operation.tally.ack(at)
            }
            Err(_) => operation.tally.fail(at),
        };
        if let Err(Reject::Stale { .. }) = answer {
            let lazy = self.clients[client].lazy;
            if self.net.random.once_in(lazy) {
                self.refresh(client);
            }
        }
        self.settle(op, outcome)
    }

    pub(super) fn on_timeout(&mut self, op: usize) -> Result<(), String> {
        let operation = &mut self.operations[op];
        let route = operation.view.route(&Self::key(operation.key));
        let mut outcome = operation.tally.outcome();
        for at in route.write.nodes().collect::<Vec<_>>() {
            outcome = operation.tally.fail(at);
        }
        self.settle(op, outcome)
    }

    fn settle(&mut self, op: usize, outcome: Outcome) -> Result<(), String> {
        let operation = &mut self.operations[op];
        if operation.is_over || outcome == Outcome::Pending {
            return Ok(());
        }
        operation.is_over = true;
        if outcome == Outcome::Lost {
            self.counters.lost += 1;
            return Ok(());
        }
        let key = operation.key;
        match operation.write {
            Some(version) => self.completed[key] = self.completed[key].max(version),
            None if operation.best < operation.floor => {
                return Err(format!(
                    "G9: key {key} read {} by view {} ({}), {} was complete",
                    operation.best,
                    operation.view.epoch(),
                    operation.view.stage(),
                    operation.floor
                ));
            }
            None => {}
        }
        self.counters.reached += 1;
        Ok(())
    }

    /// Takes the newest view, or any newer one.
    fn refresh(&mut self, client: usize) {
        let newest = self.log.newest();
        let have = usize::try_from(self.clients[client].view.epoch().value()).unwrap() - 1;
        let at = have + self.net.random.below(newest - have + 1);
        let at = if self.net.random.once_in(2) { newest } else { at };
        self.clients[client].view = self.log.view(at);
    }

    /// Whether an operation reached its quorum.
    pub(super) fn is_reached(&self, op: usize) -> bool {
        self.operations[op].tally.outcome() == Outcome::Reached
    }
}
